// Subscribers of one query, and one writer of the map that it is asked of.
import { answer } from '../lib/remote.ts'
import type { RawClient } from '../lib/raw-client.ts'
import { bare, hocuspocus, syncline } from './speakers.ts'

/** Who subscribes, and to what. */
export interface FanOutLoad {
  readonly port: number
  readonly kind: 'syncline' | 'bare' | 'hocuspocus'
  readonly subscribers: number
  /** Keys of the map. */
  readonly keys: number
}

/** What subscribers saw since `begin`. */
export interface Delivered {
  readonly elapsedMs: number
  readonly deliveries: number
  readonly writes: number
}

const IN_FLIGHT = 16
const CONNECTING_AT_ONCE = 50
const SPEAKERS = { syncline, bare, hocuspocus }

const clients: RawClient[] = []
const received: number[] = []
let [deliveries, writes, inFlight, startedAt] = [0, 0, 0, 0]
let isSending = true

answer({
  async open({ port, kind, subscribers, keys }: FanOutLoad) {
    const speaker = SPEAKERS[kind]
    let next = 0
    const acknowledged = (): void => {
      inFlight--
      writes++
      if (isSending) send()
    }
    const { client, write } = await speaker.writer(port, acknowledged)
    clients.push(client)
    const send = (): void => {
      inFlight++
      write(next++ % keys)
    }
    // The whole map is written before anybody looks.
    isSending = false
    for (let key = 0; key < keys; key += IN_FLIGHT) {
      for (let i = key; i < Math.min(keys, key + IN_FLIGHT); i++) send()
      while (inFlight > 0) await new Promise((resolve) => setImmediate(resolve))
    }
    for (let first = 0; first < subscribers; first += CONNECTING_AT_ONCE) {
      const count = Math.min(CONNECTING_AT_ONCE, subscribers - first)
      const opened = Array.from({ length: count }, (_, i) => {
        received[first + i] = 0
        return speaker.subscribe(port, () => {
          deliveries++
          received[first + i] = (received[first + i] as number) + 1
        })
      })
      clients.push(...(await Promise.all(opened)))
    }
    isSending = true
    for (let i = 0; i < IN_FLIGHT; i++) send()
  },
  begin() {
    deliveries = writes = 0
    startedAt = performance.now()
  },
  read: (): Delivered => ({ elapsedMs: performance.now() - startedAt, deliveries, writes }),
  /** Stops writing and waits until every subscriber has had as many changes as every other. */
  async close() {
    isSending = false
    const deadline = performance.now() + 10_000
    while (inFlight > 0 || received.some((count) => count !== received[0])) {
      if (performance.now() > deadline) {
        throw new Error(`Subscribers had between ${Math.min(...received)} and ${Math.max(...received)} changes`)
      }
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    for (const client of clients) client.end()
  },
})
