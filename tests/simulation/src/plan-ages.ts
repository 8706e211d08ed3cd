import { planFault, planWrite } from './plan-steps.ts'
import { Random } from './random.ts'
import { BUSY_MS, type Step } from './steps.ts'

/**
 * Machines that are away while weeks go by, and what the others remove and write meanwhile. In most of these seeds that is
 * longer than deletions are kept.
 */
export function planAges(seed: number, maps: readonly string[], keys: readonly string[]): Step[] {
  const random = new Random(`ages ${seed}`)
  const steps: Step[] = []
  if (random.chance(0.5)) return steps
  for (let count = 1 + random.int(3); count > 0; count--) {
    const atMs = Math.round(random.between(0, BUSY_MS * 0.6))
    const forMs = Math.round(random.between(5_000, 16_000))
    const at = { atMs, n: random.int(1 << 20) }
    const away: Step = random.pick([
      { ...at, kind: 'partition', direction: 'both', forMs },
      { ...at, kind: 'crash tab', backAfterMs: forMs, isMachineOff: true, isReload: false },
      { ...at, kind: 'go offline', forMs },
    ] as const)
    steps.push(away)
    const days = random.pick([0.5, 12, 31, 45, 90])
    const parts = 1 + random.int(3)
    for (let part = 1; part <= parts; part++) {
      const within = Math.round((part / (parts + 1)) * forMs)
      steps.push({ kind: 'days pass', atMs: atMs + within, n: 0, days: days / parts })
      // What is forgotten then is being stored.
      if (random.chance(0.25)) steps.push(planFault(random, 'end server', atMs + within + 350 + random.int(200)))
    }
    for (let i = random.int(8); i > 0; i--) {
      const mapName = random.pick(maps)
      const lateMs = Math.round(random.between(0, forMs + 3_000))
      const write = planWrite(random, [mapName], keys, Math.min(BUSY_MS, atMs + lateMs), 1)
      steps.push(write.kind === 'write' && random.chance(0.4) ? { ...write, act: 'remove', times: 1 } : write)
    }
  }
  return steps
}
