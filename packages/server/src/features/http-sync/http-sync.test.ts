import { createServer as createHttpServer, request } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import type { Stamp, Value } from '@syncline/core'
import {
  decodeValueJson,
  decodeValueMsgpack,
  encodeValueJson,
  encodeValueMsgpack,
  httpBodySchemas,
  type HttpSyncRequest,
  type HttpSyncResponse,
} from '@syncline/protocol'
import { memoryStorage } from '@syncline/storage'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { builtInFeatures, type ServerOptions } from '../../features.ts'
import {
  GatedStorage,
  MovableEnv,
  SECRET,
  clientOp,
  makeToken,
  patch,
  put,
  remove,
  stampAt,
  tokenOf,
  until,
} from '../../testing/harness.ts'
import { startTestServer, type TestServer } from '../../testing/test-server.ts'

const POLICIES: NonNullable<ServerOptions['securityPolicies']> = [
  { role: 'USER', mapNamePattern: 'todos', actions: ['ALL'] },
  { role: 'USER', mapNamePattern: 'people', actions: ['READ'], allowedFields: ['name'] },
  { role: 'WRITER', mapNamePattern: '*', actions: ['ALL'] },
]

const start = (options: ServerOptions = {}): Promise<TestServer> =>
  startTestServer({ auth: 'jwt', jwtSecret: SECRET, securityPolicies: POLICIES, ...options })

interface Call {
  readonly token?: string | null
  readonly format?: 'json' | 'msgpack'
  readonly headers?: Readonly<Record<string, string>>
  readonly method?: string
  readonly raw?: string | Uint8Array
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: HttpSyncResponse & { readonly error?: string; readonly errorCode?: string; readonly details?: unknown }
}

const HLC: Stamp = { millis: 1_706_000_000_000, counter: 0, nodeId: 'client-1' }

async function post(
  server: TestServer,
  body: Partial<HttpSyncRequest> | Readonly<Record<string, unknown>>,
  { token = tokenOf('ann'), format = 'json', headers = {}, method = 'POST', raw }: Call = {},
): Promise<Answer> {
  const whole = { clientId: 'client-1', clientHlc: HLC, ...body } as unknown as Value
  const encoded = raw ?? (format === 'json' ? encodeValueJson(whole) : encodeValueMsgpack(whole))
  const response = await fetch(`${server.url.replace('ws:', 'http:')}/sync`, {
    method,
    headers: {
      'content-type': format === 'json' ? 'application/json' : 'application/x-msgpack',
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...headers,
    },
    ...(method === 'GET' ? {} : { body: encoded as string }),
  })
  const bytes = new Uint8Array(await response.arrayBuffer())
  const isJson = response.headers.get('content-type')?.includes('json') === true
  const decoded = isJson ? decodeValueJson(new TextDecoder().decode(bytes)) : decodeValueMsgpack(bytes)
  if (!decoded.ok) throw new Error('The reply cannot be decoded')
  const answer = { status: response.status, headers: response.headers, body: decoded.value as Answer['body'] }
  if (response.status === 200) expect(httpBodySchemas.HttpSyncResponse.safeParse(answer.body).error).toBeUndefined()
  return answer
}

const keysOf = ({ body }: Answer): string[] => body.deltas.flatMap(({ records }) => records.map(({ key }) => key))

