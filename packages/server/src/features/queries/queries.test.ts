import {
  compareForOrder,
  compileOrder,
  compileQuery,
  decodeQueryCursor,
  isAfterCursor,
  isMap,
  valuesEqual,
  type QuerySpec,
  type Value,
} from '@syncline/core'
import { LIMITS, type Encoding, type ServerMessage } from '@syncline/protocol'
import { memoryStorage } from '@syncline/storage'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FakeSocket } from '../../testing/fake-socket.ts'
import {
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
import { Replica } from '../../testing/replica.ts'
import { startTestServer, type TestClient } from '../../testing/test-server.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']

/** A result that a client keeps from QUERY_RESP and QUERY_UPDATE alone. Notes updates that do not fit what it holds. */
class Result {
  readonly queryId: string
  readonly rows = new Map<string, Value>()
  readonly breaches: string[] = []
  nextCursor: string | undefined
  responses = 0
  updates = 0
  /** The latest version that was announced, and what is done when one is. */
  version = 0
  readonly #onVersion: ((version: number) => void) | undefined
  #isPartial = false

  constructor(queryId: string, onVersion?: (version: number) => void) {
    this.queryId = queryId
    this.#onVersion = onVersion
  }

  take(message: ServerMessage): void {
    if (message.type === 'QUERY_RESP' && message.payload.queryId === this.queryId) {
      const { results, more = false, nextCursor, version } = message.payload
      if (!this.#isPartial) this.rows.clear()
      for (const { key, value } of results) this.rows.set(key, value)
      this.#isPartial = more
      this.nextCursor = nextCursor
      this.responses++
      if (more !== (version === undefined)) this.breaches.push('a version that is not in the last page')
      this.#announce(version)
    }
    if (message.type !== 'QUERY_UPDATE' || message.payload.queryId !== this.queryId) return
    const { key, value, changeType, version } = message.payload
    this.updates++
    const isHeld = this.rows.has(key)
    if (isHeld !== (changeType !== 'ENTER')) this.breaches.push(`${changeType} of ${key}`)
    if (this.#isPartial) this.breaches.push('an update among the pages')
    if (changeType === 'LEAVE') this.rows.delete(key)
    else this.rows.set(key, value)
    this.#announce(version)
  }

  #announce(version: number | undefined): void {
    if (version === undefined) return
    if (version < this.version) this.breaches.push(`version ${version} after ${this.version}`)
    this.version = version
    this.#onVersion?.(version)
  }
}

/** The query evaluated from scratch. */
function evaluate(spec: QuerySpec, content: ReadonlyMap<string, Value>): Map<string, Value> {
  const matches = compileQuery(spec)
  if (!matches.ok) throw new Error(matches.error.message)
  const order = compileOrder(spec.sort)
  const position = spec.cursor === undefined ? undefined : decodeQueryCursor(spec, spec.cursor.slice(1, -22))
  if (position?.ok === false) throw new Error('bad cursor')
  const isAfter = position === undefined ? () => true : isAfterCursor(spec, position.value)
  const rows = [...content].filter(([key, value]) => matches.value(value) && isAfter(key, value))
  rows.sort(([keyA, a], [keyB, b]) => order(keyA, a, keyB, b))
  return new Map(spec.limit === undefined || spec.limit === 0 ? rows : rows.slice(0, spec.limit))
}

const sorted = (rows: ReadonlyMap<string, Value>): [string, Value][] =>
  [...rows].toSorted(([a], [b]) => (a < b ? -1 : 1))

function expectSame(rows: ReadonlyMap<string, Value>, expected: ReadonlyMap<string, Value>, what: unknown): void {
  const same = rows.size === expected.size && [...expected].every(([key, value]) => valuesEqual(rows.get(key), value))
  if (!same) {
    throw new Error(
      `${JSON.stringify(what)}: ${JSON.stringify(sorted(rows))} instead of ${JSON.stringify(sorted(expected))}`,
    )
  }
}

const scalar = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constantFrom('x', 'y'), fc.constant(null), fc.boolean())
const value: fc.Arbitrary<Value> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ a: scalar, b: scalar, c: scalar }, { requiredKeys: [] }) as fc.Arbitrary<Value> },
  { weight: 1, arbitrary: fc.constantFrom<Value>('text', 5, [1]) },
)
const key = fc.integer({ min: 0, max: 7 }).map((i) => `k${i}`)
const op = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(fc.constant('put' as const), key, value) },
  {
    weight: 3,
    arbitrary: fc.tuple(
      fc.constant('patch' as const),
      key,
      fc.record({ a: scalar, b: scalar }, { requiredKeys: [] }) as fc.Arbitrary<Value>,
    ),
  },
  { weight: 1, arbitrary: fc.tuple(fc.constant('remove' as const), key, fc.constant(null as Value)) },
)
const condition = fc.oneof(
  scalar,
  fc.record({ $gte: fc.integer({ min: 0, max: 3 }) }),
  fc.record({ $lt: fc.integer({ min: 0, max: 3 }) }),
  fc.record({ $in: fc.array(scalar, { maxLength: 3 }) }),
  fc.record({ $ne: scalar }),
  fc.record({ $exists: fc.boolean() }),
)
const spec: fc.Arbitrary<QuerySpec> = fc.record(
  {
    where: fc.record({ a: condition, b: condition }, { requiredKeys: [] }),
    sort: fc.oneof(
      fc.record({ a: fc.constantFrom('asc' as const, 'desc' as const) }),
      fc.record({
        b: fc.constantFrom('asc' as const, 'desc' as const),
        a: fc.constantFrom('asc' as const, 'desc' as const),
      }),
    ),
    limit: fc.integer({ min: 0, max: 5 }),
  },
  { requiredKeys: [] },
)
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      writer: fc.nat(2),
      ops: fc.array(op, { minLength: 1, maxLength: 4 }),
      late: fc.nat(3),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('stick' as const), reader: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('drain' as const), reader: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('next page' as const), reader: fc.nat(2), query: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('ask anew' as const), reader: fc.nat(2), query: fc.nat(4) }) },
)

