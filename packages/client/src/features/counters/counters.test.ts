import { expect, test } from 'vitest'
import { ModelServer } from '../../../test/model-server.ts'
import { Tab, World } from '../../../test/virtual-env.ts'
import { counter, createClient, defineContract, memory, type StorageAdapter, type SyncCounter } from '../../index.ts'

const contract = defineContract({ counters: { votes: counter() } })

const open = (tab: Tab, storage: StorageAdapter, token?: string) =>
  createClient({
    contract,
    env: tab.env(),
    storage,
    url: 'ws://server',
    ...(token === undefined ? {} : { auth: () => token }),
  })

function setUp() {
  const world = new World()
  const server = new ModelServer(world)
  const rows = (name = 'counter:votes'): readonly (readonly [string, unknown])[] =>
    Array.from(server.map(name).entries, ([node, { record }]) => [node, record.value] as const)
  const value = (name?: string): number =>
    rows(name).reduce((sum, [, row]) => sum + (row as { p: number }).p - (row as { n: number }).n, 0)
  return { world, server, rows, value }
}

test('what several add at the same time and offline adds up, and is seen at once', async () => {
  const { world, server, value } = setUp()
  const a = open(new Tab(world, 'a'), memory())
  const b = open(new Tab(world, 'b'), memory())
  const seen: number[] = []
  a.counters.votes().subscribe((now) => seen.push(now), { immediate: true })
  a.counters.votes().add(2)
  b.counters.votes().add(3)
  b.counters.votes('t1').add(-1)
  expect([a.counters.votes().get(), b.counters.votes().get(), b.counters.votes('t1').get()]).toEqual([2, 3, -1])
  await world.advance(3_000)
  a.disconnect()
  a.counters.votes().add(5)
  a.counters.votes().add(-1)
  b.counters.votes().add(10)
  expect([a.counters.votes().get(), b.counters.votes().get()]).toEqual([9, 15])
  await world.advance(1_000)
  a.connect()
  await world.advance(3_000)
  expect([a.counters.votes().get(), b.counters.votes().get(), value()]).toEqual([19, 19, 19])
  expect(value('counter:votes:t1')).toBe(-1)
  expect([a.status.get().pending, b.status.get().pending]).toEqual([0, 0])
  expect(seen).toEqual(seen.toSorted((x, y) => x - y))
  expect(server.map('counter:votes').entries.size).toBe(2)
})

test('a write of a counter reaches its level, and can be taken back', async () => {
  const { world, value } = setUp()
  const client = open(new Tab(world, 'a'), memory())
  const write = client.counters.votes().add(4)
  const reached = write.wait('applied')
  await world.advance(3_000)
  expect(await reached).toMatchObject({ level: 'applied' })
  write.undo()
  expect(client.counters.votes().get()).toBe(0)
  await world.advance(3_000)
  expect(value()).toBe(0)
  expect(client.counters.votes().add(0).status.get()).toBe('acked')
})

test.each([0.5, Number.NaN, 2 ** 53, '1' as never])('%s is no number to count', async (delta) => {
  const { world } = setUp()
  const client = open(new Tab(world, 'a'), memory())
  expect(() => client.counters.votes().add(delta)).toThrow(expect.objectContaining({ code: 'VALIDATION_ERROR' }))
  expect(() => client.counters.votes('x'.repeat(120))).toThrow(expect.objectContaining({ code: 'BAD_KEY' }))
})

test('what is added offline survives a reload and counts once', async () => {
  const { world, server, value } = setUp()
  const tab = new Tab(world, 'a')
  const storage = memory()
  server.isUp = false
  const first = open(tab, storage)
  await first.ready
  first.counters.votes().add(7)
  await world.settle()
  tab.kill()
  const second = open(tab, storage)
  await second.ready
  expect(second.counters.votes().get()).toBe(7)
  server.isUp = true
  await world.advance(60_000)
  expect([second.counters.votes().get(), value()]).toEqual([7, 7])
})

test('what a page left is sent by the next one, also where that never asks for the counter', async () => {
  const { world, server, value } = setUp()
  const tab = new Tab(world, 'a')
  const storage = memory()
  server.isUp = false
  const first = open(tab, storage)
  first.counters.votes().add(7)
  await world.settle()
  tab.kill()
  server.isUp = true
  createClient({ env: tab.env(), storage, url: 'ws://server' })
  await world.advance(60_000)
  expect(value()).toBe(7)
})

