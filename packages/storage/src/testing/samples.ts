import { MAX_VALUE_DEPTH, type LwwRecord, type Stamp, type Value } from '@syncline/core'
import type { StoredRecord } from '../adapter.ts'

const KEY_BYTES = 512
const MAP_NAME_BYTES = 128
const VALUE_BYTES = 256 * 1024

/** A stamp for tests: `n` orders it. */
export function stampOf(n: number, nodeId: string = 'node-a'): Stamp {
  return { millis: 1_700_000_000_000 + n, counter: n % 7, nodeId }
}

/** A stored record for tests: a whole write at the stamp of its seq, unless `record` says otherwise. */
export function storedRecord(
  mapName: string,
  key: string,
  seq: number,
  value: Value,
  { version = 1, record }: { readonly version?: number; readonly record?: LwwRecord } = {},
): StoredRecord {
  const stamp = stampOf(seq)
  return {
    mapName,
    key,
    seq,
    version,
    arrival: stampOf(seq, 'server'),
    record: record ?? { value, timestamp: stamp, base: stamp },
  }
}

function nested(depth: number): Value {
  let value: Value = depth % 2 === 0 ? [] : {}
  for (let i = 1; i < depth; i++) value = i % 2 === 0 ? [value] : { a: value }
  return value
}

/** Strings that storages have been known to change: empty, escaped, outside the BMP, combining, right to left. */
export const SAMPLE_TEXTS: readonly string[] = [
  '',
  ' ',
  'a',
  'A',
  'ä',
  'e\u0301',
  '\u00e9',
  'שלום עולם',
  '\u202eabc\u200f',
  '😀',
  '👩‍👩‍👧‍👦',
  '\u{10ffff}',
  '\ufffd',
  '\uffff',
  '\ud7ff\ue000',
  '\u0001\u0008\t\n\u000b\f\r\u001f\u007f\u0080\u2028\u2029',
  '"quoted" \\ back\\\\slash \' `',
  '%_*?[]',
  'null',
  '0',
  '00',
  '1e3',
  '-0',
  "Robert'); DROP TABLE records;--",
  '{"$bytes":"AA=="}',
  'trailing space ',
]

/** Values that storages have been known to change. */
export const SAMPLE_VALUES: readonly Value[] = [
  ...SAMPLE_TEXTS,
  false,
  true,
  0,
  -1,
  0.1,
  -1.5e-7,
  1e21,
  5e-324,
  99_999_999,
  100_000_000,
  1_700_000_000_000,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  Number.MAX_SAFE_INTEGER,
  Number.MIN_SAFE_INTEGER,
  Number.MAX_VALUE,
  -Number.MAX_VALUE,
  new Uint8Array(),
  new Uint8Array([0]),
  Uint8Array.from({ length: 256 }, (_, i) => i),
  Uint8Array.from({ length: 300 }, (_, i) => i).subarray(7, 19),
  [],
  [[]],
  [null, false, 0, '', new Uint8Array([1, 2, 3]), [], {}],
  {},
  { '': '' },
  { a: null },
  { title: 'Buy milk', done: false, tags: ['home', '🥛'], photo: new Uint8Array([255, 0, 127]) },
  { '2': 'b', '10': 'c', '1': 'a', z: 1, a: 2 },
  { toString: 1, hasOwnProperty: 2, valueOf: null, length: 3 },
  Object.fromEntries(SAMPLE_TEXTS.map((text, i) => [text, i])),
  { $bytes: 'AA==' },
  { $bytes: new Uint8Array([9]) },
  { $$bytes: 1 },
  { $bytes: 1, other: 2 },
  [{ deep: { $bytes: { $$bytes: [] } } }],
  nested(MAX_VALUE_DEPTH - 1),
  nested(MAX_VALUE_DEPTH),
]

/** Values at the size limit, one byte below and one above it. Too large for tests that write every sample. */
export const LARGE_VALUES: readonly Value[] = [-1, 0, 1].flatMap((more): Value[] => [
  'x'.repeat(VALUE_BYTES + more),
  '😀'.repeat(VALUE_BYTES / 4) + 'y'.repeat(1 + more),
  Uint8Array.from({ length: VALUE_BYTES + more }, (_, i) => i * 31),
  { text: '"'.repeat(VALUE_BYTES + more) },
])

/** Keys, those at the length limit and around it included. */
export const SAMPLE_KEYS: readonly string[] = [...SAMPLE_TEXTS, ...around(KEY_BYTES)]

/** Names of maps, those at the length limit and around it included. */
export const SAMPLE_MAP_NAMES: readonly string[] = [...SAMPLE_TEXTS, ...around(MAP_NAME_BYTES)]

function around(bytes: number): string[] {
  const lengths = [bytes - 1, bytes, bytes + 1]
  return [...lengths.map((length) => 'k'.repeat(length)), '😀'.repeat(bytes / 4), 'ä'.repeat(bytes / 2)]
}

const early = stampOf(1)
const late = stampOf(2, 'node-b')
const latest = stampOf(3, '')
const text = '🔑 e\u0301'

/** Records of every form: tombstones, time to live, field writes that show, unset, or cannot be seen. */
export const SAMPLE_RECORDS: readonly LwwRecord[] = [
  { value: 'whole', timestamp: early, base: early },
  { value: { a: 1 }, timestamp: late, base: early },
  { value: { a: 1 }, timestamp: early, base: early, ttlMs: 0 },
  { value: { a: 1 }, timestamp: late, base: early, ttlMs: Number.MAX_SAFE_INTEGER },
  { value: null, timestamp: early, base: early },
  { value: null, timestamp: late, base: early },
  { value: { a: 1, b: 2 }, timestamp: late, base: early, fields: { b: { stamp: late } } },
  {
    value: { a: 1 },
    timestamp: latest,
    base: early,
    fields: { b: { stamp: late, unset: true }, a: { stamp: latest } },
  },
  { value: null, timestamp: late, base: early, fields: { a: { stamp: late, value: 1 } } },
  {
    value: null,
    timestamp: latest,
    base: early,
    fields: {
      '': { stamp: late, value: null },
      [text]: { stamp: latest, value: { $bytes: [new Uint8Array([1, 2]), text] } },
      $bytes: { stamp: late, unset: true },
      bytes: { stamp: late, value: new Uint8Array([0, 255]) },
    },
  },
  {
    value: 'no map',
    timestamp: late,
    base: early,
    ttlMs: 5,
    fields: { hidden: { stamp: late, value: [1, { a: text }] } },
  },
  {
    value: { a: 1 },
    timestamp: { millis: Number.MAX_SAFE_INTEGER, counter: 65_535, nodeId: 'n'.repeat(128) },
    base: { millis: 0, counter: 0, nodeId: text },
  },
]
