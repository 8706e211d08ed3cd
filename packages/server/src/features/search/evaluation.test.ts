import { wholeWrite, type Value } from '@syncline/core'
import { inverseDocumentFrequency, isQueryTerm, searchTerms, termSaturation } from '@syncline/core/search'
import type { SearchOptions } from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import { nodeEnv } from '../../env.ts'
import { Authorizer, type ReadView } from '../../inbound/authorize.ts'
import { WritableMap } from '../../store/writable-map.ts'
import { MovableEnv, stampAt } from '../../testing/harness.ts'
import { byRank } from './best.ts'
import { compileSearch, type CompiledSearch } from './compile.ts'
import { LiveSearch } from './live-search.ts'
import { MapIndex } from './map-index.ts'
import { searchOnce, type Found } from './one-search.ts'
import { readStep } from './scan.ts'
import { TextIndex, type Match, type TextDocument } from './text-index.ts'

const RECORDS = 20_000
const view = new Authorizer(undefined, true).rights({ userId: 'u', roles: [] }, 'notes').view as ReadView

function drain<T>(work: Generator<void, T>): T {
  for (let step = work.next(); ; step = work.next()) if (step.done === true) return step.value
}

function compiled(text: string, options: SearchOptions, fields: readonly string[] = ['title']): CompiledSearch {
  const search = compileSearch({ fields }, view, text, options)
  if (!search.ok) throw new Error(search.error.message)
  return search.value
}

/** A map whose index is told of each write, and the live searches of it. */
class Collection {
  readonly live: LiveSearch[] = []
  readonly index: MapIndex
  readonly #map = new WritableMap('notes')
  #seq = 0

  constructor(count: number, note: (i: number) => Value, columns: readonly (readonly string[])[] = [['title']]) {
    for (let i = 0; i < count; i++) this.write(`k${i}`, note(i))
    this.index = new MapIndex(this.#map, view, columns, nodeEnv('error'), (_, changes) => {
      for (const search of this.live) search.apply(changes)
    })
    drain(this.index.build())
  }

  write(key: string, value: Value): void {
    const stamp = stampAt()
    const record = wholeWrite(value, stamp)
    const entry = this.#map.entriesByKey.get(key) ?? this.#map.blank(key, record, stamp)
    this.#map.advance(entry, record, ++this.#seq, stamp)
  }

  /** Takes in what was written, and tells it a while after if that is asked for. */
  follow(): void {
    this.index.learn()
    drain(this.index.catchUp())
  }
}

describe.each<[string, string, SearchOptions]>([
  ['whole words', 'milk bread', {}],
  ['a word that is being typed', 'mil', { prefix: true }],
  ['a half-typed ending', 'milkin', { prefix: true }],
  ['a condition', 'milk', { where: { n: { $lt: 50 } } }],
  ['a least score', 'milk', { minScore: 2.2 }],
])('%s', (_, text, options) => {
  const note = (i: number): Value => ({
    title: i % 30 === 0 ? (i % 60 === 0 ? 'milk and bread' : 'milk tea sugar') : `word${i % 700}`,
    n: i % 97,
  })

  /** What happens between two steps: documents that match come, change and go, and others take their ids. */
  function churn(collection: Collection, at: number): void {
    for (let i = 0; i < 10; i++) {
      const n = at * 10 + i
      collection.write(`k${(n * 30) % RECORDS}`, { title: n % 2 === 0 ? 'tea' : 'milking', n: n % 97 })
      collection.write(`k${(n * 210 + 60) % RECORDS}`, null)
      collection.write(`other${n}`, { title: 'nothing of that', n })
      collection.write(`new${n}`, { title: 'milk milk', n: n % 97 })
      collection.write(`k${RECORDS - 1 - n}`, { title: 'bread', n: n % 97 })
    }
  }

  test('[FT3] INV-4: what changes while a search is made once is in its result, whatever takes the place of what goes', () => {
    const collection = new Collection(RECORDS, note)
    const search = compiled(text, options)
    for (let round = 0; round < 3; round++) {
      const work = searchOnce(collection.index, search)
      let found: Found | undefined
      let steps = 0
      for (let step = work.next(); found === undefined; step = work.next()) {
        if (step.done === true) found = step.value
        else {
          churn(collection, round * 100 + steps++)
          collection.follow()
        }
      }
      expect(steps).toBeGreaterThan(1)
      const expected = drain(searchOnce(collection.index, search))
      expect(found.totalCount).toBe(expected.totalCount)
      expect(found.totalCount).toBeGreaterThan(100)
      const keysOf = ({ rows }: Found): string[] => rows.map(({ key }) => key).toSorted()
      expect(keysOf(found)).toEqual(keysOf(expected))
    }
  })

  test('[FT5] what changes while a live search is made, or made anew, is in its result', () => {
    const collection = new Collection(RECORDS, note)
    const search = new LiveSearch(collection.index, compiled(text, options))
    collection.live.push(search)
    for (let round = 0; round < 2; round++) {
      const work = search.evaluate()
      let steps = 0
      for (let done = work.next().done; done !== true; done = work.next().done) {
        churn(collection, round * 100 + steps++)
        collection.follow()
      }
      expect(steps).toBeGreaterThan(4)
      const expected = drain(searchOnce(collection.index, compiled(text, options)))
      expect(search.totalCount).toBe(expected.totalCount)
      const keysOf = (rows: readonly { readonly key: string }[]): string[] => rows.map(({ key }) => key).toSorted()
      expect(keysOf(search.rows())).toEqual(keysOf(expected.rows))
    }
  })
})

