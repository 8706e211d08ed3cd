import { LIMITS, type ClientMessage, type ErrorCode } from '@syncline/protocol'
import { memoryStorage } from '@syncline/storage'
import { describe, expect, test } from 'vitest'
import type { ServerOptions } from '../features.ts'
import type { SynclineServer } from '../syncline-server.ts'
import { FakeSocket } from '../testing/fake-socket.ts'
import { GatedStorage, clientOp, opBatch, put, until } from '../testing/harness.ts'
import { startTestServer, type TestClient, type TestServer } from '../testing/test-server.ts'
import { MAX_SERIES, Metrics, type Metric } from './metrics.ts'

const valuesOf = (metrics: readonly Metric[], name: string): Metric['values'] =>
  metrics.find((metric) => metric.name === name)?.values ?? []

const refusals = (server: SynclineServer, limit: string): number =>
  valuesOf(server.metrics(), 'syncline_limit_refusals_total').find(({ labels }) => labels['limit'] === limit)?.value ??
  0

describe('metrics', () => {
  test('are plain data, in the order of names: counters grow from 0, gauges are read when they are asked for', () => {
    const metrics = new Metrics()
    let level = 3
    metrics.gauge('tank_level', 'How full it is.', () => level)
    const held = metrics.heldGauge('open_things', 'Things that are open.')
    const counter = metrics.counter('fills_total', 'How often it was filled.')
    const before = metrics.read()
    expect(before.map(({ name, values }) => [name, values])).toEqual([
      ['fills_total', [{ labels: {}, value: 0 }]],
      ['open_things', [{ labels: {}, value: 0 }]],
      ['tank_level', [{ labels: {}, value: 3 }]],
    ])
    counter.add()
    counter.add(4)
    held.add(-2)
    level = 9
    expect(metrics.read().flatMap(({ values }) => values.map(({ value }) => value))).toEqual([5, -2, 9])
    expect(before.flatMap(({ values }) => values.map(({ value }) => value))).toEqual([0, 0, 3])
    expect(JSON.parse(JSON.stringify(before))).toEqual(before)
  })

  test('tell labels apart, whatever characters are in them', () => {
    const counter = new Metrics().labelledCounter('asked_total', 'Asked.', ['map', 'how'])
    counter.of({ map: 'a', how: 'b' }).add()
    counter.of({ how: 'b', map: 'a' }).add()
    counter.of({ map: 'a","b', how: '' }).add()
    expect(counter.all().map(({ labels, value }) => [labels, value])).toEqual([
      [{ map: 'a', how: 'b' }, 2],
      [{ map: 'a","b', how: '' }, 1],
    ])
  })

  test('INV-22: labels that come from outside fill no memory: beyond a number of them all share one', () => {
    const counter = new Metrics().labelledCounter('asked_total', 'Asked.', ['map'])
    for (let i = 0; i < 10_000; i++) counter.of({ map: `m${i}` }).add()
    expect(counter.all()).toHaveLength(MAX_SERIES + 1)
    expect(counter.of({ map: 'm10001' })).toMatchObject({ labels: { map: 'other' }, value: 10_000 - MAX_SERIES })
    expect(counter.of({ map: 'm0' }).value).toBe(1)
  })

  test('have a name of their own and a sentence that says what they are', () => {
    const metrics = new Metrics()
    metrics.counter('asked_total', 'Asked.')
    expect(() => metrics.gauge('asked_total', 'Again.', () => 0)).toThrow('There is a metric asked_total already.')
    expect(() => metrics.counter('Asked-Total', 'Asked.')).toThrow('is no name of a metric')
    expect(() => metrics.counter('told_total', '')).toThrow('needs a sentence')
  })

  test('of the server have names that begin with syncline_, and end in _total where they are counted', async () => {
    await using server = await startTestServer()
    const metrics = server.server.metrics()
    for (const { name, type, help } of metrics) {
      expect(name).toMatch(type === 'counter' ? /^syncline_[a-z_]+_total$/ : /^syncline_[a-z_]+(?<!_total)$/)
      expect(help).toMatch(/^[A-Z].*\.$/)
    }
    expect(metrics.map(({ name }) => name)).toContain('syncline_connections')
  })

  test('say how many connections and live queries there are', async () => {
    await using server = await startTestServer()
    const clients = [await server.connect(), await server.connect()]
    for (const client of clients) client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: {} } })
    for (const client of clients) await client.take('QUERY_RESP')
    const values = new Map(server.server.metrics().map(({ name, values: [first] }) => [name, first?.value]))
    expect(values.get('syncline_connections')).toBe(2)
    expect(values.get('syncline_live_queries')).toBe(1)
    expect(values.get('syncline_live_query_subscriptions')).toBe(2)
  })
})

