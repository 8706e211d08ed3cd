import { HybridClock, mergeRecords, type LwwRecord, type Stamp } from '@syncline/core'
import {
  decodeFrame,
  encodeFrame,
  isBatch,
  PROTOCOL_VERSION,
  readServerMessage,
  splitBatch,
  toWireRecord,
  type ClientMessage,
  type ClientOp,
  type Encoding,
  type Frame,
  type KeyedRecord,
  type ReceivedRecord,
  type ReceivedServerMessage,
} from '@syncline/protocol'
import { SEARCHED, toSpec, type PlainQuery } from './live-queries.ts'
import type { Connection } from './connection.ts'
import type { Network } from './network.ts'
import { CANARY, fieldsSeen, VAULT, type Role } from './users.ts'
import type { Process } from './virtual-env.ts'

/** A record as a bare client holds it. */
export interface HeldRecord {
  readonly record: LwwRecord
  readonly seq: number
}

/** What makes a bare client. */
export interface BareClientParts {
  readonly network: Network
  readonly process: Process
  readonly encoding: Encoding
  readonly role: Role
  /** The maps that it follows. */
  readonly maps: readonly string[]
  readonly queries: readonly PlainQuery[]
  /** It follows a live search. */
  readonly searches: boolean
  /** Gives a token, where the server asks for one. */
  readonly token: (() => string) | undefined
  /** It asks a query. */
  asked(connection: Connection, queryId: string, query: PlainQuery): void
}

interface Copy {
  readonly rows: Map<string, HeldRecord>
  /** All fields may be read. */
  readonly isWhole: boolean
  cursor: string | null
  seq: number
  isFirstPage: boolean
  isLive: boolean
  digest: string | undefined
}

/** Refusals that sending again does not mend. */
export const FINAL: ReadonlySet<string | undefined> = new Set(['NOT_FOUND', 'STALE', 'FORBIDDEN', 'TOO_LARGE'])

/** The messages of a frame, which may be a batch of frames. Throws where they cannot be read. */
export function messagesIn(frame: Frame): readonly unknown[] {
  const decoded = decodeFrame(frame)
  if (!decoded.ok) throw new Error(`A frame cannot be decoded: ${decoded.error.message}`)
  const { message } = decoded.value
  if (!isBatch(message)) return [message]
  const batch = splitBatch(message)
  if (!batch.ok) throw new Error(`A batch cannot be split: ${batch.error.message}`)
  return batch.value.flatMap(messagesIn)
}

/**
 * A client of the bare protocol, written apart from @syncline/client and as small as the protocol allows: it follows
 * maps by cursor, pushes what the server lost, sends ops until they are acknowledged, and speaks either encoding. It has
 * no storage: its copy lives as long as the object.
 */
export class BareClient {
  readonly process: Process
  readonly encoding: Encoding
  readonly role: Role
  readonly copies = new Map<string, Copy>()
  readonly pending = new Map<string, ClientOp>()
  isStopped = false
  readonly #parts: BareClientParts
  readonly #clock: HybridClock
  #connection: Connection | undefined
  #offsetMs = 0
  #heardAtMs = 0
  #isOnline = false
  /** Positions of ops that are acknowledged on this connection. */
  readonly #acked = new Map<string, number>()

  constructor(parts: BareClientParts) {
    this.#parts = parts
    this.process = parts.process
    this.encoding = parts.encoding
    this.role = parts.role
    this.#clock = new HybridClock(this.machine)
    for (const name of parts.maps) {
      this.copies.set(name, {
        rows: new Map(),
        isWhole: fieldsSeen(parts.role, name) === 'all',
        cursor: null,
        seq: 0,
        isFirstPage: true,
        isLive: false,
        digest: undefined,
      })
    }
    this.#connect()
    this.#beat()
  }

  /** It has a machine of its own, of the same name. */
  get machine(): string {
    return this.process.name
  }

  /** It has everything that the server has told, and nothing to tell. */
  get isSettled(): boolean {
    return this.#isOnline && this.pending.size === 0 && [...this.copies.values()].every(({ isLive }) => isLive)
  }

  /** Connected; the closing page of every map has come. */
  get isComplete(): boolean {
    return this.#isOnline && [...this.copies.values()].every(({ isLive }) => isLive)
  }

  stop(): void {
    this.isStopped = true
    this.#connection?.clientClose(1000, '')
  }

  /** A stamp of this client's clock. */
  stamp(): Stamp {
    return this.#clock.tick(this.process.env.now() + this.#offsetMs)
  }

