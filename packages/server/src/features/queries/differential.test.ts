import {
  compileOrder,
  compileQuery,
  isMap,
  valuesEqual,
  type Matcher,
  type QuerySpec,
  type RowOrder,
  type Value,
} from '@syncline/core'
import type { ServerMessage } from '@syncline/protocol'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { defineFeature } from '../../feature.ts'
import { builtInFeatures } from '../../features.ts'
import { FakeSocket } from '../../testing/fake-socket.ts'
import { MovableEnv, SECRET, clientOp, patch, put, remove, tokenOf } from '../../testing/harness.ts'
import { startTestServer } from '../../testing/test-server.ts'
import { FieldIndex } from './field-index.ts'
import { QuerySender, queryHandlers } from './handlers.ts'
import { queries } from './index.ts'
import { MapQueries } from './map-queries.ts'
import { QueryService } from './service.ts'
import { WindowSource } from './window-source.ts'

/** Indexes from a few rows on, and windows that hold few rows beyond their end: all that is rare happens all the time. */
const eager = defineFeature({
  name: 'queries',
  options: queries.options,
  start(kernel) {
    const service = new QueryService(kernel, new QuerySender(), {
      maxResultRows: 1_000_000,
      maxRows: 1_000_000,
      declared: {},
      minRows: 4,
      spareRows: 0,
    })
    kernel.onSessionClosed((session) => service.unsubscribeAll(session))
    return { handlers: queryHandlers(kernel, service), inspect: () => service.inspect() }
  },
})

/** A small generator of numbers from a seed (mulberry32). */
function randomFrom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * below)
  }
}

type Change =
  | { readonly op: 'put' | 'patch'; readonly key: string; readonly value: Value; readonly ttlMs?: number }
  | { readonly op: 'remove'; readonly key: string }
  | { readonly op: 'wait' }

interface Asked {
  readonly spec: QuerySpec
  /** The role decides which fields are seen. */
  readonly role: (typeof ROLES)[number]
  readonly fields?: readonly string[]
}

const ROLES = ['WHOLE', 'SOME'] as const
const SOME = ['a', 'b', 'd']
const KEYS = 48
/** Times to live end in the middle between two changes of the clock, so that no result is looked at just then. */
const WAIT_MS = 10_000

function changesFrom(random: (below: number) => number, count: number): Change[] {
  const scalar = (): Value => {
    const at = random(9)
    return at < 6 ? at : at === 6 ? 'x' : at === 7 ? null : true
  }
  const value = (): Value => {
    const fields: Record<string, Value> = {}
    for (const name of ['a', 'b', 'c']) if (random(4) > 0) fields[name] = scalar()
    if (random(3) === 0) fields['d'] = { e: scalar(), 'f.g': scalar() }
    if (random(12) === 0) fields['d.e'] = scalar()
    return fields
  }
  return Array.from({ length: count }, (): Change => {
    const key = `k${random(KEYS)}`
    const kind = random(40)
    if (kind === 0) return { op: 'wait' }
    if (kind < 7) return { op: 'remove', key }
    if (kind < 17) return { op: 'patch', key, value: value() }
    if (kind === 17) return { op: 'put', key, value: 'no map' }
    const ttlMs = random(8) === 0 ? { ttlMs: WAIT_MS * (1 + random(3)) - WAIT_MS / 2 } : {}
    return { op: 'put', key, value: value(), ...ttlMs }
  })
}

