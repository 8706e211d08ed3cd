import type { ClientOp, HttpSyncRequest, HttpSyncResponse, OpResult } from '../../src/index.ts'
import { addTag, later, n, orRecord, stamp } from '../messages/examples.ts'

const OWN = { millis: 1_706_000_001_000, counter: 0, nodeId: 'server' }
const asked = { clientId: 'client-1', clientHlc: stamp } as const
const nothing = { serverHlc: OWN, deltas: [], queryResults: [], searchResults: [], errors: [] } as const
const [todos, tags] = ['http-todos', 'http-tags']
const put = (key: string, value: ClientOp['record']['value'], timestamp = stamp): ClientOp => ({
  mapName: todos,
  key,
  record: { value, timestamp },
})
const done = (opId: string, seq: number): OpResult => ({
  opId,
  success: true,
  achievedLevel: 'MEMORY',
  latencyMs: 0,
  seq,
})

/**
 * A conversation by `POST /sync` with a server that is open to everyone and has nothing in the maps it is about: each
 * request with the reply to it. What is the server's own is some value of its kind.
 */
export const exchanges: readonly (readonly [
  name: string,
  rules: string,
  request: HttpSyncRequest,
  response: HttpSyncResponse,
])[] = [
  ['nothing is asked', 'HS2', asked, nothing],
  [
    'operations get ids where they have none',
    'HS2 HS5 OP11',
    { ...asked, operations: [put('t1', { text: 'Milk', n: 1 }), { ...put('t2', { text: 'Bread', n: 2 }), id: 'b' }] },
    { ...nothing, ack: { lastId: 'b', achievedLevel: 'MEMORY', results: [done('http-op-0', 1), done('b', 2)] } },
  ],
  [
    'one operation is refused and sinks no other',
    'HS5 OP10 ER1',
    {
      ...asked,
      operations: [
        { ...put('t1', 1), record: { value: 1, timestamp: 'now' as never } },
        { ...put('t1', { done: true }, later), opType: 'PATCH' },
      ],
    },
    {
      ...nothing,
      ack: {
        lastId: 'http-op-1',
        achievedLevel: 'FIRE_AND_FORGET',
        results: [
          {
            opId: 'http-op-0',
            success: false,
            achievedLevel: 'FIRE_AND_FORGET',
            latencyMs: 0,
            error: 'record.timestamp must be a stamp.',
            errorCode: 'VALIDATION_ERROR',
          },
          done('http-op-1', 3),
        ],
      },
      errors: [
        {
          code: 400,
          errorCode: 'VALIDATION_ERROR',
          message: 'record.timestamp must be a stamp.',
          context: `${todos}/t1`,
        },
      ],
    },
  ],
  [
    'FIRE_AND_FORGET has no result',
    'HS5 OP11',
    { ...asked, operations: [{ ...put('t3', { text: 'Eggs', n: 3 }), writeConcern: 'FIRE_AND_FORGET' }] },
    { ...nothing, ack: { lastId: 'http-op-0', results: [] } },
  ],
  [
    'all records of a map, by arrival',
    'HS4 SY8',
    { ...asked, syncMaps: [{ mapName: todos }] },
    {
      ...nothing,
      deltas: [
        {
          mapName: todos,
          records: [
            { key: 't2', record: { value: { text: 'Bread', n: 2 }, timestamp: stamp }, eventType: 'PUT' },
            {
              key: 't1',
              record: {
                value: { text: 'Milk', n: 1, done: true },
                timestamp: later,
                base: stamp,
                fields: { done: { stamp: later } },
              },
              eventType: 'PUT',
            },
            { key: 't3', record: { value: { text: 'Eggs', n: 3 }, timestamp: stamp }, eventType: 'PUT' },
          ],
          serverSyncTimestamp: OWN,
        },
      ],
    },
  ],
  [
    'what the request itself writes is not among its deltas',
    'HS5',
    {
      ...asked,
      operations: [{ ...put('t3', null, later), opType: 'REMOVE' }],
      syncMaps: [{ mapName: todos, lastSyncTimestamp: 0 }],
    },
    {
      ...nothing,
      ack: { lastId: 'http-op-0', achievedLevel: 'MEMORY', results: [done('http-op-0', 5)] },
      deltas: [
        {
          mapName: todos,
          records: [
            { key: 't2', record: { value: { text: 'Bread', n: 2 }, timestamp: stamp }, eventType: 'PUT' },
            {
              key: 't1',
              record: {
                value: { text: 'Milk', n: 1, done: true },
                timestamp: later,
                base: stamp,
                fields: { done: { stamp: later } },
              },
              eventType: 'PUT',
            },
          ],
          serverSyncTimestamp: OWN,
        },
      ],
    },
  ],
  [
    'a query leaves out rows before it gives some',
    'HS3',
    {
      ...asked,
      queries: [{ queryId: 'q', mapName: todos, filter: { n: { $gte: 1 } }, sort: { n: 'desc' }, offset: 1, limit: 5 }],
    },
    {
      ...nothing,
      queryResults: [
        { queryId: 'q', results: [{ key: 't1', value: { text: 'Milk', n: 1, done: true } }], hasMore: false },
      ],
    },
  ],
  [
    'a query whose limit cuts it says so, and where to go on',
    'HS3 QU6',
    { ...asked, queries: [{ queryId: 'q', mapName: todos, sort: { n: 'asc' }, limit: 1 }] },
    {
      ...nothing,
      queryResults: [
        {
          queryId: 'q',
          results: [{ key: 't1', value: { text: 'Milk', n: 1, done: true } }],
          hasMore: true,
          nextCursor: 'opaque',
        },
      ],
    },
  ],
  [
    'a refused query, and a search of what is not searched, beside what succeeds',
    'HS5 QY1 FT4',
    {
      ...asked,
      syncMaps: [{ mapName: 'http-empty' }],
      queries: [{ queryId: 'near', mapName: todos, filter: { n: { $near: 1 } } }],
      searches: [{ searchId: 'words', mapName: 'http-empty', query: 'milk' }],
    },
    {
      ...nothing,
      deltas: [{ mapName: 'http-empty', records: [], serverSyncTimestamp: OWN }],
      errors: [
        { code: 400, errorCode: 'BAD_QUERY', message: '$near is no operator.', context: 'near' },
        { code: 501, errorCode: 'NOT_ENABLED', message: 'The map is not searched.', context: 'words' },
      ],
    },
  ],
  [
    'a poll from the future',
    'HS4 HS6',
    { ...asked, syncMaps: [{ mapName: todos, lastSyncTimestamp: n(9_000_000_000_000, 0, 'server') }] },
    {
      ...nothing,
      errors: [{ code: 400, errorCode: 'INVALID_CURSOR', message: 'It lies in the future.', context: todos }],
    },
  ],
  [
    'an item of an OR-map, with bytes in it',
    'HS5 OM2 FR4',
    {
      ...asked,
      operations: [
        {
          mapName: tags,
          key: 't1',
          opType: 'OR_ADD',
          orRecord: { ...orRecord, value: { label: 'urgent', icon: new Uint8Array([1, 2, 255]) } },
        },
      ],
      queries: [{ queryId: 'all', mapName: tags }],
    },
    {
      ...nothing,
      ack: { lastId: 'http-op-0', achievedLevel: 'MEMORY', results: [done('http-op-0', 6)] },
      queryResults: [
        {
          queryId: 'all',
          results: [{ key: 't1', value: [{ label: 'urgent', icon: new Uint8Array([1, 2, 255]) }] }],
          hasMore: false,
        },
      ],
    },
  ],
  [
    'an item is removed under its tag; a map of another kind has no deltas',
    'OM4 KD4',
    {
      ...asked,
      operations: [{ mapName: tags, key: 't1', opType: 'OR_REMOVE', orTag: addTag }],
      syncMaps: [{ mapName: tags }],
    },
    {
      ...nothing,
      ack: { lastId: 'http-op-0', achievedLevel: 'MEMORY', results: [done('http-op-0', 7)] },
      errors: [{ code: 409, errorCode: 'WRONG_MAP_KIND', message: 'The map is an OR-map.', context: tags }],
    },
  ],
]

