import type { Value } from '@syncline/core'
import type { StandardSchema } from '@syncline/protocol/contract'
import { SynclineError, asSynclineError, clientClosed } from '../../errors.ts'
import type { Handlers, Kernel } from '../../feature.ts'
import { refuse, toValue, validate } from '../../offline/op-writer.ts'
import { check, checkSignal, unsubscriber, type Unsubscribe } from '../../readable.ts'
import type { Topic, TopicMessage } from './handle.ts'

/** Publications that wait for a connection. */
const MAX_WAITING = 100
/** Messages that wait for a slow loop, unless it says otherwise. */
const DEFAULT_BUFFER = 100

interface Listener {
  next(message: { readonly data: unknown; readonly from: string; readonly at: number }): void
  missed(count: number): void
}

/** One client's side of all topics, those of rooms included: who listens to which, and what waits to be published. */
export class TopicHub {
  readonly handlers: Handlers
  readonly #kernel: Kernel
  readonly #listenersByTopic = new Map<string, Set<Listener>>()
  #waiting: { readonly topic: string; readonly data: Value }[] = []
  #isOnline = false

  constructor(kernel: Kernel) {
    this.#kernel = kernel
    this.handlers = {
      TOPIC_MESSAGE: ({ payload: { topic, data, publisherId = '', timestamp } }) => {
        const message = { data, from: publisherId, at: timestamp }
        for (const listener of Array.from(this.#listenersByTopic.get(topic) ?? [])) listener.next(message)
      },
      TOPIC_DROPPED: ({ payload: { topic, dropped } }) => {
        for (const listener of Array.from(this.#listenersByTopic.get(topic) ?? [])) listener.missed(dropped)
      },
    }
  }

  /** A session has begun. Several features say so. */
  online(): void {
    if (this.#isOnline) return
    this.#isOnline = true
    for (const topic of this.#listenersByTopic.keys()) this.#send('TOPIC_SUB', topic)
    for (const payload of this.#waiting.splice(0)) this.#kernel.send({ type: 'TOPIC_PUB', payload })
  }

  offline(): void {
    this.#isOnline = false
  }

  /** What one user published is not sent in the name of another. */
  userChanged(): void {
    this.#waiting = []
  }

  publish(topic: string, data: Value): void {
    if (this.#isOnline) this.#kernel.send({ type: 'TOPIC_PUB', payload: { topic, data } })
    else {
      this.#waiting.push({ topic, data })
      if (this.#waiting.length <= MAX_WAITING) return
      const oldest = this.#waiting.shift()
      const text = `${MAX_WAITING} messages wait for a connection: the oldest, to '${oldest?.topic}', is given up.`
      this.#kernel.report(new SynclineError('BACKPRESSURE', text))
    }
  }

  listen(topic: string, listener: Listener): () => void {
    let listeners = this.#listenersByTopic.get(topic)
    if (listeners === undefined) {
      this.#listenersByTopic.set(topic, (listeners = new Set()))
      if (this.#isOnline) this.#send('TOPIC_SUB', topic)
    }
    const all = listeners.add(listener)
    return () => {
      if (!all.delete(listener) || all.size > 0) return
      this.#listenersByTopic.delete(topic)
      if (this.#isOnline) this.#send('TOPIC_UNSUB', topic)
    }
  }

  #send(type: 'TOPIC_SUB' | 'TOPIC_UNSUB', topic: string): void {
    this.#kernel.send({ type, payload: { topic } })
  }
}

const hubs = new WeakMap<Kernel, TopicHub>()

/** The hub of a client: topics and rooms share it. */
export function topicHub(kernel: Kernel): TopicHub {
  let hub = hubs.get(kernel)
  if (hub === undefined) {
    hubs.set(kernel, (hub = new TopicHub(kernel)))
    // Rooms may need it in the middle of a session.
    if (kernel.isOnline) hub.online()
  }
  return hub
}

/** A topic, as the application holds it. */
export class TopicHandle implements Topic<unknown, unknown> {
  readonly #kernel: Kernel
  readonly #hub: TopicHub
  readonly #name: string
  readonly #schema: StandardSchema

  constructor(kernel: Kernel, name: string, schema: StandardSchema) {
    this.#kernel = kernel
    this.#hub = topicHub(kernel)
    this.#name = name
    this.#schema = schema
  }

  publish(value: unknown): void {
    if (this.#kernel.turn.isClosed) throw clientClosed()
    validate(this.#schema, value)
    // What the schema makes of it, it makes of it where it arrives.
    this.#hub.publish(this.#name, toValue(value))
  }

  subscribe(
    next: (message: TopicMessage<unknown>) => void,
    options?: { readonly signal?: AbortSignal; readonly onMissed?: (count: number) => void },
  ): Unsubscribe {
    const { signal, onMissed } = { ...options }
    check(next)
    checkSignal(signal)
    if (onMissed !== undefined) check(onMissed)
    const { turn } = this.#kernel
    const stop = unsubscriber(() => {
      signal?.removeEventListener('abort', stop)
      stopListening()
    })
    let stopListening = (): void => {}
    if (signal?.aborted === true || turn.isClosed) return stop
    signal?.addEventListener('abort', stop)
    let missed = 0
    stopListening = this.#hub.listen(this.#name, {
      next: (message) => {
        const data = this.#read(message.data)
        if (data === undefined) return
        const told = { ...message, data: data.value, missed }
        missed = 0
        turn.guard(() => next(told))
      },
      missed: (count) => {
        missed += count
        if (onMissed !== undefined) turn.guard(() => onMissed(count))
      },
    })
    return stop
  }

  stream(options?: { readonly signal?: AbortSignal; readonly buffer?: number }) {
    const { signal, buffer = DEFAULT_BUFFER } = { ...options }
    checkSignal(signal)
    if (!(Number.isSafeInteger(buffer) && buffer > 0)) refuse('VALIDATION_ERROR', 'buffer is a whole number above 0.')
    const { turn } = this.#kernel
    const waiting: TopicMessage<unknown>[] = []
    /** Those who ask for more than there is, in order. */
    const asking: ((result: IteratorResult<TopicMessage<unknown>>) => void)[] = []
    let missed = 0
    let isOver = signal?.aborted === true || turn.isClosed
    const tell = (message: TopicMessage<unknown>): void => {
      const told = { ...message, missed: message.missed + missed }
      missed = 0
      const ask = asking.shift()
      if (ask !== undefined) return ask({ done: false, value: told })
      waiting.push(told)
      if (waiting.length > buffer) passOver(waiting)
    }
    const stopSubscription = this.subscribe(tell)
    const end = (): void => {
      isOver = true
      stopSubscription()
      stopClose()
      signal?.removeEventListener('abort', end)
      for (const ask of asking.splice(0)) ask({ done: true, value: undefined })
    }
    const stopClose = turn.onClose(end)
    signal?.addEventListener('abort', end)
    return {
      next: () => {
        const message = waiting.shift()
        if (message !== undefined) return Promise.resolve({ done: false as const, value: message })
        if (isOver) return Promise.resolve({ done: true as const, value: undefined })
        return new Promise<IteratorResult<TopicMessage<unknown>>>((resolve) => asking.push(resolve))
      },
      return: (value?: unknown) => {
        waiting.length = 0
        end()
        return Promise.resolve({ done: true as const, value })
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  /** What the schema makes of what arrived; undefined for what does not fit it. */
  #read(data: unknown): { readonly value: unknown } | undefined {
    try {
      return { value: validate(this.#schema, data) }
    } catch (error) {
      const { code, message, details } = asSynclineError(error)
      this.#kernel.report(new SynclineError(code, `On topic '${this.#name}': ${message}`, { details, cause: error }))
      return undefined
    }
  }
}

/** Leaves out the oldest message, and counts it and what it had counted in the next. */
function passOver(waiting: TopicMessage<unknown>[]): void {
  const [oldest, next] = waiting as [TopicMessage<unknown>, TopicMessage<unknown>]
  waiting.splice(0, 2, { ...next, missed: next.missed + oldest.missed + 1 })
}
