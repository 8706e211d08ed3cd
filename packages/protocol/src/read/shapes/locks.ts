import type { Shapes } from '../server-message.ts'

/** The messages by which a server answers who asks for locks. */
export const lockShapes: Shapes = {
  flat: {},
  payload: {
    LOCK_GRANTED: 'requestId:s name:s fencingToken:n ttl:n',
    LOCK_RELEASED: 'requestId:s? name:s success:b error:s? errorCode:s? code:n? details:m?',
  },
}
