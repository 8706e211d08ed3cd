import { formatDigest, murmur3 } from '@syncline/core/merkle'
import { wireError, type WireError } from '@syncline/protocol'

/** What a policy may allow. ALL stands for the other three. */
export type Action = 'READ' | 'PUT' | 'REMOVE' | 'ALL'

/** Allows a role some actions on the maps that a pattern names. What no policy allows is denied. */
export interface PermissionPolicy {
  readonly role: string
  /** An exact name, `*`, or a prefix that ends in `*`. `{userId}` stands for the signed-in user's id. */
  readonly mapNamePattern: string
  readonly actions: readonly Action[]
  /** The only fields that may be read or written. Without it, or with `*` in it, all of them. */
  readonly allowedFields?: readonly string[]
}

/** Who speaks on a session. */
export interface Principal {
  readonly userId: string
  readonly roles: readonly string[]
  /** When its rights end, in milliseconds since 1970. */
  readonly expiresAtMs?: number
}

declare const granted: unique symbol

/**
 * The right to read a map, and the redaction class in which its records are shown. Only `authorize` makes one, and
 * nothing that leaves the server can be built without one.
 */
export interface ReadView {
  readonly mapName: string
  /** The only fields shown; undefined shows whole records. */
  readonly fields: ReadonlySet<string> | undefined
  /** Same text, same class: what is encoded for one reader of a class is good for all. `*` shows whole records. */
  readonly redactionClass: string
  readonly [granted]: 'read'
}

/** The right to write a map. Only `authorize` makes one. */
export interface WriteGrant {
  readonly mapName: string
  /** Who writes. */
  readonly userId: string
  readonly canPut: boolean
  readonly canRemove: boolean
  /** The only fields that may be written, and only by PATCH of a record that exists; undefined allows all. */
  readonly fields: ReadonlySet<string> | undefined
  readonly [granted]: 'write'
}

/** The right to push records of a map, with all their stamps: of who reads and writes the whole map. Only `authorize` makes one. */
export interface PushGrant {
  readonly mapName: string
  /** Who writes. */
  readonly userId: string
  readonly canRemove: boolean
  readonly [granted]: 'push'
}

/** All rights of one principal on one map. */
export interface MapRights {
  readonly view: ReadView | undefined
  readonly write: WriteGrant | undefined
  readonly push: PushGrant | undefined
}

/** Maps whose rights are remembered for one principal. Names come from clients, and must not fill memory with answers. */
const MAX_MAPS = 1_000
/** The same for all principals for which nobody speaks at present. */
const MAX_ANSWERS = 100_000

const NONE = { view: undefined, write: undefined, push: undefined } as const

/** Decides what principals may do. The one place that reads policies. */
export class Authorizer {
  readonly #policies: readonly PermissionPolicy[] | undefined
  readonly #isOpen: boolean
  #known = new WeakMap<Principal, PrincipalRights>()
  #answers = 0

  /** Without policies everyone may do everything if `isOpen`, and only administrators anything if not. */
  constructor(policies: readonly PermissionPolicy[] | undefined, isOpen: boolean) {
    this.#policies = policies
    this.#isOpen = isOpen
  }

  /** All rights of a principal. Whoever speaks on many sessions, as with each request of a poller, has them once. */
  rightsOf(principal: Principal): PrincipalRights {
    let rights = this.#known.get(principal)
    if (rights === undefined) this.#known.set(principal, (rights = new PrincipalRights(this, principal)))
    return rights
  }

