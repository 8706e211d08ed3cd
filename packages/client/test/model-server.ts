import {
  MAX_CLOCK_DRIFT_MS,
  ZERO_STAMP,
  compareStamps,
  counterRecord,
  isAheadOfClock,
  maxStamp,
  mergeItems,
  mergeRecords,
  wholeWrite,
  type CounterRow,
  type LwwRecord,
  type Stamp,
} from '@syncline/core'
import { MerkleTrie, fnv1a, stampDigest, stateDigest } from '@syncline/core/merkle'
import {
  decodeJson,
  encodeJson,
  toWireRecord,
  type ClientMessage,
  type ClientOp,
  type OpResult,
  type ServerMessage,
} from '@syncline/protocol/codec'
import { applyOp, plainOp } from './model-ops.ts'
import type { VirtualSocket, World } from './virtual-env.ts'

interface Entry {
  readonly record: LwwRecord
  readonly seq: number
}

interface ModelMap {
  readonly entries: Map<string, Entry>
  prunedThroughSeq: number
  prunedThroughStamp: Stamp
  /** It is an OR-map. */
  isItems: boolean
}

interface Follower {
  readonly mapName: string
  readonly floor: number
  seq: number
  phase: 'diff' | 'live'
  isFirst: boolean
}

interface Session {
  readonly socket: VirtualSocket
  readonly followers: Map<string, Follower>
  /** Who signed in, where the server asks for that: the token is the name. */
  user: string | undefined
  toClientAt: number
  toServerAt: number
}

/**
 * The rules of the server in as few words as possible: one database, whole-map readers, no levels, and no rights but that
 * each user has maps of their own where users sign in.
 */
export class ModelServer {
  readonly world: World
  readonly maps = new Map<string, ModelMap>()
  readonly sessions = new Set<Session>()
  readonly lost: [number, number][] = []
  /** Every op that was ever accepted, by its stamp: what the end must show. */
  readonly accepted: ClientOp[] = []
  /** Whose session brought an op. */
  readonly usersByOp = new Map<string, Set<string | undefined>>()
  /** Sessions begin with the name of a user. */
  hasUsers = false
  /** Ops that are refused for good. */
  refuses: (op: ClientOp) => boolean = () => false
  seq = 0
  pageSize = 3
  latencyMs = 40
  isUp = true
  #durable: { maps: Map<string, ModelMap>; seq: number } = { maps: new Map(), seq: 0 }

  constructor(world: World) {
    this.world = world
    world.connect = (socket) => this.#connect(socket)
  }

  /** Flushes everything to the disk. */
  persist(): void {
    this.#durable = { maps: copyMaps(this.maps), seq: this.seq }
  }