describe('the example of the documents', () => {
  test('[HS1] [HS2] is answered in the shape that they show, empty lists included', async () => {
    await using server = await start()
    const other = await server.connect({ token: tokenOf('bob') })
    other.send(clientOp(put('todos', 't2', { text: 'Walk the dog' }, { stamp: stampAt(1_706_000_000_500) })))
    await other.take('OP_ACK')
    const { status, headers, body } = await post(server, {
      operations: [
        {
          mapName: 'todos',
          key: 't1',
          record: {
            value: { text: 'Buy milk' },
            timestamp: { millis: 1_706_000_000_000, counter: 1, nodeId: 'client-1' },
          },
        },
      ],
      syncMaps: [{ mapName: 'todos', lastSyncTimestamp: { millis: 1_705_999_000_000, counter: 0, nodeId: '' } }],
    })
    expect(status).toBe(200)
    expect(headers.get('content-type')).toMatch(/^application\/json/)
    expect(body).toMatchObject({
      serverHlc: { millis: expect.any(Number) },
      ack: {
        lastId: 'http-op-0',
        results: [{ opId: 'http-op-0', success: true, achievedLevel: 'MEMORY', latencyMs: 0 }],
      },
      queryResults: [],
      searchResults: [],
      errors: [],
    })
    expect(body.deltas).toHaveLength(1)
    // What the request itself wrote does not come back to it.
    expect(body.deltas[0]?.records).toMatchObject([
      { key: 't2', eventType: 'PUT', record: { value: { text: 'Walk the dog' } } },
    ])
    expect(body.deltas[0]?.serverSyncTimestamp.millis).toBeGreaterThan(1_706_000_000_000)
  })

  test('is told to whoever follows the map over a socket, and stored as any write', async () => {
    const storage = memoryStorage()
    await using server = await start({ storage })
    const follower = await server.connect({ token: tokenOf('bob') })
    follower.send({ type: 'SYNC_INIT', mapName: 'todos', cursor: null })
    await follower.take('SYNC_DIFF')
    await post(server, { operations: [put('todos', 't1', { text: 'Buy milk' })] })
    expect((await follower.take('SERVER_EVENT')).payload).toMatchObject({
      key: 't1',
      record: { value: { text: 'Buy milk' } },
    })
  })
})

