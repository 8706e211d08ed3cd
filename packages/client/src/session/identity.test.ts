import { expect, test } from 'vitest'
import { scene, type Scene } from '../../test/harness.ts'
import { Tab, World } from '../../test/virtual-env.ts'
import { memory } from '../index.ts'

const write = async (self: Scene, key: string): Promise<void> => {
  await self.client.map('todos').set(key, key).wait('local')
}

const keys = ({ client }: Scene): string[] => client.pending.get().map(({ target }) => target)

test('a tab that is reloaded finds its own node id and its own writes again', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const storage = memory()
  const before = await scene({}, { world, tab, storage })
  await write(before, 't1')
  tab.kill()
  const after = await scene({}, { world, tab, storage })
  expect(after.client.clientId).toBe(before.client.clientId)
  expect(keys(after)).toEqual(['todos/t1'])
})

test('a duplicated tab sees that the node id is taken and takes another one, with a queue of its own', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const copy = new Tab(world, 'copy')
  const storage = memory()
  const first = await scene({}, { world, tab, storage })
  copy.memory = new Map(tab.memory)
  const second = await scene({}, { world, tab: copy, storage })
  expect(second.client.clientId).not.toBe(first.client.clientId)
  await write(first, 'a')
  await write(second, 'b')
  expect(keys(first)).toEqual(['todos/a'])
  expect(keys(second)).toEqual(['todos/b'])
})

test('a tab that starts takes the writes of those that are gone, with their stamps, and stores them as its own', async () => {
  const world = new World()
  const storage = memory()
  const gone = new Tab(world, 'gone')
  const before = await scene({}, { world, tab: gone, storage })
  await write(before, 't1')
  gone.kill()
  const tab = new Tab(world, 'tab')
  const after = await scene({}, { world, tab, storage })
  expect(after.client.map('todos').get('t1')).toBe('t1')
  await after.greet()
  await after.page('todos')
  expect(after.ops()).toMatchObject([{ key: 't1', record: { timestamp: { nodeId: before.client.clientId } } }])
  tab.kill()
  const again = await scene({}, { world, tab, storage })
  expect(keys(again)).toEqual(['todos/t1'])
})

test.each([true, false])(
  'writes that an earlier version left without a mark are found, locks: %s, and those of another user stay aside',
  async (hasLocks) => {
    const world = new World()
    const storage = memory()
    const stamp = { millis: world.nowMs, counter: 0, nodeId: 'gone' }
    const row = { id: 'o1', mapName: 'todos', key: 't1', type: 'PUT', value: 1, stamp, concern: 'MEMORY', at: 0 }
    const open = await storage.open()
    await open.transaction('readwrite', async (tx) => {
      tx.put('queue', ['gone', 'o1'], row)
      tx.put('queue', ['user:ann', 'o2'], { ...row, id: 'o2', user: 'ann' })
    })
    const self = await scene({}, { world, tab: Object.assign(new Tab(world, 'tab'), { hasLocks }), storage })
    if (!hasLocks) await world.advance(300_000)
    expect(keys(self)).toEqual(['todos/t1'])
    expect(await open.transaction('readonly', (tx) => tx.entries('queue', 'user:ann'))).toHaveLength(1)
    expect(await open.transaction('readonly', (tx) => tx.get('meta', ['reserved', 'user:ann']))).toBeUndefined()
  },
)

test('a live tab takes the writes of one that dies after three seconds, in which a reload gets them back', async () => {
  const world = new World()
  const storage = memory()
  const [a, b] = [new Tab(world, 'a'), new Tab(world, 'b')]
  const first = await scene({}, { world, tab: a, storage })
  const second = await scene({}, { world, tab: b, storage })
  await write(second, 't1')
  await world.advance(6_000)
  b.kill()
  await world.advance(2_900)
  expect(keys(first)).toEqual([])
  const reloaded = await scene({}, { world, tab: b, storage })
  expect(keys(reloaded)).toEqual(['todos/t1'])
  await world.advance(60_000)
  expect(keys(first)).toEqual([])
  b.kill()
  await world.advance(3_100)
  expect(keys(first)).toEqual(['todos/t1'])
})

