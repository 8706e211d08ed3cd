import { compareStamps, type Stamp } from '@syncline/core'
import { expect, test } from 'vitest'
import { failureOf, liveScene, scene, stamp, type Scene } from '../../test/harness.ts'
import { Tab, World } from '../../test/virtual-env.ts'
import { memory } from '../index.ts'

const refusal = (
  opId: string | undefined,
  errorCode: string,
  details?: Record<string, unknown>,
): Record<string, unknown> => ({
  type: 'OP_ACK',
  payload: {
    lastId: opId,
    results: [{ opId, success: false, achievedLevel: 'MEMORY', latencyMs: 1, errorCode, error: errorCode, details }],
  },
})

const reconnect = async (self: Scene): Promise<void> => {
  self.socket.drop()
  await self.world.advance(1_000)
  await self.greet()
}

test('the level of a write is MEMORY unless it says otherwise, and each level has its batch', async () => {
  const { client, world, sent } = await liveScene()
  const todos = client.map('todos')
  todos.set('a', 1)
  todos.set('b', 1, { concern: 'persisted' })
  todos.set('c', 1, { concern: 'persisted' })
  todos.set('d', 1, { concern: 'none' })
  await world.settle()
  const batches = sent('OP_BATCH').map(({ payload }) => [payload['writeConcern'], (payload['ops'] as unknown[]).length])
  expect(batches).toEqual([
    ['MEMORY', 1],
    ['PERSISTED', 2],
    ['FIRE_AND_FORGET', 1],
  ])
})

test('a batch holds at most 1,000 ops and 128 KiB, or one op that is larger, and several are on their way at once', async () => {
  const { client, world, sent } = await liveScene()
  const todos = client.map('todos')
  for (let i = 0; i < 1_500; i++) todos.set(`k${i}`, i)
  for (let i = 0; i < 4; i++) todos.set(`large${i}`, 'x'.repeat(200_000))
  await world.settle()
  const batches = sent('OP_BATCH')
  expect(batches.length).toBeGreaterThan(3)
  for (const batch of batches) {
    const { length } = batch.payload['ops'] as unknown[]
    expect(length).toBeLessThanOrEqual(1_000)
    if (length > 1) expect(JSON.stringify(batch).length).toBeLessThanOrEqual(128 * 1024)
  }
})

test('wait for a level above the one that was sent sends the op once more with that level', async () => {
  const { client, world, sent, ack } = await liveScene()
  const write = client.map('todos').set('t1', 1)
  await world.settle()
  const [first] = sent('OP_BATCH')
  await ack([write.id], 1)
  const persisted = write.wait('persisted')
  await expect(write.wait('memory')).resolves.toMatchObject({ level: 'memory' })
  await world.settle()
  const [second] = sent('OP_BATCH')
  expect(second?.payload['writeConcern']).toBe('PERSISTED')
  expect(second?.payload['ops']).toEqual(first?.payload['ops'])
  await ack([write.id], 1, { achievedLevel: 'PERSISTED' })
  await expect(persisted).resolves.toMatchObject({ level: 'persisted' })
})

test('a level can be asked for after the write has left the overlay, and across a reconnect', async () => {
  const self = await liveScene()
  const { client, world, sent, ack, event, ops, page } = self
  const write = client.map('todos').set('t1', 1)
  await world.settle()
  const [op] = ops()
  await ack([write.id], 1)
  await event('t1', 1, 1, op!.record.timestamp)
  expect(client.status.get().pending).toBe(0)
  const persisted = write.wait('persisted')
  await world.settle()
  expect(ops()).toMatchObject([{ id: write.id, record: { timestamp: op!.record.timestamp } }])
  await reconnect(self)
  await page('todos', [], { seq: 1 })
  expect(sent('OP_BATCH')).toMatchObject([{ payload: { writeConcern: 'PERSISTED' } }])
  await ack([write.id], 1, { achievedLevel: 'PERSISTED' })
  await expect(persisted).resolves.toMatchObject({ level: 'persisted' })
  expect(client.status.get().pending).toBe(0)
})

