import type { Value } from '@syncline/core'
import { LIMITS } from '../limits.ts'
import type { ReceivedClientMessage } from '../message.ts'
import { readValue, type Fields } from './fields.ts'
import { refuse } from './refusal.ts'

/** What names of topics and rooms are made of. */
const PLAIN = /^[A-Za-z0-9_\-.:/]+$/

/** Says whether a text is made of what names of topics and rooms are made of, and of 1 to `maxLength` of it. */
export function isPlainName(name: string, maxLength: number): boolean {
  return name.length <= maxLength && PLAIN.test(name)
}

/** Says whether a text can be the name of a topic (SPEC [TO1]). */
export function isTopicName(name: string): boolean {
  return isPlainName(name, LIMITS.topicLength)
}

/** A member that is a name of such characters. */
export function readPlainName(fields: Fields, name: string, maxLength: number): string {
  const value = fields[name]
  if (typeof value !== 'string') refuse('VALIDATION_ERROR', name, 'must be a text')
  if (!isPlainName(value, maxLength)) {
    refuse('BAD_KEY', name, `must have 1 to ${maxLength} characters out of A-Z, a-z, 0-9 and _ - . : /`)
  }
  return value
}

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
  return readPlainName(fields, 'topic', LIMITS.topicLength)
}
