import type { ClientMessage, LockGranted, LockReleased, OpAck, ServerMessage } from '@syncline/protocol'
import { memoryStorage, StorageError } from '@syncline/storage'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createServer } from '../../server.ts'
import type { SynclineServer } from '../../syncline-server.ts'
import { FakeSocket } from '../../testing/fake-socket.ts'
import { GatedStorage, clientOp, put } from '../../testing/harness.ts'
import { isLinearizable, type Model, type Operation } from '../../testing/linearizable.ts'
import { ManualClock } from '../../testing/manual-env.ts'

const RUNS = Number(process.env['LOCK_HISTORIES'] ?? 500)
const NAMES = ['a', 'b'] as const
const CLIENTS = 3

type Action =
  | { readonly kind: 'grant' | 'write' | 'stale' | 'release'; readonly token: number }
  | { readonly kind: 'restart' }

interface LockState {
  readonly token: number
  /** The server has not been started anew since the token was granted. */
  readonly isFresh: boolean
}

/** A lock as INV-19 has it: tokens rise, and a write passes under the latest one and no other. */
const lockModel: Model<LockState, Action> = {
  initial: { token: 0, isFresh: false },
  step(state, action) {
    if (action.kind === 'restart') return { ...state, isFresh: false }
    const isLatest = state.isFresh && action.token === state.token
    if (action.kind === 'grant') {
      return isLatest || action.token > state.token ? { token: action.token, isFresh: true } : undefined
    }
    if (action.kind === 'stale') return isLatest ? undefined : state
    return isLatest ? state : undefined
  },
  keyOf: ({ token, isFresh }) => `${token}${isFresh}`,
}

type Step =
  | {
      readonly do: 'ask'
      readonly client: number
      readonly name: number
      readonly ttl: number
      readonly waitMs?: number
    }
  | { readonly do: 'renew' | 'release' | 'cancel'; readonly client: number; readonly name: number }
  | {
      readonly do: 'write'
      readonly client: number
      readonly name: number
      readonly nth: number
      readonly skewMs: number
    }
  | { readonly do: 'deliver' | 'hear' | 'cut'; readonly client: number }
  | { readonly do: 'pass'; readonly ms: number }
  | { readonly do: 'crash' | 'stop'; readonly skewMs: number }
  | { readonly do: 'fail' | 'mend' }

/** A message on its way to the server, and what is known of the operation that it begins. */
interface Sent {
  readonly message: ClientMessage
  readonly id: string
}

interface Pending {
  readonly name: string
  readonly invokedAt: number
  readonly kind: 'ask' | 'release' | 'write'
  readonly token: number
}

class Client {
  socket: FakeSocket | undefined
  readonly outgoing: Sent[] = []
  heard = 0
  readonly tokens = new Map<string, number>()
  readonly asked = new Map<string, string>()
}

/** Several clients, a network that delays and cuts, and a server that crashes, under one clock. */
class World {
  readonly clock = new ManualClock()
  readonly #storage = memoryStorage()
  readonly #clients = Array.from({ length: CLIENTS }, () => new Client())
  readonly #pending = new Map<string, Pending>()
  readonly #tokens: number[] = []
  readonly history = new Map<string, Operation<Action>[]>(NAMES.map((name) => [name, []]))
  readonly breaches: string[] = []
  readonly counts = { granted: 0, written: 0, stale: 0, crashes: 0 }
  #server!: SynclineServer
  #kill = (): void => {}
  #gate!: GatedStorage
  #time = 0
  #ids = 0
  /** What the server has said, in its order: who holds each lock, until when, and who waits for it. */
  readonly #held = new Map<
    string,
    { readonly socket: FakeSocket; requestId: string; readonly token: number; untilMs: number }
  >()
  readonly #greatest = new Map<string, number>()
  readonly #queue = new Map<string, string[]>(NAMES.map((name) => [name, []]))
  readonly #told = new Map<FakeSocket, number>()
  readonly #ttlById = new Map<string, number>()
  readonly #tokenById = new Map<string, number>()