test('an acknowledgement that is lost does not make it count twice', async () => {
  const { world, server, value } = setUp()
  const tab = new Tab(world, 'a')
  const client = open(tab, memory())
  await world.advance(3_000)
  client.counters.votes().add(1)
  for (let i = 0; i < 300 && value() === 0; i++) await world.advance(2)
  expect(value()).toBe(1)
  tab.socket.drop()
  client.counters.votes().add(1)
  expect(client.counters.votes().get()).toBe(2)
  await world.advance(30_000)
  expect([client.counters.votes().get(), value(), client.status.get().pending]).toEqual([2, 2, 0])
  expect(server.map('counter:votes').entries.size).toBe(1)
})

test('the rows of a counter grow with the tabs that are open at once, and not with those that ever were', async () => {
  const { world, rows, value } = setUp()
  const storage = memory()
  for (let i = 0; i < 12; i++) {
    const tabs = [new Tab(world, `a${i}`), new Tab(world, `b${i}`)]
    for (const tab of tabs) {
      const client = open(tab, storage)
      client.counters.votes().add(1)
    }
    await world.advance(5_000)
    for (const tab of tabs) tab.kill()
  }
  await world.advance(5_000)
  expect(value()).toBe(24)
  expect(rows().length).toBe(2)
})

test('without locks every page has a row of its own, and what a page left counts once, whoever sends it', async () => {
  const { world, server, rows, value } = setUp()
  const storage = memory()
  const frozen = new Tab(world, 'frozen')
  frozen.hasLocks = false
  const client = open(frozen, storage)
  await world.advance(1_000)
  server.isUp = false
  for (const session of server.sessions) session.socket.drop()
  client.counters.votes().add(3)
  await world.settle()
  server.isUp = true
  // It is frozen, and wakes when another page has taken its writes.
  frozen.slowestTimerMs = 400_000
  const other = new Tab(world, 'other')
  other.hasLocks = false
  const taker = open(other, storage)
  await world.advance(300_000)
  expect(value()).toBe(3)
  taker.counters.votes().add(1)
  await world.advance(600_000)
  expect(value()).toBe(4)
  expect(rows().length).toBe(2)
})

test('[CN7] an addition beyond 2^53 − 1 is refused before anything happens, in both directions, whoever counted before', async () => {
  const { world, value } = setUp()
  const a = open(new Tab(world, 'a'), memory())
  const b = open(new Tab(world, 'b'), memory())
  const [here, there] = [a.counters.votes(), b.counters.votes()]
  here.add(Number.MAX_SAFE_INTEGER - 5)
  there.add(-Number.MAX_SAFE_INTEGER)
  there.get()
  await world.advance(3_000)
  for (const [counter, delta] of [
    [here, 6],
    [there, 6],
    [here, -1],
    [there, -1],
  ] as const) {
    expect(() => counter.add(delta)).toThrow(expect.objectContaining({ code: 'TOO_LARGE' }))
    expect(counter.get()).toBe(-5)
  }
  there.add(5)
  await world.advance(3_000)
  expect([here.get(), there.get(), value()]).toEqual([0, 0, 0])
  expect([a.status.get(), b.status.get()]).toMatchObject([
    { pending: 0, rejected: 0 },
    { pending: 0, rejected: 0 },
  ])
})

test('an addition that is refused stays in sight until it is discarded, and later ones do not bring it along', async () => {
  const { world, server, value } = setUp()
  const client = open(new Tab(world, 'a'), memory())
  const refused: string[] = []
  client.on('rejected', ({ error, write }) => refused.push(`${error.code} ${write.id}`))
  client.counters.votes().add(1)
  await world.advance(3_000)
  server.refuses = () => true
  const write = client.counters.votes().add(10)
  await world.advance(3_000)
  expect([refused, write.status.get()]).toEqual([[`FORBIDDEN ${write.id}`], 'rejected'])
  server.refuses = () => false
  client.counters.votes().add(100)
  await world.advance(3_000)
  expect([client.counters.votes().get(), value(), client.status.get().rejected]).toEqual([111, 101, 1])
  client.pending.discard(write.id)
  await world.advance(3_000)
  expect([client.counters.votes().get(), value(), client.pending.get()]).toEqual([101, 101, []])
})

