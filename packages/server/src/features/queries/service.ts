import { err, ok, type Env, type Result } from '@syncline/core'
import { LIMITS, wireError, type WireError } from '@syncline/protocol'
import type { Authorizer, ReadView } from '../../inbound/authorize.ts'
import { forbidden } from '../../inbound/authorize.ts'
import type { ChangeFeed, MapChange } from '../../outbound/change-feed.ts'
import { isolated } from '../../outbound/result-follower.ts'
import type { Session } from '../../sessions/session.ts'
import type { MapState } from '../../store/map-state.ts'
import type { Row } from '../../store/rows.ts'
import type { Store } from '../../store/store.ts'
import type { Limits } from '../../telemetry/limits.ts'
import { QueryCursors } from './cursors.ts'
import { groupKey } from './group-key.ts'
import { MapQueries, type SharedGroup } from './map-queries.ts'
import { Indexes, type IndexOptions } from './indexes.ts'
import { QueryGroup, type Question } from './query-group.ts'
import type { SlicedWork } from '../../sliced-work.ts'
import { Subscription, type QueryOutlet, type QueryResult } from './subscription.ts'

/** How often results are looked through for records whose time has passed. */
const EXPIRY_MS = 1_000
/** When a query may be asked again that there was no room for. */
const RETRY_MS = 5_000

/** How much live queries may hold. */
export interface QueryOptions extends IndexOptions {
  /** Rows that all results together may hold before new queries are refused. */
  readonly maxResultRows: number
}

/** What the service needs of the server. */
export interface QueryHost {
  readonly env: Env
  readonly store: Store
  readonly authorizer: Authorizer
  readonly feed: ChangeFeed
  readonly limits: Limits
  readonly work: SlicedWork
}

/** Keeps the results of live queries up to date. */
export class QueryService {
  readonly env: Env
  readonly #store: Store
  readonly #authorizer: Authorizer
  readonly #feed: ChangeFeed
  readonly outlet: QueryOutlet
  readonly #limits: Limits
  readonly #maxRows: number
  readonly #cursors: QueryCursors
  readonly #indexes: Indexes
  readonly #work: SlicedWork
  readonly #queriesByMap = new Map<MapState, MapQueries>()
  /** Rows that all results hold. */
  #rows = 0
  readonly #bySession = new Map<Session, Map<string, Subscription>>()
  #isExpiryDue = false