test('[FT5] a live search that loses more of its best rows than it keeps spare ones is made anew', () => {
  const collection = new Collection(RECORDS, (i) => ({
    title: i < 100 ? 'milk' : i < 5_000 ? 'milk bread butter' : 'tea',
  }))
  const search = new LiveSearch(collection.index, compiled('milk', { limit: 5 }))
  collection.live.push(search)
  drain(search.evaluate())
  expect(search.rows().map(({ key }) => key)).toEqual(['k0', 'k1', 'k10', 'k11', 'k12'])
  for (let i = 0; i < 100; i++) collection.write(`k${i}`, null)
  collection.follow()
  expect([search.hasDrifted, search.version]).toEqual([false, undefined])
  const changes = drain(search.evaluate())
  expect(changes.map(({ changeType }) => changeType)).toEqual([...Array(5).fill('LEAVE'), ...Array(5).fill('ENTER')])
  expect(search.rows().map(({ key }) => key)).toEqual(['k100', 'k1000', 'k1001', 'k1002', 'k1003'])
  expect([search.version !== undefined, search.totalCount]).toEqual([true, 4_900])
})

test('INV-22: a step of a search looks at a part of the documents, however many terms it has and however many hold them', () => {
  const words = Array.from({ length: 24 }, (_, i) => `word${i}`)
  const collection = new Collection(RECORDS, () => ({ title: words.join(' ') }))
  for (const [text, options, least] of [
    ['word1', {}, 2],
    [words.join(' '), {}, 8],
    ['word', { prefix: true }, 10],
    ['word1', { where: { title: { $gt: '' } } }, 16],
  ] as const) {
    const work = searchOnce(collection.index, compiled(text, options))
    let steps = 0
    let step = work.next()
    for (; step.done !== true; step = work.next()) steps++
    expect([text, steps >= least]).toEqual([text, true])
    expect(step.value.totalCount).toBe(RECORDS)
  }
})

/** What a search finds, reckoned from nothing as [SR2] and [SR3] of core say. */
function plain(
  contents: ReadonlyMap<string, Readonly<Record<string, string>>>,
  { columns, query: { terms, weights }, limit, minScore }: CompiledSearch,
): { totalCount: number; rows: Match[] } {
  const matches = new Map<string, Match>()
  for (const [column, fields] of columns.entries()) {
    const texts = [...contents].map(([key, value]) => {
      const words = searchTerms(fields.map((field) => value[field]).join(' '))
      const frequencies = terms.map((term) => words.filter((word) => isQueryTerm(term, word)).length)
      return { key, length: words.length, frequencies }
    })
    const average = texts.reduce((sum, { length }) => sum + length, 0) / texts.length
    for (const i of terms.keys()) {
      const holding = texts.filter(({ frequencies }) => (frequencies[i] as number) > 0)
      const factor = (weights[column] as number) * inverseDocumentFrequency(texts.length, holding.length)
      for (const { key, length, frequencies } of holding) {
        const { score, terms: held } = matches.get(key) ?? { score: 0, terms: 0 }
        const added = factor * termSaturation(frequencies[i] as number, length, average)
        matches.set(key, { key, score: score + added, terms: held | (1 << i) })
      }
    }
  }
  const found = [...matches.values()].filter(({ score }) => score >= minScore)
  return { totalCount: found.length, rows: found.toSorted(byRank).slice(0, limit) }
}

