import type { RoomMember } from '@syncline/protocol'
import type { ReadView } from '../../inbound/authorize.ts'
import type { Source } from '../../outbound/outbox.ts'
import type { Session } from '../../sessions/session.ts'

/** Who is seen in a room. */
export interface Member {
  readonly id: string
  readonly userId: string
  /** What others see of it. Replaced when it changes, never written to: what is encoded of it is kept by it. */
  shown: RoomMember
  /** The connection that it is in the room by; undefined while it may still come back. */
  session: Session | undefined
  /** Ends the wait for its coming back. */
  cancelGrace: (() => void) | undefined
}

/** A room, for as long as somebody is in it. */
export interface Room {
  readonly name: string
  readonly members: Map<string, Member>
  readonly viewers: Set<Viewer>
  /** Ids of members that changed, came or left since the room was told. */
  changed: Set<string>
  toldAtMs: number
  /** Ends the wait until the room is told. Undefined where it is told when the turn ends, or has nothing to be told. */
  cancelTelling: (() => void) | undefined
  isTelling: boolean
}

/** What leaves the server for those who are in rooms. */
export interface RoomOutlet {
  /** Tells viewers what changed, the same bytes to all of an encoding, those apart whose sockets are full. */
  tell(room: Room, changed: ReadonlySet<string>): void
  /** Sends a viewer a page of what it has not been told. True if there is more. */
  page(viewer: Viewer): boolean
  /** Another connection has taken the place of this one. */
  replaced(session: Session, room: string): void
}

/**
 * One connection in a room. It keeps no queue: while its socket is full, and when it has just come, it keeps the ids of
 * members that it has to be told of, and is sent them as they are when there is room.
 */
export class Viewer implements Source {
  readonly session: Session
  readonly room: Room
  readonly userId: string
  /** The right to see others; undefined for one that may only be seen. */
  readonly view: ReadView | undefined
  /** What others see of it; undefined for one that may only look. */
  readonly member: Member | undefined
  /** The secret by which it is the same member again. */
  readonly resume: string
  /** Members that it has to be told of apart; undefined where it is told with the others. */
  due: Set<string> | undefined
  /** The next page is the first of the whole state. */
  isFirstPage = true
  requestId: string | undefined
  isEnded = false
  readonly #outlet: RoomOutlet

  constructor(
    outlet: RoomOutlet,
    room: Room,
    who: Pick<Viewer, 'session' | 'userId' | 'view' | 'member' | 'resume' | 'requestId'>,
  ) {
    this.#outlet = outlet
    this.room = room
    this.session = who.session
    this.userId = who.userId
    this.view = who.view
    this.member = who.member
    this.resume = who.resume
    this.requestId = who.requestId
  }

  pump(): boolean {
    return !this.isEnded && this.#outlet.page(this)
  }
}
