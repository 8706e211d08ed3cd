import { err, ok, valuesEqual, type Env, type Result } from '@syncline/core'
import {
  LIMITS,
  wireError,
  type JournalEntry,
  type JournalFilter,
  type JournalRead,
  type WireError,
} from '@syncline/protocol'
import { forbidden, type Authorizer, type ReadView } from '../../inbound/authorize.ts'
import { redactFormer } from '../../outbound/redact.ts'
import type { Session } from '../../sessions/session.ts'
import type { Store } from '../../store/store.ts'
import type { Limits } from '../../telemetry/limits.ts'
import { Journal, type Change, type JournalLimits } from './journal.ts'

/** Which maps are journalled, and how much is kept of them. */
export interface JournalSettings extends JournalLimits {
  readonly enabled: boolean
  readonly include?: readonly string[] | undefined
  readonly exclude: readonly string[]
}

/** What the service needs of the server. */
export interface JournalHost {
  readonly env: Env
  readonly store: Store
  readonly authorizer: Authorizer
  readonly limits: Limits
}

/** One session's subscription. */
export interface Subscription {
  readonly id: string
  readonly filter: JournalFilter
  /** The first seq that it has not been told of. */
  nextSeq: number
  /** Events before this seq were forgotten when it began, and it asked for no more than what was there. */
  readonly beganSeq: number
}

/** A session and what it subscribes to. */
export interface Subscriber {
  readonly session: Session
  readonly subscriptions: Map<string, Subscription>
  isEnded: boolean
}

/** An event as the readers of one redaction class see it, and who is to be told. */
export interface Told {
  readonly view: ReadView
  readonly change: Change
  readonly event: JournalEntry
  readonly subscriptionIds: readonly string[]
}

/** What of a page of events a JOURNAL_READ is answered. */
export interface Page {
  readonly events: readonly JournalEntry[]
  readonly hasMore: boolean
  readonly nextSequence: string
}

/** Keeps the journal, and knows who reads it. */
export class JournalService {
  /** Names the database that sequences are of, and without storage this run. */
  readonly epoch: string
  readonly #host: JournalHost
  readonly #settings: JournalSettings
  readonly #journal: Journal
  readonly #subscribers = new Map<Session, Subscriber>()
  /** By the map that they name; undefined names all. */
  readonly #subscribersByMap = new Map<string | undefined, Set<Subscriber>>()
  /** Maps with changes that subscribers have not been woken for. */
  readonly #changed = new Set<string>()
  /** Seen by readers of a redaction class: whoever else asks for the same change gets the same event. */
  readonly #eventsByChange = new WeakMap<Change, Map<string, JournalEntry | undefined>>()
  readonly #onEvents: (subscriber: Subscriber) => void
  #isTellingDue = false

