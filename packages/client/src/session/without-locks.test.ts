import { expect, test } from 'vitest'
import { scene, type Scene } from '../../test/harness.ts'
import { Tab, World } from '../../test/virtual-env.ts'
import { memory } from '../index.ts'

/** Pages without HTTPS that share a storage. */
function browser(): { world: World; open: (tab: Tab) => Promise<Scene>; tab: (name: string) => Tab } {
  const world = new World()
  const storage = memory()
  return {
    world,
    tab: (name) => Object.assign(new Tab(world, name), { hasLocks: false }),
    open: (tab) => scene({}, { world, tab, storage }),
  }
}

const write = (self: Scene, key: string): Promise<unknown> => self.client.map('todos').set(key, key).wait('local')
const keys = ({ client }: Scene): string[] => client.pending.get().map(({ target }) => target)

test('without Web Locks the writes of a tab that lives are never taken', async () => {
  const { world, open, tab } = browser()
  const a = await open(tab('a'))
  await write(a, 'one')
  const b = await open(tab('b'))
  const c = await open(tab('c'))
  await world.advance(3_600_000)
  expect([a, b, c].map(keys)).toEqual([['todos/one'], [], []])
})

test('without Web Locks the writes of a dead tab are taken after three minutes without a sign of life, by one', async () => {
  const { world, open, tab } = browser()
  const dying = tab('a')
  const a = await open(dying)
  const b = await open(tab('b'))
  const c = await open(tab('c'))
  await write(a, 'one')
  await world.advance(60_000)
  dying.kill()
  await world.advance(170_000)
  expect([b, c].flatMap(keys)).toEqual([])
  await world.advance(45_000)
  expect([b, c].flatMap(keys)).toEqual(['todos/one'])
  await world.advance(600_000)
  expect([b, c].flatMap(keys)).toEqual(['todos/one'])
})

test('without Web Locks a reload gets its writes at once, as a new node; a duplicated tab gets neither', async () => {
  const { world, open, tab } = browser()
  const reloading = tab('a')
  const copy = tab('copy')
  const before = await open(reloading)
  await write(before, 'one')
  copy.memory = new Map(reloading.memory)
  const second = await open(copy)
  expect(second.client.clientId).not.toBe(before.client.clientId)
  expect(keys(second)).toEqual([])
  reloading.leave()
  const after = await open(reloading)
  expect(keys(after)).toEqual(['todos/one'])
  expect(reloading.memory.size).toBe(0)
  expect(after.client.clientId).not.toBe(before.client.clientId)
  copy.memory = new Map(reloading.memory)
  await world.advance(600_000)
  expect(keys(await open(copy))).toEqual([])
})

test('without Web Locks a tab that is throttled to one sign of life a minute keeps its writes', async () => {
  const { world, open, tab } = browser()
  const slow = tab('a')
  slow.slowestTimerMs = 60_000
  const a = await open(slow)
  await write(a, 'one')
  const b = await open(tab('b'))
  await world.advance(3_600_000)
  expect([a, b].map(keys)).toEqual([['todos/one'], []])
})

test('without Web Locks a client that is closed leaves its writes to the next one of its page', async () => {
  const { open, tab } = browser()
  const page = tab('a')
  const before = await open(page)
  await write(before, 'one')
  await before.client.close()
  expect(keys(await open(page))).toEqual(['todos/one'])
})
