import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Value } from '@syncline/core'
import { LIMITS, encodeMsgpack, type ClientMessage, type Encoding, type OpAck } from '@syncline/protocol'
import { StorageError, memoryStorage } from '@syncline/storage'
import { sqliteStorage } from '@syncline/storage/sqlite'
import { afterAll, describe, expect, test } from 'vitest'
import {
  GatedStorage,
  MovableEnv,
  SECRET,
  clientOp,
  opBatch,
  patch,
  put,
  remove,
  stampAt,
  tokenOf,
  until,
} from '../../testing/harness.ts'
import { startTestServer, type TestClient } from '../../testing/test-server.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']
const folder = mkdtempSync(join(tmpdir(), 'syncline-maps-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0
const newPath = (): string => join(folder, `${++files}.db`)

async function ackOf(client: TestClient, message: ClientMessage): Promise<OpAck['payload']> {
  client.send(message)
  return (await client.take('OP_ACK')).payload
}

/** What a new reader is told of a map, tombstones left out. */
async function contentOf(client: TestClient, mapName: string): Promise<Record<string, unknown>> {
  const queryId = `content-${Math.random()}`
  client.send({ type: 'QUERY_SUB', payload: { queryId, mapName, query: {} } })
  const response = await client.take('QUERY_RESP', ({ payload }) => payload.queryId === queryId)
  client.send({ type: 'QUERY_UNSUB', payload: { queryId } })
  return Object.fromEntries(response.payload.results.map(({ key, value }) => [key, value]))
}

describe.each(encodings)('writes in %s', (encoding) => {
  test('PUT, PATCH and REMOVE do what they say, and each is answered by one OP_ACK with its result', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    const a = await ackOf(client, clientOp(put('m', 'k', { a: 1, b: 2 }, { id: 'x1' })))
    expect(a).toEqual({
      lastId: 'x1',
      achievedLevel: 'MEMORY',
      results: [{ opId: 'x1', success: true, achievedLevel: 'MEMORY', latencyMs: 0, seq: expect.any(Number) }],
    })
    const b = await ackOf(client, clientOp(patch('m', 'k', { b: 3, c: 4 }, { id: 'x2', unset: ['a'] })))
    expect(await contentOf(client, 'm')).toEqual({ k: { b: 3, c: 4 } })
    const c = await ackOf(client, clientOp(remove('m', 'k', { id: 'x3' })))
    expect(await contentOf(client, 'm')).toEqual({})
    const seqs = [a, b, c].map(({ results }) => results[0]?.seq ?? 0)
    expect(seqs).toEqual(seqs.toSorted((x, y) => x - y))
    expect(new Set(seqs).size).toBe(3)
  })

  test('[FR13] the acknowledgement repeats the requestId, whether it comes at once or later', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    await using server = await startTestServer({ storage })
    const client = await server.connect({ encoding })
    for (const writeConcern of ['MEMORY', 'PERSISTED'] as const) {
      client.send({ ...clientOp(put('m', 'k', 1, { writeConcern })), requestId: `one-${writeConcern}` })
      expect(await client.take('OP_ACK')).toMatchObject({ requestId: `one-${writeConcern}` })
      client.send({
        ...opBatch([put('m', 'k', 1), put('m', '', 1)], { writeConcern }),
        requestId: `many-${writeConcern}`,
      })
      expect(await client.take('OP_ACK')).toMatchObject({ requestId: `many-${writeConcern}` })
    }
  })

  test('ops without an id get one, and fields may stand beside the type', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    const flat = {
      type: 'CLIENT_OP',
      mapName: 'm',
      key: 'k',
      record: { value: 1, timestamp: stampAt() },
      synced: false,
    }
    client.sendRaw(encoding === 'json' ? JSON.stringify(flat) : encodeMsgpack(flat as never))
    const { payload } = await client.take('OP_ACK')
    expect(payload.lastId).toMatch(/^op-\d+$/)
    expect(payload.results).toMatchObject([{ opId: payload.lastId, success: true }])
  })

  const bad: readonly [string, object, string][] = [
    ['BAD_KEY', put('m', '', 1), 'empty key'],
    ['BAD_KEY', put('m', 'x'.repeat(LIMITS.keyBytes + 1), 1), 'long key'],
    ['BAD_KEY', put('x'.repeat(LIMITS.mapNameBytes + 1), 'k', 1), 'long map name'],
    ['BAD_VALUE', put('m', 'k', 'a\u0000b'), 'U+0000'],
    ['TOO_LARGE', put('m', 'k', 'x'.repeat(LIMITS.valueBytes)), 'large value'],
    ['NOT_FOUND', patch('m', 'nobody', { a: 1 }), 'PATCH of a key that the server never had'],
    ['CLOCK_SKEW', put('m', 'k', 1, { stamp: stampAt(Date.now() + 70_000) }), 'stamp in the future'],
    ['UNKNOWN_OPERATION', { ...put('m', 'k', 1), opType: 'UPSERT' }, 'unknown kind'],
    ['VALIDATION_ERROR', { ...put('m', 'k', 1), record: null }, 'no record'],
    ['VALIDATION_ERROR', put('m', 'k', 1, { writeConcern: 'EVENTUALLY' as never }), 'unknown level'],
    ['VALIDATION_ERROR', put('m', 'k', 1, { timeout: -1 }), 'timeout below 0'],
    ['VALIDATION_ERROR', put('m', 'k', 1, { ttlMs: 0 }), 'time to live of 0'],
    ['VALIDATION_ERROR', put('m', 'k', 1, { stamp: { millis: -1, counter: 0, nodeId: 'n' } }), 'negative stamp'],
    ['VALIDATION_ERROR', patch('m', 'k', { a: 1 }, { unset: ['a'] }), 'field set and unset'],
    ['VALIDATION_ERROR', patch('m', 'k', 'text'), 'PATCH of a text'],
    ['WRITE_CONCERN_UNAVAILABLE', put('m', 'k', 1, { writeConcern: 'PERSISTED' }), 'PERSISTED in memory'],
  ]
  test('[OP12] a refused op has its code in the result, its siblings are applied, and the connection survives', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    const ops = bad.map(([, op], i) => ({ ...op, id: `op-bad-${i}` }))
    const ack = await ackOf(client, opBatch([put('m', 'first', 1), ...ops, put('m', 'last', 1)] as never))
    expect(ack.results.slice(1, -1).map(({ errorCode }) => errorCode)).toEqual(bad.map(([code]) => code))
    expect(ack.results.slice(1, -1).every(({ success, error }) => !success && error !== '')).toBe(true)
    expect([ack.results[0], ack.results.at(-1)]).toMatchObject([{ success: true }, { success: true }])
    expect(Object.keys(await contentOf(client, 'm')).toSorted()).toEqual(['first', 'last'])
    // What sending again cannot mend is also told by OP_REJECTED, which existing clients know.
    const rejected = client.inbox.flatMap((message) => (message.type === 'OP_REJECTED' ? [message.payload] : []))
    expect(rejected.map(({ opId }) => opId)).toEqual(
      bad.flatMap(([code], i) => (code === 'CLOCK_SKEW' ? [] : [`op-bad-${i}`])),
    )
    for (const [code, op, what] of bad) {
      const alone = await ackOf(client, clientOp(op as never))
      expect([what, ...alone.results]).toMatchObject([what, { success: false, errorCode: code }])
    }
  })

  test('INV-2: FIRE_AND_FORGET is silent, applied or refused, and left out of the results of a batch', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    await client.take('AUTH_REQUIRED')
    const silent = { writeConcern: 'FIRE_AND_FORGET' } as const
    client.send(clientOp(put('m', 'a', 1, silent)))
    client.send(clientOp(put('m', '', 1, silent)))
    client.send(clientOp(patch('m', 'none', { a: 1 }, silent)))
    client.send(clientOp(put('m', 'z', 1, { ...silent, stamp: stampAt(Date.now() + 90_000) })))
    client.send(opBatch([put('m', 'b', 1), put('m', '', 1), put('m', 'c', 1)], silent))
    await client.settle()
    expect(client.inbox).toEqual([])
    const ack = await ackOf(client, opBatch([put('m', 'd', 1, { id: '1' }), put('m', 'e', 1, { id: '2', ...silent })]))
    expect(ack.results.map(({ opId }) => opId)).toEqual(['1'])
    expect(ack.lastId).toBe('2')
    expect(Object.keys(await contentOf(client, 'm')).toSorted()).toEqual(['a', 'b', 'c', 'd', 'e'])
  })
})

