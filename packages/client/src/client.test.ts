import { afterEach, expect, test, vi } from 'vitest'
import { failureOf, scene } from '../test/harness.ts'
import { Tab, World } from '../test/virtual-env.ts'
import { createClient, memory, type ClientOptions } from './index.ts'

afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

test('a closed client is let go of by the signal that could have closed it', async () => {
  const { signal } = new AbortController()
  const added = vi.spyOn(signal, 'addEventListener')
  const removed = vi.spyOn(signal, 'removeEventListener')
  const { client } = await scene({ signal })
  await client.close()
  expect(removed.mock.calls).toEqual(added.mock.calls)
})

test('signing out with `wipe` after the end says that it comes too late', async () => {
  const self = await scene()
  await self.greet()
  await self.client.close()
  await expect(failureOf(self.client.auth.signOut({ wipe: true }))).resolves.toMatchObject({ code: 'CLOSED' })
})

test('where the storage of the tab is full, its data is kept all the same', async () => {
  const full = (): void => {
    throw new DOMException('', 'QuotaExceededError')
  }
  vi.stubGlobal('sessionStorage', { getItem: () => null, setItem: full, removeItem() {} })
  const storage = memory()
  const client = createClient({ storage })
  const errors: unknown[] = []
  client.on('error', ({ error }) => errors.push(error))
  await client.map('todos').set('t1', 1).wait('local')
  await client.close()
  expect(errors).toEqual([])
  const open = await storage.open()
  expect(await open.transaction('readonly', (tx) => tx.entries('queue'))).toHaveLength(1)
})

test('a tab that others come and go beside keeps nothing of them', async () => {
  const world = new World()
  const storage = memory()
  const added = vi.spyOn(AbortSignal.prototype, 'addEventListener')
  const removed = vi.spyOn(AbortSignal.prototype, 'removeEventListener')
  await scene({}, { world, tab: new Tab(world, 'stays'), storage })
  for (const name of ['a', 'b', 'c']) {
    const tab = new Tab(world, name)
    const other = await scene({}, { world, tab, storage })
    await other.client.map('todos').set(name, 1).wait('local')
    await world.advance(6_000)
    tab.kill()
    await world.advance(10_000)
  }
  expect(added.mock.calls.length).toBeGreaterThan(2)
  expect(removed.mock.calls).toHaveLength(added.mock.calls.length)
})

test.each<[string, ClientOptions]>([
  ['limits.maxPending', { limits: { maxPending: -1 } }],
  ['limits.maxPending', { limits: { maxPending: 0 } }],
  ['limits.maxPending', { limits: { maxPending: Number.NaN } }],
  ['limits.maxPending', { limits: { maxPending: '10' as never } }],
  ['url', { url: 8080 as never }],
  ['url', { url: new URL('ws://localhost') as never }],
])('%s out of range is refused at once: %j', (name, options) => {
  const tab = new Tab(new World(), 'tab')
  const make = (): unknown => createClient({ env: tab.env(), ...options })
  expect(make).toThrow(expect.objectContaining({ code: 'VALIDATION_ERROR', message: expect.stringContaining(name) }))
})

test.each([-1, Number.NaN, '5'])(
  'a time limit that is none is refused and not taken for over: %s',
  async (timeoutMs) => {
    const { client } = await scene()
    const write = client.map('todos').set('t1', 1)
    const waited = write.wait('memory', { timeoutMs: timeoutMs as number })
    await expect(failureOf(waited)).resolves.toMatchObject({
      code: 'VALIDATION_ERROR',
      message: 'timeoutMs is a number of at least 0.',
    })
  },
)
