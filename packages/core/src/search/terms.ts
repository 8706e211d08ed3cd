import { isMap, type Value } from '../value/value.ts'
import { stem } from './stemmer.ts'
import { STOP_WORDS } from './stop-words.ts'

const MIN_LENGTH = 2
const MAX_LENGTH = 40
const WORD = /[\p{L}\p{N}]+/gu

/** Stems that were asked for before: texts repeat their words, and stemming is most of the work. */
const stems = new Map<string, string>()
const MAX_STEMS = 20_000

/**
 * The terms of a text in its order (SPEC [SR1]): runs of letters and digits in lower case, of 2 to 40 characters, without
 * stop words, as stems. The same term may come several times.
 */
export function searchTerms(text: string): string[] {
  const terms: string[] = []
  for (const word of words(text)) if (!STOP_WORDS.has(word)) terms.push(stemOf(word))
  return terms
}

/** What a query looks for: one term, or with a prefix also all that begin with it. */
export interface QueryTerm {
  readonly term: string
  /** A word that is still being typed. */
  readonly prefix?: string
}

/**
 * What a query looks for (SPEC [SR1]): its terms, each once. If its last word is still being typed, that is the last term
 * and stands for everything that begins with it (SPEC [SR3]).
 */
export function queryTerms(query: string, isUnfinished: boolean = false): readonly QueryTerm[] {
  const last = isUnfinished ? (/[\p{L}\p{N}]+$/u.exec(query)?.[0] ?? '') : ''
  const terms: QueryTerm[] = []
  const finished = last === '' ? query : query.slice(0, -last.length)
  for (const term of new Set(searchTerms(finished))) terms.push({ term })
  for (const word of words(last)) terms.push({ term: stemOf(word), prefix: word })
  return terms
}

/** Says whether a term of a text is one that is looked for. */
export function isQueryTerm({ term, prefix }: QueryTerm, candidate: string): boolean {
  return candidate === term || (prefix !== undefined && candidate.startsWith(prefix))
}

/** The texts of the named fields of a value, in this order. What is no text is not searched. */
export function searchedText(value: Value | undefined, fields: readonly string[]): string {
  if (value === undefined || !isMap(value)) return ''
  let text = ''
  for (const field of fields) {
    const member = Object.hasOwn(value, field) ? value[field] : undefined
    if (typeof member === 'string') text = text === '' ? member : `${text} ${member}`
  }
  return text
}

function words(text: string): string[] {
  return (text.toLowerCase().match(WORD) ?? []).filter(({ length }) => length >= MIN_LENGTH && length <= MAX_LENGTH)
}

function stemOf(word: string): string {
  let stemmed = stems.get(word)
  if (stemmed === undefined) {
    if (stems.size >= MAX_STEMS) stems.clear()
    stems.set(word, (stemmed = stem(word)))
  }
  return stemmed
}
