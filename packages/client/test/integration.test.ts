import { startTestServer } from '@syncline/server/testing'
import { expect, test } from 'vitest'
import { createClient, type Client, type Readable } from '../src/index.ts'

/** Waits until a value meets a condition, at most five seconds. */
async function until<T>(readable: Readable<T>, condition: (value: T) => boolean): Promise<T> {
  const timeout = AbortSignal.timeout(5_000)
  if (condition(readable.get())) return readable.get()
  return new Promise((resolve, reject) => {
    const stop = readable.subscribe((value) => {
      if (!condition(value)) return
      stop()
      resolve(value)
    })
    timeout.addEventListener('abort', () => reject(new Error(`Still ${JSON.stringify(readable.get())}`)))
  })
}

const synced = (client: Client): Promise<unknown> =>
  until(client.status, ({ connection, pending }) => connection === 'online' && pending === 0)

test('two clients of a real server see each other’s writes and keep both fields of one record', async () => {
  await using server = await startTestServer()
  await using a = createClient({ url: `${server.url}/ws` })
  await using b = createClient({ url: `${server.url}/ws` })
  a.map('todos').set('t1', { text: 'milk', done: false })
  await until(b.map('todos').watch('t1'), (value) => value !== undefined)
  a.disconnect()
  b.disconnect()
  a.map('todos').update('t1', (todo) => {
    todo.text = 'oat milk'
  })
  b.map('todos').update('t1', (todo) => {
    todo.done = true
  })
  a.connect()
  await synced(a)
  b.connect()
  const both = { text: 'oat milk', done: true }
  await until(a.map('todos').watch('t1'), (value) => value?.done === true)
  await until(b.map('todos').watch('t1'), (value) => value?.text === both.text)
  expect(a.map('todos').get('t1')).toEqual(both)
  expect(b.map('todos').get('t1')).toEqual(both)
  await Promise.all([synced(a), synced(b)])
})

test('a level that the server cannot give rejects the waiter and leaves the write', async () => {
  await using server = await startTestServer()
  await using client = createClient({ url: `${server.url}/ws` })
  const write = client.map('todos').set('t1', 1)
  await expect(write.wait('persisted', { timeoutMs: 5_000 })).rejects.toMatchObject({
    code: 'WRITE_CONCERN_UNAVAILABLE',
  })
  await expect(write.wait('applied', { timeoutMs: 5_000 })).resolves.toMatchObject({ level: 'applied' })
  await synced(client)
  expect(client.map('todos').get('t1')).toBe(1)
  expect(write.status.get()).toBe('acked')
})

test('a query is answered by the server once', async () => {
  await using server = await startTestServer()
  await using writer = createClient({ url: `${server.url}/ws` })
  for (let i = 0; i < 30; i++) writer.map('numbers').set(`n${i}`, { i })
  await synced(writer)
  await using reader = createClient({ url: `${server.url}/ws` })
  const rows = await reader
    .map<{ i: number }>('numbers')
    .query({ where: { i: { $gte: 10 } }, orderBy: [['i', 'desc']], limit: 3 })
    .once({ from: 'server', timeoutMs: 5_000 })
  expect(rows.map(({ key }) => key)).toEqual(['n29', 'n28', 'n27'])
})
