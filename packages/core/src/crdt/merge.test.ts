import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { record, wholeWriteOp, write, type Write } from '../../test/arbitraries.ts'
import { LAW, RUNS, same } from '../../test/property.ts'
import { compareStamps, maxStamp, type Stamp } from '../clock/hlc.ts'
import { canonicalRecord } from '../merkle/digest.ts'
import { compareCanonical } from '../value/compare.ts'
import { isMap, type Value } from '../value/value.ts'
import { mergeRecords, patchRecord, recordsEqual } from './merge.ts'
import { normalizeRecord } from './normalize.ts'
import { visibleValue, wholeWrite, type FieldState, type LwwRecord } from './record.ts'

const at = (millis: number, nodeId = 'n', counter = 0): Stamp => ({ millis, counter, nodeId })

/** Everything of a record that replicas must agree on, as text: canonical bytes and `timestamp`. */
function stateOf(state: LwwRecord): string {
  const { millis, counter, nodeId } = state.timestamp
  return `${Buffer.from(canonicalRecord('k', state)).toString('hex')}@${millis}:${counter}:${nodeId}`
}

function apply(state: LwwRecord, op: Write): LwwRecord {
  return op.kind === 'fields' ? patchRecord(state, op) : mergeRecords(state, wholeWrite(op.value, op.stamp, op.ttlMs))
}

describe('the laws of merging', () => {
  it('[LW12] merging is commutative', LAW, () => {
    fc.assert(
      fc.property(record, record, (a, b) => {
        const [ab, ba] = [mergeRecords(a, b), mergeRecords(b, a)]
        same(stateOf(ab), stateOf(ba))
        same(recordsEqual(ab, ba), true)
      }),
      { numRuns: RUNS },
    )
  })

  it('[LW12] merging is associative', LAW, () => {
    fc.assert(
      fc.property(record, record, record, (a, b, c) => {
        const left = mergeRecords(mergeRecords(a, b), c)
        const right = mergeRecords(a, mergeRecords(b, c))
        same(stateOf(left), stateOf(right))
        same(recordsEqual(left, right), true)
      }),
      { numRuns: RUNS },
    )
  })

  it('[LW12] merging is idempotent, and says by identity that nothing changed', LAW, () => {
    fc.assert(
      fc.property(record, record, (a, b) => {
        same(mergeRecords(a, structuredClone(a)), a)
        const merged = mergeRecords(a, b)
        same(mergeRecords(merged, b), merged)
        same(mergeRecords(merged, a), merged)
      }),
      { numRuns: RUNS },
    )
  })

  it('[LW12] [LW10] merging keeps normal form and changes neither side', LAW, () => {
    fc.assert(
      fc.property(record, record, (a, b) => {
        const before = [stateOf(a), stateOf(b)]
        const merged = mergeRecords(a, b)
        expect(normalizeRecord(merged)).toEqual(merged)
        same(compareStamps(merged.timestamp, maxStamp(a.timestamp, b.timestamp)), 0)
        expect([stateOf(a), stateOf(b)]).toEqual(before)
      }),
      { numRuns: RUNS },
    )
  })

  it('[LW12] two records are equal exactly if their canonical bytes and timestamps are', LAW, () => {
    fc.assert(
      fc.property(record, record, (a, b) => {
        same(recordsEqual(a, b), stateOf(a) === stateOf(b))
      }),
      { numRuns: RUNS },
    )
  })
})

