import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { anyValue, map, value } from '../../test/arbitraries.ts'
import { LAW, RUNS, same } from '../../test/property.ts'
import type { Value } from '../value/value.ts'
import { compareForOrder, compileOrder } from './order.ts'

const any = fc.oneof(fc.constant(undefined), fc.constant(null), value, anyValue)

describe('the order of values', () => {
  it('[QY8] absent and null, booleans, numbers, strings, bytes, arrays, maps', () => {
    const bytes = (...items: number[]): Uint8Array => new Uint8Array(items)
    const ascending: (Value | undefined)[] = [
      undefined,
      false,
      true,
      -2,
      -1.5,
      0,
      10,
      '',
      'B',
      'a',
      'aa',
      'b',
      '😀',
      '\uff61',
      bytes(),
      bytes(1, 255),
      bytes(2),
      [],
      ['z'],
      [0, 0],
      {},
      { a: 1 },
      { a: 2 },
    ]
    for (const [i, a] of ascending.entries()) {
      for (const [j, b] of ascending.entries()) {
        same(Math.sign(compareForOrder(a, structuredClone(b))), Math.sign(i - j))
      }
    }
    expect(compareForOrder(null, undefined)).toBe(0)
    expect(compareForOrder(undefined, null)).toBe(0)
    expect(compareForOrder(0, -0)).toBe(0)
  })

  it('[QY8] it is total: antisymmetric, transitive, and equal only where values are', LAW, () => {
    fc.assert(
      fc.property(any, any, any, (a, b, c) => {
        const [ab, bc, ac] = [compareForOrder(a, b), compareForOrder(b, c), compareForOrder(a, c)].map(Math.sign)
        same(Math.sign(compareForOrder(b, a)), -ab! + 0)
        if (ab! <= 0 && bc! <= 0) expect(ac).toBe(ab === 0 && bc === 0 ? 0 : -1)
        same(compareForOrder(a, a), 0)
      }),
      { numRuns: RUNS },
    )
  })
})

describe('the order of rows', () => {
  const sorted = (rows: [string, Value][], sort?: Record<string, 'asc' | 'desc'>): string[] => {
    const order = compileOrder(sort)
    return rows.sort(([keyA, a], [keyB, b]) => order(keyA, a, keyB, b)).map(([key]) => key)
  }

  it('[QY9] fields in turn, ties by ascending key, also where the sort descends', () => {
    const rows: [string, Value][] = [
      ['c', { age: 1, name: 'x' }],
      ['a', { age: 2, name: 'x' }],
      ['B', { age: 2, name: 'x' }],
      ['b', { age: 2, name: 'y' }],
      ['d', 'no map'],
      ['e', { age: null }],
    ]
    expect(sorted(rows)).toEqual(['B', 'a', 'b', 'c', 'd', 'e'])
    expect(sorted(rows, { age: 'asc', name: 'asc' })).toEqual(['d', 'e', 'c', 'B', 'a', 'b'])
    expect(sorted(rows, { age: 'desc', name: 'desc' })).toEqual(['b', 'B', 'a', 'c', 'd', 'e'])
    expect(sorted(rows, { name: 'desc', age: 'asc' })).toEqual(['b', 'c', 'B', 'a', 'd', 'e'])
  })

  it('[QY9] a sort may reach into nested maps', () => {
    expect(
      sorted(
        [
          ['a', { x: { y: 2 } }],
          ['b', { x: { y: 1 } }],
          ['c', { 'x.y': 0 }],
        ],
        { 'x.y': 'asc' },
      ),
    ).toEqual(['c', 'b', 'a'])
  })

  it('[QY9] no two rows with different keys tie, so every page is the same page', LAW, () => {
    fc.assert(
      fc.property(map, map, fc.constantFrom('asc' as const, 'desc' as const), (a, b, direction) => {
        const order = compileOrder({ x: direction, y: 'asc' })
        expect(order('k', a, 'l', b)).not.toBe(0)
        same(Math.sign(order('k', a, 'l', b)), -Math.sign(order('l', b, 'k', a)))
        same(order('k', a, 'k', a), 0)
      }),
      { numRuns: RUNS / 4 },
    )
  })
})
