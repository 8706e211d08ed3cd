import { compileOrder } from '@syncline/core'
import * as fc from 'fast-check'
import { describe, expect, expectTypeOf, test, vi } from 'vitest'
import { failureOf, liveScene, scene } from '../../../test/harness.ts'
import { Tab, World } from '../../../test/virtual-env.ts'
import { createClient, type QuerySpec, type QueryState, type Row } from '../../index.ts'
import { Replica } from '../../offline/replica.ts'

interface Todo {
  text: string
  done?: boolean
  n: number
}

test('loading, empty and not yet synced are three different answers', async () => {
  const world = new World()
  const client = createClient({ url: 'ws://server', env: new Tab(world, 'tab').env() })
  const query = client.map('todos').query()
  expect(query.get()).toEqual({ rows: [], status: 'loading', complete: false, hasMore: false })
  await client.ready
  expect(query.get()).toEqual({ rows: [], status: 'local', complete: false, hasMore: false })
  const self = await liveScene()
  const live = self.client.map('todos').query()
  expect(live.get()).toEqual({ rows: [], status: 'live', complete: true, hasMore: false })
  self.socket.drop()
  expect(live.get()).toEqual({ rows: [], status: 'local', complete: true, hasMore: false })
})

test('the pages of a first sync are told together every 100 ms, its first and last and own writes at once', async () => {
  const self = await scene()
  const todos = self.client.map<Todo>('todos')
  const query = todos.query()
  const told: number[] = []
  query.subscribe(({ rows }) => told.push(rows.length))
  await self.greet()
  const page = (n: number, more: boolean): Promise<void> => {
    const timestamp = { millis: n, counter: 0, nodeId: 'other' }
    return self.page('todos', [{ key: `k${n}`, record: { value: { text: 'a', n }, timestamp }, seq: n }], { more })
  }
  await page(1, true)
  expect(told).toEqual([1])
  await page(2, true)
  await page(3, true)
  expect(told).toEqual([1])
  // Whoever asks gets what is here, and so does everyone then.
  expect([query.get().rows.length, todos.size]).toEqual([3, 3])
  await page(4, true)
  await self.world.advance(100)
  expect(told).toEqual([1, 3, 4])
  await page(5, true)
  todos.set('own', { text: 'a', n: 0 })
  await self.world.settle()
  expect(told).toEqual([1, 3, 4, 6])
  await page(6, true)
  await page(7, false)
  expect(told).toEqual([1, 3, 4, 6, 8])
  expect(query.get()).toMatchObject({ status: 'live', complete: true })
})

test('a subscriber hears once per turn, and not of what does not concern it', async () => {
  const { client, world } = await liveScene()
  const todos = client.map<Todo>('todos')
  const states: QueryState<Todo>[] = []
  const query = todos.query({ where: { done: false }, orderBy: [['n', 'desc']], limit: 2 })
  query.subscribe((state) => states.push(state))
  for (let n = 0; n < 4; n++) todos.set(`k${n}`, { text: 'a', done: false, n })
  todos.set('other', { text: 'a', done: true, n: 9 })
  await world.settle()
  expect(states).toHaveLength(1)
  expect(states[0]?.rows.map(({ key }) => key)).toEqual(['k3', 'k2'])
  expect(states[0]?.hasMore).toBe(true)
  const [first] = states[0]?.rows ?? []
  todos.update('k2', (todo) => void (todo.text = 'b'))
  await world.settle()
  expect(states).toHaveLength(2)
  expect(states[1]?.rows[0]).toBe(first)
  expect(states[1]?.rows[1]).not.toBe(states[0]?.rows[1])
  todos.update('other', (todo) => void (todo.text = 'c'))
  todos.update('k0', (todo) => void (todo.text = 'out of the window'))
  await world.settle()
  expect(states).toHaveLength(2)
  expect(query.get()).toBe(states[1])
})

test('what was asked for before the end of the turn is up to date', async () => {
  const { client } = await liveScene()
  const todos = client.map('todos')
  const query = todos.query()
  const stop = query.subscribe(() => {})
  todos.set('t1', 1)
  expect(query.get().rows).toMatchObject([{ key: 't1', value: 1, sync: 'pending' }])
  stop()
  todos.set('t2', 2)
  expect(query.get().rows).toHaveLength(2)
})