describe('the order of writes', () => {
  const history = fc.tuple(wholeWriteOp, fc.array(write, { maxLength: 7 }))

  it('[LW12] writes give the record that the rules name, in any order and with any repetition', LAW, () => {
    fc.assert(
      fc.property(history, fc.infiniteStream(fc.nat()), ([first, rest], chance) => {
        const expected = stateOf(byTheRules([first, ...rest]))
        const shuffled = [...rest, ...rest].map((op) => ({ op, place: chance.next().value as number }))
        shuffled.sort((a, b) => a.place - b.place)
        const base = wholeWrite(first.value, first.stamp, first.ttlMs)
        same(stateOf([...rest].reduce(apply, base)), expected)
        same(stateOf(shuffled.map(({ op }) => op).reduce(apply, base)), expected)
      }),
      { numRuns: RUNS },
    )
  })

  it('[LW12] replicas that saw different writes agree once they have merged', LAW, () => {
    fc.assert(
      fc.property(history, fc.array(fc.nat({ max: 2 }), { minLength: 7, maxLength: 7 }), ([first, rest], places) => {
        const base = wholeWrite(first.value, first.stamp, first.ttlMs)
        const [a, b, c] = [0, 1, 2].map((place) => rest.filter((_, i) => places[i] === place).reduce(apply, base)) as [
          LwwRecord,
          LwwRecord,
          LwwRecord,
        ]
        const expected = stateOf(byTheRules([first, ...rest]))
        same(stateOf(mergeRecords(mergeRecords(a, b), c)), expected)
        same(stateOf(mergeRecords(c, mergeRecords(b, a))), expected)
      }),
      { numRuns: RUNS },
    )
  })

  it('[LW3] a repeated PATCH returns the record itself', LAW, () => {
    fc.assert(
      fc.property(record, write, (state, op) => {
        const once = apply(state, op)
        same(apply(once, op), once)
      }),
      { numRuns: RUNS },
    )
  })
})

