import type { Value } from '@syncline/core'
import type { ClientMessage, ServerMessage } from '../src/message.ts'
import type { WireRecord } from '../src/messages/maps.ts'

const n = (millis: number, counter = 0, nodeId = 'client-1') => ({ millis, counter, nodeId })
const stamp = n(1_706_000_000_000, 1)
const later = n(1_706_000_000_500, 0, 'client-2')

/** A value, and what it shows. */
export const values: readonly (readonly [string, string, Value])[] = [
  ['null', 'FR1 FR2', null],
  ['true', 'FR1 FR2', true],
  ['zero', 'FR1 FR2', 0],
  ['the largest small number', 'FR2', 127],
  ['eight bits', 'FR2', 255],
  ['sixteen bits', 'FR2', 65_535],
  ['thirty-two bits', 'FR2', 4_294_967_295],
  ['more than thirty-two bits are a double', 'FR2', 4_294_967_296],
  ['the largest safe number', 'FR2', Number.MAX_SAFE_INTEGER],
  ['the least small number', 'FR2', -32],
  ['eight bits with a sign', 'FR2', -128],
  ['sixteen bits with a sign', 'FR2', -32_768],
  ['thirty-two bits with a sign', 'FR2', -2_147_483_648],
  ['a fraction', 'FR2', 1.5],
  ['a tiny number', 'FR2', 5e-324],
  ['the empty text', 'FR2', ''],
  ['a text of thirty-one bytes', 'FR2', 'x'.repeat(31)],
  ['a text of thirty-two bytes', 'FR2', 'x'.repeat(32)],
  ['a text beyond ASCII', 'FR2', 'ключ 😀'],
  ['a text that begins with a byte order mark', 'FR2', '\ufeffx'],
  ['no bytes', 'FR4', new Uint8Array()],
  ['bytes', 'FR4', Uint8Array.of(0, 1, 254, 255)],
  ['a list', 'FR1 FR2', [1, [2, []], {}]],
  ['a map', 'FR1 FR2', { b: 1, a: { '': null } }],
  ['a map that looks like bytes', 'FR5', { $bytes: 'AQ==' }],
  ['a map that looks like an escaped one', 'FR5', { $$bytes: 5 }],
  ['a map with $bytes among others', 'FR5', { $bytes: 5, a: 1 }],
  ['bytes in an escaped map', 'FR4 FR5', { $bytes: Uint8Array.of(1) }],
]

const op = {
  id: 'op-1',
  mapName: 'todos',
  key: 't1',
  opType: 'PUT',
  record: { value: { text: 'Milk', done: false }, timestamp: stamp },
} as const
const whole: WireRecord = { value: { text: 'Milk' }, timestamp: stamp }
const fielded: WireRecord = {
  value: { text: 'Milk', done: true },
  timestamp: later,
  base: stamp,
  fields: { done: { stamp: later }, due: { stamp: later, unset: true } },
}
const event = { mapName: 'todos', eventType: 'PUT', key: 't1', record: { ...fielded, version: 3 }, seq: 42 } as const

