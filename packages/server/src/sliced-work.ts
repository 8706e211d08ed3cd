import type { Env, QuerySpec } from '@syncline/core'

/** How long work may keep the rest of a turn waiting, all of it together. */
const SLICE_MS = 5
/** How long one owner's work goes on before that of the next one. */
const SHARE_MS = 1
/** Rows that are sorted or merged in one step. */
const STEP_ROWS = 2_048

/** Rows without a condition that are looked at between two looks at the clock: what a row costs depends on its size. */
const ROWS_PER_LOOK = 16

/** Whose work it is: a session that asked for it, or what many use, such as an index. */
export type WorkOwner = object

interface Job {
  /** Does a step. True when it was the last one. */
  readonly step: () => boolean
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/**
 * Does the long work of a whole server a few milliseconds a turn, so that everyone else has their turn in between. Owners
 * take turns by time, however much each has to do, and so do the jobs of one.
 */
export class SlicedWork {
  readonly #env: Env
  /** What waits, in the order in which owners have their turns. */
  readonly #jobsByOwner = new Map<WorkOwner, Job[]>()
  /** What this turn has spent on work. */
  #spentMs = 0
  #isScheduled = false

  constructor(env: Env) {
    this.#env = env
  }

  /** Jobs that wait. */
  get waitingCount(): number {
    let count = 0
    for (const jobs of this.#jobsByOwner.values()) count += jobs.length
    return count
  }

  /**
   * Does work step by step, for as long as it is wanted, and calls `done` in the turn of the last step. Undefined if that
   * is this turn. Otherwise a promise that settles when it is over; it rejects with what a step throws.
   */
  run<T>(
    owner: WorkOwner,
    work: Generator<void, T>,
    isWanted: () => boolean,
    done: (result: T) => void,
  ): Promise<void> | undefined {
    const step = (): boolean => {
      if (!isWanted()) return work.return(undefined as T).done === true
      const next = work.next()
      if (next.done !== true) return false
      done(next.value)
      return true
    }
    this.#schedule()
    try {
      if (!this.#jobsByOwner.has(owner) && this.#go(step)) return undefined
    } catch (error) {
      return Promise.reject(error)
    }
    return new Promise((resolve, reject) => {
      const job = { step, resolve, reject }
      const jobs = this.#jobsByOwner.get(owner)
      if (jobs === undefined) this.#jobsByOwner.set(owner, [job])
      else jobs.push(job)
    })
  }

  /** Does steps until the last one or for as long as an owner has its turn. True when it was the last one. */
  #go(step: () => boolean): boolean {
    const untilMs = Math.min(this.#spentMs + SHARE_MS, SLICE_MS)
    while (this.#spentMs < untilMs) {
      const startedAt = this.#env.monotonic()
      try {
        if (step()) return true
      } finally {
        this.#spentMs += this.#env.monotonic() - startedAt
      }
    }
    return false
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#env.endOfTurn(() => {
      this.#isScheduled = false
      this.#spentMs = 0
      this.#turn()
    })
  }

  #turn(): void {
    while (this.#spentMs < SLICE_MS) {
      const next = this.#jobsByOwner.entries().next()
      if (next.done === true) return
      const [owner, jobs] = next.value
      const job = jobs.shift() as Job
      this.#jobsByOwner.delete(owner)
      let isDone = true
      try {
        isDone = this.#go(job.step)
        if (isDone) job.resolve()
      } catch (error) {
        job.reject(error)
      }
      // Its last step may have asked for more.
      const waiting = [...jobs, ...(this.#jobsByOwner.get(owner) ?? []), ...(isDone ? [] : [job])]
      this.#jobsByOwner.delete(owner)
      if (waiting.length > 0) this.#jobsByOwner.set(owner, waiting)
    }
    if (this.#jobsByOwner.size > 0) this.#schedule()
  }
}

/** Sorts a copy of a list in steps: short runs first, which are then merged two by two. */
export function* sortInSteps<T>(list: readonly T[], compare: (a: T, b: T) => number): Generator<void, T[]> {
  let runs: T[][] = []
  for (let at = 0; at < list.length; at += STEP_ROWS) {
    if (at > 0) yield
    runs.push(list.slice(at, at + STEP_ROWS).sort(compare))
  }
  while (runs.length > 1) {
    const longer: T[][] = []
    for (let i = 0; i < runs.length; i += 2) {
      const [a, b] = [runs[i] as T[], runs[i + 1]]
      longer.push(b === undefined ? a : yield* mergeInSteps(a, b, compare))
    }
    runs = longer
  }
  return runs[0] ?? []
}

function* mergeInSteps<T>(a: readonly T[], b: readonly T[], compare: (a: T, b: T) => number): Generator<void, T[]> {
  const merged: T[] = []
  let [i, j] = [0, 0]
  while (i < a.length || j < b.length) {
    const isFromA = j === b.length || (i < a.length && compare(a[i] as T, b[j] as T) <= 0)
    merged.push((isFromA ? a[i++] : b[j++]) as T)
    if (merged.length % STEP_ROWS === 0) yield
  }
  return merged
}

/** Rows between two looks at the clock. Conditions are judged for each row, so a longer query looks more often. */
export function rowsPerLookFor({ where, predicate }: QuerySpec): number {
  return Math.max(1, Math.floor(ROWS_PER_LOOK / (1 + membersIn(where) + membersIn(predicate))))
}

/** Everything named in a condition, at every depth: about as many tests as a row costs. */
function membersIn(condition: unknown): number {
  if (typeof condition !== 'object' || condition === null) return 0
  return Object.values(condition).reduce((sum: number, inner) => sum + 1 + membersIn(inner), 0)
}
