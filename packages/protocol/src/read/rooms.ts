import { isMap, type ValueMap } from '@syncline/core'
import { LIMITS } from '../limits.ts'
import type { ReceivedClientMessage } from '../message.ts'
import { ROOM_NAME } from '../messages/rooms.ts'
import { readValue, type Fields } from './fields.ts'
import { refuse } from './refusal.ts'
import { readPlainName } from './topics.ts'

/** Reads ROOM_JOIN. */
export function readRoomJoin(fields: Fields): ReceivedClientMessage {
  const room = readRoom(fields)
  const presence = readPresence(fields)
  const { resume } = fields
  if (resume === undefined) return { type: 'ROOM_JOIN', payload: { room, presence } }
  if (typeof resume !== 'string' || resume === '' || resume.length > LIMITS.resumeLength) {
    refuse('VALIDATION_ERROR', 'resume', `must be a text of 1 to ${LIMITS.resumeLength} characters`)
  }
  return { type: 'ROOM_JOIN', payload: { room, presence, resume } }
}

/** Reads ROOM_UPDATE. */
export function readRoomUpdate(fields: Fields): ReceivedClientMessage {
  return { type: 'ROOM_UPDATE', payload: { room: readRoom(fields), presence: readPresence(fields) } }
}

/** Reads ROOM_LEAVE. */
export function readRoomLeave(fields: Fields): ReceivedClientMessage {
  return { type: 'ROOM_LEAVE', payload: { room: readRoom(fields) } }
}

function readRoom(fields: Fields): string {
  return readPlainName(fields, 'room', ROOM_NAME, LIMITS.roomLength)
}

function readPresence(fields: Fields): ValueMap {
  const presence = readValue(fields['presence'], 'presence', 'presenceBytes')
  return isMap(presence) ? presence : refuse('VALIDATION_ERROR', 'presence', 'must be a map')
}
