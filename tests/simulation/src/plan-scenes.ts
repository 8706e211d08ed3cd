import { Random } from './random.ts'
import { BUSY_MS, type Act, type Step, type WriteLevel } from './steps.ts'
import type { WorldOptions } from './world-options.ts'

/** Who is away, by the place of its machine, and who does things meanwhile: another machine, or a bare client. */
interface Cast {
  readonly away: number
  readonly other: number | undefined
}

/** What is done to one key of a map, and by whom. */
interface Stage {
  readonly mapName: string
  readonly key: string
  readonly atMs: number
}

/**
 * Plans what goes wrong only where several things meet within moments: put together on purpose, because by chance alone
 * they would meet in one of many thousand seeds. Each scene has chances of its own, so that one more does not change the
 * schedules of the others.
 */
export function planScenes(seed: number, world: WorldOptions, maps: readonly string[]): Step[] {
  const { hasTallies } = world
  const absences = new Random(`absences ${seed}`)
  const count = absences.chance(hasTallies ? 0.5 : 0.2) ? 1 + absences.int(3) : 0
  const steps = Array.from({ length: count }, (_, i) => planAbsence(absences, world, maps, count - i)).flat()
  const uncounted = new Random(`uncounted ${seed}`)
  if (hasTallies && uncounted.chance(0.1)) steps.push(...planUnstoredCount(uncounted, world))
  const twice = new Random(`twice ${seed}`)
  if (twice.chance(0.1)) steps.push(...planWrittenTwice(twice, world, maps))
  const skewed = new Random(`skewed ${seed}`)
  if (skewed.chance(0.08)) steps.push(...planRefusedStamp(skewed, world, maps))
  return steps.filter(({ atMs }) => atMs <= BUSY_MS)
}

/**
 * Absences in which all comes together that forgetting deletions may go wrong by: what somebody changes who is away is
 * removed by another, and both happen within moments; then more weeks pass than deletions are kept, and what was removed
 * later is forgotten as well.
 */
function planAbsence(random: Random, world: WorldOptions, maps: readonly string[], number: number): Step[] {
  const cast = castOf(random, world)
  if (cast === undefined) return []
  const mapName = random.pick(maps)
  const stage = { mapName, key: `x${number}`, atMs: Math.round(random.between(2_500, BUSY_MS - 14_000)) }
  const play = random.pick(
    world.hasTallies
      ? [changedAndRemoved, replacedAndRemoved, itemRemoved, itemRemoved]
      : [changedAndRemoved, replacedAndRemoved],
  )
  return play(random, cast, stage)
}

/** A key is written anew by one who is away, before and after deletions are forgotten that are later than the first. */
function planWrittenTwice(random: Random, world: WorldOptions, maps: readonly string[]): Step[] {
  const cast = castOf(random, world)
  if (cast === undefined) return []
  const stage = { mapName: random.pick(maps), key: 'y', atMs: Math.round(random.between(500, BUSY_MS - 10_000)) }
  const { atMs } = stage
  const later = { ...stage, key: "y'" }
  return [
    away(cast, atMs, 6_000),
    does(random, cast.away, stage, 'put', atMs + 200),
    does(random, cast.other, later, 'put', atMs + 600),
    does(random, cast.other, later, 'remove', atMs + 1_000),
    { kind: 'days pass', atMs: atMs + 1_600, n: 0, days: random.pick([33, 60]) },
    // At another level, so that it has a batch of its own.
    does(random, cast.away, stage, 'put', atMs + 3_200, 'persisted'),
  ]
}

/** A stamp is refused for lying in the future, and of two earlier writes of a key only the later one has its answer. */
function planRefusedStamp(random: Random, { machines }: WorldOptions, maps: readonly string[]): Step[] {
  const on = random.pick(writersOf(machines))
  const n = random.int(1 << 20)
  const stage = { mapName: random.pick(maps), key: 'z', atMs: Math.round(random.between(500, BUSY_MS - 8_000)) }
  const { atMs } = stage
  // All in one tab.
  const put = (afterMs: number, level: WriteLevel, key = 'z'): Step => {
    return { ...does(random, on, { ...stage, key }, 'put', atMs + afterMs, level), n }
  }
  return [
    { kind: 'server disk slow', atMs, n, maxMs: 9_000, forMs: 6_000 },
    put(100, 'persisted'),
    put(300, 'memory'),
    { kind: 'clock jumps', atMs: atMs + 600, n, on, byMs: 90_000, isServer: false },
    put(650, 'memory', "z'"),
    { kind: 'reset', atMs: atMs + 1_100, n, on, isServerTold: true },
  ]
}