describe('INV-15', () => {
  const runs = Number(process.env['SYNCLINE_TEST_RUNS'] ?? 60)

  test('INV-15: after every change each result, kept from what was sent, is the query evaluated from scratch', async () => {
    await using server = await startTestServer({
      jwtSecret: SECRET,
      auth: 'jwt',
      securityPolicies: [
        { role: 'USER', mapNamePattern: '*', actions: ['ALL'] },
        { role: 'ONLY_A', mapNamePattern: '*', actions: ['READ'], allowedFields: ['a'] },
      ],
    })
    let mapCount = 0
    const open = async (...roles: string[]): Promise<FakeSocket> => {
      const socket = new FakeSocket(server.server)
      socket.receive({ type: 'AUTH', token: tokenOf('u', ...roles) })
      while (!socket.written.some(({ type }) => type === 'AUTH_ACK')) await socket.settle()
      socket.written.length = 0
      return socket
    }
    const admin = await open('USER')
    await fc.assert(
      fc.asyncProperty(
        fc.array(spec, { minLength: 2, maxLength: 5 }),
        fc.array(step, { minLength: 1, maxLength: 40 }),
        async (specs, steps) => {
          const mapName = `m${mapCount++}`
          const replica = new Replica(mapName)
          admin.receive({ type: 'SYNC_INIT', mapName, cursor: null })
          const readers = await Promise.all(['USER', 'USER', 'ONLY_A'].map((role) => open(role)))
          const writers = await Promise.all([open('USER'), open('USER'), open('USER')])
          const held = readers.map((socket, reader) => ({
            socket,
            fields: reader === 2 ? ['a'] : undefined,
            queries: [] as { query: QuerySpec; result: Result }[],
          }))
          let queryCount = 0
          const ask = (reader: number, query: QuerySpec): void => {
            const result = new Result(`q${queryCount++}`)
            held[reader]?.queries.push({ query, result })
            held[reader]?.socket.receive({ type: 'QUERY_SUB', payload: { queryId: result.queryId, mapName, query } })
          }
          for (const [i, query] of specs.entries()) {
            ask(i % 3, query)
            ask((i + 1) % 3, query)
          }
          const check = async (): Promise<void> => {
            await admin.settle()
            for (const message of admin.written.splice(0)) replica.take(message)
            for (const { socket, fields, queries } of held) {
              for (const message of socket.written.splice(0)) for (const { result } of queries) result.take(message)
              if (socket.isStuck) continue
              const content = new Map<string, Value>()
              for (const [key, { record }] of replica.recordsByKey) {
                if (record.value === null || (fields !== undefined && !isMap(record.value))) continue
                const shown = Object.entries(record.value).filter(([name]) => fields?.includes(name) ?? true)
                content.set(key, fields === undefined ? record.value : (Object.fromEntries(shown) as Value))
              }
              for (const { query, result } of queries) {
                expect(result.responses).toBeGreaterThan(0)
                expectSame(result.rows, evaluate(query, content), query)
                expect(result.breaches).toEqual([])
              }
            }
          }
          await check()
          for (const each of steps) {
            if (each.kind === 'write') {
              const ops = each.ops.map(([kind, key, value]) => {
                const stamp = stampAt(Date.now() - each.late * 1_000, queryCount, `w${each.writer}`)
                if (kind === 'remove') return remove(mapName, key, { stamp })
                const isEmpty = kind === 'patch' && Object.keys(value as object).length === 0
                return kind === 'put' || isEmpty
                  ? put(mapName, key, value, { stamp })
                  : patch(mapName, key, value, { stamp })
              })
              queryCount++
              writers[each.writer]?.receive(opBatch(ops))
              // Another write of the same turn.
              if (ops.length > 2) writers[(each.writer + 1) % 3]?.receive(clientOp(ops[0] as never))
            } else {
              const reader = held[each.reader] as (typeof held)[number]
              if (each.kind === 'stick') {
                reader.socket.isStuck = true
                reader.socket.bufferedBytes = 100_000
              } else if (each.kind === 'drain') reader.socket.drain()
              else if (!reader.socket.isStuck) {
                const asked = reader.queries[each.query % Math.max(1, reader.queries.length)]
                if (asked === undefined) continue
                if (each.kind === 'ask anew') ask(each.reader, asked.query)
                else if (asked.result.nextCursor !== undefined)
                  ask(each.reader, { ...asked.query, cursor: asked.result.nextCursor })
              }
            }
            await check()
          }
          for (const { socket } of held) socket.drain()
          await check()
          for (const { socket, queries } of held) {
            for (const { result } of queries)
              socket.receive({ type: 'QUERY_UNSUB', payload: { queryId: result.queryId } })
          }
          admin.receive({ type: 'SYNC_STOP', mapName })
          await admin.settle()
          expect(server.server.inspect()['queries']).toMatchObject({ queries: 0, subscriptions: 0 })
        },
      ),
      { numRuns: runs, seed: 1 },
    )
  })

  test('INV-15 [QU4]: at each version that is announced, through 2,000 changes, 20 results are the query evaluated at it', async () => {
    await using server = await startTestServer()
    const [admin, writer] = [new FakeSocket(server.server), new FakeSocket(server.server)]
    const readers = Array.from({ length: 4 }, () => new FakeSocket(server.server))
    const replica = new Replica('m')
    const contentAt = new Map<number, ReadonlyMap<string, Value>>()
    let announced = 0
    const queries = fc.sample(spec, { numRuns: 20, seed: 7 }).map((query, i) => {
      const result: Result = new Result(`q${i}`, (version) => {
        announced++
        const content = contentAt.get(version)
        if (content === undefined) throw new Error(`version ${version} was never the map's`)
        expectSame(result.rows, evaluate(query, content), { query, version })
      })
      return { query, result, socket: readers[i % 4] as FakeSocket }
    })
    const takeAll = async (): Promise<void> => {
      await admin.settle()
      for (const message of admin.written.splice(0)) replica.take(message)
      const rows = [...replica.recordsByKey].filter(([, { record }]) => record.value !== null)
      contentAt.set(replica.seq, new Map(rows.map(([name, { record }]) => [name, record.value])))
      for (const socket of readers) {
        for (const message of socket.written.splice(0)) {
          for (const each of queries) if (each.socket === socket) each.result.take(message)
        }
      }
    }
    admin.receive({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    for (const { query, result, socket } of queries) {
      socket.receive({ type: 'QUERY_SUB', payload: { queryId: result.queryId, mapName: 'm', query } })
    }
    for (const socket of readers) socket.receive({ type: 'SYNC_STOP', mapName: 'm' })
    await takeAll()
    const changes = fc.sample(op, { numRuns: 2_000, seed: 11 })
    for (let at = 0, step = 0; at < changes.length; step++) {
      const ops = changes.slice(at, at + 1 + (step % 4)).map(([kind, name, shown]) => {
        if (kind === 'remove') return remove('m', name)
        return kind === 'put' || Object.keys(shown as object).length === 0
          ? put('m', name, shown)
          : patch('m', name, shown)
      })
      at += ops.length
      writer.receive(opBatch(ops))
      const socket = readers[step % 4] as FakeSocket
      if (step % 7 === 3) {
        socket.isStuck = true
        socket.bufferedBytes = 100_000
      } else if (step % 7 === 6) for (const each of readers) each.drain()
      await takeAll()
    }
    for (const socket of readers) socket.drain()
    await takeAll()
    for (const { query, result } of queries) {
      expect(result.breaches).toEqual([])
      expectSame(result.rows, evaluate(query, contentAt.get(replica.seq) as ReadonlyMap<string, Value>), query)
    }
    expect(announced).toBeGreaterThan(2_000)
  })

  test.each(encodings)('INV-15: over real sockets and several writers too, in %s', async (encoding) => {
    await using server = await startTestServer()
    const writers = await Promise.all([server.connect(), server.connect({ encoding: 'msgpack' })])
    const client = await server.connect({ encoding })
    const specs: QuerySpec[] = [
      {},
      { where: { n: { $gte: 50 } } },
      { sort: { n: 'desc' }, limit: 5 },
      { where: { even: true }, sort: { n: 'asc' }, limit: 3 },
      { limit: 4 },
    ]
    const results = specs.map((query, i) => {
      const result = new Result(`q${i}`)
      client.send({ type: 'QUERY_SUB', payload: { queryId: result.queryId, mapName: 'm', query } })
      return result
    })
    client.onMessage = (message) => results.forEach((result) => result.take(message))
    await client.settle()
    const content = new Map<string, Value>()
    for (let i = 0; i < 400; i++) {
      const key = `k${(i * 7) % 23}`
      const writer = writers[i % 2] as TestClient
      if (i % 11 === 10) {
        content.delete(key)
        writer.send(clientOp(remove('m', key)))
      } else {
        const value = { n: (i * 37) % 101, even: i % 2 === 0 }
        content.set(key, value)
        writer.send(clientOp(put('m', key, value)))
      }
      if (i % 20 !== 19) {
        await writer.take('OP_ACK')
        continue
      }
      await Promise.all(writers.map((each) => each.settle()))
      await client.settle()
      for (const [at, result] of results.entries()) {
        expectSame(result.rows, evaluate(specs[at] as QuerySpec, content), specs[at])
        expect(result.breaches).toEqual([])
      }
    }
  })

  test('INV-15: queries that differ only in their limit have results of their own', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    client.send(opBatch(Array.from({ length: 10 }, (_, i) => put('m', `k${i}`, { i }))))
    await client.take('OP_ACK')
    for (const limit of [2, 5, 0, 7]) {
      client.send({ type: 'QUERY_SUB', payload: { queryId: `q${limit}`, mapName: 'm', query: { limit } } })
      const { payload } = await client.take('QUERY_RESP')
      expect(payload.results).toHaveLength(limit === 0 ? 10 : limit)
    }
  })

  test('INV-15: a record whose time has passed leaves results without being written, and new ones do not show it', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const client = await server.connect()
    const late = await server.connect()
    const now = env.now()
    const query = { sort: { n: 'asc' }, limit: 2 } as const
    const [all, window] = [new Result('all'), new Result('window')]
    client.onMessage = (message) => [all, window].forEach((result) => result.take(message))
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'all', mapName: 'm', query: {} } })
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'window', mapName: 'm', query } })
    client.send(
      opBatch([
        put('m', 'short', { n: 1 }, { stamp: stampAt(now), ttlMs: 5_000 }),
        put('m', 'long', { n: 2 }, { stamp: stampAt(now), ttlMs: 20_000 }),
        put('m', 'stays', { n: 3 }),
      ]),
    )
    await client.until(() => all.rows.size === 3 && window.rows.size === 2)
    expect([...all.rows.keys()].toSorted()).toEqual(['long', 'short', 'stays'])
    expect([...window.rows.keys()]).toEqual(['short', 'long'])
    env.leap(6_000)
    late.send({ type: 'QUERY_SUB', payload: { queryId: 'late', mapName: 'm', query: {} } })
    expect((await late.take('QUERY_RESP')).payload.results.map(({ key }) => key)).toEqual(['long', 'stays'])
    await client.until(() => !all.rows.has('short') && window.rows.has('stays'))
    expect([...window.rows.keys()]).toEqual(['long', 'stays'])
    // A later write makes it live again.
    client.send(clientOp(put('m', 'short', { n: 0 }, { stamp: stampAt(env.now()) })))
    await client.until(() => window.rows.has('short'))
    env.advance(15_000)
    await client.until(() => !all.rows.has('long'))
    expect([...all.breaches, ...window.breaches]).toEqual([])
  })
})

