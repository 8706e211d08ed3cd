import { expect, test } from 'vitest'
import { scene, stamp } from '../../test/harness.ts'
import { Tab, World } from '../../test/virtual-env.ts'
import { memory, type OpenStorage, type StorageAdapter } from '../index.ts'

const digest = '0'.repeat(16)

/** A storage whose transactions fail as long as they are told to. */
async function failing(): Promise<{ adapter: StorageAdapter; inner: OpenStorage; fail: (isFailing: boolean) => void }> {
  const inner = await memory().open()
  let isFailing = false
  const open: OpenStorage = {
    ...inner,
    async transaction(mode, work) {
      const result = inner.transaction(mode, async (tx) => {
        const done = await work(tx)
        if (isFailing && mode === 'readwrite') throw new Error('The disk fails.')
        return done
      })
      return result
    },
  }
  return { adapter: { id: 'failing', open: async () => open }, inner, fail: (value) => (isFailing = value) }
}

test('a client whose very first transaction fails stores everything once storage works', async () => {
  const { adapter, inner, fail } = await failing()
  fail(true)
  const { world, client, greet, page } = await scene({ storage: adapter })
  const todos = client.map('todos')
  await greet()
  await page('todos', [{ key: 't1', seq: 1, record: { value: 1, timestamp: stamp(world) } }], { digest })
  todos.set('t2', 1)
  await world.advance(1_000)
  expect(client.status.get().storage).toBe('memory')
  fail(false)
  await world.advance(20_000)
  const stored = await inner.transaction('readonly', async (tx) => [
    await tx.entries('base'),
    await tx.entries('cursors'),
    await tx.entries('queue'),
  ])
  expect(stored.map((rows) => rows.length)).toEqual([1, 1, 1])
})

test('a client that is closed while its storage has failed tries once more', async () => {
  const { adapter, inner, fail } = await failing()
  const { world, client } = await scene({ storage: adapter })
  await world.settle()
  fail(true)
  client.map('todos').set('t1', 1)
  await world.advance(1_000)
  fail(false)
  await client.close()
  expect(await inner.transaction('readonly', (tx) => tx.entries('queue'))).toHaveLength(1)
})

test('a tab does not store a row over what only another tab has of it, which the server may have lost', async () => {
  const storage = memory()
  const world = new World()
  const mine = stamp(world, 2_000, 'mine')
  const theirs = stamp(world, 1_000, 'theirs')
  const first = await scene({}, { world, tab: new Tab(world, 'first'), storage })
  first.client.map('todos')
  await first.greet()
  await first.page('todos', [], { digest })
  const second = await scene({}, { world, tab: new Tab(world, 'second'), storage })
  second.client.map('todos')
  await second.greet()
  await second.page('todos', [], { digest })
  await second.event('t1', 'mine', 10, mine)
  await world.advance(100)
  // The server crashed, lost what was at 10, and goes on above it.
  await first.event('t1', 'theirs', 1_000_001, theirs)
  await world.advance(100)
  const open = await storage.open()
  expect(await open.transaction('readonly', (tx) => tx.get('base', ['todos', 't1']))).toMatchObject({
    record: { value: 'mine', base: mine },
    seq: 10,
  })
})
