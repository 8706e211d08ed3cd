import * as z from 'zod'
import { LIMITS } from '../limits.ts'
import { anyMap, errorCode, id, name, named, wrapped } from './common.schema.ts'
import type { LockGranted, LockRelease, LockReleased, LockRequest } from './locks.ts'
import type { Fence } from './maps.ts'

const lockName = name(LIMITS.lockNameBytes)

const fencingToken = z.int().positive()

/** The schema of a fence. */
export const fenceSchema: z.ZodType<Fence> = named('fence', z.object({ name: lockName, token: fencingToken }))

/** The schema of LOCK_REQUEST. A `ttl` that is not above 0 is refused by LOCK_RELEASED and not by ERROR. */
export const lockRequestSchema: z.ZodType<LockRequest> = wrapped(
  'LOCK_REQUEST',
  z.object({
    requestId: id,
    name: lockName,
    ttl: z.number().exactOptional(),
    waitMs: z.number().min(0).exactOptional(),
    fencingToken: fencingToken.exactOptional(),
  }),
)

/** The schema of LOCK_GRANTED. */
export const lockGrantedSchema: z.ZodType<LockGranted> = wrapped(
  'LOCK_GRANTED',
  z.object({ requestId: id, name: lockName, fencingToken, ttl: z.number().positive() }),
)

/** The schema of LOCK_RELEASE. */
export const lockReleaseSchema: z.ZodType<LockRelease> = wrapped(
  'LOCK_RELEASE',
  z
    .object({ requestId: id.exactOptional(), name: lockName, fencingToken: fencingToken.exactOptional() })
    .refine(({ requestId, fencingToken: token }) => requestId !== undefined || token !== undefined),
)

/** The schema of LOCK_RELEASED. */
export const lockReleasedSchema: z.ZodType<LockReleased> = wrapped(
  'LOCK_RELEASED',
  z.object({
    requestId: id.exactOptional(),
    name: lockName,
    success: z.boolean(),
    error: z.string().exactOptional(),
    errorCode: errorCode.exactOptional(),
    code: z.int().exactOptional(),
    details: anyMap.exactOptional(),
  }),
)
