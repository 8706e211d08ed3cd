import type { Cancel, Env } from '@syncline/core'
import type { Random } from './random.ts'
import type { Trace } from './trace.ts'

/** Where virtual time begins: 14 November 2023. */
const EPOCH_MS = 1_700_000_000_000

interface Timer {
  readonly atMs: number
  readonly order: number
  run: (() => void) | undefined
}

/**
 * The only clock of a run. Events happen one at a time, in the order of their time and then of their making; between
 * two of them everything that promises have set going comes to rest.
 */
export class Scheduler {
  readonly trace: Trace
  /** Told of what product code throws. */
  onError: (error: unknown) => void = (error) => {
    throw error
  }
  /** Called after each event, when everything has come to rest. */
  afterEvent: (() => void) | undefined
  nowMs = 0
  eventCount = 0
  readonly #heap: Timer[] = []
  #order = 0

  constructor(trace: Trace) {
    this.trace = trace
  }

  /** Calls `run` once after at least some virtual milliseconds. */
  after(delayMs: number, run: () => void): Cancel {
    const timer: Timer = { atMs: this.nowMs + Math.max(0, delayMs || 0), order: this.#order++, run }
    this.#push(timer)
    return () => {
      timer.run = undefined
    }
  }

  note(who: string, what: string, frame?: string | Uint8Array): void {
    this.trace.note(this.nowMs, who, what, frame)
  }

  /** Lets events happen until virtual time reaches a mark or `isDone` says so. */
  async runUntil(untilMs: number, isDone: () => boolean = () => false): Promise<void> {
    while (!isDone()) {
      const next = this.#heap[0]
      if (next === undefined || next.atMs > untilMs) {
        this.nowMs = Math.max(this.nowMs, untilMs)
        return
      }
      this.#pop()
      const { run } = next
      if (run === undefined) continue
      this.nowMs = next.atMs
      this.eventCount++
      try {
        run()
      } catch (error) {
        this.onError(error)
      }
      await atRest()
      this.afterEvent?.()
    }
  }

  #push(timer: Timer): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(timer)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(timer, heap[parent] as Timer)) break
      heap[at] = heap[parent] as Timer
      at = parent
    }
    heap[at] = timer
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop() as Timer
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = at * 2 + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Timer, heap[child] as Timer)) child++
      if (!isBefore(heap[child] as Timer, last)) break
      heap[at] = heap[child] as Timer
      at = child
    }
    heap[at] = last
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

/** Resolves when no promise has anything left to do: node runs immediates only then. */
function atRest(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** The wall clock of one machine: wrong by hours, too fast or too slow, and set anew now and then. */
export class WallClock {
  readonly #scheduler: Scheduler
  readonly #rate: number
  #offsetMs: number
  /** The latest time that it showed before it was set. */
  #shownMs = -Infinity

  constructor(scheduler: Scheduler, offsetMs: number, driftPpm: number) {
    this.#scheduler = scheduler
    this.#offsetMs = offsetMs
    this.#rate = 1 + driftPpm / 1_000_000
  }

  now(): number {
    return Math.floor(EPOCH_MS + this.#offsetMs + this.#scheduler.nowMs * this.#rate)
  }

  /** The latest time that it has shown: it may have been set back since. */
  get latest(): number {
    return Math.max(this.#shownMs, this.now())
  }

  jump(byMs: number): void {
    this.#shownMs = this.latest
    this.#offsetMs += byMs
  }
}

/** One run of a program: what it has set going does nothing any more once it is dead. */
export class Process {
  readonly name: string
  readonly env: Env
  isAlive = true
  readonly #scheduler: Scheduler
  #turn: (() => void)[] = []
  #tasks = 0

  /**
   * `turn` says when a turn ends: with the event, as in browsers, or after whatever else became ready meanwhile, as in
   * node. `onLog` hears the narration of the program.
   */
  constructor(
    name: string,
    scheduler: Scheduler,
    clock: WallClock,
    random: Random,
    turn: 'event' | 'loop',
    onLog: Env['log'],
  ) {
    this.name = name
    this.#scheduler = scheduler
    this.env = {
      now: () => clock.now(),
      monotonic: () => scheduler.nowMs,
      after: (delayMs, run) =>
        scheduler.after(delayMs + random.skewed(0, 5), () => {
          if (!this.isAlive) return
          scheduler.note(name, 'timer')
          run()
        }),
      endOfTurn: turn === 'event' ? (run) => this.#atEndOfEvent(run) : (run) => this.#atEndOfLoop(run, random),
      random: () => random.next(),
      uniqueId: () => `${random.int(2 ** 30).toString(36)}${random.int(2 ** 30).toString(36)}`,
      log: (level, message, details) => {
        if (this.isAlive) onLog(level, message, details)
      },
    }
  }

  /** Nothing waits for the end of a turn. */
  get isTurnOver(): boolean {
    return this.#turn.length === 0 && this.#tasks === 0
  }

  kill(): void {
    this.isAlive = false
    this.#turn = []
  }

  #atEndOfEvent(run: () => void): void {
    queueMicrotask(() => {
      if (!this.isAlive) return
      try {
        run()
      } catch (error) {
        this.#scheduler.onError(error)
      }
    })
  }

  #atEndOfLoop(run: () => void, random: Random): void {
    this.#turn.push(run)
    if (this.#turn.length === 1)
      this.#scheduler.after(random.chance(0.8) ? 0 : random.between(0, 3), () => this.#next())
  }

  /** One immediate after the other, with promises at rest in between; what they ask for is of the next turn. */
  #next(): void {
    const tasks = this.#turn
    this.#turn = []
    this.#tasks += tasks.length
    for (const task of tasks) {
      this.#scheduler.after(0, () => {
        this.#tasks--
        if (this.isAlive) task()
      })
    }
  }
}
