import { err, ok, queryHash, type Env, type QuerySpec, type Result } from '@syncline/core'
import { LIMITS, wireError, type WireError } from '@syncline/protocol'
import type { Authorizer } from '../../inbound/authorize.ts'
import { forbidden } from '../../inbound/authorize.ts'
import type { ChangeFeed, MapChange } from '../../outbound/change-feed.ts'
import type { Session } from '../../sessions/session.ts'
import type { MapState } from '../../store/map-state.ts'
import type { Store } from '../../store/store.ts'
import { QueryGroup, type RowChange } from './query-group.ts'

/** Changed keys that a slow subscriber may have open. Past that it gets its result anew. */
const MAX_PENDING = 10_000

/** One session's live query. */
export interface Subscription {
  readonly session: Session
  readonly queryId: string
  readonly group: QueryGroup
  /**
   * What the subscriber misses while its socket drains: by key, whether the result that it knows held the key. An
   * entry that came and went meanwhile cancels out. Undefined while it misses nothing.
   */
  pending: Map<string, boolean> | undefined
  /** It misses too much: it gets the whole result anew. */
  isSnapshotDue: boolean
  isEnded: boolean
}

/** What leaves the server for subscribers. */
export interface QueryOutlet {
  /** Changes of one turn for one subscriber that keeps up. */
  changes(subscription: Subscription, changes: readonly RowChange[]): void
  /** The subscriber's socket is full: ask it later, through `collect`. */
  wait(subscription: Subscription, service: QueryService): void
}

/** Keeps the results of live queries up to date. */
export class QueryService {
  readonly #env: Env
  readonly #store: Store
  readonly #authorizer: Authorizer
  readonly outlet: QueryOutlet
  readonly #groupsByMap = new Map<MapState, Map<string, { group: QueryGroup; members: Set<Subscription> }>>()
  readonly #bySession = new Map<Session, Map<string, Subscription>>()

  constructor(env: Env, store: Store, authorizer: Authorizer, feed: ChangeFeed, outlet: QueryOutlet) {
    this.#env = env
    this.#store = store
    this.#authorizer = authorizer
    this.outlet = outlet
    feed.listen((change) => this.#onChange(change))
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
    let shared = groups?.get(key)
    if (shared === undefined) {
      const opened = QueryGroup.open(map, view, spec, this.#env.now())
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
      pending: undefined,
      isSnapshotDue: false,
      isEnded: false,
    }
    shared.members.add(subscription)
    if (subscriptions === undefined) this.#bySession.set(session, (subscriptions = new Map()))
    subscriptions.set(queryId, subscription)
    return ok(subscription)
  }

  /** Ends a session's query. False where it has none by this id. */
  unsubscribe(session: Session, queryId: string): boolean {
    const subscriptions = this.#bySession.get(session)
    const subscription = subscriptions?.get(queryId)
    if (subscriptions === undefined || subscription === undefined) return false
    subscriptions.delete(queryId)
    if (subscriptions.size === 0) this.#bySession.delete(session)
    const { map, view, spec } = subscription.group
    const groups = this.#groupsByMap.get(map)
    const key = groupKey(view.redactionClass, spec)
    const shared = groups?.get(key)
    shared?.members.delete(subscription)
    subscription.isEnded = true
    if (shared?.members.size === 0) groups?.delete(key)
    if (groups?.size === 0) this.#groupsByMap.delete(map)
    return true
  }

  /** Ends all queries of a session. */
  unsubscribeAll(session: Session): void {
    for (const queryId of [...(this.#bySession.get(session)?.keys() ?? [])]) this.unsubscribe(session, queryId)
  }

  /** Ends the queries that a session may no longer ask, or not in this form. Answers their ids and maps. */
  withdraw(session: Session): { queryId: string; mapName: string }[] {
    const withdrawn: { queryId: string; mapName: string }[] = []
    for (const { queryId, group } of [...(this.#bySession.get(session)?.values() ?? [])]) {
      const mapName = group.map.name
      const { view } = session.rights(this.#authorizer, mapName)
      if (view?.redactionClass === group.view.redactionClass) continue
      this.unsubscribe(session, queryId)
      withdrawn.push({ queryId, mapName })
    }
    return withdrawn
  }

  /** What a subscriber that waited has missed, net of what cancelled out. `snapshot` says that it is too much. */
  collect(subscription: Subscription): { readonly changes: readonly RowChange[] } | 'snapshot' {
    const { pending, group, isSnapshotDue } = subscription
    subscription.pending = undefined
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
    for (const { group, members } of groups.values()) {
      const changes = group.apply(entries, nowMs)
      if (changes.length === 0) continue
      for (const subscription of members) this.#tell(subscription, changes)
    }
  }

  #tell(subscription: Subscription, changes: readonly RowChange[]): void {
    if (subscription.pending === undefined && !subscription.session.outbox.isDraining) {
      this.outlet.changes(subscription, changes)
      return
    }
    if (subscription.pending === undefined) {
      subscription.pending = new Map()
      this.outlet.wait(subscription, this)
    }
    const { pending } = subscription
    for (const { key, changeType } of changes) if (!pending.has(key)) pending.set(key, changeType !== 'ENTER')
    if (pending.size > MAX_PENDING) {
      pending.clear()
      subscription.isSnapshotDue = true
    }
  }
}

function groupKey(redactionClass: string, spec: QuerySpec): string {
  return `${redactionClass} ${queryHash(spec)} ${spec.cursor ?? ''}`
}

/** A window must lose rows before it takes new ones, or it would be too large in between. */
function leavesFirst(a: RowChange, b: RowChange): number {
  return (a.changeType === 'LEAVE' ? 0 : 1) - (b.changeType === 'LEAVE' ? 0 : 1)
}
