import { queryTerms, type QueryTerm } from '@syncline/core/search'
import { expect, test } from 'vitest'
import { Expansions } from './expansions.ts'
import type { Run } from './postings.ts'
import { TermDictionary } from './term-dictionary.ts'

const DOCUMENTS = 9_000

function drain<T>(work: Generator<void, T>): T {
  for (let step = work.next(); ; step = work.next()) if (step.done === true) return step.value
}

const typed = (text: string): QueryTerm => queryTerms(text, true)[0] as QueryTerm

/** A dictionary of terms that begin with each prefix, which all documents hold. */
function dictionaryOf(prefixes: readonly string[], endings: readonly string[] = ['lk', 'nt']): TermDictionary {
  const dictionary = new TermDictionary(1)
  for (const prefix of prefixes) {
    for (const ending of endings) {
      const postings = dictionary.fetch(prefix + ending).made(0)
      for (let id = 0; id < DOCUMENTS; id++) postings.count(id)
    }
  }
  return dictionary
}

function read(postings: { read(from: number, to: number, run: Run): number }): number[][] {
  const run: Run = { places: new Int32Array(2 * DOCUMENTS), frequencies: new Int32Array(2 * DOCUMENTS) }
  const count = postings.read(0, 2 * DOCUMENTS, run)
  return Array.from({ length: count }, (_, i) => [run.places[i] as number, run.frequencies[i] as number])
}

test('INV-22: what a prefix stands for is kept for the sixteen that were asked for last', () => {
  const prefixes = Array.from({ length: 17 }, (_, i) => `${String.fromCharCode(97 + i)}i`)
  const expansions = new Expansions(dictionaryOf(prefixes))
  const joined = (prefix: string): number => drain(expansions.of(0, typed(prefix), DOCUMENTS)).joined
  const [first, second] = prefixes as [string, string]
  for (const prefix of prefixes.slice(0, 16)) expect(joined(prefix)).toBe(2 * DOCUMENTS)
  expect([joined(first), joined(prefixes[16] as string), joined(first)]).toEqual([0, 2 * DOCUMENTS, 0])
  expect(joined(second)).toBe(2 * DOCUMENTS)
})

test('[SR3] what is kept follows the documents, and so does what is being made meanwhile', () => {
  const dictionary = dictionaryOf(['mi'], ['lk', 'nt', 'le', 'st'])
  const expansions = new Expansions(dictionary)
  const making = expansions.of(0, typed('mi'), DOCUMENTS)
  expect(making.next().done).toBe(false)
  expansions.change(3, 0, ['milk', 'mint', 'minute', 'tea'])
  expansions.change(4, 0, [])
  expansions.change(DOCUMENTS + 5, 0, ['mild'])
  expansions.change(5, 1, [])
  const { postings } = drain(making)
  expansions.change(6, 0, ['milk'])
  expansions.change(7, 0, ['tea'])
  expansions.change(DOCUMENTS + 900, 0, ['mile', 'mile'])
  const expected = Array.from({ length: DOCUMENTS }, (_, id) => [id, id === 3 ? 3 : id === 6 ? 1 : 4])
  const left = expected.filter(([id]) => id !== 4 && id !== 7)
  expect(read(postings!)).toEqual([...left, [DOCUMENTS + 5, 1], [DOCUMENTS + 900, 2]])
  expect(postings!.size).toBe(DOCUMENTS)
  expect(drain(expansions.of(0, typed('mi'), DOCUMENTS)).postings).toBe(postings)
})

test('[SR3] what is being made follows the documents before any are known that hold its terms', () => {
  const dictionary = dictionaryOf(['mi'], ['!k', '!t'])
  // In another column alone: these are gone through first.
  for (let i = 0; i < 600; i++)
    dictionary
      .fetch(`mi${1_000 + i}`)
      .made(1)
      .count(1)
  const expansions = new Expansions(dictionary)
  const making = expansions.of(0, typed('mi'), DOCUMENTS)
  expect(making.next().done).toBe(false)
  expansions.change(3, 0, ['mi1001', 'mi!k', 'mi!t'])
  const { postings } = drain(making)
  expect(read(postings!)).toEqual(Array.from({ length: DOCUMENTS }, (_, id) => [id, id === 3 ? 3 : 2]))
})

test('the terms of a prefix are read on while the tree of terms is taken apart and joined', () => {
  const words = ['mi', 'mil', 'milk', 'milks', 'mile', 'mint', 'minute', 'mist', 'mister', 'mix']
  for (let stop = 0; stop < words.length; stop++) {
    const dictionary = new TermDictionary(1)
    const add = (word: string): void => dictionary.fetch(word).made(0).count(1)
    for (const word of words) add(word)
    const stays = new Set(words.map((word) => dictionary.postings(word, 0)))
    const found: unknown[] = []
    let step = 0
    for (const postings of dictionary.holding({ term: 'mi', prefix: 'mi' }, 0)) {
      if (postings !== undefined && stays.has(postings)) found.push(postings)
      if (step++ !== stop) continue
      for (const gone of ['mil', 'mister']) {
        stays.delete(dictionary.postings(gone, 0))
        dictionary.delete(gone)
      }
      for (const come of ['min', 'mi1', 'milkshake', 'mistake']) add(come)
    }
    expect(found.filter((postings) => stays.has(postings as never))).toHaveLength(stays.size)
    expect(new Set(found).size).toBe(found.length)
  }
})