  async start(): Promise<void> {
    const { env, kill } = this.clock.env()
    this.#kill = kill
    this.#gate = new GatedStorage(this.#storage, true)
    this.#server = createServer({
      env,
      storage: this.#gate,
      mode: 'development',
      auth: 'none',
      listen: false,
      rateLimiting: { enabled: false },
    })
    await this.#server.ready()
    for (const client of this.#clients) this.#connect(client)
  }

  async run(steps: readonly Step[]): Promise<void> {
    await this.start()
    for (const step of steps) await this.#do(step)
    await this.#do({ do: 'mend' })
    for (let i = 0; i < 3; i++) {
      for (let client = 0; client < CLIENTS; client++) {
        while ((this.#clients[client]?.outgoing.length ?? 0) > 0) await this.#do({ do: 'deliver', client })
      }
      await this.#do({ do: 'pass', ms: 2_000 })
    }
    for (let client = 0; client < CLIENTS; client++) await this.#do({ do: 'hear', client })
    // What was never answered may have happened.
    for (const [id, pending] of this.#pending) this.#note(id, pending, Infinity, undefined)
    await this.#server.shutdown()
  }

  async #do(step: Step): Promise<void> {
    this.#time++
    switch (step.do) {
      case 'ask':
      case 'renew':
      case 'release':
      case 'cancel':
      case 'write':
        this.#send(step)
        break
      case 'deliver': {
        const client = this.#clients[step.client] as Client
        const sent = client.outgoing.shift()
        if (sent === undefined) break
        if (sent.message.type === 'LOCK_REQUEST') this.#queue.get(sent.message.payload.name)?.push(sent.id)
        client.socket?.receive(sent.message)
        await this.#settle()
        break
      }
      case 'hear':
        this.#hear(this.#clients[step.client] as Client)
        break
      case 'cut': {
        const client = this.#clients[step.client] as Client
        const { socket } = client
        // First it ends for the model: what that frees is granted at once.
        this.#ended(socket)
        socket?.end()
        await this.#settle()
        this.#connect(client)
        break
      }
      case 'pass':
        await this.clock.advance(step.ms, () => this.#settle())
        break
      case 'crash':
      case 'stop':
        await this.#restart(step.do === 'crash', step.skewMs)
        break
      case 'fail':
        this.#gate.fault = () => new StorageError('unavailable', 'Gone.')
        break
      case 'mend':
        this.#gate.fault = undefined
        await this.clock.advance(1_500, () => this.#settle())
    }
  }

  async #restart(isCrash: boolean, skewMs: number): Promise<void> {
    this.counts.crashes++
    this.#gate.fault = undefined
    for (const client of this.#clients) this.#ended(client.socket)
    if (isCrash) {
      this.#kill()
      this.#gate.fault = () => new StorageError('unavailable', 'This process is dead.')
      await this.#storage.close()
    } else {
      const stopped = this.#server.shutdown()
      await this.#settle()
      await this.clock.advance(60_000, () => this.#settle())
      await stopped
    }
    this.clock.skewMs = skewMs
    for (const operations of this.history.values()) {
      operations.push({ action: { kind: 'restart' }, invokedAt: this.#time, returnedAt: this.#time })
    }
    await this.start()
  }

  #send(step: Extract<Step, { name: number }>): void {
    const client = this.#clients[step.client] as Client
    const name = NAMES[step.name] as string
    const id = `r${++this.#ids}`
    const token = client.tokens.get(name)
    const push = (message: ClientMessage, pending: Omit<Pending, 'name' | 'invokedAt'>): void => {
      client.outgoing.push({ message, id })
      this.#pending.set(id, { name, invokedAt: this.#time, ...pending })
    }
    if (step.do === 'ask') {
      const { ttl, waitMs } = step
      client.asked.set(name, id)
      this.#ttlById.set(id, ttl)
      const more = waitMs === undefined ? {} : { waitMs }
      push({ type: 'LOCK_REQUEST', payload: { requestId: id, name, ttl, ...more } }, { kind: 'ask', token: 0 })
    } else if (step.do === 'write') {
      const known = this.#tokens[step.nth % Math.max(1, this.#tokens.length)]
      if (known === undefined) return
      const stamp = { millis: 1_700_000_000_000 + this.#time + step.skewMs, counter: 0, nodeId: `n${step.client}` }
      const fence = { name, token: known }
      push(clientOp(put('m', name, known, { id, stamp, fence })), { kind: 'write', token: known })
    } else if (step.do === 'cancel') {
      const requestId = client.asked.get(name)
      if (requestId === undefined) return
      client.outgoing.push({ message: { type: 'LOCK_RELEASE', payload: { requestId, name } }, id })
    } else if (token === undefined) return
    else if (step.do === 'renew') {
      this.#ttlById.set(id, 50)
      const payload = { requestId: id, name, ttl: 50, fencingToken: token }
      push({ type: 'LOCK_REQUEST', payload }, { kind: 'ask', token })
    } else {
      push({ type: 'LOCK_RELEASE', payload: { requestId: id, name, fencingToken: token } }, { kind: 'release', token })
    }
  }

  #connect(client: Client): void {
    client.socket = new FakeSocket(this.#server)
    client.outgoing.length = 0
    client.heard = 0
    client.tokens.clear()
    client.asked.clear()
  }

  /** What the server does at the end of a connection, or of itself. */
  #ended(socket: FakeSocket | undefined): void {
    for (const [name, held] of this.#held) if (held.socket === socket) this.#held.delete(name)
  }

  async #settle(): Promise<void> {
    for (let turn = 0; turn < 6; turn++) await new Promise((resolve) => setImmediate(resolve))
    this.#watch()
  }

  /** Looks at what the server says when it says it, before a network delays it: first at what makes locks free. */
  #watch(): void {
    const said: (readonly [FakeSocket, ServerMessage])[] = []
    for (const { socket } of this.#clients) {
      if (socket === undefined) continue
      for (const message of socket.written.slice(this.#told.get(socket) ?? 0)) said.push([socket, message])
      this.#told.set(socket, socket.written.length)
    }
    for (const [socket, message] of said) if (message.type === 'LOCK_RELEASED') this.#released(socket, message.payload)
    for (const [socket, message] of said) if (message.type === 'LOCK_GRANTED') this.#granted(socket, message.payload)
  }

  #granted(socket: FakeSocket, { requestId, name, fencingToken }: LockGranted['payload']): void {
    const nowMs = this.clock.elapsedMs
    const held = this.#held.get(name)
    const untilMs = nowMs + (this.#ttlById.get(requestId) ?? 0)
    this.counts.granted++
    this.#tokenById.set(requestId, fencingToken)
    if (held?.token === fencingToken) {
      if (held.socket !== socket) this.breaches.push(`Token ${fencingToken} was given to two connections`)
      held.untilMs = untilMs
      held.requestId = requestId
    } else {
      if (held !== undefined && held.socket !== socket && nowMs < held.untilMs)
        this.breaches.push(`Lock ${name} was granted with ${fencingToken} during the lease of ${held.token}`)
      const greatest = this.#greatest.get(name) ?? 0
      this.#greatest.set(name, fencingToken)
      if (fencingToken <= greatest) this.breaches.push(`Token ${fencingToken} came after ${greatest}`)
      this.#tokens.push(fencingToken)
      this.#held.set(name, { socket, requestId, token: fencingToken, untilMs })
      this.#isFirst(name, requestId)
    }
    this.#unqueue(name, requestId)
  }

  /** Among those that wait on live connections, the one that came first has the lock. */
  #isFirst(name: string, requestId: string): void {
    const alive = new Set(this.#clients.flatMap(({ asked }) => [...asked.values()]))
    const first = this.#queue.get(name)?.find((id) => alive.has(id))
    if (first !== undefined && alive.has(requestId) && first !== requestId)
      this.breaches.push(`Request ${requestId} had lock ${name} before ${first}`)
  }

  #released(socket: FakeSocket, { requestId = '', name, success }: LockReleased['payload']): void {
    const held = this.#held.get(name)
    // Without a token it ended the request, which may still have waited.
    const isEnd = this.#pending.get(requestId)?.kind === 'release' || held?.requestId === requestId
    if (success && held?.socket === socket && isEnd) this.#held.delete(name)
    this.#unqueue(name, requestId)
  }

  #unqueue(name: string, requestId: string): void {
    const queue = this.#queue.get(name) as string[]
    const at = queue.indexOf(requestId)
    if (at >= 0) queue.splice(at, 1)
  }

  /** What has arrived at a client since it last looked. */
  #hear(client: Client): void {
    const { socket } = client
    if (socket === undefined) return
    for (const message of socket.written.slice(client.heard)) this.#heard(client, message)
    client.heard = socket.written.length
  }

  #heard(client: Client, message: ServerMessage): void {
    if (message.type === 'LOCK_GRANTED') {
      const { requestId, name, fencingToken } = message.payload
      client.tokens.set(name, fencingToken)
      this.#answered(requestId, { kind: 'grant', token: fencingToken })
    } else if (message.type === 'LOCK_RELEASED') {
      const { requestId = '', success } = message.payload
      const pending = this.#pending.get(requestId)
      this.#answered(
        requestId,
        success && pending?.kind === 'release' ? { kind: 'release', token: pending.token } : undefined,
      )
    } else if (message.type === 'OP_ACK') this.#acknowledged(message)
  }

  #acknowledged({ payload: { results } }: OpAck): void {
    for (const { opId, success, errorCode } of results) {
      const pending = this.#pending.get(opId)
      if (pending === undefined) continue
      if (success) this.counts.written++
      if (errorCode === 'STALE_TOKEN') this.counts.stale++
      const kind = success ? 'write' : errorCode === 'STALE_TOKEN' ? 'stale' : undefined
      this.#answered(opId, kind === undefined ? undefined : { kind, token: pending.token })
    }
  }

  #answered(id: string, action: Action | undefined): void {
    const pending = this.#pending.get(id)
    if (pending === undefined) return
    this.#pending.delete(id)
    this.#note(id, pending, this.#time, action)
  }

  #note(id: string, { name, invokedAt, kind, token }: Pending, returnedAt: number, answer: Action | undefined): void {
    const action = answer ?? (returnedAt === Infinity ? this.#unheard(id, kind, token) : undefined)
    if (action !== undefined) this.history.get(name)?.push({ action, invokedAt, returnedAt })
  }

  /** What may have happened though nobody heard of it. */
  #unheard(id: string, kind: Pending['kind'], token: number): Action | undefined {
    if (kind !== 'ask') return { kind, token }
    const granted = this.#tokenById.get(id)
    return granted === undefined ? undefined : { kind: 'grant', token: granted }
  }
}

