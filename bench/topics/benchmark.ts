// Fan-out of a topic to those who subscribe to it, beside what Socket.IO and `ws` do with the same message.
import { latencyLine, measureRates, type Rates, type Work } from '../lib/rates.ts'
import { CONFIGURATION, startBare, startSocketIo, startSyncline } from '../lib/servers.ts'
import type { Row, Suite } from '../lib/suite.ts'
import type { Load, Seen } from './load.ts'

const script = new URL('load.ts', import.meta.url)
const load = (args: Omit<Load, 'port'>): Pick<Work, 'script' | 'load'> => ({ script, load: args })

const FULL = { subscribers: 1_000, publisher: { inFlight: 16 } }
const PACED = { subscribers: 1_000, publisher: { perSecond: 20 } }
const PEER = { dialect: 'socket.io' } as const
const BARE = { dialect: 'bare' } as const
const OURS = { dialect: 'syncline' } as const

const ONE_BUFFER = 'bare ws, one buffer for each message'
const JOINED = 'bare ws, messages joined'
const SOCKET_IO = 'Socket.IO'
const TOPIC = 'topic, publisher at full speed'
const JOINED_PACED = 'bare ws, 20 messages a second'
const SOCKET_IO_PACED = 'Socket.IO, 20 messages a second'
const TOPIC_PACED = 'topic, 20 messages a second'
const PACED_WORKS = [JOINED_PACED, SOCKET_IO_PACED, TOPIC_PACED]

const WORKS: readonly Work[] = [
  { name: ONE_BUFFER, start: () => startBare('relay'), ...load({ ...FULL, ...BARE }) },
  { name: JOINED, start: () => startBare('relay-joined'), ...load({ ...FULL, ...BARE }) },
  { name: SOCKET_IO, start: startSocketIo, ...load({ ...FULL, ...PEER }) },
  { name: TOPIC, start: () => startSyncline(), ...load({ ...FULL, ...OURS }) },
  { name: JOINED_PACED, start: () => startBare('relay-joined'), ...load({ ...PACED, ...BARE }) },
  { name: SOCKET_IO_PACED, start: startSocketIo, ...load({ ...PACED, ...PEER }) },
  { name: TOPIC_PACED, start: () => startSyncline(), ...load({ ...PACED, ...OURS }) },
]

/** Deliveries per second, and how long one takes. */
export const suite: Suite = {
  name: 'topics',
  title: `1,000 subscribers of a topic, one publisher with 16 messages under way or 20 a second; ${CONFIGURATION}`,
  run: (settings, log) =>
    measureRates<Seen>(WORKS, settings, log, {
      countOf: ({ deliveries }) => deliveries,
      more: (seen, { name }) => (PACED_WORKS.includes(name) ? latencyLine(seen) : ''),
      rowsOf,
    }),
}

function rowsOf(rates: Rates<Seen>): Row[] {
  const share = (name: string, goal?: number): Pick<Row, 'ratio'> => ({
    ratio: { of: JOINED, value: rates.share(name, JOINED), ...(goal === undefined ? {} : { goal }) },
  })
  return [
    rates.perSecond(ONE_BUFFER, share(ONE_BUFFER)),
    rates.perSecond(JOINED),
    rates.perSecond(SOCKET_IO, share(SOCKET_IO)),
    rates.perSecond(TOPIC, { goal: 340_000, ...share(TOPIC, 0.86) }),
    ...[JOINED_PACED, SOCKET_IO_PACED].flatMap((name) => [rates.latency(name, 'p50'), rates.latency(name, 'p99')]),
    rates.latency(TOPIC_PACED, 'p50', 5),
    rates.latency(TOPIC_PACED, 'p99', 13),
  ]
}
