import type { Env } from '@syncline/core'
import { SynclineError, checkAtLeast } from './errors.ts'

// Older browsers have `using` only as compiled code, which looks for these symbols.

/** The symbol by which `using` ends what it holds. */
export const dispose: typeof Symbol.dispose = Symbol.dispose ?? (Symbol.for('Symbol.dispose') as typeof Symbol.dispose)

/** The symbol by which `await using` closes a client. */
export const asyncDispose: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? (Symbol.for('Symbol.asyncDispose') as typeof Symbol.asyncDispose)

/** Ends a subscription. Call it, or let `using` do so. */
export type Unsubscribe = (() => void) & Disposable

/** The one subscribable shape: a value that changes. */
export interface Readable<T> {
  /** The present value: the same object as long as nothing has changed. */
  get(): T
  /** Calls `next` after every turn in which the value changed; with `immediate` also now. */
  subscribe(next: (value: T) => void, options?: { signal?: AbortSignal; immediate?: boolean }): Unsubscribe
  /** The present value, then each later one. A slow loop sees the latest only. Ends when the client is closed. */
  [Symbol.asyncIterator](): AsyncIterator<T>
}

/** Makes a function usable by `using`. */
export function unsubscriber(stop: () => void): Unsubscribe {
  return Object.assign(() => stop(), { [dispose]: stop })
}

/** Throws VALIDATION_ERROR where something is not of its type, which only plain JavaScript can do. */
export function check(it: unknown, type = 'function', what = 'A callback'): void {
  if (typeof it !== type) throw new SynclineError('VALIDATION_ERROR', `${what} is a ${type}.`)
}

/** Throws VALIDATION_ERROR where a signal is none. */
export function checkSignal(signal: AbortSignal | undefined): void {
  // eslint-disable-next-line typescript/unbound-method -- it is only looked at.
  if (signal) check(signal.addEventListener, 'function', 'addEventListener of a signal')
}

/** Collects what changed in a turn, so that subscribers are called once at its end. */
export class Turn {
  readonly #env: Env
  #tasks = new Set<() => void>()
  readonly #closers = new Set<() => void>()
  isClosed = false

  constructor(env: Env) {
    this.#env = env
  }

  /** Runs a task at the end of this turn, once however often it is asked for. */
  schedule(task: () => void): void {
    if (this.#tasks.size === 0) this.#env.endOfTurn(() => this.#run())
    this.#tasks.add(task)
  }

  /** Calls code of the application, whose failures are its own. */
  guard(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#env.log('error', 'A subscriber failed.', { error })
    }
  }

  /** Calls `run` when the client is closed. */
  onClose(run: () => void): () => void {
    this.#closers.add(run)
    return () => this.#closers.delete(run)
  }

  /** Ends all iterators. */
  close(): void {
    this.isClosed = true
    for (const run of this.#closers) run()
  }

  #run(): void {
    const tasks = this.#tasks
    this.#tasks = new Set()
    for (const task of tasks) this.guard(task)
  }
}

/** A Readable over something that is computed when asked for, after `changed()` said that it may differ. */
export class Source<T> implements Readable<T> {
  readonly #turn: Turn
  readonly #compute: (previous: T | undefined) => T
  readonly #observe: (() => () => void) | undefined
  readonly #subscribers = new Set<(value: T) => void>()
  #value: T | undefined
  #isFresh = false
  #told: T | undefined
  #stop: (() => void) | undefined

  /**
   * `compute` returns its argument where nothing has changed. `observe` is called while there are subscribers, and then
   * sees to it that `changed` is called; without it someone always does.
   */
  constructor(turn: Turn, compute: (previous: T | undefined) => T, observe?: () => () => void) {
    this.#turn = turn
    this.#compute = compute
    this.#observe = observe
  }

  get(): T {
    if (!this.#isFresh || (this.#observe !== undefined && this.#stop === undefined)) {
      this.#value = this.#compute(this.#value)
      this.#isFresh = true
    }
    return this.#value as T
  }

  /** Says that the value may have changed. */
  changed(): void {
    this.#isFresh = false
    if (this.#subscribers.size > 0) this.#turn.schedule(this.#tell)
  }

  subscribe(next: (value: T) => void, options?: { signal?: AbortSignal; immediate?: boolean }): Unsubscribe {
    const { signal, immediate } = { ...options }
    check(next)
    checkSignal(signal)
    const own = (value: T): void => next(value)
    const stop = unsubscriber(() => {
      signal?.removeEventListener('abort', stop)
      if (!this.#subscribers.delete(own) || this.#subscribers.size > 0) return
      this.#stop?.()
      this.#stop = undefined
    })
    if (signal?.aborted === true) return stop
    signal?.addEventListener('abort', stop)
    this.#subscribers.add(own)
    if (this.#subscribers.size === 1) {
      this.#stop = this.#observe?.()
      this.#isFresh = false
      this.#told = this.get()
    }
    if (immediate === true) this.#turn.guard(() => next(this.get()))
    return stop
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    let wake = (): void => {}
    const stop = this.subscribe(() => wake())
    const stopClose = this.#turn.onClose(() => wake())
    try {
      let last: T | undefined
      for (let isFirst = true; !this.#turn.isClosed; isFirst = false) {
        const value = this.get()
        if (isFirst || value !== last) yield (last = value)
        else await new Promise<void>((resolve) => (wake = resolve))
      }
    } finally {
      stop()
      stopClose()
    }
  }

  readonly #tell = (): void => {
    const value = this.get()
    if (value === this.#told) return
    this.#told = value
    for (const next of Array.from(this.#subscribers)) {
      if (this.#subscribers.has(next)) this.#turn.guard(() => next(value))
    }
  }
}

/** How long to wait for something. */
export interface WaitOptions {
  /** Gives the wait up, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** Milliseconds after which it rejects with TIMEOUT. Without it there is no limit. */
  readonly timeoutMs?: number
}

/** A promise that `start` settles, unless the signal or the time limit does so first. `start` returns its clean-up. */
export function waitFor<T>(
  env: Env,
  options: WaitOptions | undefined,
  onTimeout: () => Error,
  start: (resolve: (value: T) => void, reject: (error: unknown) => void) => () => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const { signal, timeoutMs } = { ...options }
    checkSignal(signal)
    const cleanUps: (() => void)[] = []
    let isOver = false
    const whenOver = (cleanUp: () => void): void => {
      if (isOver) cleanUp()
      else cleanUps.push(cleanUp)
    }
    const end =
      <A>(settle: (value: A) => void) =>
      (value: A): void => {
        isOver = true
        for (const cleanUp of cleanUps.splice(0)) cleanUp()
        settle(value)
      }
    const fail = end(reject)
    const abort = (): void => fail(signal?.reason)
    if (signal?.aborted === true) return abort()
    signal?.addEventListener('abort', abort)
    whenOver(() => signal?.removeEventListener('abort', abort))
    if (timeoutMs !== undefined) {
      checkAtLeast(0, 'timeoutMs', timeoutMs)
      whenOver(env.after(timeoutMs, () => fail(onTimeout())))
    }
    whenOver(start(end(resolve), fail))
  })
}
