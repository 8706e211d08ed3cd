import type { MessageCases } from './cases.ts'
import { addTag, later, orRecord, stamp } from './examples.ts'

const push = (entries: unknown) => ({ type: 'ORMAP_PUSH_DIFF', payload: { mapName: 'tags', entries } })
const entry = { key: 't1', records: [orRecord], tombstones: ['1706000000001:2:client-2'] }

/** Messages of the feature sets. */
export const sets: MessageCases = {
  messages: [
    [
      'OM7',
      { type: 'ORMAP_SYNC_INIT', mapName: 'tags', rootHash: 0, bucketHashes: { a: 1_551_747_406 }, requestId: 'r4' },
    ],
    ['OM7', { type: 'ORMAP_MERKLE_REQ_BUCKET', payload: { mapName: 'tags', path: '08' } }],
    ['OM8', { type: 'ORMAP_DIFF_REQUEST', payload: { mapName: 'tags', keys: ['t1', 't2'] } }],
    ['OM9', { type: 'ORMAP_PUSH_DIFF', payload: { mapName: 'tags', entries: [entry] } }],
    [
      'OM7',
      {
        type: 'ORMAP_SYNC_RESP_ROOT',
        payload: { mapName: 'tags', rootHash: 1_551_747_406, timestamp: later },
        requestId: 'r4',
      },
    ],
    ['OM7', { type: 'ORMAP_SYNC_RESP_BUCKETS', payload: { mapName: 'tags', path: '', buckets: { a: 3_629_463_949 } } }],
    [
      'OM7 OM8',
      { type: 'ORMAP_SYNC_RESP_LEAF', payload: { mapName: 'tags', path: '084', entries: [entry], more: true } },
    ],
    [
      'OM8',
      {
        type: 'ORMAP_DIFF_RESPONSE',
        payload: { mapName: 'tags', entries: [entry, { key: 't2', records: [], tombstones: [] }] },
      },
    ],
  ],
  accepted: [
    ['a start without hashes', 'OM7', { type: 'ORMAP_SYNC_INIT', mapName: 'tags', lastSyncTimestamp: stamp }],
    ['a tombstone that is no tag', 'OM9', push([{ key: 't1', records: [], tombstones: [addTag, 'old'] }])],
  ],
  refused: [
    ['a start on no map', 'OM7', { type: 'ORMAP_SYNC_INIT' }],
    ['a root hash that is a text', 'OM7', { type: 'ORMAP_SYNC_INIT', mapName: 'tags', rootHash: '0' }],
    ['bucket hashes in a list', 'OM7', { type: 'ORMAP_SYNC_INIT', mapName: 'tags', bucketHashes: [1] }],
    ['a mark that is a text', 'OM7', { type: 'ORMAP_SYNC_INIT', mapName: 'tags', lastSyncTimestamp: 'x' }],
    ['a path of letters', 'OM7', { type: 'ORMAP_MERKLE_REQ_BUCKET', payload: { mapName: 'tags', path: 'xyz' } }],
    ['keys that are no list', 'OM8', { type: 'ORMAP_DIFF_REQUEST', payload: { mapName: 'tags', keys: 't1' } }],
    ['a key that is empty', 'OM8', { type: 'ORMAP_DIFF_REQUEST', payload: { mapName: 'tags', keys: [''] } }],
    ['entries that are a map', 'OM9', push({ t1: entry })],
    ['an entry that is a text', 'OM9', push(['t1'])],
    ['an entry without a key', 'OM9', push([{ ...entry, key: undefined }])],
    ['records that are a map', 'OM9', push([{ ...entry, records: {} }])],
    ['an entry without tombstones', 'OM9', push([{ key: 't1', records: [orRecord] }])],
    ['tombstones that are a text', 'OM9', push([{ ...entry, tombstones: addTag }])],
    ['a tombstone that is a number', 'OM9', push([{ ...entry, tombstones: [5] }])],
  ],
}
