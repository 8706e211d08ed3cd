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
import { inverseDocumentFrequency, queryTerms, searchTerms, termSaturation } from '@syncline/core/search'
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
  ] as const
).map(([name, a, b]) => {
  const [x, y] = [normalizeRecord(a), normalizeRecord(b)]
  const merged = mergeItems(x, y)
  if (!recordsEqual(merged, mergeItems(y, x))) throw new Error(`${name} does not commute.`)
  return { name, rules: 'OR3', a, b, merged: toWireRecord(merged) }
})

type OrOp =
  | { readonly add: Value; readonly tag: string; readonly millis: number; readonly ttlMs?: number }
  | { readonly remove: string; readonly millis: number }

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
  ] as const satisfies readonly (readonly [string, readonly OrOp[], number])[]
).map(([name, ops, now]) => {
  const map = new OrMap()
  for (const op of ops as readonly OrOp[]) {
    if ('remove' in op) map.remove('k', op.remove, at(op.millis))
    else map.add('k', op.tag, op.add, at(op.millis), op.ttlMs)
  }
  const items = [...map.items('k')].filter(({ record }) => record.value !== null)
  const digest = items.length === 0 ? null : itemsDigest('k', items)
  return { name, rules: 'OR2 OR4 OR5 MK6', key: 'k', ops, now, shows: map.values('k', now), digest }
})

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
      'large counts',
      [
        ['a', { p: Number.MAX_SAFE_INTEGER, n: 0 }],
        ['b', { p: 0, n: Number.MAX_SAFE_INTEGER }],
      ],
    ],
  ] as const
).map(([name, rows]) => {
  const counter = new PnCounter()
  for (const [node, row] of rows) counter.merge(node, row)
  return { name, rules: 'PN1', rows, merged: Object.fromEntries(counter.rows()), value: counter.value }
})

/** Texts and their terms. */
export const terms = [
  'The quick brown Foxes are running, jumped over 2 lazy DOGS! naïve café x',
  '',
  'a I x',
  'Überraschung ключи 漢字',
  'machine learning machines learn',
  'user_name user-name user.name',
  'x'.repeat(41),
  'caresses ponies ties cats feed agreed plastered motoring sing conflated troubled sized hopping falling hissing fizzed failing filing happy sky',
].map((text) => ({ rules: 'SR1', text, terms: searchTerms(text) }))

/** Queries that are still being typed, and the terms that they look for. */
export const typedTerms = ['quick fo', 'quick fo ', 'Fox', 'running runn'].map((text) => ({
  rules: 'SR3',
  text,
  terms: queryTerms(text, true),
}))

/** Parts of scores. */
export const scores = [
  [1, 2, 3, 5, 4],
  [3, 1, 1, 1, 1],
  [100, 7, 2, 12, 9.5],
].map(([documents = 0, holding = 0, frequency = 0, length = 0, averageLength = 0]) => ({
  rules: 'SR2',
  documents,
  holding,
  frequency,
  length,
  averageLength,
  score: inverseDocumentFrequency(documents, holding) * termSaturation(frequency, length, averageLength),
}))
