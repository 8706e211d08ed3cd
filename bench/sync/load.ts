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

const HEAD_END = Buffer.from('\r\n\r\n')
const OK = Buffer.from('HTTP/1.1 200 ')

class Poller {
  readonly #socket: Socket
  readonly #encoding: Encoding
  readonly #head: string
  readonly #mapName: string
  readonly #node: string
  #since: Stamp | number = 0
  #count = 0
  #sentAt = 0
  #pending: Buffer | undefined
  #onIdle: (() => void) | undefined

  constructor(socket: Socket, encoding: Encoding, token: string, index: number) {
    this.#socket = socket
    this.#encoding = encoding
    this.#mapName = `user-${index}`
    this.#node = `poller-${index}`
    const type = encoding === 'json' ? 'application/json' : 'application/x-msgpack'
    this.#head = `POST /sync HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${token}\r\ncontent-type: ${type}\r\ncontent-length: `
    socket.on('data', (data: Buffer) => this.#take(data))
  }

  send(): void {
    const count = this.#count++
    const clientHlc = { millis: Date.now(), counter: count % 65_536, nodeId: this.#node }
    const body = {
      clientId: this.#node,
      clientHlc,
      operations: [
        { mapName: this.#mapName, key: `key-${count % 200}`, record: { value: VALUE, timestamp: clientHlc } },
      ],
      syncMaps: [{ mapName: this.#mapName, lastSyncTimestamp: this.#since }],
    } as unknown as Value
    const bytes = this.#encoding === 'json' ? Buffer.from(encodeValueJson(body)) : encodeValueMsgpack(body)
    this.#sentAt = performance.now()
    this.#socket.write(Buffer.concat([Buffer.from(`${this.#head}${bytes.length}\r\n\r\n`), bytes]))
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
  async open({ port, connections, encoding }: Load) {
    const token = await signToken()
    for (let i = 0; i < connections; i++) {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true })
      await once(socket, 'connect')
      pollers.push(new Poller(socket, encoding, token, i))
    }
    for (const poller of pollers) poller.send()
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