test('rows keep their identity when what was pending is confirmed with the same value', async () => {
  const { client, world, ops, ack, event } = await liveScene()
  const todos = client.map<{ a: number }>('todos')
  const query = todos.query()
  query.subscribe(() => {})
  todos.set('t1', { a: 1 })
  const before = query.get().rows[0]
  await world.settle()
  const [op] = ops()
  await ack([op!.id!], 1)
  await event('t1', { a: 1 }, 1, op!.record.timestamp)
  const after = query.get().rows[0]
  expect(after?.sync).toBe('synced')
  expect(after?.value).toBe(before?.value)
})

test('rows keep their identity also where nobody subscribes and the whole map is looked at again', async () => {
  const { client } = await liveScene()
  const todos = client.map('todos')
  const query = todos.query()
  todos.set('a', 1)
  const [before] = query.get().rows
  todos.set('b', 2)
  expect(query.get().rows[0]).toBe(before)
})

test('loadMore adds as many rows again', async () => {
  const { client } = await liveScene()
  const todos = client.map('todos')
  for (let i = 0; i < 5; i++) todos.set(`k${i}`, i)
  const query = todos.query({ limit: 2 })
  await query.loadMore()
  expect(query.get()).toMatchObject({
    rows: [{ key: 'k0' }, { key: 'k1' }, { key: 'k2' }, { key: 'k3' }],
    hasMore: true,
  })
  await query.loadMore()
  expect(query.get().hasMore).toBe(false)
})

test('queries that ask for the same have the same hash, and others have not', async () => {
  const { client } = await scene()
  const todos = client.map<Todo>('todos')
  const hash = todos.query({ where: { done: false, n: { $gt: 1 } }, orderBy: [['n', 'asc']], limit: 5 }).hash
  expect(todos.query({ limit: 5, orderBy: [['n', 'asc']], where: { n: { $gt: 1 }, done: false } }).hash).toBe(hash)
  expect(todos.query({ where: { done: true, n: { $gt: 1 } }, orderBy: [['n', 'asc']], limit: 5 }).hash).not.toBe(hash)
  expect(todos.query({ where: { done: false, n: { $gt: 1 } }, orderBy: [['n', 'asc']], limit: 6 }).hash).not.toBe(hash)
  expect(client.map<Todo>('b').query({ where: { done: false } }).hash).not.toBe(
    todos.query({ where: { done: false } }).hash,
  )
})

test('a query that makes no sense is an error state, and once rejects', async () => {
  const { client } = await liveScene()
  const query = client.map('todos').query({ where: { a: { $nope: 1 } } } as never)
  expect(query.get()).toMatchObject({ status: 'error', rows: [], error: { code: 'BAD_QUERY' } })
  await expect(query.once()).rejects.toMatchObject({ code: 'BAD_QUERY' })
})

test('[QY2] fields inside of fields are selected and sorted by, and their types are known', async () => {
  interface Person {
    name: string
    home?: { city: string; at: { x: number; tags: string[] } | null }
    bytes: Uint8Array
    others: { name: string }[]
  }
  interface Tree {
    name: string
    left?: Tree
  }
  const { client } = await liveScene()
  const people = client.map<Person>('people')
  const rest = { bytes: new Uint8Array(), others: [] }
  people.set('ann', { name: 'Ann', home: { city: 'Bern', at: { x: 2, tags: ['a'] } }, ...rest })
  people.set('bob', { name: 'Bob', home: { city: 'Rome', at: { x: 3, tags: [] } }, ...rest })
  people.set('cy', { name: 'Cy', home: { city: 'Bern', at: { x: 1, tags: [] } }, ...rest })
  people.set('di', { name: 'Di', ...rest })
  const keys = (spec: QuerySpec<Person>): string[] =>
    people
      .query(spec)
      .get()
      .rows.map(({ key }) => key)
  expect(keys({ where: { 'home.city': 'Bern' }, orderBy: [['home.at.x', 'asc']] })).toEqual(['cy', 'ann'])
  expect(keys({ where: { name: { $ne: 'Cy' }, 'home.at.x': { $gte: 1 } } })).toEqual(['ann', 'bob'])
  expect(keys({ where: { 'home.at.tags': { $contains: 'a' } } })).toEqual(['ann'])
  expect(keys({ where: { $not: { 'home.city': { $exists: true } } } })).toEqual(['di'])
  // @ts-expect-error no such field
  expect(keys({ where: { 'home.town': 'Bern' } })).toEqual([])
  // @ts-expect-error a text
  expect(keys({ where: { 'home.city': 5 } })).toEqual([])
  // @ts-expect-error lists have no fields
  expect(keys({ where: { 'others.name': 'Ann' } })).toEqual([])
  // @ts-expect-error no such field
  expect(keys({ orderBy: [['home.town', 'asc']] })).toHaveLength(4)
  const trees: QuerySpec<Tree> = { where: { 'left.left.name': 'x' } }
  expect(client.map<Tree>('trees').query(trees).get().rows).toEqual([])
  // What is known of nothing may have any field.
  expect(
    client
      .map('people')
      .query({ where: { 'home.city': 'Bern' } })
      .get().rows,
  ).toHaveLength(2)
})

