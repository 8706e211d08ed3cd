// Live queries: what many who ask the same cost, and what a write costs that concerns one of very many.
import { median } from '../lib/histogram.ts'
import { startProcess } from '../lib/processes.ts'
import { CONFIGURATION, startBare, startHocuspocus, startSyncline } from '../lib/servers.ts'
import type { Row, Settings, Suite } from '../lib/suite.ts'
import { measureWindow, perCpuSecond, shareOf, usageNote, windowLine, type Window } from '../lib/window.ts'
import type { CostLoad, Written } from './cost-load.ts'
import type { Delivered, FanOutLoad } from './fan-out-load.ts'

interface FanOut {
  readonly name: string
  readonly load: Omit<FanOutLoad, 'port'>
  readonly isJoined?: boolean
}

interface Cost {
  readonly name: string
  readonly load: Omit<CostLoad, 'port'>
}

const BARE = 'bare ws, 1,000 subscribers, one frame per change'
const JOINED = 'bare ws, 1,000 subscribers, changes joined'
const PEER = 'Hocuspocus, 1,000 subscribers of a document'
const LIVE = 'live query, 1,000 subscribers, 100 keys'
const JOINED_FEW = 'bare ws, 100 subscribers, changes joined'
const LIVE_LARGE = 'live query, 100 subscribers, 10,000 keys'

const FAN_OUTS: readonly FanOut[] = [
  { name: BARE, load: { kind: 'bare', subscribers: 1_000, keys: 100 } },
  { name: JOINED, load: { kind: 'bare', subscribers: 1_000, keys: 100 }, isJoined: true },
  { name: PEER, load: { kind: 'hocuspocus', subscribers: 1_000, keys: 100 } },
  { name: LIVE, load: { kind: 'syncline', subscribers: 1_000, keys: 100 } },
  { name: JOINED_FEW, load: { kind: 'bare', subscribers: 100, keys: 10_000 }, isJoined: true },
  { name: LIVE_LARGE, load: { kind: 'syncline', subscribers: 100, keys: 10_000 } },
]

const FEW = 'write, 10 different queries'
const MANY = 'write, 10,000 different queries'
const WINDOW = 'write inside a window of 50 of 100,000 sorted records'

const COSTS: readonly Cost[] = [
  { name: FEW, load: { records: 10_000, ask: { queries: 10 } } },
  { name: MANY, load: { records: 10_000, ask: { queries: 10_000 } } },
  { name: WINDOW, load: { records: 100_000, ask: 'window' } },
]

interface Round extends Window<unknown> {
  readonly rate: number
}

/** Deliveries per second, and the server's CPU time for a write. */
export const suite: Suite = {
  name: 'queries',
  title: `live queries, one writer with 16 PUTs in flight; ${CONFIGURATION}`,
  async run(settings, log) {
    const rounds = new Map<string, Round[]>()
    const note = (name: string, round: Round): void => {
      rounds.set(name, [...(rounds.get(name) ?? []), round])
      log(`${name}: ${windowLine(round)}`)
    }
    const isWanted = ({ name }: { readonly name: string }): boolean =>
      settings.only === undefined || name.includes(settings.only)
    for (let round = 0; round < settings.rounds; round++) {
      for (const work of FAN_OUTS.filter(isWanted)) note(work.name, await measureFanOut(work, settings, log))
      for (const work of COSTS.filter(isWanted)) note(work.name, await measureCost(work, settings, log))
    }
    return settings.isProfile || settings.only !== undefined ? [] : rowsOf(rounds)
  },
}

async function measureFanOut(
  { load: { kind, ...load }, isJoined = false }: FanOut,
  settings: Settings,
  log: (line: string) => void,
): Promise<Round> {
  const server = await (kind === 'syncline'
    ? startSyncline()
    : kind === 'hocuspocus'
      ? startHocuspocus()
      : startBare(isJoined ? 'fan-out-joined' : 'fan-out'))
  const speaker = await startProcess(new URL('fan-out-load.ts', import.meta.url), {}, { core: 'load' })
  try {
    await speaker.call('open', { ...load, kind, port: await server.call<number>('port') })
    const window = await measureWindow<Delivered>(server, speaker, settings, log)
    await speaker.call('close')
    return { ...window, rate: (window.seen.deliveries * 1000) / window.seen.elapsedMs }
  } finally {
    await Promise.all([speaker.stop(), server.stop()])
  }
}

async function measureCost({ load }: Cost, settings: Settings, log: (line: string) => void): Promise<Round> {
  const server = await startSyncline()
  const writer = await startProcess(new URL('cost-load.ts', import.meta.url), {}, { core: 'load' })
  try {
    await writer.call('open', { ...load, port: await server.call<number>('port') })
    const window = await measureWindow<Written>(server, writer, settings, log)
    await writer.call('close')
    return { ...window, rate: (window.seen.writes * 1000) / window.seen.elapsedMs }
  } finally {
    await Promise.all([writer.stop(), server.stop()])
  }
}

function rowsOf(rounds: ReadonlyMap<string, readonly Round[]>): Row[] {
  const of = (name: string): readonly Round[] => rounds.get(name) ?? []
  const deliveries = (name: string, rest: Partial<Row> = {}): Row => ({
    name,
    figure: median(of(name).map(({ rate }) => rate)),
    unit: '/s',
    perCpuSecond: median(of(name).map(perCpuSecond)),
    note: usageNote(of(name)),
    ...rest,
  })
  /** Milliseconds of the server's CPU time for each write: receiving, storing, answering and telling included. */
  const cost = (name: string, rest: Partial<Row> = {}): Row => ({
    name,
    figure: median(of(name).map((round) => 1_000 / perCpuSecond(round))),
    unit: 'ms',
    note: usageNote(of(name)),
    ...rest,
  })
  return [
    deliveries(BARE),
    deliveries(JOINED),
    deliveries(PEER),
    deliveries(LIVE, { goal: 280_000, ratio: { of: JOINED, value: shareOf(of(LIVE), of(JOINED)) } }),
    deliveries(JOINED_FEW),
    deliveries(LIVE_LARGE, {
      goal: 250_000,
      ratio: { of: JOINED_FEW, value: shareOf(of(LIVE_LARGE), of(JOINED_FEW)) },
    }),
    cost(FEW),
    cost(MANY, { ratio: { of: FEW, value: 1 / shareOf(of(MANY), of(FEW)), goal: 2 } }),
    cost(WINDOW, { goal: 0.1 }),
  ]
}
