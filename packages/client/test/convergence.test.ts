import type { LwwRecord } from '@syncline/core'
import { canonicalRecord } from '@syncline/core/merkle'
import { expect, test } from 'vitest'
import { createClient, memory, type Client, type StorageAdapter } from '../src/index.ts'
import type { BaseRow } from '../src/offline/base.ts'
import { applyOp } from './model-ops.ts'
import { ModelServer } from './model-server.ts'
import { Tab, World } from './virtual-env.ts'

const RUNS = Number(process.env['SYNCLINE_RUNS'] ?? 25)
const FIRST = Number(process.env['SYNCLINE_SEED'] ?? 1)
const MAP = 'todos'

interface Member {
  readonly tab: Tab
  readonly storage: StorageAdapter
  client: Client
}

interface Faults {
  readonly kills: boolean
  readonly crashes: boolean
  readonly prunes: boolean
  readonly skews: boolean
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

const canonical = (records: ReadonlyMap<string, LwwRecord>): Map<string, string> =>
  new Map(Array.from(records, ([key, record]) => [key, hex(canonicalRecord(key, record))]))

const recordsOf = (server: ModelServer): Map<string, string> =>
  canonical(new Map(Array.from(server.map(MAP).entries, ([key, { record }]) => [key, record])))

async function baseOf(storage: StorageAdapter): Promise<Map<string, string>> {
  const open = await storage.open()
  const rows = await open.transaction('readonly', (tx) => tx.entries('base', MAP))
  return new Map(rows.map(([[, key], row]) => [key, hex(canonicalRecord(key, (row as BaseRow).record))]))
}

/** Random days of three tabs, two of which share their storage, and one server. Then peace, and everyone must agree. */
async function run(seed: number, faults: Faults): Promise<void> {
  const world = new World(seed)
  const server = new ModelServer(world)
  const pick = (n: number): number => Math.floor(world.random() * n)
  const shared = memory()
  const members: Member[] = []
  const start = (tab: Tab, storage: StorageAdapter): Client => {
    const client: Client = createClient({ url: 'ws://server', env: tab.env(), storage })
    client.map(MAP)
    return client
  }
  for (const [name, storage] of [
    ['a', shared],
    ['b', shared],
    ['c', memory()],
  ] as const) {
    const tab = new Tab(world, name)
    if (faults.skews) tab.skewMs = (pick(3) - 1) * 3_600_000 * pick(5)
    const member: Member = { tab, storage, client: start(tab, storage) }
    members.push(member)
  }
  const key = (): string => `k${pick(4)}`
  for (let step = 0; step < 60; step++) {
    const member = members[pick(members.length)] as Member
    const { client, tab } = member
    const todos = client.map(MAP)
    switch (pick(14)) {
      case 0:
      case 1:
      case 2:
        todos.set(key(), { text: `${tab.name}${step}`, n: pick(3) })
        break
      case 3:
      case 4:
      case 5: {
        const some = key()
        if (!todos.has(some)) break
        todos.update(some, (value) => {
          const field = ['text', 'n', 'done'][pick(3)] as string
          if (pick(4) === 0) delete value[field]
          else value[field] = `${tab.name}${step}`
        })
        break
      }
      case 6:
        todos.delete(key())
        break
      case 7:
        tab.sockets.at(-1)?.drop(1006)
        break
      case 8:
        client.disconnect()
        break
      case 9:
        client.connect()
        break
      case 10:
        if (!faults.kills) break
        tab.kill()
        member.client = start(tab, member.storage)
        break
      case 11:
        if (faults.crashes) server.crash()
        break
      case 12:
        server.persist()
        if (faults.prunes && pick(3) === 0) server.prune(MAP)
        break
      default:
        await world.advance(pick(8_000))
    }
    if (pick(3) === 0) await world.advance(pick(100))
  }
  for (const { client } of members) client.connect()
  await world.advance(120_000)

  const expected = server.visible(MAP)
  for (const { client, tab } of members) {
    const rejected = client.pending.get().filter(({ status }) => status === 'rejected')
    const others = client.pending.get().filter(({ status }) => status !== 'rejected')
    expect(others, `${tab.name} still has pending writes`).toEqual([])
    if (!faults.prunes && !faults.kills) expect(rejected, `${tab.name} has refused writes`).toEqual([])
    for (const { id } of rejected) client.pending.discard(id)
    expect(Object.fromEntries(client.map(MAP)), `${tab.name} shows something else`).toEqual(expected)
  }
  if (!faults.kills && !faults.prunes) {
    // Nothing that was accepted is lost, even by a server that crashed: its writers and readers brought it back.
    const all = new Map<string, LwwRecord>()
    for (const op of server.accepted) {
      const record = applyOp(all.get(op.key), op)
      if (record !== undefined) all.set(op.key, record)
    }
    expect(recordsOf(server)).toEqual(canonical(all))
  }
  for (const { client } of members) await client.close()
  const truth = recordsOf(server)
  for (const { storage, tab } of members)
    expect(await baseOf(storage), `${tab.name} stored something else`).toEqual(truth)
}

const none: Faults = { kills: false, crashes: false, prunes: false, skews: false }

test.each([
  ['lost connections', none],
  ['wrong clocks', { ...none, skews: true }],
  ['server crashes that lose acknowledged writes', { ...none, crashes: true }],
  ['killed and reloaded tabs', { ...none, kills: true }],
  ['pruned tombstones', { ...none, prunes: true }],
  ['everything at once', { kills: true, crashes: true, prunes: true, skews: true }],
])(
  'INV-10 all replicas end byte-identical to the server after %s',
  async (_, faults) => {
    for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
      try {
        await run(seed, faults)
      } catch (error) {
        throw new Error(`Seed ${seed}: ${(error as Error).message}`, { cause: error })
      }
    }
  },
  60_000,
)
