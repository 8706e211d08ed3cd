import { createHash } from 'node:crypto'
import { copyValue, err, ok, type Env, type QuerySpec, type Result } from '@syncline/core'
import { canonicalBytes } from '@syncline/core/merkle'
import { CLOSE_CODES, LIMITS, wireError, type WireError } from '@syncline/protocol'
import type { Authorizer } from '../../inbound/authorize.ts'
import { forbidden } from '../../inbound/authorize.ts'
import { errorText } from '../../env.ts'
import type { ChangeFeed, MapChange } from '../../outbound/change-feed.ts'
import type { Session } from '../../sessions/session.ts'
import type { Entry, MapState } from '../../store/map-state.ts'
import type { Store } from '../../store/store.ts'
import { QueryGroup, type RowChange } from './query-group.ts'

/** Changed keys that a slow subscriber may have open. Past that it gets its result anew. */
const MAX_PENDING = 10_000
/** How often results are looked through for records whose time has passed. */
const EXPIRY_MS = 1_000
/** Deeper than any query that compiles. */
const MAX_SPEC_DEPTH = 128

/** One session's live query. */
export interface Subscription {
  readonly session: Session
  readonly queryId: string
  readonly group: QueryGroup
  /** What the group is known by among those of its map. */
  readonly groupKey: string
  /**
   * What the subscriber misses while its socket drains: by key, whether the result that it knows held the key. An
   * entry that came and went meanwhile cancels out. Undefined while it misses nothing.
   */
  pending: Map<string, boolean> | undefined
  /** It misses too much: it gets the whole result anew. */
  isSnapshotDue: boolean
  isEnded: boolean
}

interface SharedGroup {
  readonly group: QueryGroup
  readonly members: Set<Subscription>
}

/** What leaves the server for subscribers. */
export interface QueryOutlet {
  /** Sends a page of changes, from one of them on. Answers where the next page begins. */
  changes(subscription: Subscription, changes: readonly RowChange[], from: number): number
  /** The subscriber's socket is full: ask it later, through `collect`. */
  wait(subscription: Subscription, service: QueryService): void
}

/** Keeps the results of live queries up to date. */
export class QueryService {
  readonly #env: Env
  readonly #store: Store
  readonly #authorizer: Authorizer
  readonly outlet: QueryOutlet
  readonly #groupsByMap = new Map<MapState, Map<string, SharedGroup>>()
  readonly #bySession = new Map<Session, Map<string, Subscription>>()
  #isExpiryDue = false

