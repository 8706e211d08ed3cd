import type { Value } from '@syncline/core'
import { LIMITS } from '../limits.ts'
import type { ReceivedClientMessage } from '../message.ts'
import { TOPIC_NAME } from '../messages/topics.ts'
import { readValue, type Fields } from './fields.ts'
import { refuse } from './refusal.ts'

/** Reads TOPIC_SUB. */
export function readTopicSub(fields: Fields): ReceivedClientMessage {
  return { type: 'TOPIC_SUB', payload: { topic: readTopic(fields) } }
}

/** Reads TOPIC_UNSUB. */
export function readTopicUnsub(fields: Fields): ReceivedClientMessage {
  return { type: 'TOPIC_UNSUB', payload: { topic: readTopic(fields) } }
}

/** Reads TOPIC_PUB. */
export function readTopicPub(fields: Fields): ReceivedClientMessage {
  const topic = readTopic(fields)
  const data: Value = readValue(fields['data'], 'data', 'valueBytes')
  return { type: 'TOPIC_PUB', payload: { topic, data } }
}

function readTopic(fields: Fields): string {
  const note = '; what begins with room: is room:ROOM:NAME, where NAME holds no colon'
  return readPlainName(fields, 'topic', TOPIC_NAME, LIMITS.topicLength, note)
}

/** A member that is the name of a topic or room. */
export function readPlainName(fields: Fields, member: string, pattern: RegExp, maxLength: number, note = ''): string {
  const name = fields[member]
  if (typeof name !== 'string') refuse('VALIDATION_ERROR', member, 'must be a text')
  if (pattern.test(name)) return name
  return refuse('BAD_KEY', member, `must have 1 to ${maxLength} characters out of A-Z, a-z, 0-9 and _ - . : /${note}`)
}
