import type { Env } from '@syncline/core'
import type { Outbox } from './outbox.ts'

/**
 * The end of a turn: first the work that was put off until then, then the outboxes write what there is to send, that
 * work's messages included. Were these two turns, what comes between them would be torn apart, and each part cost every
 * receiver a write.
 */
export class Turn {
  readonly #env: Env
  readonly #onFailure: (outbox: Outbox, error: unknown) => void
  #work: (() => void)[] = []
  #due: Outbox[] = []
  #isScheduled = false

  constructor(env: Env, onFailure: (outbox: Outbox, error: unknown) => void) {
    this.#env = env
    this.#onFailure = onFailure
  }

  /** Runs something when the turn ends. What that puts off in turn runs when the next one does. It must not throw. */
  atEnd(run: () => void): void {
    this.#work.push(run)
    this.#wake()
  }

  /** The outbox has something to send. A failure of one keeps no other from sending. */
  schedule(outbox: Outbox): void {
    this.#due.push(outbox)
    this.#wake()
  }

  #wake(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#env.endOfTurn(() => this.#end())
  }

  #end(): void {
    const work = this.#work
    this.#work = []
    for (const run of work) run()
    const outboxes = this.#due
    this.#due = []
    for (const each of outboxes) {
      try {
        each.endTurn()
      } catch (error) {
        this.#onFailure(each, error)
      }
    }
    this.#isScheduled = false
    if (this.#work.length > 0 || this.#due.length > 0) this.#wake()
  }
}
