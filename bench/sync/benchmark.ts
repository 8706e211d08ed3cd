// Sync by polling, beside what `node:http` does with the same bodies.
import type { Encoding } from '@syncline/protocol'
import { startProcess } from '../lib/processes.ts'
import { latencyLine, measureRates, type Rates, type Work } from '../lib/rates.ts'
import { CONFIGURATION, startSyncline } from '../lib/servers.ts'
import type { Row, Suite } from '../lib/suite.ts'
import type { Load, Seen } from './load.ts'

const CONNECTIONS = 50
const BARE = { json: 'bare node:http, JSON', msgpack: 'bare node:http, MessagePack' }
const SYNC = { json: 'POST /sync, JSON', msgpack: 'POST /sync, MessagePack' }

const work = (name: string, encoding: Encoding, start: Work['start']): Work => {
  const load: Omit<Load, 'port'> = { connections: CONNECTIONS, encoding }
  return { name, start, script: new URL('load.ts', import.meta.url), load }
}

const WORKS: readonly Work[] = (['json', 'msgpack'] as const).flatMap((encoding) => [
  work(BARE[encoding], encoding, () =>
    startProcess(new URL('bare-http.ts', import.meta.url), { encoding }, { core: 'server' }),
  ),
  work(SYNC[encoding], encoding, () => startSyncline()),
])

/** Requests per second, and how long one takes. */
export const suite: Suite = {
  name: 'sync',
  title: `${CONNECTIONS} keep-alive connections, each POSTs 1 operation and catches up with 1 map of its own; ${CONFIGURATION}`,
  run: (settings, log) =>
    measureRates<Seen>(WORKS, settings, log, { countOf: ({ requests }) => requests, more: latencyLine, rowsOf }),
}

function rowsOf(rates: Rates<Seen>): Row[] {
  return (['json', 'msgpack'] as const).flatMap((encoding) => [
    rates.perSecond(BARE[encoding]),
    rates.perSecond(SYNC[encoding], {
      goal: 12_000,
      ratio: { of: BARE[encoding], value: rates.share(SYNC[encoding], BARE[encoding]), goal: 0.5 },
    }),
    rates.latency(SYNC[encoding], 'p50'),
    rates.latency(SYNC[encoding], 'p99'),
  ])
}
