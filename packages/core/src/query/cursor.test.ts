import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { anyValue, map, valueOrNull } from '../../test/arbitraries.ts'
import { LAW, RUNS, same } from '../../test/property.ts'
import type { Value } from '../value/value.ts'
import { decodeQueryCursor, encodeQueryCursor, isAfterCursor, queryHash } from './cursor.ts'
import { compareForOrder, compileOrder } from './order.ts'
import type { QuerySpec } from './predicate.ts'

const text = (parts: unknown): string => Buffer.from(JSON.stringify(parts)).toString('base64url')

describe('the hash of a query', () => {
  const spec: QuerySpec = { where: { a: 1, b: { $gt: 2, $lt: 3 } }, sort: { a: 'asc', b: 'desc' } }

  it('[QY10] does not depend on the order of names, page size and cursor', () => {
    const hash = queryHash(spec)
    expect(hash).toMatch(/^[0-9a-f]{16}$/)
    expect(queryHash({ ...spec, limit: 5, cursor: 'x' })).toBe(hash)
    expect(queryHash({ sort: spec.sort!, where: { b: { $lt: 3, $gt: 2 }, a: 1 } })).toBe(hash)
    expect(queryHash({ ...spec, where: { ...spec.where, c: undefined } })).toBe(hash)
    expect(queryHash({})).toBe(queryHash({ where: {}, sort: {} }))
  })

  it('[QY10] depends on everything else, the order of the sort included', () => {
    const others: QuerySpec[] = [
      {},
      spec,
      { ...spec, where: { a: 1 } },
      { ...spec, where: { a: '1', b: { $gt: 2, $lt: 3 } } },
      { ...spec, sort: { b: 'desc', a: 'asc' } },
      { ...spec, sort: { a: 'asc', b: 'asc' } },
      { ...spec, sort: { a: 'asc' } },
      { ...spec, predicate: { op: 'and' } },
      { ...spec, predicate: { op: 'or' } },
      { where: { a: new Uint8Array([1]) } },
      { where: { a: [1] } },
    ]
    expect(new Set(others.map(queryHash)).size).toBe(others.length)
  })

  it('[QY10] the deepest query that compiles has a hash of its own', () => {
    const deep = (leaf: number): QuerySpec => {
      let where: Record<string, unknown> = { a: JSON.parse(`${'['.repeat(30)}${leaf}${']'.repeat(30)}`) as unknown }
      for (let i = 0; i < 15; i++) where = { $and: [where] }
      return { where }
    }
    expect(queryHash(deep(1))).not.toBe(queryHash(deep(2)))
    expect(queryHash(deep(1))).not.toBe(queryHash({}))
  })
})

