import type { Cancel, Env } from '@syncline/core'
import { nodeEnv } from '../env.ts'

/** A clock that moves only when a test moves it. Several servers, one after the other, can live on it. */
export class ManualClock {
  /** Milliseconds since the start, which never go back. */
  elapsedMs = 0
  /** How far the wall clock is from where it began, less what has elapsed. */
  skewMs = 0
  #timers: { readonly atMs: number; readonly run: () => void }[] = []

  /** An environment on this clock, and a way to stop everything that waits in it: what a crash does. */
  env(): { readonly env: Env; readonly kill: () => void } {
    const real = nodeEnv('error', () => {})
    let isAlive = true
    const alive = (run: () => void) => (): void => {
      if (isAlive) run()
    }
    const after = (delayMs: number, run: () => void): Cancel => {
      const timer = { atMs: this.elapsedMs + Math.max(0, delayMs), run: alive(run) }
      this.#timers.push(timer)
      return () => {
        this.#timers = this.#timers.filter((other) => other !== timer)
      }
    }
    const env: Env = {
      now: () => START_MS + this.elapsedMs + this.skewMs,
      monotonic: () => this.elapsedMs,
      after,
      endOfTurn: (run) => real.endOfTurn(alive(run)),
      random: () => real.random(),
      uniqueId: () => real.uniqueId(),
      log: () => {},
    }
    return {
      env,
      kill: () => {
        isAlive = false
      },
    }
  }

  /** Moves time on, and lets what is due happen at its time. `settle` waits for what that sets going. */
  async advance(ms: number, settle: () => Promise<void>): Promise<void> {
    const untilMs = this.elapsedMs + ms
    for (;;) {
      const due = this.#timers.filter(({ atMs }) => atMs <= untilMs).toSorted((a, b) => a.atMs - b.atMs)
      const [next] = due
      if (next === undefined) break
      this.#timers = this.#timers.filter((timer) => timer !== next)
      this.elapsedMs = Math.max(this.elapsedMs, next.atMs)
      next.run()
      await settle()
    }
    this.elapsedMs = untilMs
  }
}

const START_MS = 1_700_000_000_000
