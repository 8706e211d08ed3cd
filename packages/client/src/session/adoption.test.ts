import { expect, test, vi } from 'vitest'
import { Tab, World } from '../../test/virtual-env.ts'

test('where the code that takes over the writes of closed tabs cannot be loaded, they stay, and the next page takes them', async () => {
  vi.resetModules()
  let attempts = 0
  vi.doMock('./adoption.ts', async (importActual) => {
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
    if (attempts < 2) await vi.waitUntil(() => attempts > before)
    for (let i = 0; i < 10; i++) await world.settle()
    if (name === 'gone') await client.map('todos').set('t1', 1).wait('local')
    return { tab, errors, keys: () => client.pending.get().map(({ target }) => target) }
  }
  const gone = await open('gone')
  gone.tab.kill()
  expect(gone.errors).toEqual([])
  const next = await open('next')
  await vi.waitUntil(() => attempts === 2)
  await world.advance(10_000)
  expect(next.keys()).toEqual(['todos/t1'])
  expect([attempts, next.errors]).toEqual([2, []])
})
