// Fan-out of a topic to those who subscribe to it, beside what Socket.IO and `ws` do with the same message.
import { median } from '../lib/histogram.ts'
import { startProcess, type Remote } from '../lib/processes.ts'
import { CONFIGURATION, startBare, startSocketIo, startSyncline } from '../lib/servers.ts'
import type { Row, Settings, Suite } from '../lib/suite.ts'
import { measureWindow, perCpuSecond, shareOf, usageNote, windowLine, type Window } from '../lib/window.ts'
import type { Load, Seen } from './load.ts'

interface Work {
  readonly name: string
  readonly start: () => Promise<Remote>
  readonly load: Omit<Load, 'port'>
}

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

const WORKS: readonly Work[] = [
  { name: ONE_BUFFER, start: () => startBare('relay'), load: { ...FULL, ...BARE } },
  { name: JOINED, start: () => startBare('relay-joined'), load: { ...FULL, ...BARE } },
  { name: SOCKET_IO, start: startSocketIo, load: { ...FULL, ...PEER } },
  { name: TOPIC, start: () => startSyncline(), load: { ...FULL, ...OURS } },
  { name: JOINED_PACED, start: () => startBare('relay-joined'), load: { ...PACED, ...BARE } },
  { name: SOCKET_IO_PACED, start: startSocketIo, load: { ...PACED, ...PEER } },
  { name: TOPIC_PACED, start: () => startSyncline(), load: { ...PACED, ...OURS } },
]

interface Round extends Window<Seen> {
  readonly rate: number
}

/** Deliveries per second, and how long one takes. */
export const suite: Suite = {
  name: 'topics',
  title: `1,000 subscribers of a topic, one publisher with 16 messages under way or 20 a second; ${CONFIGURATION}`,
  async run(settings, log) {
    const rounds = new Map<string, Round[]>(WORKS.map(({ name }) => [name, []]))
    for (let round = 0; round < settings.rounds; round++) {
      for (const work of WORKS) {
        if (settings.only !== undefined && !work.name.includes(settings.only)) continue
        const measured = await measure(work, settings, log)
        rounds.get(work.name)?.push(measured)
        const { p50Ms, p99Ms } = measured.seen
        const latency = 'perSecond' in work.load.publisher ? `; p50 ${p50Ms} ms, p99 ${p99Ms} ms` : ''
        log(`${work.name}: ${windowLine(measured)}${latency}`)
      }
    }
    return settings.isProfile || settings.only !== undefined ? [] : rowsOf(rounds)
  },
}

async function measure(work: Work, settings: Settings, log: (line: string) => void): Promise<Round> {
  const server = await work.start()
  const load = await startProcess(new URL('load.ts', import.meta.url), {}, { core: 'load' })
  try {
    await load.call('open', { ...work.load, port: await server.call<number>('port') })
    const window = await measureWindow<Seen>(server, load, settings, log)
    await load.call('close')
    return { ...window, rate: (window.seen.deliveries * 1000) / window.seen.elapsedMs }
  } finally {
    await Promise.all([load.stop(), server.stop()])
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
  const ms = (name: string, which: 'p50' | 'p99', goal?: number): Row => ({
    name: `${name}: ${which}`,
    figure: median(of(name).map(({ seen }) => seen[`${which}Ms`])),
    unit: 'ms',
    ...(goal === undefined ? {} : { goal }),
  })
  const share = (name: string): number => shareOf(of(name), of(JOINED))
  return [
    deliveries(ONE_BUFFER, { ratio: { of: JOINED, value: share(ONE_BUFFER) } }),
    deliveries(JOINED),
    deliveries(SOCKET_IO, { ratio: { of: JOINED, value: share(SOCKET_IO) } }),
    deliveries(TOPIC, { goal: 340_000, ratio: { of: JOINED, value: share(TOPIC), goal: 0.86 } }),
    ...[JOINED_PACED, SOCKET_IO_PACED].flatMap((name) => [ms(name, 'p50'), ms(name, 'p99')]),
    ms(TOPIC_PACED, 'p50', 5),
    ms(TOPIC_PACED, 'p99', 13),
  ]
}
