import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import {
  encodeMsgpack,
  joinBatch,
  type ClientMessage,
  type Encoding,
  type LockGranted,
  type LockReleased,
} from '@syncline/protocol'
import { StorageError, memoryStorage } from '@syncline/storage'
import { sqliteStorage } from '@syncline/storage/sqlite'
import { afterAll, describe, expect, test } from 'vitest'
import { GatedStorage, MovableEnv, SECRET, clientOp, patch, put, tokenOf, until } from '../../testing/harness.ts'
import { startTestServer, type TestClient } from '../../testing/test-server.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']
const folder = mkdtempSync(join(tmpdir(), 'syncline-locks-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0
const newPath = (): string => join(folder, `${++files}`, 'data.db')

type Ask = Omit<Extract<ClientMessage, { type: 'LOCK_REQUEST' }>['payload'], 'requestId' | 'name'>
let requests = 0
let writes = 0

/** Sends a request, and answers its id. */
function ask(client: TestClient, name: string, more: Ask = {}): string {
  const requestId = `r${++requests}`
  client.send({ type: 'LOCK_REQUEST', payload: { requestId, name, ...more } })
  return requestId
}

async function granted(client: TestClient, requestId: string): Promise<LockGranted['payload']> {
  return (await client.take('LOCK_GRANTED', ({ payload }) => payload.requestId === requestId)).payload
}

async function refused(client: TestClient, requestId: string): Promise<LockReleased['payload']> {
  const { payload } = await client.take('LOCK_RELEASED', (message) => message.payload.requestId === requestId)
  expect(payload.success).toBe(false)
  expect(payload.error).toMatch(/[.;]/)
  return payload
}

const lock = async (client: TestClient, name: string, more: Ask = {}): Promise<number> =>
  (await granted(client, ask(client, name, more))).fencingToken

async function release(client: TestClient, name: string, fencingToken?: number, requestId = `r${++requests}`) {
  const payload = { requestId, name, ...(fencingToken === undefined ? {} : { fencingToken }) }
  client.send({ type: 'LOCK_RELEASE', payload })
  return (await client.take('LOCK_RELEASED', (message) => message.payload.requestId === requestId)).payload
}

/** What became of a write: its error code, or OK. */
async function write(client: TestClient, name: string, token: number, value: number, op = put): Promise<string> {
  // Any stamp of the past: a test may set the server's clock back.
  const sent = op('m', 'k', { value }, { stamp: { millis: ++writes, counter: 0, nodeId: 'n' }, fence: { name, token } })
  client.send(clientOp(sent))
  const [result] = (await client.take('OP_ACK')).payload.results
  return result?.errorCode ?? 'OK'
}

async function isQuiet(client: TestClient): Promise<void> {
  await client.settle()
  expect(client.inbox.filter(({ type }) => type.startsWith('LOCK_'))).toEqual([])
}

describe.each(encodings)('locks in %s', (encoding) => {
  test('[LK1] [LK3] [LK6] a lock is granted, refused to nobody, and passed on in the order of requests', async () => {
    await using server = await startTestServer()
    const [a, b, c] = await Promise.all([1, 2, 3].map(() => server.connect({ encoding })))
    if (a === undefined || b === undefined || c === undefined) throw new Error('No clients')
    const first = ask(a, 'resource-A', { ttl: 5_000 })
    expect(await granted(a, first)).toEqual({
      requestId: first,
      name: 'resource-A',
      fencingToken: expect.any(Number),
      ttl: 5_000,
    })
    const second = ask(b, 'resource-A')
    await isQuiet(b)
    const third = ask(c, 'resource-A')
    await isQuiet(c)
    const other = await lock(c, 'another')
    const token = await lock(a, 'resource-A')
    expect(await release(b, 'resource-A', token)).toMatchObject({ success: false, errorCode: 'STALE_TOKEN', code: 409 })
    expect(await release(a, 'resource-A', token + 1)).toMatchObject({ success: false, errorCode: 'STALE_TOKEN' })
    expect(await release(a, 'resource-A', token)).toEqual({
      requestId: `r${requests}`,
      name: 'resource-A',
      success: true,
    })
    const next = (await granted(b, second)).fencingToken
    expect(next).toBeGreaterThan(Math.max(token, other))
    await isQuiet(c)
    expect(await release(b, 'resource-A', next)).toMatchObject({ success: true })
    expect((await granted(c, third)).fencingToken).toBeGreaterThan(next)
    expect(await release(a, 'resource-A', token)).toMatchObject({ success: false, errorCode: 'STALE_TOKEN' })
  })

  test('[LK1] [FR12] [FR13] requests are read flat too, and the id beside the payload is repeated and suffices', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    const send = (message: object): void =>
      client.sendRaw(encoding === 'json' ? JSON.stringify(message) : encodeMsgpack(message as never))
    send({ type: 'LOCK_REQUEST', requestId: 'x1', name: 'n', ttl: 700, unknown: 1 })
    const grant = await client.take('LOCK_GRANTED')
    expect(grant).toMatchObject({ requestId: 'x1', payload: { requestId: 'x1', ttl: 700 } })
    send({ type: 'LOCK_REQUEST', requestId: 'x2', payload: { name: 'n' } })
    expect(await client.take('LOCK_GRANTED')).toMatchObject({ requestId: 'x2', payload: { requestId: 'x2' } })
    send({ type: 'LOCK_RELEASE', name: 'n', fencingToken: grant.payload.fencingToken })
    const { payload } = await client.take('LOCK_RELEASED')
    expect(payload).toEqual({ name: 'n', success: true })
  })

  test('[LK1] bad requests are refused with the path of what is wrong, and the connection survives', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    const bad: readonly (readonly [object, string, string])[] = [
      [{ name: 'n' }, 'VALIDATION_ERROR', 'requestId'],
      [{ requestId: 'r' }, 'VALIDATION_ERROR', 'name'],
      [{ requestId: 'r', name: '' }, 'BAD_KEY', 'name'],
      [{ requestId: 'r', name: 'x'.repeat(257) }, 'BAD_KEY', 'name'],
      [{ requestId: 'r', name: 'n', ttl: 'long' }, 'VALIDATION_ERROR', 'ttl'],
      [{ requestId: 'r', name: 'n', waitMs: -1 }, 'VALIDATION_ERROR', 'waitMs'],
      [{ requestId: 'r', name: 'n', fencingToken: 0.5 }, 'VALIDATION_ERROR', 'fencingToken'],
    ]
    for (const [payload, errorCode, path] of bad) {
      client.send({ type: 'LOCK_REQUEST', payload } as unknown as ClientMessage)
      const { payload: error } = await client.take('ERROR')
      expect(error).toMatchObject({ errorCode, details: { path }, about: 'LOCK_REQUEST' })
    }
    for (const payload of [{ name: 'n' }, { requestId: 'r' }, { name: 'n', fencingToken: -1 }]) {
      client.send({ type: 'LOCK_RELEASE', payload } as unknown as ClientMessage)
      await client.take('ERROR', (message) => message.payload.errorCode === 'VALIDATION_ERROR')
    }
    expect(await lock(client, 'x'.repeat(256))).toBeGreaterThan(0)
  })
})

