import { ZERO_STAMP, compareStamps, isMap, type LwwRecord, type Stamp, type Value } from '@syncline/core'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { record as anyRecord, stamp as anyStamp, value as anyValue } from '../../test/arbitraries.ts'
import { LIMITS } from '../limits.ts'
import { clientMessageSchemas, serverMessageSchemas } from '../message.schema.ts'
import { clientOpSchema, itemOpSchema } from '../messages/maps.schema.ts'
import type { OrRecord, ReceivedOp, RefusedOp } from '../messages/maps.ts'
import { clientMessageTypes, readClientMessage } from './client-message.ts'
import { isRefusedOp, readOp } from './op.ts'
import { readFollowerMessage, readServerMessage } from './server-message.ts'
import { toWireRecord } from './wire-record.ts'

const stamp = { millis: 1, counter: 0, nodeId: 'n' }
const op = { id: '1', mapName: 'm', key: 'k', opType: 'PUT', record: { value: { a: 1 }, timestamp: stamp } }
const withRecord = (members: object, opType = 'PUT'): object => ({
  ...op,
  opType,
  record: { ...op.record, ...members },
})

const times = <T>(length: number, item: T): T[] => Array.from({ length }, () => item)

const refusal = (result: ReceivedOp | RefusedOp): RefusedOp['refused'] => {
  if (!isRefusedOp(result)) throw new Error('It was accepted.')
  return result.refused
}
const accepted = (result: ReceivedOp | RefusedOp): ReceivedOp => {
  if (isRefusedOp(result)) throw new Error(result.refused.message)
  return result
}
const refuses = (input: unknown, errorCode: string, path?: string): void => {
  const error = refusal(readOp(input))
  expect(error.errorCode).toBe(errorCode)
  expect(error.details?.['path']).toBe(path)
  expect(error.message).toMatch(/^[^\n]+\.$/)
}

describe('ops', () => {
  it('[OP1] an id is a text of 1 to 128 characters, or absent', () => {
    expect(accepted(readOp(op))).toBe(op)
    const { id: _, ...without } = op
    expect(readOp(without)).toBe(without)
    expect(isRefusedOp(readOp({ ...op, id: 'x'.repeat(128) }))).toBe(false)
    for (const id of ['', 'x'.repeat(129), 5, null, {}]) refuses({ ...op, id }, 'VALIDATION_ERROR', 'id')
  })

  it('[OP2] map names have 1 to 128 bytes, keys 1 to 512, both well-formed', () => {
    const names = { mapName: 128, key: 512 }
    for (const [member, max] of Object.entries(names)) {
      for (const name of ['a', 'x'.repeat(max), 'é'.repeat(max / 2), '__proto__']) {
        expect(isRefusedOp(readOp({ ...op, [member]: name }))).toBe(false)
      }
      const bad = ['', 'x'.repeat(max + 1), `${'é'.repeat(max / 2)}x`, '\ud800', 'a\0']
      for (const name of bad) refuses({ ...op, [member]: name }, 'BAD_KEY', member)
      for (const name of [undefined, null, 5, {}]) refuses({ ...op, [member]: name }, 'VALIDATION_ERROR', member)
    }
  })

  it('[OP3] without opType it is a PUT; other types than PUT, REMOVE and PATCH are unknown operations', () => {
    const { opType: _, ...without } = op
    expect(readOp(without)).toEqual(op)
    for (const opType of ['OR_PUT', 'or_add', 'put', '']) refuses({ ...op, opType }, 'UNKNOWN_OPERATION', 'opType')
    for (const opType of [5, null, {}]) refuses({ ...op, opType }, 'VALIDATION_ERROR', 'opType')
  })

  it('[OP4] the timestamp is a stamp', () => {
    const bad = [
      undefined,
      null,
      5,
      { ...stamp, millis: -1 },
      { ...stamp, millis: 1.5 },
      { ...stamp, millis: 2 ** 53 },
      { ...stamp, counter: 65_536 },
      { ...stamp, counter: '1' },
      { ...stamp, nodeId: 'a:b' },
      { ...stamp, nodeId: 'x'.repeat(129) },
      { ...stamp, nodeId: '\ud800' },
    ]
    for (const timestamp of bad) {
      for (const opType of ['PUT', 'REMOVE', 'PATCH']) {
        refuses(withRecord({ timestamp }, opType), 'VALIDATION_ERROR', 'record.timestamp')
      }
    }
    for (const record of [undefined, null, 5]) refuses({ ...op, record }, 'VALIDATION_ERROR', 'record')
  })

  it('[OP5] a PUT holds any value within its limits', () => {
    const nest = (depth: number): Value => (depth === 0 ? 1 : [nest(depth - 1)])
    const good = [false, 0, '', new Uint8Array(3), [], {}, nest(32), 'x'.repeat(LIMITS.valueBytes - 5), { '': 1 }]
    for (const value of good) expect(isRefusedOp(readOp(withRecord({ value })))).toBe(false)
    refuses(withRecord({ value: undefined }), 'VALIDATION_ERROR', 'record.value')
    refuses(withRecord({ value: 'x'.repeat(LIMITS.valueBytes - 4) }), 'TOO_LARGE', 'record.value')
    refuses(withRecord({ value: new Uint8Array(LIMITS.valueBytes - 4) }), 'TOO_LARGE', 'record.value')
    refuses(withRecord({ value: nest(33) }), 'TOO_DEEP', 'record.value')
    for (const value of [NaN, Infinity, 1n, () => 1, '\ud800', 'a\0', [undefined], new Date(0), new Map()]) {
      refuses(withRecord({ value }), 'BAD_VALUE', 'record.value')
    }
    const bad = [
      JSON.parse('{"__proto__":1}'),
      { constructor: 1 },
      { a: { prototype: 1 } },
      { '\ud800': 1 },
    ] as unknown[]
    for (const value of bad) refuses(withRecord({ value }), 'BAD_KEY', 'record.value')
    refuses(withRecord({ unset: [] }), 'VALIDATION_ERROR', 'record.unset')
  })

  it('[FR10] minus zero becomes zero', () => {
    expect(accepted(readOp(withRecord({ value: -0 }))).record.value).toBe(0)
    expect(accepted(readOp(withRecord({ value: { a: [-0] } }))).record.value).toEqual({ a: [0] })
  })

  it('[OP6] a PUT of null is a REMOVE, and a REMOVE is nothing but its stamp', () => {
    const removal = { ...op, opType: 'REMOVE', record: { value: null, timestamp: stamp } }
    expect(readOp(withRecord({ value: null, ttlMs: 5 }))).toEqual(removal)
    expect(readOp(removal)).toBe(removal)
    for (const members of [{ value: NaN }, { value: undefined }, { ttlMs: -1 }, { unset: 5 }]) {
      expect(readOp(withRecord(members, 'REMOVE'))).toEqual(removal)
    }
  })

  it('[OP7] a PATCH sets or unsets 1 to 1,024 fields by names of at most 512 bytes, each once', () => {
    const patch = (members: object): object => withRecord(members, 'PATCH')
    const good = [
      { value: { a: 1 } },
      { value: { a: null }, unset: [] },
      { value: {}, unset: ['a'] },
      { value: { ['é'.repeat(256)]: 1 }, unset: ['x'.repeat(512), ''] },
      { value: Object.fromEntries(Array.from({ length: 1_023 }, (_, i) => [`f${i}`, 1])), unset: ['last'] },
    ]
    for (const members of good) expect(readOp(patch(members))).toEqual(patch(members))
    for (const value of [undefined, null]) {
      expect(accepted(readOp(patch({ value, unset: ['a'] }))).record).toEqual({
        value: {},
        timestamp: stamp,
        unset: ['a'],
      })
      refuses(patch({ value }), 'VALIDATION_ERROR', 'record')
    }
    refuses(patch({ value: {} }), 'VALIDATION_ERROR', 'record')
    refuses(patch({ value: {}, unset: [] }), 'VALIDATION_ERROR', 'record')
    for (const value of [5, 'a', [], new Uint8Array(1)]) refuses(patch({ value }), 'VALIDATION_ERROR', 'record.value')
    refuses(patch({ ttlMs: 5 }), 'VALIDATION_ERROR', 'record.ttlMs')
    refuses(patch({ unset: 'a' }), 'VALIDATION_ERROR', 'record.unset')
    refuses(patch({ unset: [5] }), 'VALIDATION_ERROR', 'record.unset')
    refuses(patch({ unset: ['b', 'b'] }), 'VALIDATION_ERROR', 'record.unset')
    refuses(patch({ value: { a: 1 }, unset: ['a'] }), 'VALIDATION_ERROR', 'record.unset')
    refuses(patch({ unset: ['x'.repeat(513)] }), 'BAD_KEY', 'record.unset')
    refuses(patch({ unset: ['__proto__'] }), 'BAD_KEY', 'record.unset')
    refuses(patch({ value: { [`${'é'.repeat(256)}x`]: 1 } }), 'BAD_KEY', 'record.value')
    refuses(patch({ value: { a: NaN } }), 'BAD_VALUE', 'record.value')
    const many = Array.from({ length: 1_025 }, (_, i) => `f${i}`)
    refuses(patch({ value: {}, unset: many }), 'TOO_LARGE', 'record')
    refuses(patch({ value: Object.fromEntries(many.map((name) => [name, 1])) }), 'TOO_LARGE', 'record')
  })

  it('[OP8] the ttl of a PUT is a positive number of milliseconds', () => {
    for (const ttlMs of [1, 0.5, 1e15]) expect(isRefusedOp(readOp(withRecord({ ttlMs })))).toBe(false)
    for (const ttlMs of [0, -1, NaN, Infinity, '5', null])
      refuses(withRecord({ ttlMs }), 'VALIDATION_ERROR', 'record.ttlMs')
  })

  it('[OP9] write concern and timeout are known levels and waits', () => {
    for (const writeConcern of ['FIRE_AND_FORGET', 'MEMORY', 'APPLIED', 'REPLICATED', 'PERSISTED']) {
      expect(isRefusedOp(readOp({ ...op, writeConcern, timeout: 300_000 }))).toBe(false)
    }
    for (const writeConcern of ['DURABLE', '', 5, null]) {
      refuses({ ...op, writeConcern }, 'VALIDATION_ERROR', 'writeConcern')
    }
    for (const timeout of [0, -1, 300_001, NaN, '5', null]) refuses({ ...op, timeout }, 'VALIDATION_ERROR', 'timeout')
  })

  it('[OP10] a refused op still tells its id and level, where they can be read', () => {
    expect(readOp({ ...op, writeConcern: 'FIRE_AND_FORGET', key: '' })).toMatchObject({
      id: '1',
      writeConcern: 'FIRE_AND_FORGET',
    })
    expect(Object.keys(readOp({ ...op, id: 5, writeConcern: 'x' }))).toEqual(['refused'])
    for (const input of [null, 5, 'x', undefined]) expect(isRefusedOp(readOp(input))).toBe(true)
  })
})

