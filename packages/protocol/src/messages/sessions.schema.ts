import * as z from 'zod'
import { anyMap, count, errorCode, flat, wrapped } from './common.schema.ts'
import type { Auth, AuthAck, AuthFail, AuthRequired, ErrorMessage, Ping, Pong, ShutdownPending } from './sessions.ts'

/** The schema of AUTH_REQUIRED. */
export const authRequiredSchema: z.ZodType<AuthRequired> = flat('AUTH_REQUIRED', {
  serverTime: z.number(),
  protocolVersion: count,
  optional: z.boolean().exactOptional(),
})

/** The schema of AUTH. */
export const authSchema: z.ZodType<Auth> = flat('AUTH', {
  token: z.string(),
  protocolVersion: count.exactOptional(),
})

/** The schema of AUTH_ACK. */
export const authAckSchema: z.ZodType<AuthAck> = flat('AUTH_ACK', {
  protocolVersion: count,
  userId: z.string(),
  serverTime: z.number(),
  databaseId: z.string(),
})

/** The schema of AUTH_FAIL. */
export const authFailSchema: z.ZodType<AuthFail> = flat('AUTH_FAIL', { error: z.string(), code: z.int(), errorCode })

/** The schema of PING. */
export const pingSchema: z.ZodType<Ping> = flat('PING', { timestamp: z.number() })

/** The schema of PONG. */
export const pongSchema: z.ZodType<Pong> = flat('PONG', { timestamp: z.number(), serverTime: z.number() })

/** The schema of SHUTDOWN_PENDING. */
export const shutdownPendingSchema: z.ZodType<ShutdownPending> = flat('SHUTDOWN_PENDING', { retryAfter: z.number() })

/** The schema of ERROR. */
export const errorSchema: z.ZodType<ErrorMessage> = wrapped(
  'ERROR',
  z.object({
    code: z.int(),
    errorCode,
    message: z.string(),
    details: anyMap.exactOptional(),
    about: z.string().exactOptional(),
  }),
)
