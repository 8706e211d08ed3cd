import { err, ok, type Env, type Result } from '@syncline/core'
import { LIMITS, wireError, type SearchOptions, type WireError } from '@syncline/protocol'
import { errorText } from '../../env.ts'
import { forbidden, type Authorizer, type ReadView } from '../../inbound/authorize.ts'
import type { ChangeFeed } from '../../outbound/change-feed.ts'
import { isolated } from '../../outbound/result-follower.ts'
import type { Session } from '../../sessions/session.ts'
import type { SlicedWork, WorkOwner } from '../../sliced-work.ts'
import type { MapState } from '../../store/map-state.ts'
import { rowCount } from '../../store/rows.ts'
import type { Store } from '../../store/store.ts'
import type { Limits } from '../../telemetry/limits.ts'
import { compileSearch, type CompiledSearch, type SearchSettings } from './compile.ts'
import type { FoundChange } from './found-row.ts'
import { Indexes } from './indexes.ts'
import { LiveSearch } from './live-search.ts'
import type { DocumentChange, MapIndex } from './map-index.ts'
import { searchOnce, type Found } from './one-search.ts'
import { Searches, type SharedSearch } from './searches.ts'
import { foundBy, Subscription, type SearchOutlet } from './subscription.ts'

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
  readonly #outlet: SearchOutlet
  readonly #searchesByIndex = new Map<MapIndex, Searches>()
  readonly #bySession = new Map<Session, Map<string, Subscription>>()
  /** Searches of a session that are under way and no subscriptions. */
  readonly #underWay = new Map<Session, number>()
  /** Matches of all live searches. */
  #matchCount = 0
  #isExpiryDue = false

  constructor(host: SearchHost, settings: SearchSettings, outlet: SearchOutlet) {
    this.#host = host
    this.#settings = settings
    this.#outlet = outlet
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
    if (!asked.ok) return done(this.#refused(asked))
    const underWay = this.#underWay.get(session) ?? 0
    if (underWay + this.#subscriptionCount(session) >= LIMITS.searchesPerConnection) return done(err(this.#tooMany()))
    this.#underWay.set(session, underWay + 1)
    const { view, search } = asked.value
    const isWanted = (): boolean => !session.isClosed
    const end = (found: Result<Found, WireError>): void => {
      const left = (this.#underWay.get(session) ?? 1) - 1
      if (left > 0) this.#underWay.set(session, left)
      else this.#underWay.delete(session)
      done(found.ok && !this.#isAllowed(session, mapName, view) ? err(forbidden(mapName, 'READ')) : found)
    }
    this.#whenReady(session, asked.value, isWanted, end, (index) => {
      // A live one is shared where its scores are what they would be now.
      const known = this.#searchesByIndex.get(index)?.byKey.get(search.key)?.live
      if (known?.isExact === true) return end(ok(foundBy(known)))
      const answer = (found: Found & { readonly joined: number }): void => {
        session.owe(found.joined)
        end(ok(found))
      }
      this.#run(session, searchOnce(index, search), isWanted, answer, end)
    })
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
    if (!asked.ok) return done(this.#refused(asked))
    const isTaken = this.#bySession.get(session)?.has(id) === true
    const count = (this.#underWay.get(session) ?? 0) + this.#subscriptionCount(session)
    if (!isTaken && count >= LIMITS.searchesPerConnection) return done(err(this.#tooMany()))
    this.unsubscribe(session, id)
    const { view } = asked.value
    const subscription = new Subscription(this.#host.env, this.#outlet, session, id, mapName, view)
    const subscriptions = this.#bySession.get(session)
    if (subscriptions === undefined) this.#bySession.set(session, new Map([[id, subscription]]))
    else subscriptions.set(id, subscription)
    const isWanted = (): boolean => !subscription.isEnded
    const fail = (refused: Refusal): void => {
      this.unsubscribe(session, id)
      done(refused)
    }
    this.#whenReady(session, asked.value, isWanted, fail, (index) => {
      this.#follow(session, index, asked.value.search, (followed) => {
        if (!isWanted()) return
        if (!followed.ok) return fail(followed)
        subscription.shared = followed.value
        followed.value.members.add(subscription)
        done(ok(subscription))
      })
    })
  }

  /** Ends a session's live search. False where it has none by this id. */
  unsubscribe(session: Session, id: string): boolean {
    const subscriptions = this.#bySession.get(session)
    const subscription = subscriptions?.get(id)
    if (subscriptions === undefined || subscription === undefined) return false
    subscriptions.delete(id)
    if (subscriptions.size === 0) this.#bySession.delete(session)
    subscription.end()
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
    matches: number
    subscriptions: number
  } {
    let searches = 0
    for (const { byKey } of this.#searchesByIndex.values()) searches += byKey.size
    let subscriptions = 0
    for (const bySession of this.#bySession.values()) subscriptions += bySession.size
    return { ...this.#indexes.inspect(), searches, matches: this.#matchCount, subscriptions }
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

  /** Hands over the index to search, when it has every change up to now; or why there is none. */
  #whenReady(
    session: Session,
    { map, view, search }: Asked,
    isWanted: () => boolean,
    fail: (refused: Refusal) => void,
    next: (index: MapIndex) => void,
  ): void {
    const ready = this.#indexes.ready(map, view, search.columns)
    if (!ready.ok) return fail(ready)
    const { index, building } = ready.value
    const catchUp = (): void => {
      index.learn()
      this.#run(session, index.catchUp(), isWanted, () => next(index), fail)
    }
    if (building === undefined) catchUp()
    else building.then(catchUp).catch((error: unknown) => fail(err(this.#failed(error))))
  }

  /** Hands over the live search that asks for the same, when it has a result; or why there is none. */
  #follow(
    session: Session,
    index: MapIndex,
    search: CompiledSearch,
    join: (followed: Result<SharedSearch, WireError>) => void,
  ): void {
    const known = this.#searchesByIndex.get(index)?.byKey.get(search.key)
    if (known?.waiting !== undefined) known.waiting.push(join)
    else if (known !== undefined) join(ok(known))
    else if (this.#matchCount >= this.#settings.maxLiveMatches) join(err(this.#overloaded()))
    else {
      const live = new LiveSearch(index, search)
      const first = (followed: Result<SharedSearch, WireError>): void => {
        session.owe(live.joined)
        join(followed)
      }
      const shared: SharedSearch = { live, members: new Set(), matches: 0, waiting: [first] }
      let searches = this.#searchesByIndex.get(index)
      if (searches === undefined) this.#searchesByIndex.set(index, (searches = new Searches()))
      searches.add(shared)
      this.#evaluate(session, shared)
    }
  }

  /** Scores all documents for a live search. Who wants to join it meanwhile waits. */
  #evaluate(owner: WorkOwner, shared: SharedSearch): void {
    const { live, members } = shared
    shared.waiting ??= []
    const settle = (result: Result<SharedSearch, WireError>): void => {
      const waiting = shared.waiting ?? []
      shared.waiting = undefined
      if (this.#isKept(shared)) this.#count(shared, live.totalCount)
      for (const join of waiting) join(result)
      this.#release(shared)
      this.#scheduleExpiry()
    }
    const tell = (found: readonly FoundChange[]): void => {
      tellAll(members, found)
      settle(ok(shared))
    }
    const fail = (refused: Refusal): void => {
      for (const subscription of members) subscription.fail(refused.error.message)
      settle(refused)
    }
    this.#run(owner, live.evaluate(), () => true, tell, fail)
  }

  #run<T>(
    owner: WorkOwner,
    work: Generator<void, T>,
    isWanted: () => boolean,
    next: (result: T) => void,
    fail: (refused: Refusal) => void,
  ): void {
    this.#host.work.run(owner, work, isWanted, next)?.catch((error: unknown) => fail(err(this.#failed(error))))
  }

  #failed(error: unknown): WireError {
    this.#host.env.log('error', 'A search failed', { error: errorText(error) })
    return wireError('INTERNAL_ERROR')
  }

  /** Forgets a search that nobody follows any more. */
  #release(shared: SharedSearch): void {
    if (shared.members.size > 0 || shared.waiting !== undefined) return
    this.#count(shared, 0)
    const { index } = shared.live
    const searches = this.#searchesByIndex.get(index)
    if (searches?.delete(shared) === true && searches.byKey.size === 0) this.#searchesByIndex.delete(index)
  }

  #isKept(shared: SharedSearch): boolean {
    const { index, search } = shared.live
    return this.#searchesByIndex.get(index)?.byKey.get(search.key) === shared
  }

  #onChanges(index: MapIndex, changes: readonly DocumentChange[]): void {
    const searches = this.#searchesByIndex.get(index)
    if (searches === undefined) return
    for (const [shared, own] of searches.touchedBy(changes)) {
      isolated(shared.members, () => {
        const found = shared.live.apply([...own])
        this.#count(shared, shared.live.totalCount)
        if (found !== undefined) tellAll(shared.members, found)
        else if (!shared.live.isEvaluating) this.#evaluate(searches, shared)
      })
    }
    for (const shared of searches.drifting(index)) {
      if (shared.live.hasDrifted && !shared.live.isEvaluating) this.#evaluate(searches, shared)
    }
    this.#scheduleExpiry()
  }

  /** A document whose time has passed leaves without being written. */
  #scheduleExpiry(): void {
    const canExpire = [...this.#searchesByIndex.keys()].some((index) => index.canExpire)
    if (this.#isExpiryDue || !canExpire) return
    this.#isExpiryDue = true
    this.#host.env.after(EXPIRY_MS, () => {
      this.#isExpiryDue = false
      for (const index of this.#searchesByIndex.keys()) this.#indexes.catchUp(index)
      this.#scheduleExpiry()
    })
  }

  #failAll(index: MapIndex, error: unknown): void {
    const { env } = this.#host
    env.log('error', 'A search index failed and is made anew', { map: index.map.name, error: errorText(error) })
    for (const shared of this.#searchesByIndex.get(index)?.byKey.values() ?? []) {
      this.#count(shared, 0)
      for (const subscription of shared.members) subscription.fail(error)
    }
    this.#searchesByIndex.delete(index)
  }

  #isAllowed(session: Session, mapName: string, view: ReadView): boolean {
    return session.rights(this.#host.authorizer, mapName).view?.redactionClass === view.redactionClass
  }

  #subscriptionCount(session: Session): number {
    return this.#bySession.get(session)?.size ?? 0
  }

  /** A live search has so many matches now. */
  #count(shared: SharedSearch, matches: number): void {
    this.#matchCount += matches - shared.matches
    shared.matches = matches
  }

  /** A refusal by what was asked for, counted where that goes beyond a limit. */
  #refused(refusal: Refusal): Refusal {
    this.#host.limits.note(refusal.error)
    return refusal
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

type Refusal = Extract<Result<never, WireError>, { readonly ok: false }>

interface Asked {
  readonly map: MapState
  readonly view: ReadView
  readonly search: CompiledSearch
}

function tellAll(members: ReadonlySet<Subscription>, changes: readonly FoundChange[]): void {
  if (changes.length > 0) for (const subscription of members) subscription.tell(changes)
}