test('[FT3] [SR2] [SR3] rows, their order, scores and count are those of a plain evaluation, whatever came and went before', () => {
  const fields = ['title', 'body']
  let state = 11
  const random = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  // A few words in most documents, many in few, and thousands that begin alike.
  const word = (): string => {
    const common = ['milk', 'bread', 'running', 'mint']
    return random(3) === 0 ? (common[random(4)] as string) : `mi${random(90).toString(36)}${random(40).toString(36)}`
  }
  const note = (): { title: string; body: string } => {
    const text = (words: number): string => Array.from({ length: words }, word).join(' ')
    return { title: text(random(4)), body: text(4 + random(8)) }
  }
  const asked: [string, SearchOptions][] = [
    ['milk', { limit: 5 }],
    ['bread milk mint running', { limit: 20 }],
    [Array.from({ length: 30 }, word).join(' '), { limit: 40 }],
    ['mi', { prefix: true, limit: 10 }],
    ['milk mi', { prefix: true, limit: 10 }],
    ['bread mi1', { prefix: true, limit: 10 }],
    ['runni', { prefix: true }],
    ['mi', { prefix: true, minScore: 0.01, limit: 3 }],
  ]
  for (const boost of [undefined, { title: 2 }] as const) {
    const searches = asked.map(([text, options]) =>
      compiled(text, boost === undefined ? options : { ...options, boost }, fields),
    )
    const contents = new Map<string, { title: string; body: string }>()
    for (let i = 0; i < 3_000; i++) contents.set(`k${i}`, note())
    const values = [...contents.values()]
    const columns = (searches[0] as CompiledSearch).columns
    const collection = new Collection(values.length, (i) => values[i] as Value, columns)
    const change = (): void => {
      const key = `k${random(3_300)}`
      const value = random(3) === 0 ? undefined : note()
      if (value === undefined) contents.delete(key)
      else contents.set(key, value)
      collection.write(key, value ?? null)
    }
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 150; i++) change()
      collection.follow()
      for (const search of searches) {
        const { rows, totalCount } = drain(searchOnce(collection.index, search))
        const expected = plain(contents, search)
        expect(totalCount).toBe(expected.totalCount)
        expect(rows.map(({ key, score }) => [key, score])).toEqual(expected.rows.map(({ key, score }) => [key, score]))
      }
      // These come while a search is made that reads what the next ones read too.
      const work = searchOnce(collection.index, searches[3] as CompiledSearch)
      for (let done = work.next().done; done !== true; done = work.next().done) {
        for (let i = 0; i < 20; i++) change()
        collection.follow()
      }
    }
  }
})

test('INV-22: documents whose time has passed are looked at one by one, and the others not at all', () => {
  const env = new MovableEnv()
  const map = new WritableMap('notes')
  const stamp = { millis: env.now(), counter: 0, nodeId: 'n' }
  for (let i = 0; i < 2_000; i++) {
    const record = wholeWrite({ title: 'milk' }, stamp, i < 3 ? 10_000 : 1_000_000 + i)
    map.advance(map.blank(`k${i}`, record, stamp), record, i + 1, stamp)
  }
  const index = new MapIndex(map, view, [['title']], env, () => {})
  drain(index.build())
  const steps = (): number => {
    const work = index.catchUp()
    for (let count = 0; ; count++) if (work.next().done === true) return count
  }
  expect([index.isBehind, index.canExpire, steps(), index.size]).toEqual([false, true, 0, 2_000])
  env.advance(11_000)
  expect([index.isBehind, steps(), index.isBehind, index.size]).toEqual([true, 6, false, 1_997])
  env.advance(2_000_000)
  drain(index.catchUp())
  expect([index.canExpire, index.size]).toEqual([false, 0])
})

test('INV-22: the words of many documents are put in place in steps of some of them, and are all there then', () => {
  const text = new TextIndex(2)
  const words = Array.from({ length: 2_000 }, (_, i) => `word${i}`)
  const documents: TextDocument[] = []
  for (let i = 0; !text.isFull; i++) {
    const column = (step: number): string[] =>
      Array.from({ length: 50 }, (_, j) => words[(i * step + j) % 2_000] as string)
    const document = { key: `k${i}`, columns: [[...column(7), 'word1', 'word1'], column(11)] }
    documents.push(document)
    text.gather(document)
  }
  let steps = 0
  for (const _step of text.settle()) steps++
  expect([steps >= 7, text.isFull, text.endId]).toEqual([true, false, documents.length])
  for (const term of ['word1', 'word2', 'word1999']) {
    for (const column of [0, 1]) {
      const query = { terms: [{ term }], weights: [column === 0 ? 1 : 0, column] }
      const { lists } = drain(text.prepare(query))
      const step = readStep(lists, 0, 1)
      const found = Array.from({ length: step.count }, (_, i) => [
        step.places[i],
        step.scores[step.places[i] as number],
      ])
      const { statistics } = drain(text.prepare(query))
      const expected = documents.flatMap((document, id) => {
        const match = text.score(query, document, statistics)
        return match === undefined ? [] : [[id, match.score]]
      })
      expect(found).toEqual(expected)
    }
  }
})
