import { createClient, type Client } from '@syncline/client'
import { afterAll, expect, test } from 'vitest'
import { clearHomes, newHome } from './home.ts'
import { Random } from './random.ts'
import { until } from './until.ts'

const ROUNDS = 6
const FIELDS = ['a', 'b', 'c'] as const

let isRed = true
afterAll(() => {
  if (!isRed) clearHomes()
})

const entries = (client: Client): Record<string, unknown> =>
  Object.fromEntries(Array.from(client.map('notes')).toSorted(([a], [b]) => (a < b ? -1 : 1)))

test(
  `[INV-12] clients that write on through ${ROUNDS} crashes lose no write, not even what was acknowledged in memory only`,
  { timeout: 120_000 },
  async () => {
    const home = await newHome()
    const random = new Random(Date.now())
    const first = home.start()
    const port = await first.ready
    await first.stop()

    const newClient = (): Client =>
      createClient({ url: `ws://127.0.0.1:${port}/ws`, auth: () => Promise.resolve(home.token) })
    const clients = [newClient(), newClient(), newClient()]
    const written = new Map<string, Record<string, string>>()
    const deleted = new Set<string>()
    let writes = 0
    for (let round = 0; round < ROUNDS; round++) {
      await using server = home.start(port)
      await server.ready
      for (const client of clients) client.connect()
      await until(
        () => clients.every((client) => client.status.get().connection === 'online'),
        () => JSON.stringify(clients.map((client) => client.status.get())),
      )
      // Each client has fields of its own in the records of all, and records of its own, of which it deletes some.
      for (const [index, client] of clients.entries()) {
        const notes = client.map<Record<string, string>>('notes')
        const concern = () => ({ concern: random.pick(['memory', 'applied', 'persisted'] as const) })
        const write = (key: string, change: () => void): void => {
          change()
          writes++
          deleted.delete(key)
        }
        for (let i = 0; i < 20; i++) {
          const own = `own-${index}-${round}-${i}`
          write(own, () => notes.set(own, { text: own }, concern()))
          written.set(own, { text: own })
          const earlier = `own-${index}-${round - 1}-${i}`
          if (i % 4 === 0 && notes.has(earlier)) {
            notes.delete(earlier, concern())
            written.delete(earlier)
            deleted.add(earlier)
          }
          const shared = `shared-${i % 5}`
          const field = FIELDS[index] ?? 'a'
          if (!notes.has(shared)) continue
          const text = `${field}-${round}-${i}`
          write(shared, () => notes.update(shared, (note) => void (note[field] = text), concern()))
          written.set(shared, { ...written.get(shared), [field]: text })
        }
        if (round > 0 || index > 0) continue
        for (let i = 0; i < 5; i++) {
          notes.set(`shared-${i}`, { text: 'all of us' }, { concern: 'persisted' })
          written.set(`shared-${i}`, { text: 'all of us' })
        }
      }
      const least = random.below(60)
      await until(
        () => clients.reduce((sum, client) => sum + client.status.get().pending, 0) <= least,
        () => 'some writes are acknowledged',
      )
      await server.kill()
    }

    await using server = home.start(port)
    await server.ready
    for (const client of clients) client.connect()
    const expected = Object.fromEntries([...written].toSorted(([a], [b]) => (a < b ? -1 : 1)))
    const newcomer = newClient()
    const everybody = [...clients, newcomer]
    const states = () => JSON.stringify(everybody.map((client) => client.status.get()))
    newcomer
      .map('notes')
      .query()
      .subscribe(() => {})
    await until(
      () =>
        everybody.every(
          (client) => client.status.get().pending === 0 && client.map('notes').size === Object.keys(expected).length,
        ),
      states,
    )
    for (const client of everybody) {
      expect(client.status.get().rejected).toBe(0)
      expect(entries(client)).toEqual(expected)
      for (const key of deleted) expect(client.map('notes').has(key)).toBe(false)
    }
    await Promise.all(everybody.map((client) => client.close()))
    expect(await server.stop()).toBe(0)
    console.log(`${writes} writes of ${clients.length} clients through ${ROUNDS} crashes: all there`)
    isRed = false
  },
)
