import { statSync } from 'node:fs'
import type { Encoding } from '@syncline/protocol'
import { Follower } from './follower.ts'
import type { Copy, Journal } from './journal.ts'
import type { Random } from './random.ts'
import { within, type ServerProcess } from './server-process.ts'
import { WireClient } from './wire-client.ts'
import { Writer, type Pace } from './writer.ts'

/** The maps that writers write and the follower follows. */
export const MAPS: readonly string[] = ['inbox', 'orders', 'people']

/** The moments at which a server is killed. */
export const MOMENTS = [
  'at an acknowledgement',
  'between two messages',
  'at a moment of the clock',
  'while a group is committed',
  'during a checkpoint',
  'while it stops',
  'while it starts',
] as const
export type Moment = (typeof MOMENTS)[number]

const WRITERS = 4
const BURST_LIMIT_MS = 8_000

/** What a round works on. */
export interface Scene {
  readonly folder: string
  /** The database file. */
  readonly path: string
  readonly token: string
  readonly journal: Journal
  readonly follower: Follower
  readonly random: Random
  start(): ServerProcess
  /** What the crash takes with it beside the process. */
  crashed?(): void
}

/** What the rounds came to, to see that the faults were real. */
export interface Tally {
  rounds: number
  readonly moments: Map<Moment, number>
  /** MEMORY writes that a crash took, and those of them that the follower brought back. */
  lostInMemory: number
  broughtBack: number
  readonly startMs: number[]
  /** After a clean stop nothing at all may be missing. `unknown`: it was killed while it stopped, or in its next start. */
  lastStop: 'clean' | 'crash' | 'unknown'
  lostRanges: string
}

/** An empty tally. */
export function newTally(): Tally {
  return {
    rounds: 0,
    moments: new Map(),
    lostInMemory: 0,
    broughtBack: 0,
    startMs: [],
    lastStop: 'clean',
    lostRanges: '[]',
  }
}

/**
 * One round: the server starts on what the last one left, everything promised is checked, the follower brings back what
 * was in memory only, and writers write until the server is killed. Answers what was broken.
 */
export async function round(
  scene: Scene,
  moment: Moment,
  databaseId: string | undefined,
  tally: Tally,
): Promise<string> {
  const { journal, random, follower } = scene
  const seenSeq = journal.greatestSeq
  if (moment === 'while it starts') {
    await killStarting(scene, tally)
    if (tally.lastStop === 'clean') tally.lastStop = 'unknown'
  }
  await using server = scene.start()
  const port = await server.ready
  tally.startMs.push(performance.now() - server.startedAtMs)
  const found = await inspect(scene, port, tally)
  if (databaseId !== undefined && found.databaseId !== databaseId) {
    journal.problems.push(`The database was ${databaseId} and is ${found.databaseId}`)
  }
  const connection = await WireClient.open(port, scene.token, random.pick(['json', 'msgpack'] as const))
  await follower.follow(connection)
  checkLostRanges(scene, seenSeq, tally)
  if (journal.greatestSeq > 0) {
    const copy = await read(scene, port, 'msgpack')
    journal.problems.push(...journal.missing(follower.held(), copy).map((each) => `After the push: ${each}`))
    tally.broughtBack += found.lost.filter((op) => !journal.lostMemoryWrites(copy).includes(op)).length
  }
  journal.begin()

  const writers = await Promise.all(
    Array.from({ length: WRITERS }, async (_, index) => {
      const client = await WireClient.open(port, scene.token, index % 2 === 0 ? 'msgpack' : 'json')
      const name = `w${index}r${tally.rounds}`
      return {
        client,
        writer: new Writer(client, name, journal, random, index === 0 ? IN_MEMORY : paceFor(moment, random), MAPS),
      }
    }),
  )
  await burst(
    scene,
    server,
    moment,
    writers.map(({ writer }) => writer),
  )
  const { code } = await server.ended
  scene.crashed?.()
  tally.lastStop = code === 0 ? 'clean' : moment === 'while it stops' ? 'unknown' : 'crash'
  await Promise.all([connection.closed, ...writers.map(({ client }) => client.closed)])
  tally.rounds++
  tally.moments.set(moment, (tally.moments.get(moment) ?? 0) + 1)
  return found.databaseId
}

/** Reads everything anew and audits it. */
export async function inspect(
  scene: Scene,
  port: number,
  tally: Tally,
): Promise<{ databaseId: string; lost: ReturnType<Journal['lostMemoryWrites']> }> {
  const { journal } = scene
  const client = await WireClient.open(port, scene.token, 'msgpack')
  const copy = await readOver(scene, client)
  const lost = journal.lostMemoryWrites(copy)
  tally.lostInMemory += lost.length
  if (tally.lastStop === 'clean' && lost.length > 0) {
    journal.problems.push(`A clean stop lost ${lost.map(({ id }) => id).join(', ')}, acknowledged MEMORY`)
  }
  journal.problems.push(...journal.audit(copy))
  return { databaseId: client.databaseId, lost }
}

/** Everything that the server holds, to a client that holds nothing. */
async function read(scene: Scene, port: number, encoding: Encoding): Promise<Copy> {
  return readOver(scene, await WireClient.open(port, scene.token, encoding))
}

async function readOver({ journal }: Scene, client: WireClient): Promise<Copy> {
  const reader = new Follower(MAPS, journal)
  await reader.follow(client)
  client.end()
  await client.closed
  return reader.held()
}

