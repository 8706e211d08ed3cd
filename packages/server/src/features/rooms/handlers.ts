import { LIMITS, wireError, type WireError } from '@syncline/protocol'
import type { Handlers, Kernel, Reply } from '../../feature.ts'
import type { Principal } from '../../inbound/authorize.ts'
import type { Session } from '../../sessions/session.ts'
import type { RoomRights, RoomService } from './service.ts'

/** ROOM_JOIN, ROOM_UPDATE and ROOM_LEAVE. */
export function roomHandlers(kernel: Kernel, service: RoomService, maxMembers: number): Handlers {
  const { limits } = kernel

  const full = (session: Session, room: string, resume: string | undefined, rights: RoomRights): Reply => {
    const about = (error: WireError): Reply => ({ refuse: { ...error, details: { ...error.details, room } } })
    if (!service.isIn(session, room) && service.count(session) >= LIMITS.roomsPerConnection) {
      return about(limits.refusal('roomsPerConnection', LIMITS.roomsPerConnection))
    }
    const isNew = rights.isSeen && !service.isMember(session, userOf(session), room, resume)
    return isNew && service.sizeOf(room).members >= maxMembers
      ? about(limits.refusal('rooms.maxMembers', maxMembers))
      : undefined
  }

  return {
    ROOM_JOIN: {
      cost: (_, { payload: { room } }) => service.sizeOf(room).members + service.sizeOf(room).viewers,
      handle: (session, { payload: { room, presence, resume }, requestId }) => {
        const rights = rightsIn(kernel, session, room)
        if (rights.view === undefined && !rights.isSeen) return { refuse: refusal(room, 'READ') }
        const refused = full(session, room, resume, rights)
        if (refused !== undefined) return refused
        service.join(session, userOf(session), room, { presence, resume, requestId, rights })
        return undefined
      },
    },
    ROOM_UPDATE: {
      cost: (_, { payload: { room } }) => service.sizeOf(room).viewers,
      handle: (session, { payload: { room, presence } }) => {
        if (!service.isIn(session, room)) return { refuse: notIn(room) }
        return service.update(session, room, presence) ? undefined : { refuse: refusal(room, 'PUT') }
      },
    },
    ROOM_LEAVE: {
      handle: (session, { payload: { room } }) => (service.leave(session, room) ? undefined : { refuse: notIn(room) }),
    },
  }
}

/** What a session may do in a room. Policies that name fields give nothing: what members show is shown as a whole. */
export function rightsIn({ authorizer }: Kernel, session: Session, room: string): RoomRights {
  const { view, write } = session.rights(authorizer, `room:${room}`)
  return {
    view: view?.fields === undefined ? view : undefined,
    isSeen: write !== undefined && write.canPut && write.fields === undefined,
  }
}

/** Who speaks on a session. */
export function userOf(session: Session): string {
  return (session.principal as Principal).userId
}

/** Why something cannot be done in a room. */
export function refusal(room: string, action: 'READ' | 'PUT'): WireError {
  const text = `No policy allows ${action} on all of 'room:${room}' for the signed-in user.`
  return wireError('FORBIDDEN', text, { room, action })
}

function notIn(room: string): WireError {
  return wireError('NOT_FOUND', 'The connection is not in this room; send ROOM_JOIN first.', { room })
}
