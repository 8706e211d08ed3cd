import type { MessageCases } from './cases.ts'

/** Messages of the feature sessions. */
export const sessions: MessageCases = {
  messages: [
    ['SE1', { type: 'AUTH', token: 'eyJhbGciOi', protocolVersion: 1 }],
    ['SE2', { type: 'PING', timestamp: 1_706_000_000_000 }],
    ['SE3', { type: 'AUTH_REQUIRED', serverTime: 1_706_000_000_000, protocolVersion: 1, optional: true }],
    ['SE4', { type: 'AUTH_ACK', protocolVersion: 1, userId: 'ada', serverTime: 1_706_000_000_000, databaseId: 'db-1' }],
    ['SE4', { type: 'AUTH_FAIL', error: 'The token has expired.', code: 401, errorCode: 'UNAUTHORIZED' }],
    ['SE2', { type: 'PONG', timestamp: 1_706_000_000_000, serverTime: 1_706_000_000_007 }],
    ['SE5', { type: 'SHUTDOWN_PENDING', retryAfter: 5_000 }],
    [
      'ER3',
      {
        type: 'ERROR',
        payload: {
          code: 400,
          errorCode: 'UNKNOWN_OPERATION',
          message: 'No message has this type.',
          about: 'NOPE',
          details: { path: 'type' },
        },
        requestId: 'r3',
      },
    ],
  ],
  refused: [
    ['AUTH without its token', 'SE1', { type: 'AUTH' }],
    ['AUTH with a token that is a number', 'SE1', { type: 'AUTH', token: 5 }],
    ['AUTH of a version that is negative', 'SE1', { type: 'AUTH', token: 't', protocolVersion: -1 }],
    ['AUTH of a version with a fraction', 'SE1', { type: 'AUTH', token: 't', protocolVersion: 1.5 }],
    ['PING without its timestamp', 'SE2', { type: 'PING' }],
    ['PING with a timestamp that is a text', 'SE2', { type: 'PING', timestamp: '1' }],
  ],
}