/** The ranges of seqs that may be lost: whatever was seen and is not durable lies in the latest, and nothing durable. */
function checkLostRanges({ journal, follower }: Scene, seenSeq: number, tally: Tally): void {
  const { lostRanges } = follower
  if (lostRanges === undefined) return
  const [from, to] = lostRanges.at(-1) ?? [0, 0]
  const text = JSON.stringify(lostRanges)
  const before = tally.lostRanges
  tally.lostRanges = text
  if (text === before && tally.lastStop !== 'crash') return
  if (tally.lastStop === 'clean') {
    journal.problems.push(`After a clean stop the lost ranges are ${text}, and were ${before}`)
    return
  }
  if (lostRanges.some(([low, high]) => low >= high)) journal.problems.push(`A lost range is empty: ${text}`)
  if (lostRanges.some(([, high], i) => high < (lostRanges[i - 1]?.[1] ?? 0))) {
    journal.problems.push(`The lost ranges are not in order: ${text}`)
  }
  const { greatestPersistedSeq } = journal
  if (from < greatestPersistedSeq) {
    journal.problems.push(`Seq ${greatestPersistedSeq} was acknowledged PERSISTED and counts as lost: ${text}`)
  }
  if (to < seenSeq) journal.problems.push(`Seq ${seenSeq} was seen, and the lost ranges end before it: ${text}`)
}

/** One writer never waits for the disk: what it wrote last is what a crash takes. */
const IN_MEMORY: Pace = { window: 2, batch: 3, fieldLength: 120, memoryShare: 1 }

function paceFor(moment: Moment, random: Random): Pace {
  if (moment === 'during a checkpoint') return { window: 4, batch: 40, fieldLength: 6_000, memoryShare: 0.05 }
  if (moment === 'while a group is committed') return { window: 4, batch: 80, fieldLength: 300, memoryShare: 0.1 }
  return { window: random.pick([1, 4, 30]), batch: random.pick([3, 20]), fieldLength: 120, memoryShare: 0.25 }
}

/** Lets the writers write until the moment has come. Everything here ends, at the latest when the limit has passed. */
async function burst(scene: Scene, server: ServerProcess, moment: Moment, writers: readonly Writer[]): Promise<void> {
  const { random, journal } = scene
  const total = (count: (writer: Writer) => number): number => writers.reduce((sum, writer) => sum + count(writer), 0)
  const moments: Record<Moment, (now: () => void) => void> = {
    'at an acknowledgement': (now) => {
      const after = 1 + random.below(150)
      // What was acknowledged in memory is lost if the server dies before its group commit, a few milliseconds later.
      const isPicky = random.next() < 0.7
      for (const writer of writers) {
        writer.onAnswered = (isInMemory) => {
          if (total(({ answeredMessages }) => answeredMessages) >= after && (isInMemory || !isPicky)) now()
        }
      }
    },
    'between two messages': (now) => {
      const after = 1 + random.below(300)
      for (const writer of writers) writer.onSent = () => total(({ sentMessages }) => sentMessages) >= after && now()
    },
    'at a moment of the clock': (now) => void setTimeout(now, random.next() * 200),
    'while it starts': (now) => void setTimeout(now, random.next() * 100),
    'while a group is committed': (now) => onChange(`${scene.path}-wal`, 1 + random.below(6), now),
    'during a checkpoint': (now) => onChange(scene.path, 1, now),
    'while it stops': (now) => {
      const after = 1 + random.below(60)
      const patience = random.next() * 60
      for (const writer of writers) {
        writer.onAnswered = () => {
          if (journal.isStopping || total(({ answeredMessages }) => answeredMessages) < after) return
          journal.isStopping = true
          server.signal('SIGTERM')
          setTimeout(now, patience)
        }
      }
    },
  }
  let now = (): void => {}
  const come = new Promise<void>((resolve) => (now = resolve)).then(() => server.kill())
  const limit = setTimeout(now, BURST_LIMIT_MS)
  // Killed in the very turn in which the moment comes.
  moments[moment](() => {
    void server.kill()
    now()
  })
  for (const writer of writers) writer.start()
  await within(come, BURST_LIMIT_MS + 5_000, () => 'The server did not die')
  clearTimeout(limit)
}

/** Calls back when a file has changed some times, looked at between all other events. */
function onChange(path: string, times: number, now: () => void): void {
  const endMs = performance.now() + BURST_LIMIT_MS
  let left = times
  let last = ''
  const look = (): void => {
    const { size = 0, mtimeNs = 0n } = statSync(path, { bigint: true, throwIfNoEntry: false }) ?? {}
    const state = `${size}.${mtimeNs}`
    if (last !== '' && state !== last) left--
    last = state
    if (left <= 0) now()
    else if (performance.now() < endMs) setImmediate(look)
  }
  look()
}

/** Kills a server while it starts, mostly before it can say so. */
async function killStarting(scene: Scene, { startMs }: Tally): Promise<void> {
  const usualMs = startMs.length === 0 ? 500 : startMs.toSorted((a, b) => a - b)[startMs.length >> 1]
  const server = scene.start()
  await new Promise((resolve) => setTimeout(resolve, (usualMs ?? 500) * (0.3 + scene.random.next() * 0.8)))
  await server.kill()
}
