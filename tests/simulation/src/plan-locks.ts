import { Random } from './random.ts'
import { BUSY_MS, type Step } from './steps.ts'

const NAMES: readonly string[] = ['l1', 'l1', 'l2']

/** Who asks for locks when, what is done under them, and what befalls those who hold them. */
export function planLocks(seed: number): Step[] {
  const random = new Random(`locks ${seed}`)
  const steps: Step[] = []
  let flockMs = 0
  for (let i = 10 + random.int(25); i > 0; i--) {
    // They come in flocks, so that several wait for one.
    if (i === 1 || random.chance(0.3)) flockMs = random.between(0, BUSY_MS - 2_000)
    steps.push(planLock(random, Math.round(flockMs + random.skewed(0, 1_500))))
  }
  if (random.chance(0.5)) steps.push(...planTokens(random))
  return steps
}

function planLock(random: Random, atMs: number): Step {
  const ttlMs = random.pick([200, 800, 3_000, 10_000])
  return {
    kind: 'lock',
    atMs,
    n: random.int(1 << 20),
    name: random.pick(NAMES),
    ttlMs,
    waitMs: random.pick([0, 400, 4_000, 12_000, 12_000]),
    holdMs: Math.round(random.pick([0.2, 0.7, 1.5]) * Math.min(ttlMs, 4_000)),
    renewAfterMs: random.chance(0.3) ? Math.round(ttlMs * random.between(0.3, 1.1)) : undefined,
    writes: random.int(4),
    isCareless: random.chance(0.4),
    isReleased: random.chance(0.6),
    level: random.weighted({ memory: 4, applied: 2, persisted: 3, replicated: 0, none: 0 }),
  }
}

/** The server ends after its clock was set back: tokens go on above those that were granted before. */
function planTokens(random: Random): Step[] {
  const atMs = Math.round(random.between(2_000, BUSY_MS - 8_000))
  const n = random.int(1 << 20)
  return [
    { kind: 'clock jumps', atMs, n, byMs: 15_000, isServer: true },
    planLock(random, atMs + 200),
    planLock(random, atMs + 400),
    { kind: 'clock jumps', atMs: atMs + 1_000, n, byMs: -30_000, isServer: true },
    { kind: 'end server', atMs: atMs + 1_200 + random.int(800), n, how: 'killed', backAfterMs: 100, isAtPage: false },
    planLock(random, atMs + 4_500),
    planLock(random, atMs + 5_000),
  ]
}
