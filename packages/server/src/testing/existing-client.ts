import type { Stamp, Value } from '@syncline/core'
import { pack, unpack } from 'msgpackr'
import { WebSocket } from 'ws'
import { until } from './harness.ts'

/** A record as existing clients keep it. */
export interface ExistingRecord {
  readonly value: Value
  readonly timestamp: Stamp
}

interface PendingOp {
  readonly id: string
  readonly mapName: string
  readonly key: string
  readonly opType: string
  readonly record: ExistingRecord
}

type Fields = Readonly<Record<string, unknown>>

/** What tells the two generations of existing clients apart. */
export interface Generation {
  /** How they find which ops a `lastId` acknowledges. */
  readonly isUpTo: (id: string, lastId: string) => boolean
  /** A device is announced before there is a token. */
  readonly saysHello: boolean
}

/** The older one compares ids as texts, so that '10' acknowledges neither '2' nor '9'. */
export const OLDER: Generation = { isUpTo: (id, lastId) => id <= lastId, saysHello: false }
/** The newer one compares them as numbers, and takes every op as acknowledged by an id that is none. */
export const NEWER: Generation = {
  isUpTo: (id, lastId) => Number.isNaN(Number(lastId)) || Number(id) <= Number(lastId),
  saysHello: true,
}

/**
 * A client of the systems that Syncline takes the place of, as it behaves on the wire: MessagePack by msgpackr with maps
 * of 16-bit length and large numbers as doubles, AUTH twice, all unacknowledged ops again with each write, and a walk of
 * the trie for each map. It knows only what is in its messages.
 */
export class ExistingClient {
  readonly maps = new Map<string, Map<string, ExistingRecord>>()
  readonly pending: PendingOp[] = []
  readonly queries = new Map<string, Map<string, unknown>>()
  /** Messages received, in order, those of a BATCH one by one. */
  readonly received: Fields[] = []
  readonly frames = { text: 0, binary: 0 }
  readonly rejected: string[] = []
  isAuthenticated = false
  closed: number | undefined
  readonly #generation: Generation
  readonly #token: string | undefined
  readonly #nodeId: string
  #socket: WebSocket | undefined
  #ids = 0
  #millis = Date.now() - 100_000

  constructor(generation: Generation, nodeId: string, token?: string) {
    this.#generation = generation
    this.#nodeId = nodeId
    this.#token = token
  }