describe('the rules one by one', () => {
  const put = (value: Value, stamp: Stamp, ttlMs?: number): LwwRecord => wholeWrite(value, stamp, ttlMs)

  it('[LW2] a removal has no time to live', () => {
    expect(wholeWrite(null, at(1), 5)).toEqual({ value: null, timestamp: at(1), base: at(1) })
  })

  it('[LW1] [LW3] PATCH changes only the fields that it names, and two writers of different fields both keep theirs', () => {
    const base = put({ title: 'old', done: false, note: 'n' }, at(1))
    const a = patchRecord(base, { stamp: at(2, 'a'), set: { title: 'new' } })
    const b = patchRecord(base, { stamp: at(3, 'b'), set: { done: true }, unset: ['note'] })
    const merged = mergeRecords(a, b)
    expect(merged.value).toEqual({ title: 'new', done: true })
    expect(merged.fields).toEqual({
      title: { stamp: at(2, 'a') },
      done: { stamp: at(3, 'b') },
      note: { stamp: at(3, 'b'), unset: true },
    })
    expect(base.value).toEqual({ title: 'old', done: false, note: 'n' })
  })

  it('[LW3] a name that is set and unset by one PATCH is unset', () => {
    const patched = patchRecord(put({ x: 1 }, at(1)), { stamp: at(2), set: { x: 2 }, unset: ['x'] })
    expect(patched.value).toEqual({})
  })

  it('[LW3] [LW9] a PATCH without fields raises only the timestamp', () => {
    const base = put({ x: 1 }, at(1))
    expect(patchRecord(base, { stamp: at(2), set: {} })).toEqual({ ...base, timestamp: at(2) })
  })

  it('[LW4] the greater stamp wins by millis, then counter, then node id by code unit', () => {
    for (const [smaller, greater] of [
      [at(1, 'z', 9), at(2, 'a', 0)],
      [at(1, 'z', 1), at(1, 'a', 2)],
      [at(1, 'B'), at(1, 'a')],
      [at(1, 'node-10'), at(1, 'node-9')],
    ] as const) {
      expect(mergeRecords(put('old', smaller), put('new', greater)).value).toBe('new')
      expect(mergeRecords(put('new', greater), put('old', smaller)).value).toBe('new')
    }
  })

  it.each<[string, Value, number | undefined, Value, number | undefined]>([
    ['a tombstone over a map', null, undefined, { x: 1 }, undefined],
    ['a tombstone over another value', null, undefined, 'z', undefined],
    ['a map over another value', {}, undefined, 'z', undefined],
    ['the greater canonical bytes', 'b', 1, 'a', 9],
    ['a longer text over a greater one, as canonical bytes have it', 'aa', undefined, 'z', undefined],
    ['the longer time to live of equal values', 'a', 9, 'a', 1],
    ['no time to live over one', 'a', undefined, 'a', 9],
  ])('[LW5] at equal base stamps: %s', (_, winner, winnerTtl, loser, loserTtl) => {
    const [a, b] = [put(winner, at(1), winnerTtl), put(loser, at(1), loserTtl)]
    expect(mergeRecords(a, b)).toEqual(a)
    expect(mergeRecords(b, a)).toEqual(a)
  })

  it('[LW5] two maps with equal base stamps join field by field, with the longer time to live', () => {
    const merged = mergeRecords(put({ x: 1, y: 'b' }, at(1), 5), put({ y: 'a', z: null }, at(1), 9))
    expect(merged).toEqual({ value: { x: 1, y: 'b', z: null }, timestamp: at(1), base: at(1), ttlMs: 9 })
  })

  it('[LW5] a field under a field write does not come back from a map with the same base stamp', () => {
    const unset = patchRecord(put({ x: 1 }, at(1)), { stamp: at(2), set: {}, unset: ['x'] })
    expect(mergeRecords(unset, put({ x: 9 }, at(1))).value).toEqual({})
    expect(mergeRecords(put({ x: 9 }, at(1)), unset).value).toEqual({})
  })

  it('[LW6] of two field writes the later wins; at equal stamps an unset over a value, a greater value over another', () => {
    const base = put({}, at(1))
    const write = (millis: number, value: Value): LwwRecord =>
      patchRecord(base, { stamp: at(millis), set: { x: value } })
    const unset = patchRecord(base, { stamp: at(2), set: {}, unset: ['x'] })
    expect(mergeRecords(write(2, 'b'), write(3, 'a')).value).toEqual({ x: 'a' })
    expect(mergeRecords(write(2, 'a'), write(2, 'b')).value).toEqual({ x: 'b' })
    expect(mergeRecords(write(2, 'a'), unset).value).toEqual({})
    expect(mergeRecords(unset, write(2, 'a')).value).toEqual({})
    expect(mergeRecords(unset, write(3, 'a')).value).toEqual({ x: 'a' })
  })

  it('[LW7] PUT beats PATCH at equal stamps, and drops the field writes before it', () => {
    const base = put({ x: 1 }, at(1))
    const later = put({ x: 3 }, at(2))
    const patch = { stamp: at(2), set: { x: 2 } }
    expect(mergeRecords(patchRecord(base, patch), later)).toEqual(later)
    expect(patchRecord(later, patch)).toBe(later)
  })

  it('[LW8] a deleted record stays deleted under later field writes until a later whole write brings it back', () => {
    const removed = mergeRecords(put({ x: 1, y: 1 }, at(1)), wholeWrite(null, at(2)))
    const patched = patchRecord(removed, { stamp: at(5), set: { x: 2 }, unset: ['y'] })
    expect(visibleValue(patched, 0)).toBeUndefined()
    expect(patched.fields).toEqual({ x: { stamp: at(5), value: 2 }, y: { stamp: at(5), unset: true } })
    expect(mergeRecords(patched, put({ x: 8, y: 8, z: 8 }, at(4))).value).toEqual({ x: 2, z: 8 })
    expect(mergeRecords(patched, put({ x: 8, y: 8, z: 8 }, at(6))).value).toEqual({ x: 8, y: 8, z: 8 })
  })

  it('[LW8] field writes over a value that is no map are kept and hidden', () => {
    const patched = patchRecord(put('scalar', at(1)), { stamp: at(3), set: { x: null } })
    expect(patched.value).toBe('scalar')
    expect(mergeRecords(patched, put({ y: 1 }, at(2))).value).toEqual({ x: null, y: 1 })
  })

  it('[LW9] the timestamp is the greatest of all, even of what lost', () => {
    const late = { ...put('old', at(1)), timestamp: at(9) }
    expect(mergeRecords(put('new', at(2)), late)).toEqual({ value: 'new', base: at(2), timestamp: at(9) })
  })

  it('[LW11] an expired record and a tombstone read as absent; field writes do not lengthen a life', () => {
    const state = patchRecord(put({ x: 1 }, at(1_000), 100), { stamp: at(1_090), set: { x: 2 } })
    expect(visibleValue(state, 1_100)).toEqual({ x: 2 })
    expect(visibleValue(state, 1_101)).toBeUndefined()
    expect(visibleValue(put(null, at(1)), 0)).toBeUndefined()
    expect(visibleValue(undefined, 0)).toBeUndefined()
  })
})