  constructor(
    { env, store, authorizer, feed, limits, work }: QueryHost,
    outlet: QueryOutlet,
    { maxResultRows, ...indexes }: QueryOptions,
  ) {
    this.env = env
    this.#store = store
    this.#authorizer = authorizer
    this.#feed = feed
    this.#limits = limits
    this.outlet = outlet
    this.#maxRows = maxResultRows
    this.#cursors = new QueryCursors(store.secret)
    this.#indexes = new Indexes(env, indexes)
    this.#work = work
    const wants = (map: MapState): boolean => this.#queriesByMap.has(map) || this.#indexes.has(map)
    feed.listen({ wants, tell: (change) => this.#onChange(change) })
  }

  /**
   * Subscribes a session to a query over a map in memory. An id in use is taken over by the new query. A promise where
   * the query takes longer than a turn may; the session waits for it. What changes from now on is held back for the
   * subscriber: it is to be sent its result first.
   */
  subscribe(
    session: Session,
    queryId: string,
    mapName: string,
    question: Question,
  ): Result<Subscription, WireError> | Promise<Result<Subscription, WireError>> {
    const { view } = session.rights(this.#authorizer, mapName)
    if (view === undefined) return err(forbidden(mapName, 'READ'))
    const subscriptions = this.#bySession.get(session)
    if (subscriptions?.has(queryId) !== true && (subscriptions?.size ?? 0) >= LIMITS.queriesPerConnection) {
      return err(this.#limits.refusal('queriesPerConnection', LIMITS.queriesPerConnection))
    }
    const found = this.#sharedGroup(session, mapName, view, question)
    if (!found.ok) return found
    const shared = found.value
    const join = (): Result<Subscription, WireError> => {
      shared.waiting.delete(session)
      const isAllowed = session.rights(this.#authorizer, mapName).view?.redactionClass === view.redactionClass
      if (!session.isClosed && isAllowed) return ok(this.#join(session, queryId, shared))
      this.#release(shared)
      return err(forbidden(mapName, 'READ'))
    }
    return shared.evaluation === undefined ? join() : shared.evaluation.then(join)
  }

  #sharedGroup(session: Session, mapName: string, view: ReadView, question: Question): Result<SharedGroup, WireError> {
    const map = this.#store.residency.resident(mapName)
    if (map === undefined) throw new Error(`Map '${mapName}' is not in memory`)
    const key = groupKey(view.redactionClass, question)
    if (key === undefined)
      return err(wireError('BAD_QUERY', 'The query holds a name or value that no record can hold.'))
    let queries = this.#queriesByMap.get(map)
    const known = queries?.groups.get(key)
    if (known !== undefined) {
      if (known.evaluation === undefined) this.#expire(known, this.env.now())
      known.waiting.add(session)
      return ok(known)
    }
    const compiled = QueryGroup.compile(map, view, question, this.#cursors, this.env.now())
    if (!compiled.ok) return compiled
    if (this.#rows >= this.#maxRows) {
      const message =
        'The live queries of this server hold as many rows as they may; end some, or ask for one that exists.'
      const retry = { code: 'OVERLOADED', message, retryAfterMs: RETRY_MS } as const
      return err(this.#limits.refusal('queries.maxResultRows', this.#maxRows, retry))
    }
    const group = compiled.value
    const shared: SharedGroup = {
      group,
      key,
      members: new Set(),
      waiting: new Set([session]),
      evaluation: undefined,
      isCounted: false,
    }
    if (queries === undefined) this.#queriesByMap.set(map, (queries = new MapQueries(map)))
    queries.add(shared)
    const isWanted = (): boolean => {
      for (const waiting of shared.waiting) if (waiting.isClosed) shared.waiting.delete(waiting)
      this.#release(shared)
      return shared.waiting.size > 0
    }
    // What changed in this turn is in the result already, and the feed will tell it again: that changes nothing.
    const done = (): void => {
      shared.evaluation = undefined
      queries.evaluated(shared)
      session.owe(group.work.looked)
      shared.isCounted = true
      this.#rows += group.rowCount
      this.#scheduleExpiry(group)
    }
    const forget = (error: unknown): never => {
      shared.waiting.clear()
      this.#release(shared)
      throw error
    }
    const evaluation = group.evaluate(this.env, this.#indexes)
    shared.evaluation = this.#work.run(session, evaluation, isWanted, done)?.catch(forget)
    return ok(shared)
  }

  #join(session: Session, queryId: string, shared: SharedGroup): Subscription {
    const subscription = new Subscription(this, session, queryId, shared)
    // Before the one that had the id ends, which may be the only other that asks the same.
    shared.members.add(subscription)
    this.unsubscribe(session, queryId)
    session.owe(shared.group.shownCount)
    const subscriptions = this.#bySession.get(session)
    if (subscriptions === undefined) this.#bySession.set(session, new Map([[queryId, subscription]]))
    else subscriptions.set(queryId, subscription)
    return subscription
  }

  /** Forgets a group that nobody asks for any more. */
  #release(shared: SharedGroup): void {
    if (shared.members.size > 0 || shared.waiting.size > 0) return
    const { map } = shared.group
    const queries = this.#queriesByMap.get(map)
    if (queries?.groups.get(shared.key) !== shared) return
    queries.remove(shared)
    shared.group.end()
    if (shared.isCounted) this.#rows -= shared.group.rowCount
    if (queries.groups.size === 0) this.#queriesByMap.delete(map)
  }

  /** Sends a subscriber its result, then what changed while its pages left. A promise where that takes long to begin. */
  sendResult(subscription: Subscription, requestId?: string): Promise<void> | undefined {
    const { session } = subscription
    const send = (result: QueryResult): void => this.outlet.result(subscription, result, requestId)
    return this.#work.run(session, resultOf(subscription), () => !subscription.isEnded, send)
  }

  /** Ends a session's query. False where it has none by this id. */
  unsubscribe(session: Session, queryId: string): boolean {
    const subscriptions = this.#bySession.get(session)
    const subscription = subscriptions?.get(queryId)
    if (subscriptions === undefined || subscription === undefined) return false
    subscriptions.delete(queryId)
    if (subscriptions.size === 0) this.#bySession.delete(session)
    subscription.end()
    subscription.shared.members.delete(subscription)
    this.#release(subscription.shared)
    return true
  }

  /** A session asks a query over a map. */
  asks(session: Session, map: MapState): boolean {
    for (const { group } of this.#bySession.get(session)?.values() ?? []) if (group.map === map) return true
    return false
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

  inspect(): { queries: number; rows: number; subscriptions: number; indexes: number; indexedRows: number } {
    let queries = 0
    for (const { groups } of this.#queriesByMap.values()) queries += groups.size
    let subscriptions = 0
    for (const bySession of this.#bySession.values()) subscriptions += bySession.size
    return { queries, rows: this.#rows, subscriptions, ...this.#indexes.inspect() }
  }

  #onChange({ map, entries }: MapChange): void {
    this.#indexes.changed(map)
    const queries = this.#queriesByMap.get(map)
    if (queries === undefined) return
    const nowMs = this.env.now()
    for (const [shared, rows] of queries.concerned(entries)) {
      // One that is being evaluated looks at what changed meanwhile by itself.
      if (shared.evaluation !== undefined) continue
      isolated(shared.members, () => this.#apply(shared, rows, nowMs))
      this.#scheduleExpiry(shared.group)
    }
  }

  #apply({ group, members }: SharedGroup, rows: readonly Row[], nowMs: number): void {
    const before = group.rowCount
    const changes = group.apply(rows, nowMs, this.#indexes)
    this.#rows += group.rowCount - before
    if (changes.length === 0) return
    for (const subscription of members) subscription.tell(changes)
  }

  /** A record whose time has passed leaves results without being written. */
  #expire(shared: SharedGroup, nowMs: number): void {
    if (!shared.group.isExpiring(nowMs)) return
    // Rows that take the place of those that leave are taken from the map as it is now, which all are to be told first.
    this.#feed.dispatch()
    this.#apply(shared, shared.group.expired(nowMs), nowMs)
  }

  #scheduleExpiry(group: QueryGroup): void {
    if (this.#isExpiryDue || !group.canExpire) return
    this.#isExpiryDue = true
    this.env.after(EXPIRY_MS, () => {
      this.#isExpiryDue = false
      const nowMs = this.env.now()
      for (const { groups } of this.#queriesByMap.values()) {
        for (const shared of groups.values()) {
          if (shared.evaluation !== undefined) continue
          isolated(shared.members, () => this.#expire(shared, nowMs))
          this.#scheduleExpiry(shared.group)
        }
      }
    })
  }
}

/** The result as of the first step, which may come turns later: it has what was held back until then. */
function* resultOf(subscription: Subscription): Generator<void, QueryResult> {
  const { group } = subscription
  const { version, hasMore } = group
  const nextCursor = group.nextCursor()
  subscription.begin()
  return { rows: yield* group.rows(), version, hasMore, nextCursor }
}
