import { expect, test } from 'vitest'
import { liveScene, scene } from '../test/harness.ts'
import { Tab, World } from '../test/virtual-env.ts'
import { counter, createClient, defineContract, memory, set, type Status, type StorageAdapter } from './index.ts'

/** A storage whose transactions that write end when they are told to. */
function slowStorage(): { storage: StorageAdapter; finish: (error?: Error) => void } {
  const inner = memory()
  const waiting: ((error?: Error) => void)[] = []
  return {
    finish(error) {
      for (const end of waiting.splice(0)) end(error)
    },
    storage: {
      id: 'slow',
      async open() {
        const open = await inner.open()
        return {
          ...open,
          async transaction(mode, work) {
            if (mode === 'readonly') return open.transaction(mode, work)
            await new Promise<void>((resolve, reject) => {
              waiting.push((error) => (error === undefined ? resolve() : reject(error)))
            })
            return open.transaction(mode, work)
          },
        }
      },
    },
  }
}

test('status says how many writes this device has not stored yet, until their transaction has ended', async () => {
  const { storage, finish } = slowStorage()
  const { client, world } = await scene({ storage })
  const seen: [number, number][] = []
  client.status.subscribe(({ pending, unstored }: Status) => seen.push([pending, unstored]))
  client.map('todos').set('a', 1)
  client.map('todos').set('b', 1)
  expect(client.status.get()).toMatchObject({ pending: 2, unstored: 2 })
  await world.settle()
  client.map('todos').set('c', 1)
  await world.settle()
  expect(client.status.get()).toMatchObject({ pending: 3, unstored: 3 })
  finish()
  await world.settle()
  expect(client.status.get()).toMatchObject({ pending: 3, unstored: 1 })
  finish()
  await world.settle()
  expect(client.status.get()).toMatchObject({ pending: 3, unstored: 0 })
  expect(seen.at(-1)).toEqual([3, 0])
})

test('writes that storage refused count as not stored until it has them', async () => {
  const { storage, finish } = slowStorage()
  const { client, world } = await scene({ storage })
  client.map('todos').set('a', 1)
  await world.settle()
  finish(new Error('broken'))
  await world.settle()
  expect(client.status.get()).toMatchObject({ pending: 1, unstored: 1, storage: 'memory' })
  await world.advance(10_000)
  finish()
  await world.settle()
  expect(client.status.get()).toMatchObject({ pending: 1, unstored: 0 })
})

test('writes made before local data is loaded are not stored yet, and confirmed ones do not count', async () => {
  const world = new World()
  const early = createClient({ env: new Tab(world, 'early').env(), storage: memory() })
  early.map('todos').set('a', 1)
  expect(early.status.get()).toMatchObject({ pending: 1, unstored: 1 })
  await world.settle()
  expect(early.status.get()).toMatchObject({ pending: 1, unstored: 0 })
  const self = await liveScene()
  self.client.map('todos').set('a', 1)
  await self.world.settle()
  const [op] = self.ops()
  await self.ack([op!.id!], 4)
  const settled = self.event('a', 1, 4, op!.record.timestamp)
  expect(self.client.status.get()).toMatchObject({ pending: 0, unstored: 0 })
  await settled
})

test('a pending write is named by its map and key, or its set or counter', async () => {
  const anything = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } } as const
  const contract = defineContract({ sets: { tags: set({ schema: anything }) }, counters: { votes: counter() } })
  const client = createClient({ contract, env: new Tab(new World(), 'tab').env() })
  await client.ready
  client.map('todos').set('t1', 1)
  client.sets.tags('t1').add('urgent')
  client.sets.tags('t1').delete('urgent')
  client.counters.votes('t1').add(1)
  expect(client.pending.get().map(({ op, target }) => [op, target])).toEqual([
    ['PUT', 'todos/t1'],
    ['PUT', 'tags/t1'],
    ['REMOVE', 'tags/t1'],
    ['COUNT', 'counter:votes:t1'],
  ])
})