test.each([
  [{ limit: -1 }],
  [{ limit: 1.5 }],
  [{ limit: '5' }],
  [{ orderBy: [['text', 'up']] }],
  [{ orderBy: ['text'] }],
  [{ orderBy: { text: 'asc' } }],
])('[QY9] %j is a query that makes no sense: it does not quietly give other rows', async (spec) => {
  const { client } = await liveScene()
  const query = client.map('todos').query(spec as never)
  expect(query.get()).toMatchObject({ status: 'error', rows: [], error: { code: 'BAD_QUERY' } })
  await expect(query.once()).rejects.toMatchObject({ code: 'BAD_QUERY' })
})

test('once gives local rows when local data is loaded', async () => {
  const client = createClient({ env: new Tab(new World(), 'tab').env() })
  client.map('todos').set('t1', 1)
  expect(await client.map('todos').query().once()).toMatchObject([{ key: 't1', value: 1 }])
})

test('once from the server asks, collects the parts of the answer and unsubscribes', async () => {
  const { client, sent, say } = await liveScene()
  const rows = client
    .map<Todo>('todos')
    .query({ where: { n: 1 }, orderBy: [['n', 'desc']], limit: 3 })
    .once({ from: 'server' })
  const [sub] = sent('QUERY_SUB')
  expect(sub?.payload).toMatchObject({ mapName: 'todos', query: { where: { n: 1 }, sort: { n: 'desc' }, limit: 3 } })
  const queryId = sub?.payload['queryId']
  await say({ type: 'QUERY_RESP', payload: { queryId, results: [{ key: 'a', value: 1 }], more: true } })
  expect(sent('QUERY_UNSUB')).toEqual([])
  await say({ type: 'QUERY_RESP', payload: { queryId, results: [{ key: 'b', value: 2 }] } })
  expect(await rows).toEqual([
    { key: 'a', value: 1, sync: 'synced' },
    { key: 'b', value: 2, sync: 'synced' },
  ])
  expect(sent('QUERY_UNSUB')).toMatchObject([{ payload: { queryId } }])
})

test('once from the server waits for a connection, outlives one, and ends with its time limit, refusal or the client', async () => {
  const { client, greet, sent, say, socket, world } = await scene()
  const query = client.map('todos').query()
  const answered = query.once({ from: 'server' })
  const slow = failureOf(query.once({ from: 'server', timeoutMs: 500 }))
  await world.advance(600)
  expect(await slow).toMatchObject({ code: 'TIMEOUT' })
  await greet()
  expect(sent('QUERY_SUB')).toHaveLength(1)
  socket.drop()
  await world.advance(1_000)
  await greet()
  const [sub] = sent('QUERY_SUB')
  await say({ type: 'QUERY_RESP', payload: { queryId: sub?.payload['queryId'], results: [] } })
  expect(await answered).toEqual([])
  const refused = failureOf(query.once({ from: 'server' }))
  const [again] = sent('QUERY_SUB')
  await say({
    type: 'ERROR',
    requestId: again!['requestId'],
    payload: { code: 403, errorCode: 'FORBIDDEN', message: 'no' },
  })
  expect(await refused).toMatchObject({ code: 'FORBIDDEN' })
  const closed = failureOf(query.once({ from: 'server' }))
  await client.close()
  expect(await closed).toMatchObject({ code: 'CLOSED' })
  const offline = createClient({ env: new Tab(world, 'other').env() })
  await expect(offline.map('todos').query().once({ from: 'server' })).rejects.toMatchObject({ code: 'OFFLINE' })
})

