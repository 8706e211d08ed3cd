import { isExpired, normalizeRecord, visibleValue } from '@syncline/core'
import type { WireRecord } from '../../src/messages/maps.ts'
import { at, type KeyWrite } from '../compute.ts'
import { fielded, later, n, stamp, whole } from '../messages/examples.ts'

/** Records as they may arrive, under their keys. */
export const records: readonly (readonly [name: string, rules: string, key: string, record: WireRecord])[] = [
  ['a whole write', 'SY4 SY8', 't1', whole],
  ['a tombstone', 'SY4 SY8', 't2', { value: null, timestamp: later }],
  ['a time to live', 'SY4 SY8', 'user:1', { value: 'x', timestamp: n(1_678_900_000_000), ttlMs: 60_000 }],
  ['field writes, one of them an unset', 'SY4 SY8', 'ключ', fielded],
  [
    'field writes over a tombstone',
    'SY4 SY8',
    '😀',
    { value: null, timestamp: later, base: stamp, fields: { done: { stamp: later, value: true } } },
  ],
  ['bytes', 'SY4 SY8', 'b', { value: { data: Uint8Array.of(1, 2, 3) }, timestamp: n(3, 4, 'm') }],
  [
    'a field write that the base has overtaken',
    'SY4 SY8',
    't3',
    { value: { a: 1 }, timestamp: later, fields: { a: { stamp } } },
  ],
  [
    'a timestamp below a field write',
    'SY4 SY8',
    't4',
    { value: { a: 1 }, timestamp: stamp, base: stamp, fields: { a: { stamp: later } } },
  ],
  [
    'a field of the base without an own value is an unset',
    'LW10',
    't5',
    { value: { a: 1 }, timestamp: at(2), base: at(1), fields: { b: { stamp: at(2) } } },
  ],
  [
    'a value beside a map moves into it',
    'LW10',
    't6',
    { value: { a: 1 }, timestamp: at(2), base: at(1), fields: { b: { stamp: at(2), value: 7 } } },
  ],
  [
    'an unset takes its field out of the map',
    'LW10',
    't7',
    { value: { a: 1, b: 2 }, timestamp: at(2), base: at(1), fields: { b: { stamp: at(2), unset: true } } },
  ],
  [
    'over a text, a field write without a value is an unset',
    'LW10',
    't8',
    { value: 'x', timestamp: at(2), base: at(1), fields: { b: { stamp: at(2) } } },
  ],
  ['a tombstone has no time to live', 'LW10', 't9', { value: null, timestamp: at(2), ttlMs: 5 }],
  ['a version is not part of the state', 'SY4', 't10', { value: 1, timestamp: at(2), version: 9 }],
]

const set = (value: WireRecord['value'], millis: number, rest: Partial<WireRecord> = {}): WireRecord => ({
  value,
  timestamp: at(millis),
  ...rest,
})
const field = (
  name: string,
  millis: number,
  base: number,
  value: Exclude<WireRecord['value'], undefined>,
): WireRecord => ({
  value: { [name]: value },
  timestamp: at(millis),
  base: at(base),
  fields: { [name]: { stamp: at(millis) } },
})
const gone = (name: string, millis: number, base: number): WireRecord => ({
  value: {},
  timestamp: at(millis),
  base: at(base),
  fields: { [name]: { stamp: at(millis), unset: true } },
})