  /** Writes, and goes on sending until it is acknowledged. */
  write(op: ClientOp & { readonly id: string }, isTwice: boolean): void {
    this.pending.set(op.id, op)
    if (!this.#isOnline) return
    this.#send({ type: 'CLIENT_OP', payload: op })
    if (isTwice) this.#send({ type: 'CLIENT_OP', payload: op })
  }

  /** Asks for what it may not read, by every message that there is. */
  pry(allKeys: readonly string[]): void {
    if (!this.#isOnline) return
    this.#send({ type: 'SYNC_INIT', mapName: VAULT, cursor: null })
    this.#send({ type: 'QUERY_SUB', payload: { queryId: 'pry', mapName: VAULT, query: {} } })
    for (const mapName of [VAULT, 'notes']) {
      // Keys that are not there are named in the answer.
      const keys = allKeys.filter((key) => mapName === VAULT || !key.startsWith(CANARY))
      this.#send({ type: 'SYNC_TRIE', payload: { mapName } })
      this.#send({ type: 'SYNC_LEAVES', payload: { mapName, leaves: Array.from({ length: 256 }, (_, i) => i * 16) } })
      this.#send({ type: 'SYNC_FETCH', payload: { mapName, keys } })
      this.#send({ type: 'SYNC_PUSH', payload: { mapName, records: [] } })
      for (const path of ['', '0', '000', 'abc']) this.#send({ type: 'MERKLE_REQ_BUCKET', payload: { mapName, path } })
    }
  }

  /** Sends something as it is, once. */
  sendRaw(frame: Frame): void {
    if (this.#isOnline) this.#connection?.clientSend(frame)
  }

  #connect(): void {
    if (this.isStopped || !this.process.isAlive) return
    this.#heardAtMs = this.process.env.monotonic()
    const connection = this.#parts.network.connect(this.process, this.machine, this.encoding, {
      onOpen: () => {},
      onFrame: (frame) => {
        this.#heardAtMs = this.process.env.monotonic()
        for (const message of messagesIn(frame)) this.#receive(message)
      },
      onClose: () => this.#closed(connection),
    })
    this.#connection = connection
  }

  #closed(connection: Connection): void {
    if (this.#connection !== connection) return
    this.#connection = undefined
    this.#isOnline = false
    for (const copy of this.copies.values()) copy.isLive = false
    this.process.env.after(200 + this.process.env.random() * 3_000, () => this.#connect())
  }

  #beat(): void {
    this.process.env.after(7_000, () => {
      if (this.isStopped) return
      if (this.#connection !== undefined && this.process.env.monotonic() - this.#heardAtMs > 20_000) {
        const connection = this.#connection
        connection.clientClose(1000, '')
        this.#closed(connection)
      } else if (this.#isOnline) this.#send({ type: 'PING', timestamp: this.process.env.now() })
      this.#beat()
    })
  }

  #send(message: ClientMessage): void {
    this.#connection?.clientSend(encodeFrame(this.encoding, message))
  }

