import { compareForOrder, wholeWrite, type QuerySpec, type Value } from '@syncline/core'
import { describe, expect, test, vi } from 'vitest'
import { FakeSocket } from '../../testing/fake-socket.ts'
import { clientOp, opBatch, put, remove, slowEnv } from '../../testing/harness.ts'
import { startTestServer, type TestServer } from '../../testing/test-server.ts'
import { Authorizer, type ReadView } from '../../inbound/authorize.ts'
import { ANONYMOUS } from '../../sessions/session.ts'
import { WritableMap } from '../../store/writable-map.ts'
import { QueryCursors } from './cursors.ts'
import { Indexes } from './indexes.ts'
import { QueryGroup } from './query-group.ts'
import { sortInSteps } from '../../sliced-work.ts'

const RECORDS = 20_000
const name = (i: number): string => `k${String(i).padStart(5, '0')}`

async function fill(server: TestServer): Promise<FakeSocket> {
  const writer = new FakeSocket(server.server)
  for (let from = 0; from < RECORDS; from += 1_000) {
    writer.receive(opBatch(Array.from({ length: 1_000 }, (_, i) => put('m', name(from + i), { n: (from + i) % 97 }))))
    await writer.settle()
  }
  writer.written.length = 0
  return writer
}

/** A server with a large map, on which queries take many turns; without indexes they take more. */
const start = (msPerLook?: number, options: object = { queries: { maxIndexRows: 0 } }): Promise<TestServer> =>
  startTestServer({ env: slowEnv(msPerLook), connections: { idleTimeout: 1e12, authTimeout: 1e12 }, ...options })

const ask = (queryId: string, query: QuerySpec) =>
  ({ type: 'QUERY_SUB', payload: { queryId, mapName: 'm', query } }) as const

const oneTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** The rows of a result as they were sent, once all of them are here. */
function rowsIn(socket: FakeSocket): [string, Value][] | undefined {
  const pages = socket.written.flatMap((message) => (message.type === 'QUERY_RESP' ? [message.payload] : []))
  if (pages.length === 0 || pages.at(-1)?.more === true) return undefined
  const rows = new Map(pages.flatMap(({ results }) => results.map(({ key, value }) => [key, value] as const)))
  for (const message of socket.written) {
    if (message.type !== 'QUERY_UPDATE') continue
    const { key, value, changeType } = message.payload
    if (changeType === 'LEAVE') rows.delete(key)
    else rows.set(key, value)
  }
  return [...rows]
}

