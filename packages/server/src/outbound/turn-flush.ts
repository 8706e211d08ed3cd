import type { Env } from '@syncline/core'
import type { Outbox } from './outbox.ts'

/** Lets the outboxes that have something to send write it together when the turn ends. */
export class TurnFlush {
  readonly #env: Env
  readonly #onFailure: (outbox: Outbox, error: unknown) => void
  #due: Outbox[] = []

  constructor(env: Env, onFailure: (outbox: Outbox, error: unknown) => void) {
    this.#env = env
    this.#onFailure = onFailure
  }

  /** The outbox has something to send. A failure of one keeps no other from sending. */
  schedule(outbox: Outbox): void {
    if (this.#due.push(outbox) > 1) return
    this.#env.endOfTurn(() => {
      const outboxes = this.#due
      this.#due = []
      for (const each of outboxes) {
        try {
          each.endTurn()
        } catch (error) {
          this.#onFailure(each, error)
        }
      }
    })
  }
}
