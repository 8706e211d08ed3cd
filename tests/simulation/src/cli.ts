import { createHash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { MUTANTS } from './mutants.ts'
import { runSeeds } from './parallel.ts'
import { patchModules } from './patch-modules.ts'
import type { Outcome } from './run-seed.ts'

const HELP = `Runs the system on a virtual clock, one schedule of events for each seed.

  pnpm sim --seeds 2000            run seeds 1 to 2000, on all processors
  pnpm sim --seeds 500 --start 90  run seeds 90 to 589
  pnpm sim --seeds 2000 --jobs 1   in one process beside this one
  pnpm sim --seed 42               run one seed; if it fails, also find a shorter schedule
  pnpm sim --seed 42 --trace       run one seed and print all that happens
  pnpm sim --mutant NAME           run with a planted fault; the seeds end at the first that finds it
  pnpm sim --mutants               run with each planted fault in turn, and say which seed finds it
  pnpm sim --seeds 200 --counts    also say what happened how often

Ends with 1 if a promise was broken, or a planted fault was not found.`

const PROGRESS_MS = 10_000
const MOST_REPORTED = 5
/** Within so many seeds each planted fault must be found. */
const MUTANT_SEEDS = 500

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    start: { type: 'string', default: '1' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
    mutant: { type: 'string' },
    mutants: { type: 'boolean', default: false },
    counts: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) console.log(HELP)
else if (values.mutants) await runMutants()
else if (values.seed !== undefined) await runOne(wholeNumber('seed'))
else await runMany()

/** One seed, in this process. */
async function runOne(seed: number): Promise<void> {
  const mutant = namedMutant()
  if (mutant !== undefined) patchModules(mutant)
  // Loaded only now, so that patches are in place.
  const { runSeed } = await import('./run-seed.ts')
  const { planScenario } = await import('./scenario.ts')
  const { shrink } = await import('./shrink.ts')
  const { WRAPPERS } = await import('./mutant-wrappers.ts')
  const wrappers = WRAPPERS[mutant?.name ?? ''] ?? {}
  const outcome = await runSeed(seed, { wrappers, ...(values.trace ? { print: (line) => console.log(line) } : {}) })
  if (values.counts) tellCounts(outcome.counts)
  if (outcome.violation === undefined) {
    console.log(`Seed ${seed} keeps every promise. Trace ${outcome.hash}`)
    return
  }
  tell(outcome, mutant?.name)
  process.exitCode = 1
  if (values.trace) return
  const { steps } = planScenario(seed)
  const shorter = await shrink(planScenario(seed), outcome.violation.rule, wrappers)
  console.log(`\nA shorter schedule that breaks the same rule, ${shorter.length} of ${steps.length} steps:`)
  for (const step of shorter) console.log(`  ${JSON.stringify(step)}`)
}

/** Many seeds, in processes of their own. With a planted fault they end at the first that finds it. */
async function runMany(): Promise<void> {
  const mutant = namedMutant()
  const [first, count] = [wholeNumber('start'), wholeNumber('seeds', mutant === undefined ? 200 : MUTANT_SEEDS)]
  const startedAt = performance.now()
  const counts = new Map<string, number>()
  const hashes: string[] = []
  let [done, events, failures, toldAt] = [0, 0, 0, startedAt]
  await runSeeds({ first, count, jobs: wholeNumber('jobs'), mutant: mutant?.name }, (outcome) => {
    done++
    events += outcome.events
    hashes[outcome.seed - first] = outcome.hash
    for (const [what, times] of outcome.counts) counts.set(what, (counts.get(what) ?? 0) + times)
    if (outcome.violation !== undefined) {
      failures++
      tell(outcome, mutant?.name)
      return mutant === undefined && failures < MOST_REPORTED
    }
    if (performance.now() - toldAt > PROGRESS_MS) {
      toldAt = performance.now()
      console.log(`${done} of ${count} seeds, ${failures} broke a promise`)
    }
    return true
  })
  const seconds = (performance.now() - startedAt) / 1_000
  console.log(`${done} seeds, ${failures} broke a promise; ${events} events in ${seconds.toFixed(1)} s`)
  if (done === count) console.log(`Traces ${createHash('sha256').update(hashes.join()).digest('hex').slice(0, 16)}`)
  if (values.counts) tellCounts(counts)
  if (failures > 0) process.exitCode = 1
}

/** Every planted fault. */
async function runMutants(): Promise<void> {
  const first = wholeNumber('start')
  for (const { name, fault } of MUTANTS) {
    let found: Outcome | undefined
    let seeds = 0
    let how = 'NOT FOUND'
    try {
      await runSeeds({ first, count: MUTANT_SEEDS, jobs: wholeNumber('jobs'), mutant: name }, (outcome) => {
        seeds++
        if (outcome.violation !== undefined) found = outcome
        return found === undefined
      })
    } catch (error) {
      how = `CANNOT RUN: ${(error as Error).message}`
    }
    if (found !== undefined) how = `seed ${found.seed}, ${found.violation?.rule}`
    console.log(`${name.padEnd(26)}${how.padEnd(30)}${String(seeds).padStart(4)} seeds  ${fault}`)
    if (found === undefined) process.exitCode = 1
  }
}

function namedMutant(): (typeof MUTANTS)[number] | undefined {
  if (values.mutant === undefined) return undefined
  const mutant = MUTANTS.find(({ name }) => name === values.mutant)
  if (mutant === undefined) throw new Error(`There is no planted fault '${values.mutant}'.`)
  return mutant
}

function tellCounts(counts: ReadonlyMap<string, number>): void {
  for (const [what, times] of [...counts].sort(([a], [b]) => (a < b ? -1 : 1)))
    console.log(`${String(times).padStart(8)}  ${what}`)
}

function tell({ seed, violation, latest }: Outcome, mutant: string | undefined): void {
  const how = mutant === undefined ? '' : ` --mutant ${mutant}`
  console.log(`\nSeed ${seed} broke ${violation?.rule}: ${violation?.message.slice(0, 2_000)}`)
  if (mutant === undefined) {
    console.log('The last events:')
    for (const line of latest.slice(-25)) console.log(`  ${line.slice(0, 400)}`)
  }
  console.log(`To see it again: pnpm sim --seed ${seed}${how} --trace`)
}

function wholeNumber(name: 'seeds' | 'start' | 'seed' | 'jobs', byDefault?: number): number {
  const number = Number(values[name] ?? byDefault)
  if (!Number.isSafeInteger(number) || number < 0) throw new Error(`--${name} takes a whole number.`)
  return number
}