describe('client messages', () => {
  const read = (input: unknown): unknown => {
    const result = readClientMessage(input)
    return result.ok ? result.value : { refused: result.error.errorCode, ...result.error }
  }
  const query = { where: { a: { $gt: 1 } }, predicate: { op: 'eq' }, sort: { a: 'desc' }, limit: 5, cursor: 'c' }
  const searched = { limit: 5, minScore: 0.5, boost: { a: 2 }, fields: ['a'], where: { b: 1 }, prefix: true }
  const messages: Record<string, { readonly type: string; readonly payload?: unknown }> = {
    AUTH: { type: 'AUTH', token: 't', protocolVersion: 1 } as { type: string },
    PING: { type: 'PING', timestamp: 5 } as { type: string },
    CLIENT_OP: { type: 'CLIENT_OP', payload: op },
    OP_BATCH: { type: 'OP_BATCH', payload: { ops: [op, op], writeConcern: 'APPLIED', timeout: 100 } },
    SYNC_INIT: { type: 'SYNC_INIT', mapName: 'm', cursor: 'c', lastSyncTimestamp: 5 } as { type: string },
    SYNC_STOP: { type: 'SYNC_STOP', mapName: 'm' } as { type: string },
    SYNC_PUSH: {
      type: 'SYNC_PUSH',
      payload: { mapName: 'm', records: [{ key: 'k', record: { value: 1, timestamp: stamp, base: stamp } }] },
    },
    SYNC_TRIE: { type: 'SYNC_TRIE', payload: { mapName: 'm' } },
    SYNC_LEAVES: { type: 'SYNC_LEAVES', payload: { mapName: 'm', leaves: [0, 4095] } },
    SYNC_FETCH: { type: 'SYNC_FETCH', payload: { mapName: 'm', keys: ['a', 'b'] } },
    MERKLE_REQ_BUCKET: { type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'm', path: '0af' } },
    SYNC_DELTA: { type: 'SYNC_DELTA', payload: { mapName: 'm', lastSyncTimestamp: 5 } },
    QUERY_SUB: { type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query } },
    QUERY_UNSUB: { type: 'QUERY_UNSUB', payload: { queryId: 'q' } },
    ORMAP_SYNC_INIT: {
      type: 'ORMAP_SYNC_INIT',
      mapName: 'm',
      rootHash: 7,
      bucketHashes: { a: 1 },
      lastSyncTimestamp: 5,
    } as { type: string },
    ORMAP_MERKLE_REQ_BUCKET: { type: 'ORMAP_MERKLE_REQ_BUCKET', payload: { mapName: 'm', path: '0af' } },
    ORMAP_DIFF_REQUEST: { type: 'ORMAP_DIFF_REQUEST', payload: { mapName: 'm', keys: ['a', 'b'] } },
    ORMAP_PUSH_DIFF: {
      type: 'ORMAP_PUSH_DIFF',
      payload: {
        mapName: 'm',
        entries: [{ key: 'k', records: [{ value: 1, timestamp: stamp, tag: '1:0:a' }], tombstones: ['2:0:a'] }],
      },
    },
    COUNTER_REQUEST: { type: 'COUNTER_REQUEST', payload: { name: 'votes' } },
    COUNTER_SYNC: { type: 'COUNTER_SYNC', payload: { name: 'votes', state: { p: { a: 1 }, n: { b: 2 } } } },
    LOCK_REQUEST: {
      type: 'LOCK_REQUEST',
      payload: { requestId: 'r', name: 'n', ttl: 5, waitMs: 0, fencingToken: 7 },
    },
    PARTITION_MAP_REQUEST: { type: 'PARTITION_MAP_REQUEST', payload: { currentVersion: 5 } },
    LOCK_RELEASE: { type: 'LOCK_RELEASE', payload: { requestId: 'r', name: 'n', fencingToken: 7 } },
    SEARCH: { type: 'SEARCH', payload: { requestId: 'r', mapName: 'm', query: 'milk', options: searched } },
    SEARCH_SUB: {
      type: 'SEARCH_SUB',
      payload: { subscriptionId: 's', mapName: 'm', query: 'milk', options: searched },
    },
    SEARCH_UNSUB: { type: 'SEARCH_UNSUB', payload: { subscriptionId: 's' } },
    JOURNAL_SUBSCRIBE: {
      type: 'JOURNAL_SUBSCRIBE',
      requestId: 'j',
      fromSequence: '5',
      epoch: 'e',
      mapName: 'm',
      types: ['PUT'],
    } as { type: string },
    JOURNAL_UNSUBSCRIBE: { type: 'JOURNAL_UNSUBSCRIBE', subscriptionId: 'j' } as { type: string },
    JOURNAL_READ: {
      type: 'JOURNAL_READ',
      requestId: 'j',
      fromSequence: '0',
      mapName: 'm',
      key: 'k',
      limit: 5,
      newestFirst: true,
    } as { type: string },
    TOPIC_SUB: { type: 'TOPIC_SUB', payload: { topic: 'chat' } },
    TOPIC_UNSUB: { type: 'TOPIC_UNSUB', payload: { topic: 'chat' } },
    TOPIC_PUB: { type: 'TOPIC_PUB', payload: { topic: 'chat', data: { msg: 'hello' } } },
    ROOM_JOIN: { type: 'ROOM_JOIN', payload: { room: 'board:b1', presence: { name: 'Ada' }, resume: 's' } },
    ROOM_UPDATE: { type: 'ROOM_UPDATE', payload: { room: 'board:b1', presence: { name: 'Ada' } } },
    ROOM_LEAVE: { type: 'ROOM_LEAVE', payload: { room: 'board:b1' } },
  }

  it('[FR14] every type of the schemas is read, and no other', () => {
    expect(Object.keys(messages).sort()).toEqual(Object.keys(clientMessageSchemas).sort())
    expect([...clientMessageTypes()].sort()).toEqual(Object.keys(clientMessageSchemas).sort())
    for (const type of ['NOPE', '', 'BATCH', 'toString', '__proto__', 'ENTRY_PROCESS', 'SQL_QUERY', 'DEVICE_HELLO']) {
      expect(read({ type })).toMatchObject({ refused: 'UNKNOWN_OPERATION', about: type })
    }
  })

  it.each(Object.entries(messages))(
    '[FR12] %s is read flat and wrapped, and unknown fields are ignored',
    (type, message) => {
      const { payload, ...rest } = message
      const fields = (payload ?? { ...rest, type: undefined }) as Record<string, unknown>
      expect(read(message)).toEqual(message)
      expect(read({ ...fields, type, unknown: 1 })).toMatchObject(
        payload === undefined ? message : { type, payload: {} },
      )
      expect(read({ type, payload: { ...fields, type: undefined }, unknown: 1 })).toMatchObject(message)
      const flat = read({ ...fields, type }) as { payload?: object }
      if (payload !== undefined && type !== 'CLIENT_OP') expect(flat).toMatchObject(message)
      if (type === 'CLIENT_OP') expect(flat.payload).toMatchObject(op)
    },
  )

  it.each(Object.entries(messages))('[FR13] %s keeps its request id', (_, message) => {
    expect(read({ ...message, requestId: 'r1' })).toEqual({ ...message, requestId: 'r1' })
    for (const requestId of ['', 'x'.repeat(129), 5, null]) {
      expect(read({ ...message, requestId })).toMatchObject({ refused: 'INVALID_REQUEST', about: message.type })
    }
  })

  it('[FR13] what cannot be read is refused under the request id in its payload, where there is none beside it', () => {
    const payload = { requestId: 'inner', name: '', fromSequence: 5 }
    for (const type of ['LOCK_REQUEST', 'LOCK_RELEASE', 'SEARCH', 'JOURNAL_READ', 'JOURNAL_SUBSCRIBE', 'SQL_QUERY']) {
      expect(read({ type, payload })).toMatchObject({ about: type, requestId: 'inner' })
      expect(read({ type, payload, requestId: 'outer' })).toMatchObject({ about: type, requestId: 'outer' })
      expect(read({ type, payload: { ...payload, requestId: 5 } })).not.toHaveProperty('requestId')
    }
  })

  it('[LK1] [LK2] [LK6] requests and releases of locks are read as they say, ids from beside the payload included', () => {
    const ask = { requestId: 'r', name: 'n', ttl: 5, waitMs: 0, fencingToken: 7 }
    expect(read({ type: 'LOCK_REQUEST', payload: ask })).toEqual({ type: 'LOCK_REQUEST', payload: ask })
    expect(read({ type: 'LOCK_REQUEST', ...ask })).toMatchObject({ requestId: 'r', payload: ask })
    expect(read({ type: 'LOCK_REQUEST', requestId: 'o', payload: { name: 'n' } })).toEqual({
      type: 'LOCK_REQUEST',
      requestId: 'o',
      payload: { requestId: 'o', name: 'n' },
    })
    for (const ttl of [null, NaN, 0]) {
      expect(read({ type: 'LOCK_REQUEST', payload: { ...ask, ttl } })).toMatchObject({ payload: { ttl: 0 } })
    }
    expect(read({ type: 'LOCK_RELEASE', payload: { name: 'n', fencingToken: 7 } })).toEqual({
      type: 'LOCK_RELEASE',
      payload: { name: 'n', fencingToken: 7 },
    })
    expect(read({ type: 'LOCK_RELEASE', requestId: 'o', payload: { name: 'n' } })).toMatchObject({
      payload: { requestId: 'o', name: 'n' },
    })
  })

  it('[FR11] what is no map with a type is an invalid request', () => {
    for (const input of [
      null,
      undefined,
      5,
      'x',
      [],
      [{ type: 'PING' }],
      new Uint8Array(2),
      {},
      { type: 5 },
      { type: null },
    ]) {
      expect(read(input)).toMatchObject({ refused: 'INVALID_REQUEST' })
    }
  })

  it('[FR12] a payload that is no map is refused', () => {
    for (const payload of [null, 5, 'x', [], new Uint8Array(1)]) {
      expect(read({ type: 'PING', timestamp: 1, payload, requestId: 'r' })).toMatchObject({
        refused: 'VALIDATION_ERROR',
        details: { path: 'payload' },
        about: 'PING',
        requestId: 'r',
      })
    }
  })

  const bad: readonly (readonly [string, string, string, object])[] = [
    ['SE1', 'AUTH without a token', 'VALIDATION_ERROR token', { type: 'AUTH' }],
    [
      'SE1',
      'AUTH with a broken version',
      'VALIDATION_ERROR protocolVersion',
      { type: 'AUTH', token: '', protocolVersion: 0.5 },
    ],
    ['SE2', 'PING without its time', 'VALIDATION_ERROR timestamp', { type: 'PING' }],
    ['SE2', 'PING at an endless time', 'VALIDATION_ERROR timestamp', { type: 'PING', timestamp: Infinity }],
    ['OP10', 'a batch without ops', 'VALIDATION_ERROR ops', { type: 'OP_BATCH', payload: {} }],
    ['OP10', 'a batch of too many ops', 'TOO_LARGE ops', { type: 'OP_BATCH', payload: { ops: times(1001, op) } }],
    [
      'OP10',
      'a batch of an unknown level',
      'VALIDATION_ERROR writeConcern',
      { type: 'OP_BATCH', ops: [], writeConcern: 'X' },
    ],
    ['OP10', 'an atomic batch', 'UNKNOWN_OPERATION atomic', { type: 'OP_BATCH', ops: [], atomic: true }],
    ['OP10', 'a batch that expects', 'UNKNOWN_OPERATION expect', { type: 'OP_BATCH', ops: [], expect: [] }],
    ['OP10', 'a transaction', 'UNKNOWN_OPERATION transactionId', { type: 'OP_BATCH', ops: [], transactionId: 't' }],
    ['OP10', 'a batch that waits for ever', 'VALIDATION_ERROR timeout', { type: 'OP_BATCH', ops: [], timeout: 1e9 }],
    ['SY1', 'SYNC_INIT of no map', 'VALIDATION_ERROR mapName', { type: 'SYNC_INIT' }],
    ['SY1', 'SYNC_INIT of a bad map', 'BAD_KEY mapName', { type: 'SYNC_INIT', mapName: '' }],
    ['SY1', 'SYNC_INIT from no cursor', 'VALIDATION_ERROR cursor', { type: 'SYNC_INIT', mapName: 'm', cursor: 5 }],
    [
      'SY1',
      'SYNC_INIT from a long cursor',
      'VALIDATION_ERROR cursor',
      { type: 'SYNC_INIT', mapName: 'm', cursor: 'x'.repeat(1025) },
    ],
    [
      'SY1',
      'SYNC_INIT since never',
      'VALIDATION_ERROR lastSyncTimestamp',
      { type: 'SYNC_INIT', mapName: 'm', lastSyncTimestamp: 'x' },
    ],
    ['SY1', 'SYNC_STOP of no map', 'VALIDATION_ERROR mapName', { type: 'SYNC_STOP' }],
    ['SY2', 'a push of no records', 'VALIDATION_ERROR records', { type: 'SYNC_PUSH', mapName: 'm' }],
    ['SY2', 'a push of too many', 'TOO_LARGE records', { type: 'SYNC_PUSH', mapName: 'm', records: times(1001, {}) }],
    ['SY2', 'a push of a number', 'VALIDATION_ERROR records[0]', { type: 'SYNC_PUSH', mapName: 'm', records: [5] }],
    ['SY2', 'a push to no key', 'VALIDATION_ERROR records[0].key', { type: 'SYNC_PUSH', mapName: 'm', records: [{}] }],
    [
      'SY2',
      'a push to a bad key',
      'BAD_KEY records[0].key',
      { type: 'SYNC_PUSH', mapName: 'm', records: [{ key: '' }] },
    ],
    [
      'SY5',
      'a leaf beyond the trie',
      'VALIDATION_ERROR leaves[1]',
      { type: 'SYNC_LEAVES', mapName: 'm', leaves: [1, 4096] },
    ],
    ['SY5', 'half a leaf', 'VALIDATION_ERROR leaves[0]', { type: 'SYNC_LEAVES', mapName: 'm', leaves: [0.5] }],
    [
      'SY5',
      'too many leaves',
      'TOO_LARGE leaves',
      { type: 'SYNC_LEAVES', mapName: 'm', leaves: Array(10_001).fill(1) },
    ],
    ['SY6', 'a fetch of a bad key', 'BAD_KEY keys[0]', { type: 'SYNC_FETCH', mapName: 'm', keys: [''] }],
    ['SY6', 'a fetch of a number', 'VALIDATION_ERROR keys[0]', { type: 'SYNC_FETCH', mapName: 'm', keys: [5] }],
    [
      'SY6',
      'a fetch of too much',
      'TOO_LARGE keys',
      { type: 'SYNC_FETCH', mapName: 'm', keys: Array(10_001).fill('k') },
    ],
    ['SY7', 'a path of letters', 'VALIDATION_ERROR path', { type: 'MERKLE_REQ_BUCKET', mapName: 'm', path: 'xyz' }],
    [
      'SY7',
      'a path of nine digits',
      'VALIDATION_ERROR path',
      { type: 'MERKLE_REQ_BUCKET', mapName: 'm', path: '123456789' },
    ],
    ['SY7', 'no path', 'VALIDATION_ERROR path', { type: 'MERKLE_REQ_BUCKET', mapName: 'm' }],
    ['SY7', 'the trie of no map', 'VALIDATION_ERROR mapName', { type: 'SYNC_TRIE' }],
    [
      'HS4',
      'a moment before the beginning',
      'VALIDATION_ERROR lastSyncTimestamp',
      { type: 'SYNC_DELTA', mapName: 'm', lastSyncTimestamp: -1 },
    ],
    ['QU1', 'a query without an id', 'VALIDATION_ERROR queryId', { type: 'QUERY_SUB', mapName: 'm', query: {} }],
    ['QU1', 'an end of no query', 'VALIDATION_ERROR queryId', { type: 'QUERY_UNSUB' }],
    ['QU1', 'a query of nothing', 'VALIDATION_ERROR query', { type: 'QUERY_SUB', queryId: 'q', mapName: 'm' }],
    [
      'QU2',
      'a where that is a list',
      'VALIDATION_ERROR query.where',
      { type: 'QUERY_SUB', queryId: 'q', mapName: 'm', query: { where: [] } },
    ],
    [
      'QU2',
      'a predicate that is a text',
      'VALIDATION_ERROR query.predicate',
      { type: 'QUERY_SUB', queryId: 'q', mapName: 'm', query: { predicate: 'x' } },
    ],
    [
      'QU2',
      'a sort in no direction',
      'VALIDATION_ERROR query.sort',
      { type: 'QUERY_SUB', queryId: 'q', mapName: 'm', query: { sort: { a: 'up' } } },
    ],
    [
      'QU2',
      'a sort that is a list',
      'VALIDATION_ERROR query.sort',
      { type: 'QUERY_SUB', queryId: 'q', mapName: 'm', query: { sort: [] } },
    ],
    [
      'QU2',
      'a sort by too many fields',
      'TOO_LARGE query.sort',
      {
        type: 'QUERY_SUB',
        queryId: 'q',
        mapName: 'm',
        query: { sort: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`f${i}`, 'asc'])) },
      },
    ],
    [
      'QU2',
      'conditions of more than 65,536 bytes',
      'TOO_LARGE query',
      { type: 'QUERY_SUB', queryId: 'q', mapName: 'm', query: { where: { a: { $in: ['x'.repeat(65_500)] } } } },
    ],
    [
      'QU2',
      'a limit below zero',
      'VALIDATION_ERROR query.limit',
      { type: 'QUERY_SUB', queryId: 'q', mapName: 'm', query: { limit: -1 } },
    ],
    [
      'QU2',
      'a limit above all',
      'VALIDATION_ERROR query.limit',
      { type: 'QUERY_SUB', queryId: 'q', mapName: 'm', query: { limit: 100_001 } },
    ],
    [
      'QU2',
      'a cursor that is a number',
      'VALIDATION_ERROR query.cursor',
      { type: 'QUERY_SUB', queryId: 'q', mapName: 'm', query: { cursor: 1 } },
    ],
  ]
  it.each(bad)('[%s] %s is refused: %s', (_, __, expected, input) => {
    const [errorCode, path] = expected.split(' ')
    expect(read(input)).toMatchObject({
      refused: errorCode,
      details: { path },
      about: (input as { type: string }).type,
    })
  })

  it('[OP10] an op that cannot be read does not sink its siblings, and is named in its place', () => {
    const result = read({ type: 'OP_BATCH', payload: { ops: [op, { ...op, id: '2', key: '' }, 5, op] } })
    expect(result).toEqual({
      type: 'OP_BATCH',
      payload: { ops: [op, { id: '2', refused: expect.anything() }, { refused: expect.anything() }, op] },
    })
    expect(read({ type: 'CLIENT_OP', payload: { ...op, id: '3', key: 5 } })).toMatchObject({
      type: 'CLIENT_OP',
      payload: { id: '3', refused: { errorCode: 'VALIDATION_ERROR', details: { path: 'key' } } },
    })
  })

  it('[SY3] a pushed record that cannot be read does not sink its siblings', () => {
    const good = { key: 'a', record: { value: 1, timestamp: stamp } }
    const state = { stamp: { ...stamp, millis: 2 } }
    const badRecords: readonly (readonly [string, unknown])[] = [
      ['VALIDATION_ERROR record', 5],
      ['VALIDATION_ERROR record.timestamp', { value: 1 }],
      ['VALIDATION_ERROR record.base', { value: 1, timestamp: stamp, base: 5 }],
      ['VALIDATION_ERROR record.value', { timestamp: stamp }],
      ['BAD_VALUE record.value', { value: NaN, timestamp: stamp }],
      ['TOO_LARGE record.value', { value: 'x'.repeat(LIMITS.valueBytes), timestamp: stamp }],
      ['VALIDATION_ERROR record.ttlMs', { value: 1, timestamp: stamp, ttlMs: 0 }],
      ['VALIDATION_ERROR record.fields', { value: {}, timestamp: stamp, fields: [] }],
      ['VALIDATION_ERROR record.fields', { value: {}, timestamp: stamp, fields: { a: 5 } }],
      ['VALIDATION_ERROR record.fields', { value: {}, timestamp: stamp, fields: { a: {} } }],
      ['VALIDATION_ERROR record.fields', { value: {}, timestamp: stamp, fields: { a: { ...state, unset: false } } }],
      ['BAD_KEY record.fields', { value: {}, timestamp: stamp, fields: JSON.parse('{"__proto__":{}}') }],
      ['BAD_KEY record.fields', { value: {}, timestamp: stamp, fields: { ['x'.repeat(513)]: state } }],
      ['BAD_VALUE record.value', { value: null, timestamp: stamp, fields: { a: { ...state, value: NaN } } }],
      [
        'TOO_LARGE record.fields',
        { value: {}, timestamp: stamp, fields: Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [i, state])) },
      ],
      [
        'TOO_LARGE record.value',
        { value: null, timestamp: stamp, fields: { a: { ...state, value: 'x'.repeat(LIMITS.valueBytes - 20) } } },
      ],
    ]
    for (const [expected, record] of badRecords) {
      const result = readClientMessage({ type: 'SYNC_PUSH', mapName: 'm', records: [good, { key: 'b', record }, good] })
      if (!result.ok || result.value.type !== 'SYNC_PUSH') throw new Error('The push was refused.')
      const [first, second, third] = result.value.payload.records
      const [errorCode, path] = expected.split(' ')
      expect(second).toMatchObject({ key: 'b', refused: { errorCode, details: { path } } })
      expect([first, third]).toEqual([{ ...good, record: { ...good.record, base: stamp } }, expect.anything()])
    }
  })

  it('[SY4] a pushed record comes in normal form: base filled in, timestamp raised, dead fields gone', () => {
    const later = { ...stamp, millis: 9 }
    const record = {
      value: { a: 1, b: 2 },
      timestamp: stamp,
      fields: { a: { stamp: later }, b: { stamp }, c: { stamp: later, unset: true } },
      version: 5,
    }
    expect(read({ type: 'SYNC_PUSH', mapName: 'm', records: [{ key: 'k', record }] })).toEqual({
      type: 'SYNC_PUSH',
      payload: {
        mapName: 'm',
        records: [
          {
            key: 'k',
            record: {
              value: { a: 1, b: 2 },
              timestamp: later,
              base: stamp,
              fields: { a: { stamp: later }, c: { stamp: later, unset: true } },
            },
          },
        ],
      },
    })
  })

  it('[SY4] a base below the timestamp is kept', () => {
    const record = { value: 1, timestamp: { ...stamp, millis: 9 }, base: stamp, ttlMs: 5 }
    expect(read({ type: 'SYNC_PUSH', mapName: 'm', records: [{ key: 'k', record }] })).toEqual({
      type: 'SYNC_PUSH',
      payload: { mapName: 'm', records: [{ key: 'k', record }] },
    })
  })

  it('[SY1] a cursor may be null, and the last sync a number or a stamp', () => {
    for (const members of [{ cursor: null }, { lastSyncTimestamp: -5.5 }, { lastSyncTimestamp: stamp }, {}]) {
      expect(read({ type: 'SYNC_INIT', mapName: 'm', ...members })).toEqual({
        type: 'SYNC_INIT',
        mapName: 'm',
        ...members,
      })
    }
  })
})

