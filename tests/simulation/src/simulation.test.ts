import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { MUTANTS } from './mutants.ts'
import { runSeed } from './run-seed.ts'

const SEEDS = 2_000
/** Within so many seeds each planted fault must be found. */
const MUTANT_SEEDS = 500

/** Runs that meet none of this prove nothing. */
const MET: readonly string[] = [
  'answers: CLOCK_SKEW',
  'answers: FORBIDDEN',
  'answers: PERSISTED',
  'answers: STORAGE_FULL',
  'answers: STORAGE_UNAVAILABLE',
  'answers: TIMEOUT',
  'answers: superseded',
  'conflicts',
  'deletions forgotten',
  'drops told',
  'errors: FORBIDDEN',
  'fenced writes refused',
  'fenced writes taken',
  'followers told to forget',
  'frames of several events',
  'lobbies compared',
  'locks granted',
  'locks renewed',
  'members gone in time',
  'news heard',
  'pages before the last',
  'pages of query results',
  'pages that name lost ranges',
  'pushes',
  'query results compared',
  'query updates: ENTER',
  'query updates: LEAVE',
  'query updates: UPDATE',
  'refused sign-ins: jwt expired',
  'rejected: STALE',
  'resets',
  'results shown',
  'search updates: ENTER',
  'search updates: LEAVE',
  'sign-ins',
  'tallies compared',
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

test('seeds give the same traces whatever ran before them in their process', async () => {
  const traces = async (...words: string[]): Promise<string | undefined> =>
    /Traces \w+/.exec((await sim('--seeds', '60', ...words)).output)?.[0]
  const [alone, shared] = [await traces('--jobs', '1'), await traces('--jobs', '3')]
  expect(alone).toBeDefined()
  expect(shared).toBe(alone)
}, 120_000)

test(`INV-3 INV-6 INV-10 INV-12 INV-13 INV-14 INV-15 INV-16 INV-19 INV-21: ${SEEDS} seeds keep every promise, and meet what they are for`, async () => {
  const { isBroken, output } = await sim('--seeds', String(SEEDS), '--jobs', '2', '--counts')
  if (isBroken) throw new Error(output)
  const counts = new Map(
    Array.from(output.matchAll(/^ *(\d+) {2}(.+)$/gm), ([, times, what]) => [what, Number(times)] as const),
  )
  expect(MET.filter((what) => (counts.get(what) ?? 0) <= 3)).toEqual([])
}, 600_000)

describe('a planted fault is found', () => {
  test.each(MUTANTS)(
    '$name: $fault',
    async ({ name, foundBy }) => {
      expect(foundBy).toBeLessThan(MUTANT_SEEDS)
      // The seed that is known to find it comes first; where the product has moved on, another one has to.
      const words = ['--start', String(foundBy), '--seeds', String(MUTANT_SEEDS), '--jobs', '1']
      const { isBroken, output } = await sim('--mutant', name, ...words)
      expect(isBroken).toBe(true)
      expect(output).toMatch(/Seed \d+ broke /)
    },
    240_000,
  )
})