describe('leases', () => {
  test('[LK2] a ttl that is not above 0 is refused and nothing is granted; a long one is shortened', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    for (const ttl of [0, -1, -Infinity, null]) {
      const requestId = `bad${++requests}`
      client.sendRaw(
        `{"type":"LOCK_REQUEST","payload":{"requestId":"${requestId}","name":"n","ttl":${ttl === -Infinity ? '-1e300' : ttl}}}`,
      )
      expect(await refused(client, requestId)).toMatchObject({
        errorCode: 'VALIDATION_ERROR',
        details: { path: 'ttl' },
      })
    }
    expect(server.server.inspect()['locks']).toMatchObject({ held: 0, granted: 0, refused: 4 })
    expect(await granted(client, ask(client, 'n', { ttl: 1e9 }))).toMatchObject({ ttl: 300_000 })
    expect(await granted(client, ask(client, 'n'))).toMatchObject({ ttl: 10_000 })
  })

  test('[LK2] [LK3] a short lease ends when it says, to the millisecond, and the next in line has the lock', async () => {
    await using server = await startTestServer()
    const [a, b] = [await server.connect(), await server.connect()]
    const startedAt = performance.now()
    const token = await lock(a, 'n', { ttl: 60 })
    const second = ask(b, 'n')
    expect((await granted(b, second)).fencingToken).toBeGreaterThan(token)
    const elapsedMs = performance.now() - startedAt
    expect(elapsedMs).toBeGreaterThanOrEqual(59)
    expect(elapsedMs).toBeLessThan(5_000)
    expect(await release(a, 'n', token)).toMatchObject({ success: false, errorCode: 'STALE_TOKEN' })
    expect(server.server.inspect()['locks']).toMatchObject({ expired: 1, held: 1, waiting: 0 })
  })

  test('[LK2] a lease ends by the monotonic clock, also where its timer is late and the wall clock jumps', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const [a, b] = [await server.connect(), await server.connect()]
    const token = await lock(a, 'n', { ttl: 5_000 })
    const busy = ask(b, 'n', { waitMs: 0 })
    expect(await refused(b, busy)).toMatchObject({ errorCode: 'TIMEOUT' })
    env.leap(5_001)
    const next = await lock(b, 'n', { waitMs: 0 })
    expect(next).toBeGreaterThan(token)
    env.leap(-3_600_000)
    expect(await refused(a, ask(a, 'n', { waitMs: 0 }))).toMatchObject({ errorCode: 'TIMEOUT' })
  })

  test('[LK4] its holder extends a lease and keeps the token; with the token it only extends', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const [a, b] = [await server.connect(), await server.connect()]
    const token = await lock(a, 'n', { ttl: 10_000 })
    const waiting = ask(b, 'n')
    await isQuiet(b)
    env.advance(6_000)
    expect(await granted(a, ask(a, 'n', { ttl: 10_000, fencingToken: token }))).toMatchObject({ fencingToken: token })
    env.advance(6_000)
    expect(await lock(a, 'n', { ttl: 10_000 })).toBe(token)
    await isQuiet(b)
    expect(await refused(a, ask(a, 'n', { fencingToken: token - 1 }))).toMatchObject({ errorCode: 'STALE_TOKEN' })
    expect(await refused(b, ask(b, 'n', { fencingToken: token }))).toMatchObject({ errorCode: 'STALE_TOKEN' })
    env.advance(10_001)
    const next = (await granted(b, waiting)).fencingToken
    expect(next).toBeGreaterThan(token)
    expect(await refused(a, ask(a, 'n', { fencingToken: token }))).toMatchObject({ errorCode: 'STALE_TOKEN' })
    await release(b, 'n', next)
    expect(await refused(a, ask(a, 'n', { fencingToken: token }))).toMatchObject({ errorCode: 'STALE_TOKEN' })
    expect(await lock(a, 'n')).toBeGreaterThan(next)
  })

  test('[LK5] a connection that ends gives back what it holds and waits for, and has nothing when it comes back', async () => {
    await using server = await startTestServer()
    const [a, b, c] = [await server.connect(), await server.connect(), await server.connect()]
    const token = await lock(a, 'n')
    await lock(c, 'other')
    ask(b, 'n')
    ask(b, 'other')
    await b.settle()
    const third = ask(c, 'n')
    await c.settle()
    expect(server.server.inspect()['locks']).toMatchObject({ held: 2, waiting: 3 })
    b.end()
    await until(() => server.server.inspect()['locks']?.['waiting'] === 1, 'the waiters to leave')
    a.end()
    const next = (await granted(c, third)).fencingToken
    expect(next).toBeGreaterThan(token)
    const back = await server.connect()
    expect(await release(back, 'n', token)).toMatchObject({ success: false, errorCode: 'STALE_TOKEN' })
    expect(await refused(back, ask(back, 'n', { fencingToken: token }))).toMatchObject({ errorCode: 'STALE_TOKEN' })
    c.end()
    back.end()
    await until(() => server.server.inspect()['locks']?.['owners'] === 0, 'everything to be free')
    expect(server.server.inspect()['locks']).toMatchObject({ held: 0, waiting: 0 })
  })

  test('[LK6] a request ends by its id, while it waits and when it was granted meanwhile; another’s does not', async () => {
    await using server = await startTestServer()
    const [a, b] = [await server.connect(), await server.connect()]
    const first = ask(a, 'n')
    await granted(a, first)
    const waiting = ask(b, 'n')
    await b.settle()
    expect(await release(a, 'n', undefined, waiting)).toMatchObject({ success: false, errorCode: 'NOT_FOUND' })
    expect(await release(b, 'n', undefined, waiting)).toEqual({ requestId: waiting, name: 'n', success: true })
    expect(server.server.inspect()['locks']).toMatchObject({ held: 1, waiting: 0 })
    const again = ask(b, 'n')
    expect(await release(a, 'n', undefined, first)).toMatchObject({ success: true })
    await granted(b, again)
    expect(await release(b, 'n', undefined, again)).toMatchObject({ success: true })
    expect(await release(b, 'n', undefined, again)).toMatchObject({ success: false, errorCode: 'NOT_FOUND' })
    expect(server.server.inspect()['locks']).toMatchObject({ held: 0, waiting: 0, owners: 0 })
    await isQuiet(b)
  })

  test('[LK7] a wait ends when it says, leaves the queue, and is not granted after it', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const [a, b] = [await server.connect(), await server.connect()]
    const token = await lock(a, 'n', { ttl: 100_000 })
    const waiting = ask(b, 'n', { waitMs: 20_000 })
    await b.settle()
    env.advance(10_000)
    await isQuiet(b)
    env.advance(10_001)
    expect(await refused(b, waiting)).toMatchObject({ errorCode: 'TIMEOUT', code: 408 })
    await release(a, 'n', token)
    await isQuiet(b)
    expect(server.server.inspect()['locks']).toMatchObject({ held: 0, waiting: 0, owners: 0 })
    const inTime = ask(b, 'n', { ttl: 100_000, waitMs: 20_000 })
    await granted(b, inTime)
    env.advance(30_000)
    await isQuiet(b)
  })
})

