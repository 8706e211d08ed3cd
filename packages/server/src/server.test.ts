import { mkdtempSync, rmSync } from 'node:fs'
import {
  createServer as createHttpServer,
  request as httpRequest,
  type IncomingMessage,
  type Server as HttpServer,
} from 'node:http'
import { connect as connectTcp, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { memoryStorage } from '@syncline/storage'
import { sqliteStorage } from '@syncline/storage/sqlite'
import { afterAll, describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import * as z from 'zod'
import { nodeEnv } from './env.ts'
import { defineFeature, type FeatureDefinition } from './feature.ts'
import { builtInFeatures } from './features.ts'
import { createServer } from './server.ts'
import type { SynclineServer } from './syncline-server.ts'
import { FakeSocket } from './testing/fake-socket.ts'
import { GatedStorage, MovableEnv, SECRET, add, clientOp, put, tokenOf, until } from './testing/harness.ts'
import { startTestServer, TestClient } from './testing/test-server.ts'

const folder = mkdtempSync(join(tmpdir(), 'syncline-server-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Answer {
  readonly status: number
  readonly body: string
}

/** One HTTP request, an upgrade if headers ask for one. */
function ask(
  port: number,
  path: string,
  headers: Record<string, string> = {},
  method: string = 'GET',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ port, path, headers, method, host: '127.0.0.1', agent: false })
    const take = (response: IncomingMessage): void => {
      let body = ''
      response.on('data', (chunk: Buffer) => (body += chunk.toString()))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    }
    request.on('response', take)
    request.on('upgrade', (response, socket) => {
      socket.destroy()
      resolve({ status: response.statusCode ?? 0, body: '' })
    })
    request.on('error', reject)
    request.end()
  })
}

const upgrade = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
}

const quiet = { env: nodeEnv('error', () => {}), host: '127.0.0.1', mode: 'development', auth: 'none' } as const

async function listen(http: HttpServer): Promise<number> {
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  return (http.address() as AddressInfo).port
}

describe('health', () => {
  test('says in each state what the state is, and is ready only when it is', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    const server = createServer({ ...quiet, storage, nodeId: 'node-1' })
    const http = createHttpServer((request, response) => {
      if (!server.handle(request, response)) response.writeHead(418).end()
    })
    const port = await listen(http)
    const states = async (): Promise<unknown[]> => {
      const [health, live, ready] = await Promise.all(
        ['/health', '/health/live', '/health/ready'].map((path) => ask(port, path)),
      )
      const { status, state } = JSON.parse(health?.body ?? '') as { status: string; state: string }
      return [health?.status, status, state, live?.status, ready?.status]
    }
    expect(await states()).toEqual([503, 'starting', 'starting', 200, 503])
    await server.ready()
    expect(await states()).toEqual([200, 'ok', 'ready', 200, 200])
    expect(await ask(port, '/elsewhere')).toMatchObject({ status: 418 })

    const client = await TestClient.open(`ws://127.0.0.1:${server.port}/ws`, 'json')
    storage.hold()
    client.send(clientOp(put('m', 'k', 1)))
    await client.take('OP_ACK')
    await until(() => storage.heldCount === 1, 'the write to reach storage')
    expect(server.health()).toMatchObject({ connections: 1, in_flight: 1, nodeId: 'node-1', status: 'ok' })
    expect(server.health().version).toMatch(/^\d+\.\d+\.\d+/)
    const stopped = server.shutdown()
    await client.take('SHUTDOWN_PENDING')
    expect(await states()).toEqual([503, 'draining', 'draining', 200, 503])
    expect(await ask(server.port, '/health/ready')).toMatchObject({ status: 503 })
    expect(await ask(server.port, '/ws', upgrade)).toMatchObject({ status: 503 })
    storage.release()
    await stopped
    expect(await states()).toEqual([503, 'stopped', 'stopped', 200, 503])
    http.close()
  })

  test('endpoints answer GET and HEAD, refuse other methods, ignore queries, and other paths are 404', async () => {
    await using server = await startTestServer()
    const { port } = server.server
    expect((await ask(port, '/health?x=1')).status).toBe(200)
    expect(await ask(port, '/health/ready', {}, 'HEAD')).toEqual({ status: 200, body: '' })
    expect((await ask(port, '/health', {}, 'POST')).status).toBe(405)
    const missing = await ask(port, '/nothing')
    expect(missing.status).toBe(404)
    expect(JSON.parse(missing.body)).toMatchObject({ code: 404, errorCode: 'NOT_FOUND' })
  })

  test('requests that the server has no endpoint for go to whoever embeds it', async () => {
    await using server = await startTestServer({ onRequest: (_, response) => response.writeHead(200).end('the page') })
    expect(await ask(server.server.port, '/index.html')).toEqual({ status: 200, body: 'the page' })
    expect((await ask(server.server.port, '/health')).status).toBe(200)
  })
})

