// Live queries: what many who ask the same cost, and what a write costs that concerns one of very many.
import { median } from '../lib/histogram.ts'
import { measureRates, type Rates, type Work } from '../lib/rates.ts'
import { CONFIGURATION, startBare, startHocuspocus, startSyncline } from '../lib/servers.ts'
import type { Row, Suite } from '../lib/suite.ts'
import { perCpuSecond, usageNote } from '../lib/window.ts'
import type { CostLoad, Written } from './cost-load.ts'
import type { Delivered, FanOutLoad } from './fan-out-load.ts'

const BARE = 'bare ws, 1,000 subscribers, one frame per change'
const JOINED = 'bare ws, 1,000 subscribers, changes joined'
const PEER = 'Hocuspocus, 1,000 subscribers of a document'
const LIVE = 'live query, 1,000 subscribers, 100 keys'
const JOINED_FEW = 'bare ws, 100 subscribers, changes joined'
const LIVE_LARGE = 'live query, 100 subscribers, 10,000 keys'

const FEW = 'write, 10 different queries'
const MANY = 'write, 10,000 different queries'
const WINDOW = 'write inside a window of 50 of 100,000 sorted records'

const fanOut = (
  name: string,
  start: Work['start'],
  kind: FanOutLoad['kind'],
  subscribers: number,
  keys: number,
): Work => {
  const load: Omit<FanOutLoad, 'port'> = { kind, subscribers, keys }
  return { name, start, script: new URL('fan-out-load.ts', import.meta.url), load }
}
const cost = (name: string, load: Omit<CostLoad, 'port'>): Work => ({
  name,
  start: () => startSyncline(),
  script: new URL('cost-load.ts', import.meta.url),
  load,
})

const WORKS: readonly Work[] = [
  fanOut(BARE, () => startBare('fan-out'), 'bare', 1_000, 100),
  fanOut(JOINED, () => startBare('fan-out-joined'), 'bare', 1_000, 100),
  fanOut(PEER, startHocuspocus, 'hocuspocus', 1_000, 100),
  fanOut(LIVE, () => startSyncline(), 'syncline', 1_000, 100),
  fanOut(JOINED_FEW, () => startBare('fan-out-joined'), 'bare', 100, 10_000),
  fanOut(LIVE_LARGE, () => startSyncline(), 'syncline', 100, 10_000),
  cost(FEW, { records: 10_000, ask: { queries: 10 } }),
  cost(MANY, { records: 10_000, ask: { queries: 10_000 } }),
  cost(WINDOW, { records: 100_000, ask: 'window' }),
]

type Seen = Delivered | Written

/** Deliveries per second, and the server's CPU time for a write. */
export const suite: Suite = {
  name: 'queries',
  title: `live queries, one writer with 16 PUTs in flight; ${CONFIGURATION}`,
  run: (settings, log) =>
    measureRates<Seen>(WORKS, settings, log, {
      countOf: (seen) => ('deliveries' in seen ? seen.deliveries : seen.writes),
      rowsOf,
    }),
}

function rowsOf(rates: Rates<Seen>): Row[] {
  /** Milliseconds of the server's CPU time for each write: receiving, storing, answering and telling included. */
  const costRow = (name: string, rest: Partial<Row> = {}): Row => ({
    name,
    figure: median(rates.of(name).map((round) => 1_000 / perCpuSecond(round))),
    unit: 'ms',
    note: usageNote(rates.of(name)),
    ...rest,
  })
  return [
    rates.perSecond(BARE),
    rates.perSecond(JOINED),
    rates.perSecond(PEER),
    rates.perSecond(LIVE, { goal: 280_000, ratio: { of: JOINED, value: rates.share(LIVE, JOINED) } }),
    rates.perSecond(JOINED_FEW),
    rates.perSecond(LIVE_LARGE, {
      goal: 250_000,
      ratio: { of: JOINED_FEW, value: rates.share(LIVE_LARGE, JOINED_FEW) },
    }),
    costRow(FEW),
    costRow(MANY, { ratio: { of: FEW, value: 1 / rates.share(MANY, FEW), goal: 2 } }),
    costRow(WINDOW, { goal: 0.1 }),
  ]
}
