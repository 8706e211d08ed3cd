import { expect, test } from 'vitest'
import { failureOf, scene, stamp, type Scene } from '../../test/harness.ts'
import { Tab, World } from '../../test/virtual-env.ts'
import { memory, type StorageAdapter } from '../index.ts'

/** A device on which several people sign in. */
function device(): {
  readonly world: World
  readonly storage: StorageAdapter
  readonly tab: (name: string) => Tab
  /** Opens the application in a tab, offline. */
  readonly open: (tab: Tab) => Promise<Scene>
} {
  const world = new World()
  const storage = memory()
  return {
    world,
    storage,
    tab: (name) => new Tab(world, name),
    open: (tab) => scene({ auth: () => 'token' }, { world, tab, storage }),
  }
}

/** The server greets and says who signed in. */
async function signIn(self: Scene, userId: string): Promise<void> {
  await self.say({ type: 'AUTH_REQUIRED', serverTime: self.world.nowMs, protocolVersion: 1 })
  await acknowledge(self, userId)
}

const acknowledge = (self: Scene, userId: string): Promise<void> =>
  self.say({ type: 'AUTH_ACK', protocolVersion: 1, userId, serverTime: self.world.nowMs, databaseId: 'd' })

/** Loses the connection; another user signs in at the next one. */
async function signInAnew(self: Scene, userId: string): Promise<void> {
  self.socket.drop()
  await self.world.advance(1_000)
  await signIn(self, userId)
}

const shown = (self: Scene): Record<string, unknown> => Object.fromEntries(self.client.map('todos'))
const record = (self: Scene, key: string, seq: number) => ({
  key,
  record: { value: key, timestamp: stamp(self.world) },
  seq,
})

async function stored(storage: StorageAdapter, store: 'base' | 'queue' | 'cursors'): Promise<string[]> {
  const open = await storage.open()
  const rows = await open.transaction('readonly', (tx) => tx.entries(store))
  return rows.map(([key]) => key.join('/'))
}

test('INV-21 another user sees nothing of the former one’s, is sent none of it, and begins from nothing', async () => {
  const { open, tab, storage, world } = device()
  const self = await open(tab('a'))
  const query = self.client.map('todos').query()
  await signIn(self, 'ann')
  await self.page('todos', [record(self, 'base of ann', 4)])
  self.socket.drop()
  self.client.map('todos').set('write of ann', 1)
  await world.advance(1_000)
  expect(query.get()).toMatchObject({ complete: true, rows: [{ key: 'base of ann' }, { key: 'write of ann' }] })
  expect(self.client.status.get().lastSyncedAt).toBeDefined()
  await signIn(self, 'bob')
  expect(query.get()).toMatchObject({ complete: false, rows: [] })
  expect(shown(self)).toEqual({})
  expect(self.client.status.get()).toMatchObject({ pending: 0, rejected: 0 })
  expect(self.client.status.get().lastSyncedAt).toBeUndefined()
  expect(self.client.pending.get()).toEqual([])
  expect(self.sent('SYNC_INIT').at(-1)).toMatchObject({ mapName: 'todos', cursor: null })
  await self.page('todos', [record(self, 'base of bob', 6)])
  expect(self.ops()).toEqual([])
  expect(await stored(storage, 'base')).toEqual(['todos/base of bob'])
})

test('INV-21 what the former user wrote is sent when that user is back, in whatever tab', async () => {
  const { open, tab, world } = device()
  const [a, b] = [tab('a'), tab('b')]
  const first = await open(a)
  first.client.map('todos').set('write of ann', 1)
  await signIn(first, 'ann')
  await signInAnew(first, 'bob')
  await first.page('todos')
  first.client.map('todos').set('write of bob', 1)
  await world.settle()
  expect(first.ops().map(({ key }) => key)).toEqual(['write of bob'])
  // The tab of bob goes on, and ann signs in beside it.
  const second = await open(b)
  expect(shown(second)).toEqual({})
  await signIn(second, 'ann')
  expect(shown(second)).toEqual({ 'write of ann': 1 })
  await second.page('todos')
  expect(second.ops()).toMatchObject([{ key: 'write of ann' }])
  expect(shown(first)).toEqual({ 'write of bob': 1 })
  await signInAnew(first, 'bob')
  await first.page('todos')
  expect(first.ops().map(({ key }) => key)).toEqual(['write of bob'])
})

