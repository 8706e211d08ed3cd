import { createHmac } from 'node:crypto'
import { isMap, type FieldState, type LwwRecord, type Stamp, type Value } from '@syncline/core'
import type { PermissionPolicy } from '@syncline/server'

/** A map of which guests must not learn anything, not even its keys. */
export const VAULT = 'vault'
/** The maps of every run. */
export const SHARED_MAPS: readonly string[] = ['notes', 'tasks']
/** The field of `notes` that guests must not see. */
export const HIDDEN_FIELD = 'c'
/** In every value of the hidden field, and in every value and key of the vault. */
export const CANARY = 'canary'
export const SECRET = 'a secret of the simulation, long enough'

/** What a user may do: `writer` everything, `guest` what the policies below say. */
export type Role = 'writer' | 'guest'

const GUEST_READS: ReadonlySet<string> = new Set(['a', 'b'])
const GUEST_WRITES: ReadonlySet<string> = new Set(['a'])

export const POLICIES: readonly PermissionPolicy[] = [
  { role: 'writer', mapNamePattern: '*', actions: ['ALL'] },
  { role: 'guest', mapNamePattern: 'notes', actions: ['READ'], allowedFields: [...GUEST_READS] },
  { role: 'guest', mapNamePattern: 'notes', actions: ['PUT'], allowedFields: [...GUEST_WRITES] },
  { role: 'guest', mapNamePattern: 'tasks', actions: ['READ'] },
]

/** The fields that a role sees of a map: `all`, some, or undefined where it may not read the map. */
export function fieldsSeen(role: Role, mapName: string): ReadonlySet<string> | 'all' | undefined {
  if (role === 'writer') return 'all'
  return mapName === 'notes' ? GUEST_READS : mapName === 'tasks' ? 'all' : undefined
}

/** A record as a role sees it. Written apart from the server, which it is to check. */
export function seenBy(role: Role, mapName: string, record: LwwRecord): LwwRecord {
  const seen = fieldsSeen(role, mapName)
  if (seen === 'all' || seen === undefined) return record
  const { timestamp, base, ttlMs } = record
  if (!isMap(record.value)) return { value: null, timestamp, base }
  const only = <T>(from: Readonly<Record<string, T>>): Record<string, T> =>
    Object.fromEntries(Object.entries(from).filter(([name]) => seen.has(name)))
  const fields: Record<string, FieldState> = only(record.fields ?? {})
  return {
    value: only(record.value as Readonly<Record<string, Value>>),
    timestamp,
    base,
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(Object.keys(fields).length === 0 ? {} : { fields }),
  } satisfies { value: Value; timestamp: Stamp; base: Stamp; ttlMs?: number; fields?: object }
}

/** What a token says. `expiresAtMs` is rounded down to a second. */
export interface Claims {
  readonly userId: string
  readonly role: Role
  readonly expiresAtMs: number | undefined
}

/** Signs a token, as the sign-in service of an application does. No two with different numbers are the same. */
export function signToken({ userId, role, expiresAtMs, number }: Claims & { readonly number: number }): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const exp = expiresAtMs === undefined ? {} : { exp: Math.floor(expiresAtMs / 1_000) }
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: userId, roles: [role], jti: number, ...exp })}`
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`
}

/** What a token of `signToken` says. */
export function claimsOf(token: string): Claims {
  const { sub, roles, exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as {
    sub: string
    roles: readonly Role[]
    exp?: number
  }
  return { userId: sub, role: roles[0] ?? 'guest', expiresAtMs: exp === undefined ? undefined : exp * 1_000 }
}
