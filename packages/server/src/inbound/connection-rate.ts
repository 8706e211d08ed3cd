import type { Env } from '@syncline/core'

/** How fast connections may come, and how many may be there. */
export interface RateLimits {
  readonly enabled: boolean
  readonly maxConnectionsPerSecond: number
  readonly maxPendingConnections: number
}

/** Decides whether another connection is taken, before anything is done for it. */
export class ConnectionRate {
  readonly #env: Env
  readonly #limits: RateLimits
  readonly #maxConnections: number
  #windowStart = 0
  #accepted = 0
  #acceptedBefore = 0
  #pending = 0

  constructor(env: Env, limits: RateLimits, maxConnections: number) {
    this.#env = env
    this.#limits = limits
    this.#maxConnections = maxConnections
  }

  /** True if a connection may be taken beside those that are there. It then counts as one that is not authenticated. */
  admit(connections: number): boolean {
    if (connections >= this.#maxConnections) return false
    if (this.#limits.enabled && (this.#pending >= this.#limits.maxPendingConnections || !this.#withinRate()))
      return false
    this.#accepted++
    this.#pending++
    return true
  }

  /** A connection that was admitted is authenticated. */
  authenticated(): void {
    if (this.#pending > 0) this.#pending--
  }

  /** A connection that was admitted did not come to be. */
  aborted(): void {
    this.closed(false)
  }

  /** A connection is gone. */
  closed(wasAuthenticated: boolean): void {
    if (!wasAuthenticated && this.#pending > 0) this.#pending--
  }

  /** A sliding second: what is left of the second before counts by the part of it that is still in the window. */
  #withinRate(): boolean {
    const now = this.#env.monotonic()
    const elapsed = now - this.#windowStart
    if (elapsed >= 1_000) {
      this.#acceptedBefore = elapsed < 2_000 ? this.#accepted : 0
      this.#accepted = 0
      this.#windowStart = elapsed < 2_000 ? this.#windowStart + 1_000 : now
    }
    const share = 1 - (now - this.#windowStart) / 1_000
    return this.#accepted + this.#acceptedBefore * share < this.#limits.maxConnectionsPerSecond
  }
}
