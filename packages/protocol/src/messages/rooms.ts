import type { ValueMap } from '@syncline/core'

/** C→S. Enters a room, or comes back to it. `resume` is what the latest ROOM_STATE with `self` said. */
export interface RoomJoin {
  readonly type: 'ROOM_JOIN'
  readonly payload: { readonly room: string; readonly presence: ValueMap; readonly resume?: string }
}

/** C→S. The member's presence, as a whole, from now on. */
export interface RoomUpdate {
  readonly type: 'ROOM_UPDATE'
  readonly payload: { readonly room: string; readonly presence: ValueMap }
}

/** C→S. Leaves a room. */
export interface RoomLeave {
  readonly type: 'ROOM_LEAVE'
  readonly payload: { readonly room: string }
}

/** One member of a room. `away` is one whose connection gives no sign of life. */
export interface RoomMember {
  readonly id: string
  readonly userId: string
  readonly presence: ValueMap
  readonly state: 'active' | 'away'
}

/** Who the client is in rooms: its `id`, and the secret by which it stays the same after a reconnect. */
export interface RoomSelf {
  readonly id: string
  readonly resume: string
}

/**
 * S→C. Members that are new or changed, each in its present state, and the ids of those that left. With `full` it is
 * the answer to ROOM_JOIN: whoever is not in it, or in the parts that follow while there is `more`, is not in the room.
 */
export interface RoomState {
  readonly type: 'ROOM_STATE'
  readonly payload: {
    readonly room: string
    readonly members: readonly RoomMember[]
    readonly left?: readonly string[]
    readonly full?: boolean
    readonly more?: boolean
    /** In the answer to ROOM_JOIN, unless the client may only look. */
    readonly self?: RoomSelf
  }
}
