import type { AnyRoomDef } from '@syncline/protocol/contract'
import { code } from '../../code.ts'
import type { LateDefinition, StandIn } from '../../late.ts'
import { dispose, type Readable } from '../../readable.ts'
import { members, opens, readable, runs } from '../../stand-in.ts'
import { NOBODY } from './nobody.ts'
import { topicStandIn, type Topic } from '../topics/handle.ts'

/** Another member of a room. */
export interface Member<P> {
  /** The same as `from` of what it says on the room's topics. It stays the same over a lost connection. */
  readonly id: string
  readonly userId: string
  readonly presence: P
  /** `away`: its connection gives no sign of life. */
  readonly state: 'active' | 'away'
}

/**
 * A room that this client is in, until `leave()` or the end of `using`. It comes back by itself after a lost connection,
 * as the same member. Another `join` of the same room is in it as well, and shows the same presence.
 */
export interface Room<PIn, P, T> extends Disposable {
  readonly self: {
    /**
     * Changes some of what others see of this member; what it shows is sent at most every 33 ms. Throws
     * VALIDATION_ERROR, BAD_VALUE, TOO_LARGE, and CLOSED where the room was left.
     */
    update(changes: Partial<PIn>): void
  }
  /** The other members, in the order in which this client saw them come. Empty two seconds after the connection is lost. */
  readonly others: Readable<readonly Member<P>[]>
  readonly topics: T
  leave(): void
}

/** How a room is joined. */
export interface JoinOptions<PIn> {
  /** What others see of this member. */
  readonly presence: PIn
}

/** The rooms of one kind. */
export interface RoomsOf<PIn, P, T> {
  /**
   * Joins a room by its id, 1 to 128 characters out of A-Z, a-z, 0-9 and `_ - . : /` together with its kind's name. What
   * the server refuses is an `error` event. Throws BAD_KEY, VALIDATION_ERROR, BAD_VALUE, TOO_LARGE or CLOSED.
   */
  join(id: string, options: JoinOptions<PIn>): Room<PIn, P, T>
}

/** A room whatever its contract says. */
export type AnyRoom = Room<object, unknown, Readonly<Record<string, Topic<unknown, unknown>>>>
/** Rooms of one kind, whatever the contract says of it. */
export type AnyRooms = RoomsOf<object, unknown, Readonly<Record<string, Topic<unknown, unknown>>>>

const roomStandIn = ({ topics }: AnyRoomDef): StandIn<AnyRoom> =>
  members<AnyRoom>({
    self: members({ update: runs }),
    others: readable<readonly Member<unknown>[]>(NOBODY),
    topics: members(Object.fromEntries(Object.keys(topics).map((name) => [name, topicStandIn]))),
    leave: runs,
    [dispose]: runs,
  })

/** The rooms of a contract. */
export const rooms: LateDefinition<AnyRoomDef, AnyRooms> = {
  code: code(() => import('./state.ts')),
  standIn: (definition) => members<AnyRooms>({ join: opens(roomStandIn(definition)) }),
}
