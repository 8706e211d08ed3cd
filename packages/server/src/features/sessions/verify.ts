import { createHmac, createSecretKey, timingSafeEqual } from 'node:crypto'
import type { Principal } from '../../inbound/authorize.ts'

/** Turns a token into who speaks, or into the reason why it is refused. */
export type TokenVerifier = (token: string) => { readonly principal: Principal } | { readonly refusal: string }

/** Roles of a token that names none. */
const DEFAULT_ROLES: readonly string[] = ['USER']

const MALFORMED = { refusal: 'jwt malformed' }
const INACTIVE = { refusal: 'jwt not active' }

/**
 * A verifier of JSON Web Tokens signed with HMAC SHA-256, and no other algorithm (RFC 7519, RFC 8725).
 * Claims: `sub` is the user id, `roles` an array of text, `nbf` and `exp` are enforced against `now` (milliseconds).
 * The refusals are texts that existing clients know.
 */
export function hs256Verifier(secret: string, now: () => number): TokenVerifier {
  const key = createSecretKey(Buffer.from(secret, 'utf8'))
  return (token) => {
    const parts = token.split('.', 4)
    const [header, claims, signature] = parts as [string, string, string]
    if (parts.length !== 3) return MALFORMED
    const { alg, crit } = objectIn(header) ?? {}
    // What the signer calls critical has to be understood (RFC 7515, section 4.1.11), and nothing of it is.
    if (typeof alg !== 'string' || crit !== undefined) return MALFORMED
    if (alg !== 'HS256') return { refusal: 'invalid algorithm' }
    const expected = createHmac('sha256', key).update(`${header}.${claims}`).digest('base64url')
    if (!isSame(signature, expected)) return { refusal: 'invalid signature' }
    const fields = objectIn(claims)
    return fields === undefined ? MALFORMED : judge(fields, Math.floor(now() / 1000))
  }
}

/** Who the claims of a genuine token speak for, at a time in seconds. */
function judge({ sub, roles, iat, nbf, exp }: Fields, nowSeconds: number): ReturnType<TokenVerifier> {
  if (!isTime(iat) || !isTime(nbf) || !isTime(exp)) return INACTIVE
  if (nbf !== undefined && nbf > nowSeconds) return INACTIVE
  if (exp !== undefined && exp <= nowSeconds) return { refusal: 'jwt expired' }
  if (typeof sub !== 'string' || sub === '' || sub.length > 256) return { refusal: 'jwt subject missing' }
  if (!isRoles(roles)) return { refusal: 'jwt roles malformed' }
  const principal = { userId: sub, roles: roles ?? DEFAULT_ROLES }
  return { principal: exp === undefined ? principal : { ...principal, expiresAtMs: exp * 1000 } }
}

type Fields = Readonly<Record<string, unknown>>

/** The JSON object in a part of a token; undefined where there is none, or its base64url is not the canonical one. */
function objectIn(part: string): Fields | undefined {
  const bytes = Buffer.from(part, 'base64url')
  if (bytes.toString('base64url') !== part) return undefined
  try {
    const value: unknown = JSON.parse(bytes.toString())
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined
  } catch {
    return undefined
  }
}

/** Compares as text, so that a signature has one spelling, and in a time that does not tell where the two differ. */
function isSame(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function isTime(value: unknown): value is number | undefined {
  return value === undefined || typeof value === 'number'
}

function isRoles(value: unknown): value is readonly string[] | undefined {
  return value === undefined || (Array.isArray(value) && value.every((role) => typeof role === 'string'))
}