describe('fences', () => {
  test('INV-19 [LK9]: a write passes under the latest token of its lock, and no other', async () => {
    await using server = await startTestServer()
    const [a, b] = [await server.connect(), await server.connect()]
    const first = await lock(a, 'n')
    expect(await write(a, 'n', first, 1)).toBe('OK')
    expect(await write(a, 'n', first + 1, 2)).toBe('STALE_TOKEN')
    expect(await write(a, 'other', first, 2)).toBe('STALE_TOKEN')
    // Whoever is given the token may write under it, and so may its holder when the lease is over, until another has it.
    expect(await write(b, 'n', first, 3)).toBe('OK')
    await release(a, 'n', first)
    expect(await write(a, 'n', first, 4)).toBe('OK')
    expect(await write(a, 'n', first, 5, patch)).toBe('OK')
    const second = await lock(b, 'n')
    for (const op of [put, patch]) expect(await write(a, 'n', first, 6, op)).toBe('STALE_TOKEN')
    expect(await write(b, 'n', second, 7, patch)).toBe('OK')
    a.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: {} } })
    expect((await a.take('QUERY_RESP')).payload.results).toEqual([{ key: 'k', value: { value: 7 } }])
  })

  test('[LK9] [OP12] a stale op is refused for good, and its siblings in the batch are applied', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    const token = await lock(client, 'n')
    const stale = put('m', 'a', 1, { id: '1', fence: { name: 'n', token: token - 1 } })
    const good = put('m', 'b', 1, { id: '2', fence: { name: 'n', token } })
    client.send({ type: 'OP_BATCH', payload: { ops: [stale, good, put('m', 'c', 1, { id: '3' })] } })
    const { results } = (await client.take('OP_ACK')).payload
    expect(results.map(({ opId, errorCode }) => [opId, errorCode])).toEqual([
      ['1', 'STALE_TOKEN'],
      ['2', undefined],
      ['3', undefined],
    ])
    expect((await client.take('OP_REJECTED')).payload).toMatchObject({ opId: '1', errorCode: 'STALE_TOKEN', code: 409 })
  })

  test('[LK9] INV-7: an op that is applied already is not refused when it comes again under a token that is stale', async () => {
    await using server = await startTestServer()
    const [a, b] = [await server.connect(), await server.connect()]
    const token = await lock(a, 'n')
    const whole = put('m', 'k', { a: 1 }, { fence: { name: 'n', token } })
    const field = patch('m', 'k', { b: 2 }, { fence: { name: 'n', token } })
    const codes = async (...ops: (typeof whole)[]): Promise<(string | undefined)[]> => {
      a.send({ type: 'OP_BATCH', payload: { ops } })
      return (await a.take('OP_ACK')).payload.results.map(({ errorCode }) => errorCode)
    }
    expect(await codes(whole, field)).toEqual([undefined, undefined])
    await release(a, 'n', token)
    await lock(b, 'n')
    expect(await codes(whole, field)).toEqual([undefined, undefined])
    // Under the same stamp another value is another write.
    const forged = { ...whole, record: { ...whole.record, value: { a: 9 } } }
    const forgedField = { ...field, record: { ...field.record, value: { b: 9 } } }
    expect(await codes(forged, forgedField)).toEqual(['STALE_TOKEN', 'STALE_TOKEN'])
  })

  test('[LK12] who gets a lock has been sent what was written under it before', async () => {
    await using server = await startTestServer()
    const [a, b] = [await server.connect(), await server.connect()]
    b.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    await b.take('SYNC_DIFF')
    const token = await lock(a, 'n')
    const waiting = ask(b, 'n')
    await b.settle()
    b.inbox.length = 0
    // Both in one frame, so that they are handled in one turn.
    const both: readonly ClientMessage[] = [
      clientOp(put('m', 'k', 1, { fence: { name: 'n', token } })),
      { type: 'LOCK_RELEASE', payload: { requestId: 'x', name: 'n', fencingToken: token } },
    ]
    a.sendRaw(joinBatch(both.map((message) => encodeMsgpack(message))))
    await b.until(() => b.inbox.some(({ type }) => type === 'LOCK_GRANTED'))
    expect(b.inbox.map(({ type }) => type)).toEqual(['SERVER_EVENT', 'LOCK_GRANTED'])
    expect((await granted(b, waiting)).name).toBe('n')
  })
})

