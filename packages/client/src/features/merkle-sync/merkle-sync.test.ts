import type { LwwRecord, Stamp } from '@syncline/core'
import { MerkleTrie, fnv1a, stampDigest, stateDigest } from '@syncline/core/merkle'
import { encodeJson, type KeyedRecord } from '@syncline/protocol/codec'
import { expect, test } from 'vitest'
import { liveScene, scene, stamp, type Scene } from '../../../test/harness.ts'
import { Tab, World } from '../../../test/virtual-env.ts'
import { memory } from '../../index.ts'

const at = (millis: number, nodeId = 'other'): Stamp => ({ millis, counter: 0, nodeId })
const keyed = (key: string, value: LwwRecord['value'], seq: number, timestamp = at(seq)): KeyedRecord => ({
  key,
  record: { value, timestamp },
  seq,
})

const reconnect = async (self: Scene): Promise<void> => {
  self.socket.drop()
  await self.world.advance(1_000)
  await self.greet()
}

async function stored(storage: ReturnType<typeof memory>, store: 'base' | 'cursors'): Promise<Record<string, unknown>> {
  const open = await storage.open()
  const entries = await open.transaction('readonly', (tx) => tx.entries(store))
  return Object.fromEntries(entries.map(([[first, second], row]) => [second || first, row]))
}

test('a used map is followed from its cursor, and records are stored with the cursor in one transaction', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const storage = memory()
  const { client, greet, page, sent } = await scene({}, { world, tab, storage })
  const todos = client.map('todos')
  await greet()
  expect(sent('SYNC_INIT')).toMatchObject([{ mapName: 'todos', cursor: null }])
  await page('todos', [keyed('t1', 1, 1), keyed('t2', 2, 2)], { more: true })
  expect(todos.get('t2')).toBe(2)
  expect(await stored(storage, 'cursors')).toMatchObject({ todos: { cursor: 'c2', seq: 2, complete: false } })
  expect(Object.keys(await stored(storage, 'base'))).toEqual(['t1', 't2'])
  tab.kill()
  const next = await scene({}, { world, tab, storage })
  expect(next.client.map('todos').get('t1')).toBe(1)
  await next.greet()
  expect(next.sent('SYNC_INIT')).toMatchObject([{ mapName: 'todos', cursor: 'c2' }])
})

test('an acknowledgement changes neither base nor cursor', async () => {
  const storage = memory()
  const { client, world, ops, ack } = await liveScene([keyed('t1', 1, 1)], {}, { storage })
  client.map('todos').set('t1', 2)
  await world.settle()
  await ack([ops()[0]!.id!], 2)
  expect(await stored(storage, 'cursors')).toMatchObject({ todos: { cursor: 'c1', seq: 1 } })
  expect(await stored(storage, 'base')).toMatchObject({ t1: { record: { value: 1 }, seq: 1 } })
})

test('INV-13 [EV3] an event moves the cursor, an empty one too, and never back', async () => {
  const storage = memory()
  const { event, say, world, client } = await liveScene([], {}, { storage })
  await event('t1', 1, 3, stamp(world))
  expect(await stored(storage, 'cursors')).toMatchObject({ todos: { cursor: 'c3', seq: 3 } })
  await say({ type: 'SERVER_BATCH_EVENT', payload: { mapName: 'todos', cursor: 'c9', seq: 9, events: [] } })
  expect(await stored(storage, 'cursors')).toMatchObject({ todos: { cursor: 'c9', seq: 9 } })
  await event('t2', 2, 5, stamp(world))
  expect(await stored(storage, 'cursors')).toMatchObject({ todos: { cursor: 'c9', seq: 9 } })
  expect(client.map('todos').get('t2')).toBe(2)
})

