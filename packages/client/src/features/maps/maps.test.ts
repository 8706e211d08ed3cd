import { expect, test } from 'vitest'
import { liveScene, scene } from '../../../test/harness.ts'

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

test('nothing is sent before the first page of the map, and everything that waits after it', async () => {
  const { client, greet, page, ops } = await scene()
  client.map('todos').set('t1', 1)
  await greet()
  expect(ops()).toEqual([])
  await page('todos', [], { more: true })
  expect(ops()).toHaveLength(1)
})
