import { connect, type Socket } from 'node:net'
import { once } from 'node:events'
import { LIMITS, type HttpSyncRequest, type HttpSyncResponse, type ServerMessage } from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { defineFeature, type Kernel } from '../../feature.ts'
import { builtInFeatures, type ServerOptions } from '../../features.ts'
import { MovableEnv, SECRET, clientOp, put, tokenOf, until } from '../../testing/harness.ts'
import { startTestServer, type TestServer } from '../../testing/test-server.ts'

const start = (options: ServerOptions = {}): Promise<TestServer> =>
  startTestServer({
    auth: 'jwt',
    jwtSecret: SECRET,
    securityPolicies: [{ role: 'USER', mapNamePattern: '*', actions: ['ALL'] }],
    ...options,
  })

const HEAD = `POST /sync HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${tokenOf('ann')}\r\ncontent-type: application/json\r\n`
const MEGABYTE = Buffer.alloc(1_048_576, 'x')

/** A client that sends before it reads, as many do. */
async function open(server: TestServer): Promise<{ socket: Socket; received: () => string; ended: Promise<unknown> }> {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
  await once(socket, 'connect')
  let text = ''
  socket.on('data', (data: Buffer) => (text += data.toString()))
  socket.pause()
  return { socket, received: () => text, ended: new Promise((resolve) => socket.on('close', resolve)) }
}

/** Sends bytes, and waits until they have left: the server reads them, or there is room on the way. */
function send(socket: Socket, bytes: Buffer | string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(bytes, (error) => (error ? reject(error) : resolve()))
  })
}

/** Everything takes long: whoever looks at the clock finds that it has moved on. */
class SlowEnv extends MovableEnv {
  turns = 0
  #lateMs = 0

