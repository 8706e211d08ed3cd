// Searches of a large map while it is written to, beside MiniSearch without a server.
import { median } from '../lib/histogram.ts'
import { startProcess } from '../lib/processes.ts'
import { CONFIGURATION, startSyncline } from '../lib/servers.ts'
import type { Row, Settings, Suite } from '../lib/suite.ts'
import type { Mix } from './corpus.ts'
import type { Seen } from './load.ts'

const DOCUMENTS = 100_000
const WRITES_PER_SECOND = 50
const MIXES: readonly Mix[] = ['ordinary words', 'any words', 'twelve words', 'two letters']
/** Of the live rows, whatever is searched for. */
const P99_GOAL_MS = 10

/** What a window saw of the server. */
interface Served extends Seen {
  /** Searches in a second of the server's CPU time. */
  readonly perCpuSecond: number
}

interface Round {
  readonly alone: Readonly<Record<Mix, Seen>>
  readonly idle: Readonly<Record<Mix, Served>>
  readonly live: Readonly<Record<Mix, Served>>
  readonly indexMs: number
  readonly indexCpuMs: number
  /** What the heap of the server grew by, for each document. */
  readonly bytesPerDocument: number
}

/** How long a search takes, and how long a write takes to a live search. */
export const suite: Suite = {
  name: 'search',
  title: `${DOCUMENTS.toLocaleString('en')} documents of 45 words, one search in flight, the best 10; ${WRITES_PER_SECOND} writes a second where it says live; ${CONFIGURATION}`,
  async run(settings, log) {
    const rounds: Round[] = []
    for (let round = 0; round < settings.rounds; round++) rounds.push(await measure(settings, log))
    return settings.isProfile ? [] : rowsOf(rounds)
  },
}

async function measure({ durationMs, warmUpMs }: Settings, log: (line: string) => void): Promise<Round> {
  const each = async <T extends Seen>(search: (mix: Mix, ms: number) => Promise<T>, name: string) => {
    const seen: Partial<Record<Mix, T>> = {}
    for (const mix of MIXES) {
      await search(mix, warmUpMs)
      const { p50Ms, p99Ms, searches, liveP50Ms } = (seen[mix] = await search(mix, durationMs))
      const told = liveP50Ms > 0 ? `; a write is told after ${liveP50Ms} ms` : ''
      log(`${name}, ${mix}: ${searches} searches, p50 ${p50Ms} ms, p99 ${p99Ms} ms${told}`)
    }
    return seen as Record<Mix, T>
  }
  const mini = await startProcess(
    new URL('minisearch.ts', import.meta.url),
    { documents: DOCUMENTS },
    { core: 'server' },
  )
  let alone: Round['alone']
  try {
    await mini.call('fill')
    alone = await each((mix, ms) => mini.call<Seen>('search', { mix, ms }), 'MiniSearch alone')
  } finally {
    await mini.stop()
  }
  const server = await startSyncline('none', { search: { maps: { notes: { fields: ['title', 'body'] } } } })
  const load = await startProcess(new URL('load.ts', import.meta.url), {}, { core: 'load' })
  try {
    await load.call('open', { port: await server.call<number>('port'), documents: DOCUMENTS })
    await load.call('fill')
    await server.call('collectGarbage')
    const { heapBytes } = await server.usage()
    await server.mark()
    await load.call('index')
    const { elapsedMs: indexMs, cpuMs: indexCpuMs } = await server.usage()
    await server.call('collectGarbage')
    const bytesPerDocument = ((await server.usage()).heapBytes - heapBytes) / DOCUMENTS
    log(`the index is made in ${Math.round(indexMs)} ms, and holds ${Math.round(bytesPerDocument)} bytes a document`)
    const searches = (writesPerSecond: number, name: string) =>
      each(async (mix, ms): Promise<Served> => {
        await server.mark()
        const seen = await load.call<Seen>('search', { mix, ms, writesPerSecond })
        return { ...seen, perCpuSecond: (seen.searches / (await server.usage()).cpuMs) * 1000 }
      }, name)
    const idle = await searches(0, 'Syncline, idle')
    const live = await searches(WRITES_PER_SECOND, 'Syncline, live')
    return { alone, idle, live, indexMs, indexCpuMs, bytesPerDocument }
  } finally {
    await Promise.all([load.stop(), server.stop()])
  }
}

function rowsOf(rounds: readonly Round[]): Row[] {
  const ms = (name: string, of: (round: Round) => number, rest: Partial<Row> = {}): Row => ({
    name,
    figure: median(rounds.map(of)),
    unit: 'ms',
    ...rest,
  })
  const beside = (of: (round: Round) => number, other: (round: Round) => number, name: string): Partial<Row> => ({
    ratio: { of: name, value: median(rounds.map((round) => of(round) / other(round))) },
  })
  const rows: Row[] = []
  for (const mix of MIXES) {
    const aloneName = `MiniSearch alone, ${mix}: p99`
    const alone = (round: Round): number => round.alone[mix].p99Ms
    const live = (round: Round): number => round.live[mix].p99Ms
    rows.push(
      ms(`MiniSearch alone, ${mix}: p50`, (round) => round.alone[mix].p50Ms),
      ms(aloneName, alone),
      ms(`search, ${mix}: p50`, (round) => round.idle[mix].p50Ms, {
        perCpuSecond: median(rounds.map((round) => round.idle[mix].perCpuSecond)),
      }),
      ms(`search, ${mix}: p99`, (round) => round.idle[mix].p99Ms),
      ms(`search, live, ${mix}: p50`, (round) => round.live[mix].p50Ms),
      ms(`search, live, ${mix}: p99`, live, {
        ...beside(live, alone, aloneName),
        goal: P99_GOAL_MS,
      }),
    )
  }
  return [
    ...rows,
    ms('a write is told to a live search: p50', (round) => round.live['ordinary words'].liveP50Ms),
    ms('a write is told to a live search: p99', (round) => round.live['ordinary words'].liveP99Ms),
    ms('the index of the map is made', (round) => round.indexMs),
    ms('the index of the map is made: CPU time', (round) => round.indexCpuMs),
    {
      name: 'the index of the map, for each document',
      figure: median(rounds.map((round) => round.bytesPerDocument)),
      unit: 'bytes',
    },
  ]
}
