import type { Cancel, Env } from '@syncline/core'

const BASE_MS = 250
const CAP_MS = 15_000

/**
 * Waiting times after failures: exponential, with full jitter so that clients which failed together do not return
 * together. Source: Brooker, "Exponential Backoff And Jitter" (2015).
 */
export class Backoff {
  readonly #env: Env
  #failures = 0
  #cancel: Cancel | undefined

  constructor(env: Env) {
    this.#env = env
  }

  get isPaused(): boolean {
    return this.#cancel !== undefined
  }

  /** Calls `run` once after the next waiting time, and not before `notBeforeMs`. Does nothing while it waits. */
  pause(notBeforeMs: number, run: () => void): void {
    if (this.#cancel !== undefined) return
    const spreadMs = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(this.#failures++, 10))
    this.#cancel = this.#env.after(notBeforeMs + this.#env.random() * spreadMs, () => {
      this.#cancel = undefined
      run()
    })
  }

  /** Ends the waiting; its `run` is not called. */
  stop(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }

  /** Forgets the failures: the next waiting time is short again. */
  reset(): void {
    this.#failures = 0
  }
}
