import type { Env } from '@syncline/core'
import { LIMITS } from '@syncline/protocol'
import type { Principal } from '../../inbound/authorize.ts'
import { ANONYMOUS, type Session } from '../../sessions/session.ts'
import { KnownTokens } from './known-tokens.ts'
import type { TokenVerifier } from './verify.ts'

/** Tokens that one connection may send within a minute: each costs a signature. */
const MAX_ATTEMPTS = 10
const WINDOW_MS = 60_000
/** Of a token. After AUTH a frame may be larger, which makes nobody's token longer. */
const MAX_LENGTH = LIMITS.frameBytesBeforeAuth

/** What became of a token. `repeated`: this very one was accepted before. */
export type Authentication =
  | { readonly kind: 'accepted'; readonly principal: Principal; readonly repeated: boolean }
  | { readonly kind: 'refused'; readonly reason: string }

/** Finds out who speaks on a session. */
export class SessionService {
  readonly #verify: TokenVerifier | undefined
  readonly #env: Pick<Env, 'now' | 'monotonic'>
  readonly #known = new KnownTokens()

  /** Without a verifier everyone is anonymous. */
  constructor(verify: TokenVerifier | undefined, env: Pick<Env, 'now' | 'monotonic'>) {
    this.#verify = verify
    this.#env = env
  }

  /** Authenticates a session. Existing clients send their token twice, and expect one answer. */
  authenticate(session: Session, token: string): Authentication {
    if (token.length > MAX_LENGTH) return { kind: 'refused', reason: 'jwt malformed' }
    const known = this.#known.principalOf(token, this.#env.now())
    // A token has one principal for as long as it is known. Whoever comes with one costs no signature.
    if (known !== undefined && (session.principal === undefined || session.principal === known)) {
      return { kind: 'accepted', principal: known, repeated: session.principal === known }
    }
    if (!this.#mayTry(session)) return { kind: 'refused', reason: 'too many attempts' }
    if (known !== undefined) return { kind: 'accepted', principal: known, repeated: false }
    const verified = this.#verify === undefined ? { principal: { ...ANONYMOUS } } : this.#verify(token)
    if ('refusal' in verified) return { kind: 'refused', reason: verified.refusal }
    const { principal } = verified
    this.#known.add(token, principal)
    return { kind: 'accepted', principal, repeated: false }
  }

  #mayTry(session: Session): boolean {
    const now = this.#env.monotonic()
    const { attempts } = session
    if (attempts === undefined || now - attempts.sinceMs >= WINDOW_MS) {
      session.attempts = { count: 1, sinceMs: now }
      return true
    }
    return ++attempts.count <= MAX_ATTEMPTS
  }
}
