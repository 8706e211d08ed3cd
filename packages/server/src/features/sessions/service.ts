import type { Principal } from '../../inbound/authorize.ts'
import { ANONYMOUS, type Session } from '../../sessions/session.ts'
import type { TokenVerifier } from './verify.ts'

/** Tokens that one connection may send within a minute: each costs a signature. */
const MAX_ATTEMPTS = 10
const WINDOW_MS = 60_000

/** Finds out who speaks on a session. */
export class SessionService {
  readonly #verify: TokenVerifier | undefined
  readonly #now: () => number
  readonly #tokens = new WeakMap<Session, { token: string; attempts: number; sinceMs: number }>()

  /** Without a verifier everyone is anonymous. `now` is in milliseconds from any start. */
  constructor(verify: TokenVerifier | undefined, now: () => number) {
    this.#verify = verify
    this.#now = now
  }

  /**
   * Authenticates a session. `repeated` says that this very token was accepted before: existing clients send theirs
   * twice, and expect one answer.
   */
  async authenticate(
    session: Session,
    token: string,
  ): Promise<{ kind: 'accepted'; principal: Principal; repeated: boolean } | { kind: 'refused'; reason: string }> {
    const known = this.#tokens.get(session)
    if (session.principal !== undefined && known?.token === token) {
      return { kind: 'accepted', principal: session.principal, repeated: true }
    }
    const now = this.#now()
    const isNew = known === undefined || now - known.sinceMs >= WINDOW_MS
    const attempts = isNew ? 1 : known.attempts + 1
    if (attempts > MAX_ATTEMPTS) return { kind: 'refused', reason: 'too many attempts' }
    this.#tokens.set(session, { token, attempts, sinceMs: isNew ? now : known.sinceMs })
    if (this.#verify === undefined) return { kind: 'accepted', principal: ANONYMOUS, repeated: false }
    const verified = await this.#verify(token)
    if ('refusal' in verified) return { kind: 'refused', reason: verified.refusal }
    return { kind: 'accepted', principal: verified.principal, repeated: false }
  }
}
