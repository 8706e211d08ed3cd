import {
  OrMap,
  PnCounter,
  formatStamp,
  mergeItems,
  normalizeRecord,
  parseItemKey,
  recordsEqual,
  type Value,
} from '@syncline/core'
import { itemsDigest } from '@syncline/core/merkle'
import type { WireRecord } from '../../src/messages/maps.ts'
import { toWireRecord } from '../../src/read/wire-record.ts'
import { at } from '../compute.ts'

const tag = (millis: number, nodeId = 'a'): string => formatStamp(at(millis, 0, nodeId))

/** Keys of items, taken apart; null where they are none. */
export const itemKeys = [
  '1:0:a:k',
  '1706000000000:2:client-1:todo:1',
  '1:0::',
  '1:0:a:',
  '1:0:a',
  '1:0',
  'k',
  '01:0:a:k',
  '1:65536:a:k',
  '5:0:узел:ключ',
  '1:0:a: ',
  '1:0:a:😀:b:c',
  '9007199254740991:65535:n:k',
  ':0:a:k',
].map((text) => ({ rules: 'OR1', text, item: parseItemKey(text) ?? null }))

const added = (value: Value, millis: number, ttlMs?: number): WireRecord => ({
  value,
  timestamp: at(millis),
  ...(ttlMs === undefined ? {} : { ttlMs }),
})

/** Two states of one item, and what they merge to in either order. */
export const itemMerges = (
  [
    ['an add and itself', added('x', 1), added('x', 1)],
    ['a removal wins over the add', added('x', 1), added(null, 2)],
    ['a removal wins also with an earlier stamp', added('x', 5), added(null, 2)],
    ['an add that was stamped anew', added('x', 1), added('x', 7)],
    ['two removals', added(null, 3), added(null, 2)],
    ['an add with a longer life', added('x', 1, 5), added('x', 1, 9)],
    ['an add without an end', added('x', 1, 5), added('x', 1)],
    ['an add of a map, and one of the same map', added({ b: 1, a: [2] }, 1), added({ a: [2], b: 1 }, 1)],
    ['an add stamped anew with an end', added('x', 1), added('x', 7, 5)],
    ['a removal at the same stamp', added('x', 4), added(null, 4)],
    ['a removal over an add that was stamped anew after it', added('x', 9), { ...added(null, 12), base: at(2) }],
    ['two removals of other bases', { ...added(null, 9), base: at(3) }, { ...added(null, 5), base: at(4) }],
    ['a removal of another node', added('x', 1), { value: null, timestamp: at(1, 0, 'b') }],
  ] as const
).map(([name, a, b]) => {
  const [x, y] = [normalizeRecord(a), normalizeRecord(b)]
  const merged = mergeItems(x, y)
  if (!recordsEqual(merged, mergeItems(y, x))) throw new Error(`${name} does not commute.`)
  return { name, rules: 'OR3', a, b, merged: toWireRecord(merged) }
})

/** An add to the key, or a removal. */
export type OrOp =
  | { readonly add: Value; readonly tag: string; readonly millis: number; readonly ttlMs?: number }
  | { readonly remove: string; readonly millis: number }

/** What the key `k` shows at a time after adds and removals, and its digest for existing clients. */
export function shownAfter(
  ops: readonly OrOp[],
  now: number,
): { readonly shows: readonly Value[]; readonly digest: number | null } {
  const map = new OrMap()
  for (const op of ops) {
    if ('remove' in op) map.remove('k', op.remove, at(op.millis))
    else map.add('k', op.tag, op.add, at(op.millis), op.ttlMs)
  }
  const items = [...map.items('k')].filter(({ record }) => record.value !== null)
  return { shows: map.values('k', now), digest: items.length === 0 ? null : itemsDigest('k', items) }
}