/** Messages of every type, whole and valid. */
export const messages: readonly (readonly [string, ClientMessage | ServerMessage])[] = [
  ['SE1', { type: 'AUTH', token: 'eyJhbGciOi', protocolVersion: 1 }],
  ['SE2', { type: 'PING', timestamp: 1_706_000_000_000 }],
  ['OP1', { type: 'CLIENT_OP', payload: op }],
  [
    'OP6',
    {
      type: 'CLIENT_OP',
      payload: { ...op, opType: 'REMOVE', record: { value: null, timestamp: later } },
      requestId: 'r1',
    },
  ],
  [
    'OP7',
    {
      type: 'CLIENT_OP',
      payload: { ...op, opType: 'PATCH', record: { value: { done: true }, timestamp: later, unset: ['due'] } },
    },
  ],
  [
    'OP8 OP9',
    {
      type: 'CLIENT_OP',
      payload: { ...op, record: { ...op.record, ttlMs: 60_000 }, writeConcern: 'PERSISTED', timeout: 5_000 },
    },
  ],
  [
    'OP10',
    {
      type: 'OP_BATCH',
      payload: { ops: [op, { ...op, id: 'op-2', key: 't2' }], writeConcern: 'APPLIED', timeout: 1_000 },
    },
  ],
  ['SY1', { type: 'SYNC_INIT', mapName: 'todos', cursor: null }],
  ['SY1', { type: 'SYNC_INIT', mapName: 'todos', lastSyncTimestamp: 1_678_000_000 }],
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
    'QU1 QU2',
    {
      type: 'QUERY_SUB',
      payload: {
        queryId: 'q1',
        mapName: 'todos',
        query: {
          where: { done: false, n: { $gt: 1 } },
          predicate: { op: 'eq', attribute: 'a', value: 1 },
          sort: { n: 'desc' },
          limit: 50,
          cursor: 'abc',
        },
      },
    },
  ],
  ['QU1', { type: 'QUERY_UNSUB', payload: { queryId: 'q1' } }],
  ['SE3', { type: 'AUTH_REQUIRED', serverTime: 1_706_000_000_000, protocolVersion: 1, optional: true }],
  ['SE4', { type: 'AUTH_ACK', protocolVersion: 1, userId: 'ada', serverTime: 1_706_000_000_000, databaseId: 'db-1' }],
  ['SE4', { type: 'AUTH_FAIL', error: 'The token has expired.', code: 401, errorCode: 'UNAUTHORIZED' }],
  ['SE2', { type: 'PONG', timestamp: 1_706_000_000_000, serverTime: 1_706_000_000_007 }],
  ['SE5', { type: 'SHUTDOWN_PENDING', retryAfter: 5_000 }],
  [
    'ER3',
    {
      type: 'ERROR',
      payload: {
        code: 400,
        errorCode: 'UNKNOWN_OPERATION',
        message: 'No message has this type.',
        about: 'NOPE',
        details: { path: 'type' },
      },
      requestId: 'r3',
    },
  ],
  [
    'OP11',
    {
      type: 'OP_ACK',
      payload: {
        lastId: 'op-2',
        achievedLevel: 'APPLIED',
        results: [
          { opId: 'op-1', success: true, achievedLevel: 'APPLIED', latencyMs: 0.5, seq: 42 },
          { opId: 'op-2', success: true, achievedLevel: 'APPLIED', latencyMs: 1, seq: 41, superseded: true },
          {
            opId: 'op-3',
            success: false,
            achievedLevel: 'APPLIED',
            latencyMs: 1,
            error: 'No policy.',
            errorCode: 'FORBIDDEN',
            details: { map: 'todos' },
          },
        ],
      },
    },
  ],
  ['OP12', { type: 'OP_REJECTED', payload: { opId: 'op-3', reason: 'No policy.', code: 403, errorCode: 'FORBIDDEN' } }],
  ['EV1', { type: 'SERVER_EVENT', payload: { ...event, cursor: 'c42' } }],
  [
    'EV2',
    {
      type: 'SERVER_BATCH_EVENT',
      payload: {
        mapName: 'todos',
        cursor: 'c43',
        seq: 43,
        events: [
          event,
          { ...event, eventType: 'REMOVE', key: 't2', record: { value: null, timestamp: later }, seq: 43 },
        ],
      },
    },
  ],
  ['EV3', { type: 'SERVER_BATCH_EVENT', payload: { mapName: 'todos', cursor: 'c44', seq: 44, events: [] } }],
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
    { type: 'SYNC_RESET_REQUIRED', payload: { mapName: 'todos', reason: 'The cursor is older than what was pruned.' } },
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
  [
    'QU1 QU4',
    {
      type: 'QUERY_RESP',
      payload: {
        queryId: 'q1',
        results: [{ key: 't1', value: { text: 'Milk' } }],
        hasMore: true,
        nextCursor: 'def',
        cursorStatus: 'valid',
        more: false,
        version: 42,
      },
    },
  ],
  ['QU3', { type: 'QUERY_UPDATE', payload: { queryId: 'q1', key: 't1', value: null, changeType: 'LEAVE' } }],
  [
    'QU3 QU4',
    {
      type: 'QUERY_UPDATE',
      payload: { queryId: 'q1', key: 't2', value: { text: 'Eggs' }, changeType: 'ENTER', version: 43 },
    },
  ],
]

/** Frames that no decoder takes: a text, or bytes. */
export const refusedFrames: readonly (readonly [string, string, string | readonly (number | string)[]])[] = [
  ['no value', 'FR7', []],
  ['two values', 'FR7', [0x01, 0x01]],
  ['a list that ends early', 'FR7', [0x92, 0x01]],
  ['a list that announces four billion items', 'FR7', [0xdd, 0xff, 0xff, 0xff, 0xff]],
  ['the byte that is never used', 'FR7', [0xc1]],
  ['deeper than 40', 'FR6', Array.from({ length: 41 }, () => 0x91)],
  ['an extension', 'FR8', [0xd6, 0xff, 0, 0, 0, 0]],
  ['NaN', 'FR8', [0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]],
  ['2^53', 'FR8', [0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0]],
  ['half a surrogate pair', 'FR8', [0xa3, 0xed, 0xa0, 0x80]],
  ['a key that is a number', 'FR9', [0x81, 0x01, 0x01]],
  ['a key that comes twice', 'FR9', [0x82, 0xa1, 'a', 0x01, 0xa1, 'a', 0x02]],
  ['a reserved key', 'FR9', [0x81, 0xa9, '__proto__', 0x80]],
  ['half a text', 'FR7', '{"type":'],
  ['a text after the text', 'FR7', '{}{}'],
  ['deeper than 40 in JSON', 'FR6', `${'['.repeat(41)}${']'.repeat(41)}`],
  ['bytes that are not base64', 'FR8', '{"a":{"$bytes":"?"}}'],
  ['bytes with stray bits', 'FR8', '{"a":{"$bytes":"QR=="}}'],
]

