import * as v from 'valibot'
import { expect, test } from 'vitest'
import { ModelServer } from '../../../test/model-server.ts'
import { Tab, World } from '../../../test/virtual-env.ts'
import { createClient, defineContract, memory, set, type StorageAdapter } from '../../index.ts'

const contract = defineContract({
  sets: {
    tags: set({ schema: v.string() }),
    points: set({ schema: v.object({ x: v.number(), y: v.optional(v.number(), 0) }) }),
  },
})

/** A client that follows both. */
function open(tab: Tab, storage: StorageAdapter = memory()) {
  const client = createClient({ contract, env: tab.env(), storage, url: 'ws://server' })
  client.sets.tags()
  client.sets.points()
  return client
}

function setUp() {
  const world = new World()
  const server = new ModelServer(world)
  return { world, server, a: open(new Tab(world, 'a')), b: open(new Tab(world, 'b')) }
}

test('[CO4] what is added and removed is seen at once, here and then there, under its own key', async () => {
  const { world, a, b } = setUp()
  const tags = a.sets.tags('t1')
  const seen: string[][] = []
  tags.subscribe((values) => seen.push([...values]), { immediate: true })
  const write = tags.add('urgent')
  tags.add('late')
  a.sets.tags('t2').add('other')
  a.sets.tags().add('unnamed')
  expect([[...tags.get()], tags.has('late'), tags.has('other')]).toEqual([['urgent', 'late'], true, false])
  const reached = write.wait('applied')
  await world.advance(3_000)
  expect(await reached).toMatchObject({ level: 'applied' })
  expect([...b.sets.tags('t1').get()]).toEqual(['urgent', 'late'])
  expect([...b.sets.tags('tags').get()]).toEqual(['unnamed'])
  b.sets.tags('t1').delete('urgent')
  expect([...b.sets.tags('t1').get()]).toEqual(['late'])
  await world.advance(3_000)
  expect([...tags.get()]).toEqual(['late'])
  expect(seen).toEqual([[], ['urgent', 'late'], ['late']])
  expect(a.sets.tags('t1')).toBe(tags)
  expect(tags.get()).toBe(tags.get())
  expect([a.status.get().pending, b.status.get().pending]).toEqual([0, 0])
})

test('[OR3] of a value that one adds while another removes it, the addition stays', async () => {
  const { world, a, b } = setUp()
  a.sets.tags('t').add('x')
  await world.advance(3_000)
  a.disconnect()
  b.disconnect()
  b.sets.tags('t').delete('x')
  a.sets.tags('t').add('x')
  a.connect()
  b.connect()
  await world.advance(3_000)
  expect([[...a.sets.tags('t').get()], [...b.sets.tags('t').get()]]).toEqual([['x'], ['x']])
  b.sets.tags('t').delete('x')
  await world.advance(3_000)
  expect([a.sets.tags('t').get().size, b.sets.tags('t').get().size]).toEqual([0, 0])
})

test('values that are equal are one, objects too, and removed together after they have been to the server', async () => {
  const { world, a, b } = setUp()
  a.sets.points('p').add({ x: 1 })
  a.sets.points('p').add({ x: 1, y: 0 })
  b.sets.points('p').add({ x: 1 })
  b.sets.points('p').add({ x: 2 })
  expect([...a.sets.points('p').get()]).toEqual([{ x: 1, y: 0 }])
  await world.advance(3_000)
  expect([...a.sets.points('p').get()]).toEqual([...b.sets.points('p').get()])
  expect(a.sets.points('p').get().size).toBe(2)
  expect([a.sets.points('p').has({ x: 2, y: 0 }), a.sets.points('p').has({ x: 3, y: 0 })]).toEqual([true, false])
  const write = a.sets.points('p').delete({ x: 1 })
  expect([...a.sets.points('p').get()]).toEqual([{ x: 2, y: 0 }])
  await world.advance(3_000)
  expect(write.status.get()).toBe('acked')
  expect([...b.sets.points('p').get()]).toEqual([{ x: 2, y: 0 }])
})

