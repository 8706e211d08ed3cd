import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { MUTANTS } from './mutants.ts'
import { runSeed } from './run-seed.ts'

const SEEDS = 120
/** Within so many seeds each planted fault must be found. */
const MUTANT_SEEDS = 500

/** Runs that meet none of this prove nothing. */
const MET: readonly string[] = [
  'answers: CLOCK_SKEW',
  'answers: PERSISTED',
  'answers: STORAGE_FULL',
  'answers: STORAGE_UNAVAILABLE',
  'answers: TIMEOUT',
  'answers: superseded',
  'conflicts',
  'frames of several events',
  'pages before the last',
  'pages that name lost ranges',
  'pushes',
]

/** Runs the command line, as it is run by hand: whether a promise was broken, and what it said. */
function sim(...words: string[]): Promise<{ readonly isBroken: boolean; readonly output: string }> {
  const cli = fileURLToPath(new URL('cli.ts', import.meta.url))
  const node = ['--conditions=@syncline/source', cli, ...words]
  return new Promise((resolve, reject) => {
    execFile(process.execPath, node, { maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      if (error !== null && (error.code !== 1 || stdout === '')) reject(new Error(stderr || error.message))
      else resolve({ isBroken: error !== null, output: stdout })
    })
  })
}

test('a seed gives the same trace again, in this process and in another, and seeds differ', async () => {
  const [first, second, other] = [await runSeed(7), await runSeed(7), await runSeed(8)]
  expect(first.violation).toBeUndefined()
  expect(first.events).toBeGreaterThan(500)
  expect(second.hash).toBe(first.hash)
  expect(other.hash).not.toBe(first.hash)
  const { output } = await sim('--seed', '7')
  expect(output).toContain(`Trace ${first.hash}`)
}, 60_000)

test(`INV-3 INV-6 INV-10 INV-13 INV-14: ${SEEDS} seeds keep every promise, and meet what they are for`, async () => {
  const counts = new Map<string, number>()
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violation, latest, counts: own } = await runSeed(seed)
    if (violation !== undefined)
      throw new Error(
        `pnpm sim --seed ${seed}: ${violation.rule}: ${violation.message}\n${latest.slice(-20).join('\n')}`,
      )
    for (const [what, times] of own) counts.set(what, (counts.get(what) ?? 0) + times)
  }
  expect(MET.filter((what) => (counts.get(what) ?? 0) <= 3)).toEqual([])
}, 240_000)

describe.concurrent('a planted fault is found', () => {
  test.each(MUTANTS)(
    '$name: $fault',
    async ({ name }) => {
      const { isBroken, output } = await sim('--mutant', name, '--seeds', String(MUTANT_SEEDS))
      expect(isBroken).toBe(true)
      expect(output).toMatch(/Seed \d+ broke /)
    },
    240_000,
  )
})