  override monotonic(): number {
    return super.monotonic() + (this.#lateMs += 10)
  }

  override endOfTurn(run: () => void): void {
    super.endOfTurn(() => {
      this.turns++
      run()
    })
  }
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

describe('a client that still sends when its request is refused', () => {
  test.each([
    ['announced', `content-length: ${32 * MEGABYTE.length}\r\n\r\n`, (bytes: Buffer): (Buffer | string)[] => [bytes]],
    [
      'not announced',
      'transfer-encoding: chunked\r\n\r\n',
      (bytes: Buffer): (Buffer | string)[] => [`${bytes.length.toString(16)}\r\n`, bytes, '\r\n'],
    ],
  ])('[HS1] sends a body of a length that is %s to its end, and reads 413', async (_, head, chunk) => {
    await using server = await start({ httpSync: { maxBodyBytes: 20_000 } })
    const { socket, received, ended } = await open(server)
    await send(socket, HEAD + head)
    for (let i = 0; i < 32; i++) for (const part of chunk(MEGABYTE)) await send(socket, part)
    if (head.includes('chunked')) await send(socket, '0\r\n\r\n')
    socket.resume()
    await ended
    expect(received()).toMatch(/^HTTP\/1\.1 413 .*"errorCode":"TOO_LARGE"[^]*\}$/s)
    expect(received().toLowerCase()).toContain('connection: close')
    expect(server.server.inspect()['http-sync']?.['bodyBytes']).toBe(0)
  })

  test('[HS1] sends a body without a right to, and reads 401', async () => {
    await using server = await start()
    const { socket, received, ended } = await open(server)
    await send(socket, `POST /sync HTTP/1.1\r\nhost: a\r\ncontent-length: ${16 * MEGABYTE.length}\r\n\r\n`)
    for (let i = 0; i < 16; i++) await send(socket, MEGABYTE)
    socket.resume()
    await ended
    expect(received()).toMatch(/^HTTP\/1\.1 401 .*"errorCode":"UNAUTHORIZED"/s)
  })

  test('INV-22: is not listened to for ever, neither where it never stops nor where it never goes on', async () => {
    const env = new MovableEnv()
    await using server = await start({ env, httpSync: { maxBodyBytes: 20_000 } })
    const endless = await open(server)
    endless.socket.on('error', () => {}).resume()
    let sent = 0
    const flow = (): void => {
      for (; !endless.socket.destroyed && endless.socket.write(MEGABYTE); sent++);
    }
    endless.socket.on('drain', flow)
    endless.socket.write(`${HEAD}content-length: ${1_000 * MEGABYTE.length}\r\n\r\n`)
    flow()
    await endless.ended
    expect(endless.received()).toMatch(/^HTTP\/1\.1 413 /)
    expect(sent).toBeLessThan(200)

    const silent = await open(server)
    silent.socket.resume()
    await send(silent.socket, `${HEAD}content-length: ${MEGABYTE.length}\r\n\r\n`)
    await until(() => silent.received().endsWith('}'), 'the answer')
    expect(silent.socket.closed).toBe(false)
    env.advance(60_000)
    await silent.ended
    expect(silent.received()).toMatch(/^HTTP\/1\.1 413 /)
  })
})

async function post(server: TestServer, body: Partial<HttpSyncRequest>): Promise<HttpSyncResponse> {
  const response = await fetch(`${server.url.replace('ws:', 'http:')}/sync`, {
    method: 'POST',
    headers: { authorization: `Bearer ${tokenOf('ann')}`, 'content-type': 'application/json' },
    body: JSON.stringify({ clientId: 'a', clientHlc: { millis: 1, counter: 0, nodeId: 'a' }, ...body }),
  })
  return (await response.json()) as HttpSyncResponse
}

async function fill(server: TestServer, mapName: string, count: number, size: number): Promise<void> {
  const writer = await server.connect({ token: tokenOf('bob') })
  for (const i of numbers(count)) writer.send(clientOp(put(mapName, `k${i}`, { n: i, text: 'x'.repeat(size) })))
  await writer.settle()
}

describe('a large reply', () => {
  test('[HS3] [HS4] has every row and record once, however many turns it took', async () => {
    await using server = await start({ httpSync: { maxDeltaPages: 100 } })
    await fill(server, 'todos', 3_000, 1_000)
    const { queryResults, deltas, errors } = await post(server, {
      syncMaps: [{ mapName: 'todos' }, { mapName: 'none' }],
      queries: [
        { queryId: 'all', mapName: 'todos', sort: { n: 'asc' } },
        { queryId: 'some', mapName: 'todos', sort: { n: 'desc' }, offset: 700, limit: 1_000 },
      ],
    })
    expect(errors).toEqual([])
    expect(deltas.map(({ records, more }) => [new Set(records.map(({ key }) => key)).size, more])).toEqual([
      [3_000, undefined],
      [0, undefined],
    ])
    const rowsOf = (queryId: string): unknown[] =>
      queryResults
        .find((result) => result.queryId === queryId)
        ?.results.map(({ value }) => (value as { n: number }).n) ?? []
    expect(rowsOf('all')).toEqual(numbers(3_000))
    expect(rowsOf('some')).toEqual(numbers(1_000).map((i) => 2_299 - i))
  })

  test('[HS4] is made a page a turn where pages take long, so that others have their turns in between', async () => {
    const env = new SlowEnv()
    await using server = await start({ env, httpSync: { maxDeltaPages: 100 } })
    await fill(server, 'todos', 5_000, 10)
    await fill(server, 'others', 5_000, 10)
    const before = env.turns
    const { deltas } = await post(server, {
      syncMaps: [{ mapName: 'todos' }, { mapName: 'others' }],
    })
    expect(deltas.map(({ records }) => records.length)).toEqual([5_000, 5_000])
    // Ten pages of each, of which the first few may come at once.
    expect(env.turns - before).toBeGreaterThanOrEqual(12)
  })

  test('[HS3] takes a page of a result a turn where pages take long', async () => {
    const env = new SlowEnv()
    let kernel: Kernel | undefined
    const probe = defineFeature({
      name: 'probe',
      options: z.object({}),
      start: (given) => {
        kernel = given
        return { handlers: {} }
      },
    })
    await using server = await startTestServer({ env, features: [...builtInFeatures, probe] })
    await fill(server, 'todos', 5_000, 10)
    const turns: number[] = []
    let isWhole = false
    const request = kernel?.openRequest({
      remoteAddress: '',
      onMessage: ({ type, payload }: ServerMessage & { readonly payload?: unknown }) => {
        if (type !== 'QUERY_RESP') return
        turns.push(env.turns)
        isWhole = (payload as { readonly more?: boolean }).more !== true
      },
      onClosed: () => {},
    })
    await request?.route({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'todos', query: {} } })
    await until(() => isWhole, 'the last page')
    request?.end()
    expect(turns).toHaveLength(10)
    expect(new Set(turns).size).toBe(10)
  })

  test('INV-22: has no room for more than maxReplyBytes: what is beyond is refused TOO_LARGE, and the rest answered', async () => {
    await using server = await start({ httpSync: { maxReplyBytes: 2 * LIMITS.pageBytes, maxDeltaPages: 100 } })
    await fill(server, 'large', 2_000, 1_000)
    await fill(server, 'small', 10, 10)
    const byQuery = await post(server, {
      queries: [
        { queryId: 'small', mapName: 'small' },
        { queryId: 'large', mapName: 'large' },
        { queryId: 'page', mapName: 'large', limit: 10 },
      ],
    })
    expect(byQuery.queryResults.map(({ queryId, results }) => [queryId, results.length])).toEqual([
      ['small', 10],
      ['page', 10],
    ])
    expect(byQuery.errors).toMatchObject([{ code: 413, errorCode: 'TOO_LARGE', context: 'large' }])
    expect(server.server.inspect()['queries']).toMatchObject({ subscriptions: 0 })
    const byDelta = await post(server, { syncMaps: [{ mapName: 'large' }, { mapName: 'small' }] })
    expect(byDelta.deltas).toHaveLength(1)
    expect(byDelta.deltas[0]).toMatchObject({ mapName: 'large', more: true })
    expect(byDelta.errors).toMatchObject([{ errorCode: 'TOO_LARGE', context: 'small' }])
    const refusals = server.server.metrics().find(({ name }) => name === 'syncline_limit_refusals_total')
    expect(refusals?.values).toMatchObject([{ labels: { limit: 'httpSync.maxReplyBytes' }, value: 2 }])
  })

  test('INV-22: counts among the bytes of bodies until its reader has it', async () => {
    await using server = await start({ httpSync: { maxBodiesBytes: 1_000_000, maxReplyBytes: 67_108_864 } })
    await fill(server, 'todos', 20_000, 1_000)
    const { socket } = await open(server)
    const body = JSON.stringify({
      clientId: 'a',
      clientHlc: { millis: 1, counter: 0, nodeId: 'a' },
      queries: [{ queryId: 'all', mapName: 'todos' }],
    })
    await send(socket, `${HEAD}content-length: ${body.length}\r\n\r\n${body}`)
    await until(() => Number(server.server.inspect()['http-sync']?.['bodyBytes']) > 1_000_000, 'the reply')
    expect(await post(server, {})).toMatchObject({ errorCode: 'OVERLOADED' })
    socket.destroy()
    await until(() => server.server.inspect()['http-sync']?.['bodyBytes'] === 0, 'the end of the reply')
    expect((await post(server, {})).errors).toEqual([])
  })
})
