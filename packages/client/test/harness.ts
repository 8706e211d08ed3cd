import type { Stamp, Value } from '@syncline/core'
import type { KeyedRecord, OpBatchMessage, SyncDiff } from '@syncline/protocol/codec'
import { createClient, memory, type Client, type ClientEvents, type ClientOptions } from '../src/index.ts'
import { Tab, World, type VirtualSocket } from './virtual-env.ts'

type AnyMessage = Record<string, unknown> & { readonly type: string; readonly payload: Record<string, unknown> }

/** One client on a virtual clock, whose server is the test. */
export interface Scene {
  readonly world: World
  readonly tab: Tab
  readonly client: Client
  readonly events: [keyof ClientEvents, ClientEvents[keyof ClientEvents]][]
  readonly socket: VirtualSocket
  /** Greets, so that a session begins without a token. */
  readonly greet: () => Promise<void>
  /** Answers SYNC_INIT of a map with one closing page. */
  readonly page: (
    mapName: string,
    records?: readonly KeyedRecord[],
    more?: Partial<SyncDiff['payload']>,
  ) => Promise<void>
  readonly say: (message: unknown) => Promise<void>
  /** The frames of a type that the client sent since the last call, taken out of the rest. */
  readonly sent: (type: string) => AnyMessage[]
  /** The ops that the client sent since the last call. */
  readonly ops: () => OpBatchMessage['payload']['ops'][number][]
  /** Acknowledges ops at a position. */
  readonly ack: (ids: readonly string[], seq: number, more?: Record<string, unknown>) => Promise<void>
  readonly event: (
    key: string,
    value: Value,
    seq: number,
    stamp: Stamp,
    more?: Record<string, unknown>,
  ) => Promise<void>
}

/** A stamp near the world's time, of another writer. */
export function stamp(world: World, offsetMs = 0, nodeId = 'other', counter = 0): Stamp {
  return { millis: world.nowMs + offsetMs, counter, nodeId }
}

/** What a promise that must fail fails with. Asked for before time passes, it is no unhandled rejection. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  const outcome = await promise.then(
    () => 'success',
    (error: unknown) => ({ error }),
  )
  if (typeof outcome === 'string') throw new Error('It succeeded.')
  return outcome.error
}

/** Starts a client whose server is the test. */
export async function scene(
  options: ClientOptions = {},
  given: { world?: World; tab?: Tab; storage?: ReturnType<typeof memory> } = {},
): Promise<Scene> {
  const world = given.world ?? new World()
  const tab = given.tab ?? new Tab(world, 'tab')
  const client: Client = createClient({
    url: 'ws://server/ws',
    env: tab.env(),
    storage: given.storage ?? memory(),
    ...options,
  })
  const events: Scene['events'] = []
  for (const name of ['rejected', 'conflict', 'error', 'upgrade-required'] as const) {
    client.on(name, (event) => events.push([name, event]))
  }
  await world.settle()
  const self: Scene = {
    world,
    tab,
    client,
    events,
    get socket() {
      return tab.socket
    },
    async greet() {
      self.socket.say({ type: 'AUTH_REQUIRED', serverTime: world.nowMs, protocolVersion: 1, optional: true })
      await world.settle()
    },
    async page(mapName, records = [], more = {}) {
      const seq = more.seq ?? Math.max(0, ...records.map((record) => record.seq ?? 0))
      // A digest says that the whole map may be read. This one differs from every base, so that a walk may begin.
      const digest = more.more === true ? undefined : 'ffffffffffffffff'
      const payload = { mapName, records, cursor: `c${seq}`, seq, more: false, digest, ...more }
      await self.say({ type: 'SYNC_DIFF', payload })
    },
    async say(message) {
      self.socket.say(message)
      await world.settle()
    },
    sent(type) {
      const all = self.socket.take()
      const found = all.filter((message) => message['type'] === type)
      self.socket.sent.push(...all.filter((message) => message['type'] !== type))
      return found as AnyMessage[]
    },
    ops() {
      return self.sent('OP_BATCH').flatMap((message) => (message as unknown as OpBatchMessage).payload.ops)
    },
    async ack(ids, seq, more = {}) {
      const results = ids.map((opId) => ({ opId, success: true, achievedLevel: 'MEMORY', latencyMs: 1, seq, ...more }))
      await self.say({ type: 'OP_ACK', payload: { lastId: ids.at(-1), results } })
    },
    async event(key, value, seq, timestamp, more = {}) {
      const payload = { mapName: 'todos', eventType: value === null ? 'REMOVE' : 'PUT', key, seq, cursor: `c${seq}` }
      await self.say({ type: 'SERVER_EVENT', payload: { ...payload, record: { value, timestamp }, ...more } })
    },
  }
  return self
}

/** A scene in which the map 'todos' is in step with the server. */
export async function liveScene(
  records: readonly KeyedRecord[] = [],
  options: ClientOptions = {},
  given: Parameters<typeof scene>[1] = {},
): Promise<Scene> {
  const self = await scene(options, given)
  self.client.map('todos')
  await self.greet()
  await self.page('todos', records)
  self.socket.take()
  return self
}