test('a level that the server cannot give fails who waits for it, and not the write', async () => {
  const { client, world, say, ack, sent, events } = await liveScene()
  const write = client.map('todos').set('t1', 1)
  const persisted = failureOf(write.wait('persisted'))
  await world.settle()
  expect(sent('OP_BATCH')).toMatchObject([{ payload: { writeConcern: 'PERSISTED' } }])
  await say(refusal(write.id, 'WRITE_CONCERN_UNAVAILABLE'))
  expect(await persisted).toMatchObject({ code: 'WRITE_CONCERN_UNAVAILABLE' })
  expect(sent('OP_BATCH')).toMatchObject([{ payload: { writeConcern: 'MEMORY' } }])
  await ack([write.id], 1)
  expect(write.status.get()).toBe('acked')
  expect(events).toEqual([])
})

test('wait ends with TIMEOUT or the signal’s reason, and the write goes on', async () => {
  const { client, world } = await scene()
  const write = client.map('todos').set('t1', 1)
  const slow = failureOf(write.wait('memory', { timeoutMs: 500 }))
  const controller = new AbortController()
  const aborted = failureOf(write.wait('memory', { signal: controller.signal }))
  controller.abort(new Error('enough'))
  await world.advance(600)
  expect(await slow).toMatchObject({ code: 'TIMEOUT' })
  expect(await aborted).toMatchObject({ message: 'enough' })
  await expect(write.wait('local')).resolves.toMatchObject({ level: 'local' })
  expect(write.status.get()).toBe('pending')
})

test('a timeout that names a position stands at the lower level and is asked for again', async () => {
  const { client, world, say, ack, sent } = await liveScene()
  const write = client.map('todos').set('t1', 1)
  const persisted = write.wait('persisted')
  await world.settle()
  sent('OP_BATCH')
  await say({
    type: 'OP_ACK',
    payload: {
      lastId: write.id,
      results: [
        { opId: write.id, success: false, achievedLevel: 'APPLIED', latencyMs: 1, seq: 1, errorCode: 'TIMEOUT' },
      ],
    },
  })
  expect(write.status.get()).toBe('acked')
  await world.advance(500)
  expect(sent('OP_BATCH')).toMatchObject([{ payload: { writeConcern: 'PERSISTED' } }])
  await ack([write.id], 1, { achievedLevel: 'PERSISTED' })
  expect(await persisted).toMatchObject({ level: 'persisted' })
})

test('INV-6: a write made to be persisted stays on this device until it is, though the stream shows it', async () => {
  const { client, world, say, ack, sent, event } = await liveScene()
  const write = client.map('todos').set('t1', 1, { concern: 'persisted' })
  await world.settle()
  const [batch] = sent('OP_BATCH')
  const [op] = (batch!.payload as { ops: { record: { timestamp: Stamp } }[] }).ops
  const short = { opId: write.id, success: false, achievedLevel: 'APPLIED', latencyMs: 1, seq: 1, errorCode: 'TIMEOUT' }
  await say({ type: 'OP_ACK', payload: { lastId: write.id, results: [short] } })
  await event('t1', 1, 1, op!.record.timestamp)
  expect(client.pending.get()).toMatchObject([{ id: write.id, lastError: { code: 'TIMEOUT' } }])
  await world.advance(500)
  expect(sent('OP_BATCH')).toMatchObject([{ payload: { writeConcern: 'PERSISTED', ops: [op] } }])
  await ack([write.id], 1, { achievedLevel: 'PERSISTED' })
  expect(client.pending.get()).toEqual([])
})

test('wait ends with CLOSED when the client is closed', async () => {
  const { client } = await scene()
  const waiting = failureOf(client.map('todos').set('t1', 1).wait('memory'))
  await client.close()
  expect(await waiting).toMatchObject({ code: 'CLOSED' })
})

test('after a reconnect the whole overlay is sent again, acknowledged or not, with the same stamps', async () => {
  const self = await liveScene()
  const { client, world, ack, ops, page } = self
  client.map('todos').set('t1', 1)
  client.map('todos').set('t2', 2)
  await world.settle()
  const first = ops()
  await ack([first[0]!.id!], 7)
  await reconnect(self)
  expect(ops()).toEqual([])
  await page('todos', [], { seq: 3 })
  expect(ops()).toEqual(first)
})

test('an acknowledgement of an earlier connection does not take an op out of the overlay', async () => {
  const self = await liveScene()
  const { client, world, ack, ops, page } = self
  client.map('todos').set('t1', 1)
  await world.settle()
  const [op] = ops()
  await ack([op!.id!], 5)
  await reconnect(self)
  // The server has crashed, forgotten the write and given its position to others.
  await page('todos', [], { seq: 9 })
  expect(client.status.get().pending).toBe(1)
  expect(client.map('todos').get('t1')).toBe(1)
})

