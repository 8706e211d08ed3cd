import { afterEach, expect, test, vi } from 'vitest'
import { Tab, World } from '../../test/virtual-env.ts'

/** How long code may take to be loaded, on a busy machine. */
const PATIENCE = { timeout: 30_000 }

afterEach(() => vi.doUnmock('../background.ts'))

test('where the code that takes over the writes of closed tabs cannot be loaded, they stay, and the next page takes them', async () => {
  vi.resetModules()
  let attempts = 0
  vi.doMock('../background.ts', async (importActual) => {
    if (++attempts === 1) throw new Error('Failed to fetch dynamically imported module')
    return importActual()
  })
  const { createClient, memory } = await import('../index.ts')
  const world = new World()
  const storage = memory()
  const open = async (name: string): Promise<{ readonly tab: Tab; readonly errors: unknown[]; keys(): unknown }> => {
    const tab = new Tab(world, name)
    const client = createClient({ env: tab.env(), storage })
    const errors: unknown[] = []
    client.on('error', ({ error }) => errors.push(error))
    const before = attempts
    await client.ready
    if (attempts < 2) await vi.waitUntil(() => attempts > before, PATIENCE)
    for (let i = 0; i < 10; i++) await world.settle()
    if (name === 'gone') await client.map('todos').set('t1', 1).wait('local')
    return { tab, errors, keys: () => client.pending.get().map(({ target }) => target) }
  }
  const gone = await open('gone')
  gone.tab.kill()
  expect(gone.errors).toEqual([])
  const next = await open('next')
  await vi.waitUntil(() => attempts === 2, PATIENCE)
  await vi.waitUntil(async () => {
    await world.advance(1_000)
    return (next.keys() as unknown[]).length > 0
  }, PATIENCE)
  expect(next.keys()).toEqual(['todos/t1'])
  expect([attempts, next.errors]).toEqual([2, []])
})

test('the code that takes over the writes of closed tabs is asked for again when a session begins, and runs once', async () => {
  vi.resetModules()
  let attempts = 0
  vi.doMock('../background.ts', async (importActual) => {
    if (++attempts === 1) throw new Error('Failed to fetch dynamically imported module')
    return importActual()
  })
  const { createClient, memory } = await import('../index.ts')
  const world = new World()
  const storage = memory()
  const gone = new Tab(world, 'gone')
  await createClient({ env: gone.env(), storage }).map('todos').set('t1', 1).wait('local')
  await vi.waitUntil(() => attempts === 1, PATIENCE)
  gone.kill()
  const tab = new Tab(world, 'next')
  attempts = 0
  const client = createClient({ env: tab.env(), storage, url: 'ws://server' })
  await client.ready
  await vi.waitUntil(() => attempts === 1, PATIENCE)
  await world.advance(10_000)
  expect(client.pending.get()).toEqual([])
  const begin = async (): Promise<void> => {
    tab.socket.say({ type: 'AUTH_REQUIRED', serverTime: world.nowMs, protocolVersion: 1, optional: true })
    await world.settle()
  }
  await begin()
  await vi.waitUntil(() => attempts === 2, PATIENCE)
  await vi.waitUntil(async () => {
    await world.settle()
    return client.pending.get().length > 0
  }, PATIENCE)
  expect(client.pending.get()).toMatchObject([{ target: 'todos/t1' }])
  const timers = world.pendingTimers
  tab.socket.drop()
  await world.advance(1_000)
  await begin()
  await world.settle()
  expect([attempts, world.pendingTimers]).toEqual([2, timers])
})
