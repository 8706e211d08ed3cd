// Fan-out of a map's events to those who follow it, beside what `ws` does with the same bytes.
import { median } from '../lib/histogram.ts'
import { latencyLine, measureRates, type Rates, type Work } from '../lib/rates.ts'
import { CONFIGURATION, startBare, startSyncline } from '../lib/servers.ts'
import type { Row, Suite } from '../lib/suite.ts'
import { usageNote } from '../lib/window.ts'
import type { Load, Seen } from './load.ts'

const script = new URL('load.ts', import.meta.url)

const FULL = { subscribers: 1_000, writer: { inFlight: 16 } }
const PACED = { subscribers: 1_000, writer: { perSecond: 20 } }

const BARE = 'bare ws, one frame per event'
const JOINED = 'bare ws, events joined'
const EVENTS = 'events, writer at full speed'
const BARE_PACED = 'bare ws, 20 writes a second'
const EVENTS_PACED = 'events, 20 writes a second'

const bare = (name: string, mode: 'fan-out' | 'fan-out-joined', load: Omit<Load, 'port' | 'isBare'>): Work => ({
  name,
  start: () => startBare(mode),
  script,
  load: { ...load, isBare: true },
})
const followed = (name: string, load: Omit<Load, 'port' | 'isBare'>): Work => ({
  name,
  start: () => startSyncline(),
  script,
  load: { ...load, isBare: false },
})

const WORKS: readonly Work[] = [
  bare(BARE, 'fan-out', FULL),
  bare(JOINED, 'fan-out-joined', FULL),
  followed(EVENTS, FULL),
  bare(BARE_PACED, 'fan-out', PACED),
  followed(EVENTS_PACED, PACED),
]

const writesPerSecond = ({ writes, elapsedMs }: Seen): number => (writes * 1_000) / elapsedMs

/** Deliveries per second, and how long one takes. */
export const suite: Suite = {
  name: 'events',
  title: `1,000 followers of a map by cursor, one writer with 16 PUTs in flight or 20 a second; ${CONFIGURATION}`,
  run: (settings, log) =>
    measureRates<Seen>(WORKS, settings, log, {
      countOf: ({ deliveries }) => deliveries,
      more: (seen, { name }) =>
        `; ${Math.round(writesPerSecond(seen))} writes/s${[BARE_PACED, EVENTS_PACED].includes(name) ? latencyLine(seen) : ''}`,
      rowsOf,
    }),
}

function rowsOf(rates: Rates<Seen>): Row[] {
  const deliveries = (name: string, rest: Partial<Row> = {}): Row => {
    const writes = median(rates.of(name).map(({ seen }) => writesPerSecond(seen)))
    return rates.perSecond(name, { note: `${Math.round(writes)} writes/s; ${usageNote(rates.of(name))}`, ...rest })
  }
  return [
    deliveries(BARE),
    deliveries(JOINED),
    deliveries(EVENTS, { goal: 340_000, ratio: { of: JOINED, value: rates.share(EVENTS, JOINED) } }),
    rates.latency(BARE_PACED, 'p50'),
    rates.latency(BARE_PACED, 'p99'),
    rates.latency(EVENTS_PACED, 'p50', 5),
    rates.latency(EVENTS_PACED, 'p99', 13),
  ]
}