test('base records in a lost range are pushed with all stamps after the first page, tombstones too, before ops', async () => {
  const self = await liveScene([keyed('old', 1, 1), keyed('kept', 2, 5), keyed('gone', null, 6)])
  const { client, page, socket } = self
  client.map('todos').set('new', 1)
  await self.world.settle()
  socket.take()
  await reconnect(self)
  await page('todos', [], { seq: 8, more: true, lost: [[4, 7]] })
  const sent = self.socket.take().filter(({ type }) => type === 'SYNC_PUSH' || type === 'OP_BATCH')
  expect(sent).toMatchObject([
    {
      type: 'SYNC_PUSH',
      payload: {
        mapName: 'todos',
        records: [
          { key: 'kept', record: { value: 2, timestamp: at(5) } },
          { key: 'gone', record: { value: null, timestamp: at(6) } },
        ],
      },
    },
    { type: 'OP_BATCH' },
  ])
  await page('todos', [], { seq: 9, lost: [[0, 7]] })
  expect(self.sent('SYNC_PUSH')).toEqual([])
})

test('a record that base beats is merged into base and pushed back', async () => {
  const self = await liveScene([
    {
      key: 't1',
      seq: 5,
      record: { value: { a: 1, b: 2 }, timestamp: at(50), base: at(10), fields: { b: { stamp: at(50) } } },
    },
  ])
  await reconnect(self)
  await self.page('todos', [
    {
      key: 't1',
      seq: 9,
      record: { value: { a: 7, b: 0 }, timestamp: at(60), base: at(10), fields: { a: { stamp: at(60) } } },
    },
  ])
  expect(self.client.map('todos').get('t1')).toEqual({ a: 7, b: 2 })
  const [push] = self.sent('SYNC_PUSH')
  expect(push?.payload['records']).toMatchObject([
    {
      key: 't1',
      record: { value: { a: 7, b: 2 }, base: at(10), fields: { a: { stamp: at(60) }, b: { stamp: at(50) } } },
    },
  ])
})

test('SYNC_RESET_REQUIRED drops base and keeps the overlay, which is sent when the snapshot is complete', async () => {
  const storage = memory()
  const self = await liveScene([keyed('t1', 1, 1), keyed('t2', 2, 2)], {}, { storage })
  const { client, page, say, sent, ops, world, events } = self
  self.socket.drop()
  const todos = client.map('todos')
  todos.set('t1', 'edited')
  todos.set('new', 'created')
  await world.advance(1_000)
  await self.greet()
  sent('SYNC_INIT')
  await say({ type: 'SYNC_RESET_REQUIRED', payload: { mapName: 'todos', reason: 'pruned' } })
  expect(Object.fromEntries(todos)).toEqual({ t1: 'edited', new: 'created' })
  expect(sent('SYNC_INIT')).toMatchObject([{ cursor: null }])
  expect(await stored(storage, 'base')).toEqual({})
  expect(await stored(storage, 'cursors')).toMatchObject({ todos: { cursor: null, seq: 0, epoch: 1, complete: false } })
  expect(todos.query().get().complete).toBe(false)
  await page('todos', [keyed('x', 1, 7)], { more: true, seq: 7 })
  expect(ops().map(({ key }) => key)).toEqual(['new'])
  await page('todos', [keyed('t1', 1, 8)], { seq: 8 })
  expect(ops().map(({ key }) => key)).toEqual(['t1'])
  expect(events).toEqual([])
})

test('INV-12 after a reset an edit of what is gone is not sent but reported, unless it is written again', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const storage = memory()
  const self = await liveScene([keyed('t1', { a: 1 }, 1)], {}, { world, tab, storage })
  self.socket.drop()
  self.client.map('todos').update('t1', (todo) => void (todo.a = 2))
  await world.advance(1_000)
  await self.greet()
  await self.say({ type: 'SYNC_RESET_REQUIRED', payload: { mapName: 'todos', reason: 'pruned' } })
  await self.page('todos', [], { seq: 7, more: true })
  // Half of the snapshot is stored: a reload must not forget that the map is being rebuilt.
  tab.kill()
  const next = await scene({}, { world, tab, storage })
  await next.greet()
  await next.page('todos', [keyed('x', 1, 8)], { seq: 8, more: true })
  expect(next.ops()).toEqual([])
  await next.page('todos', [], { seq: 9 })
  expect(next.ops()).toEqual([])
  expect(next.events).toMatchObject([
    ['rejected', { error: { code: 'STALE' } }],
    ['conflict', { conflict: { key: 't1', local: { a: 2 }, remote: undefined, fields: ['a'] } }],
  ])
  next.client.map('todos').set('t1', { a: 3 })
  await world.settle()
  expect(next.ops()).toMatchObject([{ key: 't1', opType: 'PUT', record: { value: { a: 3 } } }])
})

