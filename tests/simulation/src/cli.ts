import { parseArgs } from 'node:util'
import { MUTANTS } from './mutants.ts'
import { patchModules } from './patch-modules.ts'
import type { Outcome } from './run-seed.ts'

const HELP = `Runs the system on a virtual clock, one schedule of events for each seed.

  pnpm sim --seeds 2000            run seeds 1 to 2000
  pnpm sim --seeds 500 --start 90  run seeds 90 to 589
  pnpm sim --seed 42               run one seed; if it fails, also find a shorter schedule
  pnpm sim --seed 42 --trace       run one seed and print all that happens
  pnpm sim --mutant NAME           run with a planted fault; the seeds end at the first that finds it
  pnpm sim --mutants               list the planted faults

Ends with 1 if a promise was broken.`

const PROGRESS_MS = 10_000
const MOST_REPORTED = 5

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' },
    start: { type: 'string', default: '1' },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
    mutant: { type: 'string' },
    mutants: { type: 'boolean', default: false },
    counts: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) console.log(HELP)
else if (values.mutants) for (const { name, fault } of MUTANTS) console.log(`${name.padEnd(26)}${fault}`)
else await run()

async function run(): Promise<void> {
  const mutant = values.mutant === undefined ? undefined : MUTANTS.find(({ name }) => name === values.mutant)
  if (values.mutant !== undefined && mutant === undefined) throw new Error(`There is no mutant '${values.mutant}'.`)
  if (mutant !== undefined) patchModules(mutant)
  // Loaded only now, so that patches are in place.
  const { runSeed } = await import('./run-seed.ts')
  const { planScenario } = await import('./scenario.ts')
  const { shrink } = await import('./shrink.ts')
  const { WRAPPERS } = await import('./mutant-wrappers.ts')
  const wrappers = WRAPPERS[values.mutant ?? ''] ?? {}
  const [first, count] =
    values.seed === undefined ? [wholeNumber('start'), wholeNumber('seeds')] : [wholeNumber('seed'), 1]
  const startedAt = performance.now()
  const counts = new Map<string, number>()
  let [events, failures, toldAt] = [0, 0, startedAt]
  for (let seed = first; seed < first + count; seed++) {
    const outcome = await runSeed(seed, { wrappers, ...(values.trace ? { print: (line) => console.log(line) } : {}) })
    events += outcome.events
    for (const [what, times] of outcome.counts) counts.set(what, (counts.get(what) ?? 0) + times)
    if (outcome.violation !== undefined) {
      failures++
      tell(outcome, mutant?.name)
      if (values.seed !== undefined && !values.trace) {
        const shorter = await shrink(planScenario(seed), outcome.violation.rule, wrappers)
        console.log(
          `\nA shorter schedule that breaks the same rule, ${shorter.length} of ${planScenario(seed).steps.length} steps:`,
        )
        for (const step of shorter) console.log(`  ${JSON.stringify(step)}`)
      }
      if (mutant !== undefined || failures === MOST_REPORTED) {
        tellSum(seed - first + 1)
        break
      }
    } else if (values.seed !== undefined) console.log(`Seed ${seed} keeps every promise. Trace ${outcome.hash}`)
    if (performance.now() - toldAt > PROGRESS_MS) {
      toldAt = performance.now()
      console.log(`${seed - first + 1} of ${count} seeds, ${failures} broke a promise`)
    }
    if (seed === first + count - 1) tellSum(count)
  }
  if (values.counts)
    for (const [what, times] of [...counts].sort(([a], [b]) => (a < b ? -1 : 1)))
      console.log(`${String(times).padStart(8)}  ${what}`)
  if (failures > 0) process.exitCode = 1

  function tellSum(done: number): void {
    const seconds = (performance.now() - startedAt) / 1_000
    const cpuSeconds = process.cpuUsage().user / 1_000_000
    console.log(
      `${done} seeds, ${failures} broke a promise; ${events} events in ${seconds.toFixed(1)} s (${cpuSeconds.toFixed(1)} s of one core)`,
    )
  }
}

function tell({ seed, violation, latest }: Outcome, mutant: string | undefined): void {
  const how = mutant === undefined ? '' : ` --mutant ${mutant}`
  console.log(`\nSeed ${seed} broke ${violation?.rule}: ${violation?.message}`)
  if (mutant === undefined) {
    console.log('The last events:')
    for (const line of latest.slice(-25)) console.log(`  ${line.slice(0, 400)}`)
  }
  console.log(`To see it again: pnpm sim --seed ${seed}${how} --trace`)
}

function wholeNumber(name: 'seeds' | 'start' | 'seed'): number {
  const number = Number(values[name])
  if (!Number.isSafeInteger(number) || number < 0) throw new Error(`--${name} takes a whole number.`)
  return number
}
