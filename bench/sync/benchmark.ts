// Sync by polling, beside what `node:http` does with the same bodies.
import type { Encoding } from '@syncline/protocol'
import { median } from '../lib/histogram.ts'
import { startProcess, type Remote } from '../lib/processes.ts'
import { CONFIGURATION, startSyncline } from '../lib/servers.ts'
import type { Row, Settings, Suite } from '../lib/suite.ts'
import { measureWindow, perCpuSecond, shareOf, usageNote, windowLine, type Window } from '../lib/window.ts'
import type { Load, Seen } from './load.ts'

interface Work {
  readonly name: string
  readonly isBare: boolean
  readonly encoding: Encoding
}

const CONNECTIONS = 50
const BARE = { json: 'bare node:http, JSON', msgpack: 'bare node:http, MessagePack' }
const SYNC = { json: 'POST /sync, JSON', msgpack: 'POST /sync, MessagePack' }

const WORKS: readonly Work[] = (['json', 'msgpack'] as const).flatMap((encoding) => [
  { name: BARE[encoding], isBare: true, encoding },
  { name: SYNC[encoding], isBare: false, encoding },
])

interface Round extends Window<Seen> {
  readonly rate: number
}

/** Requests per second, and how long one takes. */
export const suite: Suite = {
  name: 'sync',
  title: `${CONNECTIONS} keep-alive connections, each POSTs 1 operation and catches up with 1 map of its own; ${CONFIGURATION}`,
  async run(settings, log) {
    const rounds = new Map<string, Round[]>(WORKS.map(({ name }) => [name, []]))
    for (let round = 0; round < settings.rounds; round++) {
      for (const work of WORKS) {
        if (settings.only !== undefined && !work.name.includes(settings.only)) continue
        const measured = await measure(work, settings, log)
        rounds.get(work.name)?.push(measured)
        const { p50Ms, p99Ms } = measured.seen
        log(`${work.name}: ${windowLine(measured)}; p50 ${p50Ms} ms, p99 ${p99Ms} ms`)
      }
    }
    return settings.isProfile || settings.only !== undefined ? [] : rowsOf(rounds)
  },
}

async function measure({ isBare, encoding }: Work, settings: Settings, log: (line: string) => void): Promise<Round> {
  const server = isBare ? await startBareHttp(encoding) : await startSyncline()
  const load = await startProcess(new URL('load.ts', import.meta.url), {}, { core: 'load' })
  try {
    const args: Load = { port: await server.call<number>('port'), connections: CONNECTIONS, encoding }
    await load.call('open', args)
    const window = await measureWindow<Seen>(server, load, settings, log)
    await load.call('close')
    return { ...window, rate: (window.seen.requests * 1000) / window.seen.elapsedMs }
  } finally {
    await Promise.all([load.stop(), server.stop()])
  }
}

function startBareHttp(encoding: Encoding): Promise<Remote> {
  return startProcess(new URL('bare-http.ts', import.meta.url), { encoding }, { core: 'server' })
}

function rowsOf(rounds: ReadonlyMap<string, readonly Round[]>): Row[] {
  const of = (name: string): readonly Round[] => rounds.get(name) ?? []
  const requests = (name: string, rest: Partial<Row> = {}): Row => ({
    name,
    figure: median(of(name).map(({ rate }) => rate)),
    unit: '/s',
    perCpuSecond: median(of(name).map(perCpuSecond)),
    note: usageNote(of(name)),
    ...rest,
  })
  const ms = (name: string, which: 'p50' | 'p99'): Row => ({
    name: `${name}: ${which}`,
    figure: median(of(name).map(({ seen }) => seen[`${which}Ms`])),
    unit: 'ms',
  })
  return (['json', 'msgpack'] as const).flatMap((encoding) => [
    requests(BARE[encoding]),
    requests(SYNC[encoding], {
      goal: 12_000,
      ratio: { of: BARE[encoding], value: shareOf(of(SYNC[encoding]), of(BARE[encoding])), goal: 0.5 },
    }),
    ms(SYNC[encoding], 'p50'),
    ms(SYNC[encoding], 'p99'),
  ])
}
