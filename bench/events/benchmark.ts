// Fan-out of a map's events to those who follow it, beside what `ws` does with the same bytes.
import { median } from '../lib/histogram.ts'
import { startProcess } from '../lib/processes.ts'
import { CONFIGURATION, startBare, startSyncline } from '../lib/servers.ts'
import type { Row, Settings, Suite } from '../lib/suite.ts'
import { measureWindow, perCpuSecond, shareOf, usageNote, windowLine, type Window } from '../lib/window.ts'
import type { Load, Seen } from './load.ts'

interface Work {
  readonly name: string
  readonly server: 'syncline' | 'fan-out' | 'fan-out-joined'
  readonly load: Omit<Load, 'port' | 'isBare'>
}

const FULL = { subscribers: 1_000, writer: { inFlight: 16 } }
const PACED = { subscribers: 1_000, writer: { perSecond: 20 } }

const BARE = 'bare ws, one frame per event'
const JOINED = 'bare ws, events joined'
const EVENTS = 'events, writer at full speed'
const BARE_PACED = 'bare ws, 20 writes a second'
const EVENTS_PACED = 'events, 20 writes a second'

const WORKS: readonly Work[] = [
  { name: BARE, server: 'fan-out', load: FULL },
  { name: JOINED, server: 'fan-out-joined', load: FULL },
  { name: EVENTS, server: 'syncline', load: FULL },
  { name: BARE_PACED, server: 'fan-out', load: PACED },
  { name: EVENTS_PACED, server: 'syncline', load: PACED },
]

interface Round extends Window<Seen> {
  readonly rate: number
}

/** Deliveries per second, and how long one takes. */
export const suite: Suite = {
  name: 'events',
  title: `1,000 followers of a map by cursor, one writer with 16 PUTs in flight or 20 a second; ${CONFIGURATION}`,
  async run(settings, log) {
    const rounds = new Map<string, Round[]>(WORKS.map(({ name }) => [name, []]))
    for (let round = 0; round < settings.rounds; round++) {
      for (const work of WORKS) {
        if (settings.only !== undefined && !work.name.includes(settings.only)) continue
        const measured = await measure(work, settings, log)
        rounds.get(work.name)?.push(measured)
        const { writes, elapsedMs, p50Ms, p99Ms } = measured.seen
        const latency = 'perSecond' in work.load.writer ? `; p50 ${p50Ms} ms, p99 ${p99Ms} ms` : ''
        const writesPerSecond = Math.round((writes * 1000) / elapsedMs)
        log(`${work.name}: ${windowLine(measured)}; ${writesPerSecond} writes/s${latency}`)
      }
    }
    return settings.isProfile || settings.only !== undefined ? [] : rowsOf(rounds)
  },
}

async function measure(
  { server: kind, load: settingsOfLoad }: Work,
  settings: Settings,
  log: (line: string) => void,
): Promise<Round> {
  const server = await (kind === 'syncline' ? startSyncline() : startBare(kind))
  const load = await startProcess(new URL('load.ts', import.meta.url), {}, { core: 'load' })
  try {
    await load.call('open', { ...settingsOfLoad, port: await server.call<number>('port'), isBare: kind !== 'syncline' })
    const window = await measureWindow<Seen>(server, load, settings, log)
    await load.call('close')
    return { ...window, rate: (window.seen.deliveries * 1000) / window.seen.elapsedMs }
  } finally {
    await Promise.all([load.stop(), server.stop()])
  }
}

function rowsOf(rounds: ReadonlyMap<string, readonly Round[]>): Row[] {
  const of = (name: string): readonly Round[] => rounds.get(name) ?? []
  const deliveries = (name: string, rest: Partial<Row> = {}): Row => {
    const writes = median(of(name).map(({ seen }) => (seen.writes * 1000) / seen.elapsedMs))
    const note = `${Math.round(writes)} writes/s; ${usageNote(of(name))}`
    return {
      name,
      figure: median(of(name).map(({ rate }) => rate)),
      unit: '/s',
      perCpuSecond: median(of(name).map(perCpuSecond)),
      note,
      ...rest,
    }
  }
  const ms = (name: string, which: 'p50' | 'p99', goal?: number): Row => ({
    name: `${name}: ${which}`,
    figure: median(of(name).map(({ seen }) => seen[`${which}Ms`])),
    unit: 'ms',
    ...(goal === undefined ? {} : { goal }),
  })
  return [
    deliveries(BARE),
    deliveries(JOINED),
    deliveries(EVENTS, { goal: 340_000, ratio: { of: JOINED, value: shareOf(of(EVENTS), of(JOINED)) } }),
    ms(BARE_PACED, 'p50'),
    ms(BARE_PACED, 'p99'),
    ms(EVENTS_PACED, 'p50', 5),
    ms(EVENTS_PACED, 'p99', 13),
  ]
}
