import type { AnyTopicDef } from '@syncline/protocol/contract'
import { code } from '../../code.ts'
import type { LateDefinition, StandIn } from '../../late.ts'
import type { Unsubscribe } from '../../readable.ts'
import { members, runs, stops, streams } from '../../stand-in.ts'

/** What somebody published. */
export interface TopicMessage<T> {
  readonly data: T
  /** Who published it: the id of a connection, which in rooms is that of a member. */
  readonly from: string
  /** When the server had it, in milliseconds since 1970. */
  readonly at: number
  /** How many messages this listener has missed just before it, because it or its connection was too slow. */
  readonly missed: number
}

/** A topic: what is published reaches who listens at that time, at most once, and in the order of each publisher. */
export interface Topic<I, T> {
  /**
   * Sends a message to all who listen, other clients only. Without a connection up to 100 messages wait for the next one;
   * a further one takes the place of the oldest, which is told as an `error` event (BACKPRESSURE). None of them outlives the
   * page. What the server refuses is an `error` event. Throws VALIDATION_ERROR, BAD_VALUE, TOO_LARGE or CLOSED.
   */
  publish(value: I): void
  /** Calls back with what is published from now on, after each new connection too. `onMissed` hears what was missed at once. */
  subscribe(
    next: (message: TopicMessage<T>) => void,
    options?: { readonly signal?: AbortSignal; readonly onMissed?: (count: number) => void },
  ): Unsubscribe
  /**
   * What is published from now on, as an iterator. A slow loop has up to `buffer` messages waiting (100); beyond it the
   * oldest are left out and counted as missed. It ends with the signal, with `return`, and when the client is closed.
   */
  stream(options?: { readonly signal?: AbortSignal; readonly buffer?: number }): AsyncIterableIterator<TopicMessage<T>>
}

/** A topic whose code is not here yet. */
export const topicStandIn: StandIn<Topic<unknown, unknown>> = members<Topic<unknown, unknown>>({
  publish: runs,
  subscribe: stops,
  stream: streams,
})

/** The topics of a contract. */
export const topics: LateDefinition<AnyTopicDef, Topic<unknown, unknown>> = {
  code: code(() => import('./state.ts')),
  standIn: () => topicStandIn,
}
