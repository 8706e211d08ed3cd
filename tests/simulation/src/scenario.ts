import { planAges } from './plan-ages.ts'
import { planLocks } from './plan-locks.ts'
import { planScenes } from './plan-scenes.ts'
import { faultWeights, planBareWrite, planFault, planWrite } from './plan-steps.ts'
import { planWorld } from './plan-world.ts'
import { Random } from './random.ts'
import { BUSY_MS, type Step } from './steps.ts'
import { SHARED_MAPS, VAULT } from './users.ts'
import type { WorldOptions } from './world-options.ts'

/** Everything that a run does, worked out before it begins. */
export interface Scenario {
  readonly seed: number
  readonly world: WorldOptions
  readonly steps: readonly Step[]
}

/** Plans the run of a seed. Each seed has a taste of its own: some faults it has often, others never. */
export function planScenario(seed: number): Scenario {
  const random = new Random(`plan ${seed}`)
  const taste = random.fork('taste')
  // A server that dies again and again while it answers slowly, page by page: what a crash takes is what followers were shown.
  const isStormy = taste.chance(0.12)
  const planned = planWorld(taste, isStormy)
  const isOpen = planned.signIn === undefined
  const hasTallies = isOpen && new Random(`tallies? ${seed}`).chance(0.3)
  const world = {
    ...planned,
    bareClients: planned.bareClients.map((client, i) => ({
      ...client,
      searches: client.role === 'writer' && new Random(`searches? ${seed} ${i}`).chance(0.3),
    })),
    hasTallies,
    gathers: isOpen && !hasTallies && new Random(`gathers? ${seed}`).chance(0.3),
    usesLocks: isOpen && new Random(`locks? ${seed}`).chance(0.25),
  }
  const maps = world.signIn === undefined ? SHARED_MAPS : [...SHARED_MAPS, ...SHARED_MAPS, VAULT]
  const keys = Array.from({ length: taste.pick([2, 3, 6]) }, (_, i) => `k${i + 1}`)
  const patience = taste.pick([1, 2, 4])
  const weights = faultWeights(taste, world, isStormy)
  const steps: Step[] = []
  const writeCount = 15 + taste.int(45)
  const bareWriteCount = world.bareClients.length === 0 ? 0 : taste.pick([0, 4, 12])
  const faultCount = Object.values(weights).some((weight) => weight > 0)
    ? 3 + taste.int(isStormy || taste.chance(0.2) ? 40 : 16)
    : 0
  const moment = (): number => Math.round(random.between(0, BUSY_MS))
  // Writes come in flocks, so that they meet in one batch, one flush, one crash.
  let flockMs = moment()
  for (let i = 0; i < writeCount; i++) {
    if (random.chance(1 / 4)) flockMs = moment()
    steps.push(planWrite(random, maps, keys, Math.min(BUSY_MS, flockMs + Math.round(random.skewed(0, 400))), patience))
  }
  for (let i = 0; i < bareWriteCount; i++) steps.push(planBareWrite(random, maps, keys, moment()))
  steps.push(...planAges(seed, maps, keys))
  steps.push(...planScenes(seed, world, maps))
  if (world.hasTallies) steps.push(...planTallies(seed))
  if (world.usesLocks) steps.push(...planLocks(seed))
  if (world.gathers) steps.push(...planGatherings(seed))
  for (let i = 0; i < faultCount; i++) {
    // Faults like to come while something is going on.
    const near = steps[random.int(steps.length)]
    const atMs = random.chance(0.8) && near !== undefined ? near.atMs + Math.round(random.skewed(0, 300)) : moment()
    steps.push(planFault(random, random.weighted(weights), Math.min(BUSY_MS, atMs)))
  }
  return { seed, world, steps: steps.sort((a, b) => a.atMs - b.atMs) }
}

/** What goes into a set and out of it, and what is counted. */
function planTallies(seed: number): Step[] {
  const random = new Random(`tallies ${seed}`)
  return Array.from({ length: 6 + random.int(30) }, () => ({
    kind: 'tally' as const,
    atMs: Math.round(random.between(0, BUSY_MS)),
    n: random.int(1 << 20),
    act: random.weighted({ add: 4, remove: 2, count: 4 }),
    level: random.weighted({ memory: 6, applied: 2, persisted: 3, replicated: 0, none: 0 }),
  }))
}

/** What is published, and how those who gather show themselves. */
function planGatherings(seed: number): Step[] {
  const random = new Random(`gatherings ${seed}`)
  let flockMs = 0
  return Array.from({ length: 10 + random.int(30) }, () => {
    if (random.chance(0.3)) flockMs = random.between(0, BUSY_MS)
    const at = { atMs: Math.round(Math.min(BUSY_MS, flockMs + random.skewed(0, 800))), n: random.int(1 << 20) }
    if (random.chance(0.3)) return { ...at, kind: 'show' }
    return { ...at, kind: 'publish', times: 1 + Math.round(random.skewed(0, 30)), bytes: random.pick([10, 100, 900]) }
  })
}
