import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import 'fake-indexeddb/auto'
import { startTestServer, type TestServer } from '@syncline/server/testing'
import { memoryStorage } from '@syncline/storage'
import { sqliteStorage } from '@syncline/storage/sqlite'
import * as v from 'valibot'
import { afterAll, expect, test, vi } from 'vitest'
import { counter, createClient, defineContract, indexedDB, memory, set, type StorageAdapter } from '../src/index.ts'

const contract = defineContract({
  sets: { tags: set({ schema: v.union([v.string(), v.object({ x: v.number() })]) }) },
  counters: { votes: counter() },
})

const folder = mkdtempSync(join(tmpdir(), 'syncline-kinds-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const open = (server: TestServer, storage: StorageAdapter = memory(), auth?: () => string) =>
  createClient({ contract, url: `${server.url}/ws`, storage, ...(auth === undefined ? {} : { auth }) })

const until = (condition: () => boolean, timeout = 10_000): Promise<unknown> =>
  vi.waitUntil(condition, { timeout, interval: 10 })

test.each(['memory', 'SQLite'])(
  'sets and counters agree through a server on %s, also after it has started anew',
  async (kind) => {
    const path = join(folder, 'data.db')
    const storage = kind === 'memory' ? memoryStorage() : sqliteStorage({ path })
    {
      await using server = await startTestServer({ storage })
      await using a = open(server)
      await using b = open(server)
      const [tagsA, tagsB] = [a.sets.tags('t1'), b.sets.tags('t1')]
      const [votesA, votesB] = [a.counters.votes('t1'), b.counters.votes('t1')]
      tagsA.add('kept')
      tagsA.add({ x: 1 })
      votesA.add(5)
      votesB.add(-2)
      await until(() => tagsB.get().size === 2 && votesA.get() === 3 && votesB.get() === 3)
      a.disconnect()
      votesA.add(10)
      tagsA.add('late')
      votesB.add(100)
      tagsB.delete({ x: 1 })
      expect([votesA.get(), votesB.get()]).toEqual([13, 103])
      a.connect()
      await until(() => votesA.get() === 113 && votesB.get() === 113 && tagsB.has('late') && !tagsA.has({ x: 1 }))
      expect([[...tagsA.get()], [...tagsB.get()]]).toEqual([
        ['kept', 'late'],
        ['kept', 'late'],
      ])
      if (kind === 'SQLite') await votesA.add(1).wait('persisted', { timeoutMs: 10_000 })
      await until(() => a.status.get().pending === 0 && b.status.get().pending === 0)
    }
    if (kind === 'memory') return
    await using server = await startTestServer({ storage: sqliteStorage({ path }) })
    await using c = open(server)
    await until(() => c.counters.votes('t1').get() === 114 && c.sets.tags('t1').get().size === 2)
  },
)

test('two clients of one device, one after the other, count in one row; both at once in two', async () => {
  await using server = await startTestServer()
  const storage = indexedDB('kinds-device')
  for (let i = 0; i < 3; i++) {
    const client = open(server, storage)
    await client.counters.votes().add(1).wait('applied', { timeoutMs: 10_000 })
    await until(() => client.status.get().pending === 0)
    await client.close()
  }
  const clients = [open(server, storage), open(server, storage)]
  await Promise.all(clients.map((client) => client.counters.votes().add(1).wait('applied', { timeoutMs: 10_000 })))
  await using reader = createClient({ url: `${server.url}/ws` })
  const rows = reader.map('counter:votes')
  await until(() => [...rows].reduce((sum, [, { p, n }]) => sum + p - n, 0) === 5)
  expect(rows.size).toBeLessThanOrEqual(2)
  await Promise.all(clients.map((client) => client.close()))
})

/** The bound of a wait for thousands of messages, however busy the machine is. */
const SLOW_MS = 60_000

test(
  'INV-22: a page looks at more counters, one after the other, than a connection may follow',
  async () => {
    await using server = await startTestServer()
    await using writer = open(server)
    await using reader = open(server)
    const errors: unknown[] = []
    for (const client of [writer, reader]) {
      client.on('error', ({ error }) => errors.push(error))
      await client.ready
    }
    const names = Array.from({ length: 1_200 }, (_, i) => `c${i}`)
    for (let from = 0; from < names.length; from += 400) {
      for (const name of names.slice(from, from + 400)) writer.counters.votes(name).add(1)
      await until(() => writer.status.get().pending === 0, SLOW_MS)
    }
    const watched = reader.counters.votes('c0')
    using _ = watched.subscribe(() => {})
    await until(() => names.map((name) => reader.counters.votes(name).get()).every((count) => count === 1), SLOW_MS)
    writer.counters.votes('c0').add(1)
    writer.counters.votes('c1').add(1)
    await until(() => reader.counters.votes('c1').get() === 2 && watched.get() === 2, SLOW_MS)
    reader.counters.votes('c2').add(5)
    await until(() => writer.counters.votes('c2').get() === 6 && reader.counters.votes('c2').get() === 6, SLOW_MS)
    const following = server.server.inspect()['merkle-sync']?.['following'] as number
    expect([errors, following <= 1_002]).toEqual([[], true])
  },
  4 * SLOW_MS,
)

test(
  'INV-22: a page writes to more counters at once than a connection may follow: each counts once, and shows it',
  async () => {
    await using server = await startTestServer()
    await using client = open(server)
    const errors = new Set<string>()
    client.on('error', ({ error }) => errors.add(error?.code ?? ''))
    await client.ready
    const names = Array.from({ length: 1_100 }, (_, i) => `c${i}`)
    for (const name of names) client.counters.votes(name).add(1)
    await until(() => client.status.get().pending === 0, SLOW_MS)
    // Those for which there was no place find one when they are looked at.
    await until(() => names.map((name) => client.counters.votes(name).get()).every((count) => count === 1), SLOW_MS)
    expect([...errors]).toEqual(['LIMIT_EXCEEDED'])
  },
  2 * SLOW_MS,
)
