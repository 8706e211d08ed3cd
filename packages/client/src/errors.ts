import type { ErrorCode as WireErrorCode } from '@syncline/protocol/codec'

/** Why something was refused: a code of the protocol's error table, or one that only a client can meet. */
export type ErrorCode = WireErrorCode | 'OFFLINE' | 'STORAGE_QUOTA' | 'CLOSED'

/**
 * The codes under which the same request may succeed later, unchanged. They repeat a column of the protocol's error
 * table (a test compares them), because its sentences would be a tenth of the bundle.
 */
const RETRYABLE: ReadonlySet<string> = new Set(
  (
    'TIMEOUT CLOCK_SKEW RATE_LIMITED BACKPRESSURE INTERNAL_ERROR OVERLOADED STORAGE_FULL STORAGE_UNAVAILABLE ' +
    'SHUTTING_DOWN OFFLINE STORAGE_QUOTA'
  ).split(' '),
)

/** What a `SynclineError` knows beside its code and message. */
export interface ErrorFacts {
  readonly details?: unknown
  readonly requestId?: string | undefined
  readonly cause?: unknown
}

/** Every error that the client throws, rejects with or reports. `code` is the contract; messages may improve. */
export class SynclineError extends Error {
  readonly code: ErrorCode
  /** The same request may succeed later without being changed. */
  readonly retryable: boolean
  readonly requestId: string | undefined
  /** What the server or the validator said beside the message. */
  readonly details: unknown
  /** Where the documentation explains the code. */
  readonly docs: string

  constructor(code: ErrorCode, message?: string, facts: ErrorFacts = {}) {
    super(message ?? code, 'cause' in facts ? { cause: facts.cause } : undefined)
    this.name = 'SynclineError'
    this.code = code
    this.retryable = RETRYABLE.has(code)
    this.requestId = facts.requestId
    this.details = facts.details
    this.docs = '@syncline/client/README.md#errors'
  }
}

/** Nothing is done by a client that is closed. What it has stored is sent when it is opened again. */
export const clientClosed = (): SynclineError => new SynclineError('CLOSED', 'The client is closed.')

/** What belongs to one user is not done in the name of another. */
export const anotherUser = (): SynclineError => new SynclineError('UNAUTHORIZED', 'Another user has signed in.')

/** An error of the application's code, such as a recipe or a schema, as one of the client's. */
export function asSynclineError(error: unknown): SynclineError {
  return error instanceof SynclineError ? error : new SynclineError('VALIDATION_ERROR', String(error), { cause: error })
}

/** Throws VALIDATION_ERROR where an option is no number, or a smaller one than makes sense. */
export function checkAtLeast(least: number, name: string, value: unknown): void {
  if (!(typeof value === 'number' && value >= least))
    throw new SynclineError('VALIDATION_ERROR', `${name} is a number of at least ${least}.`)
}
