import { describe, expect, test } from 'vitest'
import { failureOf, liveScene, scene, stamp, type Scene } from '../../../test/harness.ts'
import { Tab, World } from '../../../test/virtual-env.ts'
import { createClient, type QueryState } from '../../index.ts'

interface Note {
  title: string
  body?: string
  n?: number
}

const subs = (self: Scene): Record<string, unknown>[] => self.sent('SEARCH_SUB').map(({ payload }) => payload)

/** A subscribed search, the id that the server knows it by, and what its subscriber was told. */
async function searching(self: Scene, text: string, spec = {}) {
  const query = self.client.map<Note>('todos').search(text, spec)
  const states: QueryState<Note>[] = []
  const stop = query.subscribe((state) => states.push(state), { immediate: true })
  await self.world.settle()
  const [sub] = subs(self)
  return { query, states, stop, sub, id: sub?.['subscriptionId'] as string }
}

const row = (key: string, score: number, value: unknown = { title: key }) => ({ key, value, score, matchedTerms: [] })
const shown = ({ rows }: QueryState<Note>): unknown[] => rows.map(({ key, score }) => [key, score])

describe('a search with a connection', () => {
  test('[FT1] [FT5] shows what the server finds, the best first, and follows its changes', async () => {
    const self = await liveScene()
    const { query, sub, id, states, stop } = await searching(self, 'mil', { limit: 2, where: { n: 1 }, minScore: 0.1 })
    expect(sub).toEqual({
      subscriptionId: id,
      mapName: 'todos',
      query: 'mil',
      options: { prefix: true, limit: 2, where: { n: 1 }, minScore: 0.1 },
    })
    const payload = { requestId: id, totalCount: 3 }
    await self.say({ type: 'SEARCH_RESP', payload: { ...payload, results: [row('a', 2)], more: true } })
    expect(query.get().status).toBe('local')
    await self.say({ type: 'SEARCH_RESP', payload: { ...payload, results: [row('b', 1)], version: 5 } })
    expect(query.get()).toMatchObject({ status: 'live', complete: true, hasMore: true })
    expect(shown(query.get())).toEqual([
      ['a', 2],
      ['b', 1],
    ])
    const [first] = query.get().rows
    const update = (key: string, score: number, changeType: string, totalCount: number): Promise<void> =>
      self.say({ type: 'SEARCH_UPDATE', payload: { subscriptionId: id, ...row(key, score), changeType, totalCount } })
    await update('b', 0, 'LEAVE', 2)
    await update('c', 3, 'ENTER', 2)
    expect(shown(states.at(-1) as QueryState<Note>)).toEqual([
      ['c', 3],
      ['a', 2],
    ])
    expect(query.get().rows[1]).toBe(first)
    expect(query.get().hasMore).toBe(false)
    stop()
    expect(self.sent('SEARCH_UNSUB')).toMatchObject([{ payload: { subscriptionId: id } }])
  })

  test('shows what was written here and is not confirmed, and not what was deleted here', async () => {
    const self = await liveScene()
    const todos = self.client.map<Note>('todos')
    todos.set('a', { title: 'milk, mine' })
    const { query, id } = await searching(self, 'milk')
    todos.delete('b')
    const results = [row('a', 2, { title: 'milk' }), row('b', 1, { title: 'milk' })]
    await self.say({ type: 'SEARCH_RESP', payload: { requestId: id, results, totalCount: 2 } })
    expect(query.get().rows).toEqual([{ key: 'a', value: { title: 'milk, mine' }, sync: 'pending', score: 2 }])
  })

  test('falls back to what is here without a connection, and asks again with the next one', async () => {
    const self = await liveScene([
      { key: 'x', record: { value: { title: 'milk' }, timestamp: { millis: 1, counter: 0, nodeId: 'o' } }, seq: 1 },
    ])
    const { query, id } = await searching(self, 'milk')
    await self.say({ type: 'SEARCH_RESP', payload: { requestId: id, results: [row('a', 2)], totalCount: 1 } })
    expect(shown(query.get())).toEqual([['a', 2]])
    self.socket.drop()
    await self.world.settle()
    expect(query.get()).toMatchObject({ status: 'local', complete: true, rows: [{ key: 'x' }] })
    await self.world.advance(2_000)
    await self.greet()
    expect(subs(self)).toMatchObject([{ subscriptionId: id, query: 'milk' }])
  })

  test('[FT4] a map that the server does not search is searched here; what may not be read is an error; what is full is asked again', async () => {
    const self = await liveScene()
    self.client.map<Note>('todos').set('a', { title: 'milk' })
    const { query, id } = await searching(self, 'milk')
    const refuse = (errorCode: string, details?: object): Promise<void> =>
      self.say({
        type: 'SEARCH_RESP',
        payload: { requestId: id, results: [], totalCount: 0, error: 'No.', errorCode, ...(details && { details }) },
      })
    await refuse('NOT_ENABLED')
    expect(query.get()).toMatchObject({ status: 'local', rows: [{ key: 'a', sync: 'pending' }] })
    await refuse('OVERLOADED', { retryAfterMs: 3_000 })
    expect(query.get().status).toBe('local')
    expect(subs(self)).toEqual([])
    await self.world.advance(3_000)
    expect(subs(self)).toHaveLength(1)
    await refuse('FORBIDDEN')
    expect(query.get()).toMatchObject({ status: 'error', rows: [], error: { code: 'FORBIDDEN' } })
    self.socket.drop()
    await self.world.settle()
    expect(query.get().status).toBe('local')
  })

  test('loadMore asks for as many rows again', async () => {
    const self = await liveScene()
    const { query, sub } = await searching(self, 'milk', { limit: 2 })
    expect(sub).toMatchObject({ options: { limit: 2 } })
    await query.loadMore()
    expect(subs(self)).toMatchObject([{ options: { limit: 4 } }])
  })

  test('once from the server asks it once, and rejects with its refusal, in time or with the client', async () => {
    const self = await liveScene()
    const query = self.client.map<Note>('todos').search('milk')
    const asked = query.once({ from: 'server' })
    await self.world.settle()
    const [message] = self.sent('SEARCH')
    const requestId = message?.payload['requestId'] as string
    await self.say({ type: 'SEARCH_RESP', payload: { requestId, results: [row('a', 2)], totalCount: 1 } })
    expect(await asked).toEqual([{ key: 'a', value: { title: 'a' }, sync: 'synced', score: 2 }])
    const refused = failureOf(query.once({ from: 'server' }))
    await self.world.settle()
    const again = self.sent('SEARCH')[0]?.payload['requestId']
    const refusal = { requestId: again, results: [], totalCount: 0, error: 'No.', errorCode: 'FORBIDDEN' }
    await self.say({ type: 'SEARCH_RESP', payload: refusal })
    expect(await refused).toMatchObject({ code: 'FORBIDDEN' })
    const late = failureOf(query.once({ from: 'server', timeoutMs: 500 }))
    await self.world.advance(600)
    expect(await late).toMatchObject({ code: 'TIMEOUT' })
    const closed = failureOf(query.once({ from: 'server' }))
    await self.world.settle()
    await self.client.close()
    expect(await closed).toMatchObject({ code: 'CLOSED' })
  })
})

