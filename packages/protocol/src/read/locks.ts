import { LIMITS } from '../limits.ts'
import type { LockRelease, LockRequest } from '../messages/locks.ts'
import { isCount, isFiniteNumber, mustBeId, readId, readName, type Fields } from './fields.ts'
import { refuse } from './refusal.ts'

/** Reads a LOCK_REQUEST. Its id may also be the one of the message as a whole. */
export function readLockRequest(fields: Fields, messageId: string | undefined): LockRequest {
  const { ttl, waitMs, fencingToken } = fields
  const requestId =
    fields['requestId'] === undefined && messageId !== undefined ? messageId : readId(fields, 'requestId')
  // Null is what JSON makes of NaN: no time is refused as any other that is not above 0.
  const time = ttl === null || Number.isNaN(ttl) ? 0 : ttl
  if (time !== undefined && !isFiniteNumber(time)) refuse('VALIDATION_ERROR', 'ttl', 'must be a number of milliseconds')
  if (waitMs !== undefined && (!isFiniteNumber(waitMs) || waitMs < 0)) {
    refuse('VALIDATION_ERROR', 'waitMs', 'must be a number of milliseconds that is not negative')
  }
  return {
    type: 'LOCK_REQUEST',
    payload: {
      requestId,
      name: readLockName(fields),
      ...(time === undefined ? {} : { ttl: time }),
      ...(waitMs === undefined ? {} : { waitMs }),
      ...(fencingToken === undefined ? {} : { fencingToken: readToken(fencingToken) }),
    },
  }
}

/** Reads a LOCK_RELEASE, which names a token or a request. */
export function readLockRelease(fields: Fields, messageId: string | undefined): LockRelease {
  const { fencingToken } = fields
  const requestId = fields['requestId'] === undefined ? messageId : readId(fields, 'requestId')
  if (requestId === undefined && fencingToken === undefined) refuse('VALIDATION_ERROR', 'requestId', mustBeId())
  return {
    type: 'LOCK_RELEASE',
    payload: {
      ...(requestId === undefined ? {} : { requestId }),
      name: readLockName(fields),
      ...(fencingToken === undefined ? {} : { fencingToken: readToken(fencingToken) }),
    },
  }
}

/** Says whether something can be a fencing token. */
export function isToken(value: unknown): value is number {
  return isCount(value) && value > 0
}

/** What a fencing token must be. */
export function mustBeToken(): string {
  return 'must be a whole number above 0'
}

function readLockName(fields: Fields): string {
  return readName(fields['name'], 'name', LIMITS.lockNameBytes)
}

function readToken(value: unknown): number {
  return isToken(value) ? value : refuse('VALIDATION_ERROR', 'fencingToken', mustBeToken())
}
