import { compareStamps } from '@syncline/core'
import { expect, test } from 'vitest'
import { liveScene, scene, stamp, type Scene } from '../../test/harness.ts'
import { Tab, World } from '../../test/virtual-env.ts'
import { memory } from '../index.ts'

const stale = (id: string, prunedThrough: object): object => ({
  type: 'OP_ACK',
  payload: {
    lastId: id,
    results: [
      {
        opId: id,
        success: false,
        achievedLevel: 'MEMORY',
        latencyMs: 1,
        errorCode: 'STALE',
        details: { prunedThrough },
      },
    ],
  },
})

/** Begins a session in which the map is here and empty. */
async function begin(self: Scene): Promise<void> {
  await self.greet()
  await self.page('todos', [], { seq: 9 })
  await self.world.advance(100)
}

/** The server refuses an op because it is older than deletions that were forgotten. Gives what is sent then. */
async function refused(self: Scene, id: string): Promise<Scene['ops'] extends () => infer Ops ? Ops : never> {
  const { world } = self
  expect(self.ops().map((op) => op.id)).toEqual([id])
  await self.say(stale(id, stamp(world, 1_000)))
  await world.advance(1_000)
  return self.ops()
}

const told = ({ events }: Scene): unknown[] =>
  events.map(([name, event]) => [name, (event as { error?: { code?: unknown } }).error?.code])
const LOSS = [
  ['rejected', 'STALE'],
  ['conflict', undefined],
]

interface Given {
  readonly world: World
  readonly storage: ReturnType<typeof memory>
  readonly tab: Tab
}

const given = (): Given => {
  const world = new World()
  return { world, storage: memory(), tab: new Tab(world, 'tab') }
}

async function lost(first: Scene): Promise<void> {
  first.socket.drop()
  await first.world.advance(100)
}

test('INV-12 [RT5] a write whose answer was lost is not taken for new when the deletions since then are forgotten', async () => {
  const self = await liveScene()
  const write = self.client.map('todos').set('t1', 1)
  await self.world.settle()
  expect(self.ops()).toHaveLength(1)
  await lost(self)
  await self.world.advance(5_000)
  await begin(self)
  expect(await refused(self, write.id)).toEqual([])
  expect(told(self)).toEqual(LOSS)
  expect(self.events[1]?.[1]).toMatchObject({ conflict: { key: 't1', local: 1, remote: undefined } })
})

test('INV-12 [RT5] nor is one that was acknowledged, and that the stream had not shown yet', async () => {
  const self = await liveScene()
  const write = self.client.map('todos').set('t1', 1)
  await self.world.settle()
  self.ops()
  await self.ack([write.id], 5)
  await lost(self)
  await self.world.advance(5_000)
  await begin(self)
  expect(await refused(self, write.id)).toEqual([])
  expect(told(self)).toEqual(LOSS)
})

test('INV-12 [RT5] nor is one of a page that is gone, which the next one finds in storage', async () => {
  const all = given()
  const first = await liveScene([], {}, all)
  const write = first.client.map('todos').set('t1', 1)
  await first.world.advance(100)
  expect(first.ops()).toHaveLength(1)
  all.tab.kill()
  const next = await scene({}, all)
  await begin(next)
  expect(await refused(next, write.id)).toEqual([])
  expect(told(next)).toEqual(LOSS)
})

test('INV-12 [RT5] nor is one that was written without a connection and sent in the next session', async () => {
  const all = given()
  const first = await liveScene([], {}, all)
  await lost(first)
  const write = first.client.map('todos').set('t1', 1)
  await first.world.advance(5_000)
  await begin(first)
  expect(first.ops()).toHaveLength(1)
  all.tab.kill()
  const next = await scene({}, all)
  await begin(next)
  expect(await refused(next, write.id)).toEqual([])
  expect(told(next)).toEqual(LOSS)
})

test('[RT5] a write that was never sent is new, also when it is found in storage', async () => {
  const all = given()
  const first = await liveScene([], {}, all)
  await lost(first)
  const write = first.client.map('todos').set('t1', 1)
  await first.world.advance(100)
  all.tab.kill()
  const next = await scene({}, all)
  await begin(next)
  const again = await refused(next, write.id)
  expect(again.map(({ id }) => id)).toEqual([write.id])
  expect(told(next)).toEqual([])
})

