import type { Shapes } from '../server-message.ts'

/** The messages by which a server tells who is in a room. */
export const roomShapes: Shapes = {
  flat: {},
  payload: {
    ROOM_STATE: 'room:s members:[id:s,userId:s,presence:m,state:s] left:S? full:b? more:b? self:m?',
  },
}
