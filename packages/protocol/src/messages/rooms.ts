import type { ValueMap } from '@syncline/core'

/** The name of a room (SPEC [RO1]). */
export const ROOM_NAME = /^[A-Za-z0-9_\-.:/]{1,128}$/

/** C→S. Enters a room, or comes back to it. `resume` is what the latest ROOM_STATE with `self` said. */
export interface RoomJoin {
  readonly type: 'ROOM_JOIN'
  readonly payload: {
    /** The room's name. */
    readonly room: string
    /** What the member shows of itself: a map of at most 4,096 canonical bytes. */
    readonly presence: ValueMap
    /** The latest `self.resume` that the client was told: it is the same member again ([RO5]). */
    readonly resume?: string
  }
}

/** C→S. The member's presence, as a whole, from now on. */
export interface RoomUpdate {
  readonly type: 'ROOM_UPDATE'
  readonly payload: {
    /** The room's name. */
    readonly room: string
    /** What the member shows of itself: a map of at most 4,096 canonical bytes. */
    readonly presence: ValueMap
  }
}

/** C→S. Leaves a room. */
export interface RoomLeave {
  readonly type: 'ROOM_LEAVE'
  readonly payload: {
    /** The room's name. */
    readonly room: string
  }
}

/** One member of a room. `away` is one whose connection gives no sign of life. */
export interface RoomMember {
  /** Names the member. */
  readonly id: string
  /** The user of its session. */
  readonly userId: string
  /** What it shows of itself. */
  readonly presence: ValueMap
  /** `away`: its connection gives no sign of life ([RO6]). */
  readonly state: 'active' | 'away'
}

/** Who the client is in rooms: its `id`, and the secret by which it stays the same after a reconnect. */
export interface RoomSelf {
  /** The id of the client itself, in all its rooms and as its `publisherId`. */
  readonly id: string
  /** A secret: given back in ROOM_JOIN after a reconnect, it makes the client the same member again. */
  readonly resume: string
}

/**
 * S→C. Members that are new or changed, each in its present state, and the ids of those that left. With `full` it is
 * the answer to ROOM_JOIN: whoever is not in it, or in the parts that follow while there is `more`, is not in the room.
 */
export interface RoomState {
  readonly type: 'ROOM_STATE'
  readonly payload: {
    /** The room's name. */
    readonly room: string
    /** Members that are new or changed; with `full` all of them. */
    readonly members: readonly RoomMember[]
    /** Ids of members that are gone. Default none. */
    readonly left?: readonly string[]
    /** Who is not named is not in the room. Default false. */
    readonly full?: boolean
    /** Another part of a `full` state follows at once. Default false. */
    readonly more?: boolean
    /** In the answer to ROOM_JOIN, unless the client may only look. */
    readonly self?: RoomSelf
  }
}
