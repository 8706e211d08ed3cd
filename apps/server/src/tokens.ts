import { SignJWT } from 'jose'

/** Who a token speaks for. */
export interface TokenClaims {
  readonly user: string
  readonly roles: readonly string[]
  readonly ttlSeconds: number
}

/** Signs a JSON Web Token with HMAC SHA-256, as servers with the same secret accept it. */
export function signToken(secret: string, { user, roles, ttlSeconds }: TokenClaims): Promise<string> {
  const now = Math.floor(Date.now() / 1000)
  return new SignJWT({ roles: [...roles] })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject(user)
    .setIssuedAt(now)
    .setExpirationTime(now + ttlSeconds)
    .sign(new TextEncoder().encode(secret))
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 }

/** Seconds of a duration such as 90s, 15m, 1h or 30d; undefined where it is none. */
export function parseDuration(text: string): number | undefined {
  const [, amount = '', unit = ''] = /^(\d{1,6})([smhd])$/.exec(text.trim()) ?? []
  const seconds = Number(amount) * (UNITS[unit] ?? 0)
  return seconds > 0 ? seconds : undefined
}
