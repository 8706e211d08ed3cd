import type { Env, LwwRecord } from '@syncline/core'
import type { Session } from '../sessions/session.ts'
import type { Entry, MapState } from '../store/map-state.ts'

/** What changed in one map in one turn. */
export interface MapChange {
  readonly map: MapState
  /** Entries that changed, in seq order, each once, in their present state. */
  readonly entries: readonly Entry[]
  /** Seq of the map's latest commit. */
  readonly seq: number
  /** The same, when the change before this one was told. */
  readonly since: number
  /**
   * Entries whose record is now exactly what a session sent that gets no copy of its own writes (an existing client),
   * by that session.
   */
  readonly ownWrites: ReadonlyMap<Session, ReadonlySet<Entry>> | undefined
}

/** Told of the changes of maps that it wants, once a turn. */
export interface ChangeListener {
  wants(map: MapState): boolean
  tell(change: MapChange): void
}

/** The ordered stream of what changed, on which everything live hangs. Collects a turn's commits and tells them once. */
export class ChangeFeed {
  readonly #env: Env
  readonly #listeners: ChangeListener[] = []
  readonly #changed = new Set<MapState>()
  readonly #ownWrites = new Map<MapState, Map<Session, Map<Entry, LwwRecord>>>()
  #isScheduled = false

  constructor(env: Env) {
    this.#env = env
  }

  /** Tells a listener of every change from now on. */
  listen(listener: ChangeListener): void {
    this.#listeners.push(listener)
  }

  /** A map changed: its listeners are told at the end of the turn. */
  note(map: MapState): void {
    this.#changed.add(map)
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#env.endOfTurn(() => this.dispatch())
  }

  /** An existing client wrote exactly what the entry holds now: unless that changes before the turn ends, it need not be told. */
  noteOwnWrite(session: Session, entry: Entry): void {
    if (!this.#isWanted(entry.map)) return
    let bySession = this.#ownWrites.get(entry.map)
    if (bySession === undefined) this.#ownWrites.set(entry.map, (bySession = new Map()))
    let records = bySession.get(session)
    if (records === undefined) bySession.set(session, (records = new Map()))
    records.set(entry, entry.record)
  }

  /** Tells listeners what changed. */
  dispatch(): void {
    this.#isScheduled = false
    for (const map of this.#changed) {
      this.#changed.delete(map)
      if (!this.#isWanted(map)) {
        map.announcedSeq = map.log.head
        map.previous?.clear()
        this.#ownWrites.delete(map)
        continue
      }
      const listeners = this.#listeners.filter((listener) => listener.wants(map))
      const entries: Entry[] = []
      map.log.since(map.announcedSeq, (entry) => {
        entries.push(entry)
        return true
      })
      const since = map.announcedSeq
      map.announcedSeq = map.log.head
      const change = { map, entries, seq: map.log.head, since, ownWrites: this.#takeOwnWrites(map) }
      for (const listener of listeners) listener.tell(change)
      map.previous?.clear()
    }
  }

  #isWanted(map: MapState): boolean {
    for (const listener of this.#listeners) if (listener.wants(map)) return true
    return false
  }

  /** Whoever changed an entry later in the turn, its writer has to be told. */
  #takeOwnWrites(map: MapState): MapChange['ownWrites'] {
    const bySession = this.#ownWrites.get(map)
    if (bySession === undefined) return undefined
    this.#ownWrites.delete(map)
    const standing = new Map<Session, Set<Entry>>()
    for (const [session, records] of bySession) {
      const entries = new Set<Entry>()
      for (const [entry, record] of records) if (entry.record === record) entries.add(entry)
      standing.set(session, entries)
    }
    return standing
  }
}