test('a user who comes back in the same tab finds what was written before', async () => {
  const { open, tab, world } = device()
  const self = await open(tab('a'))
  await signIn(self, 'ann')
  const write = self.client.map('todos').set('write of ann', 1)
  // At once, so that nothing is stored yet.
  self.socket.drop()
  await world.advance(1_000)
  await signIn(self, 'bob')
  await signInAnew(self, 'ann')
  expect(shown(self)).toEqual({ 'write of ann': 1 })
  await self.page('todos')
  expect(self.ops()).toMatchObject([{ id: write.id }])
})

test('a user who comes back after the clock of the tab was set back has what was written before sent', async () => {
  const { open, tab, world } = device()
  const a = tab('a')
  const self = await open(a)
  await signIn(self, 'ann')
  a.skewMs = 7_200_000
  self.client.map('todos').set('write of ann', 1)
  await world.settle()
  await signInAnew(self, 'bob')
  await self.page('todos')
  self.client.map('todos').set('write of bob', 1)
  await world.settle()
  // Whose stamp it was is no matter to the clock: it starts over.
  const skewed = { success: false, errorCode: 'CLOCK_SKEW', details: { serverTime: world.nowMs } } as const
  await self.ack([self.ops()[0]!.id!], 1, skewed)
  await world.advance(1_000)
  await signInAnew(self, 'ann')
  await self.page('todos')
  expect(self.ops()).toMatchObject([{ key: 'write of ann' }])
})

test('refused writes and those of dead tabs stay with their user too', async () => {
  const { open, tab, world } = device()
  const [a, b] = [tab('a'), tab('b')]
  const first = await open(a)
  await signIn(first, 'ann')
  await first.client.map('todos').set('write of ann', 1).wait('local')
  const second = await open(b)
  await signIn(second, 'bob')
  a.kill()
  await world.advance(9_000)
  expect(shown(second)).toEqual({})
  await signInAnew(second, 'ann')
  expect(shown(second)).toEqual({ 'write of ann': 1 })
  await second.page('todos')
  const [op] = second.ops()
  await second.ack([op!.id!], 1, { success: false, errorCode: 'FORBIDDEN' })
  expect(second.client.status.get()).toMatchObject({ rejected: 1 })
  await signInAnew(second, 'bob')
  expect(second.client.status.get()).toMatchObject({ pending: 0, rejected: 0 })
})

test('started offline, the device shows the data of who signed in last, and writes are theirs', async () => {
  const { open, tab, world } = device()
  const a = tab('a')
  const before = await open(a)
  before.client.map('todos')
  await signIn(before, 'ann')
  await before.page('todos', [record(before, 'base of ann', 4)])
  a.kill()
  const self = await open(a)
  self.client.map('todos').set('write', 1)
  expect(shown(self)).toEqual({ 'base of ann': 'base of ann', write: 1 })
  await signIn(self, 'bob')
  expect(shown(self)).toEqual({})
  await self.page('todos')
  expect(self.ops()).toEqual([])
  await world.settle()
})

test('what was written before anybody has signed in on a device belongs to who does first', async () => {
  const { open, tab } = device()
  const a = tab('a')
  const before = await open(a)
  await before.client.map('todos').set('early', 1).wait('local')
  a.kill()
  const self = await open(a)
  await signIn(self, 'ann')
  expect(shown(self)).toEqual({ early: 1 })
  await signInAnew(self, 'bob')
  expect(shown(self)).toEqual({})
  await signInAnew(self, 'ann')
  expect(shown(self)).toEqual({ early: 1 })
})