  #receive(raw: unknown): void {
    const read = readServerMessage(raw)
    if (!read.ok) throw new Error(`A message of the server cannot be read: ${read.error.message}`)
    this.#handle(read.value)
  }

  #handle(message: ReceivedServerMessage): void {
    switch (message.type) {
      case 'AUTH_REQUIRED':
        this.#offsetMs = message.serverTime - this.process.env.now()
        if (this.#parts.token === undefined) this.#begin()
        else this.#send({ type: 'AUTH', token: this.#parts.token(), protocolVersion: PROTOCOL_VERSION })
        return
      case 'AUTH_ACK':
        if (!this.#isOnline) this.#begin()
        return
      case 'OP_ACK':
        for (const { opId, success, errorCode, seq } of message.payload.results) {
          if (success && seq !== undefined) this.#settle(opId, seq)
          else if (success || FINAL.has(errorCode)) this.pending.delete(opId)
          else this.process.env.after(1_000, () => this.#again(opId))
        }
        return
      case 'SYNC_DIFF': {
        const { mapName, records, cursor, seq, more, lost = [], digest, prunedThroughSeq } = message.payload
        const copy = this.#copy(mapName)
        const better = this.#take(copy, records)
        if (copy.isFirstPage && this.role === 'writer') better.push(...lostRows(copy, lost))
        copy.isFirstPage = false
        Object.assign(copy, { cursor, seq, digest })
        this.#moved(mapName, seq)
        copy.isLive = !more
        forget(copy, prunedThroughSeq)
        this.#push(
          mapName,
          better.filter(({ key }) => copy.rows.has(key)),
        )
        return
      }
      case 'SERVER_EVENT': {
        const { mapName, cursor, seq } = message.payload
        const copy = this.#copy(mapName)
        this.#push(mapName, this.#take(copy, [message.payload]))
        if (cursor !== undefined) Object.assign(copy, { cursor, seq, digest: undefined })
        this.#moved(mapName, seq)
        return
      }
      case 'SERVER_BATCH_EVENT': {
        const { mapName, cursor, seq, events, prunedThroughSeq } = message.payload
        const copy = this.#copy(mapName)
        this.#push(mapName, this.#take(copy, events))
        if (cursor !== undefined) Object.assign(copy, { cursor, seq, digest: undefined })
        this.#moved(mapName, seq)
        forget(copy, prunedThroughSeq)
        return
      }
      case 'SYNC_PUSH_RESP':
        for (const { key, record, seq = 0, errorCode } of message.payload.refused) {
          const { rows } = this.#copy(message.payload.mapName)
          if (record !== undefined) rows.set(key, { record, seq })
          else if (errorCode === 'STALE') rows.delete(key)
        }
        return
      case 'SYNC_RESET_REQUIRED': {
        const copy = this.#copy(message.payload.mapName)
        copy.rows.clear()
        Object.assign(copy, { cursor: null, seq: 0, isFirstPage: true, isLive: false })
        this.#send({ type: 'SYNC_INIT', mapName: message.payload.mapName, cursor: null })
        return
      }
      default:
    }
  }

  /** An acknowledged op is over when the stream has reached its position: until then a crash may take it. */
  #settle(opId: string, seq: number): void {
    const mapName = this.pending.get(opId)?.mapName ?? ''
    if ((this.copies.get(mapName)?.seq ?? Infinity) >= seq) this.pending.delete(opId)
    else this.#acked.set(opId, seq)
  }

  #moved(mapName: string, seq: number = 0): void {
    for (const [opId, at] of this.#acked) {
      if (at > seq || this.pending.get(opId)?.mapName !== mapName) continue
      this.#acked.delete(opId)
      this.pending.delete(opId)
    }
  }

  #begin(): void {
    this.#isOnline = true
    this.#acked.clear()
    for (const [mapName, copy] of this.copies) {
      copy.isFirstPage = true
      this.#send({ type: 'SYNC_INIT', mapName, cursor: copy.cursor })
    }
    for (const op of this.pending.values()) this.#send({ type: 'CLIENT_OP', payload: op })
    for (const [i, query] of this.#parts.queries.entries()) {
      const queryId = `q${i + 1}`
      this.#parts.asked(this.#connection as Connection, queryId, query)
      this.#send({ type: 'QUERY_SUB', payload: { queryId, mapName: query.mapName, query: toSpec(query) } })
    }
    if (!this.#parts.searches) return
    const { mapName, has } = SEARCHED
    this.#parts.asked(this.#connection as Connection, 'search', SEARCHED)
    const payload = { subscriptionId: 'search', mapName, query: CANARY, options: { fields: [has] } }
    this.#send({ type: 'SEARCH_SUB', payload })
  }

  #again(opId: string): void {
    const op = this.pending.get(opId)
    if (op !== undefined && this.#isOnline) this.#send({ type: 'CLIENT_OP', payload: op })
  }

  #copy(mapName: string): Copy {
    const copy = this.copies.get(mapName)
    if (copy === undefined) throw new Error(`Nobody asked for map '${mapName}'`)
    return copy
  }

  /** Merges records into the copy. Answers those of which the copy knows more. */
  #take(copy: Copy, records: readonly KeyedRecord<ReceivedRecord>[]): KeyedRecord[] {
    const better: KeyedRecord[] = []
    for (const { key, record: received, seq = 0 } of records) {
      const { version: _, ...record } = received
      this.#clock.observe(record.timestamp, 0)
      const held = copy.rows.get(key)
      // What is hidden makes a record differ from the one that is held, and says nothing of what is lost.
      const merged = held === undefined || !copy.isWhole ? record : mergeRecords(record, held.record)
      copy.rows.set(key, { record: merged, seq })
      if (merged !== record) better.push({ key, record: toWireRecord(merged) })
    }
    return better
  }

  #push(mapName: string, records: readonly KeyedRecord[]): void {
    if (records.length > 0 && this.role === 'writer') this.#send({ type: 'SYNC_PUSH', payload: { mapName, records } })
  }
}

/** Drops tombstones that the server has forgotten. */
function forget({ rows }: Copy, throughSeq: number = 0): void {
  for (const [key, { record, seq }] of rows) if (record.value === null && seq <= throughSeq) rows.delete(key)
}

function lostRows(copy: Copy, lost: readonly (readonly [number, number])[]): KeyedRecord[] {
  return [...copy.rows].flatMap(([key, { record, seq }]) =>
    lost.some(([from, to]) => seq > from && seq <= to) ? [{ key, record: toWireRecord(record) }] : [],
  )
}
