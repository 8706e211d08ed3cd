import { decodeJson, decodeMsgpack, encodeValueMsgpack, isBatch, splitBatch } from '@syncline/protocol'
import { WebSocketServer, type WebSocket } from 'ws'
import { Failure, shown } from '../failure.ts'
import { formatDigest, nodeOf, type WireRecord } from '../hash.ts'
import { describe, encode, type Encoding, type Message, type Payload } from '../wire.ts'
import { isLater } from './stamps.ts'

/** An op as a client sends it. */
export interface SentOp extends Payload {
  readonly id: string
  readonly mapName: string
  readonly key: string
  readonly opType?: string
  readonly record: WireRecord & { readonly unset?: readonly string[] }
}

interface Held {
  readonly record: WireRecord
  readonly seq: number
}

/** One connection of the client under test. */
export class Link {
  readonly #socket: WebSocket
  readonly openedAt: number = performance.now()
  /** Everything that came, in order. */
  readonly received: Message[] = []
  encoding: Encoding = 'json'
  closed = false
  onChange: () => void = () => undefined

  constructor(socket: WebSocket) {
    this.#socket = socket
  }

  send(message: object): void {
    this.#socket.send(encode(this.encoding, message))
  }

  /** Several messages in one frame. */
  sendBatch(messages: readonly object[]): void {
    const parts = messages.map((message) => Buffer.from(encodeValueMsgpack(message as never)))
    const number = (value: number): Buffer => {
      const bytes = Buffer.alloc(4)
      bytes.writeUInt32LE(value)
      return bytes
    }
    const data = Buffer.concat([number(parts.length), ...parts.flatMap((part) => [number(part.length), part])])
    this.#socket.send(encodeValueMsgpack({ type: 'BATCH', count: parts.length, data: new Uint8Array(data) }))
  }

  close(code: number): void {
    this.#socket.close(code)
  }

  /** Ends without ceremony, as a network does. */
  drop(): void {
    this.#socket.terminate()
  }
}

/**
 * A server that does what the rules say, in the simplest way, except for what a scenario makes it do. `intercept` sees
 * each message first, and keeps it from being dealt with by answering true.
 */
export class Script {
  readonly links: Link[] = []
  readonly url: string
  databaseId = 'script-1'
  /** How far its clock is ahead of this machine's. */
  clockOffsetMs = 0
  isOptional = true
  intercept: (message: Message, link: Link) => boolean = () => false
  /** What it says of lost commits, in the first page of each SYNC_DIFF. */
  lost: readonly (readonly [number, number])[] = []
  /** Its digest is wrong: the client holds something else. */
  hasOtherDigest = false
  /** The client reads some fields alone: it is told no digest. */
  hasNoDigest = false
  /** It takes no push, and answers by these records. */
  pushRefusal: WireRecord | undefined
  #seq = 100
  readonly #server: WebSocketServer
  readonly #timeoutMs: number
  readonly #maps = new Map<string, Map<string, Held>>()
  readonly #followers = new Map<string, Set<Link>>()
  #wake: (() => void) | undefined