describe('attach', () => {
  test('takes its own paths of an HTTP server and leaves those of another upgrade listener alone', async () => {
    const http = createHttpServer((_, response) => response.writeHead(200).end('theirs'))
    const other = new WebSocketServer({ noServer: true })
    http.on('upgrade', (request, socket, head) => {
      const isTheirs = request.url === '/other' || request.url === '/'
      if (isTheirs) other.handleUpgrade(request, socket, head, (ws) => ws.send('hello from the other'))
    })
    const port = await listen(http)
    const server = createServer(quiet)
    server.attach(http)
    server.attach(http)
    await server.ready()
    expect(server.port).toBe(0)
    for (const path of ['/ws', '/ws?format=json']) {
      const client = await TestClient.open(`ws://127.0.0.1:${port}${path}`, 'json')
      await client.take('AUTH_REQUIRED')
      expect(client.inbox).toEqual([])
      client.end()
    }
    // Not even the root is taken: whoever owns the server may have sockets of its own there.
    const hello = async (path: string): Promise<WebSocket> => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`)
      const greeting = await new Promise((resolve) =>
        socket.once('message', (data: Buffer) => resolve(data.toString())),
      )
      expect(greeting).toBe('hello from the other')
      return socket
    }
    ;(await hello('/')).terminate()
    const theirs = await hello('/other')
    expect((await ask(port, '/')).body).toBe('theirs')
    // Neither takes this one, and neither may answer it for the other.
    const nobody = connectTcp(port, '127.0.0.1')
    nobody.write(
      `GET /nobody HTTP/1.1\r\nHost: x\r\n${Object.entries(upgrade)
        .map(([name, value]) => `${name}: ${value}\r\n`)
        .join('')}\r\n`,
    )
    const first = await Promise.race([
      new Promise((resolve) => nobody.once('data', () => resolve('answered'))),
      server.shutdown().then(() => 'still open'),
    ])
    expect(first).toBe('still open')
    nobody.destroy()
    // Stopping leaves the other one and its server as they were.
    theirs.send('x')
    expect(theirs.readyState).toBe(WebSocket.OPEN)
    expect((await ask(port, '/')).body).toBe('theirs')
    theirs.terminate()
    http.close()
    http.closeAllConnections()
  })

  test('answers 404 on other paths where nobody else listens', async () => {
    await using server = await startTestServer({ path: '/sync' })
    const { port } = server.server
    expect((await ask(port, '/nobody', upgrade)).status).toBe(404)
    expect((await ask(port, '/sync', upgrade)).status).toBe(101)
    expect((await ask(port, '/ws', upgrade)).status).toBe(101)
  })

  test('before ready() a connection is refused with 503', async () => {
    const http = createHttpServer()
    const port = await listen(http)
    const server = createServer(quiet)
    server.attach(http)
    expect((await ask(port, '/ws', upgrade)).status).toBe(503)
    await server.ready()
    expect((await ask(port, '/ws', upgrade)).status).toBe(101)
    await server.shutdown()
    http.close()
    http.closeAllConnections()
  })
})

describe('too many connections', () => {
  test('INV-22: those beyond maxConnections are refused with HTTP 503, until one is gone', async () => {
    await using server = await startTestServer({ connections: { maxConnections: 3 } })
    const clients = [await server.connect(), await server.connect(), await server.connect()]
    expect((await ask(server.server.port, '/ws', upgrade)).status).toBe(503)
    expect((await ask(server.server.port, '/health')).status).toBe(200)
    clients[0]?.end()
    await until(() => server.server.health().connections === 2, 'the connection to be gone')
    await (await server.connect()).settle()
    for (const client of clients.slice(1)) await client.settle()
  })

  test('INV-23: those that come faster than maxConnectionsPerSecond are refused, and a second later they are not', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({
      env,
      rateLimiting: { enabled: true, maxConnectionsPerSecond: 5, maxPendingConnections: 1_000 },
      connections: { idleTimeout: 1e9 },
    })
    const { port } = server.server
    const statuses: number[] = []
    for (let i = 0; i < 8; i++) statuses.push((await ask(port, '/ws', upgrade)).status)
    expect(statuses).toEqual([101, 101, 101, 101, 101, 503, 503, 503])
    env.advance(2_000)
    expect((await ask(port, '/ws', upgrade)).status).toBe(101)
  })

  test('INV-22: connections that do not authenticate are bounded, and those that end or sign in make room', async () => {
    await using server = await startTestServer({
      jwtSecret: SECRET,
      auth: 'jwt',
      rateLimiting: { enabled: true, maxConnectionsPerSecond: 100_000, maxPendingConnections: 3 },
    })
    const { port } = server.server
    const pending = [await server.connect(), await server.connect(), await server.connect()]
    expect((await ask(port, '/ws', upgrade)).status).toBe(503)
    pending[0]?.send({ type: 'AUTH', token: tokenOf('ann') })
    await pending[0]?.take('AUTH_ACK')
    const next = await server.connect()
    expect((await ask(port, '/ws', upgrade)).status).toBe(503)
    next.end()
    await until(() => server.server.health().connections === 3, 'the connection to be gone')
    await server.connect()
  })

  test('INV-22: handshakes that are none do not count as connections that wait', async () => {
    await using server = await startTestServer({
      jwtSecret: SECRET,
      auth: 'jwt',
      rateLimiting: { enabled: true, maxConnectionsPerSecond: 100_000, maxPendingConnections: 3 },
    })
    for (let i = 0; i < 10; i++) {
      const { 'sec-websocket-key': _, ...broken } = upgrade
      expect((await ask(server.server.port, '/ws', broken)).status).toBe(400)
    }
    await (await server.connect()).settle()
  })
})

describe('start', () => {
  test('ready() says in an error that the port is in use, and shutdown() frees what was opened', async () => {
    const http = createHttpServer()
    const port = await listen(http)
    const path = join(folder, 'port', 'data.db')
    const server = createServer({ ...quiet, port, storage: sqliteStorage({ path }) })
    await expect(server.ready()).rejects.toMatchObject({ code: 'EADDRINUSE' })
    await server.shutdown()
    http.close()
    await using again = await startTestServer({ storage: sqliteStorage({ path }) })
    await (await again.connect()).settle()
  })

  test('ready() twice is one start, and storage that cannot be opened is its error', async () => {
    const server = createServer(quiet)
    await Promise.all([server.ready(), server.ready()])
    await server.shutdown()
    const broken = new GatedStorage(memoryStorage())
    broken.open = () => Promise.reject(new Error('no such database'))
    const unable = createServer({ ...quiet, storage: broken })
    await expect(unable.ready()).rejects.toThrow('no such database')
    await unable.shutdown()
  })

  test('a server that was never started stops at once', async () => {
    await createServer(quiet).shutdown()
  })

  test('ready() of a server that was stopped is an error: it does not start again', async () => {
    for (const isStarted of [true, false]) {
      const server = createServer(quiet)
      if (isStarted) await server.ready()
      await server.shutdown()
      await expect(server.ready()).rejects.toThrow('make a new one')
      expect(server.state).toBe('stopped')
    }
  })

  test('what an operator must know is said once, at the start', async () => {
    await using open = await startTestServer()
    expect(open.log.join('')).toContain('Anyone may connect and write')
    await using unsafe = await startTestServer({ jwtSecret: 'dev', auth: 'jwt' })
    expect(unsafe.log.join('')).toContain('every signed-in user may read and write every map')
    await using closed = await startTestServer({ jwtSecret: SECRET, auth: 'jwt', mode: 'production' })
    expect(closed.log.join('')).toContain('only administrators may read or write')
  })
})

describe('INV-24: shutdown', () => {
  test('INV-24: does not wait for a connection that has not said anything', async () => {
    const server = await startTestServer()
    const socket = connectTcp(server.server.port, '127.0.0.1')
    await new Promise((resolve) => socket.once('connect', resolve))
    // The server has taken it when it answers somebody else who came later.
    await (await server.connect()).settle()
    const closed = new Promise((resolve) => socket.once('close', resolve))
    await server.server.shutdown()
    await closed
  }, 10_000)

  test('INV-24 [SE5]: tells clients, lets PERSISTED writes finish, acknowledges them, closes with 1001, stores the rest, in this order', async () => {
    const inner = sqliteStorage({ path: join(folder, 'shutdown', 'data.db') })
    const storage = new GatedStorage(inner)
    const order: string[] = []
    storage.close = async () => {
      order.push('storage closed')
      await inner.close()
    }
    const feature = defineFeature({
      name: 'last',
      options: z.object({}),
      start: () => ({ handlers: {}, stop: () => void order.push('feature stopped') }),
    }) as FeatureDefinition
    const server = await startTestServer({ storage, features: [...builtInFeatures, feature] })
    const client = await server.connect()
    await client.take('AUTH_REQUIRED')
    client.onMessage = ({ type }) => order.push(type)
    storage.hold()
    client.send(clientOp(put('m', 'under way', 1, { id: '1', writeConcern: 'PERSISTED' })))
    await until(() => storage.heldCount === 1, 'the write to reach storage')
    client.send(clientOp(put('m', 'waits', 1, { id: '2', writeConcern: 'PERSISTED' })))
    client.send(clientOp(put('m', 'applied', 1, { id: '3', writeConcern: 'APPLIED' })))
    await client.take('OP_ACK')
    const stopped = server.server.shutdown()
    expect(server.server.shutdown()).toBe(stopped)
    expect(await client.take('SHUTDOWN_PENDING')).toMatchObject({ retryAfter: expect.any(Number) })
    expect(order).toEqual(['OP_ACK', 'SHUTDOWN_PENDING'])
    storage.release()
    const acks = [await client.take('OP_ACK'), await client.take('OP_ACK')]
    expect(acks.map(({ payload }) => payload.results)).toMatchObject([
      [{ opId: '1', success: true, achievedLevel: 'PERSISTED' }],
      [{ opId: '2', success: true, achievedLevel: 'PERSISTED' }],
    ])
    expect(await client.untilClosed()).toMatchObject({ code: 1001 })
    await stopped
    const ofServer = (each: string): boolean => each.endsWith('stopped') || each.endsWith('closed')
    expect(order.filter(ofServer)).toEqual(['feature stopped', 'storage closed'])
    expect(order.filter((each) => !ofServer(each))).toEqual(['OP_ACK', 'SHUTDOWN_PENDING', 'OP_ACK', 'OP_ACK'])
    expect(server.server.state).toBe('stopped')
    await expect(TestClient.open(`${server.url}/ws`, 'json')).rejects.toThrow('ECONNREFUSED')

    await using again = await startTestServer({ storage: sqliteStorage({ path: join(folder, 'shutdown', 'data.db') }) })
    const reader = await again.connect()
    reader.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    const keys = (await reader.take('SYNC_DIFF')).payload.records.map(({ key }) => key)
    expect(keys).toEqual(['under way', 'waits', 'applied'])
  })

  test('INV-24: waits no longer than it may for storage that does not answer, and clients are not told more than is true', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    const server = await startTestServer({ storage, shutdownTimeoutMs: 1_500 })
    const client = await server.connect()
    storage.hold()
    client.send(clientOp(put('m', 'k', 1, { writeConcern: 'PERSISTED' })))
    await until(() => storage.heldCount === 1, 'the write to reach storage')
    const startedAt = performance.now()
    const stopped = server.server.shutdown()
    expect(await client.untilClosed()).toMatchObject({ code: 1001 })
    expect(client.inbox.filter(({ type }) => type === 'OP_ACK')).toEqual([])
    // Waiting for acknowledgements and closing the storage have one time between them.
    await expect(stopped).rejects.toThrow('Storage did not answer')
    expect(performance.now() - startedAt).toBeLessThan(3_000)
    storage.release()
  })

  test('INV-24 [ER4]: writes that come while the server stops are refused SHUTTING_DOWN and not applied, at every level', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    const server = await startTestServer({ storage })
    const client = await server.connect()
    client.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    await client.take('SYNC_DIFF')
    storage.hold()
    client.send(clientOp(put('m', 'before', 1, { writeConcern: 'PERSISTED' })))
    await until(() => storage.heldCount === 1, 'the write to reach storage')
    const stopped = server.server.shutdown()
    await client.take('SHUTDOWN_PENDING')
    for (const writeConcern of ['MEMORY', 'PERSISTED'] as const) {
      client.send(clientOp(put('m', 'late', 2, { writeConcern })))
      expect((await client.take('OP_ACK')).payload.results).toMatchObject([
        { success: false, errorCode: 'SHUTTING_DOWN', details: { retryAfterMs: expect.any(Number) } },
      ])
    }
    const record = { value: 3, timestamp: { millis: 1, counter: 0, nodeId: 'n' } }
    client.send({ type: 'SYNC_PUSH', payload: { mapName: 'm', records: [{ key: 'pushed', record }] } })
    expect((await client.take('SYNC_PUSH_RESP')).payload.refused).toMatchObject([{ errorCode: 'SHUTTING_DOWN' }])
    storage.release()
    expect((await client.take('OP_ACK')).payload.results).toMatchObject([{ success: true, achievedLevel: 'PERSISTED' }])
    await client.untilClosed()
    await stopped
    const keys = storage.batches.flatMap(({ records }) => records.map(({ key }) => key))
    expect(keys).toEqual(['before'])
    // Refused in a way that sending again mends: existing clients are not told to give the write up.
    expect(client.inbox.filter(({ type }) => type === 'OP_REJECTED')).toEqual([])
  })

  test('INV-24: a request that is being answered is answered in full, and one that takes too long is cut', async () => {
    let finish = (): void => {}
    const server = await startTestServer({
      shutdownTimeoutMs: 500,
      onRequest: (request, response) => {
        if (request.url !== '/slow') return
        response.write('half ')
        finish = () => response.end('and half')
      },
    })
    const { port } = server.server
    const slow = ask(port, '/slow')
    const never = ask(port, '/never').catch((error: Error) => error)
    // Both have arrived before this one, or not long after it.
    await ask(port, '/health')
    await new Promise((resolve) => setTimeout(resolve, 100))
    const stopped = server.server.shutdown()
    await new Promise((resolve) => setTimeout(resolve, 100))
    finish()
    expect(await slow).toEqual({ status: 200, body: 'half and half' })
    await stopped
    expect(await never).toBeInstanceOf(Error)
  })

  test('INV-24: a feature that does not stop, or fails to, holds nothing up', async () => {
    const features = ['hangs', 'fails'].map((name) =>
      defineFeature({
        name,
        options: z.object({}),
        start: () => ({
          handlers: {},
          stop: () => (name === 'hangs' ? new Promise<void>(() => {}) : Promise.reject(new Error('broken on purpose'))),
        }),
      }),
    )
    const storage = new GatedStorage(memoryStorage(), true)
    const server = await startTestServer({
      storage,
      features: [...builtInFeatures, ...(features as FeatureDefinition[])],
      shutdownTimeoutMs: 200,
    })
    const client = await server.connect()
    client.send(clientOp(put('m', 'k', 1)))
    await client.take('OP_ACK')
    await server.server.shutdown()
    expect(storage.batches.flatMap(({ records }) => records.map(({ key }) => key))).toEqual(['k'])
    expect(server.log.join('')).toContain("Feature 'fails' could not stop")
    expect(server.log.join('')).toContain('A feature did not stop in time')
  })

  test('INV-24: leaves no timer behind, whatever it was doing: its process can end', async () => {
    const env = new MovableEnv()
    const options = { search: { maps: { notes: { fields: ['text'] } } }, journal: { enabled: true } }
    const server = await startTestServer({ env, ...options })
    const client = await server.connect()
    client.send(clientOp({ ...put('notes', 'k', { text: 'milk' }, { ttlMs: 3_600_000 }), writeConcern: 'APPLIED' }))
    client.send(clientOp(add('tags', 'k', 1)))
    client.send({ type: 'ORMAP_SYNC_INIT', mapName: 'tags' })
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'notes', query: {} } })
    client.send({ type: 'SEARCH_SUB', payload: { subscriptionId: 's', mapName: 'notes', query: 'milk' } })
    client.send({ type: 'ROOM_JOIN', payload: { room: 'r', presence: {} } })
    client.send({ type: 'TOPIC_SUB', payload: { topic: 't' } })
    client.send({ type: 'JOURNAL_SUBSCRIBE', requestId: 'j' })
    for (const requestId of ['held', 'waits'])
      client.send({ type: 'LOCK_REQUEST', payload: { requestId, name: 'l', ttl: 300_000, waitMs: 300_000 } })
    await client.take('SEARCH_RESP')
    await client.settle()
    expect(env.waitingTimers).toBeGreaterThan(3)
    await server.server.shutdown()
    await client.untilClosed()
    expect(env.waitingTimers).toBe(0)
  })

  test('INV-24: a client that does not answer the close is cut', async () => {
    const server = await startTestServer()
    const client = await server.connect()
    client.pause()
    const startedAt = performance.now()
    await server.server.shutdown()
    expect(performance.now() - startedAt).toBeLessThan(10_000)
    client.end()
  })
})

describe('a silent connection', () => {
  test('is asked for a sign of life, kept while it answers, and closed with 4002 when it does not', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env, connections: { idleTimeout: 10_000 } })
    const answering = await server.connect()
    const silent = new FakeSocket(server.server)
    // Half of the time allowed passes in silence, and half again, and again.
    for (let i = 0; i < 6; i++) {
      env.advance(6_000)
      // A ping and its pong, between two sockets of this process, take turns and no time.
      await silent.settle()
    }
    expect(silent.pings).toBeGreaterThan(0)
    expect(silent.closed).toMatchObject({ code: 4002 })
    expect(answering.closed).toBeUndefined()
    await answering.settle()
    expect(server.server.health().connections).toBe(1)
  })
})

describe('a feature of an app', () => {
  const failing = (fail: (how: string) => unknown): FeatureDefinition =>
    defineFeature({
      name: 'failing',
      options: z.object({}),
      start: () => ({
        handlers: {
          SYNC_TRIE: { handle: (_, { payload }) => fail(payload.mapName) as never },
        },
      }),
    }) as FeatureDefinition

  const badPages: Iterator<never> = {
    next: () => {
      throw new Error('pages CAUSE')
    },
  }

  test.each<[string, () => unknown]>([
    [
      'an exception in a handler',
      () => {
        throw new Error('handler CAUSE')
      },
    ],
    ['a rejected promise', () => Promise.reject(new Error('promise CAUSE'))],
    ['an exception in its pages', () => ({ pages: badPages })],
    [
      'an exception in a later reply',
      () => ({
        later: () => {
          throw new Error('later CAUSE')
        },
      }),
    ],
  ])('%s closes that connection with 1011, frees what it held, and touches no other', async (_, fail) => {
    await using server = await startTestServer({ features: [...builtInFeatures, failing(fail)] })
    const [client, other] = [await server.connect(), await server.connect()]
    for (const each of [client, other]) {
      each.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
      each.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: {} } })
      await each.take('QUERY_RESP')
    }
    client.send({ type: 'SYNC_TRIE', payload: { mapName: 'm' } })
    client.send(clientOp(put('m', 'after', 1)))
    expect(await client.untilClosed()).toMatchObject({ code: 1011 })
    expect(server.log.some((line) => line.includes('CAUSE'))).toBe(true)
    expect(JSON.stringify(client.inbox)).not.toContain('CAUSE')
    expect(server.server.inspect()).toMatchObject({ queries: { subscriptions: 1 }, 'merkle-sync': { following: 1 } })
    other.send(clientOp(put('m', 'k', 1)))
    await other.take('SERVER_EVENT', ({ payload }) => payload.key === 'k')
    expect(server.server.health().connections).toBe(1)
  })

  test('messages of one connection are handled in order, also where a handler takes its time; others do not wait', async () => {
    let release = (): void => {}
    const slow = defineFeature({
      name: 'slow',
      options: z.object({}),
      start: () => ({
        handlers: {
          SYNC_TRIE: {
            handle: async (_, { payload }) => {
              if (payload.mapName === 'slow') await new Promise<void>((resolve) => (release = resolve))
              return { type: 'PONG', timestamp: 1, serverTime: 1 }
            },
          },
        },
      }),
    }) as FeatureDefinition
    await using server = await startTestServer({ features: [...builtInFeatures, slow] })
    const [client, other] = [await server.connect(), await server.connect()]
    await client.take('AUTH_REQUIRED')
    client.send({ type: 'SYNC_TRIE', payload: { mapName: 'slow' } })
    client.send(clientOp(put('m', 'a', 1, { id: '1' })))
    client.send({ type: 'SYNC_TRIE', payload: { mapName: 'quick' } })
    client.send(clientOp(put('m', 'b', 1, { id: '2' })))
    await other.settle()
    expect(client.inbox).toEqual([])
    release()
    await client.take('OP_ACK', ({ payload }) => payload.lastId === '2')
    expect(client.inbox.map(({ type }) => type)).toEqual(['PONG', 'OP_ACK', 'PONG'])
  })
})

describe('one process', () => {
  test('several servers run beside one another', async () => {
    const servers: SynclineServer[] = Array.from({ length: 3 }, () => createServer(quiet))
    await Promise.all(servers.map((server) => server.ready()))
    expect(new Set(servers.map(({ port }) => port)).size).toBe(3)
    await Promise.all(servers.map((server) => server.shutdown()))
  })
})

test('INV-24: a storage that never answers holds the stop no longer than its timeout, and the stop says so', async () => {
  const storage = new GatedStorage(memoryStorage())
  const testing = await startTestServer({ storage, shutdownTimeoutMs: 200 })
  const client = await testing.connect()
  const before = storage.batches.length
  storage.hold()
  client.send(clientOp(put('m', 'held', 1)))
  await client.take('OP_ACK')
  await until(() => storage.batches.length > before, 'the batch to reach storage')
  await expect(testing.server.shutdown()).rejects.toThrow('Storage did not answer')
  expect(testing.server.state).toBe('stopped')
  expect(client.closed?.code).toBe(1001)
})

test('INV-21: a feature that fails to let go of a session keeps no other from it, and the server goes on', async () => {
  const broken = defineFeature({
    name: 'broken',
    options: z.object({}),
    start(kernel) {
      kernel.onSessionClosed(() => {
        throw new Error('broken on purpose')
      })
      return { handlers: {} }
    },
  })
  await using server = await startTestServer({ features: [broken, ...builtInFeatures] })
  const [holder, other] = [await server.connect(), await server.connect()]
  holder.send({ type: 'LOCK_REQUEST', payload: { requestId: 'r', name: 'l', ttl: 300_000 } })
  await holder.take('LOCK_GRANTED')
  holder.end()
  other.send({ type: 'LOCK_REQUEST', payload: { requestId: 'r', name: 'l' } })
  await other.take('LOCK_GRANTED')
  expect(server.log.join('')).toContain('broken on purpose')
  expect(server.server.health().connections).toBe(1)
})

describe('a failure at the end of a turn', () => {
  const fails = (): never => {
    throw new Error('broken on purpose')
  }

  test('of one socket ends its own session and no other', async () => {
    await using server = await startTestServer()
    const [broken, other] = [new FakeSocket(server.server), new FakeSocket(server.server)]
    await broken.settle()
    Object.defineProperty(broken, 'bufferedBytes', { get: fails })
    for (const socket of [broken, other]) socket.receive({ type: 'PING', timestamp: 1 })
    await other.settle()
    expect(broken.closed).toMatchObject({ code: 1011 })
    expect(other.closed).toBeUndefined()
    expect(other.written.at(-1)).toMatchObject({ type: 'PONG', timestamp: 1 })
    expect(server.server.health().connections).toBe(1)
    expect(server.log.join('')).toContain('broken on purpose')
  })

  test('while one follower or subscriber is told of a change ends its session and no other', async () => {
    await using server = await startTestServer()
    const writer = new FakeSocket(server.server)
    const sockets = Array.from({ length: 4 }, () => new FakeSocket(server.server))
    const [following, asking, ...others] = sockets as [FakeSocket, FakeSocket, FakeSocket, FakeSocket]
    for (const socket of [following, others[0]]) {
      socket.receive({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    }
    for (const socket of [asking, others[1]]) {
      socket.receive({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: {} } })
      socket.receive({ type: 'SYNC_STOP', mapName: 'm' })
    }
    await writer.settle()
    for (const socket of [following, asking]) Object.defineProperty(socket, 'bufferedBytes', { get: fails })
    writer.receive(clientOp(put('m', 'k', 1)))
    await writer.settle()
    expect([following, asking].map(({ closed }) => closed?.code)).toEqual([1011, 1011])
    expect([writer, ...others].map(({ closed }) => closed)).toEqual([undefined, undefined, undefined])
    expect(others.map(({ written }) => written.at(-1)?.type)).toEqual(['SERVER_EVENT', 'QUERY_UPDATE'])
    expect(server.server.inspect()).toMatchObject({ queries: { subscriptions: 1 }, 'merkle-sync': { following: 1 } })
  })

  test('of a socket that cannot be swept keeps no other from being swept', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env, connections: { idleTimeout: 10_000 } })
    const [broken, other] = [new FakeSocket(server.server), new FakeSocket(server.server)]
    broken.ping = fails
    env.advance(6_000)
    expect([broken.closed?.code, other.closed, other.pings]).toEqual([1006, undefined, 1])
    expect(server.server.health().connections).toBe(1)
  })

  test('of whoever tells of changes closes the sessions, that may miss one, and the server goes on', async () => {
    let isBroken = true
    const listener = defineFeature({
      name: 'broken',
      options: z.object({}),
      start(kernel) {
        kernel.feed.listen({ wants: () => isBroken, tell: fails })
        return { handlers: {} }
      },
    })
    await using server = await startTestServer({ features: [...builtInFeatures, listener] })
    const first = new FakeSocket(server.server)
    first.receive(clientOp(put('m', 'k', 1)))
    await first.settle()
    expect(first.closed).toMatchObject({ code: 1011 })
    isBroken = false
    const second = new FakeSocket(server.server)
    second.receive(clientOp(put('m', 'k', 2)))
    await second.settle()
    expect(second.written.at(-1)).toMatchObject({ type: 'OP_ACK', payload: { results: [{ success: true }] } })
  })
})

test('a feature that cannot start leaves the database free for the next server', async () => {
  const path = join(folder, 'free', 'data.db')
  const broken = defineFeature({
    name: 'broken',
    options: z.object({}),
    start() {
      throw new Error('broken on purpose')
    },
  })
  const failing = createServer({ ...quiet, storage: sqliteStorage({ path }), features: [broken] })
  await expect(failing.ready()).rejects.toThrow('broken on purpose')
  await using again = await startTestServer({ storage: sqliteStorage({ path }) })
  expect(again.server.state).toBe('ready')
})
