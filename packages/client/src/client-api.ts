import type { Contract, In, Out, StandardSchema } from '@syncline/protocol/contract'
import type { ClientEvents } from './events.ts'
import type { CountersOf } from './features/counters/handle.ts'
import type { Lock, LockOptions } from './features/locks/handle.ts'
import type { SyncMap } from './features/maps/handle.ts'
import type { RoomsOf } from './features/rooms/handle.ts'
import type { SetsOf } from './features/sets/handle.ts'
import type { Topic } from './features/topics/handle.ts'
import type { Readable, Unsubscribe } from './readable.ts'
import type { PendingWrites, Status } from './status.ts'

/** The maps of a contract, by name. */
export type MapsOf<C extends Contract> = {
  readonly [K in keyof NonNullable<C['maps']>]: NonNullable<C['maps']>[K] extends {
    readonly schema: infer S extends StandardSchema
  }
    ? SyncMap<In<S>, Out<S>>
    : never
}

/** The topics of a contract, by name. */
export type TopicsOf<C extends Contract> = {
  readonly [K in keyof NonNullable<C['topics']>]: NonNullable<C['topics']>[K] extends {
    readonly schema: infer S extends StandardSchema
  }
    ? Topic<In<S>, Out<S>>
    : never
}

/** The kinds of rooms of a contract, by name. */
export type RoomsByName<C extends Contract> = {
  readonly [K in keyof NonNullable<C['rooms']>]: NonNullable<C['rooms']>[K] extends {
    readonly presence: infer P extends StandardSchema
    readonly topics: infer T extends Readonly<Record<string, StandardSchema>>
  }
    ? RoomsOf<In<P>, Out<P>, { readonly [N in keyof T]: Topic<In<T[N]>, Out<T[N]>> }>
    : never
}

/** The sets of a contract, by name. */
export type SetsByName<C extends Contract> = {
  readonly [K in keyof NonNullable<C['sets']>]: NonNullable<C['sets']>[K] extends {
    readonly schema: infer S extends StandardSchema
  }
    ? SetsOf<In<S>, Out<S>>
    : never
}

/** A client: its data, its state, its connection. */
export interface Client<C extends Contract = Contract> extends AsyncDisposable {
  /** Resolves when local data is loaded. It never rejects and never waits for the network. */
  readonly ready: Promise<void>
  /** The node of this client's stamps. Final when `ready`. */
  readonly clientId: string
  readonly status: Readable<Status>
  /** The maps of the contract. */
  readonly maps: MapsOf<C>
  /** The topics of the contract: `topics.announcements.publish({ text })`. */
  readonly topics: TopicsOf<C>
  /** The kinds of rooms of the contract: `rooms.board.join('b1', { presence })`. */
  readonly rooms: RoomsByName<C>
  /** The sets of the contract: `sets.tags('t1')`. */
  readonly sets: SetsByName<C>
  /** The counters of the contract: `counters.votes('t1')`. */
  readonly counters: { readonly [K in keyof NonNullable<C['counters']>]: CountersOf }
  /** A map by its name, typed by hand. A map of the contract validates here too. Throws BAD_KEY. */
  // eslint-disable-next-line typescript/no-explicit-any -- without a contract nothing is known of the values.
  map<T = any>(name: string): SyncMap<T, T>
  /**
   * Takes a lock, when it is free. Rejects with TIMEOUT after `waitMs`, with the reason of a signal, with FORBIDDEN or
   * LIMIT_EXCEEDED, and with STORAGE_UNAVAILABLE and the like while the server can grant none; VALIDATION_ERROR, BAD_KEY.
   */
  lock(name: string, options: LockOptions): Promise<Lock>
  readonly pending: PendingWrites
  on<E extends keyof ClientEvents>(name: E, callback: (event: ClientEvents[E]) => void): Unsubscribe
  /** Connects now instead of after the waiting time, and again after `disconnect()` or 'needs-auth'. */
  connect(): void
  /** Stays offline until `connect()`. */
  disconnect(): void
  readonly auth: {
    /**
     * Ends the session; `connect()` asks for a token again. With `wipe` nothing of the user's data stays in sight or on
     * this device but the writes that the server has not confirmed, which wait aside for this user; with
     * `discardPending` those of this tab are given up. Other tabs sign out by themselves. Rejects with STORAGE_UNAVAILABLE or
     * STORAGE_QUOTA where the storage could not do so; it is tried again. After `close` it can no longer: CLOSED.
     */
    signOut(options?: { readonly wipe?: boolean; readonly discardPending?: boolean }): Promise<void>
  }
  /** Stores everything and ends the client, waiting up to `flushMs` for pending writes to reach the server. */
  close(options?: { readonly flushMs?: number }): Promise<void>
}