describe('a query over a large map', () => {
  test.each<[string, QuerySpec]>([
    ['all rows', {}],
    ['some rows in order', { where: { n: { $gte: 50 } }, sort: { n: 'desc' } }],
    ['a window', { where: { n: { $gte: 50 } }, sort: { n: 'desc' }, limit: 300 }],
  ])(
    'INV-15 INV-22: %s: others have their turns while it is evaluated, and what they change is in the result',
    async (_, query) => {
      await using server = await start()
      const writer = await fill(server)
      const client = new FakeSocket(server.server)
      const other = new FakeSocket(server.server)
      client.receive(ask('q', query))
      let pongs = 0
      let turns = 0
      for (; rowsIn(client) === undefined && turns < 5_000; turns++) {
        other.receive({ type: 'PING', timestamp: turns })
        // Rows that were looked at already, that were not, that are new, and that go.
        const at = (turns * 7_919) % RECORDS
        writer.receive(clientOp(put('m', name(at), { n: 50 + (turns % 50) })))
        writer.receive(clientOp(put('m', `new-${turns}`, { n: 96 })))
        if (turns % 3 === 0) writer.receive(clientOp(remove('m', name((at + 5_000) % RECORDS))))
        await oneTurn()
        if (rowsIn(client) === undefined) pongs = other.written.filter(({ type }) => type === 'PONG').length
      }
      expect(turns).toBeGreaterThan(20)
      expect(pongs).toBeGreaterThan(turns - 5)
      await client.settle()
      const rows = rowsIn(client) as [string, Value][]
      // The same question, asked of a server at rest by someone else, is answered from scratch.
      const late = new FakeSocket(server.server)
      late.receive(ask('late', { ...query, where: { ...query.where, $and: [{ n: { $gte: 0 } }] } }))
      for (let turn = 0; turn < 500 && rowsIn(late) === undefined; turn++) await late.settle()
      const expected = rowsIn(late) as [string, Value][]
      expect(new Map(rows)).toEqual(new Map(expected))
      const order = ([keyA, a]: [string, Value], [keyB, b]: [string, Value]): number =>
        (query.sort === undefined ? 0 : compareForOrder((b as { n: number }).n, (a as { n: number }).n)) ||
        (keyA < keyB ? -1 : 1)
      expect(expected).toEqual(expected.toSorted(order))
    },
  )

  test('INV-22: who asks the same meanwhile waits for the same evaluation, and one that nobody waits for ends', async () => {
    await using server = await start()
    await fill(server)
    const sockets = Array.from({ length: 5 }, () => new FakeSocket(server.server))
    for (const socket of sockets) socket.receive(ask('q', { sort: { n: 'asc' }, limit: 10 }))
    expect(server.server.inspect()['queries']).toMatchObject({ queries: 1, subscriptions: 0 })
    for (let turn = 0; turn < 500 && sockets.some((each) => rowsIn(each) === undefined); turn++) await oneTurn()
    expect(sockets.map((each) => rowsIn(each)?.length)).toEqual([10, 10, 10, 10, 10])
    const gone = new FakeSocket(server.server)
    gone.receive(ask('q', { sort: { n: 'desc' }, limit: 10 }))
    await oneTurn()
    expect(server.server.inspect()['queries']).toMatchObject({ queries: 2 })
    gone.end()
    await oneTurn()
    await oneTurn()
    expect(server.server.inspect()['queries']).toMatchObject({ queries: 1, subscriptions: 5 })
  })

  test('INV-15: a row that came and went while others had their turns is not in the result', async () => {
    await using server = await start()
    const writer = await fill(server)
    const first = new FakeSocket(server.server)
    first.receive(ask('q', {}))
    for (let turn = 0; turn < 500 && rowsIn(first) === undefined; turn++) await oneTurn()
    // So many that a turn does not do a step of each.
    for (let i = 0; i < 20; i++) new FakeSocket(server.server).receive(ask('q', { where: { n: { $gt: i } } }))
    await oneTurn()
    const client = new FakeSocket(server.server)
    client.receive(ask('q', {}))
    writer.receive(clientOp(put('m', 'passing', { n: 1 })))
    const answered = (): boolean => client.written.some(({ type }) => type === 'QUERY_RESP')
    for (let turn = 0; turn < 500 && !answered(); turn++) await oneTurn()
    writer.receive(clientOp(remove('m', 'passing')))
    for (let turn = 0; turn < 500 && rowsIn(client) === undefined; turn++) await oneTurn()
    await client.settle()
    expect(rowsIn(client)).toHaveLength(RECORDS)
    expect(rowsIn(client)?.map(([key]) => key)).not.toContain('passing')
  })

  test('INV-22: a step ends by the clock, as one row may take as long as a thousand others', async () => {
    await using server = await start(5)
    await fill(server)
    const client = new FakeSocket(server.server)
    client.receive(ask('q', { limit: 1 }))
    let turns = 0
    for (; rowsIn(client) === undefined && turns < 5_000; turns++) await oneTurn()
    expect(turns).toBeGreaterThanOrEqual(RECORDS / 16)
  })

  test('what its session sends meanwhile waits', async () => {
    await using server = await start()
    await fill(server)
    const client = new FakeSocket(server.server)
    client.receive(ask('q', { limit: 1 }))
    client.receive(clientOp(put('m', name(0), { n: 1_000 })))
    const types = (): string[] => client.written.map(({ type }) => type)
    for (let turn = 0; turn < 20; turn++) await oneTurn()
    expect(types()).toEqual(['AUTH_REQUIRED'])
    for (let turn = 0; turn < 500 && !types().includes('QUERY_UPDATE'); turn++) await oneTurn()
    expect(rowsIn(client)).toEqual([[name(0), { n: 1_000 }]])
    expect(types()).toContain('OP_ACK')
  })
})