const client = fc.nat(CLIENTS - 1)
const name = fc.nat(NAMES.length - 1)
const skewMs = fc.constantFrom(0, 0, -50_000, 50_000, -86_400_000, 3_600_000)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('ask' as const), client, name, ttl: fc.constantFrom(1, 20, 200, 5_000) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      client,
      name,
      ttl: fc.constantFrom(20, 200),
      waitMs: fc.constantFrom(0, 30),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom('renew' as const, 'release' as const, 'cancel' as const),
      client,
      name,
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      client,
      name,
      nth: fc.nat(30),
      skewMs: fc.constantFrom(0, -30_000, 30_000),
    }),
  },
  {
    weight: 16,
    arbitrary: fc.record({ do: fc.constantFrom('deliver' as const, 'deliver' as const, 'hear' as const), client }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cut' as const), client }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1, 25, 210) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('crash' as const, 'stop' as const), skewMs }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('fail' as const, 'mend' as const) }) },
)

describe('histories of locks under cuts, crashes, late messages, lost storage and skewed clocks', () => {
  test(
    `INV-19 [LK3] [LK8] [LK9]: ${RUNS} of them: tokens rise, leases do not overlap, requests keep their order, and all is linearizable`,
    { timeout: 120_000 },
    async () => {
      const counts = { granted: 0, written: 0, stale: 0, crashes: 0 }
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 70, size: 'max' }), async (steps) => {
          const world = new World()
          await world.run(steps)
          for (const key of Object.keys(counts) as (keyof typeof counts)[]) counts[key] += world.counts[key]
          expect(world.breaches).toEqual([])
          for (const operations of world.history.values()) {
            if (!isLinearizable(operations, lockModel))
              throw new Error(`Not linearizable: ${JSON.stringify(operations)}`)
          }
        }),
        { numRuns: RUNS },
      )
      // The schedules meet what they are for.
      expect(counts.granted).toBeGreaterThan(RUNS * 2)
      expect(counts.written).toBeGreaterThan(RUNS / 4)
      expect(counts.stale).toBeGreaterThan(RUNS / 4)
      expect(counts.crashes).toBeGreaterThan(RUNS / 4)
    },
  )
})
