import type { Value } from '@syncline/core'
import type { ReadView } from '../../inbound/authorize.ts'
import type { FrameRun } from '../../outbound/frame-run.ts'
import type { Session } from '../../sessions/session.ts'
import type { Series } from '../../telemetry/metrics.ts'
import { Subscriber } from './subscriber.ts'

/** What was published, until the turn ends. */
export interface Publication {
  readonly topic: string
  readonly data: Value
  /** Who published it, and gets no copy. */
  readonly publisher: Session
  readonly publisherId: string
  readonly timestampMs: number
}

/** What leaves the server for subscribers. Each publication is encoded at most once for all of one encoding. */
export interface TopicOutlet {
  /** Bytes of a publication, about. */
  size(publication: Publication): number
  /** What a session is sent of a turn. */
  run(session: Session, publications: readonly Publication[]): FrameRun
  /** The key of sessions that can be sent the same run. */
  form(session: Session): string
  /** Tells a session how many messages of a topic it was not sent. */
  dropped(session: Session, topic: string, count: number): void
}

/** What the service counts. */
export interface TopicCounts {
  readonly published: Series
  readonly delivered: Series
  readonly dropped: Series
}

/** When messages are dropped, and what a turn may hold. */
export interface TopicLimits {
  /** Unsent bytes of a subscriber above which messages for it are dropped. */
  readonly maxQueuedBytes: number
}

/** A turn with more than this is delivered at once, so that what waits for subscribers is bounded. */
const TURN_BYTES = 64 * 1024

/** Topics: who subscribes to which, and what is published to them. Nothing is kept but for the length of a turn. */
export class TopicService {
  readonly #outlet: TopicOutlet
  readonly #limits: TopicLimits
  readonly #counts: TopicCounts
  readonly #endOfTurn: (run: () => void) => void
  readonly #subscribersByTopic = new Map<string, Set<Subscriber>>()
  readonly #bySession = new Map<Session, Subscriber>()
  #turn: Publication[] = []
  #turnBytes = 0
  #isScheduled = false

  constructor(outlet: TopicOutlet, limits: TopicLimits, counts: TopicCounts, endOfTurn: (run: () => void) => void) {
    this.#outlet = outlet
    this.#limits = limits
    this.#counts = counts
    this.#endOfTurn = endOfTurn
  }

  /** Topics that a session subscribes to. */
  count(session: Session): number {
    return this.#bySession.get(session)?.topics.size ?? 0
  }

  /** Says whether a session subscribes to a topic. */
  isSubscribed(session: Session, topic: string): boolean {
    return this.#bySession.get(session)?.topics.has(topic) === true
  }

  /** How many are sent what is published to a topic. */
  audience(topic: string): number {
    return this.#subscribersByTopic.get(topic)?.size ?? 0
  }

  /** From now on a session is sent what others publish to a topic. */
  subscribe(session: Session, topic: string, view: ReadView): void {
    // What was published before is not for it.
    this.#deliver()
    let subscriber = this.#bySession.get(session)
    if (subscriber === undefined) {
      this.#bySession.set(
        session,
        (subscriber = new Subscriber(session, (topic, count) => this.#outlet.dropped(session, topic, count))),
      )
    }
    subscriber.topics.set(topic, view)
    let subscribers = this.#subscribersByTopic.get(topic)
    if (subscribers === undefined) this.#subscribersByTopic.set(topic, (subscribers = new Set()))
    subscribers.add(subscriber)
  }

  /** Ends a subscription. */
  unsubscribe(session: Session, topic: string): void {
    const subscriber = this.#bySession.get(session)
    if (subscriber === undefined || !subscriber.topics.delete(topic)) return
    subscriber.missed.delete(topic)
    this.#leave(subscriber, topic)
    if (subscriber.topics.size === 0) this.#forget(subscriber)
  }

  /** Ends all subscriptions of a session. */
  unsubscribeAll(session: Session): void {
    const subscriber = this.#bySession.get(session)
    if (subscriber === undefined) return
    for (const topic of subscriber.topics.keys()) this.#leave(subscriber, topic)
    this.#forget(subscriber)
  }

  /** Ends the subscriptions whose right has ended, by what a session may read now. Answers their topics. */
  withdraw(session: Session, viewOf: (topic: string) => ReadView | undefined): readonly string[] {
    const ended: string[] = []
    for (const topic of this.#bySession.get(session)?.topics.keys() ?? []) {
      if (viewOf(topic) === undefined) ended.push(topic)
    }
    for (const topic of ended) this.unsubscribe(session, topic)
    return ended
  }

  /** Sends data to the subscribers of a topic when the turn ends. */
  publish(publication: Publication): void {
    this.#counts.published.add()
    if (this.audience(publication.topic) === 0) return
    this.#turn.push(publication)
    this.#turnBytes += this.#outlet.size(publication)
    if (this.#turnBytes > TURN_BYTES) return this.#deliver()
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#endOfTurn(() => {
      this.#isScheduled = false
      this.#deliver()
    })
  }

