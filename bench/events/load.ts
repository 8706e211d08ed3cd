// Subscribers of one map, and one writer to it.
import { Histogram } from '../lib/histogram.ts'
import { MAP } from '../lib/op-template.ts'
import { RawClient } from '../lib/raw-client.ts'
import { answer } from '../lib/remote.ts'
import { eachMessage, messagesIn, openSession, sendMessage } from '../lib/session.ts'
import { Tally, Writer } from '../lib/writer.ts'

/** Who subscribes and how fast the writer is. */
export interface Load {
  readonly port: number
  readonly subscribers: number
  /** Writes under way at once, or writes a second. */
  readonly writer: { readonly inFlight: number } | { readonly perSecond: number }
  /** The peer is a bare `ws` server, which sends everything to everyone. */
  readonly isBare?: boolean
}

/** What subscribers saw since `begin`. */
export interface Seen {
  readonly elapsedMs: number
  readonly deliveries: number
  readonly writes: number
  /** From a write until one subscriber has it. Only at a fixed rate of writes. */
  readonly p50Ms: number
  readonly p99Ms: number
}

const CONNECTING_AT_ONCE = 50
/** One message of so many is decoded in full. */
const CHECK_EVERY = 16_384

const tally = new Tally()
const latencies = new Histogram()
const subscribers: RawClient[] = []
/** Events that each subscriber has had, by its number. */
const received: number[] = []
let deliveries = 0
let messages = 0
let writer: Writer | undefined
let writerClient: RawClient | undefined
let pacer: NodeJS.Timeout | undefined
let writtenAt = 0
let startedAt = 0
let isBare = false

function take(subscriber: number, data: Buffer, start: number, end: number): void {
  const count = isBare ? 1 : eventsIn(data, start, end)
  if (count === 0) return
  deliveries += count
  received[subscriber] = (received[subscriber] as number) + count
  if (pacer !== undefined) latencies.add(performance.now() - writtenAt)
}

/** How many changes of records a message brings. The byte before a type tells its length, and that the type. */
function eventsIn(data: Buffer, start: number, end: number): number {
  const typeLength = (data[start + 6] as number) & 0x1f
  const isBatch = typeLength === 'SERVER_BATCH_EVENT'.length
  if (!isBatch && typeLength !== 'SERVER_EVENT'.length) return 0
  const count = isBatch ? lengthOfList(data, data.indexOf('events', start) + 'events'.length) : 1
  if (++messages % CHECK_EVERY === 1) check(data.subarray(start, end), count)
  return count
}

function lengthOfList(data: Buffer, at: number): number {
  const head = data[at] as number
  return head === 0xdc ? data.readUInt16BE(at + 1) : head & 0x0f
}

/** Decodes a message in full: it must hold as many events as were counted, with their records and a cursor. */
function check(payload: Buffer, count: number): void {
  const [message] = messagesIn(payload)
  const events =
    message?.type === 'SERVER_EVENT'
      ? [message.payload]
      : message?.type === 'SERVER_BATCH_EVENT'
        ? message.payload.events
        : []
  const isWhole = events.every(({ mapName, record }) => mapName === MAP && record.value !== null)
  const hasCursor = message !== undefined && 'payload' in message && 'cursor' in message.payload
  if (events.length !== count || !isWhole || !hasCursor)
    throw new Error(`Not ${count} events: ${JSON.stringify(message)}`)
}

async function subscribe(port: number, subscriber: number): Promise<void> {
  const client = isBare ? await RawClient.open(port) : await openSession(port)
  subscribers[subscriber] = client
  received[subscriber] = 0
  if (!isBare) {
    await new Promise<void>((resolve) => {
      // The page that ends the diff: from here on the subscriber is live.
      client.onPayload = () => resolve()
      sendMessage(client, 'msgpack', { type: 'SYNC_INIT', mapName: MAP, cursor: null })
    })
  }
  client.onPayload = (data, start, end) =>
    eachMessage(data, start, end, (part, from, to) => take(subscriber, part, from, to))
}

answer({
  async open(load: Load) {
    isBare = load.isBare === true
    for (let first = 0; first < load.subscribers; first += CONNECTING_AT_ONCE) {
      const count = Math.min(CONNECTING_AT_ONCE, load.subscribers - first)
      await Promise.all(Array.from({ length: count }, (_, i) => subscribe(load.port, first + i)))
    }
    const inFlight = 'inFlight' in load.writer ? load.writer.inFlight : 16
    writerClient = isBare ? await RawClient.open(load.port) : await openSession(load.port)
    writer = new Writer(writerClient, { opsPerFrame: 1, inFlight, isBare }, tally, 'writer-00', 0)
    if ('inFlight' in load.writer) return writer.send(inFlight)
    tally.isSending = false
    pacer = setInterval(() => {
      // A write that is late would take the place of the one before it, whose deliveries are still coming.
      if (tally.inFlight > 0) return
      writtenAt = performance.now()
      writer?.send(1)
    }, 1_000 / load.writer.perSecond)
  },
  begin() {
    latencies.reset()
    tally.ops = 0
    deliveries = 0
    startedAt = performance.now()
  },
  read(): Seen {
    const elapsedMs = performance.now() - startedAt
    const [p50Ms, p99Ms] = [latencies.percentile(0.5), latencies.percentile(0.99)]
    return { elapsedMs, deliveries, writes: tally.ops, p50Ms, p99Ms }
  },
  /** Stops writing and waits until every subscriber has had as many events as every other. */
  async close() {
    clearInterval(pacer)
    await tally.drain()
    const deadline = performance.now() + 10_000
    const isComplete = (): boolean => received.every((count) => count === received[0])
    while (!isComplete()) {
      if (performance.now() > deadline)
        throw new Error(`Subscribers had between ${Math.min(...received)} and ${Math.max(...received)} events`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    for (const client of [...subscribers, writerClient]) client?.end()
  },
})