  private constructor(server: WebSocketServer, timeoutMs: number) {
    this.#server = server
    this.#timeoutMs = timeoutMs
    this.url = `ws://127.0.0.1:${(server.address() as { readonly port: number }).port}/ws`
    server.on('connection', (socket) => this.#connected(socket))
  }

  static async start(timeoutMs: number): Promise<Script> {
    const handleProtocols = (offered: Set<string>): string | false =>
      ['syncline.v1.json', 'syncline.v1.msgpack'].find((name) => offered.has(name)) ?? false
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0, handleProtocols })
    await new Promise((resolve) => server.once('listening', resolve))
    return new Script(server, timeoutMs)
  }

  /** The connection of the client that is open now. */
  get link(): Link {
    const open = this.links.findLast(({ closed }) => !closed)
    if (open === undefined) throw new Failure('a connection of the client', 'none is open')
    return open
  }

  now(): number {
    return Date.now() + this.clockOffsetMs
  }

  /** Changes a record, and tells those who follow its map. */
  put(mapName: string, key: string, record: WireRecord): number {
    const seq = ++this.#seq
    this.#map(mapName).set(key, { record, seq })
    for (const link of this.#followers.get(mapName) ?? []) {
      if (!link.closed) link.send(this.event(mapName, key, record, seq))
    }
    return seq
  }

  /** Forgets a record, as a crash does. */
  lose(mapName: string, key: string): void {
    this.#map(mapName).delete(key)
  }

  event(mapName: string, key: string, record: WireRecord, seq: number): object {
    const eventType = record.value === null ? 'REMOVE' : 'PUT'
    return { type: 'SERVER_EVENT', payload: { mapName, eventType, key, record, seq, cursor: `c${seq}` } }
  }

  record(mapName: string, key: string): WireRecord | undefined {
    return this.#map(mapName).get(key)?.record
  }

  /** Waits for something that the client does. */
  async until<T>(look: () => T | undefined, expected: string, timeoutMs: number = this.#timeoutMs): Promise<T> {
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const found = look()
      if (found !== undefined) return found
      const left = deadline - performance.now()
      if (left <= 0) throw new Failure(expected, this.#whatCame(timeoutMs))
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 100))
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  /** Waits for the connection of some number, from 0 on. */
  connection(number: number, timeoutMs?: number): Promise<Link> {
    return this.until(
      () => this.links[number],
      number === 0 ? 'the client to connect' : 'the client to connect again',
      timeoutMs,
    )
  }

  /** Waits for a message on one connection. */
  async message(link: Link, type: string, isWanted: (message: Message) => boolean = () => true): Promise<Message> {
    return this.until(() => link.received.find((message) => message.type === type && isWanted(message)), type)
  }

  /** Ops that came on one connection, each as often as it came. */
  ops(link: Link): readonly SentOp[] {
    return link.received.flatMap(opsIn)
  }

  /** Waits for the op of a key on one connection. */
  op(link: Link, key: string, isWanted: (op: SentOp) => boolean = () => true): Promise<SentOp> {
    return this.until(() => this.ops(link).find((op) => op.key === key && isWanted(op)), `an op of ${key}`)
  }

  stop(): void {
    for (const link of this.links) link.drop()
    this.#server.close()
  }

  #connected(socket: WebSocket): void {
    const link = new Link(socket)
    if (socket.protocol === 'syncline.v1.msgpack') link.encoding = 'msgpack'
    this.links.push(link)
    socket.on('message', (data: Buffer, isBinary) => {
      link.encoding = isBinary ? 'msgpack' : 'json'
      this.#onFrame(link, isBinary ? data : data.toString())
      this.#wake?.()
    })
    socket.on('close', () => {
      link.closed = true
      this.#wake?.()
    })
    socket.on('error', () => undefined)
    const { isOptional } = this
    const greeting = { type: 'AUTH_REQUIRED', serverTime: this.now(), protocolVersion: 1 }
    socket.send(JSON.stringify(isOptional ? { ...greeting, optional: true } : greeting))
    this.#wake?.()
  }

  #onFrame(link: Link, frame: string | Buffer): void {
    const decoded = typeof frame === 'string' ? decodeJson(frame) : decodeMsgpack(frame)
    if (!decoded.ok) return
    if (isBatch(decoded.value)) {
      const parts = splitBatch(decoded.value)
      for (const part of parts.ok ? parts.value : []) this.#onFrame(link, Buffer.from(part))
      return
    }
    const raw = decoded.value as Message
    const message = { ...raw, payload: (raw.payload as Payload | undefined) ?? {} }
    link.received.push(message)
    if (!this.intercept(message, link)) this.#answer(message, link)
  }

  #answer(message: Message, link: Link): void {
    const fields = fieldsOf(message)
    const { requestId } = message
    const reply = (answer: object): void => link.send(requestId === undefined ? answer : { ...answer, requestId })
    switch (message.type) {
      case 'AUTH':
        reply({
          type: 'AUTH_ACK',
          protocolVersion: 1,
          userId: 'ada',
          serverTime: this.now(),
          databaseId: this.databaseId,
        })
        break
      case 'PING':
        reply({ type: 'PONG', timestamp: fields['timestamp'] as number, serverTime: this.now() })
        break
      case 'SYNC_INIT':
        this.#diff(fields, link)
        break
      case 'SYNC_PUSH':
        reply({ type: 'SYNC_PUSH_RESP', payload: this.#pushed(fields) })
        break
      case 'SYNC_FETCH': {
        const held = this.#map(fields['mapName'] as string)
        const keys = fields['keys'] as string[]
        const records = keys.flatMap((key) => (held.has(key) ? [{ key, ...held.get(key) }] : []))
        const absent = keys.filter((key) => !held.has(key))
        reply({ type: 'SYNC_RECORDS', payload: { mapName: fields['mapName'] as string, records, absent, more: false } })
        break
      }
      case 'CLIENT_OP':
      case 'OP_BATCH':
        reply(this.acknowledge(opsIn(message)))
        break
      default:
    }
  }

  /** Applies ops and says so. */
  acknowledge(ops: readonly SentOp[]): object {
    const results = ops.map((op) => {
      const seq = this.#apply(op)
      return seq === undefined
        ? resultOf(op, 'NOT_FOUND', {})
        : { opId: op.id, success: true, achievedLevel: 'MEMORY', latencyMs: 1, seq }
    })
    return { type: 'OP_ACK', payload: { lastId: ops.at(-1)?.id ?? 'none', achievedLevel: 'MEMORY', results } }
  }

  /** Refuses ops with a code. */
  refuse(ops: readonly SentOp[], errorCode: string, details: object = {}): object {
    const results = ops.map((op) => resultOf(op, errorCode, details))
    return { type: 'OP_ACK', payload: { lastId: ops.at(-1)?.id ?? 'none', results } }
  }

  /** The seq of the op's effect; undefined where it is a PATCH of a key that there is not. */
  #apply({ mapName, key, opType = 'PUT', record }: SentOp): number | undefined {
    const held = this.#map(mapName).get(key)
    const { value, timestamp, ttlMs, unset = [] } = record
    if (held !== undefined && !isLater(timestamp, held.record.timestamp)) return held.seq
    if (opType === 'PATCH' && held === undefined) return undefined
    if (opType !== 'PATCH' || held === undefined) {
      return this.put(mapName, key, { value, timestamp, ...(ttlMs === undefined ? {} : { ttlMs }) })
    }
    const { base = held.record.timestamp } = held.record
    const merged = { ...(held.record.value as object), ...(value as object) } as Record<string, unknown>
    for (const name of unset) delete merged[name]
    const written = [...Object.keys(value ?? {}), ...unset]
    const fields = Object.fromEntries(
      written.map((name) => [
        name,
        unset.includes(name) ? { stamp: timestamp, unset: true as const } : { stamp: timestamp },
      ]),
    )
    return this.put(mapName, key, { value: merged, timestamp, base, fields: { ...held.record.fields, ...fields } })
  }

  #pushed({ mapName, records }: Payload): object {
    const pushed = records as readonly { readonly key: string; readonly record: WireRecord }[]
    const { pushRefusal: record } = this
    if (record !== undefined) {
      const refusal = { errorCode: 'STALE', message: 'Refused by the script.', record, seq: this.#seq }
      return { mapName: mapName as string, accepted: 0, refused: pushed.map(({ key }) => ({ key, ...refusal })) }
    }
    for (const each of pushed) this.put(mapName as string, each.key, each.record)
    return { mapName: mapName as string, accepted: pushed.length, refused: [] }
  }

  #diff({ mapName, cursor }: Payload, link: Link): void {
    const name = mapName as string
    const from = typeof cursor === 'string' && cursor.startsWith('c') ? Number(cursor.slice(1)) : 0
    const changed = [...this.#map(name)].filter(([, { seq }]) => seq > from).toSorted(([, a], [, b]) => a.seq - b.seq)
    const followers = this.#followers.get(name) ?? new Set()
    this.#followers.set(name, followers.add(link))
    const records = changed.map(([key, { record, seq }]) => ({ key, record, seq }))
    const lanes = nodeOf('', new Map([...this.#map(name)].map(([key, { record }]) => [key, record])))
    const digest = this.hasOtherDigest ? 'ffffffffffffffff' : formatDigest(lanes)
    const page = {
      mapName: name,
      records,
      cursor: `c${this.#seq}`,
      seq: this.#seq,
      more: false,
      ...(this.hasNoDigest ? {} : { digest, rootHash: lanes.stamps }),
    }
    link.send({ type: 'SYNC_DIFF', payload: this.lost.length === 0 ? page : { ...page, lost: this.lost } })
  }

  #map(name: string): Map<string, Held> {
    const map = this.#maps.get(name) ?? new Map<string, Held>()
    this.#maps.set(name, map)
    return map
  }

  #whatCame(timeoutMs: number): string {
    const latest = this.links.at(-1)
    if (latest === undefined) return `no connection for ${timeoutMs} ms`
    const came = latest.received.slice(-5).map(describe).join(', ')
    return `${this.links.length} connections, on the last one ${came === '' ? 'nothing' : `at the end ${came}`}${latest.closed ? ', and its end' : ''}`
  }
}

/** What a refused op is answered. */
export function resultOf({ id: opId }: SentOp, errorCode: string, details: object): object {
  const level = { achievedLevel: 'FIRE_AND_FORGET', latencyMs: 1 }
  return { opId, success: false, ...level, error: 'Refused by the script.', errorCode, details }
}

/** The fields of a message, in whichever place a client puts them. */
export function fieldsOf(message: Message): Payload {
  return Object.keys(message.payload).length > 0 ? message.payload : message
}

/** Says whether a message carries ops. */
export const isWrite = ({ type }: Message): boolean => type === 'CLIENT_OP' || type === 'OP_BATCH'

/** The ops in a message. */
export function opsIn(message: Message): readonly SentOp[] {
  if (!isWrite(message)) return []
  const fields = fieldsOf(message)
  return message.type === 'OP_BATCH' ? (fields['ops'] as readonly SentOp[]) : [fields as SentOp]
}

/** A message in a few words, for what a check has seen. */
export const inWords = (messages: readonly Message[]): string =>
  messages.map(({ type }) => type).join(', ') || shown(undefined)
