import type { KeyedRecord } from '@syncline/protocol/codec'
import { expect, test } from 'vitest'
import { liveScene, type Scene } from '../../../test/harness.ts'
import { Tab, World } from '../../../test/virtual-env.ts'
import { memory } from '../../storage/memory.ts'

const at = (millis: number) => ({ millis, counter: 0, nodeId: 'other' })
const keyed = (key: string, value: KeyedRecord['record']['value'], seq: number): KeyedRecord => ({
  key,
  record: { value, timestamp: at(seq) },
  seq,
})

/** A session in which the server has lost everything up to a position, or a part of it. */
async function lost(records: readonly KeyedRecord[], ranges?: readonly [number, number][]): Promise<Scene> {
  const self = await liveScene(records)
  self.socket.drop()
  await self.world.advance(1_000)
  await self.greet()
  const seq = Math.max(...records.map((record) => record.seq ?? 0)) + 1
  await self.page('todos', [], { seq, lost: ranges ?? [[0, seq]] })
  return self
}

const pushedKeys = (self: Scene): string[][] =>
  self.sent('SYNC_PUSH').map(({ payload }) => (payload['records'] as KeyedRecord[]).map(({ key }) => key))

const answer = (self: Scene, refused: readonly Record<string, unknown>[] = [], more = false): Promise<void> =>
  self.say({
    type: 'SYNC_PUSH_RESP',
    payload: { mapName: 'todos', accepted: 0, refused: refused.map((item) => ({ message: '', ...item })), more },
  })

test('many records are pushed in slices, by their number, and each leaves when the last one is answered', async () => {
  const self = await lost(Array.from({ length: 1_200 }, (_, i) => keyed(`k${i}`, i, i + 1)))
  const sizes: number[] = []
  for (let slices = pushedKeys(self); slices.length > 0; slices = pushedKeys(self)) {
    expect(slices).toHaveLength(1)
    sizes.push(slices[0]!.length)
    if (sizes.length === 1) {
      // Something else that the server lacks is seen meanwhile: it waits for its turn.
      await self.event('k0', 'older', 2_000, at(0))
      expect(pushedKeys(self)).toEqual([])
    }
    await answer(self)
  }
  expect(sizes).toEqual([500, 500, 201])
})

test('large records are pushed in slices of 128 KiB, and one that is larger alone', async () => {
  const text = (kib: number): string => 'x'.repeat(kib * 1024)
  const self = await lost([
    keyed('a', text(50), 1),
    keyed('b', text(50), 2),
    keyed('c', text(50), 3),
    keyed('d', '"'.repeat(200 * 1024), 4),
    keyed('e', text(1), 5),
  ])
  const slices: string[][] = []
  for (let sent = pushedKeys(self); sent.length > 0; sent = pushedKeys(self)) {
    slices.push(...sent)
    await answer(self)
  }
  expect(slices).toEqual([['a', 'b'], ['c'], ['d'], ['e']])
})

test('a write to a record that the server has lost waits until the record is pushed; others do not', async () => {
  const self = await lost(Array.from({ length: 600 }, (_, i) => keyed(`k${i}`, { i }, i + 1)))
  const todos = self.client.map<{ i: number }>('todos')
  todos.update('k1', (draft) => void (draft.i = -1))
  todos.update('k599', (draft) => void (draft.i = -1))
  todos.set('new', { i: 0 })
  await self.world.settle()
  expect(self.ops().map(({ key }) => key)).toEqual(['new'])
  await answer(self)
  expect(self.ops().map(({ key }) => key)).toEqual(['k1'])
  await answer(self)
  expect(self.ops().map(({ key }) => key)).toEqual(['k599'])
})

test('a refused push is replaced by the server’s record, whatever its position, or dropped where it has none', async () => {
  const self = await lost([keyed('a', 1, 5), keyed('b', 1, 6)], [[4, 7]])
  await answer(self, [
    { key: 'a', errorCode: 'FORBIDDEN', record: { value: 0, timestamp: at(1) }, seq: 2 },
    { key: 'b', errorCode: 'STALE' },
  ])
  expect(Object.fromEntries(self.client.map('todos'))).toEqual({ a: 0 })
})

test('a refusal does not replace what the stream has brought since the push left', async () => {
  const self = await lost([keyed('a', 1, 5)])
  await self.event('a', 'later', 9, at(900))
  await answer(self, [{ key: 'a', errorCode: 'FORBIDDEN', record: { value: 0, timestamp: at(1) }, seq: 2 }])
  expect(Object.fromEntries(self.client.map('todos'))).toEqual({ a: 'later' })
})

test('the server’s record that did not fit into the answer is asked for by pushing once more', async () => {
  const self = await lost([keyed('a', 1, 5), keyed('b', 1, 6)])
  expect(pushedKeys(self)).toEqual([['a', 'b']])
  const record = { value: 0, timestamp: at(1) }
  await answer(self, [
    { key: 'a', errorCode: 'FORBIDDEN', record, seq: 2 },
    { key: 'b', errorCode: 'FORBIDDEN', seq: 3 },
  ])
  expect(pushedKeys(self)).toEqual([['b']])
  await answer(self, [{ key: 'b', errorCode: 'FORBIDDEN', record, seq: 3 }])
  expect(Object.fromEntries(self.client.map('todos'))).toEqual({ a: 0, b: 0 })
  expect(pushedKeys(self)).toEqual([])
})

