import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { stemmer } from 'stemmer'
import { describe, expect, it } from 'vitest'
import { LAW, RUNS, same } from '../../test/property.ts'
import { inverseDocumentFrequency, termSaturation } from './bm25.ts'
import { stem } from './stemmer.ts'
import { isQueryTerm, queryTerms, searchTerms, searchedText } from './terms.ts'

describe('terms', () => {
  it('[SR1] lower case, runs of letters and digits, no stop words, stems', () => {
    const text = 'The quick brown Foxes are running, jumped over 2 lazy DOGS! naïve café x'
    expect(searchTerms(text).join(' ')).toBe('quick brown fox run jump lazi dog naïv café')
    expect(searchTerms("don't isn’t I'm you've")).toEqual([])
    expect(searchTerms('ключ-слово 日本語 42 a1_b2')).toEqual(['ключ', 'слово', '日本語', '42', 'a1', 'b2'])
    expect(searchTerms(`${'a'.repeat(40)} ${'b'.repeat(41)} c`)).toEqual(['a'.repeat(40)])
    expect(searchTerms('')).toEqual([])
  })

  it('[SR1] only texts in the searched fields of a map have terms', () => {
    const value = { title: 'A', body: 'b', count: 7, list: ['x'], deep: { title: 'y' } }
    expect(searchedText(value, ['title', 'body'])).toBe('A b')
    expect(searchedText(value, ['body', 'absent', 'title', 'count', 'list', 'deep'])).toBe('b A')
    expect(searchedText(value, ['toString', '__proto__', 'constructor'])).toBe('')
    for (const other of ['text', ['text'], 7, null, undefined]) expect(searchedText(other, ['title', '0'])).toBe('')
  })

  it('[SR1] a query looks for each of its terms once', () => {
    expect(queryTerms('Running dogs ran, the dog runs')).toEqual([{ term: 'run' }, { term: 'dog' }, { term: 'ran' }])
    expect(queryTerms('the')).toEqual([])
  })

  it('[SR3] a last word that is being typed stands for all that begin with it, and for its own stem', () => {
    expect(queryTerms('buying mil', true)).toEqual([{ term: 'bui' }, { term: 'mil', prefix: 'mil' }])
    expect(queryTerms('mil ', true)).toEqual([{ term: 'mil' }])
    expect(queryTerms('m', true)).toEqual([])
    expect(queryTerms('a'.repeat(41), true)).toEqual([])
    const [learning] = queryTerms('Learning', true)
    expect(['learn', 'learning', 'learnings', 'lear'].map((term) => isQueryTerm(learning!, term))).toEqual([
      true,
      true,
      true,
      false,
    ])
    expect(isQueryTerm({ term: 'mil' }, 'milk')).toBe(false)
  })

  it('[SR3] from its second letter on, a word that is being typed finds what it finds when it is whole', () => {
    expect(queryTerms('runni', true)).toEqual([{ term: 'runni', prefix: 'runni', stems: ['run'] }])
    const roots =
      'run hop hope control nation relat sens organ happ fl agre motor conflat troubl digit differ vile analog vietnam predict depend adopt commun activ univers generat argu swim stop'
    const tails =
      'e y ed ing ings s es er ers ely ly al ally ation ations ational ization izations ize izes ized izing ness fulness ful fully ment ments able ably ability abilities ive ively iveness ity ities ism ist ous ously ousness ance ence ent ant ants ion ions ional ionally ator ators ic ical ically icate icated icating ication ality alities alism alize alized alization ative ied ies ier iest ily iness ning ned ner ling led ping ped logy logical ible ibility ionism ivity'
    const missed: string[] = []
    for (const root of roots.split(' ')) {
      for (const tail of tails.split(' ')) {
        const word = root + tail
        const [term = ''] = searchTerms(word)
        for (let typed = 2; typed <= word.length; typed++) {
          const [looked] = queryTerms(word.slice(0, typed), true)
          if (!isQueryTerm(looked!, term)) missed.push(`${word.slice(0, typed)}|${word.slice(typed)}`)
        }
      }
    }
    expect(missed).toEqual([])
  })

  it('[SR1] a word that is remembered does not keep the text in memory that it stood in', () => {
    setFlagsFromString('--expose-gc')
    const collectGarbage = runInNewContext('gc') as () => void
    const heldBytes = (): number => {
      collectGarbage()
      return process.memoryUsage().heapUsed
    }
    const before = heldBytes()
    for (let i = 0; i < 400; i++) searchTerms(`${`rememberedword${i}`.repeat(2)} ${'a, '.repeat(50_000)}`)
    expect(heldBytes() - before).toBeLessThan(20_000_000)
  })

  it('[SR1] terms are the same however many words came between', () => {
    const words = Array.from({ length: 80_000 }, (_, i) => `word${i}ing`)
    const first = words.flatMap((word) => searchTerms(word))
    expect(words.toReversed().flatMap((word) => searchTerms(word))).toEqual(first.toReversed())
    expect(first[7]).toBe(stem('word7ing'))
  })
})

describe('the stemmer', () => {
  it.each(
    Object.entries({
      caresses: 'caress',
      ponies: 'poni',
      feed: 'feed',
      agreed: 'agre',
      plastered: 'plaster',
      motoring: 'motor',
      conflated: 'conflat',
      hopping: 'hop',
      falling: 'fall',
      filing: 'file',
      happy: 'happi',
      sky: 'sky',
      relational: 'relat',
      conformabli: 'conform',
      triplicate: 'triplic',
      adoption: 'adopt',
      controlling: 'control',
      yes: 'ye',
      is: 'is',
    }),
  )('[SR1] %s becomes %s', (word, stemmed) => expect(stem(word)).toBe(stemmed))

  it('[SR1] agrees with another implementation of the algorithm', LAW, () => {
    const part = fc.constantFrom(
      ...'a e i o u y b c d l n r s t z w x ss ll tt at bl iz ï é ß ed ing eed sses ies ational tional enci izer bli alli'.split(
        ' ',
      ),
      ...'entli eli ousli ization ation ator alism iveness fulness aliti biliti logi icate ative alize ical ful ness al'.split(
        ' ',
      ),
      ...'ance er ic able ement ment ent ion sion ou ism iti ous ive ize'.split(' '),
    )
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), (parts) => {
        const word = parts.join('')
        same(stem(word), stemmer(word))
      }),
      { numRuns: RUNS },
    )
  })
})

describe('scores', () => {
  const score = (documents: number, holding: number, frequency: number, length: number, average: number): number =>
    inverseDocumentFrequency(documents, holding) * termSaturation(frequency, length, average)

  it('[SR2] are those of Okapi BM25 with k1 1.2 and b 0.75', () => {
    expect(score(2, 2, 3, 5, 4.5)).toBeCloseTo(0.2798423894976978, 14)
    expect(score(2, 2, 1, 4, 4.5)).toBeCloseTo(0.19100353568890485, 14)
  })

  it('[SR2] are never negative, and a number also where there is nothing', () => {
    expect(inverseDocumentFrequency(5, 5)).toBeGreaterThan(0)
    expect(termSaturation(1, 0, 0)).toBeCloseTo(1, 14)
    expect(termSaturation(0, 3, 3)).toBe(0)
  })
})
