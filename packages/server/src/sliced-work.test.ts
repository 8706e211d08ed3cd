import { expect, test } from 'vitest'
import { SlicedWork, type WorkOwner } from './sliced-work.ts'
import { nodeEnv } from './env.ts'

/** Work on a clock that each step moves on by a millisecond, in turns that are ended by hand. */
function start() {
  let ms = 0
  let ends: (() => void)[] = []
  const work = new SlicedWork({
    ...nodeEnv('error', () => {}),
    monotonic: () => ms,
    endOfTurn: (run) => void ends.push(run),
  })
  const steps: string[] = []
  return {
    steps,
    work,
    endTurn: (): string[] => {
      const due = ends
      ends = []
      for (const run of due) run()
      return steps.splice(0)
    },
    run: (owner: WorkOwner, name: string, count: number): Promise<void> | undefined => {
      const generator = function* () {
        for (let i = 0; i < count; i++) {
          ms++
          steps.push(name)
          if (i < count - 1) yield
        }
      }
      return work.run(
        owner,
        generator(),
        () => true,
        () => steps.push(`${name} done`),
      )
    },
  }
}

const [a, b, c] = [{}, {}, {}]

test('INV-22: all work of a server together takes no more than one slice of a turn', () => {
  const { run, endTurn, steps } = start()
  for (const [i, owner] of [a, b, c].entries()) void run(owner, `w${i}`, 100)
  for (let more = 0; more < 20; more++) void run({}, 'late', 100)
  expect(steps.splice(0)).toHaveLength(5)
  for (let turn = 0; turn < 10; turn++) expect(endTurn()).toHaveLength(5)
})

test('owners take turns by time, however many jobs one has, and so do its jobs', async () => {
  const { run, endTurn, steps, work } = start()
  for (let i = 0; i < 10; i++) void run(a, `a${i}`, 50)
  const short = run(b, 'b', 3)
  expect(steps.splice(0)).toEqual(['a0', 'b'])
  expect(work.waitingCount).toBe(11)
  expect(endTurn()).toEqual(['a0', 'b', 'a1', 'b', 'b done', 'a2'])
  await short
  expect(endTurn()).toEqual(['a3', 'a4', 'a5', 'a6', 'a7'])
})

test('what is done at once has no promise, and what a step throws rejects that of its job alone', async () => {
  const { run, endTurn, work } = start()
  expect(run(a, 'short', 1)).toBeUndefined()
  const fails = work.run(
    b,
    (function* () {
      yield
      throw new Error('broken')
    })(),
    () => true,
    () => {},
  )
  const other = run(c, 'other', 20)
  for (let turn = 0; turn < 20 && work.waitingCount > 0; turn++) endTurn()
  await expect(fails).rejects.toThrow('broken')
  await other
})