test('the same user again, by another connection or another token, costs nothing', async () => {
  const { open, tab } = device()
  const self = await open(tab('a'))
  self.client.map('todos')
  await signIn(self, 'ann')
  await self.page('todos', [record(self, 't1', 4)])
  self.socket.take()
  await acknowledge(self, 'ann')
  expect(self.sent('SYNC_INIT')).toEqual([])
  await signInAnew(self, 'ann')
  expect(shown(self)).toEqual({ t1: 't1' })
  expect(self.sent('SYNC_INIT')).toMatchObject([{ cursor: 'c4' }])
})

test('a server that asks for no token has one user, with or without a token', async () => {
  const { world, storage, open, tab } = device()
  const withToken = await open(tab('a'))
  withToken.client.map('todos')
  await signIn(withToken, 'anonymous')
  await withToken.page('todos', [record(withToken, 't1', 4)])
  const without = await scene({}, { world, tab: tab('b'), storage })
  without.client.map('todos')
  await without.greet()
  expect(without.sent('SYNC_INIT')).toMatchObject([{ cursor: 'c4' }])
  expect(shown(without)).toEqual({ t1: 't1' })
})

test('tabs of two users on one storage keep apart, and neither leaves a gap in what the other finds', async () => {
  const { open, tab, storage, world } = device()
  const [a, b] = [tab('a'), tab('b')]
  const ann = await open(a)
  ann.client.map('todos')
  await signIn(ann, 'ann')
  await ann.page('todos', [record(ann, 'a1', 4)])
  const bob = await open(b)
  bob.client.map('todos')
  await signIn(bob, 'bob')
  await bob.page('todos', [record(bob, 'b1', 5)])
  await ann.event('a2', 1, 7, stamp(world))
  expect(shown(ann)).toEqual({ a1: 'a1', a2: 1 })
  expect(shown(bob)).toEqual({ b1: 'b1' })
  expect(await stored(storage, 'base')).toEqual(['todos/b1'])
  // Bob goes, ann takes his place: what her other tab has not stored meanwhile is not taken for stored.
  await signInAnew(bob, 'ann')
  await ann.event('a3', 1, 8, stamp(world))
  await world.settle()
  expect(await stored(storage, 'base')).toEqual([])
  b.kill()
  const next = await open(b)
  expect(shown(next)).toEqual({})
  await signIn(next, 'ann')
  expect(next.sent('SYNC_INIT')).toMatchObject([{ cursor: null }])
})

test('another user’s token in a running session ends it, so that nothing is sent under the other name', async () => {
  const token = (sub: string, expiresInS: number): string =>
    `x.${btoa(JSON.stringify({ sub, exp: Math.floor(world.nowMs / 1_000) + expiresInS }))}.x`
  const world = new World()
  const asked: string[] = []
  const self = await scene(
    {
      auth({ reason }) {
        asked.push(reason)
        return token(asked.length === 1 ? 'ann' : 'bob', 20)
      },
    },
    { world },
  )
  await signIn(self, 'ann')
  self.socket.take()
  await world.advance(11_000)
  expect(asked).toEqual(['connect', 'expiring'])
  expect(self.tab.sockets).toHaveLength(2)
  expect(self.tab.sockets[0]!.take().filter(({ type }) => type === 'AUTH')).toEqual([])
  await signIn(self, 'bob')
  expect(self.sent('AUTH')).toHaveLength(1)
  // A token that cannot be read tells only by its answer.
  await acknowledge(self, 'carol')
  expect(self.client.status.get().connection).toBe('offline')
})