/** What is counted is stored, what it comes to is not, and the page that knows that is gone. */
function planUnstoredCount(random: Random, { machines }: WorldOptions): Step[] {
  const atMs = Math.round(random.between(500, BUSY_MS - 8_000))
  const at = { n: random.int(1 << 20), on: random.int(machines.length) }
  const backAfterMs = 1_500
  return [
    { ...at, kind: 'go offline', atMs, forMs: 1_500 },
    { ...at, kind: 'tally', atMs: atMs + 300, act: 'count', level: 'memory' },
    { ...at, kind: 'storage fails', atMs: atMs + 1_200, fault: random.pick(['full', 'broken'] as const), forMs: 3_000 },
    { ...at, kind: 'crash tab', atMs: atMs + 3_300, backAfterMs, isMachineOff: true, isReload: false },
  ]
}

function castOf(random: Random, { machines, bareClients, hasTallies }: WorldOptions): Cast | undefined {
  const writers = writersOf(machines)
  const away = random.pick(writers)
  const others = writers.filter((place) => place !== away)
  if (others.length > 0) return { away, other: random.pick(others) }
  return bareClients.length === 0 || hasTallies ? undefined : { away, other: undefined }
}

/** The places of the machines whose users may write everything. */
function writersOf(machines: WorldOptions['machines']): readonly number[] {
  return machines.flatMap(({ role }, place) => (role === 'writer' ? [place] : []))
}

/** Something is removed here and changed there, whichever is first, and neither hears of the other. */
function changedAndRemoved(random: Random, cast: Cast, stage: Stage): Step[] {
  const { atMs } = stage
  const removedAtMs = atMs + 300 + random.int(600)
  const changedAtMs = removedAtMs + random.pick([-250, 50, 250, 600])
  return [
    does(random, cast.other, stage, 'put', atMs - 2_000),
    away(cast, atMs, 6_000),
    does(random, cast.other, stage, 'remove', removedAtMs),
    does(random, cast.away, stage, random.pick(['put', 'put', 'patch'] as const), changedAtMs),
    ...forgetting(random, cast, stage, atMs + 1_800),
  ]
}

/** What somebody writes anew is replaced by another, and that is removed. */
function replacedAndRemoved(random: Random, cast: Cast, stage: Stage): Step[] {
  const { atMs } = stage
  return [
    away(cast, atMs, 6_000, random.pick(['up', 'both'] as const)),
    does(random, cast.away, stage, 'put', atMs + 100 + random.int(300)),
    does(random, cast.other, stage, 'put', atMs + 500 + random.int(300)),
    does(random, cast.other, stage, 'remove', atMs + 1_000 + random.int(300)),
    ...forgetting(random, cast, stage, atMs + 1_800),
  ]
}

/** An item is removed while its answer is lost, and the server's disk is full when it is sent again. */
function itemRemoved(random: Random, { away: place, other }: Cast, { atMs }: Stage): Step[] {
  const tally = { kind: 'tally', n: 0, level: 'memory' } as const
  const resetAtMs = atMs + 1_000 + random.int(400)
  return [
    { kind: 'partition', atMs, n: 0, on: place, direction: 'down', forMs: resetAtMs - atMs + 50 },
    { ...tally, act: 'add', atMs: atMs + 100 + random.int(300), on: place },
    { ...tally, act: 'remove', atMs: resetAtMs - 300, isLatest: true, ...(other === undefined ? {} : { on: other }) },
    { kind: 'reset', atMs: resetAtMs, n: random.int(1 << 20), on: place, isServerTold: true },
    // The removal is taken, and cannot be stored.
    { kind: 'server disk fails', atMs: resetAtMs - 310, n: 0, fault: 'full', forMs: 4_000 + random.int(1_500) },
    { kind: 'days pass', atMs: resetAtMs + 3_000, n: 0, days: random.pick([33, 45]) },
  ]
}

/** More weeks pass than deletions are kept, and what was removed later is forgotten too. */
function forgetting(random: Random, cast: Cast, { mapName, key }: Stage, atMs: number): Step[] {
  const later = { mapName, key: `${key}'`, atMs }
  return [
    { kind: 'days pass', atMs, n: 0, days: random.pick([12, 33]) },
    does(random, cast.other, later, 'put', atMs + 300),
    does(random, cast.other, later, 'remove', atMs + 600),
    { kind: 'days pass', atMs: atMs + 1_200, n: 0, days: random.pick([33, 60]) },
  ]
}

function away({ away: on }: Cast, atMs: number, forMs: number, direction: 'up' | 'both' = 'both'): Step {
  return { kind: 'partition', atMs, n: 0, on, direction, forMs }
}

function does(
  random: Random,
  on: number | undefined,
  { mapName, key }: Stage,
  act: Act,
  atMs: number,
  level: WriteLevel = 'memory',
): Step {
  const n = random.int(1 << 20)
  const field = random.pick(['a', 'b', 'c'])
  if (on === undefined)
    return { kind: 'bare write', atMs, n: n * 6, mapName, key, act, twin: false, field, lateMs: 0, isTwice: false }
  return {
    kind: 'write',
    atMs,
    n,
    on,
    mapName,
    key,
    act,
    fields: [field],
    level,
    waitFor: undefined,
    times: 1,
    ttlMs: 5_000,
  }
}
