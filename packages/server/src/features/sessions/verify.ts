import { createSecretKey } from 'node:crypto'
import { errors, jwtVerify } from 'jose'
import type { Principal } from '../../inbound/authorize.ts'

/** Turns a token into who speaks, or into the reason why it is refused. */
export type TokenVerifier = (token: string) => Promise<{ readonly principal: Principal } | { readonly refusal: string }>

/** Roles of a token that names none. */
const DEFAULT_ROLES: readonly string[] = ['USER']

/**
 * A verifier of JSON Web Tokens signed with HMAC SHA-256, and no other algorithm (RFC 7519, RFC 8725).
 * Claims: `sub` is the user id, `roles` an array of text, `exp` is enforced against `now`.
 */
export function hs256Verifier(secret: string, now: () => number): TokenVerifier {
  const key = createSecretKey(Buffer.from(secret, 'utf8'))
  return async (token) => {
    try {
      const { payload } = await jwtVerify(token, key, { algorithms: ['HS256'], currentDate: new Date(now()) })
      const { sub, exp, roles } = payload as { sub?: unknown; exp?: number; roles?: unknown }
      if (typeof sub !== 'string' || sub === '' || sub.length > 256) return { refusal: 'jwt subject missing' }
      if (roles !== undefined && !(Array.isArray(roles) && roles.every((role) => typeof role === 'string'))) {
        return { refusal: 'jwt roles malformed' }
      }
      const principal = { userId: sub, roles: roles ?? DEFAULT_ROLES }
      return { principal: exp === undefined ? principal : { ...principal, expiresAtMs: exp * 1000 } }
    } catch (error) {
      return { refusal: refusalOf(error) }
    }
  }
}

/** The texts that existing clients know. */
function refusalOf(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'jwt expired'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'invalid signature'
  if (error instanceof errors.JOSEAlgNotAllowed) return 'invalid algorithm'
  if (error instanceof errors.JWTClaimValidationFailed) return 'jwt not active'
  return 'jwt malformed'
}