function queriesFrom(random: (below: number) => number, count: number): Asked[] {
  const field = (): string => ['a', 'b', 'c', 'd.e', 'd.f.g'][random(5)] as string
  const scalar = (): Value => (random(4) === 0 ? 'x' : random(6))
  const condition = (): unknown =>
    [
      () => scalar(),
      () => scalar(),
      () => ({ $gte: random(6) }),
      () => ({ $gt: random(4), $lte: 2 + random(4) }),
      () => ({ $in: [scalar(), scalar()] }),
      () => ({ $ne: scalar() }),
      () => ({ $exists: random(2) === 0 }),
    ][random(7)]?.()
  const where = (): Record<string, unknown> => {
    const kind = random(10)
    if (kind === 0) return {}
    if (kind === 1) return { $or: [{ [field()]: condition() }, { [field()]: condition() }] }
    if (kind === 2) return { $not: { [field()]: condition() } }
    return kind < 6 ? { [field()]: condition(), [field()]: condition() } : { [field()]: condition() }
  }
  const sort = (): Record<string, 'asc' | 'desc'> =>
    Object.fromEntries(Array.from({ length: random(3) }, () => [field(), random(2) === 0 ? 'asc' : 'desc'] as const))
  return Array.from({ length: count }, (): Asked => {
    const spec: QuerySpec = {
      ...(random(5) === 0 ? {} : { where: where() }),
      ...(random(6) === 0
        ? { predicate: { op: 'between', attribute: field(), value: [random(3), 2 + random(4)] } }
        : {}),
      ...(random(3) === 0 ? {} : { sort: sort() }),
      ...(random(3) === 0 ? {} : { limit: 1 + random(4) }),
    }
    return {
      spec,
      role: ROLES[random(2)] as Asked['role'],
      ...(random(4) === 0 ? { fields: random(2) === 0 ? ['a'] : ['b', 'd.e'] } : {}),
    }
  })
}

/** What the map holds, as the rules of data say, and what a query over it selects, worked out anew each time. */
class Model {
  readonly #held = new Map<string, { value: Value; untilMs: number }>()
  nowMs = 0

  apply(change: Change): void {
    if (change.op === 'wait') this.nowMs += WAIT_MS
    else if (change.op === 'remove') this.#held.delete(change.key)
    else if (change.op === 'put') {
      const { key, value, ttlMs = Infinity } = change
      this.#held.set(key, { value, untilMs: this.nowMs + ttlMs })
    } else {
      const held = this.#held.get(change.key)
      if (held !== undefined && isMap(held.value)) held.value = { ...held.value, ...(change.value as object) }
    }
  }

  /** Field writes are kept over a record that was removed or has expired, and over one that is no map; nobody sees them. */
  seen(role: Asked['role']): [string, Value][] {
    const seen: [string, Value][] = []
    for (const [key, { value, untilMs }] of this.#held) {
      if (untilMs < this.nowMs) continue
      if (role === 'WHOLE') seen.push([key, value])
      else if (isMap(value)) seen.push([key, only(value, SOME)])
    }
    return seen
  }
}

const only = (value: Value, names: readonly string[]): Value =>
  isMap(value) ? Object.fromEntries(Object.entries(value).filter(([name]) => names.includes(name))) : value

/** A query, the result that a client keeps of it from what it is sent, and the same evaluated from scratch. */
class Watched {
  readonly asked: Asked
  readonly rows = new Map<string, Value>()
  fault: string | undefined
  readonly #matches: Matcher
  readonly #order: RowOrder
  #version = 0

  constructor(asked: Asked) {
    this.asked = asked
    const compiled = compileQuery(asked.spec)
    if (!compiled.ok) throw new Error(compiled.error.message)
    this.#matches = compiled.value
    this.#order = compileOrder(asked.spec.sort)
  }

