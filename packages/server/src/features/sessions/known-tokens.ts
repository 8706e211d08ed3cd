import type { Principal } from '../../inbound/authorize.ts'

/** How long a token is known that nobody sends: so long at least, and no longer than twice that while others are sent. */
const KEPT_MS = 60_000
/** Of all known tokens: some 30,000 of the usual length. */
const MAX_CHARACTERS = 16_777_216

/**
 * Who speaks with the tokens that are in use. A client that polls sends its own with each request, and its signature
 * need not be looked at again. A digest in place of the token would cost up to a tenth of such a request; so it is kept
 * as it is, but hardly longer than it is used.
 */
export class KnownTokens {
  #recent = new Map<string, Principal>()
  #former: ReadonlyMap<string, Principal> = new Map()
  #recentCharacters = 0
  #since = 0

  /** The principal of a token, if it is known and its rights have not ended at a time in milliseconds since 1970. */
  principalOf(token: string, now: number): Principal | undefined {
    if (now - this.#since >= KEPT_MS) this.#turn(now)
    const recent = this.#recent.get(token)
    const principal = recent ?? this.#former.get(token)
    if (principal === undefined || (principal.expiresAtMs ?? Infinity) <= now) return undefined
    if (recent === undefined) this.add(token, principal)
    return principal
  }

  /** Remembers a token that was verified. */
  add(token: string, principal: Principal): void {
    this.#recentCharacters += token.length
    if (this.#recentCharacters > MAX_CHARACTERS / 2) {
      this.#turn(this.#since)
      this.#recentCharacters = token.length
    }
    this.#recent.set(token, principal)
  }

  /** Forgets what was not sent since the last time. */
  #turn(now: number): void {
    this.#former = this.#recent
    this.#recent = new Map()
    this.#recentCharacters = 0
    this.#since = now
  }
}