/** The rules written down once more, on all writes at a time: the oracle of the order of writes. */
function byTheRules(writes: readonly Write[]): LwwRecord {
  const wholes = writes.filter((op) => op.kind === 'whole')
  const base = wholes.map((op) => op.stamp).reduce(maxStamp)
  const latest = wholes.filter((op) => compareStamps(op.stamp, base) === 0)
  const kind = (value: Value): number => (value === null ? 2 : isMap(value) ? 1 : 0)
  const greatestKind = Math.max(...latest.map((op) => kind(op.value)))
  let candidates = latest.filter((op) => kind(op.value) === greatestKind)
  let value: Value = null
  if (greatestKind === 1) {
    const joined = new Map<string, Value>()
    for (const op of candidates) {
      for (const [name, item] of Object.entries(op.value as Record<string, Value>)) {
        const known = joined.get(name)
        if (known === undefined || compareCanonical(item, known) > 0) joined.set(name, item)
      }
    }
    value = Object.fromEntries(joined)
  } else if (greatestKind === 0) {
    value = candidates.map((op) => op.value).reduce((a, b) => (compareCanonical(a, b) >= 0 ? a : b))
    candidates = candidates.filter((op) => compareCanonical(op.value, value) === 0)
  }
  const ttls = greatestKind === 2 ? [] : candidates.map((op) => op.ttlMs ?? Number.POSITIVE_INFINITY)
  const ttlMs = Math.max(...ttls)

  const fields: Record<string, FieldState> = {}
  const shown = greatestKind === 1 ? { ...(value as Record<string, Value>) } : undefined
  const fieldWrites = writes
    .filter((op) => op.kind === 'fields')
    .filter((op) => compareStamps(op.stamp, base) > 0)
    .flatMap((op) => [
      ...Object.entries(op.set).map(([name, item]) => ({ name, stamp: op.stamp, item: item as Value | undefined })),
      ...(op.unset ?? []).map((name) => ({ name, stamp: op.stamp, item: undefined })),
    ])
  for (const name of new Set(fieldWrites.map((each) => each.name))) {
    const own = fieldWrites.filter((each) => each.name === name)
    const stamp = own.map((each) => each.stamp).reduce(maxStamp)
    const tied = own.filter((each) => compareStamps(each.stamp, stamp) === 0).map((each) => each.item)
    const isUnset = tied.includes(undefined)
    const item = isUnset ? null : (tied as Value[]).reduce((a, b) => (compareCanonical(a, b) >= 0 ? a : b))
    fields[name] = isUnset ? { stamp, unset: true } : shown === undefined ? { stamp, value: item } : { stamp }
    if (shown === undefined) continue
    if (isUnset) delete shown[name]
    else shown[name] = item
  }
  return {
    value: shown ?? value,
    base,
    timestamp: writes.map((op) => op.stamp).reduce(maxStamp),
    ...(Number.isFinite(ttlMs) ? { ttlMs } : {}),
    ...(Object.keys(fields).length === 0 ? {} : { fields }),
  }
}
