import type { ClientMessage, ItemOpMessage, ReceivedServerMessage, Shapes } from '@syncline/protocol/codec'
import type { Background } from './background.ts'
import type { ClientEnv } from './env.ts'
import type { SynclineError } from './errors.ts'
import type { Conflict } from './offline/conflicts.ts'
import type { LocalData } from './offline/local-data.ts'
import type { Op } from './offline/overlay.ts'
import type { Replica } from './offline/replica.ts'
import type { LocalWrite } from './offline/write.ts'
import type { Turn, WaitOptions } from './readable.ts'
import type { Outbox } from './session/outbox.ts'

/** What the client hands to its features. */
export interface Kernel {
  readonly env: ClientEnv
  readonly turn: Turn
  /** Everything that this client holds. */
  readonly data: LocalData
  readonly outbox: Outbox
  /** Writes that may wait for the server. */
  readonly maxPending: number
  /** An id for a write, new in this tab and any other. */
  newId(): string
  /** There is a session with the server. */
  readonly isOnline: boolean
  /** The client has an address to connect to. */
  readonly hasServer: boolean
  /** Runs when local data is loaded; now if it is. */
  whenReady(run: () => void): void
  /** Resolves when local data is loaded. */
  ready(options: WaitOptions | undefined): Promise<void>
  /** An op was refused for good. */
  refused(op: Op, error: SynclineError): void
  /** Tells the application what a write lost. */
  conflict(conflict: Conflict): void
  /**
   * Runs what takes code that is loaded in the background, in the order of the calls: now if it is here. Where it cannot
   * be had it goes on waiting for the next session; what waits of one user is not done for another.
   */
  inBackground(run: (background: Background) => void): void
  /** A write failed that never became an op. */
  failed(write: LocalWrite, error: SynclineError): void
  /** Sends a message on the present session. `onError` hears of the ERROR that answers it. Answers its request id then. */
  send(message: ClientMessage | ItemOpMessage, onError?: (error: SynclineError) => void): string | undefined
  /** Tells the application of an error that belongs to no call. */
  report(error: SynclineError): void
  /** The state that the application sees has changed. */
  statusChanged(): void
}

/** Handlers of a feature, by the type of message from the server. */
export type Handlers = {
  readonly [Type in ReceivedServerMessage['type']]?: (
    message: Extract<ReceivedServerMessage, { readonly type: Type }>,
  ) => void
}

/** A running feature. */
export interface Feature {
  readonly handlers: Handlers
  /** What messages look like that only this feature is sent. Those of features that run at once are known. */
  readonly shapes?: Shapes
  /** A session has begun. */
  online?(): void
  /** The session is over. */
  offline?(): void
  /** Another user has signed in. */
  userChanged?(): void
  /** A map is used for the first time. */
  mapUsed?(replica: Replica): void
  /** Another tab has begun a map anew: this one has to do the same. */
  mapBegunAnew?(replica: Replica): void
}
