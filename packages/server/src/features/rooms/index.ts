import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { refusal, rightsIn, roomHandlers, userOf } from './handlers.ts'
import { RoomSender } from './sender.ts'
import { RoomService } from './service.ts'

/** Who is where, and what each shows of itself: ROOM_JOIN, ROOM_UPDATE, ROOM_LEAVE. */
export const rooms = defineFeature({
  name: 'rooms',
  options: z.object({
    maxMembers: z.int().positive().default(1_000).describe('Members of one room.'),
    graceMs: z
      .int()
      .nonnegative()
      .default(1_000)
      .describe('Milliseconds that a member whose connection was closed has to come back before others see it leave.'),
    awayAfterMs: z
      .int()
      .positive()
      .default(15_000)
      .describe('Milliseconds without a sign of life of its connection after which a member is away.'),
    updateIntervalMs: z
      .int()
      .nonnegative()
      .default(30)
      .describe('Least time between two messages that tell of changes in one room, in milliseconds.'),
  }),
  start(kernel, { maxMembers, ...times }) {
    const { env, metrics } = kernel
    const sender = new RoomSender()
    const service = new RoomService(env, sender, times)
    metrics.gauge('syncline_rooms', 'Rooms with somebody in them.', () => service.inspect().rooms)
    metrics.gauge('syncline_room_members', 'Members of all rooms.', () => service.inspect().members)
    kernel.onSessionClosed((session) => service.disconnect(session))
    kernel.onSessionChanged((session) => {
      const rightsOf = (room: string): ReturnType<typeof rightsIn> => rightsIn(kernel, session, room)
      for (const room of service.withdraw(session, userOf(session), rightsOf)) {
        sender.ended(session, room)
        session.refuse(refusal(room, 'READ'), 'ROOM_JOIN')
      }
    })
    return { handlers: roomHandlers(kernel, service, maxMembers), inspect: () => ({ ...service.inspect() }) }
  },
})