describe('a search without a connection', () => {
  const offline = async () => {
    const world = new World()
    const client = createClient({ env: new Tab(world, 'tab').env() })
    const notes = client.map<Note>('notes')
    return { world, client, notes }
  }

  test('[SR2] scores as the server does, over what is here', async () => {
    const { client, notes } = await offline()
    await client.ready
    notes.set('a1', { title: 'Quick foxes', body: 'jumping over dogs' })
    notes.set('a2', { title: 'Slow dogs', body: 'dogs sleeping dogs' })
    notes.set('a3', { title: 'x' })
    notes.delete('a3')
    const query = notes.search('dogs')
    const state = query.get()
    expect(state).toMatchObject({ status: 'local', complete: false, hasMore: false })
    expect(state.rows.map(({ key }) => key)).toEqual(['a2', 'a1'])
    expect(state.rows[0]?.score).toBeCloseTo(0.2798423894976978, 12)
    expect(state.rows[1]?.score).toBeCloseTo(0.19100353568890485, 12)
    expect(await query.once()).toEqual(state.rows)
    expect(notes.search('do').get().rows).toHaveLength(2)
    expect(
      notes
        .search('dogs', { fields: ['title'] })
        .get()
        .rows.map(({ key }) => key),
    ).toEqual(['a2'])
    expect(notes.search('dogs', { limit: 1 }).get()).toMatchObject({ rows: [{ key: 'a2' }], hasMore: true })
    expect(notes.search('dogs', { minScore: 0.2 }).get().rows).toHaveLength(1)
    expect(notes.search('dogs', { where: { title: 'Quick foxes' } }).get().rows).toMatchObject([{ key: 'a1' }])
    expect(notes.search('the').get().rows).toEqual([])
    expect(notes.search('dogs', { where: { title: { $near: 1 } as never } }).get()).toMatchObject({
      status: 'error',
      error: { code: 'BAD_QUERY' },
    })
    expect(await failureOf(query.once({ from: 'server' }))).toMatchObject({ code: 'OFFLINE' })
  })

  test.each([
    ['milk', { limit: -1 }],
    ['milk', { limit: 0.5 }],
    ['milk', { minScore: -1 }],
    ['milk', { minScore: 'x' }],
    ['milk', { fields: [] }],
    [5, {}],
  ])('[FT2] a search for %j with %j cannot be meant: an error here as on the server', async (text, spec) => {
    const { client, notes } = await offline()
    await client.ready
    notes.set('a', { title: 'Buy milk' })
    const query = notes.search(text as string, spec as never)
    expect(query.get()).toMatchObject({ status: 'error', rows: [], error: { code: 'BAD_QUERY' } })
    expect(await failureOf(query.once())).toMatchObject({ code: 'BAD_QUERY' })
  })

  test('follows what is written here, with the scores of a new search', async () => {
    const { world, client, notes } = await offline()
    await client.ready
    const query = notes.search('milk')
    const states: QueryState<Note>[] = []
    query.subscribe((state) => states.push(state))
    const words = ['milk', 'milk and bread', 'bread', 'milk milk', 'butter']
    for (let i = 0; i < 40; i++) {
      notes.set(`k${i % 7}`, { title: words[(i * 7) % 5] as string })
      if (i % 4 === 3) notes.delete(`k${(i * 3) % 7}`)
      if (i % 5 === 4) notes.set(`k${i % 7}`, 'milk' as never)
      await world.settle()
      const fresh = notes.search('milk').get()
      expect(query.get().rows.map(({ key }) => key)).toEqual(fresh.rows.map(({ key }) => key))
      for (const [at, { score }] of query.get().rows.entries())
        expect(score).toBeCloseTo(fresh.rows[at]?.score as number, 9)
    }
    expect(states.length).toBeGreaterThan(5)
  })

  test('a large map is looked at in slices, and says that it is loading meanwhile', async () => {
    const { world, client, notes } = await offline()
    await client.ready
    for (let i = 0; i < 300; i++) notes.set(`k${i}`, { title: `milk ${i}` })
    const states: QueryState<Note>[] = []
    // On a virtual clock no time passes within a slice.
    notes.search('milk', { limit: 1 }).subscribe((state) => states.push(state), { immediate: true })
    await world.advance(10)
    expect(states.at(-1)).toMatchObject({ status: 'local', rows: { length: 1 } })
  })

  test('says that it is loading until local data is here, and what it has not synced', async () => {
    const self = await scene()
    const { query } = await searching(self, 'milk')
    expect(query.get()).toMatchObject({ status: 'local', complete: false, rows: [] })
    await self.greet()
    await self.page('todos', [{ key: 'a', record: { value: { title: 'milk' }, timestamp: stamp(self.world) }, seq: 1 }])
    expect(query.get()).toMatchObject({ status: 'local', complete: true, rows: [{ key: 'a' }] })
    const early = createClient({ env: new Tab(new World(), 'early').env() })
    expect(early.map('todos').search('milk').get()).toMatchObject({ status: 'loading', rows: [] })
  })

  test('the hash is the same for searches that ask for the same', async () => {
    const { notes } = await offline()
    const { hash } = notes.search('milk', { limit: 5, where: { n: 1, title: 'x' } })
    expect(notes.search('milk', { where: { title: 'x', n: 1 }, limit: 5 }).hash).toBe(hash)
    const others = [
      notes.search('milk'),
      notes.search('bread', { limit: 5 }),
      notes.search('milk', { fields: ['title'] }),
    ]
    expect(new Set([hash, ...others.map((query) => query.hash), notes.query().hash]).size).toBe(5)
  })
})