describe('deltas', () => {
  test('[HS4] bring a late write with an old stamp to every poller once, and not again', async () => {
    await using server = await start()
    const first = await post(server, { operations: [put('todos', 'a', 1)], syncMaps: [{ mapName: 'todos' }] })
    const since = first.body.deltas[0]?.serverSyncTimestamp as Stamp
    const late = put('todos', 'late', 'offline for years', { stamp: stampAt(1_000_000_000_000) })
    await post(server, { operations: [late] })
    const second = await post(server, { syncMaps: [{ mapName: 'todos', lastSyncTimestamp: since }] })
    expect(keysOf(second)).toEqual(['late'])
    const third = await post(server, {
      syncMaps: [{ mapName: 'todos', lastSyncTimestamp: second.body.deltas[0]?.serverSyncTimestamp as Stamp }],
    })
    expect(keysOf(third)).toEqual([])
    expect(third.body.deltas).toHaveLength(1)
  })

  test('name each record once, in its latest state, removals as REMOVE', async () => {
    await using server = await start()
    const writer = await server.connect({ token: tokenOf('bob') })
    for (const op of [
      put('todos', 'a', { n: 1 }),
      put('todos', 'b', { n: 1 }),
      patch('todos', 'a', { n: 2 }),
      remove('todos', 'b'),
    ])
      writer.send(clientOp(op))
    await writer.settle()
    const { body } = await post(server, { syncMaps: [{ mapName: 'todos', lastSyncTimestamp: 0 }] })
    expect(body.deltas[0]?.records).toMatchObject([
      { key: 'a', eventType: 'PUT', record: { value: { n: 2 } } },
      { key: 'b', eventType: 'REMOVE', record: { value: null } },
    ])
  })

  test('of many records come in as many replies as they need, none lost and none twice', async () => {
    await using server = await start({ httpSync: { maxDeltaPages: 2 } })
    const writer = await server.connect({ token: tokenOf('bob') })
    for (let i = 0; i < 2_500; i++) writer.send(clientOp(put('todos', `k${i}`, i)))
    await writer.settle()
    const seen: string[] = []
    let since: Stamp | number = 0
    const sizes: number[] = []
    for (;;) {
      const answer: Answer = await post(server, { syncMaps: [{ mapName: 'todos', lastSyncTimestamp: since }] })
      const [delta] = answer.body.deltas
      seen.push(...keysOf(answer))
      sizes.push(keysOf(answer).length)
      since = delta?.serverSyncTimestamp as Stamp
      if (delta?.more !== true) break
    }
    expect(sizes).toEqual([1_000, 1_000, 500])
    expect(new Set(seen).size).toBe(2_500)
    expect(seen).toHaveLength(2_500)
  })

  test('INV-13: nothing that is committed between two polls of a racing writer is missed', async () => {
    await using server = await start()
    const writer = await server.connect({ token: tokenOf('bob') })
    const seen = new Set<string>()
    let since: Stamp | number = 0
    const poll = async (): Promise<void> => {
      const answer: Answer = await post(server, { syncMaps: [{ mapName: 'todos', lastSyncTimestamp: since }] })
      for (const key of keysOf(answer)) seen.add(key)
      since = answer.body.deltas[0]?.serverSyncTimestamp as Stamp
    }
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 25; i++)
        writer.send(clientOp(put('todos', `k${round}-${i}`, i, { stamp: stampAt(1_000 + i) })))
      await poll()
    }
    await writer.settle()
    await poll()
    expect(seen.size).toBe(1_000)
  })

  test('may be asked for from milliseconds, which brings what arrived in that millisecond again', async () => {
    await using server = await start()
    await post(server, { operations: [put('todos', 'a', 1)] })
    const { body } = await post(server, { syncMaps: [{ mapName: 'todos' }] })
    const moment = body.deltas[0]?.serverSyncTimestamp.millis as number
    await until(() => Date.now() > moment + 2, 'the clock')
    await post(server, { operations: [put('todos', 'b', 1)] })
    expect(keysOf(await post(server, { syncMaps: [{ mapName: 'todos', lastSyncTimestamp: moment + 1 }] }))).toEqual([
      'b',
    ])
  })

  test('from the future are refused INVALID_CURSOR and do no harm', async () => {
    await using server = await start()
    await post(server, { operations: [put('todos', 'a', 1)] })
    const ahead = { millis: Date.now() + 3_600_000, counter: 0, nodeId: 'x' }
    const answer = await post(server, { syncMaps: [{ mapName: 'todos', lastSyncTimestamp: ahead }] })
    expect(answer.status).toBe(200)
    expect(answer.body.deltas).toEqual([])
    expect(answer.body.errors).toMatchObject([{ code: 400, errorCode: 'INVALID_CURSOR', context: 'todos' }])
    const serverHlc = (await post(server, {})).body.serverHlc
    expect(Math.abs(serverHlc.millis - Date.now())).toBeLessThan(60_000)
  })

  test('[HS4] INV-12: after deletions were forgotten, an old poller begins anew, once, and holds what there is', async () => {
    const env = new MovableEnv()
    const connections = { idleTimeout: 2_147_000_000 }
    await using server = await startTestServer({ env, connections, httpSync: { maxDeltaPages: 1 } })
    const writer = await server.connect()
    const stamp = (): Stamp => stampAt(env.now())
    for (let i = 0; i < 1_200; i++) writer.send(clientOp(put('todos', `k${i}`, i, { stamp: stamp() })))
    await writer.settle()
    const held = new Set<string>()
    let since: Stamp | number = 0
    let resets = 0
    const catchUp = async (): Promise<void> => {
      for (let polls = 0; polls < 10; polls++) {
        const answer: Answer = await post(server, { syncMaps: [{ mapName: 'todos', lastSyncTimestamp: since }] })
        const delta = answer.body.deltas[0] as HttpSyncResponse['deltas'][number]
        if (delta.reset === true) {
          resets++
          held.clear()
        }
        for (const { key, eventType } of delta.records) {
          if (eventType === 'PUT') held.add(key)
          else held.delete(key)
        }
        since = delta.serverSyncTimestamp
        if (delta.more !== true) return
      }
      throw new Error('The poller never gets to the end')
    }
    await catchUp()
    expect([held.size, resets]).toEqual([1_200, 0])
    for (const key of ['k7', 'k1100']) writer.send(clientOp(remove('todos', key, { stamp: stamp() })))
    await writer.settle()
    env.sleep(31 * 86_400_000)
    for (let i = 0; i < 4; i++) {
      env.advance(60_000)
      await writer.settle()
    }
    await catchUp()
    expect([held.size, resets]).toEqual([1_198, 1])
    await catchUp()
    expect([held.size, resets]).toEqual([1_198, 1])
  })

  test('[HS4] SYNC_DELTA gives the same over a socket', async () => {
    await using server = await start()
    const client = await server.connect({ token: tokenOf('ann'), encoding: 'msgpack' })
    client.send(clientOp(put('todos', 'a', 1)))
    client.send({ type: 'SYNC_DELTA', payload: { mapName: 'todos' }, requestId: 'd1' })
    const { payload, requestId } = await client.take('SYNC_DELTA_RESP')
    expect(requestId).toBe('d1')
    expect(payload.records).toMatchObject([{ key: 'a', eventType: 'PUT' }])
    client.send({
      type: 'SYNC_DELTA',
      payload: { mapName: 'todos', lastSyncTimestamp: payload.serverSyncTimestamp },
    })
    expect((await client.take('SYNC_DELTA_RESP')).payload.records).toEqual([])
  })
})

