import type { Contract } from '@syncline/protocol/contract'
import type { ClientEnv } from './env.ts'
import type { StorageAdapter } from './storage/storage.ts'
import type { AuthCallback } from './transport/connection.ts'

/** How a client is made. */
export interface ClientOptions<C extends Contract = Contract> {
  /** What the application and its server agree on. Without it maps are untyped: `client.map('name')`. */
  readonly contract?: C
  /** The server's WebSocket address. By default `/ws` of the page's own server; a client without either stays offline. */
  readonly url?: string
  /** Where data is kept; `memory()` by default, which a reload forgets. */
  readonly storage?: StorageAdapter
  /** Gives the token to sign in with. Without it the client uses servers that need none. */
  readonly auth?: AuthCallback
  readonly limits?: {
    /** Writes that may wait for the server; 10,000 by default. Beyond it writing throws BACKPRESSURE. */
    readonly maxPending?: number
  }
  /** Closes the client when it is aborted. */
  readonly signal?: AbortSignal
  /** Time, chance, sockets and locks. For tests that run on a virtual clock. */
  readonly env?: ClientEnv
}

/** Writes that may wait for the server, unless the options say otherwise. */
export const DEFAULT_MAX_PENDING = 10_000