test('a refusal for good stays visible, is an event and ends with discard', async () => {
  const { client, world, say, ops, events } = await liveScene()
  const todos = client.map('todos')
  const write = todos.set('t1', 1)
  const waiting = failureOf(write.wait('memory'))
  await world.settle()
  ops()
  await say(refusal(write.id, 'FORBIDDEN'))
  expect(await waiting).toMatchObject({ code: 'FORBIDDEN' })
  expect(events).toMatchObject([['rejected', { error: { code: 'FORBIDDEN' }, write: { id: write.id } }]])
  expect(client.pending.get()).toMatchObject([
    { id: write.id, op: 'PUT', target: 'todos/t1', attempts: 1, status: 'rejected', lastError: { code: 'FORBIDDEN' } },
  ])
  expect(client.status.get()).toMatchObject({ pending: 0, rejected: 1 })
  expect(todos.get('t1')).toBe(1)
  client.pending.discard(write.id)
  expect(todos.has('t1')).toBe(false)
  expect(client.pending.get()).toEqual([])
})

test('refused and pending writes survive a reload, and refused ones are not sent again', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const storage = memory()
  const before = await liveScene([], {}, { world, tab, storage })
  const refused = before.client.map('todos').set('t1', 1)
  await world.settle()
  before.ops()
  await before.say(refusal(refused.id, 'FORBIDDEN', { action: 'PUT' }))
  const pending = before.client.map('todos').set('t2', 2)
  await world.settle()
  const [sent] = before.ops()
  tab.kill()
  const after = await scene({}, { world, tab, storage })
  expect(after.client.map('todos').get('t1')).toBe(1)
  expect(after.client.pending.get().map(({ id, status }) => [id, status])).toEqual([
    [refused.id, 'rejected'],
    [pending.id, 'pending'],
  ])
  const why = { code: 'FORBIDDEN', message: 'FORBIDDEN', retryable: false, details: { action: 'PUT' } }
  expect(after.client.pending.get().map(({ lastError }) => lastError)).toMatchObject([why, undefined])
  await after.greet()
  await after.page('todos', [], { seq: 1 })
  expect(after.ops()).toEqual([sent])
})

test.each([
  'RATE_LIMITED',
  'OVERLOADED',
  'STORAGE_FULL',
  'STORAGE_UNAVAILABLE',
  'BACKPRESSURE',
  'SHUTTING_DOWN',
  'TIMEOUT',
])('%s is tried again after a while', async (code) => {
  const { client, world, say, ops, events } = await liveScene()
  const write = client.map('todos').set('t1', 1)
  await world.settle()
  const [op] = ops()
  await say(refusal(write.id, code, { retryAfterMs: 2_000 }))
  expect(client.pending.get()).toMatchObject([{ lastError: { code, retryable: true } }])
  await world.advance(1_900)
  expect(ops()).toEqual([])
  await world.advance(400)
  expect(ops()).toEqual([op])
  expect(events).toEqual([])
})

test('an ERROR that refuses a whole batch sends its ops one by one, so that the bad one is found', async () => {
  const { client, world, say, sent } = await liveScene()
  const todos = client.map('todos')
  const writes = ['a', 'b', 'c'].map((key) => todos.set(key, 1))
  await world.settle()
  const refuse = (requestId: unknown): Promise<void> =>
    say({
      type: 'ERROR',
      requestId,
      payload: { code: 400, errorCode: 'VALIDATION_ERROR', message: 'no', about: 'OP_BATCH' },
    })
  await refuse(sent('OP_BATCH')[0]!['requestId'])
  const single = sent('OP_BATCH')
  expect(single.map(({ payload }) => (payload['ops'] as { id: string }[]).map(({ id }) => id))).toEqual(
    writes.map(({ id }) => [id]),
  )
  await refuse(single[1]!['requestId'])
  expect(writes.map(({ status }) => status.get())).toEqual(['sent', 'rejected', 'sent'])
})