describe('a subscriber that does not read', () => {
  test('INV-22: gets net changes when it does: what came and went cancels out', async () => {
    await using server = await startTestServer()
    const writer = await server.connect()
    writer.send(opBatch([put('m', 'changes', { n: 0 }), put('m', 'leaves', { n: 0 }), put('m', 'same', { n: 0 })]))
    await writer.take('OP_ACK')
    const slow = new FakeSocket(server.server)
    slow.receive({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: { where: { n: { $lt: 100 } } } } })
    slow.receive({ type: 'SYNC_STOP', mapName: 'm' })
    await slow.settle()
    const result = new Result('q')
    for (const message of slow.written.splice(0)) result.take(message)
    slow.isStuck = true
    slow.bufferedBytes = 100_000
    for (let i = 1; i <= 30; i++) {
      writer.send(opBatch([put('m', 'changes', { n: i }), put('m', 'flash', { n: i }), put('m', 'enters', { n: i })]))
      writer.send(opBatch([remove('m', 'flash'), put('m', 'leaves', { n: 99 + i })]))
      await writer.settle()
    }
    slow.drain()
    await slow.settle()
    const updates = slow.written.flatMap((message) => (message.type === 'QUERY_UPDATE' ? [message.payload] : []))
    expect(updates.map(({ key, changeType, value }) => [key, changeType, value])).toEqual([
      ['leaves', 'LEAVE', null],
      ['changes', 'UPDATE', { n: 30 }],
      ['enters', 'ENTER', { n: 30 }],
    ])
    for (const message of slow.written.splice(0)) result.take(message)
    expect(result.breaches).toEqual([])
  })

  test('INV-22: gets its result anew where it misses more than 10,000 rows', async () => {
    await using server = await startTestServer()
    const writer = await server.connect({ encoding: 'msgpack' })
    const slow = new FakeSocket(server.server)
    slow.receive({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: {} } })
    slow.receive({ type: 'SYNC_STOP', mapName: 'm' })
    await slow.settle()
    const result = new Result('q')
    for (const message of slow.written.splice(0)) result.take(message)
    slow.isStuck = true
    slow.bufferedBytes = 100_000
    for (let i = 0; i < 12; i++) {
      writer.send(opBatch(Array.from({ length: 1_000 }, (_, j) => put('m', `k${i}-${j}`, j))))
      await writer.take('OP_ACK')
    }
    await writer.settle()
    slow.drain()
    for (let turn = 0; turn < 50 && result.rows.size < 12_000; turn++) {
      await slow.settle()
      for (const message of slow.written.splice(0)) result.take(message)
    }
    expect(result.rows.size).toBe(12_000)
    expect(result.updates).toBe(0)
    expect(result.responses).toBeGreaterThan(2)
    writer.send(clientOp(put('m', 'live', 1)))
    await writer.take('OP_ACK')
    await slow.settle()
    for (const message of slow.written.splice(0)) result.take(message)
    expect(result.rows.get('live')).toBe(1)
    expect(result.breaches).toEqual([])
  })

  test('INV-22: what it missed comes in pages, however large the rows are', async () => {
    await using server = await startTestServer()
    const writer = await server.connect({ encoding: 'msgpack' })
    const slow = new FakeSocket(server.server)
    slow.receive({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: {} } })
    slow.receive({ type: 'SYNC_STOP', mapName: 'm' })
    await slow.settle()
    const result = new Result('q')
    for (const message of slow.written.splice(0)) result.take(message)
    slow.isStuck = true
    slow.bufferedBytes = 100_000
    writer.send(opBatch(Array.from({ length: 100 }, (_, i) => put('m', `k${i}`, 'x'.repeat(50_000)))))
    await writer.take('OP_ACK')
    for (let page = 0; page < 60 && result.rows.size < 100; page++) {
      slow.drain()
      slow.isStuck = true
      await slow.settle()
      expect(slow.bufferedBytes).toBeLessThan(2 * LIMITS.pageBytes)
      for (const message of slow.written.splice(0)) result.take(message)
      // What changes between pages comes as well, once.
      writer.send(clientOp(put('m', `k${page}`, { page })))
      await writer.take('OP_ACK')
    }
    slow.drain()
    await slow.settle()
    for (const message of slow.written.splice(0)) result.take(message)
    expect(result.rows.size).toBe(100)
    expect(result.rows.get('k3')).toEqual({ page: 3 })
    expect(result.breaches).toEqual([])
    expect(slow.closed).toBeUndefined()
  })
})

