import { expect, test } from 'vitest'
import { failingStorage } from '../../../test/failing-storage.ts'
import { ModelServer } from '../../../test/model-server.ts'
import { Tab, World } from '../../../test/virtual-env.ts'
import { counter, createClient, defineContract, type StorageAdapter } from '../../index.ts'

const contract = defineContract({ counters: { votes: counter() } })

const open = (tab: Tab, storage: StorageAdapter) =>
  createClient({ contract, env: tab.env(), storage, url: 'ws://server' })

/** A device that has stored that 2 are to be counted, and cannot store that 4 are. */
async function setUp() {
  const world = new World()
  const server = new ModelServer(world)
  const value = (): number =>
    Array.from(server.map('counter:votes').entries.values(), ({ record }) => (record.value as { p: number }).p).reduce(
      (sum, p) => sum + p,
      0,
    )
  const storage = failingStorage()
  const tab = new Tab(world, 'tab')
  const client = open(tab, storage)
  const votes = client.counters.votes()
  await world.advance(3_000)
  votes.add(1)
  await world.advance(3_000)
  expect(value()).toBe(1)
  client.disconnect()
  await votes.add(2).wait('local')
  storage.fault = 'broken'
  const unstored = votes.add(4)
  await expect(unstored.wait('local')).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
  client.connect()
  await world.advance(5_000)
  expect(votes.get()).toBe(7)
  return { world, server, storage, tab, client, votes, value }
}

test('INV-7 a device whose storage fails counts nothing that its next page would count once more', async () => {
  const { world, storage, tab, value } = await setUp()
  // What is not stored at all is sent, in a row that nobody else will raise; the rest waits for the storage.
  expect(value()).toBe(5)
  tab.kill()
  storage.fault = undefined
  const next = open(tab, storage)
  next.counters.votes()
  await world.advance(10_000)
  expect([value(), next.counters.votes().get()]).toEqual([7, 7])
  next.counters.votes().add(8)
  await world.advance(5_000)
  expect(value()).toBe(15)
})

test('INV-7 what waited for the storage is counted once it works again, and after a reload still once', async () => {
  const { world, storage, tab, value, client } = await setUp()
  storage.fault = undefined
  await world.advance(15_000)
  expect([value(), client.status.get().pending]).toEqual([7, 0])
  tab.kill()
  const next = open(tab, storage)
  next.counters.votes().add(8)
  await world.advance(10_000)
  expect([value(), next.counters.votes().get()]).toEqual([15, 15])
})