test('CLOCK_SKEW corrects the clock and stamps the whole queue anew, in order, above all that is known', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const self = await liveScene([], {}, { world, tab })
  const { client, say, ops, event, ack } = self
  await event('other', 1, 1, stamp(world, 30_000))
  tab.skewMs = 7_200_000
  const todos = client.map('todos')
  const first = todos.set('t1', 1)
  await world.settle()
  todos.update('t1', () => 2)
  const second = todos.set('t2', 2)
  await world.settle()
  const early = ops()
  expect(early.every((op) => op.record.timestamp.millis > world.nowMs + 7_000_000)).toBe(true)
  for (const { id } of early) await say(refusal(id, 'CLOCK_SKEW', { serverTime: world.nowMs }))
  await world.advance(1_000)
  const again = ops()
  expect(again.map(({ id, key }) => [id, key])).toEqual(early.map(({ id, key }) => [id, key]))
  const stamps = again.map((op) => op.record.timestamp)
  const known = stamp(world, 29_000)
  for (const [i, at] of stamps.entries()) {
    expect(at.millis).toBeLessThan(world.nowMs + 60_000)
    expect(compareStamps(at, i === 0 ? known : (stamps[i - 1] as Stamp))).toBeGreaterThan(0)
  }
  await ack(
    again.map(({ id }) => id as string),
    4,
  )
  expect([first.status.get(), second.status.get()]).toEqual(['acked', 'acked'])
})

test('CLOCK_SKEW leaves earlier stamps as they are: what was written first does not come to lie over what is acknowledged', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const { client, say, ops, ack } = await liveScene([], {}, { world, tab })
  const todos = client.map('todos')
  const first = todos.set('t1', 'first')
  await world.settle()
  const second = todos.set('t1', 'second')
  await world.settle()
  tab.skewMs = 7_200_000
  const third = todos.set('t2', 1)
  await world.settle()
  const [before, , ahead] = ops()
  expect(ahead).toMatchObject({ id: third.id })
  await say(refusal(first.id, 'STORAGE_FULL'))
  await ack([second.id], 2)
  await say(refusal(third.id, 'CLOCK_SKEW', { serverTime: world.nowMs }))
  await world.advance(1_000)
  expect(todos.get('t1')).toBe('second')
  const again = ops().filter(({ id }) => id === first.id)
  expect(again.map(({ record }) => record.timestamp)).toEqual([before!.record.timestamp])
})

test('INV-14 CLOCK_SKEW leaves no write with concern none over what is stamped anew: it was sent once, and nothing answers it', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const { client, say, ops, ack, event } = await liveScene([], {}, { world, tab })
  const todos = client.map('todos')
  tab.skewMs = 7_200_000
  const removal = todos.delete('t1')
  await world.settle()
  todos.set('t1', 'unanswered', { concern: 'none' })
  await world.settle()
  expect(ops()).toHaveLength(2)
  expect(todos.get('t1')).toBe('unanswered')
  await say(refusal(removal.id, 'CLOCK_SKEW', { serverTime: world.nowMs }))
  await world.advance(1_000)
  const [again, ...others] = ops()
  expect([again?.id, others]).toEqual([removal.id, []])
  expect(todos.get('t1')).toBeUndefined()
  await ack([removal.id], 1)
  await event('t1', null, 1, again!.record.timestamp)
  expect(client.status.get()).toMatchObject({ pending: 0, rejected: 0 })
})

test('stamps are made anew only when every op on its way has its answer, so that an answer belongs to one stamp', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const { client, say, ops, ack } = await liveScene([], {}, { world, tab })
  const todos = client.map('todos')
  todos.set('t1', 1)
  await world.settle()
  tab.skewMs = 7_200_000
  todos.set('t2', 1)
  await world.settle()
  const [good, bad] = ops()
  await say(refusal(bad!.id, 'CLOCK_SKEW', { serverTime: world.nowMs }))
  await world.advance(2_000)
  expect(ops()).toEqual([])
  await ack([good!.id!], 1)
  await world.advance(1_000)
  expect(ops().map(({ id }) => id)).toEqual([bad!.id])
})