test('an iterator gives the present state and each later one, and ends with the client', async () => {
  const { client } = await liveScene()
  const seen: number[] = []
  const done = (async () => {
    for await (const { rows } of client.map('todos').query()) seen.push(rows.length)
  })()
  await new Promise((resolve) => setImmediate(resolve))
  client.map('todos').set('a', 1)
  await new Promise((resolve) => setImmediate(resolve))
  client.map('todos').set('b', 1)
  await new Promise((resolve) => setImmediate(resolve))
  await client.close()
  await done
  expect(seen).toEqual([0, 1, 2])
})

test('a subscription ends by its function, by using and by its signal; a subscriber that throws harms nobody', async () => {
  const { client, world, tab } = await liveScene()
  const todos = client.map('todos')
  const calls: string[] = []
  const query = todos.query()
  query.subscribe(() => {
    throw new Error('mine')
  })
  const stop = query.subscribe(() => calls.push('function'))
  const controller = new AbortController()
  query.subscribe(() => calls.push('signal'), { signal: controller.signal })
  {
    using _ = query.subscribe(() => calls.push('using'), { immediate: true })
  }
  todos.set('t1', 1)
  await world.settle()
  stop()
  controller.abort()
  todos.set('t2', 1)
  await world.settle()
  expect(calls).toEqual(['using', 'function', 'signal'])
  expect(tab.log.filter(({ level }) => level === 'error')).toHaveLength(2)
})

test('a result kept up from change to change is the same as one that looks at the whole map', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.array(
          fc.record({
            key: fc.integer({ min: 0, max: 60 }).map((n) => `k${n}`),
            value: fc.option(fc.record({ n: fc.integer({ min: 0, max: 5 }), done: fc.boolean() })),
          }),
          { maxLength: 40 },
        ),
        { maxLength: 12 },
      ),
      async (turns) => {
        const { client, world } = await scene()
        const todos = client.map<{ n: number; done: boolean }>('todos')
        const spec = { where: { done: true }, orderBy: [['n', 'desc']], limit: 7 } as const
        const kept = todos.query(spec)
        kept.subscribe(() => {})
        for (const turn of turns) {
          for (const { key, value } of turn) {
            if (value === null) todos.delete(key)
            else todos.set(key, value)
          }
          await world.settle()
          const plain = (rows: readonly Row<unknown>[]): unknown => rows.map(({ key, value }) => [key, value])
          expect(plain(kept.get().rows)).toEqual(plain(todos.query(spec).get().rows))
          expect(kept.get().hasMore).toBe(todos.query(spec).get().hasMore)
        }
        await client.close()
      },
    ),
    { numRuns: 60 },
  )
})

test('many rows at once come in the order of the query, whatever their values are', async () => {
  const anything = fc.oneof(
    fc.integer({ min: -3, max: 3 }),
    fc.constantFrom('', 'a', 'b', '10', '9', '😀', '\uffff', true, false, null),
    fc.constant([1]),
  )
  const record = fc.record({ a: anything, b: anything }, { requiredKeys: [] })
  await fc.assert(
    fc.asyncProperty(
      fc.array(record, { minLength: 17, maxLength: 60 }),
      fc.constantFrom('asc' as const, 'desc' as const),
      async (records, direction) => {
        const { client } = await scene()
        const todos = client.map<{ a: unknown; b: unknown }>('todos')
        for (const [i, value] of records.entries()) todos.set(`k${i}`, value as never)
        const rows = todos
          .query({
            orderBy: [
              ['a', direction],
              ['b', 'asc'],
            ],
          })
          .get().rows
        const order = compileOrder({ a: direction, b: 'asc' })
        const keys = records.map((value, i) => ({ key: `k${i}`, value: value as never }))
        keys.sort((x, y) => order(x.key, x.value, y.key, y.value))
        expect(rows.map(({ key }) => key)).toEqual(keys.map(({ key }) => key))
        await client.close()
      },
    ),
    { numRuns: 200 },
  )
})

test('a write costs a live query a look at its key, however large the map is', async () => {
  const { client, world } = await liveScene()
  const todos = client.map<{ n: number }>('todos')
  for (let i = 0; i < 2_000; i++) todos.set(`k${i}`, { n: i })
  const query = todos.query({ where: { n: { $gte: 0 } }, orderBy: [['n', 'desc']] })
  query.subscribe(() => {})
  await world.settle()
  const looks = [vi.spyOn(Replica.prototype, 'get'), vi.spyOn(Replica.prototype, 'entries')]
  todos.set('k7', { n: 7_000 })
  await world.settle()
  expect(query.get().rows[0]).toMatchObject({ key: 'k7', value: { n: 7_000 } })
  expect(looks.map(({ mock }) => mock.calls.length)).toEqual([expect.toSatisfy((calls: number) => calls < 10), 0])
  for (const look of looks) look.mockRestore()
})

