import { valuesEqual, type Env, type ValueMap } from '@syncline/core'
import type { RoomMember } from '@syncline/protocol'
import type { ReadView } from '../../inbound/authorize.ts'
import type { Session } from '../../sessions/session.ts'
import { Identities } from './identity.ts'
import { Viewer, type Member, type Room, type RoomOutlet } from './room.ts'

/** The times that a room keeps. */
export interface RoomTimes {
  readonly graceMs: number
  readonly awayAfterMs: number
  readonly updateIntervalMs: number
}

/** What a principal may do in a room. */
export interface RoomRights {
  readonly view: ReadView | undefined
  readonly isSeen: boolean
}

/** What joining takes. */
export interface Joining {
  readonly presence: ValueMap
  readonly resume: string | undefined
  readonly requestId: string | undefined
  readonly rights: RoomRights
}

/** A session's rooms, and how long it has been silent. */
interface Presence {
  readonly viewersByRoom: Map<string, Viewer>
  /** Pings in a row that nothing came back for. */
  unanswered: number
}

/** How often signs of life are looked for. */
const SWEEP_MS = 1_000
/** A connection is asked for a sign of life when it has been silent for this part of the time after which it is away. */
const SILENT_PART = 1 / 3
/** Pings without an answer before a connection is away: so that a server that was asleep itself judges nobody by that. */
const MIN_UNANSWERED = 3

/** Rooms: who is in which, and what each shows of itself. */
export class RoomService {
  readonly #env: Env
  readonly #outlet: RoomOutlet
  readonly #times: RoomTimes
  readonly #identities: Identities
  readonly #rooms = new Map<string, Room>()
  readonly #bySession = new Map<Session, Presence>()
  #isSweepDue = false

  constructor(env: Env, outlet: RoomOutlet, times: RoomTimes) {
    this.#env = env
    this.#outlet = outlet
    this.#times = times
    this.#identities = new Identities(() => env.uniqueId())
  }

  /** Rooms that a session is in. */
  count(session: Session): number {
    return this.#bySession.get(session)?.viewersByRoom.size ?? 0
  }

  /** Says whether a session is in a room. */
  isIn(session: Session, roomName: string): boolean {
    return this.#viewer(session, roomName) !== undefined
  }

  /** Connections in a room, and members, those included that may still come back. */
  sizeOf(roomName: string): { readonly viewers: number; readonly members: number } {
    const room = this.#rooms.get(roomName)
    return { viewers: room?.viewers.size ?? 0, members: room?.members.size ?? 0 }
  }

  /** Says whether who joins is a member of the room already, by this or by another connection. */
  isMember(session: Session, userId: string, roomName: string, resume: string | undefined): boolean {
    const id = this.#knownId(session) ?? this.#identities.idOf(userId, resume)
    return this.#rooms.get(roomName)?.members.has(id) === true
  }

  /** Lets a session into a room, and sends it the room's state. */
  join(session: Session, userId: string, roomName: string, joining: Joining): void {
    const { presence, resume, requestId, rights } = joining
    const id = (session.publicId = this.#knownId(session) ?? this.#identities.idOf(userId, resume))
    const room = this.#open(roomName)
    const former = this.#viewer(session, roomName)
    if (former !== undefined) this.#detach(former)
    const member = rights.isSeen ? this.#enter(room, session, { id, userId, presence, state: 'active' }) : undefined
    if (member === undefined && former?.member !== undefined) this.#remove(room, former.member)
    const viewer = new Viewer(this.#outlet, room, {
      session,
      userId,
      view: rights.view,
      member,
      resume: this.#identities.resumeOf(id, userId),
      requestId,
    })
    viewer.due = new Set(rights.view === undefined ? [] : room.members.keys())
    room.viewers.add(viewer)
    this.#presence(session).viewersByRoom.set(roomName, viewer)
    session.outbox.pull(viewer)
  }

  /** Replaces what a member shows. False where the session is not seen in the room. */
  update(session: Session, roomName: string, presence: ValueMap): boolean {
    const viewer = this.#viewer(session, roomName)
    if (viewer?.member === undefined) return false
    this.#show(viewer.room, viewer.member, { ...viewer.member.shown, presence })
    return true
  }

  /** Takes a session out of a room. False where it is not in it. */
  leave(session: Session, roomName: string): boolean {
    const viewer = this.#viewer(session, roomName)
    if (viewer === undefined) return false
    this.#detach(viewer)
    if (viewer.member !== undefined) this.#remove(viewer.room, viewer.member)
    this.#close(viewer.room)
    return true
  }

