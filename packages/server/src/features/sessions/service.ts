import { hash } from 'node:crypto'
import type { Env } from '@syncline/core'
import { LIMITS } from '@syncline/protocol'
import type { Principal } from '../../inbound/authorize.ts'
import { ANONYMOUS, type Session } from '../../sessions/session.ts'
import type { TokenVerifier } from './verify.ts'

/** Tokens that one connection may send within a minute: each costs a signature. */
const MAX_ATTEMPTS = 10
const WINDOW_MS = 60_000
/** Of a token. After AUTH a frame may be larger, which makes nobody's token longer. */
const MAX_LENGTH = LIMITS.frameBytesBeforeAuth

/** Tokens whose signature need not be looked at again. A client that polls sends its own with each request. */
const MAX_KNOWN_TOKENS = 10_000

/** What is kept of a session's latest token, and how many came lately. The token itself is a credential. */
interface Attempts {
  readonly digest: string
  readonly count: number
  readonly sinceMs: number
}

/** What became of a token. `repeated`: this very one was accepted before. */
export type Authentication =
  | { readonly kind: 'accepted'; readonly principal: Principal; readonly repeated: boolean }
  | { readonly kind: 'refused'; readonly reason: string }

/** Finds out who speaks on a session. */
export class SessionService {
  readonly #verify: TokenVerifier | undefined
  readonly #env: Pick<Env, 'now' | 'monotonic'>
  readonly #principals = new Map<string, Principal>()
  readonly #attempts = new WeakMap<Session, Attempts>()

  /** Without a verifier everyone is anonymous. */
  constructor(verify: TokenVerifier | undefined, env: Pick<Env, 'now' | 'monotonic'>) {
    this.#verify = verify
    this.#env = env
  }

  /** Authenticates a session. Existing clients send their token twice, and expect one answer. */
  authenticate(session: Session, token: string): Authentication {
    if (token.length > MAX_LENGTH) return { kind: 'refused', reason: 'jwt malformed' }
    const digest = hash('sha256', token, 'base64url')
    const known = this.#attempts.get(session)
    if (session.principal !== undefined && known?.digest === digest) {
      return { kind: 'accepted', principal: session.principal, repeated: true }
    }
    const now = Math.floor(this.#env.monotonic())
    const isNew = known === undefined || now - known.sinceMs >= WINDOW_MS
    const count = isNew ? 1 : known.count + 1
    if (count > MAX_ATTEMPTS) return { kind: 'refused', reason: 'too many attempts' }
    this.#attempts.set(session, { digest, count, sinceMs: isNew ? now : known.sinceMs })
    if (this.#verify === undefined) return { kind: 'accepted', principal: ANONYMOUS, repeated: false }
    const remembered = this.#principals.get(digest)
    if (remembered !== undefined && (remembered.expiresAtMs ?? Infinity) > this.#env.now()) {
      return { kind: 'accepted', principal: remembered, repeated: false }
    }
    const verified = this.#verify(token)
    if ('refusal' in verified) return { kind: 'refused', reason: verified.refusal }
    const { principal } = verified
    if (this.#principals.size >= MAX_KNOWN_TOKENS) this.#principals.clear()
    this.#principals.set(digest, principal)
    return { kind: 'accepted', principal, repeated: false }
  }
}
