import { expect, test } from 'vitest'
import { failingStorage, type FailingStorage } from '../../test/failing-storage.ts'
import { liveScene, scene, stamp, type Scene } from '../../test/harness.ts'
import { Tab, World } from '../../test/virtual-env.ts'

interface Given {
  readonly world: World
  readonly storage: FailingStorage
  readonly tab: Tab
}

/** A device that has stored a write of `t1` without a connection, and whose storage fails then. */
async function setUp(fault: FailingStorage['fault']): Promise<{ self: Scene; given: Given; id: string }> {
  const world = new World()
  const given = { world, storage: failingStorage(), tab: new Tab(world, 'tab') }
  const self = await liveScene([], {}, given)
  self.socket.drop()
  const { id } = self.client.map('todos').set('t1', 1)
  await world.advance(100)
  given.storage.fault = fault
  return { self, given, id }
}

/** Begins a session in which the map is here and empty. */
async function begin(self: Scene, afterMs = 5_000): Promise<void> {
  await self.world.advance(afterMs)
  await self.greet()
  await self.page('todos', [], { seq: 9 })
  await self.world.advance(100)
}

const keys = (self: Scene): string[] => self.ops().map(({ key, opType }) => `${opType} ${key}`)

/** The server refuses the ops that were sent, because deletions that it has forgotten are later. Gives what is sent then. */
async function refused(self: Scene): Promise<string[]> {
  const details = { prunedThrough: stamp(self.world, 1_000) }
  const results = self.ops().map(({ id }) => ({
    opId: id,
    success: false,
    achievedLevel: 'MEMORY',
    latencyMs: 1,
    errorCode: 'STALE',
    details,
  }))
  expect(results).toHaveLength(1)
  await self.say({ type: 'OP_ACK', payload: { lastId: results[0]?.opId, results } })
  await self.world.advance(1_000)
  return keys(self)
}

const told = ({ events }: Scene): unknown[] =>
  events.map(([name, event]) => [name, (event as { error?: { code?: unknown } }).error?.code])

test('INV-12 [RT5] what is stored as never sent is not sent while storage fails, nor what is written on top of it', async () => {
  const { self, given } = await setUp('broken')
  const todos = self.client.map<number>('todos')
  todos.set('t2', 1)
  await begin(self)
  // What is not stored at all can be found by nobody.
  expect(keys(self)).toEqual(['PUT t2'])
  todos.delete('t1')
  todos.set('t2', 2)
  await self.world.advance(100)
  expect(keys(self)).toEqual(['PUT t2'])
  expect(self.client.status.get()).toMatchObject({ pending: 4, storage: 'memory' })
  given.storage.fault = undefined
  await self.world.advance(11_000)
  expect(keys(self)).toEqual(['PUT t1', 'REMOVE t1'])
})

test('INV-12 [RT5] so the next page takes for new what is new, and nothing else', async () => {
  const { self, given } = await setUp('broken')
  self.client.map('todos').set('t2', 1)
  await begin(self)
  expect(keys(self)).toEqual(['PUT t2'])
  given.tab.kill()
  given.storage.fault = undefined
  const next = await scene({}, given)
  await begin(next)
  expect(await refused(next)).toEqual(['PUT t1'])
  expect(told(next)).toEqual([])
})

test('INV-12 [RT5] where there is room for the mark alone it says what is sent, and the next page knows', async () => {
  const { self, given } = await setUp('full')
  self.client.map('todos').set('t2', 2)
  await begin(self)
  expect(keys(self)).toEqual(['PUT t1', 'PUT t2'])
  expect(told(self)).toEqual([['error', 'STORAGE_QUOTA']])
  given.tab.kill()
  given.storage.fault = undefined
  const next = await scene({}, given)
  await begin(next)
  expect(await refused(next)).toEqual([])
  expect(told(next)).toEqual([
    ['rejected', 'STALE'],
    ['conflict', undefined],
  ])
})

test('INV-12 [RT5] of a tab that is gone another one sends nothing that it cannot store as sent', async () => {
  const { self, given } = await setUp(undefined)
  given.tab.kill()
  const other = await scene({}, { ...given, tab: new Tab(given.world, 'other') })
  await given.world.advance(10_000)
  given.storage.fault = 'broken'
  await begin(other, 0)
  expect(keys(other)).toEqual([])
  given.storage.fault = undefined
  await other.world.advance(11_000)
  expect(keys(other)).toEqual(['PUT t1'])
  expect(self.events).toEqual([])
})