  take(message: ServerMessage): void {
    if (message.type === 'QUERY_RESP') {
      for (const { key, value } of message.payload.results) this.rows.set(key, value)
    } else if (message.type === 'QUERY_UPDATE') {
      const { key, value, changeType } = message.payload
      if (this.rows.has(key) !== (changeType !== 'ENTER')) this.fault = `${changeType} of ${key}`
      if (changeType === 'LEAVE') this.rows.delete(key)
      else this.rows.set(key, value)
    } else return
    const { version = this.#version } = message.payload
    if (version < this.#version) this.fault = `version ${version} after ${this.#version}`
    this.#version = version
  }

  /** What is wrong with the rows that the client holds. */
  wrong(seen: readonly [string, Value][]): string | undefined {
    if (this.fault !== undefined) return this.fault
    const { spec, fields } = this.asked
    let expected = seen.filter(([, value]) => this.#matches(value))
    if (spec.limit !== undefined && expected.length > spec.limit) {
      expected = expected.sort(([keyA, a], [keyB, b]) => this.#order(keyA, a, keyB, b)).slice(0, spec.limit)
    }
    const isSame =
      expected.length === this.rows.size &&
      expected.every(([key, value]) => {
        const held = this.rows.get(key)
        return held !== undefined && valuesEqual(held, fields === undefined ? value : only(value, fields))
      })
    return isSame ? undefined : `${JSON.stringify([...this.rows])} instead of ${JSON.stringify(expected)}`
  }
}

interface Fault {
  readonly step: number
  readonly query: number
  readonly what: string
}

/** Rows that are here before the queries are asked. */
const BEFORE = 40

/** Makes the changes one by one; answers the first at which the result of a query is not what it should be. */
async function run(changes: readonly Change[], asked: readonly Asked[]): Promise<Fault | undefined> {
  const env = new MovableEnv()
  const startMs = env.now()
  let offsetMs = 0
  vi.spyOn(env, 'now').mockImplementation(() => startMs + offsetMs)
  await using server = await startTestServer({
    env,
    features: builtInFeatures.map((feature) => (feature.name === 'queries' ? eager : feature)) as never,
    jwtSecret: SECRET,
    auth: 'jwt',
    connections: { idleTimeout: 1e12, authTimeout: 1e12 },
    rateLimiting: { enabled: false },
    securityPolicies: [
      { role: 'WHOLE', mapNamePattern: '*', actions: ['ALL'] },
      { role: 'SOME', mapNamePattern: '*', actions: ['READ'], allowedFields: SOME },
    ],
  })
  const connect = async (role: Asked['role']): Promise<FakeSocket> => {
    const socket = new FakeSocket(server.server)
    socket.receive({ type: 'AUTH', token: tokenOf(role, role) })
    await settle()
    socket.receive({ type: 'SYNC_STOP', mapName: 'm' })
    return socket
  }
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  const settle = async (turns = 4): Promise<void> => {
    for (let i = 0; i < turns; i++) await turn()
  }
  const writer = await connect('WHOLE')
  const model = new Model()
  let counter = 0
  const make = (change: Change): void => {
    model.apply(change)
    if (change.op === 'wait') {
      offsetMs += WAIT_MS
      env.advance(WAIT_MS)
      return
    }
    const stamp = { millis: env.now(), counter: counter++ % 60_000, nodeId: `n${String(Math.floor(counter / 60_000))}` }
    const op =
      change.op === 'remove'
        ? remove('m', change.key, { stamp })
        : change.op === 'patch'
          ? patch('m', change.key, change.value, { stamp })
          : put('m', change.key, change.value, {
              stamp,
              ...(change.ttlMs === undefined ? {} : { ttlMs: change.ttlMs }),
            })
    writer.receive(clientOp(op))
  }
  for (const change of changes.slice(0, BEFORE)) make(change)
  await settle()
  const watched = asked.map((each) => new Watched(each))
  const sockets: FakeSocket[] = []
  for (const role of ROLES) {
    const ofRole = watched.filter((each) => each.asked.role === role)
    for (let from = 0; from < ofRole.length; from += 50) {
      const socket = await connect(role)
      sockets.push(socket)
      for (const each of ofRole.slice(from, from + 50)) {
        const { spec, fields } = each.asked
        const queryId = String(watched.indexOf(each))
        socket.receive({
          type: 'QUERY_SUB',
          payload: { queryId, mapName: 'm', query: spec, ...(fields === undefined ? {} : { fields }) },
        })
        await settle(1)
      }
    }
  }
  const isAnswered = (): boolean => {
    const answers = sockets.flatMap(({ written }) => written.filter(({ type }) => type === 'QUERY_RESP'))
    return answers.length === asked.length
  }
  for (let turns = 0; turns < 5_000 && !isAnswered(); turns++) await turn()
  await settle(100)
  for (let step = BEFORE; step <= changes.length; step++) {
    for (const socket of sockets) {
      for (const message of socket.written.splice(0)) {
        if (message.type === 'ERROR') throw new Error(JSON.stringify(message.payload))
        if (message.type === 'QUERY_RESP' || message.type === 'QUERY_UPDATE') {
          watched[Number(message.payload.queryId)]?.take(message)
        }
      }
    }
    const seen = { WHOLE: model.seen('WHOLE'), SOME: model.seen('SOME') }
    for (const [query, each] of watched.entries()) {
      const what = each.wrong(seen[each.asked.role])
      if (what !== undefined) return { step, query, what }
    }
    const change = changes[step]
    if (change === undefined) break
    make(change)
    writer.written.length = 0
    await settle(3)
  }
  return undefined
}

/** Leaves out changes for as long as the query still goes wrong. */
async function shrink(
  all: readonly Change[],
  { step, query, what: first }: Fault,
  asked: readonly Asked[],
): Promise<string> {
  const one = asked.slice(query, query + 1)
  let changes = all.slice(0, step + 1)
  let what = await run(changes, one)
  if (what === undefined)
    return `only beside the other queries: ${JSON.stringify(one[0])}: ${all.length} changes, ${first}`
  for (let size = Math.ceil(changes.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < changes.length;) {
      const fewer = [...changes.slice(0, at), ...changes.slice(at + size)]
      const still = await run(fewer, one)
      if (still === undefined) at += size
      else [changes, what] = [fewer.slice(0, still.step + 1), still]
    }
  }
  return [
    `query ${JSON.stringify(one[0])}`,
    ...changes.map((change) => JSON.stringify(change)),
    `${what.what} after change ${what.step}, with the first ${BEFORE} made before it is asked`,
  ].join('\n')
}

async function check(seed: number, changeCount: number, queryCount: number): Promise<void> {
  const random = randomFrom(seed)
  const asked = queriesFrom(random, queryCount)
  const changes = changesFrom(random, changeCount)
  const fault = await run(changes, asked)
  if (fault !== undefined) throw new Error(`Seed ${seed}, change ${fault.step}\n${await shrink(changes, fault, asked)}`)
}

describe('INV-15: live queries against evaluation from scratch', () => {
  test('INV-15 INV-21: after each of 10,000 changes each of 200 results is what its query selects of what its reader may see', async () => {
    await check(Number(process.env['SYNCLINE_SEED'] ?? 1), 10_000, 200)
  }, 300_000)

  afterEach(() => vi.restoreAllMocks())

  test.each<[string, () => void]>([
    ['an index is not kept up', () => void vi.spyOn(FieldIndex.prototype, 'refresh').mockImplementation(() => {})],
    [
      'a window is not filled again',
      () => {
        // oxlint-disable-next-line typescript/unbound-method -- it is called on each window below
        const draw = WindowSource.prototype.draw
        let draws = 0
        vi.spyOn(WindowSource.prototype, 'draw').mockImplementation(function (this: WindowSource, ...args) {
          const drawn = draw.apply(this, args)
          return ++draws < 60 ? drawn : { rows: [], isWhole: true, isCutOff: false, looked: 0 }
        })
      },
    ],
    [
      'it is not noticed what rows were before they left',
      () => {
        // oxlint-disable-next-line typescript/unbound-method -- it is called on each map below
        const concerned = MapQueries.prototype.concerned
        vi.spyOn(MapQueries.prototype, 'concerned').mockImplementation(function (this: MapQueries, entries) {
          entries[0]?.map.previous?.clear()
          return concerned.call(this, entries)
        })
      },
    ],
  ])(
    'goes red where %s',
    async (_, breakIt) => {
      breakIt()
      const random = randomFrom(2)
      const asked = queriesFrom(random, 60)
      expect(await run(changesFrom(random, 2_000), asked)).toBeDefined()
    },
    60_000,
  )
})
