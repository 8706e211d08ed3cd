import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rawRecord, record } from '../../test/arbitraries.ts'
import { LAW, RUNS, same } from '../../test/property.ts'
import { compareStamps, type Stamp } from '../clock/hlc.ts'
import { isMap } from '../value/value.ts'
import { normalizeRecord, type RawRecord } from './normalize.ts'
import { fieldStamp, isTombstone, latestStamp } from './record.ts'

const at = (millis: number): Stamp => ({ millis, counter: 0, nodeId: 'n' })

/** A record with base 2 and timestamp 9. */
function normal(value: RawRecord['value'], fields: NonNullable<RawRecord['fields']>): unknown {
  return normalizeRecord({ value, timestamp: at(9), base: at(2), fields })
}

const expected = (value: unknown, fields?: unknown) => ({
  value,
  timestamp: at(9),
  base: at(2),
  ...(fields === undefined ? {} : { fields }),
})

describe('normal form', () => {
  it('[LW10] whatever arrives gets it, and keeps it', LAW, () => {
    fc.assert(
      fc.property(rawRecord, (raw) => {
        const before = structuredClone(raw)
        const state = normalizeRecord(raw)
        expect(raw).toEqual(before)
        expect(normalizeRecord(state)).toEqual(state)
        same(compareStamps(state.base, raw.base ?? raw.timestamp), 0)
        expect(compareStamps(latestStamp(state), state.timestamp)).toBeLessThanOrEqual(0)
        expect(compareStamps(raw.timestamp, state.timestamp)).toBeLessThanOrEqual(0)
        if (isTombstone(state)) expect(state).not.toHaveProperty('ttlMs')
        for (const [name, field] of Object.entries(state.fields ?? {})) {
          expect(compareStamps(field.stamp, state.base)).toBeGreaterThan(0)
          same(fieldStamp(state, name), field.stamp)
          if (field.unset === true) expect(field).not.toHaveProperty('value')
          else expect('value' in field).toBe(!isMap(state.value))
          if (isMap(state.value)) expect(Object.hasOwn(state.value, name)).toBe(field.unset !== true)
        }
      }),
      { numRuns: RUNS / 2 },
    )
  })

  it('[LW10] a whole write that has it is returned as it is', LAW, () => {
    fc.assert(
      fc.property(record, (state) => {
        if (state.fields === undefined) expect(normalizeRecord(state)).toBe(state)
      }),
      { numRuns: RUNS / 10 },
    )
  })

  it('[LW10] (a) without base, base is the timestamp', () => {
    expect(normalizeRecord({ value: 1, timestamp: at(1) })).toEqual({ value: 1, timestamp: at(1), base: at(1) })
  })

  it('[LW10] (b) field writes that are not later than base are dropped and the value stays', () => {
    expect(normal({ x: 1 }, { x: { stamp: at(2) } })).toEqual(expected({ x: 1 }))
    expect(normal({ x: 1 }, { x: { stamp: at(1), unset: true } })).toEqual(expected({ x: 1 }))
    expect(normal({}, { x: { stamp: at(2), value: 1 } })).toEqual(expected({}))
  })

  it('[LW10] (c) over a map an unset hides, a shown value goes before one of its own, and neither is an unset', () => {
    expect(normal({ x: 1 }, { x: { stamp: at(3), unset: true, value: 5 } })).toEqual(
      expected({}, { x: { stamp: at(3), unset: true } }),
    )
    expect(normal({ x: 1 }, { x: { stamp: at(3), value: 5 } })).toEqual(expected({ x: 1 }, { x: { stamp: at(3) } }))
    expect(normal({}, { x: { stamp: at(3), value: -0 } })).toStrictEqual(expected({ x: 0 }, { x: { stamp: at(3) } }))
    expect(normal({}, { x: { stamp: at(3) } })).toEqual(expected({}, { x: { stamp: at(3), unset: true } }))
    expect(normal({}, { toString: { stamp: at(3) } })).toEqual(
      expected({}, { toString: { stamp: at(3), unset: true } }),
    )
  })

  it('[LW10] (d) over a tombstone or another value an entry without a value is an unset', () => {
    expect(normal(null, { x: { stamp: at(3), value: null }, y: { stamp: at(3) } })).toEqual(
      expected(null, { x: { stamp: at(3), value: null }, y: { stamp: at(3), unset: true } }),
    )
    expect(normal('s', { x: { stamp: at(3), unset: true, value: 1 } })).toEqual(
      expected('s', { x: { stamp: at(3), unset: true } }),
    )
  })

  it('[LW10] (f) a tombstone has no time to live', () => {
    expect(normalizeRecord({ value: null, timestamp: at(1), base: at(1), ttlMs: 5 })).toEqual({
      value: null,
      timestamp: at(1),
      base: at(1),
    })
  })

  it('[LW10] (g) the timestamp is raised to the latest stamp', () => {
    const fields = { x: { stamp: at(7) } }
    expect(normalizeRecord({ value: { x: 1 }, timestamp: at(1), base: at(2), fields }).timestamp).toEqual(at(7))
    expect(normalizeRecord({ value: { x: 1 }, timestamp: at(1), base: at(2) }).timestamp).toEqual(at(2))
  })

  it('[CV1] minus zero becomes zero', () => {
    expect(normalizeRecord({ value: -0, timestamp: at(1), base: at(1) }).value).toBe(0)
  })
})
