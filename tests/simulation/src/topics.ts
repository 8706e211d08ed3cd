import type { Connection } from './connection.ts'
import type { Watch } from './watch.ts'

/** How far apart two connections' messages may be handled otherwise than they came. */
const TOGETHER_MS = 100
/** How long a message may wait for its turn at the server. */
const HANDLED_MS = 300

interface Subscriber {
  readonly sinceMs: number
  told: number
}

interface Publication {
  readonly topic: string
  readonly by: Connection
  readonly atMs: number
}

/** INV-16: what a subscriber was sent of a topic and what it was told to have missed add up to what was published. */
export class TopicOracle {
  readonly #watch: Watch
  readonly #subscribers = new Map<Connection, Map<string, Subscriber>>()
  readonly #publications: Publication[] = []

  constructor(watch: Watch) {
    this.#watch = watch
  }

  subscribed(connection: Connection, topic: string): void {
    let topics = this.#subscribers.get(connection)
    if (topics === undefined) this.#subscribers.set(connection, (topics = new Map()))
    if (!topics.has(topic)) topics.set(topic, { sinceMs: this.#watch.virtualNow(), told: 0 })
  }

  unsubscribed(connection: Connection, topic: string): void {
    this.#subscribers.get(connection)?.delete(topic)
  }

  published(by: Connection, topic: string): void {
    this.#watch.count('publications')
    this.#publications.push({ topic, by, atMs: this.#watch.virtualNow() })
  }

  told(connection: Connection, topic: string, count: number): void {
    const subscriber = this.#subscribers.get(connection)?.get(topic)
    if (subscriber === undefined) return
    subscriber.told += count
    this.#check(connection, topic, subscriber, false)
  }

  dropped(connection: Connection, topic: string, count: number): void {
    this.#watch.count('drops told')
    this.told(connection, topic, count)
  }

  /** Nothing is on its way any more. */
  checkEnd(): void {
    for (const [connection, topics] of this.#subscribers) {
      if (!connection.isWhole) continue
      for (const [topic, subscriber] of topics) this.#check(connection, topic, subscriber, true)
    }
  }

  #check(connection: Connection, topic: string, { sinceMs, told }: Subscriber, isEnd: boolean): void {
    let [certain, possible] = [0, 0]
    for (const { topic: other, by, atMs } of this.#publications) {
      if (other !== topic || by === connection || atMs < sinceMs - TOGETHER_MS) continue
      possible++
      if (atMs > sinceMs + TOGETHER_MS && by.endedAtMs > atMs + HANDLED_MS) certain++
    }
    if (told > possible)
      this.#watch.fail(
        'INV-16',
        `${connection.name} was told of ${told} messages of '${topic}', of which there were ${possible}`,
      )
    if (isEnd && told < certain)
      this.#watch.fail('INV-16', `${connection.name} was told of ${told} messages of '${topic}' out of ${certain}`)
  }
}