describe.each(encodings)('QUERY_SUB in %s', (encoding) => {
  test('[QU1] is answered at once: rows in order, hasMore and a cursor where the limit leaves some out', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    client.send(opBatch(Array.from({ length: 25 }, (_, i) => put('m', `k${String(i).padStart(2, '0')}`, { n: i % 5 }))))
    await client.take('OP_ACK')
    const seen: string[] = []
    let cursor: string | undefined
    for (let page = 0; page < 3; page++) {
      const query: QuerySpec = { sort: { n: 'desc' }, limit: 10, ...(cursor === undefined ? {} : { cursor }) }
      client.send({ type: 'QUERY_SUB', payload: { queryId: `p${page}`, mapName: 'm', query } })
      const { payload } = await client.take('QUERY_RESP')
      expect(payload.hasMore).toBe(page < 2)
      expect(payload.cursorStatus).toBe(page === 0 ? undefined : 'valid')
      seen.push(...payload.results.map(({ key }) => key))
      const values = payload.results.map(({ value }) => (value as { n: number }).n)
      expect(values).toEqual(values.toSorted((a, b) => compareForOrder(b, a)))
      cursor = payload.nextCursor
    }
    expect(cursor).toBeUndefined()
    expect(new Set(seen).size).toBe(25)
  })

  test.each(['__proto__', 'constructor', 'toString'])(
    '[OP2] [QU2] a map may be named %s, and asked',
    async (mapName) => {
      await using server = await startTestServer()
      const client = await server.connect({ encoding })
      client.send(clientOp(put(mapName, mapName, { a: 1 })))
      await client.take('OP_ACK')
      const query: QuerySpec = { where: { a: 1 }, sort: { a: 'asc' } }
      client.send({ type: 'QUERY_SUB', payload: { queryId: mapName, mapName, query } })
      expect((await client.take('QUERY_RESP')).payload).toMatchObject({ results: [{ key: mapName, value: { a: 1 } }] })
    },
  )

  test.each<[string, object, string]>([
    ['an unknown operator', { where: { a: { $near: 1 } } }, 'BAD_QUERY'],
    ['an operand that does not fit', { where: { a: { $gt: [1] } } }, 'BAD_QUERY'],
    [
      'a pattern that cannot be matched in linear time',
      { predicate: { op: 'regex', attribute: 'a', value: '(a)\\1' } },
      'BAD_QUERY',
    ],
    ['a name that no record can hold', { where: { 'a\u0000': 1 } }, 'BAD_QUERY'],
    ['too many conditions', { where: { $or: Array.from({ length: 300 }, () => ({ a: 1 })) } }, 'BAD_QUERY'],
    ['a cursor that is none', { limit: 1, cursor: 'garbage' }, 'INVALID_CURSOR'],
    ['an empty cursor', { cursor: '' }, 'INVALID_CURSOR'],
    ['a negative limit', { limit: -1 }, 'VALIDATION_ERROR'],
    ['a direction that is none', { sort: { a: 'up' } }, 'VALIDATION_ERROR'],
    ['a where that is a list', { where: [] }, 'VALIDATION_ERROR'],
    ['conditions that are too long', { where: { a: 'x'.repeat(LIMITS.queryBytes) } }, 'TOO_LARGE'],
  ])('[QU2] %s is refused, beside a good query too, and the connection survives', async (_, query, code) => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'good', mapName: 'm', query: {} } })
    await client.take('QUERY_RESP')
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query }, requestId: 'r' })
    const error = await client.take('ERROR')
    expect(error).toMatchObject({ requestId: 'r', payload: { errorCode: code, about: 'QUERY_SUB' } })
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'good', mapName: 'm', query: {} } })
    await client.take('QUERY_RESP')
    expect(server.server.inspect()['queries']).toMatchObject({ queries: 1, subscriptions: 1 })
  })
})