/** Two records, and what they merge to in either order. */
export const merges: readonly (readonly [name: string, rules: string, a: WireRecord, b: WireRecord])[] = [
  ['the later write wins', 'LW4', set('old', 1), set('new', 2)],
  ['the counter decides within a millisecond', 'LW4', set('old', 1), { value: 'new', timestamp: at(1, 1) }],
  [
    'the node id decides within a counter',
    'LW4',
    { value: 'z', timestamp: at(1, 0, 'B') },
    { value: 'y', timestamp: at(1, 0, 'a') },
  ],
  ['a tombstone is a write like any', 'LW4', set('old', 1), set(null, 2)],
  ['a later write brings a record back', 'LW4', set(null, 1), set('back', 2)],
  ['a record and itself', 'LW12', fielded, fielded],
  ['at equal stamps a tombstone wins over a map', 'LW5', set(null, 1), set({ a: 1 }, 1)],
  ['at equal stamps a tombstone wins over a text', 'LW5', set(null, 1), set('x', 1)],
  ['at equal stamps a map wins over a text', 'LW5', set({}, 1), set('x', 1)],
  ['at equal stamps the greater text wins', 'LW5', set('a', 1), set('b', 1)],
  ['at equal stamps the longer text is greater', 'LW5 CV4', set('aa', 1), set('b', 1)],
  ['at equal stamps a text wins over a number', 'LW5 CV4', set(9, 1), set('', 1)],
  ['at equal stamps and values the longer life', 'LW5', set('x', 1, { ttlMs: 5 }), set('x', 1, { ttlMs: 9 })],
  ['at equal stamps and values no end is the longest life', 'LW5', set('x', 1, { ttlMs: 5 }), set('x', 1)],
  ['at equal stamps the greater value with its own life', 'LW5', set('b', 1, { ttlMs: 5 }), set('a', 1)],
  ['at equal stamps two maps are joined', 'LW5', set({ a: 1, b: 2 }, 1), set({ b: 3, c: 4 }, 1)],
  [
    'at equal stamps two maps are joined, and live as long as the longer',
    'LW5',
    set({ a: 1 }, 1, { ttlMs: 5 }),
    set({ b: 1 }, 1, { ttlMs: 9 }),
  ],
  ['writes of different fields both stay', 'LW6', field('a', 2, 1, 1), field('b', 3, 1, 2)],
  ['of one field the later write wins', 'LW6', field('a', 2, 1, 'old'), field('a', 3, 1, 'new')],
  ['of one field at equal stamps the greater value wins', 'LW6', field('a', 2, 1, 1), field('a', 2, 1, 2)],
  ['of one field at equal stamps an unset wins', 'LW6', field('a', 2, 1, 1), gone('a', 2, 1)],
  ['a later write of the field wins over an unset', 'LW6', field('a', 3, 1, 1), gone('a', 2, 1)],
  ['a whole write drops earlier field writes', 'LW7', field('a', 2, 1, 1), set({ b: 1 }, 3)],
  ['at equal stamps a whole write drops field writes', 'LW7', field('a', 2, 1, 1), set({ b: 1 }, 2)],
  ['later field writes go over a whole write', 'LW7', field('a', 4, 1, 1), set({ a: 0, b: 1 }, 3)],
  ['field writes over a tombstone are kept out of sight', 'LW8', field('a', 4, 1, 1), set(null, 3)],
  ['field writes over a text are kept out of sight', 'LW8', field('a', 4, 1, 1), set('text', 3)],
  [
    'hidden field writes show again over a later map',
    'LW8',
    { value: null, timestamp: at(4), base: at(3), fields: { a: { stamp: at(9), value: 1 } } },
    set({ b: 2 }, 5),
  ],
  [
    'hidden field writes that a later map has overtaken are dropped',
    'LW8',
    { value: null, timestamp: at(4), base: at(3), fields: { a: { stamp: at(4), value: 1 } } },
    set({ b: 2 }, 5),
  ],
  ['an unset hides a field of a joined map', 'LW5 LW8', gone('a', 2, 1), set({ a: 1, b: 2 }, 1)],
  [
    'the greatest timestamp stays, whatever wins',
    'LW9',
    set('loser', 1, { timestamp: at(9), base: at(1) }),
    set('winner', 2),
  ],
  ['a life counts from the base', 'LW4 LW9', set('x', 2, { ttlMs: 5 }), set('y', 1)],
]

const put = (millis: number, value: KeyWrite['value'], ttlMs?: number): KeyWrite => ({
  opType: 'PUT',
  value,
  timestamp: at(millis),
  ...(ttlMs === undefined ? {} : { ttlMs }),
})
const patch = (millis: number, value: KeyWrite['value'], unset?: readonly string[]): KeyWrite => ({
  opType: 'PATCH',
  value,
  timestamp: at(millis),
  ...(unset === undefined ? {} : { unset }),
})
const remove = (millis: number): KeyWrite => ({ opType: 'REMOVE', value: null, timestamp: at(millis) })

