import type { ErrorCode } from '../errors.ts'

/**
 * C→S. Asks for a lock, or for more time with one that this connection holds. Answered by LOCK_GRANTED when the lock is
 * this connection's turn, or by LOCK_RELEASED with `success: false` when it is known that it will not be.
 */
export interface LockRequest {
  readonly type: 'LOCK_REQUEST'
  readonly payload: {
    /** Names the request, until it is answered and for as long as the lock is held. */
    readonly requestId: string
    /** The lock's name. */
    readonly name: string
    /** Milliseconds that the lease lasts. Above 0; a longer one than the server gives is shortened. Default 10,000. */
    readonly ttl?: number
    /** Milliseconds to wait for others to release it; 0 does not wait. Without it there is no limit. */
    readonly waitMs?: number
    /** Only extends the lease with this token: refused STALE_TOKEN where this connection does not hold it any more. */
    readonly fencingToken?: number
  }
}

/** S→C. The lock is held for `ttl` milliseconds from when it was granted. */
export interface LockGranted {
  readonly type: 'LOCK_GRANTED'
  readonly payload: {
    /** The request that was granted. */
    readonly requestId: string
    /** The lock's name. */
    readonly name: string
    /** Greater than every token granted before for this lock. The same again where a lease was extended. */
    readonly fencingToken: number
    /** Milliseconds that the lease lasts from now on, which may be fewer than were asked for. */
    readonly ttl: number
  }
}

/** C→S. Gives a lock back. Without `fencingToken` it ends the request `requestId`, whether it waits or was granted. */
export interface LockRelease {
  readonly type: 'LOCK_RELEASE'
  readonly payload: {
    /** The request that ends; needed where there is no `fencingToken`. */
    readonly requestId?: string
    /** The lock's name. */
    readonly name: string
    /** The token that the lock is held with. */
    readonly fencingToken?: number
  }
}

/**
 * S→C. What became of a LOCK_RELEASE; or, with `success: false`, of a LOCK_REQUEST that was not granted or, where its
 * user lost the right to the lock, is so no longer.
 */
export interface LockReleased {
  readonly type: 'LOCK_RELEASED'
  readonly payload: {
    /** Absent where the LOCK_RELEASE had none. */
    readonly requestId?: string
    /** The lock's name. */
    readonly name: string
    /** True: the lock was given back. False: see `errorCode`. */
    readonly success: boolean
    /** Why not, in one sentence. Present where `success` is false. */
    readonly error?: string
    /** Symbolic code of the error. Present where `success` is false. */
    readonly errorCode?: ErrorCode
    /** Numeric code of the error. Present where `success` is false. */
    readonly code?: number
    /** What the refusal is about, such as `limit` and `max`. */
    readonly details?: Readonly<Record<string, unknown>>
  }
}
