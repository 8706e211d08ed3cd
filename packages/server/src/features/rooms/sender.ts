import {
  encodeMember,
  LIMITS,
  roomStateFrame,
  wireError,
  type EncodedBody,
  type Encoding,
  type RoomMember,
} from '@syncline/protocol'
import { FrameRun } from '../../outbound/frame-run.ts'
import type { Session } from '../../sessions/session.ts'
import type { Room, RoomOutlet, Viewer } from './room.ts'

/** Tells those who are in rooms who else is. What a member shows is encoded once per encoding, until it changes. */
export class RoomSender implements RoomOutlet {
  readonly #bodies = new WeakMap<RoomMember, Partial<Record<Encoding, EncodedBody>>>()

  tell(room: Room, changed: ReadonlySet<string>): void {
    const runs: Partial<Record<Encoding, FrameRun | 'apart'>> = {}
    for (const viewer of room.viewers) {
      if (viewer.view === undefined) continue
      const { session } = viewer
      if (viewer.due === undefined && !session.outbox.isDraining) {
        const run = (runs[session.encoding] ??= this.#run(session.encoding, room, changed))
        if (run !== 'apart') {
          session.outbox.pushRun(run)
          continue
        }
      }
      const due = (viewer.due ??= new Set())
      for (const id of changed) {
        // Whoever changes last is told last, so that nobody waits for one that changes all the time.
        due.delete(id)
        due.add(id)
      }
      session.outbox.pull(viewer)
    }
  }

  page(viewer: Viewer): boolean {
    const { session, room, due = new Set<string>(), isFirstPage, requestId, member, resume } = viewer
    const { encoding } = session
    const { members, left } = this.#take(encoding, room, due)
    const more = due.size > 0
    const head = {
      room: room.name,
      ...(left.length === 0 || isFirstPage ? {} : { left }),
      ...(isFirstPage ? { full: true } : {}),
      ...(isFirstPage && member !== undefined ? { self: { id: member.id, resume } } : {}),
      ...(more ? { more } : {}),
    }
    session.outbox.push(roomStateFrame(encoding, head, members, isFirstPage ? requestId : undefined))
    viewer.isFirstPage = false
    if (!more) viewer.due = undefined
    return more
  }

  replaced(session: Session, room: string): void {
    const text = 'Another connection has taken the place of this one in the room.'
    this.ended(session, room)
    session.refuse(wireError('CONFLICT', text, { room }), 'ROOM_JOIN')
  }

  /** Tells a session that it sees nobody in a room any more. */
  ended(session: Session, room: string): void {
    session.send({ type: 'ROOM_STATE', payload: { room, members: [], full: true } })
  }

  /** One frame for all; `apart` where it does not fit into one, so that each viewer is sent pages of it. */
  #run(encoding: Encoding, room: Room, changed: ReadonlySet<string>): FrameRun | 'apart' {
    const due = new Set(changed)
    const { members, left } = this.#take(encoding, room, due)
    if (due.size > 0) return 'apart'
    const head = { room: room.name, ...(left.length === 0 ? {} : { left }) }
    return new FrameRun([roomStateFrame(encoding, head, members)])
  }

  /** Takes as many ids out of a set as fit into one page: members as they are now, and those that are gone. */
  #take(
    encoding: Encoding,
    room: Room,
    due: Set<string>,
  ): { readonly members: readonly EncodedBody[]; readonly left: readonly string[] } {
    const members: EncodedBody[] = []
    const left: string[] = []
    let bytes = 0
    for (const id of due) {
      if (bytes >= LIMITS.pageBytes || members.length + left.length >= LIMITS.pageRecords) break
      due.delete(id)
      const member = room.members.get(id)
      if (member === undefined) left.push(id)
      else {
        const body = this.#body(encoding, member.shown)
        members.push(body)
        bytes += body.length
      }
    }
    return { members, left }
  }

  #body(encoding: Encoding, shown: RoomMember): EncodedBody {
    let bodies = this.#bodies.get(shown)
    if (bodies === undefined) this.#bodies.set(shown, (bodies = {}))
    return (bodies[encoding] ??= encodeMember(encoding, shown))
  }
}