it('[OP9] a fence is the name of a lock and a token', () => {
  const fenced = (fence: unknown): object => ({ ...op, fence })
  for (const fence of [
    { name: 'n', token: 1 },
    { name: 'é'.repeat(128), token: Number.MAX_SAFE_INTEGER, more: 1 },
  ]) {
    expect(accepted(readOp(fenced(fence))).fence).toBe(fence)
  }
  expect(accepted(readOp({ ...withRecord({ value: null }), fence: { name: 'n', token: 1 } })).fence?.token).toBe(1)
  for (const fence of [null, 5, [], 'n']) refuses(fenced(fence), 'VALIDATION_ERROR', 'fence')
  for (const name of ['', 'x'.repeat(257), 'a\0']) refuses(fenced({ name, token: 1 }), 'BAD_KEY', 'fence.name')
  refuses(fenced({ token: 1 }), 'VALIDATION_ERROR', 'fence.name')
  for (const token of [undefined, 0, -1, 0.5, '1', 2 ** 53])
    refuses(fenced({ name: 'n', token }), 'VALIDATION_ERROR', 'fence.token')
})

describe('the readers and the schemas say the same', () => {
  const junk = fc.oneof(
    fc.constantFrom(undefined, null, 0, -1, 0.5, Infinity, -0, '', 'm', 'PUT', 'PATCH', 'APPLIED', true, [], {}),
    fc.constantFrom('x'.repeat(129), 'x'.repeat(513), '\ud800', '__proto__'),
    anyValue,
    anyStamp,
  )
  const maybe = <T>(good: fc.Arbitrary<T>, rate: number = 9): fc.Arbitrary<unknown> =>
    fc.oneof(
      { arbitrary: good, weight: rate },
      { arbitrary: junk, weight: 1 },
      { arbitrary: fc.constant(undefined), weight: 1 },
    )
  const seldom = fc.oneof({ arbitrary: fc.constant(undefined), weight: 19 }, { arbitrary: junk, weight: 1 })
  const compact = (map: object): Record<string, unknown> =>
    Object.fromEntries(Object.entries(map).filter(([, member]) => member !== undefined))
  const opRecord = maybe(
    fc
      .record({
        value: maybe(anyValue),
        timestamp: maybe(anyStamp, 30),
        ttlMs: fc.option(maybe(fc.constant(5)), { nil: undefined, freq: 3 }),
        unset: fc.option(maybe(fc.array(fc.constantFrom('a', 'b', '', 'text', '__proto__'), { maxLength: 3 })), {
          nil: undefined,
          freq: 3,
        }),
      })
      .map(compact),
    30,
  )
  const anyOp = maybe(
    fc
      .record({
        id: maybe(fc.constantFrom('1', '2')),
        mapName: maybe(fc.constantFrom('m', 'x'.repeat(128)), 30),
        key: maybe(fc.constantFrom('k', 'é'.repeat(256)), 30),
        opType: maybe(fc.constantFrom('PUT', 'REMOVE', 'PATCH', 'PATCH')),
        record: opRecord,
        writeConcern: maybe(fc.constantFrom('APPLIED', 'PERSISTED')),
        timeout: maybe(fc.constantFrom(1, 300_000)),
        fence: fc.option(maybe(fc.constant({ name: 'n', token: 1 })), { nil: undefined, freq: 2 }),
      })
      .map(compact),
    30,
  )

  /** The liberties of [OP3], [OP6] and [OP7], taken in another way than the reader does. */
  const normalize = (input: unknown): unknown => {
    if (typeof input !== 'object' || input === null || !('record' in input)) return input
    const { opType = 'PUT', record } = input as { opType?: unknown; record: unknown }
    if (typeof record !== 'object' || record === null) return input
    const { value = opType === 'PATCH' ? null : undefined, ...others } = record as Record<string, unknown>
    const isRemoval = opType === 'REMOVE' || (opType === 'PUT' && value === null)
    if (isRemoval)
      return { ...input, opType: 'REMOVE', record: compact({ value: null, timestamp: others['timestamp'] }) }
    if (opType === 'PATCH' && value === null) return { ...input, record: { ...others, value: {} } }
    return { ...input, opType, record: { ...record, value: value === 0 ? 0 : value } }
  }

  it('[OP1] to [OP9]: readOp accepts an op exactly if its schema accepts the normal form', () => {
    let acceptedCount = 0
    fc.assert(
      fc.property(anyOp, (input) => {
        const result = readOp(input)
        const parsed = clientOpSchema.safeParse(normalize(input))
        if (isRefusedOp(result) === parsed.success) throw new Error(JSON.stringify([result, parsed.error?.issues]))
        if (isRefusedOp(result)) return
        acceptedCount++
        expect(clientOpSchema.parse(result)).toEqual(parsed.data)
      }),
      { numRuns: 5_000 },
    )
    expect(acceptedCount).toBeGreaterThan(700)
  })

  it('[OM1] [OM2] [OM4] readOp accepts an op on an OR-map exactly if its schema does', () => {
    const stray = { record: null, orTag: null, orRecord: null, synced: false }
    const itemOp = fc
      .record({
        id: maybe(fc.constant('1')),
        mapName: maybe(fc.constant('m'), 30),
        key: maybe(fc.constantFrom('k', 'é'.repeat(250), 'é'.repeat(254)), 30),
        opType: fc.constantFrom('OR_ADD', 'OR_REMOVE'),
        orRecord: anyItem,
        orTag: maybe(fc.constantFrom('1:0:a', '1', '1:0:a:b'), 30),
        timestamp: fc.option(anyStamp, { nil: undefined }),
        fence: fc.option(maybe(fc.constant({ name: 'n', token: 1 })), { nil: undefined, freq: 2 }),
      })
      .map((given) => {
        const { orRecord, orTag, timestamp, ...rest } = given
        return {
          ...stray,
          ...compact(given.opType === 'OR_ADD' ? { ...rest, orRecord } : { ...rest, orTag, timestamp }),
        }
      })
    let acceptedCount = 0
    fc.assert(
      fc.property(itemOp, (input) => {
        const result = readOp(input)
        const parsed = itemOpSchema.safeParse(input)
        if (isRefusedOp(result) === parsed.success) throw new Error(JSON.stringify([result, parsed.error?.issues]))
        if (isRefusedOp(result)) return
        acceptedCount++
        const given = input as unknown as { opType: string; key: string; orRecord: OrRecord; orTag: string }
        const { opType, key, orRecord, orTag } = given
        const timestamp = (input as { timestamp?: Stamp }).timestamp ?? ZERO_STAMP
        const written = opType === 'OR_ADD' ? orRecord : { tag: orTag, value: null, timestamp }
        const { tag, ...record } = { ...written, value: written.value === 0 ? 0 : written.value }
        expect(result).toMatchObject({ opType, key: `${tag}:${key}`, record })
      }),
      { numRuns: 5_000 },
    )
    expect(acceptedCount).toBeGreaterThan(700)
  })

  const fields = fc.dictionary(
    fc.constantFrom('a', 'b', 'c', '__proto__', 'x'.repeat(513)),
    maybe(
      fc
        .record({
          stamp: maybe(anyStamp, 30),
          unset: fc.option(maybe(fc.constant(true)), { nil: undefined }),
          value: maybe(anyValue),
        })
        .map(compact),
      30,
    ),
    { maxKeys: 3 },
  )
  const pushed = maybe(
    fc
      .record({
        value: maybe(anyValue, 30),
        timestamp: maybe(anyStamp, 30),
        base: maybe(anyStamp, 30),
        ttlMs: fc.option(maybe(fc.constant(7)), { nil: undefined }),
        fields: fc.option(fields, { nil: undefined }),
      })
      .map(compact),
    30,
  )
  const mapName = maybe(fc.constant('m'), 30)
  /** Never absent: a requestId may stand in the payload or beside it. */
  const given = <T>(good: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
    fc.oneof({ arbitrary: good, weight: 30 }, { arbitrary: junk.filter((each) => each !== undefined), weight: 1 })
  const asked = {
    mapName,
    query: maybe(fc.constantFrom('milk', 'x'.repeat(1_024), 'x'.repeat(1_025)), 30),
    options: maybe(
      fc
        .record({
          limit: maybe(fc.nat()),
          minScore: maybe(fc.double({ noNaN: true, min: -1 })),
          boost: maybe(fc.dictionary(fc.constantFrom('a', 'b'), maybe(fc.constant(2), 30))),
          fields: maybe(fc.array(maybe(fc.constantFrom('a', 'b'), 30), { maxLength: 3 })),
          where: maybe(fc.dictionary(fc.constant('a'), anyValue)),
          prefix: maybe(fc.boolean()),
        })
        .map(compact),
    ),
  }
  const sequence = fc.constantFrom('0', '17', '9007199254740991', '9007199254740992', '-1', 'x', '1'.repeat(17))
  const filter = {
    mapName: maybe(fc.constant('m')),
    types: maybe(fc.array(fc.constantFrom('PUT', 'UPDATE', 'DELETE', 'PATCH'), { maxLength: 4 })),
  }
  const topic = maybe(fc.constantFrom('chat', 'a/b.c:d-e_f', 'x'.repeat(256), 'x'.repeat(257), 'é', 'a b', ''), 30)
  const room = maybe(fc.constantFrom('board:b1', 'x'.repeat(128), 'x'.repeat(129), 'a\n', ''), 30)
  const presence = maybe(fc.oneof(fc.dictionary(fc.constantFrom('name', 'x'), anyValue), anyValue), 30)
  const anyItem = maybe(
    fc
      .record({
        value: maybe(anyValue, 30),
        timestamp: maybe(anyStamp, 30),
        tag: maybe(fc.constantFrom('1:0:a', '1700000000000:65535:é', '01:0:a'), 30),
        ttlMs: fc.option(maybe(fc.constant(7)), { nil: undefined }),
      })
      .map(compact),
    30,
  )
  const anyCounts = fc.dictionary(
    fc.constantFrom('a', 'b', '__proto__', 'x'.repeat(513)),
    maybe(fc.constantFrom(0, 3, Number.MAX_SAFE_INTEGER), 30),
    { maxKeys: 2 },
  )
  const payloads: Record<string, fc.Arbitrary<Record<string, unknown>>> = {
    AUTH: fc.record({ token: maybe(fc.string()), protocolVersion: maybe(fc.nat()) }),
    PING: fc.record({ timestamp: maybe(fc.double()) }),
    OP_BATCH: fc.record({
      ops: maybe(fc.array(fc.constant(op), { maxLength: 3 })),
      writeConcern: maybe(fc.constant('MEMORY')),
      timeout: maybe(fc.nat()),
      atomic: seldom,
      expect: seldom,
      transactionId: seldom,
    }),
    SYNC_INIT: fc.record({
      mapName,
      cursor: maybe(fc.constantFrom('c', 'x'.repeat(1024), 'x'.repeat(1025), null)),
      kind: fc.option(maybe(fc.constantFrom('lww', 'or', 'pn')), { nil: undefined }),
      lastSyncTimestamp: maybe(fc.oneof(fc.double(), anyStamp)),
    }),
    ORMAP_SYNC_INIT: fc.record({
      mapName,
      rootHash: maybe(fc.nat()),
      bucketHashes: maybe(fc.dictionary(fc.constantFrom('a', 'b'), maybe(fc.nat(), 30))),
      lastSyncTimestamp: maybe(fc.oneof(fc.double(), anyStamp)),
    }),
    ORMAP_MERKLE_REQ_BUCKET: fc.record({ mapName, path: maybe(fc.constantFrom('', 'a', '0123abcd', 'A')) }),
    ORMAP_DIFF_REQUEST: fc.record({ mapName, keys: maybe(fc.array(maybe(fc.constant('k')), { maxLength: 4 })) }),
    ORMAP_PUSH_DIFF: fc.record({
      mapName,
      entries: maybe(
        fc.array(
          fc
            .record({
              key: maybe(fc.constant('k'), 30),
              records: maybe(fc.array(anyItem, { maxLength: 2 }), 30),
              tombstones: maybe(fc.array(maybe(fc.constant('1:0:a'), 30), { maxLength: 2 }), 30),
            })
            .map(compact),
          { maxLength: 2 },
        ),
        30,
      ),
    }),
    COUNTER_REQUEST: fc.record({ name: maybe(fc.constantFrom('votes', 'x'.repeat(120), 'x'.repeat(121))) }),
    // That there are two shapes is a liberty of the reader.
    COUNTER_SYNC: fc.record({
      name: maybe(fc.constant('votes'), 30),
      state: maybe(fc.record({ p: given(anyCounts), n: given(anyCounts) }).map(compact), 30),
    }),
    SYNC_STOP: fc.record({ mapName }),
    SYNC_PUSH: fc.record({
      mapName,
      kind: fc.option(maybe(fc.constantFrom('lww', 'or', 'pn')), { nil: undefined }),
      records: maybe(fc.array(fc.record({ key: maybe(fc.constant('k'), 30), record: pushed }), { maxLength: 3 })),
    }),
    SYNC_TRIE: fc.record({ mapName }),
    SYNC_LEAVES: fc.record({ mapName, leaves: maybe(fc.array(fc.oneof(fc.nat(4100), fc.double()), { maxLength: 4 })) }),
    SYNC_FETCH: fc.record({ mapName, keys: maybe(fc.array(maybe(fc.constant('k')), { maxLength: 4 })) }),
    SYNC_DELTA: fc.record({
      mapName,
      lastSyncTimestamp: maybe(
        fc.oneof(fc.double(), fc.constant({ millis: 1, counter: 0, nodeId: 'n' }), fc.constant({ millis: -1 })),
      ),
    }),
    MERKLE_REQ_BUCKET: fc.record({ mapName, path: maybe(fc.constantFrom('', 'a', '0123abcd', '0123abcde', 'A')) }),
    QUERY_SUB: fc.record({
      queryId: maybe(fc.constant('q'), 30),
      mapName,
      query: maybe(
        fc
          .record({
            where: maybe(fc.dictionary(fc.string(), anyValue)),
            predicate: maybe(fc.constant({ op: 'eq' })),
            sort: maybe(fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('asc', 'desc', 'up'))),
            limit: maybe(fc.nat(120_000)),
            cursor: maybe(fc.string()),
          })
          .map(compact),
        30,
      ),
    }),
    PARTITION_MAP_REQUEST: fc.record({ currentVersion: maybe(fc.double({ noNaN: true })) }),
    // That an id may stand beside the payload, and what null is, are liberties of the reader.
    LOCK_REQUEST: fc.record({
      requestId: fc.constantFrom('r', 'r', 'r', '', 5),
      name: maybe(fc.constantFrom('n', 'é'.repeat(128)), 30),
      ttl: fc.oneof(fc.constant(undefined), fc.double({ noNaN: true }), fc.constantFrom('x', true)),
      waitMs: maybe(fc.double()),
      fencingToken: maybe(fc.integer()),
    }),
    LOCK_RELEASE: fc.record({
      requestId: fc.constantFrom('r', 'r', 'r', '', 5),
      name: maybe(fc.constant('n'), 30),
      fencingToken: maybe(fc.integer()),
    }),
    QUERY_UNSUB: fc.record({ queryId: maybe(fc.constantFrom('q', 'x'.repeat(128))) }),
    SEARCH: fc.record({ requestId: given(fc.constant('r')), ...asked }),
    SEARCH_SUB: fc.record({ subscriptionId: maybe(fc.constant('s'), 30), ...asked }),
    SEARCH_UNSUB: fc.record({ subscriptionId: maybe(fc.constant('s')) }),
    JOURNAL_SUBSCRIBE: fc.record({
      requestId: given(fc.constant('j')),
      fromSequence: maybe(sequence),
      epoch: maybe(fc.constant('e')),
      ...filter,
    }),
    JOURNAL_UNSUBSCRIBE: fc.record({ subscriptionId: maybe(fc.constant('j')) }),
    JOURNAL_READ: fc.record({
      requestId: given(fc.constant('j')),
      fromSequence: maybe(sequence, 30),
      limit: maybe(fc.nat(110)),
      key: maybe(fc.constant('k')),
      newestFirst: maybe(fc.boolean()),
      ...filter,
    }),
    TOPIC_SUB: fc.record({ topic }),
    TOPIC_UNSUB: fc.record({ topic }),
    TOPIC_PUB: fc.record({ topic, data: maybe(anyValue) }),
    ROOM_JOIN: fc.record({ room, presence, resume: maybe(fc.constantFrom('r', 'x'.repeat(512), 'x'.repeat(513))) }),
    ROOM_UPDATE: fc.record({ room, presence }),
    ROOM_LEAVE: fc.record({ room }),
  }

  it('[FR12] every type but the op has generated payloads', () => {
    expect([...Object.keys(payloads), 'CLIENT_OP'].sort()).toEqual(Object.keys(clientMessageSchemas).sort())
  })

  it.each(Object.entries(payloads))(
    '[FR12] readClientMessage accepts %s exactly if its schema does',
    (type, payload) => {
      const flat =
        ['AUTH', 'PING', 'SYNC_INIT', 'SYNC_STOP', 'ORMAP_SYNC_INIT'].includes(type) || type.startsWith('JOURNAL_')
      let acceptedCount = 0
      fc.assert(
        fc.property(
          payload.map((given) => withoutMinusZero(compact(given))),
          fc.option(maybe(fc.constant('r')), { nil: undefined }),
          (given, requestId) => {
            const message = compact({ type, requestId, ...(flat ? given : { payload: given }) })
            const result = readClientMessage(message)
            const parsed = clientMessageSchemas[type as keyof typeof clientMessageSchemas].safeParse(message)
            const isWhole = result.ok && !JSON.stringify(result.value).includes('"refused":')
            if (isWhole !== parsed.success) throw new Error(JSON.stringify([result, parsed.error?.issues]))
            if (isWhole) acceptedCount++
            if (isWhole && type !== 'SYNC_PUSH') expect(result.value).toEqual(parsed.data)
          },
        ),
        { numRuns: 1_000 },
      )
      expect(acceptedCount).toBeGreaterThan(50)
    },
  )
})