describe('queries', () => {
  test('[HS3] are answered once, with limit, offset and an exact hasMore', async () => {
    await using server = await start()
    await post(server, {
      operations: Array.from({ length: 10 }, (_, i) => put('todos', `k${i}`, { n: i, even: i % 2 === 0 })),
    })
    const { body } = await post(server, {
      queries: [
        { queryId: 'all', mapName: 'todos', filter: { even: true } },
        { queryId: 'page', mapName: 'todos', filter: { n: { $gte: 2 } }, sort: { n: 'desc' }, limit: 3, offset: 2 },
        { queryId: 'rest', mapName: 'todos', filter: {}, sort: { n: 'asc' }, limit: 5, offset: 5 },
        { queryId: 'all', mapName: 'todos', filter: { n: 1 } },
      ],
    })
    expect(
      body.queryResults.map(({ queryId, hasMore, results }) => [queryId, hasMore, results.map(({ key }) => key)]),
    ).toEqual([
      ['all', false, ['k0', 'k2', 'k4', 'k6', 'k8']],
      ['page', true, ['k7', 'k6', 'k5']],
      ['rest', false, ['k5', 'k6', 'k7', 'k8', 'k9']],
      ['all', false, ['k1']],
    ])
    expect(server.server.inspect()['queries']).toMatchObject({ subscriptions: 0 })
  })

  test('that cannot be answered are errors[] of their own', async () => {
    await using server = await start()
    const { status, body } = await post(server, {
      queries: [
        { queryId: 'bad', mapName: 'todos', filter: { n: { $near: 1 } } },
        { queryId: 'good', mapName: 'todos', filter: {} },
      ],
    })
    expect(status).toBe(200)
    expect(body.errors).toMatchObject([{ code: 400, errorCode: 'BAD_QUERY', context: 'bad' }])
    expect(body.queryResults).toMatchObject([{ queryId: 'good', results: [] }])
  })
})

test('[HS3] a search is answered once, and one that cannot be is an error of its own', async () => {
  await using server = await start({ search: { maps: { todos: { fields: ['text'] } } } })
  await post(server, {
    operations: [put('todos', 'a', { text: 'Buy milk' }), put('todos', 'b', { text: 'Walk the dog' })],
  })
  const { body } = await post(server, {
    searches: [
      { searchId: 's1', mapName: 'todos', query: 'milk' },
      { requestId: 's2', mapName: 'people', query: 'ann' },
    ] as never,
  })
  expect(body.searchResults).toMatchObject([
    { searchId: 's1', totalCount: 1, results: [{ key: 'a', value: { text: 'Buy milk' } }] },
  ])
  expect(body.errors).toMatchObject([{ context: 's2' }])
})

