// Acknowledged writes, beside what `ws` and msgpackr do with the same frames.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BareServerArguments } from '../lib/bare-server.ts'
import { median } from '../lib/histogram.ts'
import { latencyLine, measureRates, type Rates, type Round, type Work } from '../lib/rates.ts'
import { CONFIGURATION, startBare, startSyncline } from '../lib/servers.ts'
import type { Row, Suite } from '../lib/suite.ts'
import type { Load, Seen } from './load.ts'

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

/** Acknowledged writes per second, and how long each takes. */
export const suite: Suite = {
  name: 'writes',
  title: `50 connections × 16 PUTs of about 100 bytes in flight over 10,000 keys, MessagePack; ${CONFIGURATION}`,
  async run(settings, log) {
    const folder = mkdtempSync(join(tmpdir(), 'syncline-bench-'))
    const decodes: number[] = []
    try {
      return await measureRates<Seen>(worksIn(folder, decodes), settings, log, {
        countOf: ({ ops }) => ops,
        more: latencyLine,
        rowsOf: (rates) => rowsOf(rates, decodes),
      })
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
}

/**
 * Databases lie in the folder. Before each round the server's core says how often it decodes one of the ops with
 * msgpackr: how fast the machine is at this moment.
 */
function worksIn(folder: string, decodes: number[]): readonly Work[] {
  const script = new URL('load.ts', import.meta.url)
  const bare = (name: string, mode: BareServerArguments['mode'], load: Omit<Load, 'port'>): Work => ({
    name,
    start: () => startBare(mode),
    look: async (server) => void decodes.push(await server.call<number>('decodes')),
    script,
    load: { ...load, isBare: true },
  })
  const ours = (name: string, storage: 'none' | 'memory' | 'sqlite', load: Omit<Load, 'port'>): Work => ({
    name,
    start: () =>
      startSyncline(storage === 'sqlite' ? { sqlite: join(mkdtempSync(join(folder, 'data-')), 'bench.db') } : storage),
    script,
    load,
  })
  return [
    bare(BARE, 'ack', MANY),
    bare(JOINED, 'ack-joined', MANY),
    ours(MEMORY, 'none', MANY),
    ours(MEMORY_STORED, 'memory', MANY),
    ours(PERSISTED, 'sqlite', { ...MANY, level: 'PERSISTED' }),
    ours(BATCHES, 'none', BATCH),
    bare(BARE_ONE, 'ack', ONE),
    ours(MEMORY_ONE, 'none', ONE),
  ]
}

function rowsOf(rates: Rates<Seen>, decodes: readonly number[]): Row[] {
  const of = rates.of.bind(rates)
  // Waiting for a flush costs no CPU time: here the lesser share counts.
  const wallShare = median(of(PERSISTED).map(({ rate }, i) => rate / (of(MEMORY_STORED)[i] as Round<Seen>).rate))
  const persistedShare = Math.min(wallShare, rates.share(PERSISTED, MEMORY_STORED))
  const oneShare = median(of(MEMORY_ONE).map(({ seen }, i) => seen.p50Ms / (of(BARE_ONE)[i] as Round<Seen>).seen.p50Ms))
  return [
    {
      name: 'msgpackr decodes one of the ops',
      figure: median(decodes),
      unit: '/s',
      note: 'the goals were set where it does 800k',
    },
    rates.perSecond(BARE),
    rates.perSecond(JOINED),
    rates.perSecond(MEMORY, {
      goal: 150_000,
      ratio: { of: JOINED, value: rates.share(MEMORY, JOINED), goal: 0.45 },
    }),
    rates.latency(MEMORY, 'p50'),
    rates.latency(MEMORY, 'p99', 15),
    rates.perSecond(BATCHES, { goal: 400_000, ratio: { of: MEMORY, value: rates.share(BATCHES, MEMORY) } }),
    rates.perSecond(MEMORY_STORED, { ratio: { of: MEMORY, value: rates.share(MEMORY_STORED, MEMORY) } }),
    rates.perSecond(PERSISTED, { goal: 60_000, ratio: { of: MEMORY_STORED, value: persistedShare, goal: 0.4 } }),
    rates.latency(PERSISTED, 'p50'),
    rates.latency(PERSISTED, 'p99', 40),
    rates.latency(BARE_ONE, 'p50'),
    { ...rates.latency(MEMORY_ONE, 'p50', 0.1), ratio: { of: BARE_ONE, value: oneShare } },
    rates.latency(MEMORY_ONE, 'p99'),
  ]
}
