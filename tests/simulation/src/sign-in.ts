import type { Random } from './random.ts'
import { signToken, type Role } from './users.ts'
import type { Process, Scheduler } from './virtual-env.ts'
import type { Machine } from './world.ts'

/** The application's service that users sign in with: it gives out tokens, late, never, or such as are over already. */
export class SignIn {
  /** What is wrong with it at present. */
  fault: 'down' | 'gives old tokens' | undefined
  /** Machines whose users have signed out for now. */
  readonly signedOut = new Set<string>()
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly #serverNow: () => number
  readonly #lifeMs: number | undefined
  #count = 0

  /** Tokens are good for `lifeMs`, or for ever. */
  constructor(scheduler: Scheduler, random: Random, serverNow: () => number, lifeMs: number | undefined) {
    this.#scheduler = scheduler
    this.#random = random
    this.#serverNow = serverNow
    this.#lifeMs = lifeMs
  }

  /** Asks for a token: null after a sign-out. Rejects while the service is down. */
  ask(process: Process, { name, user, role }: Machine): Promise<string | null> {
    return new Promise((resolve, reject) => {
      this.#scheduler.after(this.#random.skewed(0.5, 400), () => {
        if (!process.isAlive) return
        this.#scheduler.note(process.name, `is answered by the sign-in service${this.fault ? `, ${this.fault}` : ''}`)
        if (this.fault === 'down') reject(new Error('The sign-in service is down.'))
        else resolve(this.signedOut.has(name) ? null : this.token(user, role))
      })
    })
  }

  /** A token, at once. */
  token(userId: string, role: Role): string {
    const lifeMs = this.fault === 'gives old tokens' ? -1_000 : this.#lifeMs
    const expiresAtMs = lifeMs === undefined ? undefined : this.#serverNow() + lifeMs
    return signToken({ userId, role, expiresAtMs, number: ++this.#count })
  }
}
