// Subscribers of one topic, and one publisher to it, in three dialects.
import { encodeMsgpack } from '@syncline/protocol/codec/msgpack'
import { Histogram } from '../lib/histogram.ts'
import { VALUE } from '../lib/op-template.ts'
import { maskedFrame, RawClient } from '../lib/raw-client.ts'
import { answer } from '../lib/remote.ts'
import { eachMessage, messagesIn, openSession, sendMessage } from '../lib/session.ts'

/** Which server is spoken to. `bare` is `ws` without any protocol. */
export type Dialect = 'syncline' | 'bare' | 'socket.io'

/** Who subscribes and how fast the publisher is. */
export interface Load {
  readonly port: number
  readonly dialect: Dialect
  readonly subscribers: number
  /** Publications that not all subscribers have had yet, or publications a second. */
  readonly publisher: { readonly inFlight: number } | { readonly perSecond: number }
}

/** What subscribers saw since `begin`. */
export interface Seen {
  readonly elapsedMs: number
  readonly deliveries: number
  /** From a publication until one subscriber has it. Only at a fixed rate. */
  readonly p50Ms: number
  readonly p99Ms: number
}

const TOPIC = 'bench'
const CONNECTING_AT_ONCE = 50
/** One message of so many is decoded in full. */
const CHECK_EVERY = 16_384

const latencies = new Histogram()
const subscribers: RawClient[] = []
/** Messages that each subscriber has had, by its number. */
const received: number[] = []
let publisher: RawClient | undefined
let frame: Uint8Array = new Uint8Array()
let deliveries = 0
let deliveriesAtBegin = 0
let published = 0
let inFlight = 0
let isSending = true
let pacer: NodeJS.Timeout | undefined
let publishedAt = 0
let startedAt = 0
let dialect: Dialect = 'syncline'

/** Counts a payload, and checks some in full. */
function take(subscriber: number, data: Buffer, start: number, end: number): void {
  if (dialect === 'socket.io' && !(data[start] === 0x34 && data[start + 1] === 0x32)) return
  if (deliveries++ % CHECK_EVERY === 0) check(data.subarray(start, end))
  received[subscriber] = (received[subscriber] as number) + 1
  if (pacer !== undefined) latencies.add(performance.now() - publishedAt)
}

function check(payload: Buffer): void {
  const text =
    dialect === 'socket.io' ? payload.toString() : JSON.stringify(messagesIn(payload), (_, value: unknown) => value)
  if (!text.includes(VALUE.title)) throw new Error(`No publication: ${text.slice(0, 200)}`)
}

/** Keeps so many publications under way: one is done when all subscribers have it. */
function refill(): void {
  if (!isSending) return
  const count = inFlight - (published - Math.floor(deliveries / subscribers.length))
  if (count <= 0 || publisher === undefined) return
  published += count
  publisher.socket.write(count === 1 ? frame : Buffer.concat(Array.from({ length: count }, () => frame)))
}

async function subscribe(port: number, subscriber: number): Promise<void> {
  const client = await open(port)
  subscribers[subscriber] = client
  received[subscriber] = 0
  if (dialect === 'syncline') {
    await new Promise<void>((resolve) => {
      client.onPayload = () => resolve()
      sendMessage(client, 'msgpack', { type: 'TOPIC_SUB', payload: { topic: TOPIC } })
      sendMessage(client, 'msgpack', { type: 'PING', timestamp: 0 })
    })
  }
  client.onPayload = (data, start, end) =>
    eachMessage(data, start, end, (part, from, to) => take(subscriber, part, from, to))
  client.onTurn = refill
}

async function open(port: number): Promise<RawClient> {
  if (dialect === 'syncline') return openSession(port)
  if (dialect === 'bare') return RawClient.open(port)
  const client = await RawClient.open(port, '/socket.io/?EIO=4&transport=websocket')
  await new Promise<void>((resolve, reject) => {
    client.onPayload = (data, start, end) => {
      const text = data.toString('utf8', start, end)
      if (text.startsWith('0')) client.send(Buffer.from('40'), true)
      else if (text.startsWith('40')) resolve()
      else reject(new Error(`Socket.IO said ${text}`))
    }
  })
  return client
}

answer({
  async open(load: Load) {
    dialect = load.dialect
    for (let first = 0; first < load.subscribers; first += CONNECTING_AT_ONCE) {
      const count = Math.min(CONNECTING_AT_ONCE, load.subscribers - first)
      await Promise.all(Array.from({ length: count }, (_, i) => subscribe(load.port, first + i)))
    }
    publisher = await open(load.port)
    const message = { type: 'TOPIC_PUB', payload: { topic: TOPIC, data: VALUE } } as const
    frame =
      dialect === 'socket.io'
        ? maskedFrame(Buffer.from(`42${JSON.stringify(['publish', VALUE])}`), 1)
        : maskedFrame(encodeMsgpack(message))
    if ('inFlight' in load.publisher) {
      inFlight = load.publisher.inFlight
      return refill()
    }
    isSending = false
    pacer = setInterval(() => {
      // One that is late would take the place of the one before it, whose deliveries are still coming.
      if (deliveries < published * subscribers.length) return
      published++
      publishedAt = performance.now()
      publisher?.socket.write(frame)
    }, 1_000 / load.publisher.perSecond)
  },
  begin() {
    latencies.reset()
    deliveriesAtBegin = deliveries
    startedAt = performance.now()
  },
  read(): Seen {
    const elapsedMs = performance.now() - startedAt
    const [p50Ms, p99Ms] = [latencies.percentile(0.5), latencies.percentile(0.99)]
    return { elapsedMs, deliveries: deliveries - deliveriesAtBegin, p50Ms, p99Ms }
  },
  /** Stops publishing and waits until every subscriber has had every message, once. */
  async close() {
    clearInterval(pacer)
    isSending = false
    const deadline = performance.now() + 10_000
    while (!received.every((count) => count === published)) {
      if (performance.now() > deadline)
        throw new Error(`Of ${published} messages subscribers had ${Math.min(...received)} to ${Math.max(...received)}`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    for (const client of [...subscribers, publisher]) client?.end()
  },
})
