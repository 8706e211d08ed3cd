import type { Payload } from '../src/wire.ts'
import type { Fault, Passing } from './proxy.ts'

/** A member of the payloads of one type of message, changed. */
const altered = (type: string, alter: (payload: Payload) => object): Fault => ({
  toClient: (message) =>
    message.type === type
      ? [{ ...message, payload: { ...message.payload, ...alter(message.payload ?? {}) } }]
      : [message],
})

/** Messages of some kind that never arrive. */
const swallowed = (isSwallowed: (message: Passing) => boolean): Fault => ({
  toClient: (message) => (isSwallowed(message) ? [] : [message]),
})

const results = (alter: (result: Record<string, unknown>) => object): Fault =>
  altered('OP_ACK', ({ results }) => ({ results: (results as Record<string, unknown>[]).map(alter) }))

/** A row of an OR-map that shows the first value of its key alone. */
const firstAlone = (row: object): object => {
  const { value } = row as { readonly value: unknown }
  return Array.isArray(value) ? { ...row, value: value.slice(0, 1) as unknown[] } : row
}

/** Servers that break one rule, and the rule. */
export const faults: readonly (readonly [rule: string, name: string, fault: Fault])[] = [
  ['FR1', 'answers in JSON always', { encoding: () => 'json' }],
  [
    'FR4',
    'takes bytes for lists',
    {
      toClient: (message) => [
        JSON.parse(JSON.stringify(message, (_, v: unknown) => (v instanceof Uint8Array ? [...v] : v))) as object,
      ],
    },
  ],
  [
    'FR10',
    'makes another number of zero',
    {
      toClient: (message) => [
        message.type === 'PONG' && message['timestamp'] === 0 ? { ...message, timestamp: -1 } : message,
      ],
    },
  ],
  ['FR12', 'sends numbers for ids', altered('OP_ACK', () => ({ lastId: 7 }))],
  ['FR13', 'forgets requestId', { toClient: (message) => [{ ...message, requestId: undefined }] }],
  [
    'FR14',
    'says nothing to what it does not know',
    swallowed(({ payload }) => payload?.['errorCode'] === 'UNKNOWN_OPERATION'),
  ],
  [
    'SE2',
    'answers PING with a time of its own',
    { toClient: (message) => [message.type === 'PONG' ? { ...message, timestamp: 1 } : message] },
  ],
  [
    'OP7',
    'takes PATCH for PUT',
    {
      toServer: (message) => [
        message.payload?.['opType'] === 'PATCH'
          ? { ...message, payload: { ...message.payload, opType: 'PUT' } }
          : message,
      ],
    },
  ],
  [
    'OP9',
    'promises PERSISTED without keeping it',
    results((result) =>
      result['errorCode'] === 'WRITE_CONCERN_UNAVAILABLE'
        ? { opId: result['opId'], success: true, achievedLevel: 'MEMORY', latencyMs: 0, seq: 1 }
        : result,
    ),
  ],
  [
    'OP11',
    'answers in another order',
    altered('OP_ACK', ({ results }) => ({ results: (results as object[]).toReversed() })),
  ],
  ['OP11', 'does not tell that a write has lost', results((result) => ({ ...result, superseded: undefined }))],
  ['OP12', 'never sends OP_REJECTED', swallowed(({ type }) => type === 'OP_REJECTED')],
  ['OP15', 'does not tell its time', results((result) => ({ ...result, details: {} }))],
  [
    'LW6',
    'forgets writes of fields',
    altered('SYNC_RECORDS', ({ records }) => ({
      records: (records as { record: object }[]).map((item) => ({
        ...item,
        record: { ...item.record, fields: undefined },
      })),
    })),
  ],
  [
    'MK2',
    'computes another root',
    altered('SYNC_RESP_ROOT', ({ rootHash }) => ({ rootHash: (Number(rootHash) + 1) % 4_294_967_296 })),
  ],
  [
    'MK4',
    'leaves values out of its digest',
    altered('SYNC_DIFF', ({ digest }) =>
      digest === undefined ? {} : { digest: `${(digest as string).slice(0, 8)}00000000` },
    ),
  ],
  ['SY9', 'loses a record', altered('SYNC_DIFF', ({ records }) => ({ records: (records as object[]).slice(1) }))],
  [
    'SY10',
    'goes on from a cursor that it does not know',
    { toServer: (message) => [message['cursor'] === 'not a cursor' ? { ...message, cursor: null } : message] },
  ],
  ['EV1', 'tells of a removal as of a write', altered('SERVER_EVENT', () => ({ eventType: 'PUT' }))],
  [
    'EV2',
    'swaps events',
    {
      toClient(message, link) {
        if (message.type !== 'SERVER_BATCH_EVENT') return [message]
        const events = message.payload?.['events'] as object[]
        link.held = message
        return [{ ...message, payload: { ...message.payload, events: events.toReversed() } }]
      },
    },
  ],
  [
    'QU1',
    'never lets a row leave',
    swallowed(({ type, payload }) => type === 'QUERY_UPDATE' && payload?.['changeType'] === 'LEAVE'),
  ],
  ['QU4', 'names no version', altered('QUERY_UPDATE', () => ({ version: undefined }))],
  [
    'QY6',
    'matches everything',
    {
      toServer: (message) => [
        message.type === 'QUERY_SUB' ? { ...message, payload: { ...message.payload, query: {} } } : message,
      ],
    },
  ],
  [
    'QY9',
    'ignores sort',
    {
      toServer: (message) => [
        message.type === 'QUERY_SUB' ? { ...message, payload: { ...message.payload, query: {} } } : message,
      ],
    },
  ],
  ['LK8', 'gives the same token again', altered('LOCK_GRANTED', () => ({ fencingToken: 7 }))],
  [
    'LK3',
    'grants a lock to everyone',
    {
      toServer(message, answer) {
        if (message.type !== 'LOCK_REQUEST') return [message]
        const { requestId, name } = message.payload ?? {}
        answer({
          type: 'LOCK_GRANTED',
          payload: { requestId: requestId as string, name: name as string, fencingToken: 1, ttl: 1_000 },
        })
        return []
      },
    },
  ],
  ['ER1', 'says 500 to everything', altered('ERROR', () => ({ code: 500 }))],
  ['TO2', 'forgets who publishes', altered('TOPIC_MESSAGE', () => ({ publisherId: undefined }))],
  ['OM6', 'tells of additions as of writes', altered('SERVER_EVENT', () => ({ eventType: 'PUT' }))],
  [
    'CN4',
    'gives a counter one pair of names',
    altered('COUNTER_RESPONSE', ({ state }) => ({ state: { p: state?.p as object, n: state?.n as object } })),
  ],
  ['RO6', 'keeps who has left', altered('ROOM_STATE', () => ({ left: [] }))],
  [
    'PM2',
    'forgets a partition',
    altered('PARTITION_MAP', ({ partitions }) => ({ partitions: (partitions as object[]).slice(1) })),
  ],
  [
    'FT3',
    'turns results around',
    altered('SEARCH_RESP', ({ results }) => ({ results: (results as object[]).toReversed() })),
  ],
  [
    'JO2',
    'loses an event of the journal',
    {
      toClient: (message) => [
        message.type === 'JOURNAL_READ_RESPONSE'
          ? { ...message, events: (message['events'] as object[]).slice(1) }
          : message,
      ],
    },
  ],
  [
    'QU5',
    'sends fields that nobody asked for',
    {
      toServer: (message) => [
        message.type === 'QUERY_SUB' ? { ...message, payload: { ...message.payload, fields: undefined } } : message,
      ],
    },
  ],
  ['ER2', 'says nothing of what is wrong', altered('ERROR', () => ({ message: '' }))],
  [
    'KD5',
    'shows one value of a key',
    altered('QUERY_RESP', ({ results }) => ({ results: (results as object[]).map(firstAlone) })),
  ],
  [
    'OM7',
    'adds up keys in another way',
    altered('ORMAP_SYNC_RESP_ROOT', ({ rootHash }) => ({ rootHash: ((rootHash as number) + 1) >>> 0 })),
  ],
  [
    'OM7',
    'forgets what was removed',
    altered('ORMAP_SYNC_RESP_LEAF', ({ entries }) => ({
      entries: (entries as object[]).map((entry) => ({ ...entry, tombstones: [] })),
    })),
  ],
  ['LK10', 'counts to a hundred and one', altered('LOCK_RELEASED', () => ({ details: { limit: 'locks', max: 101 } }))],
  ['TO4', 'takes any topic for a room', swallowed(({ payload }) => payload?.['errorCode'] === 'BAD_KEY')],
  [
    'RO3',
    'leaves its newest member out of a full state',
    altered('ROOM_STATE', ({ members, full }) =>
      full === true ? { members: (members as object[]).slice(0, -1) } : {},
    ),
  ],
  [
    'RO5',
    'knows nobody again',
    { toServer: (message) => [{ ...message, payload: { ...message.payload, resume: undefined } }] },
  ],
  [
    'FT2',
    'takes no notice of options',
    {
      toServer: (message) => [
        message.type === 'SEARCH' ? { ...message, payload: { ...message.payload, options: undefined } } : message,
      ],
    },
  ],
]
