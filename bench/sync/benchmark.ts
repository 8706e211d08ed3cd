// Sync by polling, beside what `node:http` does with the same bodies.
import type { Encoding } from '@syncline/protocol'
import { startProcess } from '../lib/processes.ts'
import { latencyLine, measureRates, type Rates, type Work } from '../lib/rates.ts'
import { CONFIGURATION, startSyncline } from '../lib/servers.ts'
import type { Row, Suite } from '../lib/suite.ts'
import type { Load, Seen } from './load.ts'

const CONNECTIONS = 50
const RECORDS = 200
const BARE = { json: 'bare node:http, JSON', msgpack: 'bare node:http, MessagePack' }
const SYNC = { json: 'POST /sync, JSON', msgpack: 'POST /sync, MessagePack' }

/** Neither may make a request dearer. */
const LARGE = 'POST /sync, JSON, maps of 2,000 records'
const MANY = 'POST /sync, JSON, 500 connections'

const work = (name: string, start: Work['start'], encoding: Encoding, more: Partial<Load> = {}): Work => {
  const load: Omit<Load, 'port'> = { connections: CONNECTIONS, records: RECORDS, encoding, ...more }
  return { name, start, script: new URL('load.ts', import.meta.url), load }
}

const startBare = (encoding: Encoding): ReturnType<Work['start']> =>
  startProcess(new URL('bare-http.ts', import.meta.url), { encoding }, { core: 'server' })

const WORKS: readonly Work[] = [
  work(BARE.json, () => startBare('json'), 'json'),
  work(SYNC.json, () => startSyncline(), 'json'),
  work(BARE.msgpack, () => startBare('msgpack'), 'msgpack'),
  work(SYNC.msgpack, () => startSyncline(), 'msgpack'),
  work(LARGE, () => startSyncline(), 'json', { records: 10 * RECORDS }),
  work(MANY, () => startSyncline(), 'json', { connections: 10 * CONNECTIONS }),
]

/** Requests per second, and how long one takes. */
export const suite: Suite = {
  name: 'sync',
  title: `${CONNECTIONS} keep-alive connections, each POSTs 1 operation and catches up with 1 map of its own; ${CONFIGURATION}`,
  run: (settings, log) =>
    measureRates<Seen>(WORKS, settings, log, { countOf: ({ requests }) => requests, more: latencyLine, rowsOf }),
}

function rowsOf(rates: Rates<Seen>): Row[] {
  const beside = (name: string): Row =>
    rates.perSecond(name, { ratio: { of: SYNC.json, value: rates.share(name, SYNC.json), goal: 0.7 } })
  const rows = (['json', 'msgpack'] as const).flatMap((encoding) => [
    rates.perSecond(BARE[encoding]),
    rates.perSecond(SYNC[encoding], {
      goal: 12_000,
      ratio: { of: BARE[encoding], value: rates.share(SYNC[encoding], BARE[encoding]), goal: 0.5 },
    }),
    rates.latency(SYNC[encoding], 'p50'),
    rates.latency(SYNC[encoding], 'p99'),
  ])
  return [...rows, beside(LARGE), beside(MANY)]
}