test('sorting in steps is sorting, whatever the length, and equal members keep their order', () => {
  for (const length of [0, 1, 2_047, 2_048, 2_049, 4_096, 10_000, 33_333]) {
    const list = Array.from({ length }, (_, i) => ({ rank: (i * 7_919) % 1_009, i }))
    const steps = sortInSteps(list, (a, b) => a.rank - b.rank)
    let next = steps.next()
    while (next.done !== true) next = steps.next()
    expect(next.value).toEqual(list.toSorted((a, b) => a.rank - b.rank))
  }
})

test.each<[string, QuerySpec, boolean]>([
  ['a scan', {}, false],
  ['a window over an index', { sort: { n: 'asc' }, limit: 1 }, true],
])('INV-22: %s goes through no more long texts in one step than through many short rows', (_, spec, isIndexed) => {
  const map = new WritableMap('m')
  for (let seq = 1; seq <= 2_000; seq++) {
    const stamp = { millis: 1_000, counter: 0, nodeId: 'n' }
    const record = wholeWrite({ n: seq, text: 'a'.repeat(640) }, stamp)
    map.advance(map.blank(`k${seq}`, record, stamp), record, seq, stamp)
  }
  const predicate = { op: 'like', attribute: 'text', value: '%b%' } as const
  const view = new Authorizer(undefined, true).rights(ANONYMOUS, 'm').view as ReadView
  const question = { spec: { ...spec, predicate } }
  const compiled = QueryGroup.compile(map, view, question, new QueryCursors('secret'), 1_500)
  if (!compiled.ok) throw new Error(compiled.error.message)
  const group = compiled.value
  // A clock on which any look at it finds that the step is over.
  let ms = 0
  const env = { now: () => 1_500, monotonic: () => (ms += 1_000), log: () => undefined }
  const indexes = isIndexed ? new Indexes(env, { maxRows: 10_000, declared: { m: ['n'] } }) : undefined
  const steps = group.evaluate(env, indexes)
  let longest = 0
  for (let before = 0, next = steps.next(); next.done !== true; next = steps.next()) {
    longest = Math.max(longest, group.work.looked - before)
    before = group.work.looked
  }
  // Each text counts as ten rows.
  expect(longest).toBeLessThan(isIndexed ? 2_500 : 20)
  expect(group.work.looked).toBeGreaterThan(20_000)
})

test('INV-22: a result is looked through for rows whose time has passed only when there is one', () => {
  const map = new WritableMap('m')
  for (let seq = 1; seq <= 3; seq++) {
    const stamp = { millis: 1_000, counter: 0, nodeId: 'n' }
    const record = wholeWrite({ n: seq }, stamp, seq * 1_000)
    map.advance(map.blank(`k${seq}`, record, stamp), record, seq, stamp)
  }
  const view = new Authorizer(undefined, true).rights(ANONYMOUS, 'm').view as ReadView
  const compiled = QueryGroup.compile(map, view, { spec: {} }, new QueryCursors('secret'), 1_500)
  if (!compiled.ok) throw new Error(compiled.error.message)
  const group = compiled.value
  for (const _ of group.evaluate({ now: () => 1_500, monotonic: () => 0 })) expect.unreachable('It is one step.')
  const looks = vi.spyOn(Map.prototype, 'values')
  const seen = [1_500, 2_000, 2_001, 2_500, 3_001].map((nowMs) => {
    const expired = group.expired(nowMs)
    group.apply(expired, nowMs)
    return [expired.map(({ key }) => key), looks.mock.calls.splice(0).length]
  })
  looks.mockRestore()
  expect(seen).toEqual([
    [[], 0],
    [[], 0],
    [['k1'], 1],
    [[], 0],
    [['k2'], 1],
  ])
})
