import * as v from 'valibot'
import { expect, test } from 'vitest'
import { liveScene, scene, stamp } from '../../../test/harness.ts'
import { createClient, defineContract, map, memory, type ConflictEvent } from '../../index.ts'
import { Tab, World } from '../../../test/virtual-env.ts'

test('a write is seen at once, sent as one batch per turn and leaves the overlay when the stream shows it', async () => {
  const { client, ops, ack, event, world, sent } = await liveScene()
  const todos = client.map('todos')
  const first = todos.set('t1', { text: 'a' })
  todos.set('t2', { text: 'b' })
  expect(todos.get('t1')).toEqual({ text: 'a' })
  await world.settle()
  const [batch, ...others] = sent('OP_BATCH')
  expect(others).toEqual([])
  const [op1, op2] = (batch?.payload['ops'] ?? []) as ReturnType<typeof ops>
  expect(op1).toMatchObject({
    id: first.id,
    mapName: 'todos',
    key: 't1',
    opType: 'PUT',
    record: { value: { text: 'a' } },
  })
  expect(first.status.get()).toBe('sent')
  await ack([op1!.id!, op2!.id!], 2)
  expect(first.status.get()).toBe('acked')
  expect(client.status.get().pending).toBe(2)
  await event('t1', { text: 'a' }, 1, op1!.record.timestamp)
  await event('t2', { text: 'b' }, 2, op2!.record.timestamp)
  expect(client.status.get().pending).toBe(0)
  expect(todos.get('t2')).toEqual({ text: 'b' })
})

test('update sends the top-level fields that the recipe changed, and what it deleted as unset', async () => {
  const { client, ops, world } = await liveScene()
  const todos = client.map('todos')
  todos.set('t1', { text: 'a', done: false, tags: ['x'], old: 1 })
  await world.settle()
  ops()
  todos.update('t1', (todo) => {
    todo.done = true
    todo.tags.push('y')
    delete todo.old
  })
  expect(todos.get('t1')).toEqual({ text: 'a', done: true, tags: ['x', 'y'] })
  await world.settle()
  expect(ops()).toMatchObject([
    { opType: 'PATCH', record: { value: { done: true, tags: ['x', 'y'] }, unset: ['old'] } },
  ])
})

test('an update that changes nothing is acknowledged already and sends nothing', async () => {
  const { client, ops, world } = await liveScene()
  const todos = client.map('todos')
  todos.set('t1', { text: 'a' })
  await world.settle()
  ops()
  const write = todos.update('t1', (todo) => ({ ...todo }))
  await world.settle()
  expect(write.status.get()).toBe('acked')
  expect(await write.wait('persisted')).toMatchObject({ level: 'persisted' })
  expect(ops()).toEqual([])
})

test('update of an absent key throws NOT_FOUND', async () => {
  const { client } = await liveScene()
  expect(() => client.map('todos').update('t1', () => {})).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }))
})

test('what the application holds and what the map holds are different objects', async () => {
  const { client } = await liveScene()
  const todos = client.map('todos')
  const mine = { tags: ['a'] }
  todos.set('t1', mine)
  mine.tags.push('b')
  expect(todos.get('t1')).toEqual({ tags: ['a'] })
  todos.update('t1', (draft) => {
    draft.tags.push('c')
    draft.tags = [...draft.tags]
  })
  expect(todos.get('t1')).toEqual({ tags: ['a', 'c'] })
})

test.each([
  ['BAD_KEY', '', 1],
  ['BAD_KEY', 'x'.repeat(513), 1],
  ['BAD_VALUE', 'k', Number.NaN],
  ['BAD_VALUE', 'k', undefined],
  ['BAD_KEY', 'k', JSON.parse('{"__proto__":1}')],
  ['TOO_LARGE', 'k', 'x'.repeat(300_000)],
])('%s is thrown before anything happens', async (code, key, value) => {
  const { client, ops, world } = await liveScene()
  expect(() => client.map('todos').set(key, value)).toThrow(expect.objectContaining({ code }))
  await world.settle()
  expect(ops()).toEqual([])
  expect(client.map('todos').size).toBe(0)
})

const contract = defineContract({
  maps: {
    todos: map({ schema: v.object({ text: v.string(), done: v.optional(v.boolean(), false) }), ttlMs: 60_000 }),
  },
})

