import { isMap, measureValue, type Value, type ValueMap } from '@syncline/core'
import * as z from 'zod'
import { LIMITS } from '../limits.ts'
import { id, jsonForms, wrapped } from './common.schema.ts'
import { ROOM_NAME, type RoomJoin, type RoomLeave, type RoomMember, type RoomState, type RoomUpdate } from './rooms.ts'

const room = z.string().regex(ROOM_NAME)

const presence: z.ZodType<ValueMap> = z.custom<ValueMap>((input) => {
  const size = measureValue(input)
  return typeof size === 'number' && size <= LIMITS.presenceBytes && isMap(input as Value)
})
jsonForms.add(presence, { type: 'object' })

const member: z.ZodType<RoomMember> = z.object({
  id,
  userId: z.string(),
  presence,
  state: z.enum(['active', 'away']),
})

/** The schema of ROOM_JOIN. */
export const roomJoinSchema: z.ZodType<RoomJoin> = wrapped(
  'ROOM_JOIN',
  z.object({ room, presence, resume: z.string().min(1).max(LIMITS.resumeLength).exactOptional() }),
)

/** The schema of ROOM_UPDATE. */
export const roomUpdateSchema: z.ZodType<RoomUpdate> = wrapped('ROOM_UPDATE', z.object({ room, presence }))

/** The schema of ROOM_LEAVE. */
export const roomLeaveSchema: z.ZodType<RoomLeave> = wrapped('ROOM_LEAVE', z.object({ room }))

/** The schema of ROOM_STATE. */
export const roomStateSchema: z.ZodType<RoomState> = wrapped(
  'ROOM_STATE',
  z.object({
    room,
    members: z.array(member),
    left: z.array(id).exactOptional(),
    full: z.boolean().exactOptional(),
    more: z.boolean().exactOptional(),
    self: z.object({ id, resume: z.string() }).exactOptional(),
  }),
)
