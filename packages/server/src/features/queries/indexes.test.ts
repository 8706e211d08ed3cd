import {
  compareForOrder,
  compareKeys,
  fieldReader,
  orderRank,
  valuesEqual,
  wholeWrite,
  type FieldBound,
  type Value,
} from '@syncline/core'
import { indexesOf } from '@syncline/protocol/contract'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FakeSocket } from '../../testing/fake-socket.ts'
import { MovableEnv, SECRET, opBatch, put, tokenOf } from '../../testing/harness.ts'
import { startTestServer, type TestClient, type TestServer } from '../../testing/test-server.ts'
import { WritableMap } from '../../store/writable-map.ts'
import { FieldIndex } from './field-index.ts'

const scalar = fc.oneof(fc.integer({ min: 0, max: 5 }), fc.constantFrom<Value>('a', 'b', true, null, [1], { x: 1 }))
const value: fc.Arbitrary<Value> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ a: scalar, b: scalar }, { requiredKeys: [] }) as fc.Arbitrary<Value> },
  { weight: 1, arbitrary: fc.constantFrom<Value>(null, 'text') },
)

class Filled {
  readonly map = new WritableMap('m')
  #seq = 0

  write(key: string, written: Value): void {
    const stamp = { millis: ++this.#seq, counter: 0, nodeId: 'n' }
    const record = wholeWrite(written, stamp)
    const entry = this.map.entriesByKey.get(key) ?? this.map.blank(key, record, stamp)
    this.map.advance(entry, record, this.#seq, stamp)
  }

  /** Keys of rows that are not removed, as the index of a field has them. */
  sorted(path: string | undefined): { key: string; field: Value | undefined }[] {
    const read = path === undefined ? () => undefined : fieldReader(path)
    return [...this.map.entriesByKey.values()]
      .filter(({ record }) => record.value !== null)
      .map(({ key, record }) => ({ key, field: read(record.value) }))
      .sort((a, b) => compareForOrder(a.field, b.field) || compareKeys(a.key, b.key))
  }
}

test('an index is what its map holds in order, after whatever changes, while it is made and after', () => {
  const writes = fc.array(fc.tuple(fc.integer({ min: 0, max: 2_000 }), value), { maxLength: 800 })
  const ordered = fc.oneof(fc.integer({ min: 0, max: 5 }), fc.constantFrom('a', 'b', true))
  const range = fc.record({ min: ordered, max: ordered }, { requiredKeys: [] })
  fc.assert(
    fc.property(
      writes,
      fc.nat(),
      fc.array(range, { maxLength: 4 }),
      scalar,
      fc.constantFrom('a', undefined),
      (all, at, ranges, equals, path) => {
        const filled = new Filled()
        const begun = all.length === 0 ? 0 : at % all.length
        for (const [key, each] of all.slice(0, begun)) filled.write(`k${key}`, each)
        const index = new FieldIndex(filled.map, path)
        let next = begun
        while (!index.isReady) {
          index.step()
          const write = all[next++]
          if (write !== undefined) filled.write(`k${write[0]}`, write[1])
        }
        for (const [key, each] of all.slice(next)) {
          filled.write(`k${key}`, each)
          if (key % 7 === 0) index.refresh()
        }
        index.refresh()
        const expected = filled.sorted(path)
        expect(index.size).toBe(expected.length)
        expect([...index.walk(1)].map(({ row }) => row.key)).toEqual(expected.map(({ key }) => key))
        const reversed = expected.toSorted((a, b) => compareForOrder(b.field, a.field) || compareKeys(a.key, b.key))
        expect([...index.walk(-1)].map(({ row }) => row.key)).toEqual(reversed.map(({ key }) => key))
        const from = expected[Math.floor(expected.length / 2)]
        if (from !== undefined) {
          for (const [sign, rows] of [
            [1, expected],
            [-1, reversed],
          ] as const) {
            const walked = [...index.walk(sign, { value: from.field, key: from.key })].map(({ row }) => row.key)
            expect(walked).toEqual(rows.slice(rows.findIndex(({ key }) => key === from.key)).map(({ key }) => key))
          }
        }
        if (path === undefined) return
        const bounds: FieldBound[] = [{ path, equals }]
        for (const each of ranges) {
          if (each.min === undefined && each.max === undefined) continue
          if (each.min !== undefined && each.max !== undefined && orderRank(each.min) !== orderRank(each.max)) continue
          bounds.push({ path, ...each })
        }
        for (const bound of bounds) {
          const found = new Set<{ readonly key: string }>()
          index.collect(bound, found as never)
          const meets = (field: Value | undefined): boolean => {
            if ('equals' in bound) return compareForOrder(field, bound.equals) === 0
            if (orderRank(field) !== orderRank(bound.min ?? bound.max)) return false
            const { min = field, max = field } = bound
            return compareForOrder(field, min) >= 0 && compareForOrder(field, max) <= 0
          }
          const wanted = expected.filter(({ field }) => meets(field))
          expect([...found].map(({ key }) => key).toSorted(compareKeys)).toEqual(
            wanted.map(({ key }) => key).toSorted(compareKeys),
          )
          expect(index.count(bound)).toBe(wanted.length)
          if ('equals' in bound && valuesEqual(bound.equals, 0))
            expect(index.count(bound)).toBeLessThanOrEqual(expected.length)
        }
      },
    ),
    { numRuns: 150 },
  )
})

describe('queries over indexes', () => {
  const RECORDS = 5_000
  async function filled(server: TestServer, token?: string): Promise<TestClient> {
    const client = await server.connect(token === undefined ? {} : { token })
    for (let from = 0; from < RECORDS; from += 1_000) {
      client.send(
        opBatch(
          Array.from({ length: 1_000 }, (_, i) =>
            put('m', `k${from + i}`, { n: from + i, secret: (from + i) % 7, group: i % 10 }),
          ),
        ),
      )
      await client.take('OP_ACK')
    }
    return client
  }
  const ask = (client: TestClient, queryId: string, query: object): Promise<unknown> => {
    client.send({ type: 'QUERY_SUB', payload: { queryId, mapName: 'm', query } })
    return client.take('QUERY_RESP')
  }
  const inspect = (server: TestServer): { rows: number; indexes: number; indexedRows: number } =>
    server.server.inspect()['queries'] as never

  test('INV-22: a query costs what it looks at: with an index, the rows that it selects', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({
      env,
      rateLimiting: { maxCostPerSecond: 1, maxCostAtOnce: RECORDS },
      connections: { idleTimeout: 1e9 },
    })
    await filled(server)
    const client = await server.connect()
    // The first one makes the index, and pays for it.
    await ask(client, 'first', { where: { n: 1 } })
    const other = await server.connect()
    for (let i = 0; i < 90; i++) await ask(other, `q${i}`, { where: { n: i } })
    await ask(other, 'all', { where: { n: { $gte: 0 } } })
    other.send({ type: 'QUERY_SUB', payload: { queryId: 'more', mapName: 'm', query: { where: { n: 7_000 } } } })
    expect((await other.take('ERROR')).payload).toMatchObject({ errorCode: 'RATE_LIMITED' })
  })

  test('INV-22: a window over a large map holds few rows, and those that leave it are replaced', async () => {
    await using server = await startTestServer({ connections: { idleTimeout: 1e9 } })
    const writer = await filled(server)
    const client = await server.connect()
    await ask(client, 'w', { sort: { n: 'desc' }, limit: 10 })
    expect(inspect(server)).toMatchObject({ rows: 70, indexes: 1, indexedRows: RECORDS })
    for (let from = 0; from < 1_000; from += 100) {
      writer.send(opBatch(Array.from({ length: 100 }, (_, i) => put('m', `k${RECORDS - 1 - from - i}`, { n: -1 }))))
      await writer.take('OP_ACK')
    }
    const late = await server.connect()
    const { payload } = (await ask(late, 'w', { sort: { n: 'desc' }, limit: 10 })) as {
      payload: { results: { key: string }[] }
    }
    expect(payload.results.map(({ key }) => key)).toEqual(Array.from({ length: 10 }, (_, i) => `k${3_999 - i}`))
    expect(inspect(server).rows).toBeLessThan(200)
  })

  test('INV-22: a window that grows beyond what it needs lets go of rows', async () => {
    await using server = await startTestServer({ connections: { idleTimeout: 1e9 } })
    const client = await server.connect()
    await ask(client, 'w', { sort: { n: 'desc' }, limit: 10 })
    const writer = await filled(server)
    // The index is made a step with each change.
    for (let i = 0; i < 100 && inspect(server).rows > 200; i++) {
      writer.send(opBatch([put('m', `more${i}`, { n: i })]))
      await writer.take('OP_ACK')
      await client.settle()
    }
    expect(inspect(server).rows).toBeLessThan(200)
    expect(inspect(server).indexes).toBe(1)
  })

  test('INV-22: all indexes together are bounded: beyond that queries look at whole maps', async () => {
    await using server = await startTestServer({
      queries: { maxIndexRows: RECORDS + 100 },
      connections: { idleTimeout: 1e9 },
    })
    const client = await filled(server)
    await ask(client, 'a', { where: { n: 5 } })
    expect(inspect(server).indexes).toBe(1)
    // The one that nobody relies on makes room; the one that a window takes its rows from does not.
    await ask(client, 'b', { where: { group: 5 } })
    expect(inspect(server).indexes).toBe(1)
    await ask(client, 'w', { sort: { n: 'asc' }, limit: 5 })
    await ask(client, 'c', { where: { group: 6 } })
    expect(inspect(server)).toMatchObject({ indexes: 1, indexedRows: RECORDS })
  })

  test('[CO1] an index that a contract declares is made for small maps too, and is kept', async () => {
    const schema = {
      '~standard': { version: 1 as const, vendor: 'test', validate: (input: unknown) => ({ value: input }) },
    }
    const contract = { maps: { m: { kind: 'map' as const, schema, indexes: ['n'] } } }
    await using server = await startTestServer({
      queries: { indexes: indexesOf(contract), maxIndexRows: 10 },
      connections: { idleTimeout: 1e9 },
    })
    const client = await server.connect()
    client.send(opBatch(Array.from({ length: 5 }, (_, i) => put('m', `k${i}`, { n: i, other: i }))))
    await client.take('OP_ACK')
    await ask(client, 'a', { where: { n: 3 } })
    await ask(client, 'b', { where: { other: 3 } })
    expect(inspect(server)).toMatchObject({ indexes: 1, indexedRows: 5 })
  })

  test('INV-21: what a query costs does not tell of fields that its reader may not see', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({
      env,
      jwtSecret: SECRET,
      auth: 'jwt',
      rateLimiting: { maxCostPerSecond: 1_000, maxCostAtOnce: 1 },
      connections: { idleTimeout: 1e9 },
      securityPolicies: [
        { role: 'ADMINS', mapNamePattern: '*', actions: ['ALL'] },
        { role: 'USER', mapNamePattern: '*', actions: ['READ'], allowedFields: ['n'] },
      ],
    })
    await filled(server, tokenOf('root', 'admin'))
    const owed = async (query: object): Promise<number> => {
      const client = await server.connect({ token: tokenOf('ann', 'USER') })
      await ask(client, 'a', query)
      client.send({ type: 'QUERY_SUB', payload: { queryId: 'b', mapName: 'm', query: {} } })
      const { payload } = await client.take('ERROR')
      return (payload.details as { retryAfterMs: number }).retryAfterMs
    }
    const [some, none] = [await owed({ where: { secret: 3 } }), await owed({ where: { secret: 99 } })]
    expect(Math.abs(some - none)).toBeLessThan(300)
    const sorted = await server.connect({ token: tokenOf('bob', 'USER') })
    const page = (await ask(sorted, 's', { sort: { secret: 'desc' }, limit: 3 })) as {
      payload: { results: { key: string }[] }
    }
    expect(page.payload.results.map(({ key }) => key)).toEqual(['k0', 'k1', 'k10'])
  })
})