describe('tokens', () => {
  test('INV-19 [LK8]: rise over clean stops and crashes of SQLite, though the clock went back, and tokens from before do not pass', async () => {
    let path = newPath()
    let last = 0
    for (const [round, behindMs] of [0, 0, 86_400_000, 10_000].entries()) {
      const env = new MovableEnv()
      env.leap(-behindMs)
      const server = await startTestServer({ env, storage: sqliteStorage({ path }) })
      const client = await server.connect()
      if (round > 0) expect(await write(client, 'n', last, round)).toBe('STALE_TOKEN')
      for (let i = 0; i < 3; i++) {
        const token = await lock(client, 'n')
        expect(token).toBeGreaterThan(last)
        last = token
        await release(client, 'n', token)
      }
      if (round % 2 === 1) {
        // What a crash leaves: the files as they are, without anybody closing them.
        const copy = newPath()
        cpSync(dirname(path), dirname(copy), { recursive: true })
        path = copy
      }
      await server[Symbol.asyncDispose]()
    }
  })

  test('INV-19 [LK8]: rise from one server in memory to the next, and where the database was lost', async () => {
    let last = 0
    for (const storage of [undefined, undefined, memoryStorage(), sqliteStorage({ path: newPath() })]) {
      await using server = await startTestServer(storage === undefined ? {} : { storage })
      const token = await lock(await server.connect(), 'n')
      expect(token).toBeGreaterThan(last)
      last = token
    }
  })
})