test('a STALE write of a key that was not here before is stamped anew, with the updates on top of it', async () => {
  const { client, world, say, ops, ack, events } = await liveScene()
  const todos = client.map('todos')
  todos.set('t1', { a: 1 })
  todos.update('t1', (todo) => void (todo.a = 2))
  await world.settle()
  const [put, patch] = ops()
  await say({
    type: 'OP_ACK',
    payload: {
      lastId: patch!.id,
      results: [
        { opId: put!.id, success: false, achievedLevel: 'MEMORY', latencyMs: 1, errorCode: 'STALE' },
        { opId: patch!.id, success: false, achievedLevel: 'MEMORY', latencyMs: 1, errorCode: 'NOT_FOUND' },
      ],
    },
  })
  await world.advance(1_000)
  const again = ops()
  expect(again.map(({ id }) => id)).toEqual([put!.id, patch!.id])
  expect(compareStamps(again[0]!.record.timestamp, patch!.record.timestamp)).toBeGreaterThan(0)
  expect(compareStamps(again[1]!.record.timestamp, again[0]!.record.timestamp)).toBeGreaterThan(0)
  await ack([put!.id!, patch!.id!], 5)
  expect(events).toEqual([])
})

test.each([
  ['is acknowledged', false],
  ['is shown by the stream', true],
])(
  '[CR7] a PATCH is sent again that was not found, where the PUT before it %s before that is heard',
  async (_, isShown) => {
    const { client, world, say, ops, ack, event, events } = await liveScene()
    const todos = client.map('todos')
    todos.set('t1', { a: 1 })
    todos.update('t1', (todo) => void (todo.a = 2), { concern: 'persisted' })
    await world.settle()
    const [put, patch] = ops()
    await say(refusal(put!.id, 'OVERLOADED'))
    await world.advance(5_000)
    expect(ops().map(({ id }) => id)).toEqual([put!.id])
    await ack([put!.id!], 5)
    if (isShown) await event('t1', { a: 1 }, 5, put!.record.timestamp)
    await say(refusal(patch!.id, 'NOT_FOUND'))
    await world.advance(5_000)
    expect(ops()).toMatchObject([{ id: patch!.id, record: { timestamp: patch!.record.timestamp } }])
    expect(events).toEqual([])
  },
)

test('INV-14 [RT5] a STALE write is not stamped anew over a later one of its key that the server has taken', async () => {
  const { client, world, say, ops } = await liveScene()
  const todos = client.map('todos')
  todos.set('t1', 'first')
  todos.set('t1', 'second')
  await world.settle()
  const [first, second] = ops()
  const taken = { opId: second!.id, success: true, achievedLevel: 'MEMORY', latencyMs: 1, seq: 7 }
  const stale = { opId: first!.id, success: false, achievedLevel: 'MEMORY', latencyMs: 1, errorCode: 'STALE' }
  await say({ type: 'OP_ACK', payload: { lastId: second!.id, results: [stale, taken] } })
  await world.advance(1_000)
  expect(ops()).toMatchObject([{ id: first!.id, record: { timestamp: first!.record.timestamp } }])
  expect(todos.get('t1')).toBe('second')
})

test('INV-12 [RT5] a STALE write of a key that was here is refused and reported, not a resurrection', async () => {
  const { client, world, say, ops, events } = await liveScene([
    { key: 't1', record: { value: 1, timestamp: stamp(new World()) }, seq: 1 },
  ])
  const write = client.map('todos').set('t1', 2)
  await world.settle()
  ops()
  await say(refusal(write.id, 'STALE'))
  await world.advance(10_000)
  expect(ops()).toEqual([])
  expect(events).toMatchObject([
    ['rejected', { error: { code: 'STALE' } }],
    ['conflict', { conflict: { key: 't1', local: 2, remote: undefined } }],
  ])
})

test('INV-12 [RT5] a STALE removal of what is stamped anew is stamped anew as well, after it', async () => {
  const { client, world, say, ops } = await liveScene()
  client.map('todos').set('t1', 1)
  client.map('todos').delete('t1')
  await world.settle()
  const [put, removal] = ops()
  const stale = (op: typeof put): object => ({
    opId: op!.id,
    success: false,
    achievedLevel: 'MEMORY',
    latencyMs: 1,
    errorCode: 'STALE',
  })
  await say({ type: 'OP_ACK', payload: { lastId: removal!.id, results: [stale(put), stale(removal)] } })
  await world.advance(1_000)
  const again = ops()
  expect(again.map(({ opType }) => opType)).toEqual(['PUT', 'REMOVE'])
  expect(compareStamps(again[0]!.record.timestamp, removal!.record.timestamp)).toBeGreaterThan(0)
  expect(compareStamps(again[1]!.record.timestamp, again[0]!.record.timestamp)).toBeGreaterThan(0)
})