test.each([
  ['was sent', true],
  ['was never sent', false],
])('INV-12 [RT5] of a tab that is gone for good another one knows whether a write %s', async (_, wasSent) => {
  const all = given()
  const first = await liveScene([], {}, all)
  await lost(first)
  const write = first.client.map('todos').set('t1', 1)
  await first.world.advance(5_000)
  if (wasSent) await begin(first)
  expect(first.ops()).toHaveLength(wasSent ? 1 : 0)
  all.tab.kill()
  const other = await scene({}, { ...all, tab: new Tab(all.world, 'other') })
  await other.world.advance(10_000)
  expect(other.client.pending.get()).toMatchObject([{ target: 'todos/t1' }])
  await begin(other)
  const again = await refused(other, write.id)
  expect(again.map(({ id }) => id)).toEqual(wasSent ? [] : [write.id])
  expect(told(other)).toEqual(wasSent ? LOSS : [])
})

test('INV-12 [RT5] a write that another tab took over and sent is known to have been sent by whoever finds it next', async () => {
  const all = given()
  const first = await liveScene([], {}, all)
  await lost(first)
  const write = first.client.map('todos').set('t1', 1)
  await first.world.advance(100)
  all.tab.kill()
  const second = new Tab(all.world, 'second')
  const other = await scene({}, { ...all, tab: second })
  await other.world.advance(10_000)
  await begin(other)
  expect(other.ops()).toHaveLength(1)
  second.kill()
  const third = await scene({}, { ...all, tab: new Tab(all.world, 'third') })
  await third.world.advance(10_000)
  await begin(third)
  expect(await refused(third, write.id)).toEqual([])
  expect(told(third)).toEqual(LOSS)
})

test('INV-12 [RT5] what was written on top of such a write does not bring the record back either', async () => {
  const self = await liveScene()
  const todos = self.client.map('todos')
  const first = todos.set('t1', 1)
  await self.world.settle()
  expect(self.ops()).toHaveLength(1)
  await lost(self)
  const second = todos.set('t1', 2)
  await self.world.advance(5_000)
  await begin(self)
  expect(self.ops().map(({ id }) => id)).toEqual([first.id, second.id])
  const prunedThrough = stamp(self.world, 1_000)
  await self.say(stale(first.id, prunedThrough))
  await self.say(stale(second.id, prunedThrough))
  await self.world.advance(1_000)
  expect(self.ops()).toEqual([])
  expect(told(self)).toEqual([...LOSS, ...LOSS])
  // Who writes it again means it.
  const third = todos.set('t1', 3)
  await self.world.settle()
  const again = await refused(self, third.id)
  expect(again.map(({ id }) => id)).toEqual([third.id])
  expect(compareStamps(again[0]!.record.timestamp, prunedThrough)).toBeGreaterThan(0)
})

test('INV-12 INV-14 [RT5] what another writer replaced does not come up while its answer is on its way, and is over with it', async () => {
  const self = await liveScene()
  const { world, client } = self
  const write = client.map('todos').set('t1', 'mine')
  await world.settle()
  const event = { mapName: 'todos', key: 't1' }
  const later = stamp(world, 1_000)
  await self.say({
    type: 'SERVER_EVENT',
    payload: { ...event, cursor: 'c20', seq: 20, eventType: 'REMOVE', record: { value: null, timestamp: later } },
  })
  expect(client.map('todos').get('t1')).toBeUndefined()
  await self.say({
    type: 'SERVER_BATCH_EVENT',
    payload: { mapName: 'todos', cursor: 'c21', seq: 21, events: [], prunedThroughSeq: 20 },
  })
  expect(client.map('todos').get('t1')).toBeUndefined()
  const result = { opId: write.id, success: true, superseded: true, achievedLevel: 'MEMORY', latencyMs: 1, seq: 19 }
  await self.say({ type: 'OP_ACK', payload: { lastId: write.id, results: [result] } })
  expect([client.status.get().pending, client.status.get().rejected]).toEqual([0, 0])
  expect(told(self)).toEqual([['conflict', undefined]])
  expect(self.events[0]?.[1]).toMatchObject({ conflict: { key: 't1', local: 'mine', remote: undefined } })
})