describe('[QU5] fields', () => {
  test('[QU5] are all that rows are sent with; a change of others is none, and the order goes by all', async () => {
    await using server = await startTestServer()
    const [writer, client] = [await server.connect(), await server.connect()]
    writer.send(opBatch([put('m', 'a', { n: 1, text: 'x' }), put('m', 'b', { n: 2 }), put('m', 'c', 'no map')]))
    await writer.take('OP_ACK')
    const query: QuerySpec = { sort: { n: 'asc' } }
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query, fields: ['text', 'none'] } })
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'all', mapName: 'm', query } })
    expect((await client.take('QUERY_RESP')).payload.results).toEqual([
      { key: 'c', value: 'no map' },
      { key: 'a', value: { text: 'x' } },
      { key: 'b', value: {} },
    ])
    await client.take('QUERY_RESP')
    const updates = async (): Promise<unknown[]> => {
      await writer.take('OP_ACK')
      await client.settle()
      return client.inbox
        .splice(0)
        .flatMap((message) =>
          message.type === 'QUERY_UPDATE' ? [[message.payload.queryId, message.payload.value]] : [],
        )
    }
    writer.send(clientOp(patch('m', 'b', { n: 3 })))
    expect(await updates()).toEqual([['all', { n: 3 }]])
    writer.send(clientOp(patch('m', 'b', { text: 'y' })))
    expect(await updates()).toEqual([
      ['q', { text: 'y' }],
      ['all', { n: 3, text: 'y' }],
    ])
  })

  test('[QU5] INV-21: a field that the reader may not see is not sent because it is asked for', async () => {
    await using server = await startTestServer({
      jwtSecret: SECRET,
      auth: 'jwt',
      securityPolicies: [{ role: 'USER', mapNamePattern: '*', actions: ['READ'], allowedFields: ['open'] }],
    })
    const [admin, client] = [
      await server.connect({ token: tokenOf('root', 'admin') }),
      await server.connect({ token: tokenOf('ann', 'USER') }),
    ]
    admin.send(clientOp(put('m', 'a', { open: 1, secret: 'canary' })))
    await admin.take('OP_ACK')
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: {}, fields: ['open', 'secret'] } })
    expect((await client.take('QUERY_RESP')).payload.results).toEqual([{ key: 'a', value: { open: 1 } }])
  })
})

