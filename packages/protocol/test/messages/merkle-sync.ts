import type { MessageCases } from './cases.ts'
import { addTag, fielded, later, stamp, whole } from './examples.ts'

/** Messages of the feature merkle-sync. */
export const merkleSync: MessageCases = {
  messages: [
    ['SY1', { type: 'SYNC_INIT', mapName: 'todos', cursor: null }],
    ['SY1', { type: 'SYNC_INIT', mapName: 'todos', lastSyncTimestamp: 1_678_000_000 }],
    ['KD3', { type: 'SYNC_INIT', mapName: 'tags', cursor: null, kind: 'or' }],
    [
      'KD3 OM1',
      {
        type: 'SYNC_PUSH',
        payload: { mapName: 'tags', kind: 'or', records: [{ key: `${addTag}:t1`, record: whole }] },
      },
    ],
    [
      'KD3 CN2',
      {
        type: 'SYNC_DIFF',
        payload: {
          mapName: 'counter:votes',
          records: [
            {
              key: 'client-1',
              record: { value: { p: 3, n: 0 }, timestamp: stamp, base: { millis: 0, counter: 0, nodeId: '' } },
              seq: 40,
            },
          ],
          cursor: 'c40',
          seq: 40,
          more: false,
          kind: 'pn',
        },
      },
    ],
    ['SY1', { type: 'SYNC_STOP', mapName: 'todos' }],
    [
      'SY2',
      {
        type: 'SYNC_PUSH',
        payload: { mapName: 'todos', records: [{ key: 't1', record: { ...fielded, base: stamp } }] },
        requestId: 'r2',
      },
    ],
    ['SY5', { type: 'SYNC_TRIE', payload: { mapName: 'todos' } }],
    ['SY5', { type: 'SYNC_LEAVES', payload: { mapName: 'todos', leaves: [0, 4_095] } }],
    ['SY6', { type: 'SYNC_FETCH', payload: { mapName: 'todos', keys: ['t1', 't2'] } }],
    ['SY7', { type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'todos', path: '08' } }],
    [
      'SY9',
      {
        type: 'SYNC_DIFF',
        payload: {
          mapName: 'todos',
          records: [{ key: 't1', record: whole, seq: 40 }],
          cursor: 'c40',
          seq: 40,
          more: true,
          lost: [[10, 20]],
        },
      },
    ],
    [
      'SY9',
      {
        type: 'SYNC_DIFF',
        payload: {
          mapName: 'todos',
          records: [],
          cursor: 'c44',
          seq: 44,
          more: false,
          prunedThroughSeq: 9,
          digest: '0844ecd60844ecd6',
          rootHash: 627_195_050,
        },
      },
    ],
    [
      'SY10',
      {
        type: 'SYNC_RESET_REQUIRED',
        payload: { mapName: 'todos', reason: 'The cursor is older than what was pruned.' },
      },
    ],
    [
      'SY3',
      {
        type: 'SYNC_PUSH_RESP',
        payload: {
          mapName: 'todos',
          accepted: 1,
          refused: [{ key: 't2', errorCode: 'STALE', message: 'Too old.', record: whole, seq: 12 }],
          more: true,
        },
        requestId: 'r2',
      },
    ],
    [
      'SY11',
      {
        type: 'SYNC_RESP_ROOT',
        payload: { mapName: 'todos', rootHash: 627_195_050, timestamp: later, digest: '0844ecd60844ecd6' },
      },
    ],
    [
      'SY11',
      {
        type: 'SYNC_RESP_BUCKETS',
        payload: {
          mapName: 'todos',
          path: '0',
          buckets: { '7': 754_532_552, '8': 1_157_703_966 },
          digests: { '7': '0844ecd60844ecd6' },
        },
      },
    ],
    [
      'SY11',
      {
        type: 'SYNC_RESP_LEAF',
        payload: { mapName: 'todos', path: '084', records: [{ key: 't1', record: whole }], more: true },
      },
    ],
    [
      'SY5',
      {
        type: 'SYNC_TRIE_RESP',
        payload: { mapName: 'todos', digest: '0844ecd60844ecd6', leaves: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) },
      },
    ],
    [
      'SY5',
      {
        type: 'SYNC_LEAVES_RESP',
        payload: { mapName: 'todos', keys: ['t1'], digests: Uint8Array.of(8, 7, 6, 5, 4, 3, 2, 1), more: false },
      },
    ],
    [
      'SY6',
      {
        type: 'SYNC_RECORDS',
        payload: { mapName: 'todos', records: [{ key: 't1', record: fielded }], absent: ['t2'], more: false },
      },
    ],
  ],
  refused: [
    ['no map', 'SY1', { type: 'SYNC_INIT', cursor: null }],
    ['a cursor that is a number', 'SY1', { type: 'SYNC_INIT', mapName: 'todos', cursor: 5 }],
    ['a cursor of 1,025 units', 'SY1', { type: 'SYNC_INIT', mapName: 'todos', cursor: 'c'.repeat(1_025) }],
    ['a mark that is a text', 'SY1', { type: 'SYNC_INIT', mapName: 'todos', lastSyncTimestamp: 'now' }],
    ['a kind that does not exist', 'KD3', { type: 'SYNC_INIT', mapName: 'todos', cursor: null, kind: 'set' }],
    ['a push of no list', 'SY2', { type: 'SYNC_PUSH', payload: { mapName: 'todos', records: {} } }],
    ['a push of a number', 'SY2', { type: 'SYNC_PUSH', payload: { mapName: 'todos', records: [5] } }],
    ['a push without a key', 'SY2', { type: 'SYNC_PUSH', payload: { mapName: 'todos', records: [{ record: whole }] } }],
    ['a leaf that is a text', 'SY5', { type: 'SYNC_LEAVES', payload: { mapName: 'todos', leaves: ['0'] } }],
    ['a key that is empty', 'SY6', { type: 'SYNC_FETCH', payload: { mapName: 'todos', keys: [''] } }],
    ['keys that are no list', 'SY6', { type: 'SYNC_FETCH', payload: { mapName: 'todos', keys: 'a' } }],
    ['a path of nine digits', 'SY7', { type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'todos', path: '012345678' } }],
    ['a path in capitals', 'SY7', { type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'todos', path: 'A' } }],
    ['a path of letters', 'SY7', { type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'todos', path: 'xyz' } }],
    ['a leaf beyond the trie', 'SY5', { type: 'SYNC_LEAVES', payload: { mapName: 'todos', leaves: [4_096] } }],
  ],
}