describe('clock and stamps', () => {
  test('INV-11: CLOCK_SKEW names the time of the server, whose clock does not move', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    const ahead = stampAt(Date.now() + 3_600_000)
    const { results } = await ackOf(client, clientOp(put('m', 'k', 1, { stamp: ahead })))
    const { errorCode, details } = results[0] ?? {}
    expect(errorCode).toBe('CLOCK_SKEW')
    expect(Math.abs((details?.['serverTime'] as number) - Date.now())).toBeLessThan(5_000)
    client.send({ type: 'SYNC_INIT', mapName: 'm' })
    const { payload } = await client.take('SYNC_RESP_ROOT')
    expect(payload.timestamp.millis).toBeLessThan(Date.now() + 1_000)
    client.send({
      type: 'SYNC_PUSH',
      payload: { mapName: 'm', records: [{ key: 'k', record: { value: 1, timestamp: ahead, base: stampAt(1) } }] },
    })
    expect((await client.take('SYNC_PUSH_RESP')).payload.refused).toMatchObject([{ errorCode: 'CLOCK_SKEW' }])
    client.send({ type: 'SYNC_INIT', mapName: 'm' })
    expect((await client.take('SYNC_RESP_ROOT')).payload.timestamp.millis).toBeLessThan(Date.now() + 1_000)
  })

  test('INV-11: a stamp at the edge of the drift is taken, one a second beyond is not', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env, maxClockDriftMs: 10_000 })
    const client = await server.connect()
    const inside = await ackOf(client, clientOp(put('m', 'k', 1, { stamp: stampAt(env.now() + 9_000) })))
    expect(inside.results).toMatchObject([{ success: true }])
    const outside = await ackOf(client, clientOp(put('m', 'k', 2, { stamp: stampAt(env.now() + 11_500) })))
    expect(outside.results).toMatchObject([{ errorCode: 'CLOCK_SKEW' }])
  })

  test('INV-9: a write that loses at once is acknowledged with superseded and the seq of the record', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    const first = await ackOf(client, clientOp(put('m', 'k', { a: 1 }, { stamp: stampAt(2_000) })))
    const late = await ackOf(client, clientOp(put('m', 'k', { a: 0 }, { stamp: stampAt(1_000) })))
    expect(late.results).toMatchObject([{ success: true, superseded: true, seq: first.results[0]?.seq }])
    expect(first.results[0]?.superseded).toBeUndefined()
    await ackOf(client, clientOp(patch('m', 'k', { a: 5 }, { stamp: stampAt(4_000) })))
    const patched = await ackOf(client, clientOp(patch('m', 'k', { a: 4 }, { stamp: stampAt(3_000) })))
    expect(patched.results).toMatchObject([{ success: true, superseded: true }])
    await ackOf(client, clientOp(remove('m', 'k', { stamp: stampAt(5_000) })))
    const hidden = await ackOf(client, clientOp(patch('m', 'k', { a: 6 }, { stamp: stampAt(6_000) })))
    expect(hidden.results).toMatchObject([{ success: true, superseded: true }])
    expect(await contentOf(client, 'm')).toEqual({})
    const again = await ackOf(client, clientOp(put('m', 'k', { a: 7 }, { stamp: stampAt(5_500) })))
    expect(again.results[0]?.superseded).toBeUndefined()
    expect(await contentOf(client, 'm')).toEqual({ k: { a: 6 } })
  })

  test('INV-9: a field write to a record whose time has passed is acknowledged with superseded', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const client = await server.connect()
    const stamp = { millis: env.now(), counter: 0, nodeId: 'tester' }
    await ackOf(client, clientOp(put('m', 'k', { a: 1 }, { stamp, ttlMs: 10_000 })))
    const seen = await ackOf(client, clientOp(patch('m', 'k', { a: 2 }, { stamp: { ...stamp, counter: 1 } })))
    expect(seen.results[0]?.superseded).toBeUndefined()
    env.leap(11_000)
    const lost = await ackOf(client, clientOp(patch('m', 'k', { a: 3 }, { stamp: { ...stamp, counter: 2 } })))
    expect(lost.results).toMatchObject([{ success: true, superseded: true }])
  })

  test('INV-7: a write that arrives again counts once', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    const other = await server.connect()
    other.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    await other.take('SYNC_DIFF')
    other.inbox.length = 0
    const write = put('m', 'k', { a: 1 }, { id: '7' })
    const acks = [await ackOf(client, clientOp(write)), await ackOf(client, clientOp(write))]
    expect(acks[1]).toEqual(acks[0])
    await other.settle()
    expect(other.inbox.map(({ type }) => type)).toEqual(['SERVER_EVENT'])
  })

  test('a visible change that does not raise the timestamp gets a fresh stamp of the server', async () => {
    await using server = await startTestServer({ nodeId: 'the-server' })
    const client = await server.connect()
    const reader = await server.connect()
    reader.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    await reader.take('SYNC_DIFF')
    const latest = stampAt(5_000)
    await ackOf(client, clientOp(put('m', 'k', { a: 1, b: 1 }, { stamp: stampAt(1_000) })))
    await ackOf(client, clientOp(patch('m', 'k', { a: 2 }, { stamp: latest })))
    await reader.take('SERVER_EVENT', ({ payload }) => payload.record.timestamp.millis === latest.millis)
    reader.inbox.length = 0
    // Written before, arrives after: another field of the same record.
    await ackOf(client, clientOp(patch('m', 'k', { b: 2 }, { stamp: stampAt(3_000) })))
    const { record } = (await reader.take('SERVER_EVENT')).payload
    expect(record.value).toEqual({ a: 2, b: 2 })
    expect(record.timestamp.nodeId).toBe('the-server')
    expect(record.timestamp.millis).toBeGreaterThan(latest.millis)
    expect(record.base).toEqual(stampAt(1_000))
  })

  test('after a pause of the server such a change refuses nobody', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env, storage: memoryStorage(), connections: { idleTimeout: 1e9 } })
    const client = await server.connect()
    await ackOf(client, clientOp(put('m', 'k', { a: 1, b: 1 }, { stamp: stampAt(env.now()) })))
    env.advance(3_600_000)
    const now = env.now()
    const ack = await ackOf(
      client,
      opBatch([
        patch('m', 'k', { a: 2 }, { stamp: stampAt(now + 500) }),
        patch('m', 'k', { b: 2 }, { stamp: stampAt(now) }),
        put('m', 'other', 1, { stamp: stampAt(now) }),
      ]),
    )
    expect(ack.results.map(({ errorCode }) => errorCode)).toEqual([undefined, undefined, undefined])
  })

  test('a key that is written more often in one turn than versions are set aside refuses nobody', async () => {
    await using server = await startTestServer({ storage: memoryStorage() })
    const client = await server.connect()
    for (let batch = 0; batch < 3; batch++) {
      client.send(opBatch(Array.from({ length: 1_000 }, (_, i) => put('m', 'hot', i))))
    }
    for (let batch = 0; batch < 3; batch++) {
      const { results } = (await client.take('OP_ACK')).payload
      expect(results.every(({ success }) => success)).toBe(true)
    }
  })
})

