import {
  inverseDocumentFrequency,
  isQueryTerm,
  queryTerms,
  searchTerms,
  searchedText,
  termSaturation,
} from '@syncline/core/search'
import type { Value } from '@syncline/core'

/** Texts and their terms. */
export const terms = [
  'The quick brown Foxes are running, jumped over 2 lazy DOGS! naïve café x',
  '',
  'a I x',
  'Überraschung ключи 漢字',
  'machine learning machines learn',
  'user_name user-name user.name',
  'x'.repeat(41),
  'caresses ponies ties cats feed agreed plastered motoring sing conflated troubled sized hopping falling hissing fizzed failing filing happy sky',
  "don't isn’t I'm you've",
  'ключ-слово 日本語 42 a1_b2',
  'RELATIONAL conditional valenci hesitanci digitizer conformabli radicalli differentli vileli analogousli',
  'triplicate formative formalize electriciti electrical hopeful goodness revival allowance inference airliner',
  `${'a'.repeat(40)} ${'b'.repeat(41)} c`,
].map((text) => ({ rules: 'SR1', text, terms: searchTerms(text) }))

/** Queries that are still being typed, and the terms that they look for. */
export const typedTerms = ['quick fo', 'quick fo ', 'Fox', 'running runn'].map((text) => ({
  rules: 'SR3',
  text,
  terms: queryTerms(text, true),
}))

/** Parts of scores. */
export const scores = [
  [1, 2, 3, 5, 4],
  [3, 1, 1, 1, 1],
  [100, 7, 2, 12, 9.5],
  [1, 1, 1, 1, 1],
  [10, 10, 1, 4, 4],
  [10, 1, 9, 9, 3],
  [1_000_000, 3, 1, 200, 40],
  [2, 1, 1, 0.5, 1],
].map(([documents = 0, holding = 0, frequency = 0, length = 0, averageLength = 0]) => ({
  rules: 'SR2',
  documents,
  holding,
  frequency,
  length,
  averageLength,
  score: inverseDocumentFrequency(documents, holding) * termSaturation(frequency, length, averageLength),
}))

type Documents = Readonly<Record<string, Value>>

const animals: Documents = {
  a1: { title: 'Quick foxes', body: 'jumping over dogs' },
  a2: { title: 'Slow dogs', body: 'dogs sleeping dogs' },
}
const courses: Documents = {
  d1: { title: 'Machine learning basics', body: 'learning machines learn' },
  d2: { title: 'Deep learning', body: 'neural networks' },
  d3: { title: 'Cooking', body: 'pasta' },
}
const both = ['title', 'body']

/** Searches of some documents, and the score of each that matches. */
export const searches = (
  [
    ['one term', animals, 'dog', both, undefined, false],
    ['two terms', courses, 'learning machine', both, undefined, false],
    ['a term twice in the query', animals, 'dogs dog DOGS', both, undefined, false],
    ['a term that nothing holds', animals, 'cat', both, undefined, false],
    ['no term', animals, 'the of', both, undefined, false],
    ['fields with weights', courses, 'learning', both, { title: 2 }, false],
    ['one field of two, by itself', courses, 'learning', ['body'], {}, false],
    ['a word that is still being typed', courses, 'deep lea', both, undefined, true],
    ['a stem that is still being typed', courses, 'machines', both, undefined, true],
    [
      'documents without the field, and values that are no maps',
      { a: { title: 'dog' }, b: {}, c: 'dog' },
      'dog',
      both,
      undefined,
      false,
    ],
    [
      'fields that hold no text',
      { a: { title: 5, body: 'dog' }, b: { title: ['dog'] } },
      'dog',
      both,
      undefined,
      false,
    ],
  ] as const satisfies readonly (readonly [
    string,
    Documents,
    string,
    readonly string[],
    Readonly<Record<string, number>> | undefined,
    boolean,
  ])[]
).map(([name, documents, query, fields, boost, prefix]) => ({
  name,
  rules: prefix ? 'SR2 SR3' : 'SR2',
  documents,
  query,
  fields,
  // Null: all fields are one text. Otherwise each is a text of its own, and weighs 1 where it is not named.
  boost: boost ?? null,
  prefix,
  scores: scoresOf(documents, query, fields, boost, prefix),
}))

/** The scores of the documents that match, as [SR2] says it. */
export function scoresOf(
  documents: Documents,
  query: string,
  fields: readonly string[],
  boost: Readonly<Record<string, number>> | undefined,
  isUnfinished: boolean,
): Readonly<Record<string, number>> {
  const texts =
    boost === undefined
      ? [{ fields, weight: 1 }]
      : fields.map((field) => ({ fields: [field], weight: boost[field] ?? 1 }))
  // Every record with a map as value is a document.
  const keys = Object.keys(documents).filter((key) => typeof documents[key] === 'object')
  const scores: Record<string, number> = {}
  for (const { fields: own, weight } of texts) {
    const terms = new Map(keys.map((key) => [key, searchTerms(searchedText(documents[key], own))]))
    const total = [...terms.values()].reduce((sum, { length }) => sum + length, 0)
    for (const term of queryTerms(query, isUnfinished)) {
      const counts = [...terms].map(
        ([key, list]) => [key, list.filter((each) => isQueryTerm(term, each)).length] as const,
      )
      const holding = counts.filter(([, count]) => count > 0)
      for (const [key, frequency] of holding) {
        const length = terms.get(key)?.length ?? 0
        const score =
          inverseDocumentFrequency(keys.length, holding.length) * termSaturation(frequency, length, total / keys.length)
        scores[key] = (scores[key] ?? 0) + weight * score
      }
    }
  }
  return scores
}