test('prunedThroughSeq drops tombstones at or below it, in a diff and in an event', async () => {
  const storage = memory()
  const self = await liveScene(
    [keyed('a', null, 1), keyed('b', 1, 2), keyed('c', null, 3), keyed('d', null, 4)],
    {},
    { storage },
  )
  await reconnect(self)
  await self.page('todos', [], { seq: 4, prunedThroughSeq: 1 })
  expect(Object.keys(await stored(storage, 'base'))).toEqual(['b', 'c', 'd'])
  await self.say({
    type: 'SERVER_BATCH_EVENT',
    payload: { mapName: 'todos', cursor: 'c5', seq: 5, events: [], prunedThroughSeq: 3 },
  })
  expect(Object.keys(await stored(storage, 'base'))).toEqual(['b', 'd'])
})

test('INV-10 a different digest at the closing page makes one walk: fetch what differs, push what the server lacks', async () => {
  const mine = [keyed('same', 1, 1), keyed('differs', 'old', 2), keyed('lacking', 3, 3)]
  const self = await liveScene(mine)
  const differs: LwwRecord = { value: 'new', timestamp: at(90), base: at(90) }
  const same: LwwRecord = { value: 1, timestamp: at(1), base: at(1) }
  await reconnect(self)
  await self.page('todos', [], { seq: 3, digest: '0123456789abcdef' })
  expect(self.sent('SYNC_TRIE')).toHaveLength(1)
  const say = async (message: unknown): Promise<void> => {
    self.socket.onText(encodeJson(message as never))
    await self.world.settle()
  }
  await say({ type: 'SYNC_TRIE_RESP', payload: { mapName: 'todos', digest: '', leaves: new Uint8Array(4096 * 8) } })
  const [leaves] = self.sent('SYNC_LEAVES')
  const expected = mine.map(({ key }) => fnv1a(key) >>> 20).sort((a, b) => a - b)
  expect(leaves?.payload['leaves']).toEqual(expected)
  const digests = new Uint8Array(24)
  const view = new DataView(digests.buffer)
  for (const [i, [key, record]] of (
    [
      ['same', same],
      ['differs', differs],
      ['unknown', differs],
    ] as const
  ).entries()) {
    view.setUint32(i * 8, stampDigest(fnv1a(key), record.timestamp))
    view.setUint32(i * 8 + 4, stateDigest(key, record))
  }
  await say({
    type: 'SYNC_LEAVES_RESP',
    payload: { mapName: 'todos', keys: ['same', 'differs', 'unknown'], digests, more: false },
  })
  expect(self.sent('SYNC_FETCH')).toMatchObject([{ payload: { keys: ['differs', 'unknown'] } }])
  expect(self.sent('SYNC_PUSH')).toMatchObject([{ payload: { records: [{ key: 'lacking' }] } }])
  await say({
    type: 'SYNC_RECORDS',
    payload: {
      mapName: 'todos',
      records: [{ key: 'differs', record: { value: 'new', timestamp: at(90) }, seq: 2 }],
      absent: ['unknown'],
      more: false,
    },
  })
  expect(self.client.map('todos').get('differs')).toBe('new')
})

