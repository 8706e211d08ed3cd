import { expect, test } from 'vitest'
import { failureOf, scene, stamp, type Scene } from '../../test/harness.ts'
import { Tab, World } from '../../test/virtual-env.ts'
import { memory, type Write } from '../index.ts'

async function signIn(self: Scene, userId: string): Promise<void> {
  await self.say({ type: 'AUTH_REQUIRED', serverTime: self.world.nowMs, protocolVersion: 1 })
  await self.say({ type: 'AUTH_ACK', protocolVersion: 1, userId, serverTime: self.world.nowMs, databaseId: 'd' })
}

/** Loses the connection; another user signs in at the next one. */
async function signInAnew(self: Scene, userId: string): Promise<void> {
  self.socket.drop()
  await self.world.advance(1_000)
  await signIn(self, userId)
  await self.page('todos')
}

/** Ann has signed in, and has something that only she may read. */
async function ofAnn(): Promise<Scene> {
  const self = await scene({ auth: () => 'token' })
  self.client.map('todos')
  await signIn(self, 'ann')
  await self.page('todos', [{ key: 't1', record: { value: 'secret', timestamp: stamp(self.world) }, seq: 4 }])
  return self
}

/** Sends and confirms a write. */
async function confirmed(self: Scene): Promise<Write> {
  const write = self.client.map('todos').set('t1', 1)
  await self.world.settle()
  const [op] = self.ops()
  await self.ack([write.id], 5)
  await self.event('t1', 1, 5, op!.record.timestamp)
  return write
}

test('INV-21 who waits for a write that is put aside hears of it, and waits for it anew when its user is back', async () => {
  const self = await ofAnn()
  self.socket.drop()
  const write = self.client.map('todos').set('t2', 1)
  const first = failureOf(write.wait('applied'))
  await signInAnew(self, 'bob')
  await expect(first).resolves.toMatchObject({ code: 'UNAUTHORIZED' })
  await expect(failureOf(write.wait('applied'))).resolves.toMatchObject({ code: 'UNAUTHORIZED' })
  await self.world.advance(1_000)
  expect(self.ops()).toEqual([])
  await signInAnew(self, 'ann')
  const second = write.wait('applied')
  await self.world.settle()
  const ops = self.ops()
  expect(ops.map(({ id }) => id)).toEqual([write.id])
  await self.ack([write.id], 5, { achievedLevel: 'APPLIED' })
  await expect(second).resolves.toMatchObject({ level: 'applied' })
  await self.event('t2', 1, 5, ops[0]!.record.timestamp)
  expect(write.status.get()).toBe('acked')
  expect(self.client.pending.get()).toEqual([])
  expect(self.client.map('todos').query().get().rows).toMatchObject([{ key: 't2', sync: 'synced' }])
})

test('INV-21 a level of a confirmed write is not asked for in another user’s name, before or after', async () => {
  const self = await ofAnn()
  const write = await confirmed(self)
  await signInAnew(self, 'bob')
  await expect(write.wait('memory')).resolves.toMatchObject({ level: 'memory' })
  await expect(failureOf(write.wait('persisted'))).resolves.toMatchObject({ code: 'UNAUTHORIZED' })
  await self.world.advance(1_000)
  expect(self.ops()).toEqual([])
})

test('INV-21 what the former user had is not written by an undo in another user’s name', async () => {
  const self = await ofAnn()
  const write = await confirmed(self)
  await signInAnew(self, 'bob')
  expect(() => write.undo()).toThrow(expect.objectContaining({ code: 'UNAUTHORIZED' }))
  await self.world.settle()
  expect(self.ops()).toEqual([])
  await signInAnew(self, 'ann')
  write.undo()
  await self.world.settle()
  expect(self.ops()).toMatchObject([{ key: 't1', record: { value: 'secret' } }])
})

test('that the former user might not read a map is not told to the next one', async () => {
  const self = await scene({ auth: () => 'token' })
  const query = self.client.map('todos').query()
  await signIn(self, 'ann')
  const [init] = self.sent('SYNC_INIT')
  const payload = { code: 403, errorCode: 'FORBIDDEN', message: 'no' }
  await self.say({ type: 'ERROR', requestId: init!['requestId'], payload })
  expect(query.get().status).toBe('error')
  await self.client.auth.signOut({ wipe: true })
  expect(query.get()).toMatchObject({ status: 'local', rows: [] })
})

test('who signs out with `wipe` leaves on the device what is another user’s', async () => {
  const world = new World()
  const storage = memory()
  const [a, b] = [new Tab(world, 'a'), new Tab(world, 'b')]
  const open = (tab: Tab): Promise<Scene> => scene({ auth: () => 'token' }, { world, tab, storage })
  const ann = await open(a)
  ann.client.map('todos')
  await signIn(ann, 'ann')
  const bob = await open(b)
  bob.client.map('todos')
  await signIn(bob, 'bob')
  await bob.page('todos', [{ key: 'b1', record: { value: 1, timestamp: stamp(world) }, seq: 5 }])
  await ann.client.auth.signOut({ wipe: true })
  b.kill()
  const again = await open(b)
  expect(Object.fromEntries(again.client.map('todos'))).toEqual({ b1: 1 })
})
