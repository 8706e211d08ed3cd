import type { ClientMessage, ItemOpMessage, ReceivedServerMessage, Shapes } from '@syncline/protocol/codec'
import type { ClientEnv } from './env.ts'
import type { SynclineError } from './errors.ts'
import type { Op, Overlay } from './offline/overlay.ts'
import type { Replica } from './offline/replica.ts'
import type { LocalWrite, WriteHost } from './offline/write.ts'
import type { Turn, WaitOptions } from './readable.ts'
import type { OpenStorage } from './storage/storage.ts'
import type { SessionClock } from './session/clock.ts'
import type { Outbox } from './session/outbox.ts'

/** What the client hands to its features. */
export interface Kernel {
  readonly env: ClientEnv
  readonly turn: Turn
  readonly clock: SessionClock
  readonly overlay: Overlay
  readonly outbox: Outbox
  readonly writeHost: WriteHost
  /** Writes that may wait for the server. */
  readonly maxPending: number
  /** An id for a write, new in this tab and any other. */
  newId(): string
  /** Local data is loaded. */
  readonly isReady: boolean
  /** There is a session with the server. */
  readonly isOnline: boolean
  /** The client has an address to connect to. */
  readonly hasServer: boolean
  /** All maps that the application uses, or that have pending writes. One that is taken out is followed no more. */
  readonly replicas: Map<string, Replica>
  /** A map's replica, which is followed from now on. */
  replica(mapName: string): Replica
  /** A map's replica, followed or not. */
  held(mapName: string): Replica
  /** Notes that the position of a map is to be stored. */
  positionChanged(replica: Replica): void
  /** Puts an op in the overlay, in storage and on its way. */
  addOp(op: Op): void
  /** An op is stored as it is now, as far as it can be. */
  isStored(op: Op): boolean
  /** Whose data this is, if that is known. */
  readonly user: string | undefined
  /** Where data is stored, and under which name. Undefined before it is loaded. */
  readonly storage: { readonly id: string; readonly open: OpenStorage } | undefined
  /** Notes that an op has changed and is to be stored. */
  opChanged(op: Op): void
  /** Runs when local data is loaded; now if it is. */
  whenReady(run: () => void): void
  /** Resolves when local data is loaded. */
  ready(options: WaitOptions): Promise<void>
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