test('an equal digest makes no walk, and a reader without one never pushes', async () => {
  const self = await liveScene([keyed('t1', 1, 5)])
  const record: LwwRecord = { value: 1, timestamp: at(5), base: at(5) }
  const trie = new MerkleTrie()
  trie.add(fnv1a('t1'), stampDigest(fnv1a('t1'), at(5)), stateDigest('t1', record))
  await reconnect(self)
  await self.page('todos', [], { seq: 5, digest: trie.digest() })
  expect(self.sent('SYNC_TRIE')).toEqual([])
  await reconnect(self)
  await self.page('todos', [], { seq: 5, digest: undefined } as never)
  await reconnect(self)
  await self.page('todos', [], { seq: 6, lost: [[0, 9]] })
  expect(self.sent('SYNC_PUSH')).toEqual([])
})

test('a large map is live before it is compared, and is compared over several turns', async () => {
  const records = Array.from({ length: 5_000 }, (_, i) => keyed(`k${i}`, i, i + 1))
  const trie = new MerkleTrie()
  for (const { key, record } of records) {
    const state = stateDigest(key, { ...record, base: record.timestamp })
    trie.add(fnv1a(key), stampDigest(fnv1a(key), record.timestamp), state)
  }
  const start = async (digest: string): Promise<Scene> => {
    const self = await scene()
    const query = self.client.map('todos').query({ limit: 1 })
    await self.greet()
    await self.page('todos', records, { digest })
    expect(query.get()).toMatchObject({ status: 'live', complete: true })
    expect(self.sent('SYNC_TRIE')).toEqual([])
    return self
  }
  const same = await start(trie.digest())
  await same.world.advance(100)
  expect(same.sent('SYNC_TRIE')).toEqual([])
  const other = await start('0000000000000000')
  await other.world.advance(100)
  expect(other.sent('SYNC_TRIE')).toHaveLength(1)
  // What comes meanwhile makes the digest that of an earlier position: it is asked for again.
  const busy = await start(trie.digest())
  busy.sent('SYNC_INIT')
  await busy.event('k1', 'new', 5_001, at(9_000))
  await busy.world.advance(100)
  expect(busy.sent('SYNC_TRIE')).toEqual([])
  expect(busy.sent('SYNC_INIT')).toMatchObject([{ cursor: 'c5001' }])
  await busy.page('todos', [], { seq: 5_001, digest: trie.digest() })
  expect(busy.sent('SYNC_TRIE')).toHaveLength(1)
  const gone = await start('0000000000000000')
  await reconnect(gone)
  expect(gone.sent('SYNC_TRIE')).toEqual([])
})

test('a map that may not be read is an error of its queries, and its writes leave with their acknowledgement', async () => {
  const { client, greet, say, sent, ops, world, ack, events } = await scene()
  const query = client.map('secret').query()
  await greet()
  const [init] = sent('SYNC_INIT')
  await say({
    type: 'ERROR',
    requestId: init!['requestId'],
    payload: { code: 403, errorCode: 'FORBIDDEN', message: 'no' },
  })
  expect(query.get()).toMatchObject({ status: 'error', error: { code: 'FORBIDDEN' } })
  expect(events).toMatchObject([['error', { error: { code: 'FORBIDDEN' } }]])
  client.map('secret').set('t1', 1)
  await world.settle()
  await ack([ops()[0]!.id!], 5)
  expect(client.status.get().pending).toBe(0)
})

test('SYNC_INIT that is refused for now is sent again after a while', async () => {
  const { client, greet, say, sent, world } = await scene()
  client.map('todos')
  await greet()
  const [init] = sent('SYNC_INIT')
  await say({
    type: 'ERROR',
    requestId: init!['requestId'],
    payload: { code: 503, errorCode: 'OVERLOADED', message: 'no' },
  })
  expect(sent('SYNC_INIT')).toEqual([])
  await world.advance(1_000)
  expect(sent('SYNC_INIT')).toMatchObject([{ mapName: 'todos' }])
})