test('the marks of tabs that are gone go with their writes, and one that comes back all the same is another node', async () => {
  const world = new World()
  const storage = memory()
  const [a, b] = [new Tab(world, 'a'), new Tab(world, 'b')]
  const marks = async (): Promise<string[]> => {
    const open = await storage.open()
    const rows = await open.transaction('readonly', (tx) => tx.entries('meta', 'reserved'))
    return rows.map(([[, nodeId]]) => nodeId)
  }
  const gone = await scene({}, { world, tab: a, storage })
  await write(gone, 't1')
  a.kill()
  const other = await scene({}, { world, tab: b, storage })
  // The adopter has a mark too, by which its writes are found when it is gone itself.
  expect(await marks()).toEqual([other.client.clientId])
  const back = await scene({}, { world, tab: a, storage })
  expect(back.client.clientId).not.toBe(gone.client.clientId)
  b.kill()
  await world.advance(10_000)
  expect(keys(back)).toEqual(['todos/t1'])
  expect(await marks()).toEqual([back.client.clientId])
})

test('of several tabs only one takes the writes of a dead one', async () => {
  for (let seed = 1; seed < 30; seed++) {
    const world = new World(seed)
    const storage = memory()
    const tabs = [1, 2, 3, 4].map((n) => new Tab(world, `t${n}-`))
    const scenes: Scene[] = []
    for (const tab of tabs) {
      scenes.push(await scene({}, { world, tab, storage }))
      await world.advance(Math.floor(world.random() * 3_000))
    }
    for (const self of scenes) await write(self, self.client.clientId)
    tabs[0]?.kill()
    await world.advance(20_000)
    tabs[1]?.kill()
    await world.advance(20_000)
    const all = scenes.slice(2).flatMap(keys)
    expect(new Set(all).size).toBe(all.length)
    expect(all).toHaveLength(4)
  }
})

test('what one tab of a storage has synced, another finds when it starts', async () => {
  const world = new World()
  const storage = memory()
  const first = await scene({}, { world, tab: new Tab(world, 'a'), storage })
  first.client.map('todos')
  await first.greet()
  await first.page('todos', [
    { key: 't1', record: { value: 1, timestamp: { millis: 1, counter: 0, nodeId: 'o' } }, seq: 4 },
  ])
  const second = await scene({}, { world, tab: new Tab(world, 'b'), storage })
  expect(second.client.map('todos').get('t1')).toBe(1)
  await second.greet()
  expect(second.sent('SYNC_INIT')).toMatchObject([{ cursor: 'c4' }])
})

test('a tab that is reloaded while another takes its writes comes back as a new one: nothing is in two queues', async () => {
  const world = new World()
  const storage = memory()
  const [a, b] = [new Tab(world, 'a'), new Tab(world, 'b')]
  const before = await scene({}, { world, tab: a, storage })
  await write(before, 't1')
  const inner = await storage.open()
  let letThrough = (): void => {}
  const slow: typeof storage = {
    id: storage.id,
    open: async () => ({
      ...inner,
      async transaction(mode, work) {
        if (mode === 'readwrite') await new Promise<void>((resolve) => (letThrough = resolve))
        return inner.transaction(mode, work)
      },
    }),
  }
  a.kill()
  const other = await scene({}, { world, tab: b, storage: slow })
  const reloaded = await scene({}, { world, tab: a, storage })
  expect(reloaded.client.clientId).not.toBe(before.client.clientId)
  letThrough()
  await world.settle()
  expect([...keys(other), ...keys(reloaded)]).toEqual(['todos/t1'])
})

test.each([['entries'], ['get']] as const)(
  'a tab whose storage cannot be read (%s) is another node: it does not know which stamps it has issued',
  async (method) => {
    const world = new World()
    const tab = new Tab(world, 'tab')
    const storage = memory()
    const before = await scene({}, { world, tab, storage })
    await write(before, 't1')
    tab.kill()
    const inner = await storage.open()
    const unreadable: typeof storage = {
      id: storage.id,
      open: async () => ({
        ...inner,
        transaction: (mode, work) =>
          inner.transaction(mode, (tx) =>
            work({ ...tx, [method]: () => Promise.reject(new Error('Data are damaged.')) }),
          ),
      }),
    }
    const after = await scene({}, { world, tab, storage: unreadable })
    expect(after.events).toMatchObject([['error', { error: { code: 'STORAGE_UNAVAILABLE' } }]])
    expect(after.client.clientId).not.toBe(before.client.clientId)
    const other = await scene({}, { world, tab: new Tab(world, 'other'), storage })
    expect(keys(other)).toEqual(['todos/t1'])
  },
)