test('what is added and removed again offline goes to the server in this order, also after a reload', async () => {
  const { world, server, b } = setUp()
  const tab = new Tab(world, 'c')
  const storage = memory()
  const first = open(tab, storage)
  await world.advance(3_000)
  first.disconnect()
  first.sets.tags('t').add('kept')
  first.sets.tags('t').add('gone')
  first.sets.tags('t').delete('gone')
  await world.settle()
  tab.kill()
  const second = open(tab, storage)
  await second.ready
  expect([...second.sets.tags('t').get()]).toEqual(['kept'])
  await world.advance(5_000)
  expect([...b.sets.tags('t').get()]).toEqual(['kept'])
  expect([...server.map('tags').entries.values()].map(({ record }) => record.value)).toEqual(['kept', null])
  expect(second.status.get().pending).toBe(0)
})

test.each([
  ['was sent is refused, not new', true],
  ['was never sent is new', false],
])('INV-12 [RT5] an addition that %s when removals since then are forgotten', async (_, wasSent) => {
  const { world, server, a, b } = setUp()
  const tab = new Tab(world, 'c')
  const storage = memory()
  const first = open(tab, storage)
  a.sets.tags('t').add('other')
  await world.advance(3_000)
  if (!wasSent) first.disconnect()
  first.sets.tags('t').add('x')
  if (wasSent) {
    // The answer is on its way when the tab dies.
    for (let i = 0; i < 100 && server.accepted.length < 2; i++) await world.advance(1)
  } else await world.settle()
  tab.kill()
  await world.advance(3_000)
  expect(b.sets.tags('t').has('x')).toBe(wasSent)
  b.sets.tags('t').delete('x')
  b.sets.tags('t').delete('other')
  await world.advance(3_000)
  server.prune('tags')
  await world.advance(3_000)
  const second = open(tab, storage)
  const refused: unknown[] = []
  second.on('rejected', ({ error }) => refused.push(error.code))
  await world.advance(10_000)
  expect([b.sets.tags('t').has('x'), refused]).toEqual(wasSent ? [false, ['STALE']] : [true, []])
})

test('an addition is taken back by its removal, and a removal by another addition', async () => {
  const { world, a, b } = setUp()
  const added = a.sets.tags('t').add('x')
  await world.advance(3_000)
  added.undo()
  expect(a.sets.tags('t').get().size).toBe(0)
  a.sets.tags('t').add('y')
  a.sets.tags('t').delete('y').undo()
  await world.advance(3_000)
  expect([...b.sets.tags('t').get()]).toEqual(['y'])
  expect(a.sets.tags('t').delete('nothing').status.get()).toBe('acked')
})

test('an addition is no conflict where another one has removed it, and a removal none where it is gone', async () => {
  const { world, a, b } = setUp()
  const conflicts: unknown[] = []
  for (const client of [a, b]) client.on('conflict', (event) => conflicts.push(event))
  a.sets.tags('t').add('x')
  await world.advance(3_000)
  a.disconnect()
  a.sets.tags('t').delete('x')
  b.sets.tags('t').delete('x')
  await world.advance(3_000)
  a.connect()
  await world.advance(3_000)
  expect(conflicts).toEqual([])
  expect([a.status.get().rejected, a.status.get().pending]).toEqual([0, 0])
})

test('a removal of what was deleted and forgotten meanwhile is done already', async () => {
  const { world, server, a, b } = setUp()
  a.sets.tags('t').add('x')
  await world.advance(3_000)
  a.disconnect()
  a.sets.tags('t').delete('x')
  a.sets.tags('t').add('y')
  b.sets.tags('t').delete('x')
  await world.advance(3_000)
  server.prune('tags')
  await world.advance(3_000)
  a.connect()
  await world.advance(60_000)
  expect([a.status.get().rejected, a.status.get().pending]).toEqual([0, 0])
  expect([[...a.sets.tags('t').get()], [...b.sets.tags('t').get()]]).toEqual([['y'], ['y']])
})