describe('operations', () => {
  test('[HS5] of one request are judged each by itself, in order, under their own id or http-op-<index>', async () => {
    await using server = await start()
    const { status, body } = await post(server, {
      operations: [
        put('todos', 'a', 1),
        put('secret', 'b', 1),
        { mapName: 'todos', key: '' },
        'no op',
        put('todos', 'c', 1, { id: 'mine' }),
      ],
    })
    expect(status).toBe(200)
    expect(body.ack?.lastId).toBe('mine')
    expect(body.ack?.results.map(({ opId, success }) => [opId, success])).toEqual([
      ['http-op-0', true],
      ['http-op-1', false],
      ['http-op-2', false],
      ['http-op-3', false],
      ['mine', true],
    ])
    expect(body.errors.map(({ errorCode, context }) => [errorCode, context])).toEqual([
      ['FORBIDDEN', 'secret/b'],
      ['BAD_KEY', 'todos/'],
      ['VALIDATION_ERROR', 'operations'],
    ])
  })

  test('INV-1: a PERSISTED operation is answered when it is stored, and refused where there is no storage', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    await using server = await start({ storage })
    await post(server, {})
    storage.hold()
    let isAnswered = false
    const answer = post(server, { operations: [put('todos', 'a', 1, { writeConcern: 'PERSISTED' })] })
    void answer.then(() => (isAnswered = true))
    const probe = await post(server, { operations: [put('todos', 'b', 1)] })
    expect(probe.body.ack?.results).toMatchObject([{ success: true, achievedLevel: 'MEMORY' }])
    expect(isAnswered).toBe(false)
    storage.release()
    expect((await answer).body.ack?.results).toMatchObject([{ success: true, achievedLevel: 'PERSISTED' }])

    await using memory = await start()
    const refused = await post(memory, { operations: [put('todos', 'a', 1, { writeConcern: 'PERSISTED' })] })
    expect(refused.body.ack?.results).toMatchObject([{ success: false, errorCode: 'WRITE_CONCERN_UNAVAILABLE' }])
  })

  test('INV-2: without a wish to be answered they are not, and are applied', async () => {
    await using server = await start()
    const { body } = await post(server, { operations: [put('todos', 'a', 1, { writeConcern: 'FIRE_AND_FORGET' })] })
    expect(body.ack).toEqual({ lastId: 'http-op-0', results: [] })
    expect(keysOf(await post(server, { syncMaps: [{ mapName: 'todos' }] }))).toEqual(['a'])
  })

  test('sent again count once', async () => {
    await using server = await start()
    const operations = [put('todos', 'a', 1)]
    const first = await post(server, { operations })
    const again = await post(server, { operations })
    expect(again.body.ack?.results[0]).toMatchObject({ success: true, seq: first.body.ack?.results[0]?.seq })
  })
})

describe('INV-21: whoever may not', () => {
  test.each([
    ['without a token', null, /Bearer/],
    ['with a token that is none', 'x.y.z', /jwt/],
    ['with an expired token', makeToken({ sub: 'ann', exp: 1 }), /expired/],
    [
      'with a token of another key',
      makeToken({ sub: 'ann' }, { secret: 'another secret of at least 32 letters' }),
      /signature/,
    ],
  ])('%s is answered 401 before the body is looked at', async (_, token, why) => {
    await using server = await start()
    const answer = await post(server, {}, { token, raw: 'no json' })
    expect(answer.status).toBe(401)
    expect(answer.headers.get('www-authenticate')).toBe('Bearer')
    expect(answer.body).toMatchObject({ code: 401, errorCode: 'UNAUTHORIZED', error: expect.stringMatching(why) })
  })

  test('with a token that has expired since it was last accepted is answered 401', async () => {
    const env = new MovableEnv()
    await using server = await start({ env })
    const token = makeToken({ sub: 'ann', exp: Math.floor(env.now() / 1_000) + 60 })
    expect((await post(server, {}, { token })).status).toBe(200)
    env.sleep(61_000)
    expect((await post(server, {}, { token })).status).toBe(401)
  })

  test('[HS6] do anything of it is answered 403 with the whole reply, and a part of it 200 with errors', async () => {
    await using server = await start()
    const all = await post(server, {
      operations: [put('secret', 'a', 1)],
      syncMaps: [{ mapName: 'secret' }],
      queries: [{ queryId: 'q', mapName: 'secret', filter: {} }],
    })
    expect(all.status).toBe(403)
    expect(all.body).toMatchObject({ deltas: [], queryResults: [], ack: { results: [{ success: false }] } })
    expect(all.body.errors.map(({ code, context }) => [code, context])).toEqual([
      [403, 'secret/a'],
      [403, 'secret'],
      [403, 'q'],
    ])
    const part = await post(server, { operations: [put('secret', 'a', 1), put('todos', 'a', 1)] })
    expect(part.status).toBe(200)
    expect(part.body.errors).toMatchObject([{ code: 403 }])
  })

  test('see a field is not shown it, in deltas or in queries', async () => {
    await using server = await start()
    const writer = await server.connect({ token: tokenOf('root', 'WRITER') })
    writer.send(clientOp(put('people', 'p', { name: 'Ann', salary: 'CANARY' })))
    writer.send(clientOp(patch('people', 'p', { salary: 'CANARY 2' })))
    writer.send(clientOp(put('people', 'text', 'CANARY 3')))
    await writer.settle()
    const answer = await post(server, {
      syncMaps: [{ mapName: 'people' }],
      queries: [
        { queryId: 'q', mapName: 'people', filter: {} },
        { queryId: 'hidden', mapName: 'people', filter: { salary: 'CANARY 2' } },
      ],
    })
    expect(JSON.stringify(answer.body)).not.toContain('CANARY')
    expect(keysOf(answer)).toEqual(['p', 'text'])
  })
})

