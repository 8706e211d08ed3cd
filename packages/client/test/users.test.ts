import { expect, test } from 'vitest'
import { createClient, memory, type Client, type StorageAdapter } from '../src/index.ts'
import type { BaseRow, CursorRow } from '../src/offline/base.ts'
import type { OwnerRow } from '../src/storage/writer.ts'
import { ModelServer } from './model-server.ts'
import { Tab, World } from './virtual-env.ts'

const RUNS = Number(process.env['SYNCLINE_RUNS'] ?? 30)
const FIRST = Number(process.env['SYNCLINE_SEED'] ?? 1)
const MAP = 'todos'
const USERS = ['ann', 'bob', 'carol'] as const

interface Member {
  readonly tab: Tab
  /** Who signs in at the next connection. */
  user: string
  client: Client
}

/** What is stored of base belongs to its owner, and lacks nothing up to its position. */
async function checkStored(storage: StorageAdapter, server: ModelServer): Promise<void> {
  const open = await storage.open()
  const [owner, position, rows] = await open.transaction('readonly', async (tx) => [
    (await tx.get('meta', ['owner', ''])) as OwnerRow | undefined,
    (await tx.get('cursors', [MAP, ''])) as CursorRow | undefined,
    new Map((await tx.entries('base', MAP)).map(([[, key], row]) => [key, row as BaseRow])),
  ])
  const { entries } = server.map(`${owner?.user}/${MAP}`)
  for (const [key, { record }] of rows) {
    expect(entries.get(key)?.record.value, `'${key}' is stored for ${owner?.user}`).toBeDefined()
    expect(record.value, `'${key}' is stored for ${owner?.user}`).toContain(String(owner?.user))
  }
  for (const [key, { seq }] of entries) {
    if (position !== undefined && seq <= position.seq)
      expect(rows.has(key), `'${key}' is missing up to ${position.seq}`).toBe(true)
  }
}

/** Random days of three tabs of one device in which people sign in and out. */
async function run(seed: number): Promise<void> {
  const world = new World(seed)
  const server = new ModelServer(world)
  server.hasUsers = true
  const pick = (n: number): number => Math.floor(world.random() * n)
  const storage = memory()
  const hasLocks = pick(2) === 0
  /** Writes that were stored, and by whom they were made as far as the application could know. */
  const stored = new Set<string>()
  const start = (member: Omit<Member, 'client'>): Client => {
    const client: Client = createClient({ url: 'ws://server', env: member.tab.env(), storage, auth: () => member.user })
    client.map(MAP)
    return client
  }
  const members = ['a', 'b', 'c'].map((name): Member => {
    const tab = Object.assign(new Tab(world, name), { hasLocks })
    const member = { tab, user: USERS[pick(3)] as string }
    return Object.assign(member, { client: start(member) })
  })
  const checkShown = (): void => {
    for (const { tab, client } of members) {
      const session = [...server.sessions].find(({ socket }) => socket === tab.sockets.at(-1))
      if (client.status.get().connection !== 'online' || session === undefined) continue
      const pending = new Set(client.pending.get().map(({ target }) => target))
      for (const [key, value] of client.map<string>(MAP)) {
        if (pending.has(`${MAP}/${key}`)) continue
        expect(value, `${tab.name} shows '${key}' to ${session.user}`).toContain(String(session.user))
      }
    }
  }
  for (let step = 0; step < 80; step++) {
    const member = members[pick(members.length)] as Member
    const { client, tab } = member
    switch (pick(10)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        // Only who has a session knows in whose name it writes.
        const isOnline = client.status.get().connection === 'online'
        const write = client
          .map(MAP)
          .set(`${isOnline ? member.user : 'any'}${step}`, isOnline ? member.user : USERS.join())
        void write.wait('local').then(
          () => stored.add(write.id),
          () => {},
        )
        break
      }
      case 4:
      case 5:
        member.user = USERS[pick(3)] as string
        tab.sockets.at(-1)?.drop(1006)
        break
      case 6:
        client.disconnect()
        break
      case 7:
        client.connect()
        break
      case 8:
        if (pick(2) === 0) tab.kill()
        else tab.leave()
        member.client = start(member)
        break
      default:
        await world.advance(pick(8_000))
    }
    if (pick(2) === 0) await world.advance(pick(200))
    checkShown()
    await checkStored(storage, server)
  }
  // Peace: everybody signs in once more in some tab, long enough for what dead tabs left to be found.
  for (const user of USERS) {
    for (const member of members) {
      member.user = user
      member.tab.sockets.at(-1)?.drop(1006)
      member.client.connect()
    }
    await world.advance(600_000)
    checkShown()
    await checkStored(storage, server)
    for (const { client, tab } of members) {
      expect(client.pending.get(), `${tab.name} still has pending writes of ${user}`).toEqual([])
      expect(Object.fromEntries(client.map(MAP)), `${tab.name} shows ${user} something else`).toEqual(
        server.visible(`${user}/${MAP}`),
      )
    }
  }
  for (const [id, users] of server.usersByOp) expect([...users], `the users of ${id}`).toHaveLength(1)
  for (const id of stored) expect(server.usersByOp.has(id), `${id} has arrived`).toBe(true)
  for (const { client } of members) await client.close()
}

test(
  'INV-21 users of one device, in several tabs, never see nor send what is another one’s, and lose nothing',
  async () => {
    for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
      try {
        await run(seed)
      } catch (error) {
        throw new Error(`Seed ${seed}: ${(error as Error).message}`, { cause: error })
      }
    }
  },
  60_000 + RUNS * 500,
)
