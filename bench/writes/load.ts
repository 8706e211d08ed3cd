// Writers in a closed loop.
import { KEYS } from '../lib/op-template.ts'
import { RawClient } from '../lib/raw-client.ts'
import { answer } from '../lib/remote.ts'
import { openSession } from '../lib/session.ts'
import { Tally, Writer, type WriterSettings } from '../lib/writer.ts'

/** What the writers do. */
export interface Load extends WriterSettings {
  readonly port: number
  readonly connections: number
}

/** What the writers saw since `begin`. */
export interface Seen {
  readonly elapsedMs: number
  readonly ops: number
  readonly p50Ms: number
  readonly p99Ms: number
}

const tally = new Tally()
const writers: Writer[] = []
let startedAt = 0

answer({
  async open(load: Load) {
    const { port, connections, isBare, inFlight } = load
    for (let i = 0; i < connections; i++) {
      const client = isBare === true ? await RawClient.open(port) : await openSession(port)
      const name = `writer-${String(i).padStart(2, '0')}`
      writers.push(new Writer(client, load, tally, name, Math.floor((i * KEYS) / connections)))
    }
    for (const writer of writers) writer.send(inFlight)
  },
  begin() {
    tally.latencies.reset()
    tally.ops = 0
    startedAt = performance.now()
  },
  read(): Seen {
    const { ops, latencies } = tally
    const elapsedMs = performance.now() - startedAt
    return { elapsedMs, ops, p50Ms: latencies.percentile(0.5), p99Ms: latencies.percentile(0.99) }
  },
  async close() {
    await tally.drain()
    for (const writer of writers) writer.end()
  },
})