describe('formats', () => {
  test.each(['json', 'msgpack'] as const)('[HS1] %s in, %s out, bytes in values included', async (format) => {
    await using server = await start()
    const bytes = Uint8Array.of(0, 1, 255)
    await post(server, { operations: [put('todos', 'a', { bytes })] }, { format })
    const { headers, body } = await post(server, { syncMaps: [{ mapName: 'todos' }] }, { format })
    expect(headers.get('content-type')).toContain(format === 'json' ? 'application/json' : 'application/x-msgpack')
    expect(body.deltas[0]?.records[0]?.record.value).toEqual({ bytes })
  })

  test('[HS1] in MessagePack may have either name, and the reply has the same', async () => {
    await using server = await start()
    for (const type of ['application/x-msgpack', 'application/msgpack']) {
      const answer = await post(server, {}, { format: 'msgpack', headers: { 'content-type': type } })
      expect([answer.status, answer.headers.get('content-type')]).toEqual([200, type])
      const asked = await post(server, {}, { headers: { accept: type } })
      expect([asked.status, asked.headers.get('content-type')]).toEqual([200, type])
    }
  })

  test('without a content type are found out, and Accept is honoured', async () => {
    await using server = await start()
    for (const type of ['application/octet-stream', '']) {
      const answer = await post(server, {}, { format: 'msgpack', headers: { 'content-type': type } })
      expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/x-msgpack'])
    }
    const answer = await post(server, {}, { format: 'msgpack', headers: { accept: 'application/json' } })
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/)
  })
})

