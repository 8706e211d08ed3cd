import type { ErrorCode } from '../errors.ts'

/** S→C. The first frame on every connection, as JSON text. */
export interface AuthRequired {
  readonly type: 'AUTH_REQUIRED'
  /** The server's wall clock, in milliseconds since 1970. */
  readonly serverTime: number
  /** The newest version that the server speaks. */
  readonly protocolVersion: number
  /** The server runs with `auth: 'none'`: everything works without AUTH. */
  readonly optional?: boolean
}

/** C→S. Says who speaks, by a token. */
export interface Auth {
  readonly type: 'AUTH'
  /** A JSON Web Token ([SE8]). */
  readonly token: string
  /** The version that the client speaks. Without it that of the server. */
  readonly protocolVersion?: number
}

/** S→C. `serverTime` lets the client correct its clock. */
export interface AuthAck {
  readonly type: 'AUTH_ACK'
  /** The version of this session. */
  readonly protocolVersion: number
  /** Who the session speaks for: the `sub` of the token. */
  readonly userId: string
  /** The server's wall clock, in milliseconds since 1970. */
  readonly serverTime: number
  /** Names the database behind the server, so that a client can tell another one. */
  readonly databaseId: string
}

/** S→C. The connection is closed with 4001 after it. */
export interface AuthFail {
  readonly type: 'AUTH_FAIL'
  /** Why, in one sentence. */
  readonly error: string
  /** Numeric code of the error. */
  readonly code: number
  /** Symbolic code of the error. */
  readonly errorCode: ErrorCode
}

/** C→S. Answered before authentication too. */
export interface Ping {
  readonly type: 'PING'
  /** Any number, which the answer repeats: the time of the client. */
  readonly timestamp: number
}

/** S→C. `timestamp` is the ping's, `serverTime` the server's wall clock. */
export interface Pong {
  readonly type: 'PONG'
  /** The `timestamp` of the PING. */
  readonly timestamp: number
  /** The server's wall clock, in milliseconds since 1970. */
  readonly serverTime: number
}

/** S→C. The server stops; reconnect after `retryAfter` milliseconds. */
export interface ShutdownPending {
  readonly type: 'SHUTDOWN_PENDING'
  /** Milliseconds after which to come back, at the earliest. */
  readonly retryAfter: number
}

/** S→C. A message was refused and no reply of its own says so. */
export interface ErrorMessage {
  readonly type: 'ERROR'
  readonly payload: {
    /** Numeric code of the error. */
    readonly code: number
    /** Symbolic code of the error. */
    readonly errorCode: ErrorCode
    /** Cause and remedy, in one sentence. */
    readonly message: string
    /** What the refusal is about, such as `path`, `limit` and `max`, or `retryAfterMs`. */
    readonly details?: Readonly<Record<string, unknown>>
    /** The type of the message that was refused, where it could be read. */
    readonly about?: string
  }
  readonly requestId?: string
}