test('a socket that is slow has the rows of its window in the end', async () => {
  await using server = await startTestServer({ connections: { idleTimeout: 1e9 } })
  const writer = await server.connect()
  writer.send(opBatch(Array.from({ length: 1_000 }, (_, i) => put('m', `k${String(i).padStart(4, '0')}`, { n: i }))))
  await writer.take('OP_ACK')
  writer.send(
    opBatch(Array.from({ length: 200 }, (_, i) => put('m', `l${String(i).padStart(4, '0')}`, { n: i + 1_000 }))),
  )
  await writer.take('OP_ACK')
  const slow = new FakeSocket(server.server)
  slow.receive({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: { sort: { n: 'desc' }, limit: 3 } } })
  slow.receive({ type: 'SYNC_STOP', mapName: 'm' })
  await slow.settle()
  slow.isStuck = true
  slow.bufferedBytes = 100_000
  for (let i = 0; i < 150; i++) {
    writer.send(opBatch([put('m', `l${String(199 - i).padStart(4, '0')}`, { n: -1 })]))
    await writer.take('OP_ACK')
  }
  await slow.settle()
  slow.drain()
  await slow.settle()
  const rows = new Map<string, Value>()
  for (const message of slow.written) {
    if (message.type === 'QUERY_RESP') for (const each of message.payload.results) rows.set(each.key, each.value)
    if (message.type !== 'QUERY_UPDATE') continue
    if (message.payload.changeType === 'LEAVE') rows.delete(message.payload.key)
    else rows.set(message.payload.key, message.payload.value)
  }
  expect([...rows.keys()].toSorted()).toEqual(['l0047', 'l0048', 'l0049'])
})