describe('bad input', () => {
  const operations = [put('todos', 'a', 1)] as unknown as Value
  const BODY = encodeValueJson({ clientId: 'a', clientHlc: { ...HLC }, operations })

  test.each([
    ['no JSON', 'no json', 'PARSE_ERROR', undefined],
    ['a list', '[]', 'INVALID_REQUEST', undefined],
    ['no clientId', '{"clientHlc":{"millis":1,"counter":0,"nodeId":"a"}}', 'VALIDATION_ERROR', 'clientId'],
    ['no clientHlc', '{"clientId":"a"}', 'VALIDATION_ERROR', 'clientHlc'],
    ['a map without a name', { syncMaps: [{}] }, 'VALIDATION_ERROR', 'syncMaps[0].mapName'],
    [
      'a moment that is none',
      { syncMaps: [{ mapName: 'a', lastSyncTimestamp: -1 }] },
      'VALIDATION_ERROR',
      'syncMaps[0].lastSyncTimestamp',
    ],
    ['queries that are no list', { queries: {} }, 'VALIDATION_ERROR', 'queries'],
    [
      'a limit below 0',
      { queries: [{ queryId: 'q', mapName: 'm', filter: {}, limit: -1 }] },
      'VALIDATION_ERROR',
      'queries[0].limit',
    ],
    [
      'a search without a text',
      { searches: [{ searchId: 's', mapName: 'm' }] },
      'VALIDATION_ERROR',
      'searches[0].query',
    ],
  ])('%s is answered 400 with code and place', async (_, body, errorCode, path) => {
    await using server = await start()
    const answer = typeof body === 'string' ? await post(server, {}, { raw: body }) : await post(server, body)
    expect(answer.status).toBe(400)
    expect(answer.body).toMatchObject({ code: 400, errorCode, ...(path === undefined ? {} : { details: [{ path }] }) })
  })

  test('too many parts or bytes are answered 413, another method 405', async () => {
    await using server = await start({ httpSync: { maxBodyBytes: 20_000 } })
    const maps = Array.from({ length: 101 }, (_, i) => ({ mapName: `m${i}` }))
    expect((await post(server, { syncMaps: maps })).status).toBe(413)
    const large = await post(server, { operations: [put('todos', 'a', 'x'.repeat(30_000))] })
    expect([large.status, large.body.errorCode]).toEqual([413, 'TOO_LARGE'])
    const get = await post(server, {}, { method: 'GET' })
    expect([get.status, get.headers.get('allow')]).toEqual([405, 'POST'])
  })

  test('INV-22: bodies beyond what all may hold together are refused OVERLOADED with a time to retry', async () => {
    await using server = await start({ httpSync: { maxBodiesBytes: 1_000 } })
    const answer = await post(server, { operations: [put('todos', 'a', 'x'.repeat(2_000))] })
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1'])
    expect((await post(server, {})).status).toBe(200)
  })

  test('INV-22: a body that does not say how long it is is refused as soon as it is too long, and not kept', async () => {
    await using server = await start({ httpSync: { maxBodyBytes: 20_000 } })
    const status = await new Promise((resolve, reject) => {
      const outgoing = request(`${server.url.replace('ws:', 'http:')}/sync`, {
        method: 'POST',
        headers: { authorization: `Bearer ${tokenOf('ann')}` },
      })
      outgoing.on('error', reject).on('response', (answer) => {
        resolve(answer.statusCode)
        outgoing.destroy()
      })
      // One byte too many, and no end: what came is refused with its last byte, so that none is left unread.
      outgoing.write(Buffer.alloc(20_001, 'x'))
    })
    expect(status).toBe(413)
    expect(server.server.inspect()['http-sync']?.['bodyBytes']).toBe(0)
    expect((await post(server, {})).status).toBe(200)
  })

  test.each([
    ['a body', [' '.repeat(20_001), BODY]],
    ['the rest of one', [BODY, ' '.repeat(20_001)]],
  ])('INV-22: %s that comes after a refusal is neither counted nor served', async (_, chunks) => {
    await using server = await start({ httpSync: { maxBodyBytes: 20_000 } })
    // In one piece, so that all of it has arrived when a part is refused.
    const frames = [...chunks, ' '.repeat(20_001), ''].map((text) => `${text.length.toString(16)}\r\n${text}\r\n`)
    const socket = connect(server.server.port, '127.0.0.1')
    socket.end(
      `POST /sync HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${tokenOf('ann')}\r\ntransfer-encoding: chunked\r\n\r\n${frames.join('')}`,
    )
    const answers = (await socket.toArray()).join('').match(/HTTP\/1\.1 \d+/g)
    expect(answers).toEqual(['HTTP/1.1 413'])
    const refusals = server.server.metrics().find(({ name }) => name === 'syncline_limit_refusals_total')
    expect(refusals?.values).toEqual([{ labels: { limit: 'httpSync.maxBodyBytes' }, value: 1 }])
    expect(server.server.inspect()['http-sync']?.['bodyBytes']).toBe(0)
    expect(keysOf(await post(server, { syncMaps: [{ mapName: 'todos' }] }))).toEqual([])
  })

  test('what requests of one user cost adds up, whatever session each has', async () => {
    await using server = await start({ rateLimiting: { maxCostPerSecond: 10, maxCostAtOnce: 300 } })
    await post(server, { operations: Array.from({ length: 200 }, (_, i) => put('todos', `k${i}`, i)) })
    const poll = (user: string): Promise<Answer> =>
      post(server, { syncMaps: [{ mapName: 'todos' }] }, { token: tokenOf(user) })
    expect((await poll('ann')).status).toBe(200)
    expect((await poll('ann')).status).toBe(200)
    const third = await poll('ann')
    expect(third.status).toBe(429)
    expect(third.body.errors).toMatchObject([{ errorCode: 'RATE_LIMITED' }])
    expect((await poll('bob')).status).toBe(200)
  })

  test('a client that goes away in the middle leaves nothing behind', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    await using server = await start({ storage })
    await post(server, {})
    storage.hold()
    const controller = new AbortController()
    const gone = fetch(`${server.url.replace('ws:', 'http:')}/sync`, {
      method: 'POST',
      signal: controller.signal,
      headers: { authorization: `Bearer ${tokenOf('ann')}`, 'content-type': 'application/json' },
      body: encodeValueJson({
        clientId: 'a',
        clientHlc: { ...HLC },
        operations: [put('todos', 'a', 1, { writeConcern: 'PERSISTED' }) as unknown as Value],
        queries: [{ queryId: 'q', mapName: 'todos', filter: {} }],
      }),
    }).catch((error: unknown) => error)
    await until(() => server.server.inspect()['queries']?.['subscriptions'] === 1, 'the query')
    controller.abort()
    await gone
    await until(() => server.server.inspect()['queries']?.['subscriptions'] === 0, 'its end')
    await until(() => server.server.inspect()['http-sync']?.['bodyBytes'] === 0, 'the body to be forgotten')
    storage.release()
    expect(keysOf(await post(server, { syncMaps: [{ mapName: 'todos' }] }))).toEqual(['a'])
  })
})