test.each([0, -1, NaN, Infinity, '5' as never])(
  'a time to live of %s is refused before anything happens',
  async (ttlMs) => {
    const { a } = setUp()
    await a.ready
    const tags = a.sets.tags('t1')
    expect(() => tags.add('x', { ttlMs })).toThrow(expect.objectContaining({ code: 'VALIDATION_ERROR' }))
    expect([...tags.get()]).toEqual([])
    expect(a.status.get().pending).toBe(0)
  },
)

test('a value that expires is gone from the set', async () => {
  const { world, a, b } = setUp()
  const seen: number[] = []
  a.sets.tags('t').subscribe(({ size }) => seen.push(size))
  a.sets.tags('t').add('x', { ttlMs: 10_000 })
  await world.advance(3_000)
  expect(b.sets.tags('t').get().size).toBe(1)
  await world.advance(10_000)
  expect([a.sets.tags('t').get().size, b.sets.tags('t').get().size]).toEqual([0, 0])
  expect(seen).toEqual([1, 0])
})

test.each([
  ['VALIDATION_ERROR', (tags: ReturnType<typeof setUp>['a']['sets']) => tags.tags('t').add(1 as never)],
  ['BAD_KEY', (tags: ReturnType<typeof setUp>['a']['sets']) => tags.tags('')],
  ['BAD_KEY', (tags: ReturnType<typeof setUp>['a']['sets']) => tags.tags('k'.repeat(512)).add('x')],
  ['TOO_LARGE', (tags: ReturnType<typeof setUp>['a']['sets']) => tags.tags('t').add('x'.repeat(300_000))],
])('%s is thrown before anything happens', (code, act) => {
  const { a } = setUp()
  expect(() => act(a.sets)).toThrow(expect.objectContaining({ code }))
  expect(a.status.get().pending).toBe(0)
})

const RUNS = Number(process.env['SYNCLINE_RUNS'] ?? 25)

test(`[OR3] whatever happens to tabs, connections and the server, ${RUNS} times: all agree, on values that were added, none of which all had removed`, async () => {
  for (let seed = 1; seed <= RUNS; seed++) {
    const world = new World(seed)
    const server = new ModelServer(world)
    const pick = (n: number): number => Math.floor(world.random() * n)
    const storages = [memory(), memory()]
    const tabs = [0, 1, 2].map((i) => {
      const tab = new Tab(world, `t${seed}-${i}`)
      const storage = storages[i % 2] as StorageAdapter
      return { tab, storage, client: open(tab, storage) }
    })
    const values = ['a', 'b', 'c', 'd']
    for (let step = 0; step < 80; step++) {
      const member = tabs[pick(3)] as (typeof tabs)[number]
      switch (pick(10)) {
        case 0:
          member.tab.kill()
          member.client = open(member.tab, member.storage)
          break
        case 1:
          member.tab.sockets.at(-1)?.drop()
          break
        case 2:
          server.isUp = !server.isUp
          if (!server.isUp) for (const session of server.sessions) session.socket.drop()
          break
        case 3:
          if (pick(2) === 0) server.persist()
          else server.crash()
          break
        default: {
          const value = values[pick(4)] as string
          if (pick(2) === 0) member.client.sets.tags('t').add(value)
          else member.client.sets.tags('t').delete(value)
          await world.settle()
        }
      }
      await world.advance(pick(300))
    }
    server.isUp = true
    await world.advance(120_000)
    // From here on there is peace: what is done now holds.
    const [last, removed] = [tabs[pick(3)] as (typeof tabs)[number], values[pick(4)] as string]
    last.client.sets.tags('t').delete(removed)
    last.client.sets.tags('t').add('end')
    await world.advance(30_000)
    const shown = tabs.map(({ client }) => [...client.sets.tags('t').get()])
    const ofServer = new Set(Object.values(server.visible('tags')))
    expect({ seed, shown }).toEqual({ seed, shown: shown.map(() => shown[0]) })
    expect(new Set(shown[0])).toEqual(ofServer)
    expect([ofServer.has(removed), ofServer.has('end')]).toEqual([false, true])
    expect(tabs.map(({ client }) => client.status.get().pending)).toEqual([0, 0, 0])
  }
}, 600_000)
