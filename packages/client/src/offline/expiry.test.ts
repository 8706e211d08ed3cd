import { expect, test } from 'vitest'
import { liveScene, scene, stamp, type Scene } from '../../test/harness.ts'
import { memory } from '../storage/memory.ts'
import { Tab, World } from '../../test/virtual-env.ts'

const records = (world: World, ttls: readonly number[]) =>
  ttls.map((ttlMs, i) => ({ key: `k${i}`, record: { value: i, timestamp: stamp(world, -1), ttlMs }, seq: i + 1 }))

/** A map in step, in which records end after some milliseconds. */
async function expiring(ttls: readonly number[]): Promise<Scene> {
  const world = new World()
  const self = await liveScene([], {}, { world })
  const all = records(world, ttls).map((record) => ({ ...record, mapName: 'todos', eventType: 'PUT' }))
  // In portions that can be spread over arguments.
  for (let i = 0; i < all.length; i += 50_000) {
    const events = all.slice(i, i + 50_000)
    const seq = i + events.length
    await self.say({ type: 'SERVER_BATCH_EVENT', payload: { mapName: 'todos', events, cursor: `c${seq}`, seq } })
  }
  return self
}

test('of very many records that expire one does, and the others stay', { timeout: 60_000 }, async () => {
  const self = await expiring(Array.from({ length: 150_000 }, (_, i) => (i === 0 ? 1_000 : 100_000)))
  await self.world.advance(2_000)
  expect(self.client.map('todos').size).toBe(149_999)
})

test('records that expire one after the other are told together, and none is missed', async () => {
  const self = await expiring(Array.from({ length: 1_000 }, (_, i) => 1_000 + i))
  let told = 0
  self.client
    .map('todos')
    .query()
    .subscribe(() => told++)
  await self.world.advance(3_000)
  expect(self.client.map('todos').query().get().rows).toEqual([])
  expect(told).toBeGreaterThan(5)
  expect(told).toBeLessThan(15)
})

test('a query that is looked at before a late timer shows no record that has expired', async () => {
  const self = await expiring([1_000])
  const query = self.client.map('todos').query()
  expect(query.get().rows).toHaveLength(1)
  self.world.nowMs += 5_000
  expect(query.get().rows).toEqual([])
})

test('a device that hears how late it is shows no record that has expired by the server’s time', async () => {
  const world = new World()
  const tab = Object.assign(new Tab(world, 'tab'), { skewMs: -3_600_000 })
  const self = await scene({}, { world, tab })
  self.client.map('todos').set('t1', 1, { ttlMs: 1_800_000 })
  const query = self.client.map('todos').query()
  query.subscribe(() => {})
  expect(query.get().rows).toHaveLength(1)
  await self.greet()
  await self.page('todos')
  expect(query.get().rows).toEqual([])
})

test('a client that is closed waits for no record to expire', async () => {
  const self = await expiring([1_000, 2_000])
  await self.client.close()
  self.world.nowMs += 1_500
  expect(self.client.map('todos').size).toBe(1)
  expect(self.world.pendingTimers).toBe(0)
})

test('a device that hears how early it is shows what has not expired by the server’s time, though nothing changed', async () => {
  const world = new World()
  const storage = memory()
  const first = await scene({}, { world, tab: new Tab(world, 'first'), storage })
  first.client.map('todos')
  await first.greet()
  await first.page('todos', records(world, [1_800_000, 600_000]))
  await world.advance(1_000)
  await first.client.close()
  const tab = Object.assign(new Tab(world, 'tab'), { skewMs: 3_600_000 })
  const self = await scene({}, { world, tab, storage })
  const query = self.client.map('todos').query()
  const told: number[] = []
  query.subscribe(({ rows }) => told.push(rows.length))
  await self.client.ready
  await world.settle()
  expect(query.get().rows).toEqual([])
  await self.greet()
  await world.settle()
  expect(told.at(-1)).toBe(2)
  await world.advance(700_000)
  expect(query.get().rows.map(({ key }) => key)).toEqual(['k0'])
})
