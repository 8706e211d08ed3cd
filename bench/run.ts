// `npm run bench`: measures the suites that are named, or all.
import { parseArgs } from 'node:util'
import { canPin, stopAll } from './lib/processes.ts'
import { loadAverage, machine, printTable, readBaselines, writeBaselines } from './lib/report.ts'
import type { Settings, Suite } from './lib/suite.ts'

const SUITES: Readonly<Record<string, () => Promise<{ readonly suite: Suite }>>> = {
  storage: () => import('./storage/benchmark.ts'),
  events: () => import('./events/benchmark.ts'),
  'first-sync': () => import('./first-sync/benchmark.ts'),
  idle: () => import('./idle/benchmark.ts'),
  sync: () => import('./sync/benchmark.ts'),
  queries: () => import('./queries/benchmark.ts'),
  search: () => import('./search/benchmark.ts'),
  reconnect: () => import('./reconnect/benchmark.ts'),
  startup: () => import('./startup/benchmark.ts'),
  'client-size': () => import('./client-size/benchmark.ts'),
  topics: () => import('./topics/benchmark.ts'),
  writes: () => import('./writes/benchmark.ts'),
}

/** Above this load average something else uses the cores. */
const BUSY_LOAD = 0.5

const HELP = `Measures what Syncline costs, beside the ceilings of this machine.

  npm run bench -- [SUITE…] [OPTION…]

Suites: ${Object.keys(SUITES).join(', ')}; without a name, all of them.

  --quick      one round of 2 s instead of three of 8 s
  --only TEXT  the parts of a suite with this text in their name
  --profile    one round under V8's profiler: where the server's time goes
  --update     keep the figures as the suite's baselines
  --strict     end with 1 where a goal is missed`

const { values, positionals } = readArguments()

function readArguments() {
  const options = {
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    update: { type: 'boolean', default: false },
    strict: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  } as const
  try {
    return parseArgs({ allowPositionals: true, options })
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`)
    return process.exit(2)
  }
}

const isQuick = values.quick || values.profile
const settings: Settings = {
  rounds: isQuick ? 1 : 3,
  warmUpMs: values.quick ? 1_000 : 2_000,
  durationMs: values.quick ? 2_000 : 8_000,
  isQuick,
  isProfile: values.profile,
  only: values.only,
}

async function main(): Promise<void> {
  if (values.help) return console.log(HELP)
  const unknown = positionals.filter((name) => !Object.hasOwn(SUITES, name))
  if (unknown.length > 0) {
    console.error(`There is no suite '${unknown.join("', '")}'. There are: ${Object.keys(SUITES).join(', ')}`)
    process.exitCode = 2
    return
  }
  const names = positionals.length === 0 ? Object.keys(SUITES) : positionals
  console.log(
    `${machine()}${canPin ? '; servers on core 0, load on core 1' : '; processes are not kept to their cores'}`,
  )
  console.log(
    `${settings.rounds} rounds of ${settings.durationMs / 1000} s after ${settings.warmUpMs / 1000} s of warm-up; medians`,
  )
  if (loadAverage() >= BUSY_LOAD) {
    console.log(
      `The machine is busy (load average ${loadAverage()}): only shares and figures per s of CPU mean anything`,
    )
  }
  let missed = 0
  for (const name of names) {
    const loadBefore = loadAverage()
    const { suite } = await (SUITES[name] as () => Promise<{ readonly suite: Suite }>)()
    console.log(`\n${suite.name}: ${suite.title}`)
    const rows = await suite.run(settings, (line) => console.log(`  ${line}`))
    if (rows.length === 0) continue
    const file = new URL(`${name}/baselines.json`, import.meta.url)
    const baselines = readBaselines(file)
    if (baselines !== undefined) console.log(`  baseline of ${baselines.date}: ${baselines.machine}`)
    missed += printTable(rows, baselines, (line) => console.log(`  ${line}`))
    if (values.update && !isQuick && values.only === undefined) writeBaselines(file, rows, loadBefore)
  }
  process.exitCode = values.strict && missed > 0 ? 1 : 0
}

process.once('SIGINT', () => void stopAll().then(() => process.exit(130)))
process.once('SIGTERM', () => void stopAll().then(() => process.exit(143)))
try {
  await main()
} finally {
  await stopAll()
}