test('a level that somebody waits for is not asked for in another user’s name', async () => {
  const { open, tab } = device()
  const self = await open(tab('a'))
  const write = self.client.map('todos').set('t1', 1)
  await signIn(self, 'ann')
  await self.page('todos')
  const [op] = self.ops()
  await self.ack([op!.id!], 4)
  await self.event('t1', 1, 4, op!.record.timestamp)
  expect(self.client.status.get().pending).toBe(0)
  const waiting = failureOf(write.wait('persisted'))
  await signInAnew(self, 'bob')
  await expect(waiting).resolves.toMatchObject({ code: 'UNAUTHORIZED' })
  await self.page('todos')
  expect(self.ops()).toEqual([])
})

test('INV-21 a map that may not be read any more is not shown any more', async () => {
  const { open, tab, storage } = device()
  const self = await open(tab('a'))
  self.client.map('todos')
  await signIn(self, 'ann')
  await self.page('todos', [record(self, 't1', 4)])
  await signInAnew(self, 'ann')
  expect(shown(self)).toEqual({ t1: 't1' })
  const [init] = self.sent('SYNC_INIT').slice(-1)
  await self.say({
    type: 'ERROR',
    requestId: init!['requestId'],
    payload: { code: 403, errorCode: 'FORBIDDEN', message: 'no' },
  })
  expect(shown(self)).toEqual({})
  expect(await stored(storage, 'base')).toEqual([])
})

test('signing out ends the session, and with `wipe` leaves on the device only what the server has not confirmed', async () => {
  const { open, tab, storage, world } = device()
  const self = await open(tab('a'))
  self.client.map('todos')
  await signIn(self, 'ann')
  await self.page('todos', [record(self, 'base of ann', 4)])
  self.client.map('todos').set('write of ann', 1)
  await world.settle()
  await self.client.auth.signOut()
  expect(self.client.status.get()).toMatchObject({ connection: 'needs-auth', pending: 1 })
  expect(Object.keys(shown(self))).toEqual(['base of ann', 'write of ann'])
  await world.advance(60_000)
  expect(self.tab.sockets).toHaveLength(1)
  await self.client.auth.signOut({ wipe: true })
  expect(shown(self)).toEqual({})
  expect(await stored(storage, 'base')).toEqual([])
  expect(await stored(storage, 'queue')).toEqual([expect.stringMatching('^user:ann/')])
  self.client.connect()
  await signIn(self, 'ann')
  expect(shown(self)).toEqual({ 'write of ann': 1 })
  await self.client.auth.signOut({ wipe: true, discardPending: true })
  expect([await stored(storage, 'base'), await stored(storage, 'queue')]).toEqual([[], []])
  const next = await open(tab('b'))
  expect(shown(next)).toEqual({})
})

test('where nothing can be stored, users are kept apart all the same', async () => {
  const storage: StorageAdapter = { id: 'none', open: () => Promise.reject(new Error('private window')) }
  const self = await scene({ auth: () => 'token', storage })
  self.client.map('todos').set('write of ann', 1)
  await signIn(self, 'ann')
  await signInAnew(self, 'bob')
  expect(shown(self)).toEqual({})
  await signInAnew(self, 'ann')
  expect(shown(self)).toEqual({ 'write of ann': 1 })
})

test('INV-21 what one user has asked of the server is not answered with what is another one’s', async () => {
  const { open, tab, world } = device()
  const self = await open(tab('a'))
  await signIn(self, 'ann')
  const todos = self.client.map('todos')
  const asked = [
    todos.query().once({ from: 'server' }),
    todos.search('milk').once({ from: 'server' }),
    todos.history('k'),
  ].map((promise) => failureOf(promise))
  for (let i = 0; i < 5; i++) await world.settle()
  const types = ['QUERY_SUB', 'SEARCH', 'JOURNAL_READ'] as const
  expect(types.map((type) => self.sent(type).length)).toEqual([1, 1, 1])
  await signInAnew(self, 'bob')
  for (const failure of asked) expect(await failure).toMatchObject({ code: 'UNAUTHORIZED' })
  expect(types.map((type) => self.sent(type).length)).toEqual([0, 0, 0])
})