/** Adds and removals of one key, and what it shows at a time. */
export const orMaps = (
  [
    ['one value', [{ add: 'x', tag: tag(1), millis: 1 }], 100],
    [
      'values in the order of their tags',
      [
        { add: 'b', tag: tag(9), millis: 9 },
        { add: 'a', tag: tag(10), millis: 10 },
        { add: 'c', tag: tag(2), millis: 2 },
      ],
      100,
    ],
    [
      'the same value twice',
      [
        { add: 'x', tag: tag(1), millis: 1 },
        { add: 'x', tag: tag(1, 'b'), millis: 1 },
      ],
      100,
    ],
    [
      'a removal of what it saw',
      [
        { add: 'x', tag: tag(1), millis: 1 },
        { add: 'x', tag: tag(2, 'b'), millis: 2 },
        { remove: tag(1), millis: 3 },
      ],
      100,
    ],
    [
      'a removal before the add',
      [
        { remove: tag(1), millis: 3 },
        { add: 'x', tag: tag(1), millis: 1 },
      ],
      100,
    ],
    [
      'a removal that is stamped before the add',
      [
        { add: 'x', tag: tag(1), millis: 9 },
        { remove: tag(1), millis: 3 },
      ],
      100,
    ],
    [
      'an add that is repeated after its removal',
      [
        { add: 'x', tag: tag(1), millis: 1 },
        { remove: tag(1), millis: 3 },
        { add: 'x', tag: tag(1), millis: 7 },
      ],
      100,
    ],
    ['objects', [{ add: { b: 2, a: [1] }, tag: tag(1), millis: 1 }], 100],
    [
      'a value whose time has passed',
      [
        { add: 'x', tag: tag(1), millis: 1, ttlMs: 50 },
        { add: 'y', tag: tag(2), millis: 2 },
      ],
      100,
    ],
    ['nothing', [{ remove: tag(1), millis: 3 }], 100],
    [
      'tags of one millisecond, by node',
      [
        { add: 1, tag: tag(5, 'b'), millis: 5 },
        { add: 2, tag: tag(5, 'a'), millis: 5 },
        { add: 3, tag: tag(5, 'B'), millis: 5 },
      ],
      100,
    ],
    [
      'an add that was stamped anew',
      [
        { add: 'x', tag: tag(1), millis: 1 },
        { add: 'x', tag: tag(1), millis: 9 },
      ],
      100,
    ],
    [
      'everything removed',
      [
        { add: 'x', tag: tag(1), millis: 1 },
        { add: 'y', tag: tag(2), millis: 2 },
        { remove: tag(1), millis: 3 },
        { remove: tag(2), millis: 3 },
      ],
      100,
    ],
    [
      'values of all types',
      [
        { add: true, tag: tag(1), millis: 1 },
        { add: 0.5, tag: tag(2), millis: 2 },
        { add: [1, [2]], tag: tag(3), millis: 3 },
        { add: 'ü', tag: tag(4), millis: 4 },
      ],
      100,
    ],
    ['names further in that are not names at the top', [{ add: { a: { b: 1 }, b: 2 }, tag: tag(1), millis: 1 }], 100],
    ['a value that lives', [{ add: 'x', tag: tag(1), millis: 60, ttlMs: 50 }], 100],
    ['a value at its last moment', [{ add: 'x', tag: tag(1), millis: 50, ttlMs: 50 }], 100],
    ['a value just after its last moment', [{ add: 'x', tag: tag(1), millis: 49, ttlMs: 50 }], 100],
    [
      'an add after a removal of another tag',
      [
        { add: 'x', tag: tag(1), millis: 1 },
        { remove: tag(1), millis: 2 },
        { add: 'x', tag: tag(3), millis: 3 },
      ],
      100,
    ],
  ] as const satisfies readonly (readonly [string, readonly OrOp[], number])[]
).map(([name, ops, now]) => ({ name, rules: 'OR2 OR4 OR5 MK6', key: 'k', ops, now, ...shownAfter(ops, now) }))

/** Rows that are merged into a counter in this order: its rows then, and its value. */
export const counters = (
  [
    ['nothing', []],
    ['one node', [['a', { p: 5, n: 2 }]]],
    [
      'two nodes',
      [
        ['a', { p: 5, n: 0 }],
        ['b', { p: 0, n: 7 }],
      ],
    ],
    [
      'the same row twice',
      [
        ['a', { p: 5, n: 2 }],
        ['a', { p: 5, n: 2 }],
      ],
    ],
    [
      'rows out of order',
      [
        ['a', { p: 5, n: 1 }],
        ['a', { p: 3, n: 2 }],
      ],
    ],
    [
      'each count from another state',
      [
        ['a', { p: 5, n: 0 }],
        ['a', { p: 0, n: 7 }],
      ],
    ],
    ['a count below zero', [['a', { p: 0, n: 3 }]]],
    [
      'three nodes, late and twice',
      [
        ['a', { p: 1, n: 0 }],
        ['b', { p: 2, n: 1 }],
        ['a', { p: 4, n: 2 }],
        ['c', { p: 0, n: 9 }],
        ['b', { p: 2, n: 1 }],
        ['a', { p: 3, n: 1 }],
      ],
    ],
    [
      'node ids of all kinds',
      [
        ['', { p: 1, n: 0 }],
        ['узел', { p: 1, n: 0 }],
        ['a b', { p: 1, n: 0 }],
      ],
    ],
    ['zeros', [['a', { p: 0, n: 0 }]]],
    [
      'large counts',
      [
        ['a', { p: Number.MAX_SAFE_INTEGER, n: 0 }],
        ['b', { p: 0, n: Number.MAX_SAFE_INTEGER }],
      ],
    ],
  ] as const
).map(([name, rows]) => ({ name, rules: 'PN1', rows, ...countedIn(rows) }))

/** The rows of a counter into which rows were merged in this order, and its value. */
export function countedIn(
  rows: readonly (readonly [node: string, row: { readonly p: number; readonly n: number }])[],
): object {
  const counter = new PnCounter()
  for (const [node, row] of rows) counter.merge(node, row)
  return { merged: Object.fromEntries(counter.rows()), value: counter.value }
}