describe('[QU6] cursors', () => {
  const rows = Array.from({ length: 6 }, (_, i) => put('m', `k${i}`, { n: i, long: `${'x'.repeat(30_000)}${i}` }))
  const ask = async (client: TestClient, query: QuerySpec, mapName = 'm'): Promise<ServerMessage> => {
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName, query } })
    const find = (): number => client.inbox.findIndex(({ type }) => type === 'QUERY_RESP' || type === 'ERROR')
    await client.until(() => find() >= 0)
    return client.inbox.splice(find(), 1)[0] as ServerMessage
  }
  const keysAndCursor = (message: ServerMessage): [string[], string | undefined] => {
    if (message.type !== 'QUERY_RESP') throw new Error(JSON.stringify(message))
    return [message.payload.results.map(({ key }) => key), message.payload.nextCursor]
  }
  const refused = { type: 'ERROR', payload: { errorCode: 'INVALID_CURSOR' } }

  test('[QU6] whatever is changed in one, and one of another map, query or database, is refused', async () => {
    await using server = await startTestServer()
    await using other = await startTestServer()
    const [client, stranger] = [await server.connect(), await other.connect()]
    for (const each of [client, stranger]) {
      each.send(opBatch([...rows, ...rows.map((row) => ({ ...row, mapName: 'copy' }))]))
      await each.take('OP_ACK')
    }
    const query: QuerySpec = { sort: { n: 'desc' }, limit: 2 }
    const [, cursor = ''] = keysAndCursor(await ask(client, query))
    expect(keysAndCursor(await ask(client, { ...query, cursor }))[0]).toEqual(['k3', 'k2'])
    for (let at = 0; at < cursor.length; at += 7) {
      const changed = `${cursor.slice(0, at)}${cursor[at] === 'A' ? 'B' : 'A'}${cursor.slice(at + 1)}`
      expect(await ask(client, { ...query, cursor: changed })).toMatchObject(refused)
    }
    for (const broken of ['', 'v', cursor.slice(1), `${cursor}A`, cursor.slice(0, -1)]) {
      expect(await ask(client, { ...query, cursor: broken })).toMatchObject(refused)
    }
    expect(await ask(client, { ...query, sort: { n: 'asc' }, cursor })).toMatchObject(refused)
    expect(await ask(client, { ...query, cursor }, 'copy')).toMatchObject(refused)
    expect(await ask(stranger, { ...query, cursor })).toMatchObject(refused)
  })

  test('[QU6] one goes on where its page ended, whatever was inserted and removed, also after a restart', async () => {
    const storage = memoryStorage()
    let cursor: string | undefined
    const query: QuerySpec = { sort: { n: 'asc' }, limit: 2 }
    {
      await using server = await startTestServer({ storage })
      const client = await server.connect()
      client.send(opBatch(rows, { writeConcern: 'APPLIED' }))
      await client.take('OP_ACK')
      ;[, cursor] = keysAndCursor(await ask(client, query))
    }
    await using server = await startTestServer({ storage })
    const client = await server.connect()
    client.send(opBatch([remove('m', 'k1'), put('m', 'early', { n: 0.5 }), put('m', 'late', { n: 1.5 })]))
    await client.take('OP_ACK')
    expect(keysAndCursor(await ask(client, { ...query, cursor: cursor as string }))[0]).toEqual(['late', 'k2'])
  })

  test('[QU6] one of rows with very long texts is short, and stands for as long as its row has them', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    client.send(opBatch(rows))
    await client.take('OP_ACK')
    const query: QuerySpec = { sort: { long: 'asc' }, limit: 2 }
    const [, cursor = ''] = keysAndCursor(await ask(client, query))
    expect(cursor.length).toBeLessThan(500)
    const next = { ...query, cursor }
    expect(keysAndCursor(await ask(client, next))[0]).toEqual(['k2', 'k3'])
    client.send(clientOp(patch('m', 'k1', { n: 9 })))
    expect(keysAndCursor(await ask(client, next))[0]).toEqual(['k2', 'k3'])
    client.send(clientOp(patch('m', 'k1', { long: 'y' })))
    // The live query under this id goes on; one that begins is refused.
    client.send({ type: 'QUERY_UNSUB', payload: { queryId: 'q' } })
    expect(await ask(client, next)).toMatchObject(refused)
  })
})