const bad = (members: object, opType = 'PUT') => ({
  type: 'CLIENT_OP',
  payload: { ...op, opType, record: { ...op.record, ...members } },
})
/** Messages that no server takes, or whose op it refuses. */
export const refusedMessages: readonly (readonly [string, string, unknown])[] = [
  ['a list', 'FR11', []],
  ['no type', 'FR11', { payload: {} }],
  ['a payload that is no map', 'FR12', { type: 'PING', payload: 5 }],
  ['a request id that is a number', 'FR13', { type: 'PING', timestamp: 1, requestId: 5 }],
  ['a type that does not exist', 'FR14', { type: 'NOPE' }],
  ['a type that is not offered', 'FR14', { type: 'ENTRY_PROCESS', requestId: 'r' }],
  ['AUTH without its token', 'SE1', { type: 'AUTH' }],
  ['an id that is a number', 'OP1', { type: 'CLIENT_OP', payload: { ...op, id: 1 } }],
  ['the empty key', 'OP2', { type: 'CLIENT_OP', payload: { ...op, key: '' } }],
  ['a key of 513 bytes', 'OP2', { type: 'CLIENT_OP', payload: { ...op, key: 'x'.repeat(513) } }],
  ['an operation of an OR-map', 'OP3', { type: 'CLIENT_OP', payload: { ...op, opType: 'OR_ADD' } }],
  ['a stamp with a fraction', 'OP4', bad({ timestamp: { ...stamp, millis: 0.5 } })],
  ['U+0000', 'OP5', bad({ value: 'a\0b' })],
  ['half a surrogate pair', 'OP5', bad({ value: ['\ud800'] })],
  ['a reserved field name', 'OP5', bad({ value: { constructor: 1 } })],
  ['a value of 33 levels', 'OP5', bad({ value: JSON.parse('['.repeat(33) + ']'.repeat(33)) as Value })],
  ['a PATCH of nothing', 'OP7', bad({ value: {} }, 'PATCH')],
  ['a PATCH with a ttl', 'OP7', bad({ ttlMs: 5 }, 'PATCH')],
  ['a PATCH that sets and unsets a field', 'OP7', bad({ unset: ['text'] }, 'PATCH')],
  ['a ttl of zero', 'OP8', bad({ ttlMs: 0 })],
  ['an unknown level', 'OP9', { type: 'CLIENT_OP', payload: { ...op, writeConcern: 'DURABLE' } }],
  ['a batch without ops', 'OP10', { type: 'OP_BATCH', payload: {} }],
  ['a path of letters', 'SY7', { type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'todos', path: 'xyz' } }],
  ['a leaf beyond the trie', 'SY5', { type: 'SYNC_LEAVES', payload: { mapName: 'todos', leaves: [4_096] } }],
  [
    'conditions that are too long',
    'QU2',
    { type: 'QUERY_SUB', queryId: 'q', mapName: 'todos', query: { where: { text: 'x'.repeat(65_536) } } },
  ],
  [
    'a sort in no direction',
    'QU2',
    { type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'todos', query: { sort: { a: 'up' } } } },
  ],
]

/** Records as they may arrive, under their keys. */
export const records: readonly (readonly [string, string, WireRecord])[] = [
  ['a whole write', 't1', whole],
  ['a tombstone', 't2', { value: null, timestamp: later }],
  ['a time to live', 'user:1', { value: 'x', timestamp: n(1_678_900_000_000), ttlMs: 60_000 }],
  ['field writes, one of them an unset', 'ключ', fielded],
  [
    'field writes over a tombstone',
    '😀',
    { value: null, timestamp: later, base: stamp, fields: { done: { stamp: later, value: true } } },
  ],
  ['bytes', 'b', { value: { data: Uint8Array.of(1, 2, 3) }, timestamp: n(3, 4, 'm') }],
  ['a field write that the base has overtaken', 't3', { value: { a: 1 }, timestamp: later, fields: { a: { stamp } } }],
  [
    'a timestamp below a field write',
    't4',
    { value: { a: 1 }, timestamp: stamp, base: stamp, fields: { a: { stamp: later } } },
  ],
]
