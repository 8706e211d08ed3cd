import * as v from 'valibot'
import { expect, test } from 'vitest'
import { scene, stamp, type Scene } from '../../test/harness.ts'
import { Tab, World } from '../../test/virtual-env.ts'
import { defineContract, memory, set } from '../index.ts'

const contract = defineContract({ sets: { tags: set({ schema: v.string() }) } })

/** How one key is written and removed: in a set, and in a map. */
interface Place {
  readonly mapName: string
  readonly add: () => void
  readonly remove: () => void
  readonly isShown: () => boolean
}

const places: readonly [string, (self: Scene) => Place][] = [
  [
    'an item of a set',
    ({ client }) => {
      const tags = (client as unknown as { sets: { tags: (name: string) => Tags } }).sets.tags('t1')
      return { mapName: 'tags', add: () => tags.add('x'), remove: () => tags.delete('x'), isShown: () => tags.has('x') }
    },
  ],
  [
    'a key of a map',
    ({ client }) => {
      const todos = client.map<number>('todos')
      const add = (): void => void todos.set('x', 1)
      return { mapName: 'todos', add, remove: () => void todos.delete('x'), isShown: () => todos.has('x') }
    },
  ],
]

interface Tags {
  add: (value: string) => void
  delete: (value: string) => void
  has: (value: string) => boolean
}

async function setUp(open: (self: Scene) => Place) {
  const world = new World()
  const given = { world, storage: memory(), tab: new Tab(world, 'tab') }
  const start = async (): Promise<{ self: Scene; place: Place }> => {
    const self = await scene({ contract }, given)
    return { self, place: open(self) }
  }
  return { ...(await start()), given, start }
}

async function begin(self: Scene, { mapName }: Place, seq = 9): Promise<void> {
  await self.greet()
  await self.page(mapName, [], { seq })
  await self.world.advance(100)
}

/** Answers every op that was sent, all of them with a code, or with success. */
async function answer(self: Scene, errorCode?: string): Promise<void> {
  const { world } = self
  const results = self.ops().map(({ id }) => ({
    opId: id,
    success: errorCode === undefined,
    achievedLevel: 'MEMORY',
    latencyMs: 1,
    ...(errorCode === undefined ? { seq: 10 } : { errorCode, details: { prunedThrough: stamp(world, 1_000) } }),
  }))
  await self.say({ type: 'OP_ACK', payload: { lastId: results.at(-1)?.opId, results } })
  await world.advance(1_000)
}

test.each(places)(
  'INV-12 [RT5] %s that was added, and removed before the answer was heard, does not come back after weeks',
  async (_, open) => {
    const { self, place } = await setUp(open)
    await begin(self, place)
    place.add()
    await self.world.settle()
    expect(self.ops()).toHaveLength(1)
    self.socket.drop()
    place.remove()
    expect(place.isShown()).toBe(false)
    await self.world.advance(5_000)
    await begin(self, place)
    await answer(self, 'STALE')
    expect(place.isShown()).toBe(false)
    // It was refused all the same, and is told so.
    expect(self.events[0]).toMatchObject(['rejected', { error: { code: 'STALE' } }])
    expect(self.client.pending.get()).toMatchObject([{ op: 'PUT', status: 'rejected' }])
  },
)

test.each(places)(
  'INV-12 %s whose addition was refused does not come up when its removal is forgotten',
  async (_, open) => {
    const { self, place, given, start } = await setUp(open)
    await begin(self, place)
    place.add()
    await self.world.settle()
    await answer(self, 'VALIDATION_ERROR')
    expect(place.isShown()).toBe(true)
    place.remove()
    await self.world.settle()
    const [removal] = self.socket.take().filter(({ type }) => type === 'OP_BATCH') as never as [
      {
        payload: {
          ops: [{ id: string; key: string; orTag?: string; timestamp?: never; record?: { timestamp: never } }]
        }
      },
    ]
    const [{ id, key, orTag, timestamp, record }] = removal.payload.ops
    await self.ack([id], 10)
    const removed = { value: null, timestamp: (timestamp ?? record?.timestamp) as never }
    const keyed = { key: orTag === undefined ? key : `${orTag}:${key}`, record: removed, seq: 10 }
    const event = {
      mapName: place.mapName,
      cursor: 'c10',
      seq: 10,
      events: [{ ...keyed, mapName: place.mapName, eventType: 'REMOVE' }],
    }
    await self.say({ type: 'SERVER_BATCH_EVENT', payload: event })
    expect([place.isShown(), self.client.status.get().pending]).toEqual([false, 0])
    await self.say({
      type: 'SERVER_BATCH_EVENT',
      payload: { mapName: place.mapName, cursor: 'c11', seq: 11, events: [], prunedThroughSeq: 10 },
    })
    expect(place.isShown()).toBe(false)
    await self.world.advance(1_000)
    given.tab.kill()
    const next = await start()
    await next.self.world.advance(1_000)
    expect([next.place.isShown(), next.self.client.pending.get()]).toMatchObject([false, [{ status: 'rejected' }]])
  },
)