/** Writes of one key, and the record that they leave. */
export const writes: readonly (readonly [name: string, rules: string, ops: readonly KeyWrite[]])[] = [
  ['a PUT', 'LW2', [put(1, { a: 1 })]],
  ['a PUT with a time to live', 'LW2', [put(1, { a: 1 }, 5_000)]],
  ['a REMOVE', 'LW2', [remove(1)]],
  ['a REMOVE of a record', 'LW2', [put(1, { a: 1 }, 5_000), remove(2)]],
  ['a REMOVE that comes late', 'LW2 LW4', [put(2, { a: 1 }), remove(1)]],
  ['a PUT twice', 'LW12', [put(1, 'x'), put(1, 'x')]],
  ['a PATCH of nothing', 'LW3', [patch(1, { a: 1 })]],
  ['a PATCH', 'LW3', [put(1, { a: 1, b: 2 }), patch(2, { b: 3, c: 4 })]],
  ['a PATCH that unsets', 'LW3', [put(1, { a: 1, b: 2 }), patch(2, {}, ['b', 'c'])]],
  ['a PATCH twice', 'LW3 LW12', [put(1, { a: 1 }), patch(2, { b: 3 }), patch(2, { b: 3 })]],
  ['a PATCH older than the record', 'LW3 LW7', [put(3, { a: 1 }), patch(2, { a: 9 })]],
  ['a PATCH at the stamp of the record', 'LW7', [put(3, { a: 1 }), patch(3, { a: 9 })]],
  [
    'a PATCH older than another one of the field',
    'LW6',
    [put(1, { a: 1 }), patch(3, { a: 3 }), patch(2, { a: 2, b: 2 })],
  ],
  ['a PATCH of a tombstone', 'LW8', [put(1, { a: 1 }), remove(2), patch(3, { a: 3 })]],
  ['a PATCH of a tombstone, and a PUT between', 'LW8', [remove(2), patch(5, { a: 3 }), put(4, { b: 1 })]],
  ['a PATCH of a text', 'LW8', [put(1, 'text'), patch(2, { a: 3 })]],
  [
    'a PUT of a text over a PATCH, and a map over it',
    'LW8',
    [put(1, {}), patch(9, { a: 1 }), put(2, 'text'), put(3, { b: 1 })],
  ],
  ['a PATCH keeps the time to live', 'LW3 LW11', [put(1, { a: 1 }, 50), patch(2, { a: 2 })]],
  ['a PUT without one ends it', 'LW2', [put(1, { a: 1 }, 50), put(2, { a: 2 })]],
  ['a PUT of null', 'LW2', [put(1, { a: 1 }), put(2, null)]],
]

/** Records, times, and whether a reader sees them then. */
export const visibility = (
  [
    ['a record', set('x', 1_000), 5_000],
    ['a tombstone', set(null, 1_000), 5_000],
    ['in the last millisecond of its life', set('x', 1_000, { ttlMs: 100 }), 1_100],
    ['one later', set('x', 1_000, { ttlMs: 100 }), 1_101],
    ['a later field write does not lengthen it', { ...field('a', 1_090, 1_000, 1), ttlMs: 100 }, 1_101],
    ['a later timestamp does not lengthen it', set('x', 1_090, { base: at(1_000), ttlMs: 100 }), 1_101],
    ['a life of less than a millisecond', set('x', 1_000, { ttlMs: 0.5 }), 1_001],
    ['a record of the future', set('x', 9_000, { ttlMs: 1 }), 1_000],
  ] as const
).map(([name, wire, now]) => {
  const record = normalizeRecord(wire)
  return {
    name,
    rules: 'LW11',
    record: wire,
    now,
    isVisible: visibleValue(record, now) !== undefined,
    isExpired: isExpired(record, now),
  }
})