  /** `onEvents` is called at the end of a turn in which there may be events for a subscriber. */
  constructor(host: JournalHost, settings: JournalSettings, onEvents: (subscriber: Subscriber) => void) {
    const { env, store } = host
    this.#host = host
    this.#settings = settings
    this.#onEvents = onEvents
    this.#journal = new Journal(env, settings, store.sequencer.seq)
    this.epoch = store.databaseId === 'memory' ? `memory-${env.uniqueId()}` : store.databaseId
    if (!settings.enabled) return
    store.committer.observe((entry, before, userId) => {
      if (!this.#isKept(entry.map.name) || !this.#journal.note(entry, before, userId)) return
      if (this.#subscribers.size === 0) return
      this.#changed.add(entry.map.name)
      this.#scheduleTelling()
    })
  }

  /** What reading costs: the changes that may have to be looked at. */
  cost(mapName: string | undefined): number {
    return 1 + this.#journal.count(mapName)
  }

  /** A page of events. */
  read(session: Session, asked: JournalRead): Result<Page, WireError> {
    const { fromSequence, epoch, mapName, key, newestFirst = false, limit = LIMITS.journalPage } = asked
    const refusal = this.#refusal(session, mapName)
    if (refusal !== undefined) return err(refusal)
    const position = this.#position(session, mapName, fromSequence, epoch, newestFirst)
    if (!position.ok) return position
    const changes = newestFirst
      ? this.#journal.downFrom(position.value, mapName)
      : this.#journal.from(position.value, mapName)
    const events: JournalEntry[] = []
    let bytes = 0
    let next = newestFirst ? 1 : this.#host.store.sequencer.seq + 1
    let hasMore = false
    for (const change of changes) {
      if (key !== undefined && change.key !== key) continue
      const seen = this.#seen(session, change)
      if (seen === undefined || !fits(asked, seen.event)) continue
      hasMore = events.length >= limit || bytes >= LIMITS.pageBytes
      if (hasMore) {
        next = change.seq
        break
      }
      events.push(seen.event)
      bytes += change.bytes
    }
    return ok({ events, hasMore, nextSequence: String(next) })
  }

  /** Subscribes a session. An id in use is taken over. */
  subscribe(
    session: Session,
    id: string,
    filter: JournalFilter,
    fromSequence: string | undefined,
    epoch: string | undefined,
  ): Result<void, WireError> {
    const refusal = this.#refusal(session, filter.mapName)
    if (refusal !== undefined) return err(refusal)
    const { seq } = this.#host.store.sequencer
    const position =
      fromSequence === undefined ? ok(seq + 1) : this.#position(session, filter.mapName, fromSequence, epoch, false)
    if (!position.ok) return position
    const known = this.#subscribers.get(session)?.subscriptions
    if (known?.has(id) !== true && (known?.size ?? 0) >= LIMITS.journalsPerConnection) {
      return err(this.#host.limits.refusal('journalsPerConnection', LIMITS.journalsPerConnection))
    }
    const beganSeq = this.#oldestSeq(session, filter.mapName)
    this.unsubscribe(session, id)
    const subscriber = this.#subscribers.get(session) ?? { session, subscriptions: new Map(), isEnded: false }
    this.#subscribers.set(session, subscriber)
    subscriber.subscriptions.set(id, { id, filter, nextSeq: position.value, beganSeq })
    const ofMap = this.#subscribersByMap.get(filter.mapName)
    if (ofMap === undefined) this.#subscribersByMap.set(filter.mapName, new Set([subscriber]))
    else ofMap.add(subscriber)
    if (position.value <= seq) this.#onEvents(subscriber)
    return ok(undefined)
  }

  /** Ends a subscription of a session. */
  unsubscribe(session: Session, id: string): void {
    const subscriber = this.#subscribers.get(session)
    const subscription = subscriber?.subscriptions.get(id)
    if (subscriber === undefined || subscription === undefined) return
    const { mapName } = subscription.filter
    subscriber.subscriptions.delete(id)
    if (![...subscriber.subscriptions.values()].some(({ filter }) => filter.mapName === mapName)) {
      const ofMap = this.#subscribersByMap.get(mapName)
      ofMap?.delete(subscriber)
      if (ofMap?.size === 0) this.#subscribersByMap.delete(mapName)
    }
    if (subscriber.subscriptions.size > 0) return
    subscriber.isEnded = true
    this.#subscribers.delete(session)
  }

  /** Ends all subscriptions of a session. */
  unsubscribeAll(session: Session): void {
    for (const id of this.#subscribers.get(session)?.subscriptions.keys() ?? []) this.unsubscribe(session, id)
  }

  /** Ends the subscriptions of a session to maps that it may not read any more. Answers why, by their ids. */
  withdraw(session: Session): { id: string; error: WireError }[] {
    return this.#endThose(session, ({ filter }) =>
      filter.mapName === undefined ? undefined : this.#refusal(session, filter.mapName),
    )
  }

  /** Ends the subscriptions of a session that have fallen so far behind that events were forgotten. Answers why. */
  dropLate(session: Session): { id: string; error: WireError }[] {
    const { forgottenThrough } = this.#journal
    return this.#endThose(session, ({ filter, nextSeq, beganSeq }) => {
      if (nextSeq > forgottenThrough) return undefined
      const oldestSeq = this.#oldestSeq(session, filter.mapName)
      return nextSeq < oldestSeq && beganSeq < oldestSeq ? forgotten(oldestSeq) : undefined
    })
  }

  /** The next event that a subscriber is to be told, after what it was told. Undefined where there is none now. */
  next({ session, subscriptions }: Subscriber): Told | undefined {
    const all = [...subscriptions.values()]
    const fromSeq = Math.min(...all.map(({ nextSeq }) => nextSeq))
    const names = new Set(all.map(({ filter }) => filter.mapName))
    for (const change of this.#journal.from(fromSeq, names.size === 1 ? all[0]?.filter.mapName : undefined)) {
      const waiting = all.filter(({ nextSeq }) => nextSeq <= change.seq)
      const seen = this.#seen(session, change)
      const told =
        seen === undefined ? [] : waiting.filter(({ filter }) => isOf(filter, change) && fits(filter, seen.event))
      for (const subscription of waiting) subscription.nextSeq = change.seq + 1
      if (seen !== undefined && told.length > 0) return { ...seen, change, subscriptionIds: told.map(({ id }) => id) }
    }
    for (const subscription of all) {
      subscription.nextSeq = Math.max(subscription.nextSeq, this.#host.store.sequencer.seq + 1)
    }
    return undefined
  }

  inspect(): { events: number; bytes: number; subscriptions: number } {
    let count = 0
    for (const { subscriptions } of this.#subscribers.values()) count += subscriptions.size
    return { events: this.#journal.size, bytes: this.#journal.bytes, subscriptions: count }
  }

  #endThose(
    session: Session,
    reasonOf: (subscription: Subscription) => WireError | undefined,
  ): { id: string; error: WireError }[] {
    const ended: { id: string; error: WireError }[] = []
    for (const subscription of this.#subscribers.get(session)?.subscriptions.values() ?? []) {
      const error = reasonOf(subscription)
      if (error !== undefined) ended.push({ id: subscription.id, error })
    }
    for (const { id } of ended) this.unsubscribe(session, id)
    return ended
  }

  #scheduleTelling(): void {
    if (this.#isTellingDue) return
    this.#isTellingDue = true
    this.#host.env.endOfTurn(() => {
      this.#isTellingDue = false
      const woken = new Set(this.#subscribersByMap.get(undefined))
      for (const name of this.#changed) for (const each of this.#subscribersByMap.get(name) ?? []) woken.add(each)
      this.#changed.clear()
      for (const subscriber of woken) this.#onEvents(subscriber)
    })
  }

  #isKept(mapName: string): boolean {
    const { include, exclude } = this.#settings
    if (mapName.startsWith('$sys/') || exclude.some((pattern) => isNamed(pattern, mapName))) return false
    return include === undefined || include.some((pattern) => isNamed(pattern, mapName))
  }

  #refusal(session: Session, mapName: string | undefined): WireError | undefined {
    if (!this.#settings.enabled)
      return wireError('NOT_ENABLED', 'The server keeps no journal: set its option journal.enabled.')
    if (mapName === undefined) return undefined
    if (this.#viewOf(session, mapName) === undefined) return forbidden(mapName, 'READ')
    if (this.#isKept(mapName)) return undefined
    const message = `The journal leaves the map '${mapName}' out: see the options journal.include and journal.exclude.`
    return wireError('NOT_ENABLED', message, { mapName })
  }

  /** The seq at which to begin, or why it is none. */
  #position(
    session: Session,
    mapName: string | undefined,
    fromSequence: string,
    epoch: string | undefined,
    isDown: boolean,
  ): Result<number, WireError> {
    const { seq } = this.#host.store.sequencer
    const from = Number(fromSequence)
    if (from === 0) return ok(isDown ? seq : 0)
    if ((epoch !== undefined && epoch !== this.epoch) || from > seq + 1) {
      const message = 'The sequence is of another database or was never handed out; begin with 0 or without one.'
      return err(wireError('INVALID_CURSOR', message, { reason: 'foreign', epoch: this.epoch }))
    }
    const oldestSeq = this.#oldestSeq(session, mapName)
    return from < oldestSeq && !isDown ? err(forgotten(oldestSeq)) : ok(from)
  }

  /** From where on nothing is missing of what the session may read. */
  #oldestSeq(session: Session, mapName: string | undefined): number {
    const names = mapName === undefined ? [...this.#journal.mapNames()] : [mapName]
    return this.#journal.oldestSeq(names.filter((name) => this.#viewOf(session, name) !== undefined))
  }

  #viewOf(session: Session, mapName: string): ReadView | undefined {
    return session.rights(this.#host.authorizer, mapName).view
  }

  #seen(session: Session, change: Change): { readonly view: ReadView; readonly event: JournalEntry } | undefined {
    const view = this.#viewOf(session, change.mapName)
    if (view === undefined) return undefined
    let byClass = this.#eventsByChange.get(change)
    if (byClass === undefined) this.#eventsByChange.set(change, (byClass = new Map()))
    if (!byClass.has(view.redactionClass)) byClass.set(view.redactionClass, eventOf(view, change))
    const event = byClass.get(view.redactionClass)
    return event === undefined ? undefined : { view, event }
  }
}

/** A change as a reader of the view sees it; undefined where it sees none. */
function eventOf(
  view: ReadView,
  { seq, mapName, key, before, after, timestamp, userId }: Change,
): JournalEntry | undefined {
  const [previousValue, value] = [redactFormer(view, before), redactFormer(view, after)]
  if (valuesEqual(previousValue, value)) return undefined
  return {
    sequence: String(seq),
    type: value === undefined ? 'DELETE' : previousValue === undefined ? 'PUT' : 'UPDATE',
    mapName,
    key,
    ...(value === undefined ? {} : { value }),
    ...(previousValue === undefined ? {} : { previousValue }),
    timestamp,
    nodeId: timestamp.nodeId,
    metadata: { userId },
  }
}

function isOf({ mapName }: JournalFilter, change: Change): boolean {
  return mapName === undefined || mapName === change.mapName
}

function fits({ types }: JournalFilter, { type }: JournalEntry): boolean {
  return types === undefined || types.length === 0 || types.includes(type)
}

function forgotten(oldestSeq: number): WireError {
  const oldestSequence = String(oldestSeq)
  const message = `Events before sequence ${oldestSequence} are no longer kept: some may be missing. Begin there, or with 0.`
  return wireError('INVALID_CURSOR', message, { reason: 'forgotten', oldestSequence })
}

/** A pattern is a name, or a beginning of names and a star. */
function isNamed(pattern: string, mapName: string): boolean {
  return pattern.endsWith('*') ? mapName.startsWith(pattern.slice(0, -1)) : pattern === mapName
}
