// What a connection costs that is authenticated and silent, beside one of a bare `ws` server.
import { median } from '../lib/histogram.ts'
import { startProcess, type Usage } from '../lib/processes.ts'
import { CONFIGURATION, startBare, startSyncline } from '../lib/servers.ts'
import type { Suite } from '../lib/suite.ts'
import { pause } from '../lib/window.ts'

const CONNECTIONS = 5_000
/** The first connections pay for code that is compiled and pools that are made. */
const WARM_UP_CONNECTIONS = 200
const KB = 1_000

const BARE = 'bare ws'
const SYNCLINE = 'idle connection'

/** Kilobytes of each connection. */
interface Round {
  readonly resident: number
  readonly heap: number
  readonly young: number
  readonly connectsPerSecond: number
}

/** Resident memory per idle connection. */
export const suite: Suite = {
  name: 'idle',
  title: `resident memory of each of ${CONNECTIONS.toLocaleString('en')} silent connections, after a full collection; ${CONFIGURATION}`,
  async run(settings, log) {
    const rounds: Record<typeof BARE | typeof SYNCLINE, Round[]> = { [BARE]: [], [SYNCLINE]: [] }
    for (let round = 0; round < settings.rounds; round++) {
      for (const name of [BARE, SYNCLINE] as const) {
        if (settings.only !== undefined && !name.includes(settings.only)) continue
        const measured = await measure(name === BARE)
        rounds[name].push(measured)
        log(`${name}: ${measured.resident.toFixed(2)} kB, ${noteOf([measured])}`)
      }
    }
    if (settings.isProfile || settings.only !== undefined) return []
    const [bare, syncline] = [rounds[BARE], rounds[SYNCLINE]]
    const share = median(syncline.map(({ resident }, i) => resident / (bare[i] as Round).resident))
    return [
      { name: BARE, figure: median(bare.map(({ resident }) => resident)), unit: 'kB', note: noteOf(bare) },
      {
        name: SYNCLINE,
        figure: median(syncline.map(({ resident }) => resident)),
        unit: 'kB',
        goal: 11,
        ratio: { of: BARE, value: share },
        note: noteOf(syncline),
      },
    ]
  },
}

function noteOf(rounds: readonly Round[]): string {
  const middle = (which: keyof Round): number => median(rounds.map((round) => round[which]))
  const parts = `${middle('heap').toFixed(1)} kB live on the heap, ${middle('young').toFixed(1)} kB growth of the young generation`
  return `${parts}; ${Math.round(middle('connectsPerSecond'))} connects/s`
}

async function measure(isBare: boolean): Promise<Round> {
  const server = await (isBare ? startBare('idle') : startSyncline())
  const load = await startProcess(new URL('load.ts', import.meta.url), {}, { core: 'load' })
  const usage = async (): Promise<Usage> => {
    await pause(1_000)
    await server.call('collectGarbage')
    await pause(500)
    return server.usage()
  }
  try {
    const port = await server.call<number>('port')
    await load.call('open', { port, connections: WARM_UP_CONNECTIONS, isBare })
    const before = await usage()
    const tookMs = await load.call<number>('open', { port, connections: CONNECTIONS, isBare })
    const after = await usage()
    await load.call('close')
    const each = (which: 'rssBytes' | 'heapBytes' | 'youngBytes'): number =>
      (after[which] - before[which]) / CONNECTIONS / KB
    const connectsPerSecond = (CONNECTIONS * 1000) / tookMs
    return { resident: each('rssBytes'), heap: each('heapBytes'), young: each('youngBytes'), connectsPerSecond }
  } finally {
    await Promise.all([load.stop(), server.stop()])
  }
}