  /** Loses what was not flushed, and goes on above every seq that it gave out. */
  crash(): void {
    for (const session of this.sessions) session.socket.drop(1006)
    this.sessions.clear()
    if (this.seq > this.#durable.seq) this.lost.push([this.#durable.seq, this.seq])
    this.maps.clear()
    for (const [name, map] of copyMaps(this.#durable.maps)) this.maps.set(name, map)
    this.#durable = { maps: copyMaps(this.maps), seq: this.seq }
  }

  /** Forgets all tombstones of a map. */
  prune(mapName: string): void {
    const map = this.map(mapName)
    for (const [key, { record, seq }] of map.entries) {
      if (record.value !== null) continue
      map.entries.delete(key)
      map.prunedThroughSeq = Math.max(map.prunedThroughSeq, seq)
      map.prunedThroughStamp = maxStamp(map.prunedThroughStamp, record.timestamp)
    }
    this.persist()
    for (const session of this.sessions) {
      const follower = session.followers.get(mapName)
      if (follower?.phase !== 'live') continue
      follower.seq = ++this.seq
      const payload = { mapName, events: [], ...this.#position(follower), prunedThroughSeq: map.prunedThroughSeq }
      this.#say(session, { type: 'SERVER_BATCH_EVENT', payload })
    }
  }

  map(name: string): ModelMap {
    let map = this.maps.get(name)
    if (map === undefined) {
      this.maps.set(
        name,
        (map = { entries: new Map(), prunedThroughSeq: 0, prunedThroughStamp: ZERO_STAMP, isItems: false }),
      )
    }
    return map
  }

  /** What readers see of a map. */
  visible(mapName: string): Record<string, unknown> {
    const shown: Record<string, unknown> = {}
    for (const [key, { record }] of this.map(mapName).entries) if (record.value !== null) shown[key] = record.value
    return shown
  }

  #connect(socket: VirtualSocket): void {
    const session: Session = { socket, followers: new Map(), user: undefined, toClientAt: 0, toServerAt: 0 }
    socket.onGone = () => this.sessions.delete(session)
    if (!this.isUp) {
      this.world.after(5, () => socket.drop(1006))
      return
    }
    this.sessions.add(session)
    socket.onSent = (text) => {
      session.toServerAt = Math.max(session.toServerAt, this.world.nowMs + this.world.random() * this.latencyMs)
      this.world.after(session.toServerAt - this.world.nowMs, () => {
        if (!this.sessions.has(session)) return
        const decoded = decodeJson(text)
        if (!decoded.ok) throw new Error(decoded.error.message)
        this.#receive(session, decoded.value as ClientMessage)
      })
    }
    const optional = this.hasUsers ? {} : { optional: true }
    this.#say(session, { type: 'AUTH_REQUIRED', serverTime: this.world.nowMs, protocolVersion: 1, ...optional })
  }

  #say(session: Session, message: ServerMessage): void {
    const text = encodeJson(message)
    session.toClientAt = Math.max(session.toClientAt, this.world.nowMs + this.world.random() * this.latencyMs)
    this.world.after(session.toClientAt - this.world.nowMs, () => {
      if (session.socket.isOpen) session.socket.onText(text)
    })
  }

  /** The name under which the server keeps what a session calls so. */
  #nameFor({ user }: Session, mapName: string): string {
    return user === undefined ? mapName : `${user}/${mapName}`
  }

  #receive(session: Session, message: ClientMessage): void {
    const mapOf = (mapName: string): ModelMap => this.map(this.#nameFor(session, mapName))
    const envelope = message.requestId === undefined ? {} : { requestId: message.requestId }
    switch (message.type) {
      case 'PING':
        this.#say(session, { type: 'PONG', timestamp: message.timestamp, serverTime: this.world.nowMs })
        break
      case 'AUTH': {
        const { token: userId } = message
        session.user = userId
        const serverTime = this.world.nowMs
        this.#say(session, { type: 'AUTH_ACK', protocolVersion: 1, userId, serverTime, databaseId: 'model' })
        break
      }
      case 'SYNC_INIT':
        this.#follow(session, message.mapName, message.cursor ?? null)
        break
      case 'OP_BATCH': {
        const { ops, writeConcern = 'MEMORY' } = message.payload
        for (const { id = '' } of ops) {
          const users = this.usersByOp.get(id) ?? new Set()
          this.usersByOp.set(id, users.add(session.user))
        }
        const results = ops.map((op) => {
          const plain = plainOp(op)
          return this.#write({ ...plain, mapName: this.#nameFor(session, plain.mapName) }, plain !== op)
        })
        if (writeConcern !== 'FIRE_AND_FORGET') {
          const payload = {
            lastId: ops.at(-1)?.id ?? '',
            results: results.map((result) => ({ ...result, achievedLevel: writeConcern })),
          }
          this.#say(session, { type: 'OP_ACK', payload, ...envelope })
        }
        this.#announce()
        break
      }
      case 'SYNC_PUSH': {
        const { mapName, records } = message.payload
        const refused = records.flatMap(({ key, record }) => {
          const map = mapOf(mapName)
          const incoming: LwwRecord = { ...record, base: record.base ?? record.timestamp }
          const entry = map.entries.get(key)
          if (entry === undefined && compareStamps(incoming.timestamp, map.prunedThroughStamp) <= 0) {
            return [{ key, errorCode: 'STALE' as const, message: 'pruned' }]
          }
          if (message.payload.kind === 'or') map.isItems = true
          this.#merge(this.#nameFor(session, mapName), key, incoming)
          return []
        })
        this.#say(session, {
          type: 'SYNC_PUSH_RESP',
          payload: { mapName, accepted: records.length - refused.length, refused },
          ...envelope,
        })
        this.#announce()
        break
      }
      case 'SYNC_TRIE': {
        const { mapName } = message.payload
        const trie = trieOf(mapOf(mapName))
        const leaves = new Uint8Array(4096 * 8)
        const view = new DataView(leaves.buffer)
        for (let leaf = 0; leaf < 4096; leaf++) {
          const node = trie.node(leaf.toString(16).padStart(3, '0'))
          view.setUint32(leaf * 8, node.stamps)
          view.setUint32(leaf * 8 + 4, node.state)
        }
        this.#say(session, { type: 'SYNC_TRIE_RESP', payload: { mapName, digest: trie.digest(), leaves }, ...envelope })
        break
      }
      case 'SYNC_LEAVES': {
        const { mapName, leaves } = message.payload
        const entries = [...mapOf(mapName).entries].filter(([key]) => leaves.includes(fnv1a(key) >>> 20))
        const digests = new Uint8Array(entries.length * 8)
        const view = new DataView(digests.buffer)
        for (const [i, [key, { record }]] of entries.entries()) {
          view.setUint32(i * 8, stampDigest(fnv1a(key), record.timestamp))
          view.setUint32(i * 8 + 4, stateDigest(key, record))
        }
        const payload = { mapName, keys: entries.map(([key]) => key), digests, more: false }
        this.#say(session, { type: 'SYNC_LEAVES_RESP', payload, ...envelope })
        break
      }
      case 'SYNC_FETCH': {
        const { mapName, keys } = message.payload
        const records = keys.flatMap((key) => {
          const entry = mapOf(mapName).entries.get(key)
          return entry === undefined ? [] : [{ key, record: toWireRecord(entry.record), seq: entry.seq }]
        })
        const absent = keys.filter((key) => !mapOf(mapName).entries.has(key))
        this.#say(session, { type: 'SYNC_RECORDS', payload: { mapName, records, absent, more: false }, ...envelope })
        break
      }
      default:
        throw new Error(`The model has no ${message.type}.`)
    }
  }

  #write(op: ClientOp, isItem: boolean): Omit<OpResult, 'achievedLevel'> {
    const { id: opId = '', mapName, key, opType, record } = op
    const stamp = record.timestamp
    const map = this.map(mapName)
    const refuse = (
      errorCode: 'CLOCK_SKEW' | 'STALE' | 'NOT_FOUND' | 'FORBIDDEN',
      details?: Record<string, unknown>,
    ) => ({
      opId,
      success: false,
      latencyMs: 0,
      errorCode,
      error: errorCode,
      ...(details === undefined ? {} : { details }),
    })
    if (this.refuses(op)) return refuse('FORBIDDEN')
    if (isAheadOfClock(stamp, this.world.nowMs, MAX_CLOCK_DRIFT_MS)) {
      return refuse('CLOCK_SKEW', { serverTime: this.world.nowMs })
    }
    const entry = map.entries.get(key)
    if (entry === undefined && compareStamps(stamp, map.prunedThroughStamp) <= 0) return refuse('STALE')
    if (entry === undefined && opType === 'PATCH') return refuse('NOT_FOUND')
    this.accepted.push(op)
    const isRow = mapName.includes('counter:')
    if (isItem) this.map(mapName).isItems = true
    const incoming =
      isRow || isItem ? wholeWrite(record.value, stamp, record.ttlMs) : (applyOp(entry?.record, op) as LwwRecord)
    return { opId, success: true, latencyMs: 0, seq: this.#merge(mapName, key, incoming) }
  }

  /** Merges a record and gives the position that shows it. */
  #merge(mapName: string, key: string, incoming: LwwRecord): number {
    const { entries } = this.map(mapName)
    const entry = entries.get(key)
    const isRow = mapName.includes('counter:')
    const record = isRow ? counterRecord(incoming.value as unknown as CounterRow, incoming.timestamp) : incoming
    const merge = this.map(mapName).isItems ? mergeItems : mergeRecords
    const merged = entry === undefined ? record : merge(entry.record, record)
    if (entry !== undefined && merged === entry.record) return entry.seq
    entries.set(key, { record: merged, seq: ++this.seq })
    return this.seq
  }

  #position(follower: Follower): { cursor: string; seq: number } {
    return { cursor: `${follower.seq}.${follower.floor}`, seq: follower.seq }
  }

  #follow(session: Session, mapName: string, cursor: string | null): void {
    const map = this.map(this.#nameFor(session, mapName))
    const [seq = 0, floor = 0] = cursor === null ? [0, map.prunedThroughSeq] : cursor.split('.').map(Number)
    if (cursor !== null && seq < map.prunedThroughSeq && floor < map.prunedThroughSeq) {
      session.followers.delete(mapName)
      this.#say(session, { type: 'SYNC_RESET_REQUIRED', payload: { mapName, reason: 'pruned' } })
      return
    }
    const follower: Follower = { mapName, floor: map.prunedThroughSeq, seq, phase: 'diff', isFirst: true }
    session.followers.set(mapName, follower)
    this.#page(session, follower)
  }

  #page(session: Session, follower: Follower): void {
    if (!this.sessions.has(session) || session.followers.get(follower.mapName) !== follower) return
    const { mapName } = follower
    const map = this.map(this.#nameFor(session, mapName))
    if (follower.seq < map.prunedThroughSeq && follower.floor < map.prunedThroughSeq) {
      session.followers.delete(mapName)
      this.#say(session, { type: 'SYNC_RESET_REQUIRED', payload: { mapName, reason: 'pruned' } })
      return
    }
    const rest = changesSince(map, follower.seq)
    const page = rest.slice(0, this.pageSize)
    const more = rest.length > page.length
    follower.seq = more ? (page.at(-1)?.[1].seq ?? 0) : Math.max(this.seq, follower.seq)
    const payload = {
      mapName,
      records: page.map(([key, { record, seq }]) => ({ key, record: toWireRecord(record), seq })),
      ...this.#position(follower),
      more,
      ...(follower.isFirst ? { lost: this.lost, prunedThroughSeq: map.prunedThroughSeq } : {}),
      ...(more ? {} : { digest: trieOf(map).digest() }),
    }
    follower.isFirst = false
    if (!more) follower.phase = 'live'
    this.#say(session, { type: 'SYNC_DIFF', payload })
    if (more) this.world.after(this.world.random() * 20, () => this.#page(session, follower))
  }

  #announce(): void {
    for (const session of this.sessions) {
      for (const follower of session.followers.values()) {
        if (follower.phase !== 'live') continue
        const { mapName } = follower
        const changes = changesSince(this.map(this.#nameFor(session, mapName)), follower.seq)
        if (changes.length === 0) continue
        follower.seq = changes.at(-1)?.[1].seq ?? follower.seq
        const events = changes.map(([key, { record, seq }]) => ({
          mapName,
          eventType: record.value === null ? ('REMOVE' as const) : ('PUT' as const),
          key,
          record: toWireRecord(record),
          seq,
        }))
        const [first] = events
        if (events.length === 1 && first !== undefined) {
          this.#say(session, { type: 'SERVER_EVENT', payload: { ...first, cursor: this.#position(follower).cursor } })
        } else {
          this.#say(session, { type: 'SERVER_BATCH_EVENT', payload: { mapName, events, ...this.#position(follower) } })
        }
      }
    }
  }
}

function changesSince(map: ModelMap, since: number): [string, Entry][] {
  return [...map.entries].filter(([, { seq }]) => seq > since).sort((a, b) => a[1].seq - b[1].seq)
}

function copyMaps(maps: ReadonlyMap<string, ModelMap>): Map<string, ModelMap> {
  return new Map([...maps].map(([name, map]) => [name, { ...map, entries: new Map(map.entries) }]))
}

function trieOf(map: ModelMap): MerkleTrie {
  const trie = new MerkleTrie()
  for (const [key, { record }] of map.entries) {
    const hash = fnv1a(key)
    trie.add(hash, stampDigest(hash, record.timestamp), stateDigest(key, record))
  }
  return trie
}
