import { expect, test } from 'vitest'
import { failureOf, scene, stamp } from '../../test/harness.ts'
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

test('a client that is closed while its storage fails ends at once, and says that nothing is stored', async () => {
  const { adapter, fail } = await failing()
  const { world, client } = await scene({ storage: adapter })
  await world.settle()
  fail(true)
  const write = client.map('todos').set('t1', 1)
  const stored = failureOf(write.wait('local'))
  await client.close()
  await expect(stored).resolves.toMatchObject({ code: 'STORAGE_UNAVAILABLE' })
  await expect(failureOf(write.wait('local'))).resolves.toMatchObject({ code: 'CLOSED' })
  await world.settle()
  expect(world.pendingTimers).toBe(0)
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

test('what pages bring is stored when the last has come, every 10 s, and where an op that they confirm is gone', async () => {
  const storage = memory()
  const { world, client, greet, page, ack, socket, ops } = await scene({}, { storage })
  const inner = await storage.open()
  const stored = (): Promise<unknown> =>
    inner.transaction('readonly', async (tx) => {
      const [cursor] = (await tx.entries('cursors')).map(([, row]) => (row as { cursor: string }).cursor)
      return [(await tx.entries('base')).length, cursor, (await tx.entries('queue')).length]
    })
  const todos = client.map('todos')
  let seq = 0
  const next = (more: boolean): Promise<void> => {
    seq++
    return page('todos', [{ key: `t${seq}`, seq, record: { value: 1, timestamp: stamp(world) } }], { more, digest })
  }
  await greet()
  await next(true)
  expect(await stored()).toEqual([1, 'c1', 0])
  await next(true)
  await next(true)
  expect(todos.size).toBe(3)
  expect(await stored()).toEqual([1, 'c1', 0])
  // A write does not wait, and is stored by itself.
  const write = todos.set('own', 1)
  let isLocal = false
  const waited = write.wait('local').then(() => (isLocal = true))
  await world.settle()
  await waited
  expect(isLocal).toBe(true)
  expect(await stored()).toEqual([1, 'c1', 1])
  await world.advance(10_000)
  await next(true)
  expect(await stored()).toEqual([4, 'c4', 1])
  await next(true)
  expect(await stored()).toEqual([4, 'c4', 1])
  const [op] = ops()
  await ack([op!.id!], 6)
  await page('todos', [{ key: 'own', seq: 6, record: op!.record }], { more: true, digest })
  expect(client.status.get().pending).toBe(0)
  expect(await stored()).toEqual([6, 'c6', 0])
  seq = 6
  await next(true)
  await next(false)
  expect(await stored()).toEqual([8, 'c8', 0])
  socket.drop()
})

test('what pages have brought when the connection ends is stored', async () => {
  const storage = memory()
  const { world, client, greet, page, socket } = await scene({}, { storage })
  const inner = await storage.open()
  client.map('todos')
  await greet()
  for (const seq of [1, 2, 3]) {
    await page('todos', [{ key: `t${seq}`, seq, record: { value: 1, timestamp: stamp(world) } }], { more: true })
  }
  const count = async (): Promise<number> => (await inner.transaction('readonly', (tx) => tx.entries('base'))).length
  expect(await count()).toBe(1)
  socket.drop()
  await world.settle()
  expect(await count()).toBe(3)
})
