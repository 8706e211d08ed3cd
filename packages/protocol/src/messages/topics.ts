import type { Value } from '@syncline/core'

/** C→S. Subscribes to a topic. */
export interface TopicSub {
  readonly type: 'TOPIC_SUB'
  readonly payload: { readonly topic: string }
}

/** C→S. Ends a subscription. */
export interface TopicUnsub {
  readonly type: 'TOPIC_UNSUB'
  readonly payload: { readonly topic: string }
}

/** C→S. Publishes to whoever is subscribed at this moment, except on this connection. */
export interface TopicPub {
  readonly type: 'TOPIC_PUB'
  readonly payload: { readonly topic: string; readonly data: Value }
}

/** S→C. `publisherId` names the connection that published, `timestamp` is the server's time in milliseconds. */
export interface TopicMessage {
  readonly type: 'TOPIC_MESSAGE'
  readonly payload: {
    readonly topic: string
    readonly data: Value
    readonly publisherId?: string
    readonly timestamp: number
  }
}

/** S→C. So many messages of the topic were dropped at this place, because the client read too slowly. */
export interface TopicDropped {
  readonly type: 'TOPIC_DROPPED'
  readonly payload: { readonly topic: string; readonly dropped: number }
}
