import { partitionOf } from '@syncline/core'
import { fmix32, fnv1a, murmur3 } from '@syncline/core/merkle'
import { at, type TrieRecord } from '../compute.ts'
import { fielded } from '../messages/examples.ts'

const keys = [
  '',
  'a',
  'hello',
  'u1',
  'user:1',
  't1',
  't2',
  'ключ',
  '😀',
  '\uff5e',
  'x'.repeat(512),
  'user/1/notes',
  ' ',
  '0',
  'abc',
  'message digest',
  'é',
  'e\u0301',
  '\ue000',
  'counter:votes',
  '1706000000000:1:client-1:t1',
  'z'.repeat(1_000),
]

/** Texts, their hashes, their paths in the trie and their partitions. */
export const texts = keys.map((text) => ({
  rules: 'MK1 PT1',
  text,
  hash: fnv1a(text),
  path: fnv1a(text).toString(16).padStart(8, '0'),
  partition: partitionOf(text),
}))

/** The finalizer, of numbers of 32 bits. */
export const mixes = [0, 1, 2, 3, 255, 65_536, 2_147_483_648, 4_294_967_295, 2_999_742_890].map((input) => ({
  rules: 'MK2',
  input,
  fmix32: fmix32(input),
}))

/** MurmurHash3 of bytes, in hexadecimal. */
export const murmurs = ['', '00', '61', '6162', '616263', '61626364', '6162636465', 'ffffffff', '00'.repeat(17)].map(
  (bytes) => ({
    rules: 'MK4',
    bytes,
    murmur3: murmur3(Buffer.from(bytes, 'hex')),
  }),
)

const whole = (key: string, millis: number, counter: number, nodeId: string): TrieRecord => ({
  key,
  record: { value: key, timestamp: at(millis, counter, nodeId) },
})
const t1 = whole('t1', 1_706_000_000_000, 1, 'client-1')
const t2 = whole('t2', 1_706_000_000_500, 0, 'client-2')

/** Maps of records, whose digests are computed. */
export const tries: readonly (readonly [name: string, rules: string, records: readonly TrieRecord[]])[] = [
  ['nothing', 'MK2', []],
  ['one record', 'MK2 MK3 MK4', [t1]],
  ['two records', 'MK2 MK3 MK5', [t1, t2]],
  [
    'three records of one branch',
    'MK2 MK3',
    [
      whole('user:1', 1_678_900_000_000, 0, 'client-1'),
      whole('user:2', 1_678_900_000_000, 1, 'client-1'),
      whole('user:3', 1_678_900_000_001, 0, 'node-b'),
    ],
  ],
  ['keys beyond ASCII', 'MK1 MK2 MK3', [whole('ключ', 1, 2, 'n'), whole('😀', 3, 4, 'm')]],
  [
    'a hundred records',
    'MK2 MK3',
    Array.from({ length: 100 }, (_, i) => whole(`key-${i}`, 1_700_000_000_000 + i, i % 3, `node-${i % 4}`)),
  ],
  ['an expired record counts', 'MK2 MK4', [{ key: 't1', record: { value: 1, timestamp: at(5), ttlMs: 1 } }]],
  [
    'a field write that cannot be seen',
    'MK4',
    [
      {
        key: 't1',
        record: { value: null, timestamp: at(9), base: at(5), fields: { a: { stamp: at(9), value: [1, true] } } },
      },
    ],
  ],
  [
    'the same records under other stamps',
    'MK3 MK4',
    [whole('t1', 1_706_000_000_000, 2, 'client-1'), whole('t2', 1_706_000_000_500, 0, 'client-3')],
  ],
  [
    'field writes and a tombstone',
    'MK4',
    [
      { key: 't1', record: fielded },
      { key: 't2', record: { value: null, timestamp: at(5) } },
    ],
  ],
]