describe('a cursor', () => {
  const spec: QuerySpec = { where: { a: 1 }, sort: { x: 'desc', 'y.z': 'asc' }, limit: 2 }

  it('[QY10] round trip: any key, any sort values', LAW, () => {
    const key = fc.string({ unit: 'binary' }).filter((each) => !each.includes('\u0000'))
    fc.assert(
      fc.property(key, fc.option(anyValue, { nil: undefined }), anyValue, (k, x, z) => {
        const row = (x === undefined ? { y: { z } } : { x, y: { z } }) as Value
        const cursor = encodeQueryCursor(spec, k, row)
        expect(cursor).toMatch(/^[\w-]+$/)
        // Absent and null are the same place in the order.
        expect(decodeQueryCursor(spec, cursor)).toEqual({ ok: true, value: { key: k, sortValues: [x ?? null, z] } })
      }),
      { numRuns: RUNS / 4 },
    )
  })

  it('[QY10] the page after a row is what the order puts after it', LAW, () => {
    const rows = fc.uniqueArray(fc.tuple(fc.constantFrom('a', 'b', 'B', 'c', 'd', 'é'), fc.oneof(map, valueOrNull)), {
      selector: ([key]) => key,
      minLength: 1,
    })
    fc.assert(
      fc.property(
        rows,
        fc.constantFrom(undefined, { x: 'asc' as const }, { x: 'desc' as const, y: 'asc' as const }),
        fc.nat(),
        (all, sort, at) => {
          const paged: QuerySpec = sort === undefined ? {} : { sort }
          const order = compileOrder(sort)
          const inOrder = [...all].sort(([keyA, a], [keyB, b]) => order(keyA, a, keyB, b))
          const last = inOrder[at % inOrder.length]!
          const cursor = decodeQueryCursor(paged, encodeQueryCursor(paged, ...last))
          if (!cursor.ok) throw new Error(cursor.error)
          const isAfter = isAfterCursor(paged, cursor.value)
          same(all.filter(([key, row]) => isAfter(key, row)).length, inOrder.length - 1 - inOrder.indexOf(last))
          expect(inOrder.filter(([key, row]) => isAfter(key, row))).toEqual(inOrder.slice(inOrder.indexOf(last) + 1))
        },
      ),
      { numRuns: RUNS / 4 },
    )
  })

  it('[QY10] one of another query is refused, one of another page size is not', () => {
    const cursor = encodeQueryCursor(spec, 'k', { x: 1 })
    expect(decodeQueryCursor({ ...spec, limit: 9, cursor }, cursor).ok).toBe(true)
    expect(decodeQueryCursor({ ...spec, where: { a: 2 } }, cursor)).toEqual({ ok: false, error: 'MISMATCH' })
    expect(decodeQueryCursor({ ...spec, sort: { x: 'asc' } }, cursor)).toEqual({ ok: false, error: 'MISMATCH' })
  })

  const hash = queryHash(spec)
  it.each([
    ['nothing', ''],
    ['text', 'hello world'],
    ['base64 that is no JSON', 'AAAA'],
    ['JSON that is no list', text({ a: 1 })],
    ['a list that is too short', text([hash])],
    ['a key that is no text', text([hash, 1, 1, 1])],
    ['too few sort values', text([hash, 'k', 1])],
    ['too many sort values', text([hash, 'k', 1, 1, 1])],
    ['a sort value with a forbidden name', Buffer.from(`["${hash}","k",{"__proto__":1},1]`).toString('base64url')],
    ['a sort value that is no value', text([hash, 'k', 'a\u0000', 1])],
    ['bytes that are no base64', text([hash, 'k', { '\u0000': '!' }, 1])],
    ['padding', `${text([hash, 'k', 1, 1])}=`],
    ['white space', ` ${text([hash, 'k', 1, 1])}`],
    ['UTF-8 that is broken', Buffer.from([0x5b, 0x22, 0xff, 0x22, 0x5d]).toString('base64url')],
    [
      'nesting without end',
      Buffer.from(`["${hash}","k",${'['.repeat(100_000)}${']'.repeat(100_000)},1]`).toString('base64url'),
    ],
  ])('[QY10] %s is invalid', (_, broken) => {
    expect(decodeQueryCursor(spec, broken)).toEqual({ ok: false, error: 'INVALID' })
  })

  it('[QY10] whatever is changed in one, it is refused or is a place in the same query', LAW, () => {
    const cursor = encodeQueryCursor(spec, 'key', { x: ['é', new Uint8Array([1, 2, 3])], y: { z: 2 } })
    fc.assert(
      fc.property(
        fc.nat({ max: cursor.length - 1 }),
        fc.constantFrom(...Array.from('AZaz09-_ =é')),
        fc.nat({ max: 2 }),
        (at, character, cut) => {
          const changed = cursor.slice(0, at) + character + cursor.slice(at + cut)
          const decoded = decodeQueryCursor(spec, changed)
          if (!decoded.ok) return
          same(decoded.value.sortValues.length, 2)
          for (const sortValue of decoded.value.sortValues) expect(compareForOrder(sortValue, sortValue)).toBe(0)
        },
      ),
      { numRuns: RUNS / 4 },
    )
  })
})