  /** For the operator. */
  inspect(): { readonly topics: number; readonly subscriptions: number; readonly behind: number } {
    let [subscriptions, behind] = [0, 0]
    for (const { topics, missed } of this.#bySession.values()) {
      subscriptions += topics.size
      if (missed.size > 0) behind++
    }
    return { topics: this.#subscribersByTopic.size, subscriptions, behind }
  }

  #leave(subscriber: Subscriber, topic: string): void {
    const subscribers = this.#subscribersByTopic.get(topic)
    if (subscribers === undefined) return
    subscribers.delete(subscriber)
    if (subscribers.size === 0) this.#subscribersByTopic.delete(topic)
  }

  #forget(subscriber: Subscriber): void {
    this.#bySession.delete(subscriber.session)
    subscriber.session.outbox.drop(subscriber)
  }

  #deliver(): void {
    if (this.#turn.length === 0) return
    const turn = this.#turn
    const isLarge = this.#turnBytes > TURN_BYTES
    this.#turn = []
    this.#turnBytes = 0
    const publishers = new Set(turn.map(({ publisher }) => publisher))
    const runs = new Map<string, FrameRun>()
    const tell = (subscriber: Subscriber, topics: string, publications: readonly Publication[]): void => {
      const { session } = subscriber
      const isOwn = publishers.has(session)
      const meant = isOwn ? publications.filter(({ publisher }) => publisher !== session) : publications
      if (meant.length === 0) return
      if (this.#isBehind(subscriber)) return this.#drop(subscriber, meant)
      if (subscriber.missed.size > 0) subscriber.pump()
      const key = `${this.#outlet.form(session)} ${topics}`
      let run = isOwn ? undefined : runs.get(key)
      if (run === undefined) {
        run = this.#outlet.run(session, meant)
        if (!isOwn) runs.set(key, run)
      }
      this.#counts.delivered.add(meant.length)
      session.outbox.pushRun(run)
      // A turn that goes on must not fill the queue of a socket that takes everything.
      if (isLarge) session.outbox.flush()
    }
    const published = new Set(turn.map(({ topic }) => topic))
    if (published.size === 1) {
      const [topic] = published
      for (const subscriber of this.#subscribersByTopic.get(topic as string) ?? []) tell(subscriber, '', turn)
      return
    }
    // In the order of publication, also over several topics of one connection.
    const topicsOf = new Map<Subscriber, Set<string>>()
    for (const topic of published) {
      for (const subscriber of this.#subscribersByTopic.get(topic) ?? []) {
        const topics = topicsOf.get(subscriber)
        if (topics === undefined) topicsOf.set(subscriber, new Set([topic]))
        else topics.add(topic)
      }
    }
    const publicationsByTopics = new Map<string, readonly Publication[]>()
    for (const [subscriber, topics] of topicsOf) {
      const names = [...topics].join(' ')
      let publications = publicationsByTopics.get(names)
      if (publications === undefined) {
        publications = turn.filter(({ topic }) => topics.has(topic))
        publicationsByTopics.set(names, publications)
      }
      tell(subscriber, names, publications)
    }
  }

  /** One that has missed something is sent nothing more until its socket has drained and it was told. */
  #isBehind({ session: { outbox }, missed }: Subscriber): boolean {
    return missed.size > 0 ? outbox.isDraining : outbox.unsentBytes > this.#limits.maxQueuedBytes
  }

  #drop(subscriber: Subscriber, publications: readonly Publication[]): void {
    for (const { topic } of publications) subscriber.missed.set(topic, (subscriber.missed.get(topic) ?? 0) + 1)
    this.#counts.dropped.add(publications.length)
    subscriber.session.outbox.pull(subscriber)
  }
}
