/** One row of the error table: what a code means on every way out (wire, HTTP, client). */
export interface ErrorInfo {
  /** Numeric code, on the wire and as the HTTP status. Existing clients read this one. */
  readonly status: number
  /** The same request may succeed later without being changed. */
  readonly retryable: boolean
  /** One sentence: the cause, and what to do about it. */
  readonly help: string
}

/** The one error table. The symbolic names are the contract; texts may improve. */
export const ERRORS = {
  PARSE_ERROR: row(
    400,
    false,
    'The frame could not be decoded; send one JSON text or one MessagePack value per frame.',
  ),
  INVALID_REQUEST: row(400, false, 'The message lacks a usable type or id; see the shape of this message in SPEC.md.'),
  VALIDATION_ERROR: row(400, false, 'A field of the message has the wrong type or range; the details name it.'),
  UNKNOWN_OPERATION: row(
    400,
    false,
    'The server does not know this message type; check its spelling and the protocol version.',
  ),
  UNSUPPORTED_VERSION: row(400, false, 'The server does not speak this protocol version; update the older side.'),
  BAD_VALUE: row(
    400,
    false,
    'The value holds something that cannot be stored, such as NaN, a big integer, U+0000 or half a surrogate pair.',
  ),
  BAD_KEY: row(
    400,
    false,
    'A key or map name is empty, or a name is too long, not well-formed, comes twice or is one of the reserved ones.',
  ),
  TOO_LARGE: row(413, false, 'A value, batch or frame is over its limit; the details name the limit.'),
  TOO_DEEP: row(400, false, 'The value nests deeper than the limit; flatten it.'),
  BAD_QUERY: row(400, false, 'The query holds an unknown operator or an operand that does not fit it.'),
  INVALID_CURSOR: row(400, false, 'The cursor was not issued for this map or query; start again without a cursor.'),
  UNAUTHORIZED: row(401, false, 'The token is missing, malformed, expired or signed with another key; sign in again.'),
  FORBIDDEN: row(403, false, 'No policy allows this action for the signed-in user; grant one in securityPolicies.'),
  NOT_FOUND: row(404, false, 'There is nothing under this name to act on; create it first.'),
  TIMEOUT: row(408, true, 'The level asked for was not reached in time; the write stands, ask again or wait longer.'),
  ALREADY_EXISTS: row(409, false, 'The key or a unique field is already taken; use another one.'),
  CONFLICT: row(409, false, 'The record changed since it was read; read it again and decide anew.'),
  STALE: row(
    409,
    false,
    'The write is older than deletions that were already forgotten; write it again with a fresh stamp.',
  ),
  CLOCK_SKEW: row(
    409,
    true,
    'The stamp lies too far in the future; correct the clock by serverTime, re-stamp and retry.',
  ),
  STALE_TOKEN: row(409, false, 'A newer fencing token has been used for this lock; take the lock again.'),
  WRONG_MAP_KIND: row(409, false, 'The map holds another kind of data; use the operations of that kind.'),
  RATE_LIMITED: row(429, true, 'Too many requests in this window; wait retryAfterMs and go on slower.'),
  BACKPRESSURE: row(429, true, 'The queue of this connection is full; wait for it to drain.'),
  LIMIT_EXCEEDED: row(429, false, 'A bound per connection is reached; release something of this kind first.'),
  INTERNAL_ERROR: row(500, true, 'The server failed in a way it did not foresee; its log has the cause.'),
  WRITE_CONCERN_UNAVAILABLE: row(
    501,
    false,
    'This deployment cannot give the write level asked for; ask for a lower one or add durable storage.',
  ),
  OVERLOADED: row(
    503,
    true,
    'The server is at capacity and refused the request before doing anything; retry after retryAfterMs.',
  ),
  STORAGE_FULL: row(507, true, 'The disk under the database is full; writes are refused until space is freed.'),
  STORAGE_UNAVAILABLE: row(503, true, 'The database cannot be written; writes are refused until it can.'),
  SHUTTING_DOWN: row(503, true, 'The server is stopping; reconnect after retryAfterMs.'),
  BUCKET_NOT_DEFINED: row(404, false, 'No collection has this name; declare it in the configuration.'),
  QUERY_NOT_DEFINED: row(404, false, 'No query has this name; declare it in the configuration.'),
  NOT_ENABLED: row(
    501,
    false,
    'This was not switched on for the server or the map; the message names the option that does.',
  ),
  RULES_NOT_AVAILABLE: row(501, false, 'This server runs no rule engine; add the rules feature.'),
} as const satisfies Record<string, ErrorInfo>

/** A symbolic error code of the table. */
export type ErrorCode = keyof typeof ERRORS

/** A refusal on its way to whoever caused it. */
export interface WireError {
  readonly errorCode: ErrorCode
  readonly message: string
  readonly details?: Readonly<Record<string, unknown>>
}

/** The refusal for a code, with the table's sentence or a more exact one. */
export function wireError(
  errorCode: ErrorCode,
  message?: string,
  details?: Readonly<Record<string, unknown>>,
): WireError {
  const text = message ?? ERRORS[errorCode].help
  return details === undefined ? { errorCode, message: text } : { errorCode, message: text, details }
}

/** Reasons for which a server closes a WebSocket, beyond those of RFC 6455. */
export const CLOSE_CODES = {
  GOING_AWAY: 1001,
  PROTOCOL_ERROR: 1002,
  MESSAGE_TOO_BIG: 1009,
  INTERNAL_ERROR: 1011,
  TRY_AGAIN_LATER: 1013,
  UNAUTHORIZED: 4001,
  HEARTBEAT_TIMEOUT: 4002,
  SLOW_CONSUMER: 4008,
} as const

/* @__NO_SIDE_EFFECTS__ */
function row(status: number, retryable: boolean, help: string): ErrorInfo {
  return { status, retryable, help }
}