describe('storage', () => {
  test('INV-19 [LK11]: while storage refuses writes no lock is granted, to nobody who waits either; leases last', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    await using server = await startTestServer({ storage })
    const [a, b] = [await server.connect(), await server.connect()]
    const token = await lock(a, 'n')
    const waiting = ask(b, 'n')
    await b.settle()
    storage.fault = () => new StorageError('unavailable', 'Gone.')
    a.send(clientOp(put('m', 'k', 1, { writeConcern: 'PERSISTED' })))
    await a.take('OP_ACK')
    expect(await refused(b, ask(b, 'free'))).toMatchObject({ errorCode: 'STORAGE_UNAVAILABLE', code: 503 })
    expect(await refused(b, ask(b, 'n'))).toMatchObject({ errorCode: 'STORAGE_UNAVAILABLE' })
    expect(await lock(a, 'n', { fencingToken: token })).toBe(token)
    expect(await release(a, 'n', token)).toMatchObject({ success: true })
    expect(await refused(b, waiting)).toMatchObject({ errorCode: 'STORAGE_UNAVAILABLE' })
    expect(server.server.inspect()['locks']).toMatchObject({ held: 0, waiting: 0, granted: 1 })
    storage.fault = undefined
    await until(() => server.log.some((line) => line.includes('Storage works again')), 'storage to work again')
    expect(await lock(b, 'n')).toBeGreaterThan(token)
  })

  test('INV-24 [LK11]: a server that stops grants nothing any more, and tells those who wait', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    const server = await startTestServer({ storage })
    const [a, b] = [await server.connect(), await server.connect()]
    const token = await lock(a, 'n')
    const waiting = ask(b, 'n')
    await b.settle()
    storage.hold()
    a.send(clientOp(put('m', 'k', 1)))
    await a.settle()
    const stopped = server.server.shutdown()
    await b.take('SHUTDOWN_PENDING')
    await release(a, 'n', token)
    expect(await refused(b, waiting)).toMatchObject({ errorCode: 'SHUTTING_DOWN', details: { retryAfterMs: 1_000 } })
    expect(await refused(b, ask(b, 'other'))).toMatchObject({ errorCode: 'SHUTTING_DOWN' })
    storage.release()
    await stopped
    await server[Symbol.asyncDispose]()
  })
})

