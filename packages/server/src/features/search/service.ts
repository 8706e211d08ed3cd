import { err, ok, type Env, type Result } from '@syncline/core'
import { LIMITS, wireError, type SearchOptions, type WireError } from '@syncline/protocol'
import { errorText } from '../../env.ts'
import { forbidden, type Authorizer, type ReadView } from '../../inbound/authorize.ts'
import type { ChangeFeed } from '../../outbound/change-feed.ts'
import type { Session } from '../../sessions/session.ts'
import type { SlicedWork, WorkOwner } from '../../sliced-work.ts'
import type { MapState } from '../../store/map-state.ts'
import { rowCount } from '../../store/rows.ts'
import type { Store } from '../../store/store.ts'
import type { Limits } from '../../telemetry/limits.ts'
import { compileSearch, type CompiledSearch, type SearchSettings } from './compile.ts'
import { Indexes } from './indexes.ts'
import { LiveSearch, type FoundChange } from './live-search.ts'
import type { DocumentChange, MapIndex } from './map-index.ts'
import { Searches, type SharedSearch } from './searches.ts'
import { foundBy, Subscribers, type Found, type SearchOutlet, type Subscription } from './subscribers.ts'

/** How often indexes are looked through for records whose time has passed. */
const EXPIRY_MS = 1_000
/** When a search may be made again that there was no room for. */
const RETRY_MS = 5_000

/** What the service needs of the server. */
export interface SearchHost {
  readonly env: Env
  readonly store: Store
  readonly authorizer: Authorizer
  readonly feed: ChangeFeed
  readonly limits: Limits
  readonly work: SlicedWork
}

/** Searches maps, and keeps live searches up to date. */
export class SearchService {
  readonly #host: SearchHost
  readonly #settings: SearchSettings
  readonly #indexes: Indexes
  readonly subscribers: Subscribers
  readonly #searchesByIndex = new Map<MapIndex, Searches>()
  readonly #bySession = new Map<Session, Map<string, Subscription>>()
  /** Searches of a session that are under way and no subscriptions. */
  readonly #underWay = new Map<Session, number>()
  #isExpiryDue = false
  #onceCount = 0

