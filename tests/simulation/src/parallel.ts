import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Outcome } from './run-seed.ts'
import type { Work } from './worker.ts'

/** Seeds that a process takes at a time. */
const CHUNK = 10

/** Which seeds are to be run, and how. */
export interface SeedRange {
  readonly first: number
  readonly count: number
  /** Processes that share the seeds. */
  readonly jobs: number
  readonly mutant: string | undefined
}

/**
 * Runs seeds in processes of their own, which take the next ones whenever they have none. `onOutcome` hears of each seed,
 * in no particular order, and answers whether to go on. Rejects where a process ends by itself.
 */
export async function runSeeds(range: SeedRange, onOutcome: (outcome: Outcome) => boolean): Promise<void> {
  let [next, isOver] = [range.first, false]
  const end = range.first + range.count
  const take = (): Work | undefined => {
    if (isOver || next >= end) return undefined
    const work = { first: next, count: Math.min(CHUNK, end - next) }
    next += work.count
    return work
  }
  const children: ChildProcess[] = []
  const stop = (): void => {
    isOver = true
    for (const child of children) child.kill()
  }
  const runJob = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const child = fork(fileURLToPath(new URL('worker.ts', import.meta.url)), [range.mutant ?? ''], {
        serialization: 'advanced',
      })
      children.push(child)
      const deal = (): void => {
        const work = take()
        if (work === undefined) child.disconnect()
        else child.send(work)
      }
      child.on('message', (outcome: Outcome | 'next') => {
        if (isOver) return
        if (outcome === 'next') deal()
        else if (!onOutcome(outcome)) stop()
      })
      child.on('error', reject)
      child.on('exit', (code) =>
        isOver || code === 0 ? resolve() : reject(new Error(`A process ended with ${code}.`)),
      )
      deal()
    })
  try {
    await Promise.all(Array.from({ length: range.jobs }, runJob))
  } finally {
    stop()
  }
}
