import type { Value } from '@syncline/core'

/** The name of a topic (SPEC [TO1]). One that begins with `room:` is that of a topic of a room (SPEC [TO4]). */
export const TOPIC_NAME = /^(?!room:(?!.+:[^:]+$))[A-Za-z0-9_\-.:/]{1,256}$/

/** C→S. Subscribes to a topic. */
export interface TopicSub {
  readonly type: 'TOPIC_SUB'
  readonly payload: {
    /** The topic's name. */
    readonly topic: string
  }
}

/** C→S. Ends a subscription. */
export interface TopicUnsub {
  readonly type: 'TOPIC_UNSUB'
  readonly payload: {
    /** The topic's name. */
    readonly topic: string
  }
}

/** C→S. Publishes to whoever is subscribed at this moment, except on this connection. */
export interface TopicPub {
  readonly type: 'TOPIC_PUB'
  readonly payload: {
    /** The topic's name. */
    readonly topic: string
    /** What is published. */
    readonly data: Value
  }
}

/** S→C. What somebody else has published to a topic of this connection. */
export interface TopicMessage {
  readonly type: 'TOPIC_MESSAGE'
  readonly payload: {
    /** The topic's name. */
    readonly topic: string
    /** What was published. */
    readonly data: Value
    /** Names the connection that published, the same for all its messages. */
    readonly publisherId?: string
    /** When the server took it in, in milliseconds since 1970. */
    readonly timestamp: number
  }
}

/** S→C. So many messages of the topic were dropped at this place, because the client read too slowly. */
export interface TopicDropped {
  readonly type: 'TOPIC_DROPPED'
  readonly payload: {
    /** The topic's name. */
    readonly topic: string
    /** How many messages were dropped. */
    readonly dropped: number
  }
}