  constructor(env: Env, store: Store, authorizer: Authorizer, feed: ChangeFeed, outlet: QueryOutlet) {
    this.#env = env
    this.#store = store
    this.#authorizer = authorizer
    this.outlet = outlet
    feed.listen({ wants: (map) => this.#groupsByMap.has(map), tell: (change) => this.#onChange(change) })
  }

  /** Subscribes a session to a query over a map in memory. An id in use is taken over by the new query. */
  subscribe(session: Session, queryId: string, mapName: string, spec: QuerySpec): Result<Subscription, WireError> {
    const { view } = session.rights(this.#authorizer, mapName)
    if (view === undefined) return err(forbidden(mapName, 'READ'))
    this.unsubscribe(session, queryId)
    let subscriptions = this.#bySession.get(session)
    if ((subscriptions?.size ?? 0) >= LIMITS.queriesPerConnection) {
      return err(
        wireError('LIMIT_EXCEEDED', undefined, { limit: 'queriesPerConnection', max: LIMITS.queriesPerConnection }),
      )
    }
    const map = this.#store.residency.resident(mapName)
    if (map === undefined) throw new Error(`Map '${mapName}' is not in memory`)
    let groups = this.#groupsByMap.get(map)
    const key = groupKey(view.redactionClass, spec)
    if (key === undefined)
      return err(wireError('BAD_QUERY', 'The query holds a name or value that no record can hold.'))
    const nowMs = this.#env.now()
    let shared = groups?.get(key)
    if (shared !== undefined) this.#expire(shared, nowMs)
    else {
      const opened = QueryGroup.open(map, view, spec, nowMs)
      if (!opened.ok) return opened
      shared = { group: opened.value, members: new Set() }
      if (groups === undefined) this.#groupsByMap.set(map, (groups = new Map()))
      groups.set(key, shared)
      // What changed in this turn is in the result already, and the feed will tell it again: that changes nothing.
    }
    const subscription: Subscription = {
      session,
      queryId,
      group: shared.group,
      groupKey: key,
      pending: undefined,
      isSnapshotDue: false,
      isEnded: false,
    }
    shared.members.add(subscription)
    if (subscriptions === undefined) this.#bySession.set(session, (subscriptions = new Map()))
    subscriptions.set(queryId, subscription)
    this.#scheduleExpiry(shared.group)
    return ok(subscription)
  }

  /** Ends a session's query. False where it has none by this id. */
  unsubscribe(session: Session, queryId: string): boolean {
    const subscriptions = this.#bySession.get(session)
    const subscription = subscriptions?.get(queryId)
    if (subscriptions === undefined || subscription === undefined) return false
    subscriptions.delete(queryId)
    if (subscriptions.size === 0) this.#bySession.delete(session)
    const { group, groupKey } = subscription
    const { map } = group
    const groups = this.#groupsByMap.get(map)
    const shared = groups?.get(groupKey)
    shared?.members.delete(subscription)
    subscription.isEnded = true
    if (shared?.members.size === 0) groups?.delete(groupKey)
    if (groups?.size === 0) this.#groupsByMap.delete(map)
    return true
  }

  /** Ends all queries of a session. */
  unsubscribeAll(session: Session): void {
    for (const queryId of this.#bySession.get(session)?.keys() ?? []) this.unsubscribe(session, queryId)
  }

  /** Ends the queries that a session may no longer ask, or not in this form. Answers their ids and maps. */
  withdraw(session: Session): { queryId: string; mapName: string }[] {
    const withdrawn: { queryId: string; mapName: string }[] = []
    for (const { queryId, group } of this.#bySession.get(session)?.values() ?? []) {
      const mapName = group.map.name
      const { view } = session.rights(this.#authorizer, mapName)
      if (view?.redactionClass === group.view.redactionClass) continue
      this.unsubscribe(session, queryId)
      withdrawn.push({ queryId, mapName })
    }
    return withdrawn
  }

  /**
   * What a subscriber that waited has missed, net of what cancelled out. `snapshot` says that it is too much.
   * Changes go on being held back until `isCaughtUp`.
   */
  collect(subscription: Subscription): { readonly changes: readonly RowChange[] } | 'snapshot' {
    const { pending, group, isSnapshotDue } = subscription
    subscription.pending = new Map()
    subscription.isSnapshotDue = false
    if (isSnapshotDue) return 'snapshot'
    const changes: RowChange[] = []
    for (const [key, wasShown] of pending ?? []) {
      const value = group.shown(key)
      if (value !== undefined) changes.push({ key, value, changeType: wasShown ? 'UPDATE' : 'ENTER' })
      else if (wasShown) changes.push({ key, value: null, changeType: 'LEAVE' })
    }
    return { changes: changes.sort(leavesFirst) }
  }

  /** True if nothing has changed since `collect`: from now on changes are sent as they come. */
  isCaughtUp(subscription: Subscription): boolean {
    if (subscription.isSnapshotDue || (subscription.pending?.size ?? 0) > 0) return false
    subscription.pending = undefined
    return true
  }

  inspect(): { queries: number; subscriptions: number } {
    let queries = 0
    for (const groups of this.#groupsByMap.values()) queries += groups.size
    let subscriptions = 0
    for (const bySession of this.#bySession.values()) subscriptions += bySession.size
    return { queries, subscriptions }
  }

  #onChange({ map, entries }: MapChange): void {
    const groups = this.#groupsByMap.get(map)
    if (groups === undefined) return
    const nowMs = this.#env.now()
    for (const shared of groups.values()) {
      this.#isolated(shared, () => this.#apply(shared, entries, nowMs))
      this.#scheduleExpiry(shared.group)
    }
  }

  #apply({ group, members }: SharedGroup, entries: readonly Entry[], nowMs: number): void {
    const changes = group.apply(entries, nowMs)
    if (changes.length === 0) return
    for (const subscription of members) this.#tell(subscription, changes)
  }

  /** A record whose time has passed leaves results without being written. */
  #expire(shared: SharedGroup, nowMs: number): void {
    const expired = shared.group.expired(nowMs)
    if (expired.length > 0) this.#apply(shared, expired, nowMs)
  }

  #scheduleExpiry(group: QueryGroup): void {
    if (this.#isExpiryDue || !group.canExpire) return
    this.#isExpiryDue = true
    this.#env.after(EXPIRY_MS, () => {
      this.#isExpiryDue = false
      const nowMs = this.#env.now()
      for (const groups of this.#groupsByMap.values()) {
        for (const shared of groups.values()) {
          this.#isolated(shared, () => this.#expire(shared, nowMs))
          this.#scheduleExpiry(shared.group)
        }
      }
    })
  }

  /** A query that cannot be brought up to date ends the sessions that follow it: they come back and ask anew. */
  #isolated({ group, members }: SharedGroup, work: () => void): void {
    try {
      work()
    } catch (error) {
      const { name } = group.map
      this.#env.log('error', 'A live query failed and its subscribers are closed', {
        map: name,
        error: errorText(error),
      })
      for (const { session } of members) session.close(CLOSE_CODES.INTERNAL_ERROR, 'Internal error')
    }
  }

  #tell(subscription: Subscription, changes: readonly RowChange[]): void {
    let sent = 0
    if (subscription.pending === undefined) {
      if (!subscription.session.outbox.isDraining) sent = this.outlet.changes(subscription, changes, 0)
      if (sent === changes.length) return
      subscription.pending = new Map()
      this.outlet.wait(subscription, this)
    }
    const { pending } = subscription
    for (const { key, changeType } of changes.slice(sent))
      if (!pending.has(key)) pending.set(key, changeType !== 'ENTER')
    if (pending.size > MAX_PENDING) {
      pending.clear()
      subscription.isSnapshotDue = true
    }
  }
}

/**
 * Who asks the same in the same redaction class shares a result. A strong hash, because a client that could make two
 * questions look the same would decide what another client is answered.
 */
function groupKey(redactionClass: string, spec: QuerySpec): string | undefined {
  const { where = {}, predicate = null, sort = {}, limit = 0, cursor = '' } = spec
  const copy = copyValue([where, predicate, Object.entries(sort), limit, cursor], MAX_SPEC_DEPTH)
  if (!('value' in copy)) return undefined
  return `${redactionClass} ${createHash('sha256').update(canonicalBytes(copy.value)).digest('base64url')}`
}

/** A window must lose rows before it takes new ones, or it would be too large in between. */
function leavesFirst(a: RowChange, b: RowChange): number {
  return (a.changeType === 'LEAVE' ? 0 : 1) - (b.changeType === 'LEAVE' ? 0 : 1)
}