test('an open server takes requests without a token', async () => {
  await using server = await startTestServer()
  const { status, body } = await post(server, { operations: [put('any', 'a', 1)] }, { token: null })
  expect([status, body.ack?.results[0]?.success]).toEqual([200, true])
})

test('an existing HTTP server hands the request over', async () => {
  await using server = await start({ listen: false })
  const http = createHttpServer((request, response) => {
    if (!server.server.handle(request, response)) response.writeHead(404).end()
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const url = `ws://127.0.0.1:${(http.address() as AddressInfo).port}`
  const answer = await post({ ...server, url }, { operations: [put('todos', 'a', 1)] })
  expect(answer.body.ack?.results).toMatchObject([{ success: true }])
  await new Promise((resolve) => http.close(resolve))
})

test('a body that something else has read before is answered at once, with what to do', async () => {
  await using server = await start()
  const http = createHttpServer((request, response) => {
    // As a parser of bodies does that comes before.
    void request.toArray().then(() => server.server.handle(request, response))
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const url = `ws://127.0.0.1:${(http.address() as AddressInfo).port}`
  const answer = await post({ ...server, url }, { operations: [put('todos', 'a', 1)] })
  expect(answer).toMatchObject({ status: 500, body: { errorCode: 'INTERNAL_ERROR' } })
  expect(answer.body.error).toContain('call handle() before what parses bodies')
  await new Promise((resolve) => http.close(resolve))
})

test('a handler that fails is answered 500, and costs nobody else anything', async () => {
  const broken = defineFeature({
    name: 'broken',
    options: z.object({}),
    start: () => ({
      handlers: {
        SYNC_DELTA: {
          handle: () => {
            throw new Error('out of order')
          },
        },
      },
    }),
  })
  await using server = await start({ features: [...builtInFeatures, broken] })
  const answer = await post(server, { syncMaps: [{ mapName: 'todos' }] })
  expect(answer.status).toBe(500)
  expect(answer.body).toMatchObject({ code: 500, errorCode: 'INTERNAL_ERROR' })
  expect(JSON.stringify(answer.body)).not.toContain('out of order')
  expect((await post(server, { operations: [put('todos', 'a', 1)] })).status).toBe(200)
})