describe('a page after another', () => {
  test('goes on where the first one ended, whatever is written meanwhile', async () => {
    const { client } = await liveScene()
    const todos = client.map<Todo>('todos')
    for (let n = 0; n < 6; n++) todos.set(`k${n}`, { text: `t${n % 2}`, n })
    const spec = { orderBy: [['text', 'desc']], limit: 2 } as const
    const first = todos.query(spec).get()
    expect(first.rows.map(({ key }) => key)).toEqual(['k1', 'k3'])
    const after = first.nextCursor as string
    const second = todos.query({ ...spec, after })
    expect(second.get()).toMatchObject({ rows: [{ key: 'k5' }, { key: 'k0' }], hasMore: true })
    todos.delete('k3')
    todos.set('k2b', { text: 't1', n: 9 })
    todos.set('early', { text: 't2', n: 9 })
    todos.set('late', { text: 't1', n: 9 })
    expect(second.get().rows.map(({ key }) => key)).toEqual(['k5', 'late'])
    await second.loadMore()
    expect(second.get()).toMatchObject({ rows: [{}, {}, { key: 'k0' }, { key: 'k2' }], hasMore: true })
    const last = todos.query({ ...spec, after: second.get().nextCursor as string }).get()
    expect([last.rows.map(({ key }) => key), last.hasMore, last.nextCursor]).toEqual([['k4'], false, undefined])
  })

  test('is refused where the place is none of such a query', async () => {
    const { client } = await liveScene()
    for (const after of ['', 'k1', '["k1",1]', '[1]']) {
      expect(client.map('todos').query({ after }).get()).toMatchObject({
        status: 'error',
        rows: [],
        error: { code: 'INVALID_CURSOR' },
      })
    }
  })

  test('from the server is taken from all rows, since the server knows its own places only', async () => {
    const { client, sent, say } = await liveScene()
    const todos = client.map<Todo>('todos')
    const after = JSON.stringify(['b', 2])
    const rows = todos.query({ orderBy: [['n', 'asc']], limit: 1, after, select: ['n'] }).once({ from: 'server' })
    const [sub] = sent('QUERY_SUB')
    expect(sub?.payload['query']).toEqual({ sort: { n: 'asc' } })
    const results = ['a', 'b', 'c', 'd'].map((key, n) => ({ key, value: { n: n + 1, text: key } }))
    await say({ type: 'QUERY_RESP', payload: { queryId: sub?.payload['queryId'], results } })
    expect(await rows).toEqual([{ key: 'c', value: { n: 3 }, sync: 'synced' }])
  })
})

describe('selected fields', () => {
  test('are all that rows have; a change of others is none', async () => {
    const { client, world } = await liveScene()
    const todos = client.map<Todo>('todos')
    todos.set('a', { text: 'x', done: true, n: 1 })
    todos.set('b', { text: 'y', n: 2 })
    const query = todos.query({ where: { n: { $gt: 0 } }, orderBy: [['n', 'asc']], select: ['text', 'done'] })
    const states: unknown[] = []
    query.subscribe((state) => states.push(state))
    const [first] = query.get().rows
    expect(query.get().rows.map(({ value }) => value)).toEqual([{ text: 'x', done: true }, { text: 'y' }])
    expectTypeOf(query.get().rows[0]!.value).toEqualTypeOf<Pick<Todo, 'text' | 'done'>>()
    await world.settle()
    states.length = 0
    todos.update('a', (todo) => void (todo.n = 1.5))
    await world.settle()
    expect(states).toEqual([])
    expect(query.get().rows[0]).toBe(first)
    todos.update('a', (todo) => void (todo.n = 3))
    await world.settle()
    expect(query.get().rows.map(({ key }) => key)).toEqual(['b', 'a'])
  })

  test('are asked of the server', async () => {
    const { client, sent } = await liveScene()
    void client
      .map<Todo>('todos')
      .query({ select: ['text'] })
      .once({ from: 'server' })
      .catch(() => {})
    expect(sent('QUERY_SUB')[0]?.payload['fields']).toEqual(['text'])
  })
})
