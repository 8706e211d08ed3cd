import { expect, test } from 'vitest'
import { clientOf } from '../../test/background-code.ts'
import { Tab, World } from '../../test/virtual-env.ts'

test('where the code that takes over the writes of closed tabs cannot be loaded, they stay, and the next page takes them', async () => {
  const code = { isHere: false, attempts: 0 }
  const { createClient, memory } = await clientOf(code)
  const world = new World()
  const storage = memory()
  const open = async (name: string): Promise<{ readonly tab: Tab; readonly errors: unknown[]; keys(): unknown }> => {
    const tab = new Tab(world, name)
    const client = createClient({ env: tab.env(), storage })
    const errors: unknown[] = []
    client.on('error', ({ error }) => errors.push(error))
    await client.ready
    await world.settle()
    if (name === 'gone') await client.map('todos').set('t1', 1).wait('local')
    return { tab, errors, keys: () => client.pending.get().map(({ target }) => target) }
  }
  const gone = await open('gone')
  gone.tab.kill()
  expect(gone.errors).toEqual([])
  code.isHere = true
  const next = await open('next')
  await world.advance(10_000)
  expect(next.keys()).toEqual(['todos/t1'])
  expect([code.attempts, next.errors]).toEqual([2, []])
})

test('the code that takes over the writes of closed tabs is asked for again when a session begins, and runs once', async () => {
  const code = { isHere: false, attempts: 0 }
  const { createClient, memory } = await clientOf(code)
  const world = new World()
  const storage = memory()
  const gone = new Tab(world, 'gone')
  await createClient({ env: gone.env(), storage }).map('todos').set('t1', 1).wait('local')
  gone.kill()
  const tab = new Tab(world, 'next')
  const client = createClient({ env: tab.env(), storage, url: 'ws://server' })
  await client.ready
  await world.advance(10_000)
  expect([client.pending.get(), code.attempts]).toEqual([[], 2])
  const begin = async (): Promise<void> => {
    tab.socket.say({ type: 'AUTH_REQUIRED', serverTime: world.nowMs, protocolVersion: 1, optional: true })
    await world.settle()
  }
  code.isHere = true
  await begin()
  expect(client.pending.get()).toMatchObject([{ target: 'todos/t1' }])
  const timers = world.pendingTimers
  tab.socket.drop()
  await world.advance(1_000)
  await begin()
  await world.settle()
  expect([code.attempts, world.pendingTimers]).toEqual([3, timers])
})
