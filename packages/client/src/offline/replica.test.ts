import type { Stamp } from '@syncline/core'
import { expect, test, vi } from 'vitest'
import { liveScene, scene, stamp, type Scene } from '../../test/harness.ts'
import { memory, type OpenStorage } from '../index.ts'
import { Op } from './overlay.ts'

const digest = '0'.repeat(16)

test.each<[string, object]>([
  ['a reader of whole records', { digest }],
  // Only whole maps have a digest.
  ['a reader of some fields', { digest: undefined as unknown as string }],
])(
  'INV-14: for %s an acknowledged write stays until the stream shows it, though a page without it has passed its position',
  async (_, rights) => {
    const { world, client, greet, page, ops, ack, event, events } = await scene()
    const todos = client.map('todos')
    const before = { value: { text: 'old' }, timestamp: stamp(world, -1_000) }
    await greet()
    await page('todos', [{ key: 't1', seq: 1, record: before }], rights)
    const write = todos.set('t1', { text: 'mine' })
    await world.settle()
    const [op] = ops()
    await ack([write.id], 2)
    // Another writer changed the record at 9, and so it is not in the frame that goes up to 5.
    await event('t2', 1, 5, stamp(world))
    expect(todos.get('t1')).toEqual({ text: 'mine' })
    expect(client.status.get().pending).toBe(1)
    const later = { ...stamp(world, 5_000), nodeId: 'other' }
    await event('t1', { text: 'theirs' }, 9, later)
    expect(todos.get('t1')).toEqual({ text: 'theirs' })
    expect(client.status.get().pending).toBe(0)
    expect(op!.record.value).toEqual({ text: 'mine' })
    expect(events).toMatchObject([['conflict', { conflict: { local: { text: 'mine' }, remote: { text: 'theirs' } } }]])
  },
)

test('[EV3] what a reader of less has written and may not see leaves when its position has been reached', async () => {
  const { world, client, greet, page, ack, say } = await scene()
  const todos = client.map('todos')
  await greet()
  await page('todos', [], { seq: 1, ...({ digest: undefined } as object) })
  const write = todos.set('t1', 1)
  await world.settle()
  await ack([write.id], 2)
  expect(client.status.get().pending).toBe(1)
  await say({ type: 'SERVER_BATCH_EVENT', payload: { mapName: 'todos', events: [], cursor: 'c2', seq: 2 } })
  expect(client.status.get().pending).toBe(0)
  expect(todos.get('t1')).toBeUndefined()
})

test('a field write that is acknowledged stays until the stream shows its fields or what replaced them', async () => {
  const { world, client, greet, page, ops, ack, event } = await scene()
  const todos = client.map('todos')
  const base = stamp(world, -1_000)
  await greet()
  await page('todos', [{ key: 't1', seq: 1, record: { value: { a: 1, b: 1 }, timestamp: base } }], { digest })
  const write = todos.update('t1', (todo) => void (todo.a = 2))
  await world.settle()
  const [op] = ops()
  await ack([write.id], 2)
  await event('t2', 1, 5, stamp(world))
  expect(todos.get('t1')).toEqual({ a: 2, b: 1 })
  const theirs = stamp(world, 5_000)
  const fields = { a: { stamp: op!.record.timestamp }, b: { stamp: theirs } }
  await event('t1', null, 9, theirs, { record: { value: { a: 2, b: 2 }, timestamp: theirs, base, fields } })
  expect(todos.get('t1')).toEqual({ a: 2, b: 2 })
  expect(client.status.get().pending).toBe(0)
})

test('at the head of the map an acknowledged write is let go, also where this reader may not see it', async () => {
  const { client, world, greet, page, ack } = await scene()
  const write = client.map('todos').set('t1', 1)
  await greet()
  await page('todos', [], { digest, more: true })
  await world.settle()
  await ack([write.id], 2)
  expect(client.status.get().pending).toBe(1)
  await page('todos', [], { seq: 3 })
  expect(client.status.get().pending).toBe(0)
})

test("a write made while local data is loading is 'local' only when it is stored", async () => {
  const inner = await memory().open()
  let open: (storage: OpenStorage) => void = () => {}
  const storage = { id: 'slow', open: () => new Promise<OpenStorage>((resolve) => (open = resolve)) }
  const { world, client } = await scene({ storage })
  let isLocal = false
  const waited = client
    .map('todos')
    .set('t1', 1)
    .wait('local')
    .then(() => (isLocal = true))
  await world.settle()
  expect(isLocal).toBe(false)
  open(inner)
  await client.ready
  await waited
  expect(await inner.transaction('readonly', (tx) => tx.entries('queue'))).toHaveLength(1)
})

const writers: readonly [string, (self: Scene, n: number) => void][] = [
  ['whole', (self, n) => void self.client.map('todos').set('t1', { n })],
  ['partial', (self, n) => void self.client.map<{ n: number }>('todos').update('t1', (todo) => void (todo.n = n))],
]

test.each(writers)('many %s writes of one key without a connection are each put on top once', async (_, write) => {
  const self = await liveScene()
  self.socket.drop()
  self.client.map('todos').set('t1', { n: 0 })
  const applied = vi.spyOn(Op.prototype, 'applyTo')
  for (let n = 1; n <= 300; n++) write(self, n)
  expect(self.client.map('todos').get('t1')).toEqual({ n: 300 })
  await self.world.settle()
  expect(applied.mock.calls.length).toBeLessThanOrEqual(600)
  applied.mockRestore()
})

test.each(writers)(
  'many %s writes of one key are let go of without putting the rest together for each',
  async (...args) => {
    const [, write] = args
    const self = await liveScene()
    const todos = self.client.map('todos')
    const query = todos.query()
    const states: string[] = []
    query.subscribe(({ rows: [row] }) => states.push(`${JSON.stringify(row?.value)} ${row?.sync}`))
    todos.set('t1', { n: 0 })
    for (let n = 1; n <= 300; n++) write(self, n)
    await self.world.settle()
    const ops = self.ops()
    expect(ops).toHaveLength(301)
    const applied = vi.spyOn(Op.prototype, 'applyTo')
    // The first half is shown by the stream after it was acknowledged, the second half before.
    const half = ops.slice(0, 150)
    await self.ack(
      half.map(({ id }) => id as string),
      2,
    )
    const stamps = ops.map((op) => (op as { record: { timestamp: Stamp } }).record.timestamp)
    const event = (n: number, seq: number): Promise<void> => {
      const timestamp = stamps[n] as Stamp
      return self.event('t1', { n }, seq, timestamp, { record: { value: { n }, timestamp } })
    }
    await event(149, 2)
    expect([todos.get('t1'), self.client.status.get().pending]).toEqual([{ n: 300 }, 151])
    await event(300, 3)
    await self.ack(
      ops.slice(150).map(({ id }) => id as string),
      3,
    )
    expect([todos.get('t1'), self.client.status.get().pending]).toEqual([{ n: 300 }, 0])
    expect(applied.mock.calls.length).toBeLessThanOrEqual(4 * ops.length)
    applied.mockRestore()
    expect(states).toEqual(['{"n":300} pending', '{"n":300} synced'])
  },
)
