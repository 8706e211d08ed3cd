import type { Session } from '../../sessions/session.ts'

/** Users whose spending is remembered. Of more, those who have not asked for longest begin anew. */
const MAX_USERS = 10_000

/** Who owes what requests cost. Each request has a session of its own, and a user many requests. */
export class Payers {
  #recent = new Map<string, object>()
  #former: ReadonlyMap<string, object> = new Map()

  /** The payer for whoever speaks on a session. Users who did not sign in are told apart by their address. */
  of({ principal, remoteAddress }: Session): object {
    const name = principal === undefined || principal.userId === 'anonymous' ? `@${remoteAddress}` : principal.userId
    const known = this.#recent.get(name)
    if (known !== undefined) return known
    const payer = this.#former.get(name) ?? {}
    if (this.#recent.size >= MAX_USERS / 2) {
      this.#former = this.#recent
      this.#recent = new Map()
    }
    this.#recent.set(name, payer)
    return payer
  }
}