test('a contract validates before anything happens, applies defaults and its time to live', async () => {
  const world = new World()
  await using client = createClient({ contract, env: new Tab(world, 'tab').env() })
  const { todos } = client.maps
  expect(() => todos.set('t1', { text: 1 } as never)).toThrow(expect.objectContaining({ code: 'VALIDATION_ERROR' }))
  expect(todos.size).toBe(0)
  todos.set('t1', { text: 'a' })
  expect(todos.get('t1')).toEqual({ text: 'a', done: false })
  expect(() => todos.update('t1', (todo) => void (todo.text = 1 as never))).toThrow(
    expect.objectContaining({ code: 'VALIDATION_ERROR' }),
  )
  expect(() => client.map('todos').set('t2', {})).toThrow(expect.objectContaining({ code: 'VALIDATION_ERROR' }))
  expect(todos.get('t1')).toEqual({ text: 'a', done: false })
  const seen: unknown[] = []
  todos.watch('t1').subscribe((value) => seen.push(value))
  await world.advance(61_000)
  expect(todos.has('t1')).toBe(false)
  expect(todos.size).toBe(0)
  expect(seen).toEqual([undefined])
})

test('a level that there is not is refused: of a write before anything happens, of `wait` as its rejection', async () => {
  await using client = createClient({ contract, env: new Tab(new World(), 'tab').env() })
  const { todos } = client.maps
  const refused = expect.objectContaining({ code: 'VALIDATION_ERROR' })
  for (const concern of ['persistd', 'local', 'MEMORY', 'fire_and_forget']) {
    expect(() => todos.set('t1', { text: 'a' }, { concern: concern as never })).toThrow(refused)
  }
  expect(todos.size).toBe(0)
  const write = todos.set('t1', { text: 'a' })
  await expect(write.wait('persistd' as never)).rejects.toEqual(refused)
  await expect(write.wait('none' as never)).rejects.toEqual(refused)
})

test('a value that cannot be stored is refused with what can be', () => {
  const client = createClient({ env: new Tab(new World(), 'tab').env() })
  const cycle: unknown[] = []
  cycle.push(cycle)
  for (const [value, code] of [
    [new Date(), 'BAD_VALUE'],
    [Infinity, 'BAD_VALUE'],
    [cycle, 'TOO_DEEP'],
  ]) {
    expect(() => client.map('free').set('k', { value })).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(/finite number.*plain object.*32 deep/) }),
    )
  }
})

test('an expired record reads as absent at once, also where a sleeping device’s timers are late', async () => {
  const { client, world } = await liveScene()
  const todos = client.map('todos')
  todos.set('t1', 1, { ttlMs: 60_000 })
  expect(todos.has('t1')).toBe(true)
  world.nowMs += 61_000
  expect(todos.get('t1')).toBeUndefined()
  expect([...todos]).toEqual([])
})

test('a subscriber of the status hears once per turn', async () => {
  const { client, world } = await liveScene()
  const counts: [number, number][] = []
  client.status.subscribe(({ pending, unstored }) => counts.push([pending, unstored]))
  for (let i = 0; i < 5; i++) client.map('todos').set(`k${i}`, i)
  expect(counts).toEqual([])
  await world.settle()
  expect(counts).toEqual([
    [5, 5],
    [5, 0],
  ])
})

test('an update keeps the fields that the schema does not know', async () => {
  const self = await liveScene([], { contract })
  const { world, client, ops } = self
  await self.event('t1', { text: 'a', done: false, fromTheFuture: 7 }, 1, stamp(world))
  client.map('todos').update('t1', (todo) => void (todo.done = true))
  await world.settle()
  expect(ops()).toMatchObject([{ opType: 'PATCH', record: { value: { done: true } } }])
  expect(ops()[0]?.record.unset).toBeUndefined()
  expect(client.map('todos').get('t1')).toEqual({ text: 'a', done: true, fromTheFuture: 7 })
})

test('a schema that validates asynchronously is refused', async () => {
  const schema = {
    '~standard': { version: 1, vendor: 'test', validate: async (value: unknown) => ({ value }) },
  } as const
  await using client = createClient({
    contract: defineContract({ maps: { todos: map({ schema }) } }),
    env: new Tab(new World(), 'tab').env(),
  })
  expect(() => client.maps.todos.set('t1', 1)).toThrow(/synchronously/)
})

test('undo of a whole write brings the value before it back, or removes the key', async () => {
  const { client } = await liveScene()
  const todos = client.map('todos')
  const created = todos.set('t1', 1)
  const changed = todos.set('t1', 2)
  const removed = todos.delete('t1')
  removed.undo()
  expect(todos.get('t1')).toBe(2)
  changed.undo()
  expect(todos.get('t1')).toBe(1)
  created.undo()
  expect(todos.has('t1')).toBe(false)
})