describe('limits and ends', () => {
  test('INV-22 INV-23: the rows of all live queries are bounded: a new one is refused until others end', async () => {
    await using server = await startTestServer({ queries: { maxResultRows: 25 } })
    const [writer, other] = await Promise.all([server.connect(), server.connect()])
    writer.send(opBatch(Array.from({ length: 10 }, (_, i) => put('m', `k${i}`, { i }))))
    await writer.take('OP_ACK')
    const ask = (client: TestClient, i: number): void =>
      client.send({
        type: 'QUERY_SUB',
        payload: { queryId: `q${i}`, mapName: 'm', query: { where: { i: { $gte: -i } } } },
      })
    for (let i = 0; i < 3; i++) {
      ask(writer, i)
      await writer.take('QUERY_RESP')
    }
    ask(other, 3)
    expect((await other.take('ERROR')).payload).toMatchObject({
      errorCode: 'OVERLOADED',
      details: { limit: 'queries.maxResultRows', max: 25, queryId: 'q3', retryAfterMs: 5_000 },
    })
    // What is asked already costs nothing more.
    ask(other, 2)
    expect((await other.take('QUERY_RESP')).payload.results).toHaveLength(10)
    writer.end()
    await until(() => (server.server.inspect()['queries'] as { rows: number }).rows === 10, 'room')
    ask(other, 3)
    expect((await other.take('QUERY_RESP')).payload.results).toHaveLength(10)
  })

  test('INV-22: a connection has a bounded number of live queries; one that ends makes room', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    const ask = (i: number): void =>
      client.send({ type: 'QUERY_SUB', payload: { queryId: `q${i}`, mapName: 'm', query: {} } })
    for (let i = 0; i <= LIMITS.queriesPerConnection; i++) ask(i)
    expect((await client.take('ERROR')).payload).toMatchObject({
      errorCode: 'LIMIT_EXCEEDED',
      details: {
        limit: 'queriesPerConnection',
        max: LIMITS.queriesPerConnection,
        queryId: `q${LIMITS.queriesPerConnection}`,
      },
    })
    for (let i = 0; i < LIMITS.queriesPerConnection; i++) await client.take('QUERY_RESP')
    // An id that is in use is taken over.
    ask(0)
    await client.take('QUERY_RESP')
    client.send({ type: 'QUERY_UNSUB', payload: { queryId: 'q1' } })
    client.send({ type: 'QUERY_UNSUB', payload: { queryId: 'never asked' } })
    ask(1_000)
    await client.take('QUERY_RESP')
    expect(server.server.inspect()['queries']).toMatchObject({
      queries: 1,
      rows: 0,
      subscriptions: LIMITS.queriesPerConnection,
    })
    client.end()
    const other = await server.connect()
    await other.until(() => (server.server.inspect()['queries'] as { queries: number }).queries === 0)
  })

  test('an ended query is sent nothing more', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: {} } })
    await client.take('QUERY_RESP')
    client.send(clientOp(put('m', 'a', 1)))
    await client.take('QUERY_UPDATE')
    client.send({ type: 'QUERY_UNSUB', payload: { queryId: 'q' } })
    client.send(clientOp(put('m', 'b', 1)))
    await client.settle()
    await client.settle()
    expect(client.inbox.filter(({ type }) => type === 'QUERY_UPDATE')).toEqual([])
  })

  test('an existing client is sent the events of a map while it asks a query of it, and those that it follows besides', async () => {
    await using server = await startTestServer()
    const [client, writer] = [await server.connect(), await server.connect()]
    const ask = (queryId: string, mapName: string): void =>
      client.send({ type: 'QUERY_SUB', payload: { queryId, mapName, query: { where: { never: true } } } })
    const events = async (): Promise<string[]> => {
      client.inbox.length = 0
      writer.send(opBatch(['asked', 'followed', 'other'].map((mapName) => put(mapName, 'k', Math.random()))))
      await writer.take('OP_ACK')
      await client.settle()
      return client.inbox.flatMap((message) => (message.type === 'SERVER_EVENT' ? [message.payload.mapName] : []))
    }
    client.send({ type: 'SYNC_INIT', mapName: 'followed' })
    ask('a', 'asked')
    ask('b', 'asked')
    ask('c', 'followed')
    await client.settle()
    expect(await events()).toEqual(['asked', 'followed'])
    client.send({ type: 'QUERY_UNSUB', payload: { queryId: 'a' } })
    client.send({ type: 'QUERY_UNSUB', payload: { queryId: 'c' } })
    await client.settle()
    expect(await events()).toEqual(['asked', 'followed'])
    // The id of the last query of it is taken over by a query of another map.
    ask('b', 'other')
    await client.settle()
    expect(await events()).toEqual(['followed', 'other'])
    client.send({ type: 'QUERY_UNSUB', payload: { queryId: 'b' } })
    await client.settle()
    expect(await events()).toEqual(['followed'])
  })

  test.each(['one after the other', 'both at once'])(
    '[QU1] the same query again under its id goes on being live, asked %s',
    async (when) => {
      await using server = await startTestServer()
      const client = await server.connect()
      for (let i = 0; i < 2; i++) {
        client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: { where: { a: 1 } } } })
        if (when === 'one after the other') await client.take('QUERY_RESP')
      }
      await client.settle()
      expect(server.server.inspect()['queries']).toMatchObject({ queries: 1, subscriptions: 1 })
      client.send(clientOp(put('m', 'k', { a: 1 })))
      expect((await client.take('QUERY_UPDATE')).payload).toMatchObject({ queryId: 'q', key: 'k', changeType: 'ENTER' })
      client.send({ type: 'QUERY_UNSUB', payload: { queryId: 'q' } })
      await client.settle()
      expect(server.server.inspect()['queries']).toMatchObject({ queries: 0, rows: 0, subscriptions: 0 })
    },
  )

  test('a query that is refused leaves the one under its id as it was', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: {} } })
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: { where: { a: { $near: 1 } } } } })
    await client.take('ERROR')
    client.send(clientOp(put('m', 'k', 1)))
    expect((await client.take('QUERY_UPDATE')).payload).toMatchObject({ queryId: 'q', key: 'k', changeType: 'ENTER' })
  })

  test('INV-21: a query ends with the rights to ask it, also while its result is on its way', async () => {
    await using server = await startTestServer({
      jwtSecret: SECRET,
      auth: 'jwt',
      securityPolicies: [{ role: 'USER', mapNamePattern: 'own/{userId}', actions: ['ALL'] }],
    })
    const client = await server.connect({ token: tokenOf('ann') })
    client.send(opBatch(Array.from({ length: 100 }, (_, i) => put('own/ann', `k${i}`, `canary ${'x'.repeat(20_000)}`))))
    await client.take('OP_ACK')
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'own/ann', query: {} } })
    client.send({ type: 'AUTH', token: tokenOf('bob') })
    await client.take('AUTH_ACK')
    expect((await client.take('ERROR')).payload).toMatchObject({ errorCode: 'FORBIDDEN', details: { queryId: 'q' } })
    await client.settle()
    client.inbox.length = 0
    await client.settle()
    expect(client.inbox).toEqual([])
    expect(server.server.inspect()['queries']).toMatchObject({ queries: 0, subscriptions: 0 })
  })
})
