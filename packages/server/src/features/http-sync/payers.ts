import type { Session } from '../../sessions/session.ts'

/** Users whose spending is remembered. Of more, those who asked longest ago begin anew. */
const MAX_USERS = 10_000

/** Who owes what requests cost. Each request has a session of its own, and a user many requests. */
export class Payers {
  readonly #byUser = new Map<string, object>()

  /** The payer for whoever speaks on a session. Users who did not sign in are told apart by their address. */
  of({ principal, remoteAddress }: Session): object {
    const name = principal === undefined || principal.userId === 'anonymous' ? `@${remoteAddress}` : principal.userId
    const payer = this.#byUser.get(name) ?? {}
    this.#byUser.delete(name)
    this.#byUser.set(name, payer)
    if (this.#byUser.size > MAX_USERS) this.#byUser.delete(this.#byUser.keys().next().value as string)
    return payer
  }
}