test('undo of an update restores the fields that it changed and no others', async () => {
  const { client } = await liveScene()
  const todos = client.map('todos')
  todos.set('t1', { a: 1, b: 1 })
  const write = todos.update('t1', (todo) => {
    todo.a = 2
    todo.c = 2
  })
  todos.update('t1', (todo) => void (todo.b = 3))
  write.undo()
  expect(todos.get('t1')).toEqual({ a: 1, b: 3 })
})

test('writes made before local data is loaded are seen at once and ordered after it', async () => {
  const world = new World()
  const client = createClient({ env: new Tab(world, 'tab').env() })
  const todos = client.map('todos')
  const set = todos.set('t1', { n: 1 })
  todos.update('t1', (todo) => void (todo.n = 2))
  const late = todos.update('t2', (todo) => void (todo.n = 1))
  const events: unknown[] = []
  client.on('rejected', (event) => events.push(event.error.code))
  expect(todos.get('t1')).toEqual({ n: 2 })
  await client.ready
  expect(set.status.get()).toBe('pending')
  expect(late.status.get()).toBe('rejected')
  expect(events).toEqual(['NOT_FOUND'])
  await expect(late.wait('local')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  expect(client.pending.get().map(({ op }) => op)).toEqual(['PUT', 'PATCH'])
})

test('a write made before local data is loaded is stamped above everything that is loaded, and as this tab', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const storage = memory()
  const before = await liveScene([], {}, { world, tab, storage })
  await before.event('t1', 'loaded', 1, stamp(world, 30_000))
  tab.kill()
  const client = createClient({ env: tab.env(), storage })
  client.map('todos').set('t1', 'early')
  await client.ready
  expect(client.map('todos').get('t1')).toBe('early')
  const [row] = JSON.parse(await (await client.pending.export()).text()) as { stamp: unknown; inBase: boolean }[]
  expect(row).toMatchObject({ stamp: { nodeId: client.clientId }, inBase: true })
})

test('a field that another writer won is one conflict event with both values', async () => {
  const { world, client, ops, ack, event, events } = await liveScene()
  const todos = client.map('todos')
  await event('t1', { text: 'a', done: false }, 1, stamp(world))
  const seen: ConflictEvent<unknown>[] = []
  todos.onConflict((conflict) => seen.push(conflict))
  todos.update('t1', (todo) => {
    todo.text = 'mine'
    todo.done = true
  })
  await world.settle()
  const [op] = ops()
  const theirs = stamp(world, 1_000)
  await ack([op!.id!], 3)
  await event('t1', { text: 'theirs', done: true }, 3, theirs, {
    record: {
      value: { text: 'theirs', done: true },
      timestamp: theirs,
      base: stamp(world, -1_000),
      fields: { text: { stamp: theirs }, done: { stamp: op!.record.timestamp } },
    },
  })
  expect(seen).toEqual([
    {
      key: 't1',
      local: { text: 'mine', done: true },
      remote: { text: 'theirs', done: true },
      winner: { text: 'theirs', done: true },
      fields: ['text'],
    },
  ])
  expect(events).toMatchObject([['conflict', { mapName: 'todos' }]])
  expect(client.status.get().pending).toBe(0)
})

test('a write that was confirmed before it is overwritten is no conflict', async () => {
  const { world, client, ops, ack, say, events } = await liveScene()
  client.map('todos').set('t1', 1)
  await world.settle()
  const [op] = ops()
  await ack([op!.id!], 1)
  const event = (value: number, seq: number, timestamp: unknown): unknown => ({
    mapName: 'todos',
    eventType: 'PUT',
    key: 't1',
    record: { value, timestamp },
    seq,
  })
  await say({
    type: 'SERVER_BATCH_EVENT',
    payload: {
      mapName: 'todos',
      cursor: 'c2',
      seq: 2,
      events: [event(1, 1, op!.record.timestamp), event(2, 2, stamp(world, 1_000))],
    },
  })
  expect(client.map('todos').get('t1')).toBe(2)
  expect(events).toEqual([])
})

test('what this tab itself wrote later is no conflict', async () => {
  const { world, client, ops, ack, event, events } = await liveScene()
  client.map('todos').set('t1', 1)
  client.map('todos').set('t1', 2)
  await world.settle()
  const [first, second] = ops()
  await ack([first!.id!, second!.id!], 2)
  await event('t1', 2, 2, second!.record.timestamp)
  expect(events).toEqual([])
  expect(client.status.get().pending).toBe(0)
})