describe('limits of a record', () => {
  test('INV-22: the stamps of its fields count', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    await ackOf(client, clientOp(put('m', 'k', {})))
    const fields = (from: number, count: number): Record<string, number> =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${from + i}`, 1]))
    expect((await ackOf(client, clientOp(patch('m', 'k', fields(0, 1_000))))).results).toMatchObject([
      { success: true },
    ])
    const over = await ackOf(client, clientOp(patch('m', 'k', fields(1_000, 25))))
    expect(over.results).toMatchObject([{ errorCode: 'TOO_LARGE', details: { limit: 'recordFields' } }])
    expect((await ackOf(client, clientOp(patch('m', 'k', fields(1_000, 24))))).results).toMatchObject([
      { success: true },
    ])
    // Unset markers are stamps too.
    const unset = await ackOf(client, clientOp(patch('m', 'k', {}, { unset: ['f5000'] })))
    expect(unset.results).toMatchObject([{ errorCode: 'TOO_LARGE' }])
  })

  test('INV-22: what field writes add up to has the size limit of a value', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    await ackOf(client, clientOp(put('m', 'k', { a: 'x'.repeat(200_000) })))
    const over = await ackOf(client, clientOp(patch('m', 'k', { b: 'x'.repeat(100_000) })))
    expect(over.results).toMatchObject([{ errorCode: 'TOO_LARGE', details: { limit: 'valueBytes' } }])
    await ackOf(client, clientOp(remove('m', 'k')))
    const hidden = [await ackOf(client, clientOp(patch('m', 'k', { b: 'x'.repeat(200_000) })))]
    hidden.push(await ackOf(client, clientOp(patch('m', 'k', { c: 'x'.repeat(100_000) }))))
    expect(hidden.map(({ results }) => results[0]?.errorCode)).toEqual([undefined, 'TOO_LARGE'])
  })

  test('INV-21 INV-22: a writer of some fields is measured by those, and learns nothing of what the others hold', async () => {
    await using server = await startTestServer({
      jwtSecret: SECRET,
      auth: 'jwt',
      securityPolicies: [
        { role: 'OWNER', mapNamePattern: '*', actions: ['ALL'] },
        { role: 'EDITOR', mapNamePattern: '*', actions: ['READ', 'PUT'], allowedFields: ['title', 'notes'] },
      ],
    })
    const owner = await server.connect({ token: tokenOf('ann', 'OWNER') })
    const editor = await server.connect({ token: tokenOf('eve', 'EDITOR') })
    const outcome = async (key: string, value: Value): Promise<unknown> => {
      const [result] = (await ackOf(editor, clientOp(patch('m', key, value)))).results
      return [result?.success, result?.errorCode, result?.details]
    }
    const fields = Object.fromEntries(Array.from({ length: 1_023 }, (_, i) => [`secret${i}`, 1]))
    await ackOf(owner, clientOp(put('m', 'small', { secret: '' })))
    await ackOf(owner, clientOp(put('m', 'large', { secret: 'x'.repeat(262_000) })))
    await ackOf(owner, clientOp(put('m', 'many', {})))
    await ackOf(owner, clientOp(patch('m', 'many', fields)))
    const tooLarge = [false, 'TOO_LARGE', { limit: 'valueBytes', max: 262_144 }]
    for (const key of ['small', 'large', 'many']) {
      expect(await outcome(key, { title: 'x'.repeat(200_000), notes: 1 })).toEqual([true, undefined, undefined])
      expect(await outcome(key, { notes: 'x'.repeat(100_000) })).toEqual(tooLarge)
      expect(await outcome(key, { title: '', notes: 'x'.repeat(100_000) })).toEqual([true, undefined, undefined])
    }
    // Who may write all of it is measured by all of it.
    const [result] = (await ackOf(owner, clientOp(patch('m', 'large', { more: 1 })))).results
    expect(result).toMatchObject({ errorCode: 'TOO_LARGE' })
  })

  test('INV-22: what writes with one stamp add up to has the size limit of a value', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    const stamp = stampAt()
    const codes: unknown[] = []
    for (let i = 0; i < 8; i++) {
      const ack = await ackOf(client, clientOp(put('m', 'k', { [`f${i}`]: 'x'.repeat(250_000) }, { stamp })))
      codes.push(ack.results[0]?.errorCode)
    }
    expect(codes).toEqual([undefined, ...Array.from({ length: 7 }, () => 'TOO_LARGE')])
    expect(Object.keys((await contentOf(client, 'm'))['k'] as object)).toEqual(['f0'])
    const small = await ackOf(client, clientOp(put('m', 'k', { g: 1 }, { stamp })))
    expect(small.results).toMatchObject([{ success: true }])
  })
})

describe('write concern in memory', () => {
  test.each([
    ['without storage', () => undefined],
    ['on storage that is not durable', () => memoryStorage()],
  ])('INV-1: PERSISTED and REPLICATED are refused before anything is applied, %s', async (_, storage) => {
    const given = storage()
    await using server = await startTestServer(given === undefined ? {} : { storage: given })
    const client = await server.connect()
    for (const writeConcern of ['PERSISTED', 'REPLICATED'] as const) {
      const ack = await ackOf(
        client,
        opBatch([put('m', 'a', 1), put('m', 'b', 1, { writeConcern: 'MEMORY' })], { writeConcern }),
      )
      expect(ack.results).toMatchObject([
        { success: false, errorCode: 'WRITE_CONCERN_UNAVAILABLE', achievedLevel: 'FIRE_AND_FORGET' },
        { success: true, achievedLevel: 'MEMORY' },
      ])
      expect(await contentOf(client, 'm')).toEqual({ b: 1 })
    }
  })

  test.each(['MEMORY', 'APPLIED'] as const)(
    'INV-1: an acknowledgement names %s when that was asked for',
    async (level) => {
      await using server = await startTestServer()
      const client = await server.connect()
      const ack = await ackOf(client, clientOp(put('m', 'k', 1, { writeConcern: level })))
      expect(ack).toMatchObject({ achievedLevel: level, results: [{ success: true, achievedLevel: level }] })
    },
  )

  test('INV-3: MEMORY means received, validated, authorised and held in memory', async () => {
    await using server = await startTestServer({ jwtSecret: SECRET, auth: 'jwt', securityPolicies: [] })
    const denied = await server.connect({ token: tokenOf('ann') })
    expect((await ackOf(denied, clientOp(put('m', 'k', 1)))).results).toMatchObject([{ errorCode: 'FORBIDDEN' }])
    const admin = await server.connect({ token: tokenOf('root', 'ADMIN') })
    expect((await ackOf(admin, clientOp(put('m', 'k', 2)))).results).toMatchObject([{ achievedLevel: 'MEMORY' }])
    expect(await contentOf(admin, 'm')).toEqual({ k: 2 })
  })

  test('INV-4: after APPLIED every later read and query on the node includes the write', async () => {
    await using server = await startTestServer()
    const writer = await server.connect()
    const reader = await server.connect({ encoding: 'msgpack' })
    for (let i = 0; i < 50; i++) {
      await ackOf(writer, clientOp(put('m', 'k', i, { writeConcern: 'APPLIED' })))
      reader.send({ type: 'SYNC_FETCH', payload: { mapName: 'm', keys: ['k'] } })
      expect(await contentOf(reader, 'm')).toEqual({ k: i })
      expect((await reader.take('SYNC_RECORDS')).payload.records[0]?.record.value).toBe(i)
    }
  })
})

describe.each(encodings)('write concern on SQLite in %s', (encoding) => {
  test('INV-1: PERSISTED is named when the write is stored, and for REPLICATED, which a single node does not have', async () => {
    const path = newPath()
    await using server = await startTestServer({ storage: sqliteStorage({ path }) })
    const client = await server.connect({ encoding })
    for (const [asked, named] of [
      ['MEMORY', 'MEMORY'],
      ['APPLIED', 'APPLIED'],
      ['REPLICATED', 'PERSISTED'],
      ['PERSISTED', 'PERSISTED'],
    ] as const) {
      const ack = await ackOf(client, clientOp(put('m', asked, 1, { writeConcern: asked })))
      expect(ack).toMatchObject({ achievedLevel: named, results: [{ success: true, achievedLevel: named }] })
    }
  })

  test('INV-6: PERSISTED is acknowledged only after the write to storage has returned', async () => {
    const storage = new GatedStorage(sqliteStorage({ path: newPath() }))
    await using server = await startTestServer({ storage })
    const client = await server.connect({ encoding })
    await client.take('AUTH_REQUIRED')
    storage.hold()
    client.send(clientOp(put('m', 'k', 1, { id: '1', writeConcern: 'PERSISTED' })))
    await until(() => storage.heldCount === 1, 'the write to reach storage')
    await client.settle()
    expect(client.inbox).toEqual([])
    // A write that came while the first was under way waits for its own batch.
    client.send(clientOp(put('m', 'k', 2, { id: '2', writeConcern: 'PERSISTED' })))
    await client.settle()
    expect(client.inbox).toEqual([])
    expect(await contentOf(client, 'm')).toEqual({ k: 2 })
    storage.release()
    const acks = [await client.take('OP_ACK'), await client.take('OP_ACK')]
    expect(acks.map(({ payload }) => payload.results)).toMatchObject([
      [{ opId: '1', success: true, achievedLevel: 'PERSISTED' }],
      [{ opId: '2', success: true, achievedLevel: 'PERSISTED' }],
    ])
    expect(storage.batches.at(-1)?.records).toMatchObject([{ key: 'k', record: { value: 2 } }])
  })

  test('INV-6: a repeated write waits for storage as well', async () => {
    const storage = new GatedStorage(sqliteStorage({ path: newPath() }))
    await using server = await startTestServer({ storage })
    const client = await server.connect({ encoding })
    storage.hold()
    const write = put('m', 'k', 1, { id: '1' })
    await ackOf(client, clientOp(write))
    await until(() => storage.heldCount === 1, 'the write to reach storage')
    client.send(clientOp({ ...write, writeConcern: 'PERSISTED' }))
    await client.settle()
    expect(client.inbox.some(({ type }) => type === 'OP_ACK')).toBe(false)
    storage.release()
    expect((await client.take('OP_ACK')).payload.results).toMatchObject([{ success: true, achievedLevel: 'PERSISTED' }])
  })

  test('INV-1: what is not stored in time is answered success: false with APPLIED, and the write stands', async () => {
    const storage = new GatedStorage(sqliteStorage({ path: newPath() }))
    await using server = await startTestServer({ storage })
    const client = await server.connect({ encoding })
    storage.hold()
    const ack = await ackOf(
      client,
      opBatch([put('m', 'a', 1, { id: '1' }), put('m', 'b', 1, { id: '2', writeConcern: 'APPLIED' })], {
        writeConcern: 'PERSISTED',
        timeout: 60,
      }),
    )
    expect(ack).toMatchObject({ lastId: '2', achievedLevel: 'APPLIED' })
    expect(ack.results).toMatchObject([
      { opId: '1', success: false, achievedLevel: 'APPLIED', errorCode: 'TIMEOUT', seq: expect.any(Number) },
      { opId: '2', success: true, achievedLevel: 'APPLIED' },
    ])
    expect(ack.results[0]?.latencyMs).toBeGreaterThanOrEqual(60)
    expect(await contentOf(client, 'm')).toEqual({ a: 1, b: 1 })
    storage.release()
    await ackOf(client, clientOp(put('m', 'c', 1, { writeConcern: 'PERSISTED' })))
    expect(storage.batches.flatMap(({ records }) => records.map(({ key }) => key)).toSorted()).toEqual(['a', 'b', 'c'])
  })

  test('lastId never passes an op that is not answered', async () => {
    const storage = new GatedStorage(sqliteStorage({ path: newPath() }))
    await using server = await startTestServer({ storage })
    const client = await server.connect({ encoding })
    await ackOf(client, clientOp(put('m', 'a', 1, { id: '1' })))
    storage.hold()
    client.send(clientOp(put('m', 'b', 1, { id: '2', writeConcern: 'PERSISTED' })))
    for (const id of ['3', '4']) {
      const ack = await ackOf(client, clientOp(put('m', id, 1, { id })))
      expect(Number(ack.lastId)).toBeLessThan(2)
      expect(ack.results).toMatchObject([{ opId: id, success: true }])
    }
    client.send(opBatch([put('m', 'c', 1, { id: '5' }), put('m', 'd', 1, { id: '6', writeConcern: 'PERSISTED' })]))
    const seven = await ackOf(client, clientOp(put('m', 'e', 1, { id: '7' })))
    expect(Number(seven.lastId)).toBeLessThan(2)
    storage.release()
    const late = [(await client.take('OP_ACK')).payload, (await client.take('OP_ACK')).payload]
    expect(late.map(({ results }) => results.map(({ opId }) => opId))).toEqual([['2'], ['5', '6']])
    expect(late.map(({ lastId }) => lastId)).toEqual(['4', '7'])
    expect((await ackOf(client, clientOp(put('m', 'f', 1, { id: '8' })))).lastId).toBe('8')
  })
})

describe('storage that fails', () => {
  test.each([
    ['full', 'STORAGE_FULL'],
    ['unavailable', 'STORAGE_UNAVAILABLE'],
    ['read-only', 'STORAGE_UNAVAILABLE'],
  ] as const)(
    'INV-8: while storage is %s writes are refused with its code, reads go on, and recovery writes the rest',
    async (fault, code) => {
      const env = new MovableEnv()
      const path = newPath()
      const storage = new GatedStorage(sqliteStorage({ path }))
      await using server = await startTestServer({ storage, env, connections: { idleTimeout: 1e9 } })
      const client = await server.connect()
      const follower = await server.connect()
      follower.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
      await follower.take('SYNC_DIFF')
      await ackOf(client, clientOp(put('m', 'before', 1, { writeConcern: 'PERSISTED' })))

      storage.fault = () => new StorageError(fault, `The file ${path} cannot be written.`)
      const waiting = await ackOf(client, opBatch([put('m', 'a', 1), put('m', 'b', 1)], { writeConcern: 'PERSISTED' }))
      expect(waiting.results).toMatchObject([
        { success: false, achievedLevel: 'APPLIED', errorCode: code },
        { success: false, achievedLevel: 'APPLIED', errorCode: code },
      ])
      const refused = await ackOf(client, opBatch([put('m', 'c', 1), put('m', 'd', 1, { writeConcern: 'PERSISTED' })]))
      expect(refused.results).toMatchObject([
        { success: false, achievedLevel: 'FIRE_AND_FORGET', errorCode: code },
        { success: false, achievedLevel: 'FIRE_AND_FORGET', errorCode: code },
      ])
      follower.send({
        type: 'SYNC_PUSH',
        payload: { mapName: 'm', records: [{ key: 'p', record: { value: 1, timestamp: stampAt() } }] },
      })
      expect((await follower.take('SYNC_PUSH_RESP')).payload.refused).toMatchObject([{ errorCode: code }])
      expect(JSON.stringify([waiting, refused]).includes(path)).toBe(false)
      expect(await contentOf(client, 'm')).toEqual({ before: 1, a: 1, b: 1 })
      await follower.settle()

      env.advance(1_500)
      await client.settle()
      expect((await ackOf(client, clientOp(put('m', 'e', 1)))).results).toMatchObject([{ errorCode: code }])
      storage.fault = undefined
      env.advance(1_500)
      await until(() => storage.batches.length > 3 && server.server.health().in_flight === 0, 'recovery')
      expect((await ackOf(client, clientOp(put('m', 'f', 1, { writeConcern: 'PERSISTED' })))).results).toMatchObject([
        { success: true },
      ])
      await server.server.shutdown()
      await using again = await startTestServer({ storage: sqliteStorage({ path }) })
      expect(await contentOf(await again.connect(), 'm')).toEqual({ before: 1, a: 1, b: 1, f: 1 })
    },
  )

  test('INV-23: beyond maxUnstoredBytes writes and pushes are refused OVERLOADED, reads go on, and later writes are taken', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    await using server = await startTestServer({ storage, maxUnstoredBytes: 100_000 })
    const client = await server.connect()
    storage.hold()
    const text = 'x'.repeat(30_000)
    const { results } = await ackOf(client, opBatch(['a', 'b', 'c', 'd', 'e'].map((key) => put('m', key, text))))
    expect(results.map(({ errorCode }) => errorCode ?? 'ok')).toEqual(['ok', 'ok', 'ok', 'ok', 'OVERLOADED'])
    expect(results[4]?.details).toMatchObject({ retryAfterMs: expect.any(Number) })
    client.send({
      type: 'SYNC_PUSH',
      payload: { mapName: 'm', records: [{ key: 'p', record: { value: 1, timestamp: stampAt() } }] },
    })
    expect((await client.take('SYNC_PUSH_RESP')).payload.refused).toMatchObject([{ errorCode: 'OVERLOADED' }])
    expect(Object.keys(await contentOf(client, 'm')).toSorted()).toEqual(['a', 'b', 'c', 'd'])
    storage.release()
    await until(() => server.server.health().in_flight === 0, 'storage to take all')
    expect((await ackOf(client, clientOp(put('m', 'e', text)))).results).toMatchObject([{ success: true }])
  })

  test('INV-8: a disk that is really full refuses writes and keeps what it has', async () => {
    const path = newPath()
    const storage = sqliteStorage({ path, testing: { maxPageCount: 60 } })
    const server = await startTestServer({ storage, shutdownTimeoutMs: 500 })
    const client = await server.connect()
    let stored = 0
    let code: string | undefined
    while (code === undefined && stored < 100) {
      const { results } = await ackOf(
        client,
        clientOp(put('m', `k${stored}`, 'x'.repeat(10_000), { writeConcern: 'PERSISTED' })),
      )
      code = results[0]?.errorCode
      if (code === undefined) stored++
    }
    expect(code).toBe('STORAGE_FULL')
    expect(Object.keys(await contentOf(client, 'm')).length).toBeGreaterThanOrEqual(stored)
    await expect(server.server.shutdown()).rejects.toThrow('may not be stored')
    await using again = await startTestServer({ storage: sqliteStorage({ path }) })
    const kept = Object.keys(await contentOf(await again.connect(), 'm'))
    expect(kept.length).toBeGreaterThanOrEqual(stored)
  })

  test.each([
    ['io', () => new StorageError('io', 'fsync failed')],
    ['an exception that says nothing', () => new Error('oops')],
  ])(
    'INV-8: after %s the server ends; nothing is written again and nothing acknowledged as stored',
    async (_, fault) => {
      const storage = new GatedStorage(sqliteStorage({ path: newPath() }))
      const fatal: Error[] = []
      await using server = await startTestServer({ storage, onFatal: (error) => fatal.push(error) })
      const client = await server.connect()
      await ackOf(client, clientOp(put('m', 'before', 1, { writeConcern: 'PERSISTED' })))
      const batches = storage.batches.length
      storage.fault = fault
      const ack = await ackOf(client, clientOp(put('m', 'a', 1, { writeConcern: 'PERSISTED' })))
      expect(ack.results).toMatchObject([{ success: false }])
      expect(fatal).toHaveLength(1)
      expect(server.server.state).toBe('stopped')
      storage.fault = undefined
      const after = await ackOf(client, opBatch([put('m', 'b', 1), put('m', 'c', 1, { writeConcern: 'PERSISTED' })]))
      expect(after.results.map(({ success }) => success)).toEqual([false, false])
      await server.server.shutdown()
      expect(storage.batches.length).toBe(batches + 1)
    },
  )

  test.each([
    ['internal', () => new StorageError('internal', 'out of memory')],
    ['a RangeError', () => new RangeError('Invalid string length')],
  ])(
    'INV-8: %s is no failure of the disk: writes are refused, reads go on, and it is tried again',
    async (_, fault) => {
      const env = new MovableEnv()
      const storage = new GatedStorage(sqliteStorage({ path: newPath() }))
      const fatal: Error[] = []
      const onFatal = (error: Error): void => void fatal.push(error)
      await using server = await startTestServer({ storage, env, onFatal, connections: { idleTimeout: 1e9 } })
      const client = await server.connect()
      storage.fault = fault
      const ack = await ackOf(client, clientOp(put('m', 'a', 1, { writeConcern: 'PERSISTED' })))
      expect(ack.results).toMatchObject([{ success: false, errorCode: 'STORAGE_UNAVAILABLE' }])
      expect((await ackOf(client, clientOp(put('m', 'b', 1)))).results).toMatchObject([
        { errorCode: 'STORAGE_UNAVAILABLE' },
      ])
      expect(await contentOf(client, 'm')).toEqual({ a: 1 })
      storage.fault = undefined
      env.advance(1_500)
      await until(() => server.server.health().in_flight === 0, 'recovery')
      const after = await ackOf(client, clientOp(put('m', 'b', 1, { writeConcern: 'PERSISTED' })))
      expect(after.results).toMatchObject([{ success: true }])
      expect(fatal).toEqual([])
    },
  )

  test('INV-8: a disk that fails while nobody asks it for anything ends the server at once', async () => {
    const storage = new GatedStorage(sqliteStorage({ path: newPath() }))
    const fatal: Error[] = []
    await using server = await startTestServer({ storage, onFatal: (error) => fatal.push(error) })
    const client = await server.connect()
    await ackOf(client, clientOp(put('m', 'before', 1, { writeConcern: 'PERSISTED' })))
    storage.hold()
    client.send(clientOp(put('m', 'waits', 1, { writeConcern: 'PERSISTED' })))
    await until(() => storage.heldCount === 1, 'the batch')
    storage.onFatal?.(new StorageError('io', 'fsync of the checkpoint failed'))
    expect(fatal).toMatchObject([{ message: 'fsync of the checkpoint failed' }])
    expect(server.server.state).toBe('stopped')
    expect((await client.take('OP_ACK')).payload.results).toMatchObject([
      { success: false, achievedLevel: 'APPLIED', errorCode: 'STORAGE_UNAVAILABLE' },
    ])
    // A batch that returns all the same acknowledges nothing, and makes nothing good.
    storage.release()
    await until(() => server.server.health().in_flight === 0, 'the batch to return')
    const after = await ackOf(client, opBatch([put('m', 'b', 1), put('m', 'c', 1, { writeConcern: 'PERSISTED' })]))
    expect(after.results.map(({ success }) => success)).toEqual([false, false])
    expect(fatal).toHaveLength(1)
  })

  test('a map that cannot be read is refused by its code, and the connection survives', async () => {
    const path = newPath()
    {
      await using server = await startTestServer({ storage: sqliteStorage({ path }) })
      await ackOf(await server.connect(), opBatch([put('good', 'k', 1), put('bad', 'k', 1)]))
    }
    const inner = sqliteStorage({ path })
    const storage = new GatedStorage(inner)
    storage.load = (mapName) => {
      if (mapName === 'bad') throw new StorageError('damaged', 'The record cannot be understood.')
      return inner.load(mapName)
    }
    await using server = await startTestServer({ storage })
    const client = await server.connect()
    client.send({ type: 'SYNC_INIT', mapName: 'bad', cursor: null })
    expect((await client.take('ERROR')).payload).toMatchObject({ errorCode: 'STORAGE_UNAVAILABLE', about: 'SYNC_INIT' })
    expect(await contentOf(client, 'good')).toEqual({ k: 1 })
  })
})

describe('what the writer is told', () => {
  test('INV-14: its own acknowledgement comes before the event of that commit', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    client.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    await client.take('SYNC_DIFF')
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: {} } })
    await client.take('QUERY_RESP')
    client.inbox.length = 0
    for (let i = 0; i < 20; i++) client.send(clientOp(put('m', `k${i}`, i)))
    await client.settle()
    const ackedBefore = new Set<number>()
    for (const message of client.inbox) {
      if (message.type === 'OP_ACK') for (const { seq = 0 } of message.payload.results) ackedBefore.add(seq)
      else if (message.type === 'SERVER_EVENT') expect(ackedBefore).toContain(message.payload.seq)
      else if (message.type === 'SERVER_BATCH_EVENT')
        for (const { seq } of message.payload.events) expect(ackedBefore).toContain(seq)
    }
    expect(ackedBefore.size).toBe(20)
  })

  const asExisting = async (client: TestClient): Promise<void> => {
    client.send({ type: 'SYNC_INIT', mapName: 'm' })
    await client.take('SYNC_RESP_ROOT')
    client.inbox.length = 0
  }

  test('an existing client gets no copy of a write that stands exactly as it sent it; others do', async () => {
    await using server = await startTestServer()
    const [writer, other] = [
      await server.connect({ encoding: 'msgpack' }),
      await server.connect({ encoding: 'msgpack' }),
    ]
    await asExisting(writer)
    await asExisting(other)
    await ackOf(writer, clientOp(put('m', 'k', { a: 1 })))
    const { payload } = await other.take('SERVER_EVENT')
    expect(payload).toMatchObject({ mapName: 'm', eventType: 'PUT', key: 'k', record: { value: { a: 1 } } })
    await ackOf(writer, clientOp(remove('m', 'k')))
    expect((await other.take('SERVER_EVENT')).payload).toMatchObject({ eventType: 'REMOVE', record: { value: null } })
    await writer.settle()
    expect(writer.inbox).toEqual([])
  })

  test('an existing client gets the merged record where its write met other fields', async () => {
    await using server = await startTestServer()
    const [writer, other] = [await server.connect(), await server.connect()]
    await asExisting(writer)
    await ackOf(other, clientOp(put('m', 'k', { a: 1 }, { stamp: stampAt(1_000) })))
    await ackOf(other, clientOp(patch('m', 'k', { a: 9 }, { stamp: stampAt(3_000) })))
    await writer.settle()
    writer.inbox.length = 0
    await ackOf(writer, clientOp(put('m', 'k', { a: 2, b: 2 }, { stamp: stampAt(2_000) })))
    const { payload } = await writer.take('SERVER_EVENT')
    expect(payload.record.value).toEqual({ a: 9, b: 2 })
  })

  test('an existing client is told what another writer made of its record in the same turn', async () => {
    await using server = await startTestServer()
    const [writer, other] = [await server.connect(), await server.connect()]
    await asExisting(writer)
    other.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    await other.take('SYNC_DIFF')
    // Same turn or not, whatever way the other one takes: PATCH, PUSH.
    for (let round = 0; round < 20; round++) {
      const key = `k${round}`
      writer.inbox.length = 0
      writer.send(clientOp(put('m', key, { a: 1 }, { stamp: stampAt(1_000) })))
      const pushed = {
        value: { a: 1, b: 2 },
        base: stampAt(1_000),
        timestamp: stampAt(2_000),
        fields: { b: { stamp: stampAt(2_000) } },
      }
      other.send({ type: 'SYNC_PUSH', payload: { mapName: 'm', records: [{ key, record: pushed }] } })
      await other.take('SYNC_PUSH_RESP')
      await writer.settle()
      await writer.settle()
      const told = writer.inbox.flatMap((message) => (message.type === 'SERVER_EVENT' ? [message.payload] : []))
      expect(told.at(-1)?.record.value).toEqual({ a: 1, b: 2 })
    }
  })

  test('INV-13: a client that follows by cursor gets its own commits, with a cursor', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    client.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    const { cursor } = (await client.take('SYNC_DIFF')).payload
    const ack = await ackOf(client, clientOp(put('m', 'k', 1)))
    const { payload } = await client.take('SERVER_EVENT')
    expect(payload.seq).toBe(ack.results[0]?.seq)
    expect(payload.cursor).toBeDefined()
    expect(payload.cursor).not.toBe(cursor)
  })

  test('one change is a SERVER_EVENT, several of one turn are a SERVER_BATCH_EVENT in commit order', async () => {
    await using server = await startTestServer()
    const [writer, existing, follower] = [await server.connect(), await server.connect(), await server.connect()]
    await asExisting(existing)
    follower.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    await follower.take('SYNC_DIFF')
    await ackOf(writer, opBatch([put('m', 'a', 1), put('m', 'b', 1), put('m', 'a', 2)]))
    for (const reader of [existing, follower]) {
      const { payload } = await reader.take('SERVER_BATCH_EVENT')
      expect(payload.events.map(({ key, record }) => [key, record.value])).toEqual([
        ['b', 1],
        ['a', 2],
      ])
      expect(payload.cursor === undefined).toBe(reader === existing)
    }
    await ackOf(writer, opBatch([put('m', 'c', 1), put('m', 'c', 2)]))
    for (const reader of [existing, follower]) {
      expect((await reader.take('SERVER_EVENT')).payload).toMatchObject({ key: 'c', record: { value: 2, version: 2 } })
    }
  })
})
