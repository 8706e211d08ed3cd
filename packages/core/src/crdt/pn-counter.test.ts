import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stamp } from '../../test/arbitraries.ts'
import { LAW, RUNS } from '../../test/property.ts'
import type { Stamp } from '../clock/hlc.ts'
import type { Value } from '../value/value.ts'
import { mergeRecords } from './merge.ts'
import {
  CounterOverflow,
  PnCounter,
  counterRecord,
  isCounterRow,
  mergeCounterRows,
  type CounterRow,
} from './pn-counter.ts'

const MAX = Number.MAX_SAFE_INTEGER
const row: fc.Arbitrary<CounterRow> = fc.record({ p: fc.nat(4), n: fc.nat(4) })
const node = fc.constantFrom('a', 'b', 'c')

function counterOf(rows: readonly (readonly [string, CounterRow])[]): PnCounter {
  const counter = new PnCounter()
  for (const [nodeId, each] of rows) counter.merge(nodeId, each)
  return counter
}

const stateOf = (counter: PnCounter): unknown => [...counter.rows()].sort(([a], [b]) => (a < b ? -1 : 1))

describe('the merge of rows', () => {
  it('[PN1] INV-10 is commutative, associative and idempotent', LAW, () => {
    fc.assert(
      fc.property(row, row, row, (a, b, c) => {
        expect(mergeCounterRows(a, b)).toEqual(mergeCounterRows(b, a))
        expect(mergeCounterRows(mergeCounterRows(a, b), c)).toEqual(mergeCounterRows(a, mergeCounterRows(b, c)))
        expect(mergeCounterRows(a, a)).toBe(a)
      }),
      { numRuns: RUNS },
    )
  })

  it('[PN2] INV-7 is what the merge of records does, whatever the stamps', LAW, () => {
    fc.assert(
      fc.property(row, stamp, row, stamp, (a, ofA, b, ofB) => {
        const merged = mergeRecords(counterRecord(a, ofA), counterRecord(b, ofB))
        expect(merged.value).toEqual(mergeCounterRows(a, b))
        expect(merged.base).toEqual({ millis: 0, counter: 0, nodeId: '' })
      }),
      { numRuns: RUNS },
    )
  })

  it('[PN2] also where the counts have many bits', () => {
    const at: Stamp = { millis: 1, counter: 0, nodeId: 'a' }
    const counts = [0, 1, 255, 256, 65_536, 2 ** 31, 2 ** 32, 2 ** 52 + 1, MAX - 1, MAX]
    for (const a of counts) {
      for (const b of counts) {
        const merged = mergeRecords(counterRecord({ p: a, n: b }, at), counterRecord({ p: b, n: a }, at))
        expect(merged.value).toEqual({ p: Math.max(a, b), n: Math.max(a, b) })
      }
    }
  })
})

describe('PnCounter', () => {
  it('[PN1] INV-10 INV-7 counts each row once, whatever the order and number of arrivals', LAW, () => {
    const rows = fc.array(fc.tuple(node, row), { maxLength: 10 })
    fc.assert(
      fc.property(rows, rows, (a, b) => {
        const counter = counterOf([...a, ...b, ...a])
        expect(stateOf(counter)).toEqual(stateOf(counterOf([...b.toReversed(), ...a])))
        const sum = [...counter.rows()].reduce((total, [, { p, n }]) => total + p - n, 0)
        expect(counter.value).toBe(sum)
      }),
      { numRuns: RUNS },
    )
  })

  it('[PN1] a node that counts hands out rows that only grow', () => {
    const counter = new PnCounter()
    expect(counter.add('a', 5)).toEqual({ p: 5, n: 0 })
    expect(counter.add('a', -7)).toEqual({ p: 5, n: 7 })
    expect(counter.add('b', 0)).toEqual({ p: 0, n: 0 })
    expect(counter.value).toBe(-2)
    expect(counter.row('a')).toEqual({ p: 5, n: 7 })
    expect(counter.row('b')).toBeUndefined()
    expect(counter.merge('a', { p: 4, n: 9 })).toBe(true)
    expect(counter.merge('a', { p: 5, n: 9 })).toBe(false)
    expect(counter.value).toBe(-4)
  })

  it('[PN3] no direction counts past 2^53 − 1 in all, and what is refused changes nothing', () => {
    const counter = counterOf([['a', { p: MAX - 1, n: 0 }]])
    expect(() => counter.add('b', 2)).toThrow(CounterOverflow)
    expect(counter.canMerge('b', { p: 2, n: 0 })).toBe(false)
    expect(() => counter.merge('b', { p: 0, n: MAX + 1 })).toThrow(CounterOverflow)
    expect(counter.value).toBe(MAX - 1)
    expect(counter.add('b', 1)).toEqual({ p: 1, n: 0 })
    expect(counter.add('b', -MAX)).toEqual({ p: 1, n: MAX })
    expect(counter.value).toBe(0)
    expect(() => counter.add('a', -1)).toThrow(CounterOverflow)
    for (const delta of [0.5, Number.NaN, Infinity, 2 ** 53]) expect(() => counter.add('a', delta)).toThrow(RangeError)
  })

  it('[PN1] a row is a map of two counts and nothing else', () => {
    expect(isCounterRow({ p: 0, n: MAX })).toBe(true)
    const none: (Value | undefined)[] = [
      undefined,
      null,
      1,
      [],
      {},
      { p: 1 },
      { p: 1, n: -1 },
      { p: 1.5, n: 0 },
      { p: 1, n: MAX + 1 },
      { p: 1, n: '0' },
      { p: 1, n: 0, x: 0 },
    ]
    for (const each of none) expect(isCounterRow(each)).toBe(false)
  })
})
