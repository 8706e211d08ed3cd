import { startTestServer } from '@syncline/server/testing'
import { expect, test } from 'vitest'
import { createClient, type Client, type QueryState, type Readable } from '../src/index.ts'

interface Note {
  title: string
  body?: string
}

/** Waits until a value meets a condition, at most ten seconds. */
async function until<T>(readable: Readable<T>, condition: (value: T) => boolean): Promise<T> {
  const timeout = AbortSignal.timeout(10_000)
  return new Promise((resolve, reject) => {
    const stop = readable.subscribe(
      (value) => {
        if (!condition(value)) return
        resolve(value)
        queueMicrotask(() => stop())
      },
      { immediate: true },
    )
    timeout.addEventListener('abort', () => reject(new Error(`Still ${JSON.stringify(readable.get())}`)))
  })
}

const synced = (client: Client): Promise<unknown> =>
  until(client.status, ({ connection, pending }) => connection === 'online' && pending === 0)

const keysOf = ({ rows }: QueryState<Note>): string[] => rows.map(({ key }) => key)

test('[FT1] [FT5] INV-15: a search shows on one client what another writes, and the same here once the connection is lost', async () => {
  await using server = await startTestServer({ search: { maps: { notes: { fields: ['title', 'body'] } } } })
  await using writer = createClient({ url: `${server.url}/ws` })
  await using reader = createClient({ url: `${server.url}/ws` })
  const notes = writer.map<Note>('notes')
  notes.set('a', { title: 'Quick foxes', body: 'jumping over dogs' })
  notes.set('b', { title: 'Slow dogs', body: 'dogs sleeping dogs' })
  await synced(writer)
  const query = reader.map<Note>('notes').search('dog')
  const found = await until(query, ({ status, rows }) => status === 'live' && rows.length === 2)
  expect(found.rows.map(({ key, sync, score }) => [key, sync, score?.toFixed(9)])).toEqual([
    ['b', 'synced', '0.279842389'],
    ['a', 'synced', '0.191003536'],
  ])
  const live: string[][] = []
  using _ = query.subscribe((state) => live.push(keysOf(state)))
  notes.set('c', { title: 'dogs' })
  await until(query, ({ rows }) => rows.length === 3)
  notes.delete('b')
  await until(query, (state) => state.status === 'live' && keysOf(state).join('') === 'ca')
  await synced(writer)
  await until(reader.map<Note>('notes').watch('b'), (value) => value === undefined)
  const online = query.get()
  reader.disconnect()
  const offline = await until(query, ({ status }) => status === 'local')
  expect(keysOf(offline)).toEqual(keysOf(online))
  for (const [i, { score }] of offline.rows.entries()) {
    const before = online.rows[i]?.score as number
    expect(Math.abs((score as number) - before)).toBeLessThan(0.15 * before)
  }
  reader.map<Note>('notes').set('d', { title: 'my own dog' })
  await until(query, ({ rows }) => rows.some(({ key, sync }) => key === 'd' && sync === 'pending'))
  reader.connect()
  await until(
    query,
    ({ status, rows }) => status === 'live' && rows.some(({ key, sync }) => key === 'd' && sync === 'synced'),
  )
  expect(live.length).toBeGreaterThan(2)
  expect(await query.once({ from: 'server' })).toHaveLength(3)
})

test('[FT4] a map that the server does not search is searched on the client', async () => {
  await using server = await startTestServer()
  await using client = createClient({ url: `${server.url}/ws` })
  const notes = client.map<Note>('notes')
  notes.set('a', { title: 'milk' })
  await synced(client)
  const query = notes.search('mil')
  expect(
    await until(query, ({ status, complete, rows }) => status === 'local' && complete && rows.length === 1),
  ).toMatchObject({ rows: [{ key: 'a', sync: 'synced' }] })
  await expect(query.once({ from: 'server' })).rejects.toMatchObject({ code: 'NOT_ENABLED' })
})

test('[JO2] the history of a key tells who wrote what', async () => {
  await using server = await startTestServer({ journal: { enabled: true } })
  await using client = createClient({ url: `${server.url}/ws` })
  const notes = client.map<Note>('notes')
  notes.set('a', { title: 'Mil' })
  notes.update('a', (note) => void (note.title = 'Milk'))
  notes.set('b', { title: 'other' })
  notes.delete('a')
  await synced(client)
  const history = await notes.history('a')
  expect(history.map(({ value, by }) => [value, by])).toEqual([
    [undefined, 'anonymous'],
    [{ title: 'Milk' }, 'anonymous'],
    [{ title: 'Mil' }, 'anonymous'],
  ])
  expect(history.every(({ at }) => Math.abs(at - Date.now()) < 60_000)).toBe(true)
  expect(await notes.history('a', { limit: 1 })).toHaveLength(1)
  expect(await notes.history('absent')).toEqual([])
})
