import { compareStamps } from '@syncline/core'
import { expect, test } from 'vitest'
import { liveScene, scene, stamp, type Scene } from '../../../test/harness.ts'
import { Tab, World } from '../../../test/virtual-env.ts'
import { memory } from '../../storage/memory.ts'

const keyed = (world: World, key: string, value: unknown, seq: number, offsetMs = seq - 1_000) => ({
  key,
  seq,
  record: { value: value as never, timestamp: stamp(world, offsetMs) },
})

const reset = (more: object = { readable: true }): object => ({
  type: 'SYNC_RESET_REQUIRED',
  payload: { mapName: 'todos', reason: 'pruned', ...more },
})

/** A map in step, whose connection was lost and is there again. */
async function again(
  given: Parameters<typeof liveScene>[2] & { world: World },
  offline: (self: Scene) => void = () => {},
): Promise<Scene> {
  const { world } = given
  const self = await liveScene([keyed(world, 'a', 1, 1), keyed(world, 'b', 2, 2), keyed(world, 'c', 3, 3)], {}, given)
  self.socket.drop()
  offline(self)
  await world.advance(1_000)
  await self.greet()
  return self
}

test('INV-12 [SY10] a map that begins anew shows what was there until it is complete', async () => {
  const world = new World()
  const self = await again({ world })
  const todos = self.client.map('todos')
  const seen: [string[], string, boolean][] = []
  const query = todos.query()
  query.subscribe(({ rows, status, complete }) =>
    seen.push([rows.map(({ key, value }) => `${key}${value}`), status, complete]),
  )
  await self.say(reset())
  expect(Object.fromEntries(todos)).toEqual({ a: 1, b: 2, c: 3 })
  expect([todos.size, todos.get('b'), todos.has('c')]).toEqual([3, 2, true])
  await self.page('todos', [keyed(world, 'a', 10, 8), keyed(world, 'c', null, 9)], { seq: 9, more: true })
  await world.advance(200)
  expect(Object.fromEntries(todos)).toEqual({ a: 10, b: 2 })
  await self.page('todos', [keyed(world, 'd', 4, 10)], { seq: 10 })
  await world.advance(200)
  expect(Object.fromEntries(todos)).toEqual({ a: 10, d: 4 })
  expect(query.get()).toMatchObject({ status: 'live', complete: true })
  // No step in between was empty, or said that the map had never been received.
  expect(seen.every(([rows, , complete]) => rows.length > 0 && complete)).toBe(true)
  expect(seen.at(-1)).toEqual([['a10', 'd4'], 'live', true])
})

test.each([
  ['an update', (self: Scene) => void self.client.map('todos').set('b', 20), [{ local: 20, remote: undefined }]],
  ['a removal', (self: Scene) => void self.client.map('todos').delete('b'), []],
])('INV-12 [RT5] %s that was made while the map began anew waits for it, and is told what it lost', async (...args) => {
  const [, act, conflicts] = args
  const world = new World()
  const self = await again({ world })
  await self.say(reset())
  act(self)
  await self.page('todos', [keyed(world, 'a', 1, 8)], { seq: 8, more: true })
  expect(self.ops()).toEqual([])
  await self.page('todos', [], { seq: 9 })
  const told = self.events.flatMap(([name, event]) => (name === 'conflict' ? [event] : []))
  expect(told).toMatchObject(conflicts.map((conflict) => ({ conflict: { key: 'b', ...conflict } })))
  // What is gone already can be removed: nobody is asked about that.
  expect(self.ops().map(({ opType }) => opType)).toEqual(conflicts.length === 0 ? ['REMOVE'] : [])
})

test('INV-21 what may not be read any more is not shown while the map begins anew', async () => {
  const world = new World()
  const self = await again({ world })
  await self.say(reset({}))
  const todos = self.client.map('todos')
  expect(Object.fromEntries(todos)).toEqual({})
  expect(todos.query().get()).toMatchObject({ rows: [], complete: false })
})

test('a reload, and a connection that is lost in the middle, find what was there before', async () => {
  const world = new World()
  const storage = memory()
  const tab = new Tab(world, 'tab')
  const self = await again({ world, storage, tab })
  await self.say(reset())
  await self.page('todos', [keyed(world, 'a', 10, 8)], { seq: 8, more: true })
  await world.advance(1_000)
  tab.kill()
  const next = await scene({}, { world, tab, storage })
  const todos = next.client.map('todos')
  expect(Object.fromEntries(todos)).toEqual({ a: 1, b: 2, c: 3 })
  await next.greet()
  expect(next.sent('SYNC_INIT')).toMatchObject([{ cursor: 'c3' }])
  await next.say(reset())
  await next.page('todos', [keyed(world, 'a', 10, 8)], { seq: 8, more: true })
  next.socket.drop()
  await world.advance(1_000)
  expect(Object.fromEntries(todos)).toEqual({ a: 10, b: 2, c: 3 })
  await next.greet()
  // Base is what it was: it goes on from there, or begins once more.
  expect(next.sent('SYNC_INIT')).toMatchObject([{ cursor: 'c8' }])
  await next.say(reset())
  expect(Object.fromEntries(todos)).toEqual({ a: 10, b: 2, c: 3 })
  await next.page('todos', [keyed(world, 'b', 5, 9)], { seq: 9 })
  await world.advance(1_000)
  expect(Object.fromEntries(todos)).toEqual({ b: 5 })
  tab.kill()
  const last = await scene({}, { world, tab, storage })
  expect(Object.fromEntries(last.client.map('todos'))).toEqual({ b: 5 })
})

