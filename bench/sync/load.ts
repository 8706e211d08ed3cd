// Clients that poll over keep-alive connections, each with one request under way. HTTP by hand: a client library would
// cost more than the server that is measured.
import { connect, type Socket } from 'node:net'
import { once } from 'node:events'
import {
  decodeFrame,
  encodeValueJson,
  encodeValueMsgpack,
  type Encoding,
  type HttpSyncResponse,
} from '@syncline/protocol'
import type { Stamp, Value } from '@syncline/core'
import { Histogram } from '../lib/histogram.ts'
import { VALUE } from '../lib/op-template.ts'
import { answer } from '../lib/remote.ts'
import { signToken } from '../lib/session.ts'

/** What the clients do. */
export interface Load {
  readonly port: number
  readonly connections: number
  readonly encoding: Encoding
  /** Records of each client's map, which are there before it begins. */
  readonly records: number
}

/** What they saw since `begin`. */
export interface Seen {
  readonly elapsedMs: number
  readonly requests: number
  readonly p50Ms: number
  readonly p99Ms: number
}

const latencies = new Histogram()
const pollers: Poller[] = []
let requests = 0
let startedAt = 0
let isEnding = false

/** Records that a request writes while maps are filled. */
const FILL = 200

const HEAD_END = Buffer.from('\r\n\r\n')
const OK = Buffer.from('HTTP/1.1 200 ')

class Poller {
  readonly #socket: Socket
  readonly #encoding: Encoding
  readonly #head: string
  readonly #mapName: string
  readonly #node: string
  readonly #records: number
  #since: Stamp | number = 0
  #count = 0
  #sentAt = 0
  #pending: Buffer | undefined
  #onIdle: (() => void) | undefined

  constructor(socket: Socket, { encoding, records }: Load, token: string, index: number) {
    this.#socket = socket
    this.#records = records
    this.#encoding = encoding
    this.#mapName = `user-${index}`
    this.#node = `poller-${index}`
    const type = encoding === 'json' ? 'application/json' : 'application/x-msgpack'
    this.#head = `POST /sync HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${token}\r\ncontent-type: ${type}\r\ncontent-length: `
    socket.on('data', (data: Buffer) => this.#take(data))
  }

  /** Goes on for ever: one write, and what its map has become since. First it writes every record once, many at a time. */
  send(): void {
    const first = this.#count
    const writes = first < this.#records ? Math.min(FILL, this.#records - first) : 1
    const at = { millis: Date.now(), nodeId: this.#node }
    this.#count += writes
    const body = {
      clientId: this.#node,
      clientHlc: { ...at, counter: first % 65_536 },
      operations: Array.from({ length: writes }, (_, i) => ({
        mapName: this.#mapName,
        key: `key-${(first + i) % this.#records}`,
        record: { value: VALUE, timestamp: { ...at, counter: (first + i) % 65_536 } },
      })),
      syncMaps: [{ mapName: this.#mapName, lastSyncTimestamp: this.#since }],
    } as unknown as Value
    const bytes = this.#encoding === 'json' ? Buffer.from(encodeValueJson(body)) : encodeValueMsgpack(body)
    this.#sentAt = performance.now()
    this.#socket.write(Buffer.concat([Buffer.from(`${this.#head}${bytes.length}\r\n\r\n`), bytes]))
  }

  /** Resolves when its map is full. */
  async filled(): Promise<void> {
    while (this.#count <= this.#records) await new Promise((resolve) => setTimeout(resolve, 10))
  }

  idle(): Promise<void> {
    return new Promise((resolve) => (this.#onIdle = resolve))
  }

  end(): void {
    this.#socket.destroy()
  }

  #take(data: Buffer): void {
    const all = this.#pending === undefined ? data : Buffer.concat([this.#pending, data])
    this.#pending = undefined
    const head = all.indexOf(HEAD_END)
    const length = head < 0 ? Infinity : Number(/content-length: (\d+)/i.exec(all.toString('latin1', 0, head))?.[1])
    if (all.length < head + 4 + length) {
      this.#pending = all
      return
    }
    if (all.compare(OK, 0, OK.length, 0, OK.length) !== 0) throw new Error(all.toString())
    this.#read(all.subarray(head + 4))
    latencies.add(performance.now() - this.#sentAt)
    requests++
    if (isEnding) this.#onIdle?.()
    else this.send()
  }

  #read(body: Buffer): void {
    const decoded = decodeFrame(body)
    if (!decoded.ok) throw new Error(decoded.error.message)
    const { ack, deltas, errors } = decoded.value.message as HttpSyncResponse
    if (ack?.results[0]?.success !== true || deltas.length !== 1 || errors.length > 0) throw new Error(body.toString())
    this.#since = deltas[0]?.serverSyncTimestamp ?? 0
  }
}

answer({
  async open(load: Load) {
    const token = await signToken()
    for (let i = 0; i < load.connections; i++) {
      const socket = connect({ port: load.port, host: '127.0.0.1', noDelay: true })
      await once(socket, 'connect')
      pollers.push(new Poller(socket, load, token, i))
    }
    for (const poller of pollers) poller.send()
    await Promise.all(pollers.map((poller) => poller.filled()))
  },
  begin() {
    latencies.reset()
    requests = 0
    startedAt = performance.now()
  },
  read(): Seen {
    const elapsedMs = performance.now() - startedAt
    return { elapsedMs, requests, p50Ms: latencies.percentile(0.5), p99Ms: latencies.percentile(0.99) }
  },
  async close() {
    const idle = pollers.map((poller) => poller.idle())
    isEnding = true
    await Promise.all(idle)
    for (const poller of pollers) poller.end()
  },
})
