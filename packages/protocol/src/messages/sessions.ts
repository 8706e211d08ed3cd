import type { ErrorCode } from '../errors.ts'

/** S→C. The first frame on every connection, as JSON text. */
export interface AuthRequired {
  readonly type: 'AUTH_REQUIRED'
  readonly serverTime: number
  readonly protocolVersion: number
  /** The server runs with `auth: 'none'`: everything works without AUTH. */
  readonly optional?: boolean
}

/** C→S. Says who speaks, by a token. */
export interface Auth {
  readonly type: 'AUTH'
  readonly token: string
  readonly protocolVersion?: number
}

/** S→C. `serverTime` lets the client correct its clock. */
export interface AuthAck {
  readonly type: 'AUTH_ACK'
  readonly protocolVersion: number
  readonly userId: string
  readonly serverTime: number
  /** Names the database behind the server, so that a client can tell another one. */
  readonly databaseId: string
}

/** S→C. The connection is closed with 4001 after it. */
export interface AuthFail {
  readonly type: 'AUTH_FAIL'
  readonly error: string
  readonly code: number
  readonly errorCode: ErrorCode
}

/** C→S. Answered before authentication too. */
export interface Ping {
  readonly type: 'PING'
  readonly timestamp: number
}

/** S→C. `timestamp` is the ping's, `serverTime` the server's wall clock. */
export interface Pong {
  readonly type: 'PONG'
  readonly timestamp: number
  readonly serverTime: number
}

/** S→C. The server stops; reconnect after `retryAfter` milliseconds. */
export interface ShutdownPending {
  readonly type: 'SHUTDOWN_PENDING'
  readonly retryAfter: number
}

/** S→C. A message was refused and no reply of its own says so. */
export interface ErrorMessage {
  readonly type: 'ERROR'
  readonly payload: {
    readonly code: number
    readonly errorCode: ErrorCode
    readonly message: string
    readonly details?: Readonly<Record<string, unknown>>
    /** The type of the message that was refused, where it could be read. */
    readonly about?: string
  }
  readonly requestId?: string
}