describe('bounds and rights', () => {
  test('INV-22 [LK10]: a connection holds and waits for a bounded number of locks; what ends makes room', async () => {
    await using server = await startTestServer()
    const [a, b] = [await server.connect(), await server.connect()]
    const token = await lock(b, 'busy')
    for (let i = 0; i < 99; i++) await lock(a, `n${i}`)
    const waiting = ask(a, 'busy')
    const details = { limit: 'locks.maxPerConnection', max: 100 }
    expect(await refused(a, ask(a, 'more'))).toMatchObject({ errorCode: 'LIMIT_EXCEEDED', code: 429, details })
    const refusals = server.server.metrics().find(({ name }) => name === 'syncline_limit_refusals_total')
    expect(refusals?.values).toContainEqual({ labels: { limit: 'locks.maxPerConnection' }, value: 1 })
    expect(server.server.metrics()).toContainEqual(
      expect.objectContaining({ name: 'syncline_locks_held', values: [{ labels: {}, value: 100 }] }),
    )
    expect(await lock(a, 'n0')).toBeGreaterThan(token)
    await release(a, 'busy', undefined, waiting)
    await lock(a, 'more')
    expect(await refused(a, ask(a, 'busy'))).toMatchObject({ errorCode: 'LIMIT_EXCEEDED' })
    a.end()
    await until(() => server.server.inspect()['locks']?.['held'] === 1, 'the locks to be free')
  })

  test('INV-22 [LK10]: a bounded number of requests waits for one lock', async () => {
    await using server = await startTestServer()
    const a = await server.connect()
    const token = await lock(a, 'n')
    const waiters = await Promise.all(Array.from({ length: 11 }, () => server.connect()))
    const all = waiters.flatMap((client) => Array.from({ length: 91 }, () => [client, ask(client, 'n')] as const))
    for (const client of waiters) await client.settle()
    expect(server.server.inspect()['locks']).toMatchObject({ waiting: 1_000, refused: all.length - 1_000 })
    const details = { limit: 'locks.maxWaitersPerLock', max: 1_000 }
    const late = waiters.find(({ inbox }) => inbox.some(({ type }) => type === 'LOCK_RELEASED'))
    expect((await late?.take('LOCK_RELEASED'))?.payload).toMatchObject({ errorCode: 'LIMIT_EXCEEDED', details })
    await release(a, 'n', token)
    await until(() => waiters.some(({ inbox }) => inbox.some(({ type }) => type === 'LOCK_GRANTED')), 'the next holder')
  })

  test('INV-21 [LK10]: a lock is the resource lock:NAME, to take it and to write under it', async () => {
    await using server = await startTestServer({
      jwtSecret: SECRET,
      mode: 'production',
      securityPolicies: [
        { role: 'USER', mapNamePattern: '*', actions: ['READ'] },
        { role: 'USER', mapNamePattern: 'm', actions: ['PUT'] },
        { role: 'USER', mapNamePattern: 'lock:own-{userId}', actions: ['PUT'] },
      ],
    })
    const [ada, bob] = [
      await server.connect({ token: tokenOf('ada', 'USER') }),
      await server.connect({ token: tokenOf('bob', 'USER') }),
    ]
    const token = await lock(ada, 'own-ada')
    expect(await write(ada, 'own-ada', token, 1)).toBe('OK')
    for (const name of ['own-ada', 'm', 'secret']) {
      const details = { mapName: `lock:${name}`, action: 'PUT' }
      expect(await refused(bob, ask(bob, name))).toMatchObject({ errorCode: 'FORBIDDEN', code: 403, details })
    }
    expect(await write(bob, 'own-ada', token, 2)).toBe('FORBIDDEN')
    expect(await release(bob, 'own-ada', token)).toMatchObject({ success: false, errorCode: 'STALE_TOKEN' })
    const stranger = await server.connect()
    stranger.send({ type: 'LOCK_REQUEST', payload: { requestId: 's', name: 'own-ada' } })
    expect((await stranger.take('ERROR')).payload).toMatchObject({ errorCode: 'UNAUTHORIZED', about: 'LOCK_REQUEST' })
  })

  test('INV-21 [LK5]: another user on the connection has none of the former one’s locks, and both ends are told', async () => {
    await using server = await startTestServer({
      jwtSecret: SECRET,
      mode: 'production',
      securityPolicies: [{ role: 'USER', mapNamePattern: 'lock:*', actions: ['PUT'] }],
    })
    const [a, b] = [
      await server.connect({ token: tokenOf('ada', 'USER') }),
      await server.connect({ token: tokenOf('bob', 'USER') }),
    ]
    const first = ask(a, 'n')
    await granted(a, first)
    const busy = await lock(b, 'busy')
    const waiting = ask(a, 'busy')
    await a.settle()
    const next = ask(b, 'n')
    await b.settle()
    a.send({ type: 'AUTH', token: tokenOf('eve', 'USER') })
    await a.take('AUTH_ACK')
    expect(await refused(a, first)).toMatchObject({ name: 'n', errorCode: 'FORBIDDEN' })
    expect(await refused(a, waiting)).toMatchObject({ name: 'busy', errorCode: 'FORBIDDEN' })
    await granted(b, next)
    await release(b, 'busy', busy)
    await isQuiet(a)
    // The same user with the right still has them; without it, not.
    const mine = ask(a, 'mine')
    await granted(a, mine)
    a.send({ type: 'AUTH', token: tokenOf('eve', 'USER', 'OTHER'), requestId: 'again' })
    await a.take('AUTH_ACK')
    await isQuiet(a)
    a.send({ type: 'AUTH', token: tokenOf('eve', 'OTHER') })
    await a.take('AUTH_ACK')
    expect(await refused(a, mine)).toMatchObject({ name: 'mine', errorCode: 'FORBIDDEN' })
  })
})