test('an answer in parts is taken whole before the next slice leaves', async () => {
  const self = await lost(Array.from({ length: 501 }, (_, i) => keyed(`k${i}`, i, i + 1)))
  pushedKeys(self)
  const theirs = { record: { value: 'theirs', timestamp: at(1) }, seq: 2 }
  await answer(self, [{ key: 'k1', errorCode: 'FORBIDDEN', ...theirs }], true)
  await answer(self, [{ key: 'k2', errorCode: 'OVERLOADED' }], true)
  expect(pushedKeys(self)).toEqual([])
  await answer(self, [{ key: 'k3', errorCode: 'FORBIDDEN', ...theirs }])
  expect(pushedKeys(self)).toEqual([])
  await self.world.advance(1_000)
  expect(pushedKeys(self)).toEqual([['k2', 'k500']])
  const { k1, k2, k3 } = Object.fromEntries(self.client.map('todos'))
  expect([k1, k2, k3]).toEqual(['theirs', 2, 'theirs'])
})

test('INV-10 what is refused for now is pushed again after a while, and again, until it is taken', async () => {
  const self = await lost([keyed('a', 1, 5), keyed('b', 1, 6), keyed('c', 1, 7)])
  expect(pushedKeys(self)).toEqual([['a', 'b', 'c']])
  for (const errorCode of ['OVERLOADED', 'STORAGE_UNAVAILABLE', 'STORAGE_FULL']) {
    await answer(self, [{ key: 'b', errorCode }])
    expect(pushedKeys(self)).toEqual([])
    await self.world.advance(1_000)
    expect(pushedKeys(self)).toEqual([['b']])
  }
  await answer(self)
  await self.world.advance(60_000)
  expect(pushedKeys(self)).toEqual([])
  expect(Object.fromEntries(self.client.map('todos'))).toEqual({ a: 1, b: 1, c: 1 })
})

test('a slice that is refused whole goes again after a while, or is reported and left where that is of no use', async () => {
  const self = await lost(Array.from({ length: 501 }, (_, i) => keyed(`k${i}`, i, i + 1)))
  const refuse = async (errorCode: string, details: Record<string, unknown> = {}): Promise<void> => {
    const [push] = self.sent('SYNC_PUSH')
    await self.say({
      type: 'ERROR',
      requestId: push!['requestId'],
      payload: { code: 400, errorCode, message: '', details },
    })
  }
  await refuse('RATE_LIMITED', { retryAfterMs: 5_000 })
  await self.world.advance(4_900)
  expect(pushedKeys(self)).toEqual([])
  await self.world.advance(5_000)
  await refuse('TOO_LARGE')
  expect(self.events).toMatchObject([['error', { error: { code: 'TOO_LARGE' } }]])
  expect(pushedKeys(self)).toEqual([['k500']])
})

test('who turns out not to read the whole map pushes no more of it, and its writes do not wait for that', async () => {
  const self = await liveScene(Array.from({ length: 600 }, (_, i) => keyed(`k${i}`, { i }, i + 1)))
  self.socket.drop()
  await self.world.advance(1_000)
  await self.greet()
  await self.page('todos', [], { seq: 601, lost: [[0, 601]], more: true })
  expect(pushedKeys(self)).toHaveLength(1)
  await self.page('todos', [], { seq: 601, digest: undefined } as never)
  await answer(self)
  expect(pushedKeys(self)).toEqual([])
  self.client.map<{ i: number }>('todos').update('k599', (draft) => void (draft.i = -1))
  await self.world.settle()
  expect(self.ops()).toMatchObject([{ key: 'k599' }])
})

/** A tab of a device on which another one had heard more, before the server lost that, and is gone. */
async function othersOnDevice(): Promise<Scene> {
  const world = new World()
  const storage = memory()
  const [first, second] = [new Tab(world, 'first'), new Tab(world, 'second')]
  const known = keyed('a', 1, 1)
  const b = await liveScene([known], {}, { world, storage, tab: second })
  b.socket.drop()
  const a = await liveScene([known], {}, { world, storage, tab: first })
  await a.event('b', 'only here', 5, at(5))
  await world.advance(100)
  first.kill()
  await world.advance(1_000)
  await b.greet()
  return b
}

test('INV-9 [CR11] what the server has lost, and a tab that is gone has stored, another one of its device pushes', async () => {
  const b = await othersOnDevice()
  expect(b.client.map('todos').get('b')).toBeUndefined()
  await b.page('todos', [], { seq: 9, lost: [[4, 8]] })
  await b.world.advance(100)
  expect(pushedKeys(b)).toEqual([['b']])
  expect(b.client.map('todos').get('b')).toBe('only here')
  // Until the stream shows it again its position is one that the server has lost.
  b.socket.drop()
  await b.world.advance(1_000)
  await b.greet()
  await b.page('todos', [], { seq: 9, lost: [[4, 8]] })
  expect(pushedKeys(b)).toEqual([['b']])
})

test.each([
  ['it was not lost', { seq: 9, lost: [[5, 8]] as const }],
  ['this reader may not see the whole map', { seq: 9, lost: [[4, 8]] as const, digest: undefined }],
])('[CR11] what another tab has stored is not pushed where %s', async (_, page) => {
  const b = await othersOnDevice()
  await b.page('todos', [], page as never)
  await b.world.advance(100)
  expect(pushedKeys(b)).toEqual([])
})