  /** Connects as these clients do: what it has to say it says at once, and again when it is asked. */
  async connect(url: string): Promise<void> {
    const socket = new WebSocket(url)
    this.#socket = socket
    this.isAuthenticated = false
    this.closed = undefined
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      this.frames[isBinary ? 'binary' : 'text']++
      this.#receive((isBinary ? unpack(data) : JSON.parse(data.toString())) as Fields)
    })
    socket.on('close', (code) => (this.closed = code))
    socket.on('error', () => {})
    await new Promise((resolve) => socket.once('open', resolve))
    if (this.#token !== undefined) this.#authenticate()
    else if (this.#generation.saysHello) this.send({ type: 'DEVICE_HELLO', deviceToken: undefined })
  }

  /** Without AUTH_REQUIRED for a while, or where there is no token, the newer ones go on unauthenticated. */
  proceed(): void {
    this.#begin()
  }

  send(message: object): void {
    this.#socket?.send(pack(stripped(message)))
  }

  write(mapName: string, key: string, value: Value): string {
    const id = `${++this.#ids}`
    const record = { value, timestamp: { millis: ++this.#millis, counter: 0, nodeId: this.#nodeId } }
    this.#merge(mapName, key, record)
    this.pending.push({ id, mapName, key, opType: value === null ? 'REMOVE' : 'PUT', record })
    if (this.isAuthenticated) this.#sendPending()
    return id
  }

  /** Uses a map. One that is used before connecting is synchronised. */
  mapOf(mapName: string): Map<string, ExistingRecord> {
    let map = this.maps.get(mapName)
    if (map === undefined) this.maps.set(mapName, (map = new Map()))
    return map
  }

  valuesOf(mapName: string): Record<string, Value> {
    return Object.fromEntries([...this.mapOf(mapName)].map(([key, { value }]) => [key, value]))
  }

  async took(type: string): Promise<Fields> {
    await until(() => this.received.some((message) => message['type'] === type), `${this.#nodeId}: ${type}`)
    return this.received.find((message) => message['type'] === type) as Fields
  }

  end(): void {
    this.#socket?.terminate()
  }

  #authenticate(): void {
    this.send({ type: 'AUTH', token: this.#token })
  }

  #sendPending(): void {
    const ops = this.pending.map((op) => ({ ...op, timestamp: op.record.timestamp, synced: 0, orRecord: undefined }))
    if (ops.length > 0) this.send({ type: 'OP_BATCH', payload: { ops } })
  }

  #begin(): void {
    this.isAuthenticated = true
    this.#sendPending()
    for (const mapName of this.maps.keys()) this.send({ type: 'SYNC_INIT', mapName, lastSyncTimestamp: 0 })
    for (const queryId of this.queries.keys()) {
      this.send({ type: 'QUERY_SUB', payload: { queryId, mapName: queryId, query: {} } })
    }
    this.send({ type: 'PING', timestamp: Date.now() })
  }

  #receive(message: Fields): void {
    if (message['type'] === 'BATCH') {
      for (const part of partsOf(message['data'] as Uint8Array)) this.#receive(part)
      return
    }
    this.received.push(message)
    const payload = (message['payload'] ?? {}) as Fields
    switch (message['type']) {
      case 'AUTH_REQUIRED':
        if (this.#token !== undefined) this.#authenticate()
        break
      case 'AUTH_ACK':
        this.#begin()
        break
      case 'OP_ACK':
        this.#acknowledged(
          payload['lastId'] as string,
          payload['results'] as readonly { opId: string; success: boolean }[],
        )
        break
      case 'OP_REJECTED':
        this.rejected.push(payload['opId'] as string)
        this.#forget((id) => id === payload['opId'])
        break
      case 'SERVER_EVENT':
        this.#event(payload)
        break
      case 'SERVER_BATCH_EVENT':
        for (const event of payload['events'] as readonly Fields[]) this.#event(event)
        break
      case 'SYNC_RESP_ROOT':
        if (payload['rootHash'] !== 0) this.#ask(payload['mapName'], '')
        break
      case 'SYNC_RESP_BUCKETS':
        for (const digit of Object.keys(payload['buckets'] as object)) {
          this.#ask(payload['mapName'], `${payload['path'] as string}${digit}`)
        }
        break
      case 'SYNC_RESP_LEAF':
        for (const { key, record } of payload['records'] as readonly { key: string; record: ExistingRecord }[]) {
          this.#merge(payload['mapName'] as string, key, record)
        }
        break
      case 'QUERY_RESP': {
        const rows = payload['results'] as readonly { key: string; value: unknown }[]
        this.queries.set(payload['queryId'] as string, new Map(rows.map(({ key, value }) => [key, value])))
        break
      }
      case 'QUERY_UPDATE': {
        const result = this.queries.get(payload['queryId'] as string)
        if (payload['changeType'] === 'LEAVE') result?.delete(payload['key'] as string)
        else result?.set(payload['key'] as string, payload['value'])
      }
    }
  }

  #acknowledged(lastId: string, results: readonly { opId: string; success: boolean }[] | undefined): void {
    const done = new Set(results?.filter(({ success }) => success).map(({ opId }) => opId))
    this.#forget((id) => done.has(id) || this.#generation.isUpTo(id, lastId))
  }

  #forget(isDone: (id: string) => boolean): void {
    this.pending.splice(0, this.pending.length, ...this.pending.filter(({ id }) => !isDone(id)))
  }

  #ask(mapName: unknown, path: string): void {
    this.send({ type: 'MERKLE_REQ_BUCKET', payload: { mapName, path } })
  }

  #event({ mapName, key, record }: Fields): void {
    this.#merge(mapName as string, key as string, record as ExistingRecord)
  }

  /** Strictly greater stamps win; an equal one is ignored. */
  #merge(mapName: string, key: string, record: ExistingRecord): void {
    const map = this.mapOf(mapName)
    const current = map.get(key)
    if (current === undefined || isLater(record.timestamp, current.timestamp)) map.set(key, record)
  }
}

function isLater(a: Stamp, b: Stamp): boolean {
  return (
    a.millis - b.millis > 0 ||
    (a.millis === b.millis && (a.counter > b.counter || (a.counter === b.counter && a.nodeId > b.nodeId)))
  )
}

/** Members that are undefined are left out, and such items of lists are null, before anything is packed. */
function stripped(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => (item === undefined ? null : stripped(item)))
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value).filter(([, member]) => member !== undefined)
  return Object.fromEntries(members.map(([name, member]) => [name, stripped(member)]))
}

/** A BATCH: how many messages, then for each its length and its bytes, numbers in 32 bits, little-endian. */
function partsOf(data: Uint8Array): Fields[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const parts: Fields[] = []
  let at = 4
  for (let i = 0; i < view.getUint32(0, true); i++) {
    const length = view.getUint32(at, true)
    parts.push(unpack(data.subarray(at + 4, at + 4 + length)) as Fields)
    at += 4 + length
  }
  return parts
}
