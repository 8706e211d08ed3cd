// Acknowledged writes, beside what `ws` and msgpackr do with the same frames.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BareServerArguments } from '../lib/bare-server.ts'
import { median } from '../lib/histogram.ts'
import { startProcess, type Remote } from '../lib/processes.ts'
import { CONFIGURATION, startBare, startSyncline } from '../lib/servers.ts'
import type { Row, Settings, Suite } from '../lib/suite.ts'
import { measureWindow, perCpuSecond, shareOf, usageNote, windowLine, type Window } from '../lib/window.ts'
import type { Load, Seen } from './load.ts'

interface Work {
  readonly name: string
  readonly server: { readonly bare: BareServerArguments['mode'] } | { readonly storage: 'none' | 'memory' | 'sqlite' }
  readonly load: Omit<Load, 'port'>
}

const MANY = { connections: 50, inFlight: 16, opsPerFrame: 1 }
const ONE = { connections: 1, inFlight: 1, opsPerFrame: 1 }
const BATCH = { connections: 50, inFlight: 2, opsPerFrame: 100 }

const BARE = 'bare ws'
const JOINED = 'bare ws, acks joined'
const BARE_ONE = 'bare ws, 1 × 1'
const MEMORY = 'MEMORY'
const MEMORY_ONE = 'MEMORY, 1 × 1'
const BATCHES = 'MEMORY, OP_BATCH of 100'
const MEMORY_STORED = 'MEMORY, memory storage'
const PERSISTED = 'PERSISTED, SQLite'

const WORKS: readonly Work[] = [
  { name: BARE, server: { bare: 'ack' }, load: { ...MANY, isBare: true } },
  { name: JOINED, server: { bare: 'ack-joined' }, load: { ...MANY, isBare: true } },
  { name: MEMORY, server: { storage: 'none' }, load: MANY },
  { name: MEMORY_STORED, server: { storage: 'memory' }, load: MANY },
  { name: PERSISTED, server: { storage: 'sqlite' }, load: { ...MANY, level: 'PERSISTED' } },
  { name: BATCHES, server: { storage: 'none' }, load: BATCH },
  { name: BARE_ONE, server: { bare: 'ack' }, load: { ...ONE, isBare: true } },
  { name: MEMORY_ONE, server: { storage: 'none' }, load: ONE },
]

interface Round extends Window<Seen> {
  readonly rate: number
  /** How often the server's core decodes one of the ops with msgpackr: how fast the machine is at this moment. */
  readonly decodes: number | undefined
}

/** Acknowledged writes per second, and how long each takes. */
export const suite: Suite = {
  name: 'writes',
  title: `50 connections × 16 PUTs of about 100 bytes in flight over 10,000 keys, MessagePack; ${CONFIGURATION}`,
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

async function measure(work: Work, settings: Settings, log: (line: string) => void): Promise<Round> {
  const folder = mkdtempSync(join(tmpdir(), 'syncline-bench-'))
  const server = await startServer(work, folder)
  const load = await startProcess(new URL('load.ts', import.meta.url), {}, { core: 'load' })
  try {
    const decodes = 'bare' in work.server ? await server.call<number>('decodes') : undefined
    await load.call('open', { ...work.load, port: await server.call<number>('port') })
    const window = await measureWindow<Seen>(server, load, settings, log)
    await load.call('close')
    return { ...window, rate: (window.seen.ops * 1000) / window.seen.elapsedMs, decodes }
  } finally {
    await Promise.all([load.stop(), server.stop()])
    rmSync(folder, { recursive: true, force: true })
  }
}

function startServer({ server }: Work, folder: string): Promise<Remote> {
  if ('bare' in server) return startBare(server.bare)
  return startSyncline(server.storage === 'sqlite' ? { sqlite: join(folder, 'bench.db') } : server.storage)
}

function rowsOf(rounds: ReadonlyMap<string, readonly Round[]>): Row[] {
  const of = (name: string): readonly Round[] => rounds.get(name) ?? []
  const acks = (name: string, rest: Partial<Row> = {}): Row => ({
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
  const decodes = median(of(BARE).flatMap((round) => round.decodes ?? []))
  // Waiting for a flush costs no CPU time: here the lesser share counts.
  const wallShare = median(of(PERSISTED).map(({ rate }, i) => rate / (of(MEMORY_STORED)[i] as Round).rate))
  const persistedShare = Math.min(wallShare, shareOf(of(PERSISTED), of(MEMORY_STORED)))
  const oneShare = median(of(MEMORY_ONE).map(({ seen }, i) => seen.p50Ms / (of(BARE_ONE)[i] as Round).seen.p50Ms))
  return [
    {
      name: 'msgpackr decodes one of the ops',
      figure: decodes,
      unit: '/s',
      note: 'the goals were set where it does 800k',
    },
    acks(BARE),
    acks(JOINED),
    acks(MEMORY, { goal: 150_000, ratio: { of: JOINED, value: shareOf(of(MEMORY), of(JOINED)), goal: 0.45 } }),
    ms(MEMORY, 'p50'),
    ms(MEMORY, 'p99', 15),
    acks(BATCHES, { goal: 400_000, ratio: { of: MEMORY, value: shareOf(of(BATCHES), of(MEMORY)) } }),
    acks(MEMORY_STORED, { ratio: { of: MEMORY, value: shareOf(of(MEMORY_STORED), of(MEMORY)) } }),
    acks(PERSISTED, { goal: 60_000, ratio: { of: MEMORY_STORED, value: persistedShare, goal: 0.4 } }),
    ms(PERSISTED, 'p50'),
    ms(PERSISTED, 'p99', 40),
    ms(BARE_ONE, 'p50'),
    { ...ms(MEMORY_ONE, 'p50', 0.1), ratio: { of: BARE_ONE, value: oneShare } },
    ms(MEMORY_ONE, 'p99'),
  ]
}