test('INV-7: what an addition makes of its row is stored before it leaves, so that it is the same whoever sends it again', async () => {
  const { world, value } = setUp()
  const inner = memory()
  const held: (() => void)[] = []
  let isHeld = false
  const storage: StorageAdapter = {
    id: inner.id,
    async open() {
      const opened = await inner.open()
      return {
        durability: opened.durability,
        close: () => opened.close(),
        async transaction(mode, work) {
          if (isHeld && mode === 'readwrite') await new Promise<void>((resolve) => held.push(resolve))
          return opened.transaction(mode, work)
        },
      }
    },
  }
  const client = open(new Tab(world, 'a'), storage)
  client.counters.votes().add(1)
  await world.advance(3_000)
  expect(value()).toBe(1)
  isHeld = true
  client.counters.votes().add(10)
  await world.advance(3_000)
  expect([client.counters.votes().get(), value()]).toEqual([11, 1])
  isHeld = false
  for (const go of held) go()
  await world.advance(3_000)
  expect([client.counters.votes().get(), value(), client.status.get().pending]).toEqual([11, 11, 0])
})

test('each user of a device has rows of their own', async () => {
  const { world, server, rows } = setUp()
  server.hasUsers = true
  const storage = memory()
  const tab = new Tab(world, 'a')
  let user = 'ann'
  const client = createClient({ contract, env: tab.env(), storage, url: 'ws://server', auth: () => user })
  client.counters.votes().add(1)
  await world.advance(3_000)
  user = 'bob'
  client.disconnect()
  client.connect()
  await world.advance(3_000)
  expect(client.counters.votes().get()).toBe(0)
  client.counters.votes().add(2)
  await world.advance(3_000)
  const [[annsNode] = [], [bobsNode] = []] = [rows('ann/counter:votes')[0], rows('bob/counter:votes')[0]]
  expect([rows('ann/counter:votes').length, rows('bob/counter:votes').length]).toEqual([1, 1])
  expect(annsNode).not.toBe(bobsNode)
  user = 'ann'
  client.disconnect()
  client.connect()
  client.counters.votes().add(1)
  await world.advance(3_000)
  expect(rows('ann/counter:votes').map(([node]) => node)).toEqual([annsNode])
})

const RUNS = Number(process.env['SYNCLINE_RUNS'] ?? 60)

test(`[PN1] INV-7: whatever happens to tabs, connections and the server, ${RUNS} times: each addition counts exactly once`, async () => {
  for (let seed = 1; seed <= RUNS; seed++) {
    const world = new World(seed)
    const server = new ModelServer(world)
    const pick = (n: number): number => Math.floor(world.random() * n)
    const storages = [memory(), memory()]
    const tabs: { tab: Tab; storage: StorageAdapter; votes: SyncCounter }[] = []
    const start = (tab: Tab, storage: StorageAdapter): (typeof tabs)[number] => ({
      tab,
      storage,
      votes: open(tab, storage).counters.votes(),
    })
    const addTab = (): void => {
      const storage = storages[pick(2)] as StorageAdapter
      tabs.push(start(new Tab(world, `t${seed}-${tabs.length}-${pick(1e9)}`), storage))
    }
    addTab()
    addTab()
    await world.settle()
    let total = 0
    for (let step = 0; step < 120; step++) {
      const at = pick(tabs.length)
      const member = tabs[at] as (typeof tabs)[number]
      switch (pick(12)) {
        case 0:
          if (tabs.length < 4) addTab()
          break
        case 1:
          member.tab.kill()
          tabs[at] = start(member.tab, member.storage)
          break
        case 2:
          if (tabs.length < 2) break
          member.tab.kill()
          tabs.splice(at, 1)
          break
        case 3:
          member.tab.sockets.at(-1)?.drop()
          break
        case 4:
          server.isUp = !server.isUp
          if (!server.isUp) for (const session of server.sessions) session.socket.drop()
          break
        case 5:
          if (pick(2) === 0) server.persist()
          else server.crash()
          break
        default: {
          const delta = pick(9) - 3
          // What is not stored when a tab dies was never sent, and is lost.
          let isStored = false
          void member.votes
            .add(delta)
            .wait('local')
            .then(() => (isStored = true))
          for (let i = 0; i < 20 && !isStored; i++) await world.settle()
          expect(isStored).toBe(true)
          total += delta
        }
      }
      await world.advance(pick(300))
    }
    server.isUp = true
    // What a closed tab left is sent when another one of its device is open.
    for (const [i, storage] of storages.entries()) tabs.push(start(new Tab(world, `last${i}`), storage))
    await world.advance(120_000)
    const sum = [...server.map('counter:votes').entries.values()].reduce((all, { record }) => {
      const { p, n } = record.value as { p: number; n: number }
      return all + p - n
    }, 0)
    expect({ seed, sum, seen: tabs.map(({ votes }) => votes.get()) }).toEqual({
      seed,
      sum: total,
      seen: tabs.map(() => total),
    })
  }
}, 600_000)
