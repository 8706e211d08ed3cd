/** A lock that is held. It is a lease: who goes on working under it after `signal` was aborted may not be alone. */
export interface Lock extends AsyncDisposable {
  readonly name: string
  /** Larger than that of every holder before. A write with `fence: lock` is refused once another has the lock. */
  readonly fencingToken: number
  /**
   * Aborted, with a SynclineError as its reason, when the lock is given back or may be lost: the lease is about to run
   * out by this device's clocks (TIMEOUT), the connection is lost (OFFLINE), the server gave it to another (STALE_TOKEN) or
   * took the right to it away (FORBIDDEN), the lock was released or the client closed (CLOSED). Where the server sees the
   * connection end, or is started anew, before this client does, another may have the lock for that moment: use the token.
   */
  readonly signal: AbortSignal
  /**
   * Makes the lease last from now on, `ttlMs` milliseconds or as long as before. Rejects with the reason of `signal`
   * where the lock is lost.
   */
  renew(ttlMs?: number): Promise<void>
  /** Gives the lock back; resolves when the server has it. Where it is lost already there is nothing to do. */
  release(): Promise<void>
}

/** How a lock is asked for. */
export interface LockOptions {
  /** Milliseconds that the lease lasts, up to what the server allows (five minutes by default). `renew` begins it anew. */
  readonly ttlMs: number
  /** Milliseconds to wait for others, and for a connection; 0 does not wait. Without it there is no limit. */
  readonly waitMs?: number
  /** Gives the wait up. */
  readonly signal?: AbortSignal
}