  /** The connection is gone. Others see its member until the time is up in which it may come back. */
  disconnect(session: Session): void {
    for (const viewer of this.#viewers(session)) {
      const { room, member } = viewer
      this.#detach(viewer)
      if (member !== undefined) {
        member.session = undefined
        if (this.#times.graceMs === 0) this.#remove(room, member)
        else member.cancelGrace = this.#env.after(this.#times.graceMs, () => this.#remove(room, member))
      }
      this.#close(room)
    }
  }

  /** Takes a session out of the rooms that it could join no longer, or in another way. Answers their names. */
  withdraw(session: Session, userId: string, rightsOf: (roomName: string) => RoomRights): readonly string[] {
    const ended: string[] = []
    for (const { room, view, member, userId: formerUser } of this.#viewers(session)) {
      const rights = rightsOf(room.name)
      const isSame = (rights.view === undefined) === (view === undefined) && rights.isSeen === (member !== undefined)
      if (isSame && userId === formerUser) continue
      this.leave(session, room.name)
      ended.push(room.name)
    }
    return ended
  }

  /** For the operator. */
  inspect(): { readonly rooms: number; readonly members: number; readonly away: number; readonly behind: number } {
    let [members, away, behind] = [0, 0, 0]
    for (const room of this.#rooms.values()) {
      members += room.members.size
      for (const { shown } of room.members.values()) if (shown.state === 'away') away++
      for (const { due } of room.viewers) if (due !== undefined) behind++
    }
    return { rooms: this.#rooms.size, members, away, behind }
  }

  /** One that is in a room is known by its id there: it stays the same, whatever it claims. */
  #knownId(session: Session): string | undefined {
    return this.count(session) > 0 ? session.publicId : undefined
  }

  #enter(room: Room, session: Session, shown: RoomMember): Member {
    const known = room.members.get(shown.id)
    if (known === undefined) {
      const member: Member = { id: shown.id, userId: shown.userId, shown, session, cancelGrace: undefined }
      room.members.set(shown.id, member)
      this.#change(room, shown.id)
      return member
    }
    known.cancelGrace?.()
    known.cancelGrace = undefined
    const { session: holder } = known
    known.session = session
    if (holder !== undefined && holder !== session) {
      const replaced = this.#viewer(holder, room.name)
      if (replaced !== undefined) this.#detach(replaced)
      this.#outlet.replaced(holder, room.name)
    }
    this.#show(room, known, shown)
    return known
  }

  #show(room: Room, member: Member, shown: RoomMember): void {
    const { presence, state } = member.shown
    if (state === shown.state && valuesEqual(presence, shown.presence)) return
    member.shown = shown
    this.#change(room, member.id)
  }

  #remove(room: Room, member: Member): void {
    member.cancelGrace?.()
    if (room.members.get(member.id) !== member) return
    room.members.delete(member.id)
    this.#change(room, member.id)
    this.#close(room)
  }

  /** A quiet room is told when the turn ends; one that changes all the time as often as it may be. */
  #change(room: Room, id: string): void {
    room.changed.add(id)
    if (room.isTelling) return
    room.isTelling = true
    const waitMs = room.toldAtMs + this.#times.updateIntervalMs - this.#env.monotonic()
    if (waitMs <= 0) this.#env.endOfTurn(() => this.#tell(room))
    else room.cancelTelling = this.#env.after(waitMs, () => this.#tell(room))
  }

  #tell(room: Room): void {
    const { changed } = room
    room.changed = new Set()
    room.isTelling = false
    room.cancelTelling = undefined
    room.toldAtMs = this.#env.monotonic()
    this.#outlet.tell(room, changed)
  }

  #viewer(session: Session, roomName: string): Viewer | undefined {
    return this.#bySession.get(session)?.viewersByRoom.get(roomName)
  }

  #viewers(session: Session): readonly Viewer[] {
    return [...(this.#bySession.get(session)?.viewersByRoom.values() ?? [])]
  }

  #detach(viewer: Viewer): void {
    const { session, room } = viewer
    viewer.isEnded = true
    room.viewers.delete(viewer)
    session.outbox.drop(viewer)
    const presence = this.#bySession.get(session)
    presence?.viewersByRoom.delete(room.name)
    if (presence?.viewersByRoom.size === 0) this.#bySession.delete(session)
  }

  #open(name: string): Room {
    let room = this.#rooms.get(name)
    if (room === undefined) {
      const toldAtMs = -Infinity
      const none = { toldAtMs, cancelTelling: undefined, isTelling: false }
      room = { name, members: new Map(), viewers: new Set(), changed: new Set(), ...none }
      this.#rooms.set(name, room)
    }
    return room
  }

  #close(room: Room): void {
    if (room.viewers.size > 0 || room.members.size > 0) return
    room.cancelTelling?.()
    this.#rooms.delete(room.name)
  }

  #presence(session: Session): Presence {
    let presence = this.#bySession.get(session)
    if (presence === undefined) this.#bySession.set(session, (presence = { viewersByRoom: new Map(), unanswered: 0 }))
    this.#scheduleSweep()
    return presence
  }

  #scheduleSweep(): void {
    if (this.#isSweepDue) return
    this.#isSweepDue = true
    this.#env.after(SWEEP_MS, () => {
      this.#isSweepDue = false
      this.#sweep()
    })
  }

  /** Asks the silent for a sign of life, and shows as away who gives none. */
  #sweep(): void {
    const { awayAfterMs } = this.#times
    const now = this.#env.monotonic()
    for (const [session, presence] of this.#bySession) {
      const silentMs = now - session.lastAliveAtMs
      const isSilent = silentMs > awayAfterMs * SILENT_PART
      presence.unanswered = isSilent ? presence.unanswered + 1 : 0
      const isAway = silentMs > awayAfterMs && presence.unanswered > MIN_UNANSWERED
      for (const { room, member } of presence.viewersByRoom.values()) {
        if (member !== undefined && (isAway || !isSilent))
          this.#show(room, member, { ...member.shown, state: isAway ? 'away' : 'active' })
      }
      if (isSilent) session.ping()
    }
    if (this.#bySession.size > 0) this.#scheduleSweep()
  }
}