const query = { queryId: 'q', mapName: todos } as const

/** Bodies that are refused as a whole. */
export const refusedBodies: readonly (readonly [name: string, rules: string, body: unknown])[] = [
  ['a list', 'HS1', []],
  ['null', 'HS1', null],
  ['nobody who asks', 'HS2', { clientHlc: stamp }],
  ['a client id that is empty', 'HS2', { ...asked, clientId: '' }],
  ['a client id of 129 units', 'HS2', { ...asked, clientId: 'c'.repeat(129) }],
  ['no stamp', 'HS2', { clientId: 'client-1' }],
  ['a stamp that is a number', 'HS2', { ...asked, clientHlc: 1_706_000_000_000 }],
  ['operations that are a map', 'HS2', { ...asked, operations: {} }],
  ['1,001 operations', 'HS2', { ...asked, operations: Array.from({ length: 1_001 }, () => 0) }],
  ['101 maps', 'HS2', { ...asked, syncMaps: Array.from({ length: 101 }, () => ({ mapName: todos })) }],
  ['a map that is a text', 'HS2', { ...asked, syncMaps: [todos] }],
  ['a map without a name', 'OP2', { ...asked, syncMaps: [{}] }],
  ['a moment that is a text', 'HS4', { ...asked, syncMaps: [{ mapName: todos, lastSyncTimestamp: 'now' }] }],
  ['a negative moment', 'HS4', { ...asked, syncMaps: [{ mapName: todos, lastSyncTimestamp: -1 }] }],
  ['a query without an id', 'HS3', { ...asked, queries: [{ mapName: todos }] }],
  ['a filter that is a list', 'HS3', { ...asked, queries: [query, { ...query, filter: [] }] }],
  ['a limit that is negative', 'HS3', { ...asked, queries: [{ ...query, limit: -1 }] }],
  ['an offset that is a fraction', 'HS3', { ...asked, queries: [{ ...query, offset: 0.5 }] }],
  ['a limit of 100,001', 'HS3', { ...asked, queries: [{ ...query, limit: 100_001 }] }],
  ['a search without an id', 'HS3', { ...asked, searches: [{ mapName: todos, query: 'milk' }] }],
  ['a search without words', 'HS3', { ...asked, searches: [{ searchId: 's', mapName: todos }] }],
  [
    'options that are a text',
    'HS3',
    { ...asked, searches: [{ searchId: 's', mapName: todos, query: '', options: 'x' }] },
  ],
]
