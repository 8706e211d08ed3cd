import type { Principal } from '../../inbound/authorize.ts'
import { ANONYMOUS, type Session } from '../../sessions/session.ts'
import type { TokenVerifier } from './verify.ts'

/** Attempts to authenticate that one connection may make. */
const MAX_ATTEMPTS = 10

/** Finds out who speaks on a session. */
export class SessionService {
  readonly #verify: TokenVerifier | undefined
  readonly #tokens = new WeakMap<Session, { token: string; attempts: number }>()

  /** Without a verifier everyone is anonymous. */
  constructor(verify: TokenVerifier | undefined) {
    this.#verify = verify
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
    const attempts = (known?.attempts ?? 0) + 1
    if (attempts > MAX_ATTEMPTS) return { kind: 'refused', reason: 'too many attempts' }
    this.#tokens.set(session, { token, attempts })
    if (this.#verify === undefined) return { kind: 'accepted', principal: ANONYMOUS, repeated: false }
    const verified = await this.#verify(token)
    if ('refusal' in verified) return { kind: 'refused', reason: verified.refusal }
    return { kind: 'accepted', principal: verified.principal, repeated: false }
  }
}