test('an update of a record that was deleted meanwhile is a conflict and shows the deletion', async () => {
  const { world, client, ops, ack, event, events } = await liveScene()
  const todos = client.map('todos')
  await event('t1', { a: 1 }, 1, stamp(world))
  todos.update('t1', (todo) => void (todo.a = 2))
  await world.settle()
  const [op] = ops()
  const removed = stamp(world, 0, 'zed')
  await event('t1', null, 2, removed, {
    record: { value: null, timestamp: removed, fields: { a: { stamp: op!.record.timestamp, value: 2 } } },
  })
  await ack([op!.id!], 2, { superseded: true })
  expect(events).toMatchObject([['conflict', { conflict: { local: { a: 2 }, fields: ['a'] } }]])
  expect(todos.has('t1')).toBe(false)
})

test('a row says whether it is synced, pending or rejected, and a later whole write covers a refused one', async () => {
  const { world, client, ops, ack, event, say } = await liveScene()
  const todos = client.map('todos')
  const rows = todos.query()
  const sync = (): unknown[] => rows.get().rows.map((row) => row.sync)
  await event('t1', 1, 1, stamp(world))
  expect(sync()).toEqual(['synced'])
  todos.set('t1', 2)
  expect(sync()).toEqual(['pending'])
  await world.settle()
  const [op] = ops()
  const refused = {
    opId: op!.id,
    success: false,
    achievedLevel: 'MEMORY',
    latencyMs: 1,
    errorCode: 'FORBIDDEN',
    error: 'no',
  }
  await say({ type: 'OP_ACK', payload: { lastId: op!.id, results: [refused] } })
  expect(sync()).toEqual(['rejected'])
  todos.set('t1', 3)
  expect(sync()).toEqual(['pending'])
  await world.settle()
  const [next] = ops()
  await ack([next!.id!], 2)
  await event('t1', 3, 2, next!.record.timestamp)
  client.pending.discard(op!.id!)
  expect(sync()).toEqual(['synced'])
})

test('a full queue refuses writes with BACKPRESSURE and says so before', async () => {
  const { client } = await scene({ limits: { maxPending: 5 } })
  const todos = client.map('todos')
  for (let i = 0; i < 3; i++) todos.set(`k${i}`, i)
  expect(client.status.get().queue).toBe('ok')
  todos.set('k3', 3)
  expect(client.status.get().queue).toBe('pressure')
  todos.set('k4', 4)
  expect(client.status.get().queue).toBe('full')
  expect(() => todos.set('k5', 5)).toThrow(expect.objectContaining({ code: 'BACKPRESSURE' }))
  expect(todos.size).toBe(5)
})

test('a base record with seq at or above an event’s is left as it is', async () => {
  const { world, client, event } = await liveScene([])
  await event('t1', 'new', 5, stamp(world))
  await event('t1', 'old', 5, stamp(world, 1_000))
  expect(client.map('todos').get('t1')).toBe('new')
})

test.each([0, -1, Number.NaN, Infinity, '5', null])(
  '[RT1] a time to live of %s throws, and nothing is written',
  async (ttlMs) => {
    const { client } = await liveScene()
    const write = (): unknown => client.map('todos').set('t1', 1, { ttlMs: ttlMs as number })
    expect(write).toThrow(expect.objectContaining({ code: 'VALIDATION_ERROR' }))
    expect(client.map('todos').size).toBe(0)
  },
)

test('[RT1] the time to live of a contract is that of every whole write, also of an update or undo', async () => {
  const contract = defineContract({ maps: { todos: map({ schema: v.number(), ttlMs: 5_000 }) } })
  const self = await scene({ contract })
  const todos = self.client.map('todos')
  await self.greet()
  await self.page('todos', [])
  todos.set('t1', 1)
  todos.update('t1', () => 2)
  todos.set('t1', 3, { ttlMs: 9_000 }).undo()
  todos.set('t2', 1, { ttlMs: 20_000 })
  await self.world.settle()
  expect(self.ops().map(({ record }) => record.ttlMs)).toEqual([5_000, 5_000, 9_000, 5_000, 20_000])
  const query = todos.query()
  const sizes: number[] = []
  query.subscribe(({ rows }) => sizes.push(rows.length), { immediate: true })
  await self.world.advance(5_200)
  expect([todos.get('t1'), todos.size]).toEqual([undefined, 1])
  await self.world.advance(15_200)
  expect([[...new Set(sizes)], todos.size]).toEqual([[2, 1, 0], 0])
})