test('two tabs begin anew, one after the other, and neither brings back what the other has let go', async () => {
  const world = new World()
  const storage = memory()
  const [first, second] = [new Tab(world, 'first'), new Tab(world, 'second')]
  const a = await again({ world, storage, tab: first })
  const b = await scene({}, { world, storage, tab: second })
  const ofB = b.client.map('todos')
  expect(Object.fromEntries(ofB)).toEqual({ a: 1, b: 2, c: 3 })
  ofB.set('b', 'edited')
  await a.say(reset())
  await a.page('todos', [keyed(world, 'a', 1, 8)], { seq: 8 })
  await b.greet()
  await b.say(reset())
  expect(Object.fromEntries(ofB)).toEqual({ a: 1, b: 'edited', c: 3 })
  await b.page('todos', [keyed(world, 'a', 1, 8)], { seq: 8 })
  await world.advance(1_000)
  expect(b.ops()).toEqual([])
  expect(b.events.map(([name]) => name)).toEqual(['rejected', 'conflict'])
  // The refused edit stays in sight of its tab until the application takes it back.
  expect(Object.fromEntries(ofB)).toEqual({ a: 1, b: 'edited' })
  const third = await scene({}, { world, storage, tab: new Tab(world, 'third') })
  expect(third.client.map('todos').get('c')).toBeUndefined()
})

test('[RT5] a STALE write of a new key gets a stamp above the deletions that were forgotten', async () => {
  const self = await liveScene()
  const { client, world, say, ops, ack } = self
  client.map('todos').set('new', 1)
  await world.settle()
  const [put] = ops()
  const prunedThrough = stamp(world, 20_000)
  const details = { prunedThrough }
  const refused = { opId: put!.id, success: false, achievedLevel: 'MEMORY', latencyMs: 1, errorCode: 'STALE', details }
  await say({ type: 'OP_ACK', payload: { lastId: put!.id, results: [refused] } })
  await world.advance(1_000)
  const [renewed] = ops()
  expect(renewed?.id).toBe(put!.id)
  expect(compareStamps(renewed!.record.timestamp, prunedThrough)).toBeGreaterThan(0)
  await ack([put!.id!], 5)
  expect(client.status.get().rejected).toBe(0)
})

const refusal = (id: string | undefined, errorCode: string): object => ({
  type: 'OP_ACK',
  payload: { lastId: id, results: [{ opId: id, success: false, achievedLevel: 'MEMORY', latencyMs: 1, errorCode }] },
})

test('[RT5] a write that its client has replaced does not come up when what replaced it is deleted and forgotten', async () => {
  const self = await liveScene()
  const { client, world, say, ops, ack, event } = self
  const todos = client.map('todos')
  const first = todos.set('t1', 'first', { concern: 'persisted' })
  await world.advance(100)
  const [op] = ops()
  await say(refusal(op!.id, 'STORAGE_FULL'))
  todos.delete('t1')
  await world.advance(5_000)
  const removal = ops().find(({ opType }) => opType === 'REMOVE')
  await ack([removal!.id!], 5)
  await event('t1', null, 5, removal!.record.timestamp)
  expect(todos.get('t1')).toBeUndefined()
  const pruned = { mapName: 'todos', cursor: 'c6', seq: 6, events: [], prunedThroughSeq: 5 }
  await say({ type: 'SERVER_BATCH_EVENT', payload: pruned })
  expect(todos.get('t1')).toBeUndefined()
  await world.advance(60_000)
  expect(
    ops()
      .filter(({ id }) => id === first.id)
      .every(({ record }) => record.value === 'first'),
  ).toBe(true)
  expect(client.status.get()).toMatchObject({ pending: 0, rejected: 0 })
  expect(self.events).toEqual([])
})

test('INV-14 [RT5] nor where the map has begun anew before it was shown what replaced it', async () => {
  const self = await liveScene()
  const { client, world, say, ops, ack, page } = self
  const todos = client.map('todos')
  const first = todos.set('t1', 'first')
  const removal = todos.delete('t1')
  await world.settle()
  expect(ops().map(({ id }) => id)).toEqual([first.id, removal.id])
  await say(refusal(first.id, 'STORAGE_FULL'))
  await ack([removal.id], 5)
  await say(reset())
  await page('todos', [], { seq: 9 })
  await world.advance(4_000)
  expect(ops().filter(({ opType }) => opType === 'PUT')).toEqual([])
  expect(todos.get('t1')).toBeUndefined()
  expect(client.status.get()).toMatchObject({ pending: 0, rejected: 0 })
  expect(self.events).toEqual([])
})

