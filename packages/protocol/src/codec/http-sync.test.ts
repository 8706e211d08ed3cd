import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeFrame } from './frame.ts'
import { EncodedList, httpSyncFrame } from './http-sync.ts'
import type { Encoding } from './fault.ts'
import type { HttpSyncResponse } from '../messages/http-sync.ts'

const text = fc.string({ unit: 'grapheme', maxLength: 80 })
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const stamp = fc.record({ millis: count, counter: fc.nat({ max: 65_535 }), nodeId: text })
const value = fc.oneof(
  fc.constant(null),
  fc.integer(),
  text,
  fc.uint8Array({ maxLength: 20 }),
  fc.dictionary(fc.constantFrom('a', 'b'), text, { noNullPrototype: true }),
)
const pagesOf = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[][]> =>
  fc.array(fc.array(item, { maxLength: 20 }), { maxLength: 3 })
const optional = { noNullPrototype: true } as const

const reply = fc.record({
  serverHlc: stamp,
  ack: fc.option(
    fc.record(
      {
        lastId: text,
        results: fc.array(
          fc.record(
            {
              opId: text,
              success: fc.boolean(),
              achievedLevel: fc.constant('MEMORY' as const),
              latencyMs: fc.nat(),
              seq: count,
            },
            optional,
          ),
          { maxLength: 3 },
        ),
      },
      optional,
    ),
    { nil: undefined },
  ),
  deltas: fc.array(
    fc.record({
      mapName: text,
      records: pagesOf(
        fc.record(
          {
            key: text,
            record: fc.record({ value, timestamp: stamp }, optional),
            eventType: fc.constant('PUT' as const),
          },
          optional,
        ),
      ),
      serverSyncTimestamp: stamp,
      more: fc.option(fc.boolean(), { nil: undefined }),
      reset: fc.option(fc.boolean(), { nil: undefined }),
    }),
    { maxLength: 3 },
  ),
  queryResults: fc.array(
    fc.record({
      queryId: text,
      results: pagesOf(fc.record({ key: text, value }, optional)),
      hasMore: fc.boolean(),
      nextCursor: fc.option(text, { nil: undefined }),
    }),
    { maxLength: 3 },
  ),
  searchResults: fc.array(
    fc.record({
      searchId: text,
      results: pagesOf(fc.record({ key: text, value, score: fc.nat() }, optional)),
      totalCount: count,
    }),
    { maxLength: 3 },
  ),
  errors: fc.array(
    fc.record({ code: fc.nat(), errorCode: fc.constant('FORBIDDEN' as const), message: text, context: text }, optional),
    { maxLength: 3 },
  ),
})

/** What a reader gets: members that say nothing are not there. */
function plain(part: unknown): unknown {
  if (Array.isArray(part)) return part.map(plain)
  if (typeof part !== 'object' || part === null || part instanceof Uint8Array) return part
  return Object.fromEntries(
    Object.entries(part).flatMap(([name, inner]) => (inner === undefined ? [] : [[name, plain(inner)]])),
  )
}

test.each(['json', 'msgpack'] as const)(
  '[HS2] a reply in %s is read as what its pages were made of',
  (encoding: Encoding) => {
    const encoded = (pages: readonly (readonly object[])[]): EncodedList => {
      const list = new EncodedList(encoding)
      for (const page of pages) list.add(page)
      return list
    }
    fc.assert(
      fc.property(reply, (given) => {
        const frame = httpSyncFrame(encoding, {
          ...given,
          deltas: given.deltas.map((delta) => ({ ...delta, records: encoded(delta.records) })) as never,
          queryResults: given.queryResults.map((result) => ({ ...result, results: encoded(result.results) })) as never,
          searchResults: given.searchResults.map((result) => ({
            ...result,
            results: encoded(result.results),
          })) as never,
        })
        const expected = {
          ...given,
          // Flags are there where they are true.
          deltas: given.deltas.map((delta) => ({
            ...delta,
            records: delta.records.flat(),
            more: delta.more || undefined,
            reset: delta.reset || undefined,
          })),
          queryResults: given.queryResults.map((result) => ({ ...result, results: result.results.flat() })),
          searchResults: given.searchResults.map((result) => ({ ...result, results: result.results.flat() })),
        }
        const decoded = decodeFrame(frame)
        expect(decoded.ok && (decoded.value.message as HttpSyncResponse)).toEqual(plain(expected))
      }),
    )
  },
)

test('an encoded list knows how many items it has, and about how many bytes they take', () => {
  const list = new EncodedList('json')
  list.add([])
  expect([list.length, list.size, list.pages]).toEqual([0, 0, []])
  list.add([{ a: 1 }, { a: 2 }])
  list.add([{ a: 3 }])
  expect([list.length, list.size]).toEqual([3, 22])
})