  /** An answer is kept for a principal. With too many of them, those of principals for which nobody speaks are dropped. */
  noteAnswer(): void {
    if (++this.#answers <= MAX_ANSWERS) return
    this.#answers = 0
    this.#known = new WeakMap()
  }

  /** The rights of a principal on a map. Policies do not change, so they are always the same. */
  rights(principal: Principal, mapName: string): MapRights {
    const { userId } = principal
    if (principal.roles.some(isAdmin)) return fullRights(mapName, userId)
    if (mapName.startsWith('$sys/')) return NONE
    if (this.#policies === undefined) return this.#isOpen ? fullRights(mapName, userId) : NONE
    const matching = this.#policies.filter(
      (policy) => principal.roles.includes(policy.role) && matches(policy.mapNamePattern, mapName, userId),
    )
    const read = fieldsOf(matching, 'READ')
    const put = fieldsOf(matching, 'PUT')
    const remove = fieldsOf(matching, 'REMOVE')
    return {
      view: read === false ? undefined : readView(mapName, read),
      write:
        put === false && remove === false
          ? undefined
          : // Removing a record removes also the fields that a policy does not name.
            writeGrant(mapName, userId, put !== false, remove === undefined, put === false ? new Set() : put),
      push: read === undefined && put === undefined ? pushGrant(mapName, userId, remove === undefined) : undefined,
    }
  }
}

/** The rights of one principal, each found out when it is asked for first. */
export class PrincipalRights {
  readonly #authorizer: Authorizer
  readonly #principal: Principal
  readonly #byMap = new Map<string, MapRights>()

  constructor(authorizer: Authorizer, principal: Principal) {
    this.#authorizer = authorizer
    this.#principal = principal
  }

  /** What the principal may do on a map. */
  on(mapName: string): MapRights {
    let rights = this.#byMap.get(mapName)
    if (rights === undefined) {
      rights = this.#authorizer.rights(this.#principal, mapName)
      if (this.#byMap.size >= MAX_MAPS) this.#byMap.clear()
      this.#byMap.set(mapName, rights)
      this.#authorizer.noteAnswer()
    }
    return rights
  }
}

/** In lower case, which turns no other letter into one of these; upper case makes an I of the dotless one. */
function isAdmin(role: string): boolean {
  return role.toLowerCase() === 'admin'
}

/** The name under which policies know a lock: PUT on it allows to take the lock, and to write under it. */
export function lockResource(name: string): string {
  return `lock:${name}`
}

/** The refusal for an action on a map. */
export function forbidden(mapName: string, action: Action): WireError {
  return wireError('FORBIDDEN', `No policy allows ${action} on map '${mapName}' for the signed-in user.`, {
    mapName,
    action,
  })
}

function fullRights(mapName: string, userId: string): MapRights {
  return {
    view: readView(mapName, undefined),
    write: writeGrant(mapName, userId, true, true, undefined),
    push: pushGrant(mapName, userId, true),
  }
}

function readView(mapName: string, fields: ReadonlySet<string> | undefined): ReadView {
  const redactionClass = fields === undefined ? '*' : classOf(fields)
  return { mapName, fields, redactionClass } as unknown as ReadView
}

/** Two sets of fields must not share a class, or readers of one would be sent what is meant for the other. */
function classOf(fields: ReadonlySet<string>): string {
  const names = new TextEncoder().encode(JSON.stringify([...fields].sort()))
  return formatDigest(murmur3(names), murmur3(names, 1))
}

function writeGrant(
  mapName: string,
  userId: string,
  canPut: boolean,
  canRemove: boolean,
  fields: ReadonlySet<string> | undefined,
): WriteGrant {
  return { mapName, userId, canPut, canRemove, fields } as unknown as WriteGrant
}

function pushGrant(mapName: string, userId: string, canRemove: boolean): PushGrant {
  return { mapName, userId, canRemove } as unknown as PushGrant
}

/** False where no policy allows the action, undefined where one allows it on every field, else the union of fields. */
function fieldsOf(policies: readonly PermissionPolicy[], action: Action): ReadonlySet<string> | undefined | false {
  const allowing = policies.filter((policy) => policy.actions.includes(action) || policy.actions.includes('ALL'))
  if (allowing.length === 0) return false
  const fields = new Set<string>()
  for (const { allowedFields } of allowing) {
    if (allowedFields === undefined || allowedFields.length === 0 || allowedFields.includes('*')) return undefined
    for (const field of allowedFields) fields.add(field)
  }
  return fields
}

/** Only a star that the pattern itself ends in stands for anything: one in a user's id is part of a name. */
function matches(pattern: string, mapName: string, userId: string): boolean {
  const isPrefix = pattern.endsWith('*')
  const expanded = (isPrefix ? pattern.slice(0, -1) : pattern).replaceAll('{userId}', () => userId)
  return isPrefix ? mapName.startsWith(expanded) : mapName === expanded
}
