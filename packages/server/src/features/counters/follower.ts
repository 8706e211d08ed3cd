import { LIMITS } from '@syncline/protocol'
import type { Source } from '../../outbound/outbox.ts'
import type { Session } from '../../sessions/session.ts'
import type { Entry, MapState } from '../../store/map-state.ts'

/** What leaves the server for who follows a counter. */
export interface CounterOutlet {
  /** Sends the rows of entries. What many are sent is the same list, and encoded once. */
  rows(session: Session, map: MapState, entries: readonly Entry[]): void
}

/**
 * One session that follows one counter. It keeps no queue: what it has not been sent lies in the map's log after
 * `sentSeq`, and while its socket is full it is told of nothing.
 */
export class CounterFollower implements Source {
  readonly session: Session
  readonly map: MapState
  sentSeq: number
  isBehind = false
  readonly #outlet: CounterOutlet

  constructor(session: Session, map: MapState, outlet: CounterOutlet) {
    this.session = session
    this.map = map
    this.sentSeq = map.log.head
    this.#outlet = outlet
  }

  /** Sends a page of what it missed. */
  pump(): boolean {
    const entries: Entry[] = []
    this.map.log.since(this.sentSeq, (entry) => entries.push(entry) < LIMITS.pageRecords)
    const last = entries.at(-1)
    if (last !== undefined) {
      this.sentSeq = last.seq
      this.#outlet.rows(this.session, this.map, entries)
    }
    this.isBehind = entries.length === LIMITS.pageRecords
    return this.isBehind
  }
}
