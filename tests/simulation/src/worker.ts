import { MUTANTS } from './mutants.ts'
import { patchModules } from './patch-modules.ts'

/** Seeds that this process is to run. */
export interface Work {
  readonly first: number
  readonly count: number
}

// A process of `runSeeds`: it runs the seeds that it is sent, tells the outcome of each, and asks for more.
const [name = ''] = process.argv.slice(2)
const mutant = MUTANTS.find((other) => other.name === name)
if (mutant !== undefined) patchModules(mutant)
// Loaded only now, so that patches are in place.
const { runSeed } = await import('./run-seed.ts')
const { WRAPPERS } = await import('./mutant-wrappers.ts')
const wrappers = WRAPPERS[name] ?? {}

process.on('message', ({ first, count }: Work) => void run(first, count))

async function run(first: number, count: number): Promise<void> {
  for (let seed = first; seed < first + count; seed++) process.send?.(await runSeed(seed, { wrappers }))
  process.send?.('next')
}