test('events of a map reach nobody before its closing page', async () => {
  const { client, greet, page, event, world } = await scene()
  const todos = client.map('todos')
  await greet()
  await page('todos', [keyed('t1', 1, 1)], { more: true })
  await event('t2', 2, 9, stamp(world))
  expect(Object.fromEntries(todos)).toEqual({ t1: 1 })
})

/** Answers what was asked of the server, once more, with an error. */
const refuse = (self: Scene, type: string): Promise<void> => {
  const [asked] = self.sent(type)
  const payload = { code: 429, errorCode: 'RATE_LIMITED', message: '', details: { retryAfterMs: 5_000 } }
  return self.say({ type: 'ERROR', requestId: asked!['requestId'], payload })
}

/** A session that pushes what the server has lost. */
async function pushing(): Promise<Scene> {
  const self = await liveScene([keyed('a', 1, 1), keyed('lost', 2, 5)])
  await reconnect(self)
  self.sent('SYNC_INIT')
  await self.page('todos', [], { seq: 6, lost: [[4, 6]] })
  await self.world.advance(100)
  expect(self.sent('SYNC_PUSH')).toHaveLength(1)
  expect([self.sent('SYNC_TRIE'), self.sent('SYNC_INIT')]).toEqual([[], []])
  return self
}

const pushed = (self: Scene, refused: readonly object[] = []): Promise<void> =>
  self.say({ type: 'SYNC_PUSH_RESP', payload: { mapName: 'todos', accepted: 1, refused } })

test('INV-10 [CR13] what is pushed is taken before digests are compared: the server is asked for its own again', async () => {
  const self = await pushing()
  const query = self.client.map('todos').query()
  await pushed(self)
  expect(self.sent('SYNC_INIT')).toMatchObject([{ mapName: 'todos', cursor: 'c6' }])
  // The map stays live meanwhile.
  await self.event('b', 3, 7, at(7))
  expect(query.get()).toMatchObject({ status: 'live', rows: [{ key: 'a' }, { key: 'b' }, { key: 'lost' }] })
  await self.page('todos', [keyed('lost', 2, 8, at(5))], { seq: 8 })
  expect(self.sent('SYNC_TRIE')).toHaveLength(1)
  await self.event('c', 3, 9, at(9))
  await self.world.advance(60_000)
  expect([self.sent('SYNC_TRIE'), self.sent('SYNC_INIT')]).toEqual([[], []])
})

test('INV-10 [CR13] so they are when it is refused for now and taken later, or refused for good', async () => {
  const self = await pushing()
  await pushed(self, [{ key: 'lost', errorCode: 'STORAGE_FULL', message: '' }])
  expect(self.sent('SYNC_INIT')).toEqual([])
  await self.world.advance(1_000)
  expect(self.sent('SYNC_PUSH')).toHaveLength(1)
  expect(self.sent('SYNC_INIT')).toEqual([])
  await pushed(self, [{ key: 'lost', errorCode: 'STALE', message: '' }])
  expect(self.sent('SYNC_INIT')).toHaveLength(1)
})

test('INV-10 [CR13] a comparison of which a part is refused for now begins anew after a while, and not before', async () => {
  const self = await liveScene([keyed('a', 1, 1)])
  await reconnect(self)
  self.sent('SYNC_INIT')
  await self.page('todos', [], { seq: 1 })
  for (const type of ['SYNC_TRIE', 'SYNC_INIT', 'SYNC_LEAVES']) {
    await refuse(self, type)
    await self.world.advance(4_900)
    expect(self.sent('SYNC_INIT')).toEqual([])
    await self.world.advance(5_000)
    if (type === 'SYNC_TRIE') continue
    await self.page('todos', [], { seq: 1 })
    if (type === 'SYNC_LEAVES') break
    const payload = { mapName: 'todos', digest: '0'.repeat(16), leaves: new Uint8Array(4096 * 8) }
    self.socket.onText(encodeJson({ type: 'SYNC_TRIE_RESP', payload }))
    await self.world.settle()
    self.sent('SYNC_INIT')
  }
  expect(self.events).toEqual([])
})
