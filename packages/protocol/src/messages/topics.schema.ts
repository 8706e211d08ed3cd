import * as z from 'zod'
import { count, value, wrapped } from './common.schema.ts'
import {
  TOPIC_NAME,
  type TopicDropped,
  type TopicMessage,
  type TopicPub,
  type TopicSub,
  type TopicUnsub,
} from './topics.ts'

const topic = z.string().regex(TOPIC_NAME)

/** The schema of TOPIC_SUB. */
export const topicSubSchema: z.ZodType<TopicSub> = wrapped('TOPIC_SUB', z.object({ topic }))

/** The schema of TOPIC_UNSUB. */
export const topicUnsubSchema: z.ZodType<TopicUnsub> = wrapped('TOPIC_UNSUB', z.object({ topic }))

/** The schema of TOPIC_PUB. */
export const topicPubSchema: z.ZodType<TopicPub> = wrapped('TOPIC_PUB', z.object({ topic, data: value }))

/** The schema of TOPIC_MESSAGE. */
export const topicMessageSchema: z.ZodType<TopicMessage> = wrapped(
  'TOPIC_MESSAGE',
  z.object({ topic, data: value, publisherId: z.string().exactOptional(), timestamp: z.number() }),
)

/** The schema of TOPIC_DROPPED. */
export const topicDroppedSchema: z.ZodType<TopicDropped> = wrapped(
  'TOPIC_DROPPED',
  z.object({ topic, dropped: count.min(1) }),
)
