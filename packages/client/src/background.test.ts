import { expect, test } from 'vitest'
import { clientOf } from '../test/background-code.ts'
import { Tab, World } from '../test/virtual-env.ts'

/** A page whose code for the background can be had only when the test says so, and whose server is the test. */
async function page() {
  const code = { isHere: false, attempts: 0 }
  const { createClient } = await clientOf(code)
  const world = new World()
  const tab = new Tab(world, 'tab')
  const client = createClient({ env: tab.env(), url: 'ws://server/ws' })
  // It is followed.
  client.map('todos')
  const events: unknown[] = []
  for (const name of ['rejected', 'conflict', 'error'] as const) client.on(name, (event) => events.push([name, event]))
  await client.ready
  await world.settle()
  const say = async (message: object): Promise<void> => {
    tab.socket.say(message)
    await world.settle()
  }
  const begin = async (records: readonly object[] = [], more: object = {}): Promise<void> => {
    await world.advance(1_000)
    await say({ type: 'AUTH_REQUIRED', serverTime: world.nowMs, protocolVersion: 1, optional: true })
    const payload = { mapName: 'todos', records, cursor: 'c1', seq: 1, more: false, digest: '0000000000000000' }
    await say({ type: 'SYNC_DIFF', payload: { ...payload, ...more } })
  }
  const answer = (opId: string, result: object): Promise<void> => {
    const results = [{ opId, success: false, achievedLevel: 'MEMORY', latencyMs: 1, ...result }]
    return say({ type: 'OP_ACK', payload: { lastId: opId, results } })
  }
  const types = (): unknown[] => tab.socket.take().map(({ type }) => type)
  return { code, world, tab, client, events, say, begin, answer, types }
}

const forbidden = { errorCode: 'FORBIDDEN', error: 'no' }

test('where the code of the background cannot be loaded, maps are in step all the same, and the next session compares', async () => {
  const { code, client, begin, types, tab, events } = await page()
  const query = client.map('todos').query()
  await begin([{ key: 't1', record: { value: 1, timestamp: { millis: 1, counter: 0, nodeId: 'other' } }, seq: 1 }])
  expect(types()).toEqual(['SYNC_INIT'])
  expect(query.get()).toMatchObject({ status: 'live', rows: [{ key: 't1' }] })
  code.isHere = true
  tab.socket.drop()
  await begin()
  expect([types(), events]).toEqual([['SYNC_INIT', 'SYNC_TRIE'], []])
})

test('INV-9: a write that is refused before the code for that is here waits for it, and no other write does', async () => {
  const { code, client, begin, answer, events, types, tab, world } = await page()
  const todos = client.map('todos')
  await begin()
  const [refused, taken] = [todos.set('a', 1), todos.set('b', 1)]
  await world.settle()
  await answer(refused.id, forbidden)
  await answer(taken.id, { success: true, seq: 2 })
  expect([refused.status.get(), taken.status.get(), events]).toEqual(['sent', 'acked', []])
  const later = todos.set('c', 1)
  await world.settle()
  expect(types().filter((type) => type === 'OP_BATCH')).toHaveLength(2)
  await answer(later.id, { success: true, seq: 3 })
  // The next session knows nothing of that answer, and asks again.
  code.isHere = true
  tab.socket.drop()
  await begin()
  expect([refused.status.get(), events]).toEqual(['sent', []])
  await answer(refused.id, forbidden)
  expect([refused.status.get(), events]).toMatchObject(['rejected', [['rejected', { error: { code: 'FORBIDDEN' } }]]])
})

test('what was refused in a session that is over is void: it was sent again, and may be taken now', async () => {
  const { code, client, begin, answer, events, tab, world } = await page()
  const todos = client.map('todos')
  await begin()
  const write = todos.set('a', 1)
  await world.settle()
  await answer(write.id, forbidden)
  tab.socket.drop()
  await begin()
  const other = todos.set('b', 1)
  await world.settle()
  code.isHere = true
  await answer(other.id, forbidden)
  expect([write.status.get(), other.status.get(), events.length]).toEqual(['sent', 'rejected', 1])
  await answer(write.id, { success: true, seq: 2 })
  expect(write.status.get()).toBe('acked')
})

test('what is refused and discarded before the code is here is over', async () => {
  const { code, client, begin, answer, events, tab, world } = await page()
  const todos = client.map('todos')
  await begin()
  const [write, other] = [todos.set('a', 1), todos.set('b', 1)]
  await world.settle()
  await answer(write.id, { errorCode: 'OVERLOADED', error: 'later' })
  client.pending.discard(write.id)
  tab.socket.take()
  code.isHere = true
  await answer(other.id, forbidden)
  await world.advance(3_000)
  expect(client.pending.get()).toMatchObject([{ id: other.id, status: 'rejected' }])
  expect([events.length, tab.socket.take().filter(({ type }) => type === 'OP_BATCH')]).toEqual([1, []])
})

test('a conflict that happens before the code for that is here is told when it is', async () => {
  const { code, client, begin, answer, say, events, tab, world } = await page()
  await begin()
  const write = client.map('todos').set('a', { text: 'mine' })
  await world.settle()
  await answer(write.id, { success: true, seq: 2 })
  const record = {
    value: { text: 'theirs' },
    timestamp: { millis: world.nowMs + 5_000, counter: 0, nodeId: 'other' },
  }
  const payload = { mapName: 'todos', eventType: 'PUT', key: 'a', seq: 3, cursor: 'c3', record }
  await say({ type: 'SERVER_EVENT', payload })
  expect([client.map('todos').get('a'), events]).toEqual([{ text: 'theirs' }, []])
  code.isHere = true
  tab.socket.drop()
  await begin()
  const conflict = { local: { text: 'mine' }, remote: { text: 'theirs' }, fields: ['text'] }
  expect(events).toMatchObject([['conflict', { conflict }]])
})

test('what the server has lost is pushed, and written to, in the session that has the code', async () => {
  const { code, client, begin, types, tab, world } = await page()
  const record = { value: 1, timestamp: { millis: 1, counter: 0, nodeId: 'other' } }
  await begin([{ key: 'a', record, seq: 1 }])
  tab.socket.drop()
  await begin([], { lost: [[0, 1]] })
  client.map('todos').set('a', 2)
  client.map('todos').set('b', 2)
  await world.settle()
  const sent = tab.socket.take().filter(({ type }) => type === 'OP_BATCH' || type === 'SYNC_PUSH')
  expect(sent).toMatchObject([{ type: 'OP_BATCH', payload: { ops: [{ key: 'b' }] } }])
  code.isHere = true
  tab.socket.drop()
  await begin([], { lost: [[0, 1]] })
  expect(types()).toContain('SYNC_PUSH')
})
