import { createServer as createHttpServer } from 'node:http'
import { connect as connectTcp, Server as NetServer, type AddressInfo, type Socket } from 'node:net'
import { describe, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { nodeEnv } from '../env.ts'
import { resolveOptions } from '../options.ts'
import { createServer } from '../server.ts'
import { startTestServer } from '../testing/test-server.ts'

/** What the server sends on a bare connection to which this text was written, when it has ended it. */
function untilEnded(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket: Socket = connectTcp(port, '127.0.0.1')
    let received = ''
    socket.on('data', (data: Buffer) => (received += data.toString()))
    socket.on('error', () => {})
    socket.on('close', () => resolve(received))
    socket.write(text)
  })
}

describe('HTTP connections', () => {
  test('headersTimeout: a request whose headers do not arrive in time is answered 408 and its connection ended', async () => {
    await using server = await startTestServer({ connections: { headersTimeout: 200 } })
    expect(await untilEnded(server.server.port, 'GET /health HTTP/1.1\r\nHost: x\r\n')).toMatch(/^HTTP\/1\.1 408 /)
  })

  test('serverTimeout: a request that does not arrive in time ends its connection, and WebSockets live on', async () => {
    await using server = await startTestServer({ connections: { serverTimeout: 200 }, onRequest: () => {} })
    const client = await server.connect()
    await untilEnded(server.server.port, 'POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf')
    await untilEnded(server.server.port, '')
    await client.settle()
  })

  test('keepAliveTimeout: an idle connection is kept that long for another request', async () => {
    await using server = await startTestServer({ connections: { keepAliveTimeout: 1_000 } })
    const request = 'GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n'
    const received = await untilEnded(server.server.port, request + request)
    expect(received.match(/^HTTP\/1\.1 200 /gm)).toHaveLength(2)
    expect(received).toContain('Keep-Alive: timeout=1\r\n')
  })

  test('backlog: the operating system is told how many connections may wait to be accepted', async () => {
    const listen = vi.spyOn(NetServer.prototype, 'listen')
    try {
      await using _server = await startTestServer({ connections: { backlog: 7 } })
      expect(listen.mock.calls[0]?.[0]).toMatchObject({ host: '127.0.0.1', backlog: 7 })
    } finally {
      listen.mockRestore()
    }
  })

  test('their limits are those of the documents, and a stop waits 30 seconds at most', () => {
    const { connections, shutdownTimeoutMs, host, port } = resolveOptions({ auth: 'none' }, [])
    expect(connections).toMatchObject({
      serverTimeout: 120_000,
      keepAliveTimeout: 5_000,
      headersTimeout: 60_000,
      maxConnections: 10_000,
    })
    expect({ shutdownTimeoutMs, host, port }).toEqual({ shutdownTimeoutMs: 30_000, host: '0.0.0.0', port: 0 })
  })
})

describe('WebSocket connections', () => {
  test.each([
    [undefined, ''],
    [true, 'permessage-deflate'],
  ])('with compression %s a client that offers it gets %j', async (compression, extensions) => {
    await using server = await startTestServer(compression === undefined ? {} : { connections: { compression } })
    const socket = new WebSocket(`${server.url}/ws`, { perMessageDeflate: true })
    await new Promise((resolve) => socket.once('open', resolve))
    expect(socket.extensions.split(';')[0]).toBe(extensions)
    socket.terminate()
  })

  test('with rateLimiting off they may come as fast and wait as many as they like', async () => {
    await using server = await startTestServer({
      auth: 'jwt',
      jwtSecret: 'any',
      rateLimiting: { enabled: false, maxConnectionsPerSecond: 1, maxPendingConnections: 1 },
    })
    for (let i = 0; i < 5; i++) await server.connect()
    expect(server.server.health().connections).toBe(5)
  })
})

describe('a server', () => {
  test('listens only from ready() on, on the host and the port that it is given, until shutdown()', async () => {
    const probe = createHttpServer()
    await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve))
    const { port } = probe.address() as AddressInfo
    await new Promise((resolve) => probe.close(resolve))
    const answer = (host: string): Promise<string> =>
      untilEnded(port, `GET /health/live HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)

    const server = createServer({ host: '127.0.0.1', port, auth: 'none', env: nodeEnv('error', () => {}) })
    expect([server.port, server.state, await answer('x')]).toEqual([0, 'starting', ''])
    await server.ready()
    expect([server.port, server.state]).toEqual([port, 'ready'])
    expect(await answer('x')).toMatch(/^HTTP\/1\.1 200 /)
    await server.shutdown()
    expect([server.state, await answer('x')]).toEqual(['stopped', ''])
  })

  test('GET /health tells its state, its uptime and its connections', async () => {
    await using server = await startTestServer({ nodeId: 'node-1' })
    await server.connect()
    const response = await fetch(`${server.url.replace('ws', 'http')}/health`)
    expect(await response.json()).toEqual({
      status: 'ok',
      state: 'ready',
      connections: 1,
      in_flight: 0,
      uptime_secs: expect.any(Number),
      uptime: expect.any(Number),
      version: expect.any(String),
      nodeId: 'node-1',
    })
  })
})