test('INV-12 [RT5] a write that another writer has replaced is told where that is deleted and forgotten', async () => {
  const self = await liveScene()
  const { client, world, say, ops, event } = self
  const todos = client.map('todos')
  const write = todos.set('t1', 'mine')
  await world.settle()
  const [op] = ops()
  await say(refusal(op!.id, 'STORAGE_FULL'))
  await event('t1', 'theirs', 4, stamp(world, 50))
  await event('t1', null, 5, stamp(world, 60))
  await say({
    type: 'SERVER_BATCH_EVENT',
    payload: { mapName: 'todos', cursor: 'c6', seq: 6, events: [], prunedThroughSeq: 5 },
  })
  expect(self.events).toMatchObject([
    ['rejected', { error: { code: 'STALE' } }],
    ['conflict', { conflict: { key: 't1', local: 'mine', remote: undefined } }],
  ])
  await world.advance(60_000)
  expect(ops().filter(({ id }) => id === write.id)).toEqual([])
})

/** Two tabs of one device: the second has begun anew, as it was told, and so the first does by itself. */
async function beganAnew(): Promise<{ world: World; a: Scene }> {
  const world = new World()
  const storage = memory()
  const [first, second] = [new Tab(world, 'first'), new Tab(world, 'second')]
  const a = await liveScene([keyed(world, 'a', 1, 1), keyed(world, 'b', 2, 2)], {}, { world, storage, tab: first })
  const b = await scene({}, { world, storage, tab: second })
  b.client.map('todos')
  await b.greet()
  await b.say(reset())
  await b.page('todos', [keyed(world, 'a', 1, 1)], { seq: 8 })
  await world.advance(1_000)
  await a.event('new', 'x', 9, stamp(world))
  await world.advance(1_000)
  return { world, a }
}

test.each([
  ['shows what was there until then', { readable: true }, { a: 1, b: 2 }],
  ['shows nothing of what may not be read any more', {}, {}],
])('[CR10] an order to begin anew that crosses the client’s own is no answer to it, and %s', async (_, more, shown) => {
  const { world, a } = await beganAnew()
  expect(a.sent('SYNC_INIT')).toMatchObject([{ mapName: 'todos', cursor: null }])
  await a.say(reset(more))
  expect(a.events).toEqual([])
  expect(Object.fromEntries(a.client.map('todos'))).toEqual(Object.keys(shown).length > 0 ? { ...shown, new: 'x' } : {})
  await a.page('todos', [keyed(world, 'a', 1, 1), keyed(world, 'new', 'x', 9)], { seq: 9 })
  await world.advance(1_000)
  expect(Object.fromEntries(a.client.map('todos'))).toEqual({ a: 1, new: 'x' })
  expect(a.client.status.get().connection).toBe('online')
  expect(a.sent('SYNC_INIT')).toEqual([])
})

test('INV-13 [FR13] pages that answer an earlier question do not pass for those of a map that has begun anew since', async () => {
  const { world, a } = await beganAnew()
  const [anew] = a.sent('SYNC_INIT')
  const edit = a.client.map('todos').set('b', 'edited')
  const payload = { mapName: 'todos', cursor: 'c9', seq: 9, more: false, digest: '0', records: [] }
  await a.say({ type: 'SYNC_DIFF', payload, requestId: 'earlier' })
  expect(a.events).toEqual([])
  const records = [keyed(world, 'a', 1, 1), keyed(world, 'b', 2, 2), keyed(world, 'new', 'x', 9)]
  await a.say({ type: 'SYNC_DIFF', payload: { ...payload, records }, requestId: anew!['requestId'] })
  expect(a.ops().map(({ id }) => id)).toEqual([edit.id])
  expect(Object.fromEntries(a.client.map('todos'))).toEqual({ a: 1, b: 'edited', new: 'x' })
})

test('a tab that was there all the time begins anew as well, so that what it hears is stored', async () => {
  const world = new World()
  const storage = memory()
  const [first, second] = [new Tab(world, 'first'), new Tab(world, 'second')]
  const a = await liveScene([keyed(world, 'a', 1, 1), keyed(world, 'b', 2, 2)], {}, { world, storage, tab: first })
  const b = await scene({}, { world, storage, tab: second })
  const ofA = a.client.map('todos')
  b.client.map('todos')
  await b.greet()
  await b.say(reset())
  await b.page('todos', [keyed(world, 'a', 1, 1)], { seq: 8 })
  await world.advance(1_000)
  second.kill()
  await a.event('new', 'x', 9, stamp(world))
  await world.advance(1_000)
  // It shows what it has, and asks for everything once more.
  expect(Object.fromEntries(ofA)).toEqual({ a: 1, b: 2, new: 'x' })
  expect(a.sent('SYNC_INIT')).toMatchObject([{ mapName: 'todos', cursor: null }])
  await a.page('todos', [keyed(world, 'a', 1, 1), keyed(world, 'new', 'x', 9)], { seq: 9 })
  await world.advance(1_000)
  expect(Object.fromEntries(ofA)).toEqual({ a: 1, new: 'x' })
  const third = await scene({}, { world, storage, tab: new Tab(world, 'third') })
  expect(Object.fromEntries(third.client.map('todos'))).toEqual({ a: 1, new: 'x' })
})