test('a STALE removal has what it wants', async () => {
  const { client, world, say, ops, events } = await liveScene()
  const write = client.map('todos').delete('t1')
  await world.settle()
  ops()
  await say(refusal(write.id, 'STALE'))
  expect(write.status.get()).toBe('acked')
  expect(client.status.get().pending).toBe(0)
  expect(events).toEqual([])
})

test('a write with concern none is sent once and is over with the PONG of a later PING', async () => {
  const self = await liveScene()
  const { client, world, ops, say, sent, page } = self
  client.map('todos').set('t1', 1, { concern: 'none' })
  await world.settle()
  expect(ops()).toHaveLength(1)
  expect(client.map('todos').get('t1')).toBe(1)
  expect(client.status.get().pending).toBe(1)
  await world.advance(5_000)
  const [ping] = sent('PING')
  await say({ type: 'PONG', timestamp: ping!['timestamp'], serverTime: world.nowMs })
  expect(client.status.get().pending).toBe(0)
  await reconnect(self)
  await page('todos')
  expect(ops()).toEqual([])
})

test('a write with concern none that was on its way when the connection failed is not sent again', async () => {
  const self = await liveScene()
  const { client, world, ops, page } = self
  client.map('todos').set('t1', 1, { concern: 'none' })
  await world.settle()
  ops()
  await reconnect(self)
  await page('todos')
  expect(ops()).toEqual([])
  expect(client.map('todos').has('t1')).toBe(false)
})

test('an op leaves this tab only when its stamp is reserved in storage', async () => {
  const storage = memory()
  let letThrough = (): void => {}
  const slow = {
    id: 'slow',
    open: async () => {
      const open = await storage.open()
      return {
        ...open,
        transaction: (async (mode, work) => {
          if (mode === 'readwrite') await new Promise<void>((resolve) => (letThrough = resolve))
          return open.transaction(mode, work)
        }) as typeof open.transaction,
      }
    },
  }
  const { client, greet, page, ops, world } = await scene({ storage: slow })
  client.map('todos').set('t1', 1)
  await greet()
  await page('todos')
  expect(ops()).toEqual([])
  letThrough()
  await world.settle()
  letThrough()
  await world.settle()
  expect(ops()).toHaveLength(1)
})

test('after a crash no stamp is issued again, even if the device’s clock goes back', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const storage = memory()
  const before = await liveScene([], {}, { world, tab, storage })
  before.client.map('todos').set('t1', 1)
  await world.settle()
  const [op] = before.ops()
  tab.kill()
  world.nowMs -= 3_600_000
  const after = await scene({}, { world, tab, storage })
  expect(after.client.clientId).toBe(before.client.clientId)
  after.client.map('todos').set('t2', 1)
  await after.greet()
  await after.page('todos')
  const [resent, fresh] = after.ops()
  expect(resent).toEqual(op)
  expect(compareStamps(fresh!.record.timestamp, op!.record.timestamp)).toBeGreaterThan(0)
})

test('new stamps are stored, so that a reload sends the same ones', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const storage = memory()
  const self = await liveScene([], {}, { world, tab, storage })
  tab.skewMs = 7_200_000
  self.client.map('todos').set('t1', 1)
  await world.settle()
  await self.say(refusal(self.ops()[0]!.id, 'CLOCK_SKEW', { serverTime: world.nowMs }))
  await world.advance(1_000)
  const again = self.ops()
  expect(again).toHaveLength(1)
  tab.kill()
  const next = await scene({}, { world, tab, storage })
  await next.greet()
  await next.page('todos')
  expect(next.ops()).toEqual(again)
})

test('a write that was acknowledged keeps its stamp when the queue behind it is stamped anew', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const self = await liveScene([], {}, { world, tab })
  const { client, say, ops, ack, event } = self
  client.map('todos').set('t1', 1)
  await world.settle()
  const [kept] = ops()
  await ack([kept!.id!], 3)
  tab.skewMs = 7_200_000
  client.map('todos').set('t2', 1)
  await world.settle()
  await say(refusal(ops()[0]!.id, 'CLOCK_SKEW', { serverTime: world.nowMs }))
  await world.advance(1_000)
  ops()
  await event('t1', 1, 3, kept!.record.timestamp)
  expect(client.pending.get().map(({ target }) => target)).toEqual(['todos/t2'])
  await reconnect(self)
  await self.page('todos', [], { seq: 3 })
  expect(ops().map(({ key }) => key)).toEqual(['t2'])
})