  constructor(host: SearchHost, settings: SearchSettings, outlet: SearchOutlet) {
    this.#host = host
    this.#settings = settings
    this.subscribers = new Subscribers(host.env, outlet)
    this.#indexes = new Indexes(host, settings, {
      onChanges: (index, changes) => this.#onChanges(index, changes),
      isUsed: (index) => this.#searchesByIndex.has(index),
      onFailure: (index, error) => this.#failAll(index, error),
    })
    host.feed.listen({ wants: (map) => this.#indexes.has(map), tell: ({ map }) => this.#indexes.follow(map) })
  }

  /** What a search costs: the postings that it looks at, and the records of the map where its index is still to be made. */
  cost(session: Session, mapName: string, text: string, options: SearchOptions = {}): number {
    const asked = this.#asked(session, mapName, text, options)
    if (!asked.ok) return 1
    const index = this.#indexes.find(asked.value.map, asked.value.view, asked.value.search.columns)
    return 1 + (index?.isBuilt === true ? index.text.postingCount(asked.value.search.query) : rowCount(asked.value.map))
  }

  /** Searches a map in memory once, and hands over what was found or why nothing was. */
  search(
    session: Session,
    mapName: string,
    text: string,
    options: SearchOptions,
    done: (found: Result<Found, WireError>) => void,
  ): void {
    const asked = this.#asked(session, mapName, text, options)
    if (!asked.ok) return done(asked)
    const underWay = this.#underWay.get(session) ?? 0
    if (underWay + this.#subscriptionCount(session) >= LIMITS.searchesPerConnection) return done(err(this.#tooMany()))
    this.#underWay.set(session, underWay + 1)
    const { view } = asked.value
    this.#find(
      session,
      asked.value,
      false,
      () => !session.isClosed,
      (shared) => {
        const left = (this.#underWay.get(session) ?? 1) - 1
        if (left > 0) this.#underWay.set(session, left)
        else this.#underWay.delete(session)
        if (!shared.ok) return done(shared)
        if (!session.isClosed)
          done(
            this.#isAllowed(session, mapName, view) ? ok(foundBy(shared.value.live)) : err(forbidden(mapName, 'READ')),
          )
        this.#release(shared.value)
      },
    )
  }

  /**
   * Subscribes a session to a search of a map in memory, and hands over what it follows, or why it does not. An id in use is
   * taken over. What changes from then on is held back for the subscriber: it is to be sent its result first.
   */
  subscribe(
    session: Session,
    id: string,
    mapName: string,
    text: string,
    options: SearchOptions,
    done: (subscribed: Result<Subscription, WireError>) => void,
  ): void {
    const asked = this.#asked(session, mapName, text, options)
    if (!asked.ok) return done(asked)
    const isTaken = this.#bySession.get(session)?.has(id) === true
    const count = (this.#underWay.get(session) ?? 0) + this.#subscriptionCount(session)
    if (!isTaken && count >= LIMITS.searchesPerConnection) return done(err(this.#tooMany()))
    this.unsubscribe(session, id)
    const { view } = asked.value
    const subscription: Subscription = {
      session,
      id,
      mapName,
      view,
      shared: undefined,
      pending: new Map<string, boolean>(),
      isSnapshotDue: false,
      isEnded: false,
    }
    const subscriptions = this.#bySession.get(session)
    if (subscriptions === undefined) this.#bySession.set(session, new Map([[id, subscription]]))
    else subscriptions.set(id, subscription)
    this.#find(
      session,
      asked.value,
      true,
      () => !subscription.isEnded,
      (shared) => {
        if (subscription.isEnded) {
          if (shared.ok) this.#release(shared.value)
          return
        }
        if (!shared.ok) {
          this.unsubscribe(session, id)
          return done(shared)
        }
        subscription.shared = shared.value
        shared.value.members.add(subscription)
        done(ok(subscription))
      },
    )
  }

  /** Ends a session's live search. False where it has none by this id. */
  unsubscribe(session: Session, id: string): boolean {
    const subscriptions = this.#bySession.get(session)
    const subscription = subscriptions?.get(id)
    if (subscriptions === undefined || subscription === undefined) return false
    subscriptions.delete(id)
    if (subscriptions.size === 0) this.#bySession.delete(session)
    subscription.isEnded = true
    const { shared } = subscription
    if (shared?.members.delete(subscription) === true) this.#release(shared)
    return true
  }

  /** Ends all live searches of a session. */
  unsubscribeAll(session: Session): void {
    for (const id of this.#bySession.get(session)?.keys() ?? []) this.unsubscribe(session, id)
  }

  /** Ends the live searches that a session may no longer make, or not in this form. Answers their ids and maps. */
  withdraw(session: Session): { id: string; mapName: string }[] {
    const withdrawn: { id: string; mapName: string }[] = []
    for (const { id, mapName, view } of this.#bySession.get(session)?.values() ?? []) {
      const now = session.rights(this.#host.authorizer, mapName).view
      if (now?.redactionClass === view.redactionClass) continue
      this.unsubscribe(session, id)
      withdrawn.push({ id, mapName })
    }
    return withdrawn
  }

  inspect(): {
    indexes: number
    indexedRecords: number
    waitingRecords: number
    searches: number
    subscriptions: number
  } {
    let searches = 0
    for (const { byKey } of this.#searchesByIndex.values()) searches += byKey.size
    let subscriptions = 0
    for (const bySession of this.#bySession.values()) subscriptions += bySession.size
    return { ...this.#indexes.inspect(), searches, subscriptions }
  }

  #asked(session: Session, mapName: string, text: string, options: SearchOptions): Result<Asked, WireError> {
    const { view } = session.rights(this.#host.authorizer, mapName)
    if (view === undefined) return err(forbidden(mapName, 'READ'))
    const { maps } = this.#settings
    const searched = Object.hasOwn(maps, mapName) ? maps[mapName] : undefined
    if (searched === undefined) {
      const message = `The map '${mapName}' is not searched: name its fields in the option search.maps of the server.`
      return err(wireError('NOT_ENABLED', message, { mapName }))
    }
    const search = compileSearch(searched, view, text, options)
    if (!search.ok) return search
    const map = this.#host.store.residency.resident(mapName)
    if (map === undefined) throw new Error(`Map '${mapName}' is not in memory`)
    return ok({ map, view, search: search.value })
  }

  /**
   * Hands over the search that asks for the same, with a result that has every change up to now, or why there is none. Whoever
   * does not join it releases it.
   */
  #find(
    session: Session,
    { map, view, search }: Asked,
    isLive: boolean,
    isWanted: () => boolean,
    done: (found: Result<SharedSearch, WireError>) => void,
  ): void {
    const fail = (error: unknown): void => {
      this.#host.env.log('error', 'A search failed', { map: map.name, error: errorText(error) })
      done(err(wireError('INTERNAL_ERROR')))
    }
    try {
      const ready = this.#indexes.ready(map, view, search.columns)
      if (!ready.ok) return done(ready)
      const { index, building } = ready.value
      const catchUp = (): void => {
        if (!isWanted()) return done(err(wireError('INTERNAL_ERROR')))
        index.learn()
        index.expire(this.#host.env.now())
        const next = (): void => this.#join(session, index, search, isLive, done, fail)
        this.#run(session, index.catchUp(), () => true, next, fail)
      }
      if (building === undefined) catchUp()
      else building.then(catchUp).catch(fail)
    } catch (error) {
      fail(error)
    }
  }

  #join(
    session: Session,
    index: MapIndex,
    search: CompiledSearch,
    isLive: boolean,
    done: (found: Result<SharedSearch, WireError>) => void,
    fail: (error: unknown) => void,
  ): void {
    const known = this.#searchesByIndex.get(index)?.byKey.get(search.key)
    // Who asks once is told exact scores, who follows may share those of a moment ago.
    if (known !== undefined && (isLive || known.live.isExact)) {
      if (known.waiting === undefined) done(ok(known))
      else known.waiting.push(() => done(ok(known)))
      return
    }
    if (this.#matchCount() >= this.#settings.maxLiveMatches) return done(err(this.#overloaded()))
    const live = new LiveSearch(index, search)
    const key = isLive ? search.key : `${search.key} ${++this.#onceCount}`
    const shared: SharedSearch = { key, live, members: new Set(), waiting: [() => done(ok(shared))] }
    let searches = this.#searchesByIndex.get(index)
    if (searches === undefined) this.#searchesByIndex.set(index, (searches = new Searches()))
    searches.add(shared)
    const settle = (): void => {
      const waiting = shared.waiting ?? []
      shared.waiting = undefined
      for (const each of waiting) each()
      this.#scheduleExpiry()
    }
    this.#run(
      session,
      live.evaluate(),
      () => true,
      settle,
      (error) => {
        shared.waiting = undefined
        this.#release(shared)
        fail(error)
      },
    )
  }

  #run<T>(
    owner: WorkOwner,
    work: Generator<void, T>,
    isWanted: () => boolean,
    next: (result: T) => void,
    fail: (error: unknown) => void,
  ): void {
    this.#host.work.run(owner, work, isWanted, next)?.catch(fail)
  }

  /** Forgets a search that nobody follows any more. */
  #release(shared: SharedSearch): void {
    if (shared.members.size > 0 || shared.waiting !== undefined) return
    const { index } = shared.live
    const searches = this.#searchesByIndex.get(index)
    if (searches?.delete(shared) === true && searches.byKey.size === 0) this.#searchesByIndex.delete(index)
  }

  #onChanges(index: MapIndex, changes: readonly DocumentChange[]): void {
    const searches = this.#searchesByIndex.get(index)
    if (searches === undefined) return
    const touched = searches.touchedBy(changes)
    for (const [shared, own] of touched) {
      if (isDueAnew(shared)) this.#scoreAnew(searches, shared, [...own])
      else this.subscribers.isolated(shared, () => this.subscribers.tell(shared, shared.live.apply([...own])))
    }
    for (const shared of searches.drifting(index)) if (isDueAnew(shared)) this.#scoreAnew(searches, shared, [])
    this.#scheduleExpiry()
  }

  /** Changes that were not applied are told with what else has changed. */
  #scoreAnew(searches: Searches, shared: SharedSearch, changes: readonly DocumentChange[]): void {
    const { live, members } = shared
    const tell = (found: readonly FoundChange[]): void =>
      this.subscribers.isolated(shared, () => this.subscribers.tell(shared, found))
    this.#run(
      searches,
      live.evaluate(changes),
      () => members.size > 0,
      tell,
      (error) => this.subscribers.isolated(shared, () => throwIt(error)),
    )
  }

  /** A document whose time has passed leaves without being written. */
  #scheduleExpiry(): void {
    const canExpire = [...this.#searchesByIndex.keys()].some((index) => index.canExpire)
    if (this.#isExpiryDue || !canExpire) return
    this.#isExpiryDue = true
    this.#host.env.after(EXPIRY_MS, () => {
      this.#isExpiryDue = false
      for (const index of this.#searchesByIndex.keys()) {
        index.expire(this.#host.env.now())
        this.#indexes.catchUp(index)
      }
      this.#scheduleExpiry()
    })
  }

  #failAll(index: MapIndex, error: unknown): void {
    const { env } = this.#host
    env.log('error', 'A search index failed and is made anew', { map: index.map.name, error: errorText(error) })
    for (const { members } of this.#searchesByIndex.get(index)?.byKey.values() ?? []) {
      for (const subscription of members) this.subscribers.fail(subscription, error)
    }
    this.#searchesByIndex.delete(index)
  }

  #isAllowed(session: Session, mapName: string, view: ReadView): boolean {
    return session.rights(this.#host.authorizer, mapName).view?.redactionClass === view.redactionClass
  }

  #subscriptionCount(session: Session): number {
    return this.#bySession.get(session)?.size ?? 0
  }

  #matchCount(): number {
    let count = 0
    for (const { byKey } of this.#searchesByIndex.values())
      for (const { live } of byKey.values()) count += live.totalCount
    return count
  }

  #tooMany(): WireError {
    return this.#host.limits.refusal('searchesPerConnection', LIMITS.searchesPerConnection)
  }

  #overloaded(): WireError {
    return this.#host.limits.refusal('search.maxLiveMatches', this.#settings.maxLiveMatches, {
      code: 'OVERLOADED',
      message: 'The live searches of this server hold as many matches as they may; end some, or make one that exists.',
      retryAfterMs: RETRY_MS,
    })
  }
}

interface Asked {
  readonly map: MapState
  readonly view: ReadView
  readonly search: CompiledSearch
}

function isDueAnew({ live }: SharedSearch): boolean {
  return live.hasDrifted && !live.isEvaluating
}

function throwIt(error: unknown): never {
  throw error
}
