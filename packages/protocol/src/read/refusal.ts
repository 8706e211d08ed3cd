import type { ErrorCode, WireError } from '../errors.ts'
import { LIMITS } from '../limits.ts'

/** A limit that a refusal names. */
export type LimitName = keyof typeof LIMITS

/** Thrown by the readers of rare messages and caught where reading began. */
export class Refusal extends Error {
  readonly error: WireError
  constructor(error: WireError) {
    super(error.message)
    this.error = error
  }
}

/** The refusal of one member: `details.path` names it, and the sentence says what it must be. */
export function fieldError(errorCode: ErrorCode, path: string, must: string, limit?: LimitName): WireError {
  const details = limit === undefined ? { path } : { path, limit, max: LIMITS[limit] }
  return { errorCode, message: `${path} ${must}.`, details }
}

/** Stops reading a message because of one member. */
export function refuse(errorCode: ErrorCode, path: string, must: string, limit?: LimitName): never {
  throw new Refusal(fieldError(errorCode, path, must, limit))
}
