import { LIMITS, type ClientMessage, type ErrorCode } from '@syncline/protocol'
import { memoryStorage } from '@syncline/storage'
import { describe, expect, test } from 'vitest'
import type { ServerOptions } from '../features.ts'
import type { SynclineServer } from '../syncline-server.ts'
import { FakeSocket } from '../testing/fake-socket.ts'
import { GatedStorage, clientOp, opBatch, put, until } from '../testing/harness.ts'
import { startTestServer, type TestClient } from '../testing/test-server.ts'
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

  interface Case {
    readonly limit: string
    readonly max: number
    readonly code: ErrorCode
    readonly options?: ServerOptions
    readonly exceed: (client: TestClient) => void | Promise<void>
  }
  const cases: readonly Case[] = [
    {
      limit: 'queriesPerConnection',
      max: LIMITS.queriesPerConnection,
      code: 'LIMIT_EXCEEDED',
      exceed: times(LIMITS.queriesPerConnection + 1, query),
    },
    {
      limit: 'mapsPerConnection',
      max: LIMITS.mapsPerConnection,
      code: 'LIMIT_EXCEEDED',
      exceed: times(LIMITS.mapsPerConnection + 1, (i) => ({ type: 'SYNC_INIT', mapName: `m${i}`, cursor: null })),
    },
    {
      limit: 'maxResultRows',
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
      limit: 'maxCostPerSecond',
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
  ]

  test.each(cases)(
    '[ER5] $limit: who goes beyond it is told which and how large it is, and is counted',
    async (each) => {
      await using server = await startTestServer(each.options)
      const client = await server.connect()
      expect(refusals(server.server, each.limit)).toBe(0)
      await each.exceed(client)
      const { payload } = await client.take('ERROR')
      expect(payload).toMatchObject({ errorCode: each.code, details: { limit: each.limit, max: each.max } })
      expect(refusals(server.server, each.limit)).toBe(1)
    },
  )

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
    expect(refusals(server.server, 'maxConnections')).toBe(1)
    const slow = new FakeSocket(server.server)
    slow.isStuck = true
    for (let i = 0; i < 100; i++) slow.receive({ type: 'PING', timestamp: i })
    await until(() => slow.closed !== undefined, 'the slow connection to be closed')
    expect(refusals(server.server, 'maxOutboundBytes')).toBe(1)
    await client.settle()
  })
})