/** What decoders give holds no minus zero ([FR10]). */
function withoutMinusZero<T>(input: T): T {
  if (Object.is(input, -0)) return 0 as T
  if (typeof input !== 'object' || input === null || input instanceof Uint8Array) return input
  if (Array.isArray(input)) return input.map(withoutMinusZero) as T
  const members = Object.entries(input).map(([name, member]) => [name, withoutMinusZero(member)] as const)
  // As a decoder does: a member of this name is a member.
  const copy: Record<string, unknown> = {}
  for (const [name, value] of members) {
    Object.defineProperty(copy, name, { value, writable: true, enumerable: true, configurable: true })
  }
  return copy as T
}

describe('server messages', () => {
  it('[FR15] every type of the schemas is known to a client, and no other', () => {
    for (const type of Object.keys(serverMessageSchemas)) {
      const result = readServerMessage({ type })
      expect(result.ok ? '' : result.error.errorCode).toBe('VALIDATION_ERROR')
    }
    for (const type of ['NOPE', 'toString', '__proto__', 'CLIENT_OP']) {
      const result = readServerMessage({ type })
      expect(result.ok ? '' : result.error.errorCode).toBe('UNKNOWN_OPERATION')
    }
    for (const input of [null, 5, [], {}, { type: 5 }]) expect(readServerMessage(input).ok).toBe(false)
  })

  it('[SY8] a record travels without its base where that equals the timestamp, and comes back whole', () => {
    fc.assert(
      fc.property(anyRecord, fc.option(fc.nat(), { nil: undefined }), (record, version) => {
        const wire = toWireRecord(record, version)
        expect('base' in wire).toBe(false)
        const payload = { mapName: 'm', eventType: 'PUT', key: 'k', record: wire, seq: 1 }
        const result = readServerMessage({ type: 'SERVER_EVENT', payload })
        if (!result.ok || result.value.type !== 'SERVER_EVENT') throw new Error('It was refused.')
        expect(result.value.payload).toHaveProperty('record', version === undefined ? record : { ...record, version })
      }),
    )
    const raised: LwwRecord = {
      value: { a: 1 },
      timestamp: { ...stamp, millis: 5 },
      base: stamp,
      fields: { a: { stamp: { ...stamp, millis: 5 } } },
    }
    expect(toWireRecord(raised)).toEqual(raised)
    expect(compareStamps(raised.base, raised.timestamp)).toBeLessThan(0)
    expect(isMap(raised.value)).toBe(true)
  })

  it('[FR15] a list that is none, or holds what is no item, is garbage', () => {
    const page = { mapName: 'm', cursor: 'c', seq: 4, more: false }
    const good = { key: 'k', record: { value: 1, timestamp: stamp } }
    const isRead = (records: unknown): boolean =>
      readServerMessage({ type: 'SYNC_DIFF', payload: { ...page, records } }).ok
    expect(isRead([])).toBe(true)
    expect(isRead([good, good])).toBe(true)
    const badItems = [5, null, {}, { key: 'k' }, { ...good, key: 5 }, { ...good, record: { value: 1 } }]
    const badRecords = [
      { timestamp: stamp },
      { ...good.record, base: 5 },
      { ...good.record, ttlMs: 'x' },
      { ...good.record, fields: { a: {} } },
    ]
    for (const item of [...badItems, ...badRecords.map((record) => ({ ...good, record }))])
      expect(isRead([good, item])).toBe(false)
    for (const records of [undefined, null, 5, 'x', {}]) expect(isRead(records)).toBe(false)
    const keys = { mapName: 'm', digests: new Uint8Array(8), more: false }
    expect(readServerMessage({ type: 'SYNC_LEAVES_RESP', payload: { ...keys, keys: ['k'] } }).ok).toBe(true)
    expect(readServerMessage({ type: 'SYNC_LEAVES_RESP', payload: { ...keys, keys: ['k', 5] } }).ok).toBe(false)
    expect(readServerMessage({ type: 'SYNC_DIFF', payload: { ...page, records: [], lost: [[1, 2]] } }).ok).toBe(true)
    for (const lost of [5, [5], [['a', 'b']]]) {
      expect(readServerMessage({ type: 'SYNC_DIFF', payload: { ...page, records: [], lost } }).ok).toBe(false)
    }
  })

  it('[FR15] a client that follows by cursor reads what it is sent in the same way, and nothing else', () => {
    const pong = { type: 'PONG', timestamp: 1, serverTime: 2 }
    expect(readFollowerMessage({ ...pong })).toEqual(readServerMessage({ ...pong }))
    expect(readFollowerMessage({ type: 'PONG', timestamp: 1 }).ok).toBe(false)
    const update = { type: 'QUERY_UPDATE', payload: { queryId: 'q', key: 'k', value: 1, changeType: 'ENTER' } }
    expect(readServerMessage(update).ok).toBe(true)
    const unknown = readFollowerMessage(update)
    expect(unknown.ok ? '' : unknown.error.errorCode).toBe('UNKNOWN_OPERATION')
  })

  it('[FR15] unknown members are kept out of the way, and records in lists are brought into normal form', () => {
    const record = { value: 1, timestamp: stamp, version: 3 }
    const result = readServerMessage({
      type: 'SYNC_DIFF',
      requestId: 'r',
      payload: { mapName: 'm', cursor: 'c', seq: 4, more: false, records: [{ key: 'k', record, seq: 4 }], later: 1 },
    })
    expect(result.ok && result.value).toMatchObject({
      requestId: 'r',
      payload: { records: [{ key: 'k', record: { ...record, base: stamp } }] },
    })
  })
})