describe('limits', () => {
  const query = (i: number): ClientMessage => ({
    type: 'QUERY_SUB',
    payload: { queryId: `q${i}`, mapName: 'm', query: { where: { i: { $gte: i } } } },
  })
  const times = (count: number, make: (i: number) => ClientMessage) => (client: TestClient) => {
    for (let i = 0; i < count; i++) client.send(make(i))
  }

  const search = { maps: { notes: { fields: ['text'] }, lists: { fields: ['text'] } } }
  const searching = (subscriptionId: string, text: string) =>
    ({ type: 'SEARCH_SUB', payload: { subscriptionId, mapName: 'notes', query: text } }) as const
  const locking = (name: string, i: number): ClientMessage => ({
    type: 'LOCK_REQUEST',
    payload: { requestId: `r${i}`, name },
  })

  interface Case {
    readonly limit: string
    /** The limit, and by which message it is exceeded, where there are several. */
    readonly by?: string
    readonly max: number
    readonly code: ErrorCode
    readonly options?: ServerOptions
    /** Answers no write while the limit is exceeded. */
    readonly storage?: GatedStorage
    readonly exceed: (client: TestClient, server: TestServer) => void | Promise<void>
  }
  const cases: readonly Case[] = [
    {
      limit: 'queriesPerConnection',
      max: LIMITS.queriesPerConnection,
      code: 'LIMIT_EXCEEDED',
      exceed: times(LIMITS.queriesPerConnection + 1, query),
    },
    ...(['SYNC_INIT', 'ORMAP_SYNC_INIT'] as const).map((type): Case => ({
      limit: 'mapsPerConnection',
      by: type,
      max: LIMITS.mapsPerConnection,
      code: 'LIMIT_EXCEEDED',
      exceed: times(LIMITS.mapsPerConnection + 1, (i) => ({ type, mapName: `m${i}` })),
    })),
    {
      limit: 'queries.maxResultRows',
      max: 1,
      code: 'OVERLOADED',
      options: { queries: { maxResultRows: 1 } },
      async exceed(client) {
        client.send(clientOp(put('m', 'k', { i: 5 })))
        await client.take('OP_ACK')
        times(2, query)(client)
      },
    },
    {
      limit: 'rateLimiting.maxCostPerSecond',
      max: 1,
      code: 'RATE_LIMITED',
      options: { rateLimiting: { maxCostPerSecond: 1, maxCostAtOnce: 1 } },
      exceed: times(3, query),
    },
    {
      limit: 'batchOps',
      max: LIMITS.batchOps,
      code: 'TOO_LARGE',
      exceed: (client) => client.send(opBatch(Array.from({ length: LIMITS.batchOps + 1 }, () => put('m', 'k', 1)))),
    },
    ...(
      [
        ['searchesPerConnection', (i) => searching(`s${i}`, 'milk')],
        ['journalsPerConnection', (i) => ({ type: 'JOURNAL_SUBSCRIBE', requestId: `j${i}` })],
        ['topicsPerConnection', (i) => ({ type: 'TOPIC_SUB', payload: { topic: `t${i}` } })],
        ['roomsPerConnection', (i) => ({ type: 'ROOM_JOIN', payload: { room: `r${i}`, presence: {} } })],
        ['countersPerConnection', (i) => ({ type: 'COUNTER_REQUEST', payload: { name: `c${i}` } })],
      ] as const satisfies [keyof typeof LIMITS, (i: number) => ClientMessage][]
    ).map(([limit, make]): Case => ({
      limit,
      max: LIMITS[limit],
      code: 'LIMIT_EXCEEDED',
      options: { journal: { enabled: true }, search },
      exceed: times(LIMITS[limit] + 1, make),
    })),
    {
      limit: 'locks.maxPerConnection',
      max: 2,
      code: 'LIMIT_EXCEEDED',
      options: { locks: { maxPerConnection: 2 } },
      exceed: times(3, (i) => locking(`l${i}`, i)),
    },
    {
      limit: 'locks.maxWaitersPerLock',
      max: 2,
      code: 'LIMIT_EXCEEDED',
      options: { locks: { maxWaitersPerLock: 2 } },
      async exceed(client, server) {
        // A holder, two who wait, and one too many.
        for (let i = 0; i < 3; i++) {
          const other = await server.connect()
          other.send(locking('l', i))
          await other.settle()
        }
        client.send(locking('l', 9))
      },
    },
    {
      limit: 'rooms.maxMembers',
      max: 1,
      code: 'LIMIT_EXCEEDED',
      options: { rooms: { maxMembers: 1 } },
      async exceed(client, server) {
        const other = await server.connect()
        for (const each of [other, client]) {
          each.send({ type: 'ROOM_JOIN', payload: { room: 'r', presence: {} } })
          await each.settle()
        }
      },
    },
    {
      limit: 'search.maxLiveMatches',
      max: 1,
      code: 'OVERLOADED',
      options: { search: { ...search, maxLiveMatches: 1 } },
      async exceed(client) {
        client.send(clientOp(put('notes', 'a', { text: 'milk bread' })))
        client.send(searching('s1', 'milk'))
        await client.take('SEARCH_RESP')
        client.send(searching('s2', 'bread'))
      },
    },
    {
      limit: 'search.maxIndexedRecords',
      max: 1,
      code: 'OVERLOADED',
      options: { search: { ...search, maxIndexedRecords: 1 } },
      async exceed(client) {
        client.send(opBatch([put('notes', 'a', { text: 'milk' }), put('lists', 'a', { text: 'milk' })]))
        client.send(searching('s1', 'milk'))
        await client.take('SEARCH_RESP')
        client.send({ ...searching('s2', 'milk'), payload: { ...searching('s2', 'milk').payload, mapName: 'lists' } })
      },
    },
    {
      limit: 'waitingWritesPerConnection',
      max: LIMITS.waitingWritesPerConnection,
      code: 'BACKPRESSURE',
      storage: new GatedStorage(memoryStorage(), true),
      exceed: times(LIMITS.waitingWritesPerConnection + 1, (i) =>
        clientOp(put('m', `k${i}`, i, { writeConcern: 'PERSISTED' })),
      ),
    },
    {
      limit: 'valueBytes',
      max: LIMITS.valueBytes,
      code: 'TOO_LARGE',
      exceed: (client) => client.send(clientOp(put('m', 'k', 'x'.repeat(LIMITS.valueBytes)))),
    },
    {
      limit: 'presenceBytes',
      max: LIMITS.presenceBytes,
      code: 'TOO_LARGE',
      exceed: (client) =>
        client.send({
          type: 'ROOM_JOIN',
          payload: { room: 'r', presence: { text: 'x'.repeat(LIMITS.presenceBytes) } },
        }),
    },
  ]

  /** The first refusal that a client is told of, in whatever reply. */
  async function refusal(client: TestClient): Promise<unknown> {
    const found = (): unknown => {
      for (const message of client.inbox) {
        if (message.type === 'ERROR') return message.payload
        const failed = message.type === 'OP_ACK' && message.payload.results.find(({ success }) => !success)
        if (failed !== false && failed !== undefined) return failed
        const isRefusal = message.type === 'LOCK_RELEASED' || message.type === 'SEARCH_RESP'
        if (isRefusal && message.payload.errorCode !== undefined) return message.payload
      }
      return undefined
    }
    await client.until(() => found() !== undefined)
    return found()
  }

  test.each(cases.map((each) => [each.by ?? each.limit, each] as const))(
    '[ER5] INV-22 %s: who goes beyond it is told which and how large it is, and is counted',
    async (_, { limit, max, code, options, storage, exceed }) => {
      await using server = await startTestServer({ ...options, ...(storage === undefined ? {} : { storage }) })
      storage?.hold()
      const client = await server.connect()
      expect(refusals(server.server, limit)).toBe(0)
      await exceed(client, server)
      const refused = (await refusal(client)) as { readonly message?: string; readonly error?: string }
      expect(refused).toMatchObject({ errorCode: code, details: { limit, max } })
      // People read the sentence, not the details.
      if (code === 'LIMIT_EXCEEDED') expect(refused.message ?? refused.error).toContain(String(max))
      expect(refusals(server.server, limit)).toBe(1)
      storage?.release()
    },
  )

  test('[ER5] INV-22: bodies of POST /sync that are too large, or too many at once, are counted', async () => {
    const options = { httpSync: { maxBodyBytes: 2_000, maxBodiesBytes: 1_000 } }
    await using server = await startTestServer(options)
    const post = async (bytes: number): Promise<unknown> => {
      const url = `${server.url.replace('ws:', 'http:')}/sync`
      const response = await fetch(url, { method: 'POST', body: JSON.stringify({ clientId: 'x'.repeat(bytes) }) })
      return response.json()
    }
    const about = (limit: string, max: number): unknown => ({ details: [expect.objectContaining({ limit, max })] })
    expect(await post(3_000)).toMatchObject({
      errorCode: 'TOO_LARGE',
      ...(about('httpSync.maxBodyBytes', 2_000) as object),
    })
    expect(await post(1_500)).toMatchObject({
      errorCode: 'OVERLOADED',
      ...(about('httpSync.maxBodiesBytes', 1_000) as object),
    })
    for (const limit of ['httpSync.maxBodyBytes', 'httpSync.maxBodiesBytes'])
      expect(refusals(server.server, limit)).toBe(1)
  })

  test('[ER5] maxUnstoredBytes: each write beyond it is counted', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    await using server = await startTestServer({ storage, maxUnstoredBytes: 1_000 })
    const client = await server.connect()
    storage.hold()
    client.send(clientOp(put('m', 'large', 'x'.repeat(1_000))))
    await client.take('OP_ACK')
    client.send(opBatch([put('m', 'a', 1), put('m', 'b', 2)]))
    const { results } = (await client.take('OP_ACK')).payload
    const details = { limit: 'maxUnstoredBytes', max: 1_000, retryAfterMs: 1_000 }
    expect(results).toMatchObject([{ details }, { details }])
    expect(refusals(server.server, 'maxUnstoredBytes')).toBe(2)
    storage.release()
  })

  test('maxConnections and maxOutboundBytes, which no message can tell of, are counted', async () => {
    await using server = await startTestServer({ connections: { maxConnections: 1, maxOutboundBytes: 1_000 } })
    const client = await server.connect()
    await expect(server.connect()).rejects.toThrow('503')
    expect(refusals(server.server, 'connections.maxConnections')).toBe(1)
    const slow = new FakeSocket(server.server)
    slow.isStuck = true
    for (let i = 0; i < 100; i++) slow.receive({ type: 'PING', timestamp: i })
    await until(() => slow.closed !== undefined, 'the slow connection to be closed')
    expect(refusals(server.server, 'connections.maxOutboundBytes')).toBe(1)
    await client.settle()
  })
})
