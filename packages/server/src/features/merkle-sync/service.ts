import {
  wireError,
  type ErrorCode,
  type KeyedRecord,
  type MapKind,
  type ReceivedRecord,
  type RefusedRecord,
  type WireError,
} from '@syncline/protocol'
import { forbidden, type Authorizer, type ReadView } from '../../inbound/authorize.ts'
import { parseCursor, resetReason } from '../../outbound/cursor.ts'
import type { FollowStart } from '../../outbound/followers.ts'
import type { Session } from '../../sessions/session.ts'
import type { CommitOutcome } from '../../store/commit-request.ts'
import type { Entry, MapState } from '../../store/map-state.ts'
import type { Store } from '../../store/store.ts'

/** Leaves of a map's trie. */
export const LEAVES = 4_096

/** A record that a client pushed and the server did not take. */
export interface RefusedPush {
  readonly key: string
  readonly errorCode: ErrorCode
  readonly message: string
}

/** Where clients' copies of a map stand, and how they come to stand where the server does. */
export class SyncService {
  readonly #store: Store
  readonly #authorizer: Authorizer

  constructor(store: Store, authorizer: Authorizer) {
    this.#store = store
    this.#authorizer = authorizer
  }

  /** A map in memory and the session's view of it, or why it may not be read. */
  open(
    session: Session,
    mapName: string,
  ): { readonly map: MapState; readonly view: ReadView } | { readonly error: WireError } {
    const { view } = session.rights(this.#authorizer, mapName)
    if (view === undefined) return { error: forbidden(mapName, 'READ') }
    const map = this.#store.residency.resident(mapName)
    if (map === undefined) throw new Error(`Map '${mapName}' is not in memory`)
    return { map, view }
  }

  /** Where a follower with this cursor goes on, or why it has to begin anew. */
  resume(
    session: Session,
    map: MapState,
    view: ReadView,
    cursor: string | null,
  ): FollowStart | { readonly reset: string; readonly isReadable: boolean } {
    if (cursor === null) return { seq: 0, held: 0, floor: map.pruned.seq, safe: 0 }
    const parsed = parseCursor(cursor)
    if (parsed === undefined) return { reset: 'The cursor was not issued by this server.', isReadable: false }
    const reason = resetReason(parsed, view, this.#store.databaseId, map.pruned.seq)
    const isReadable = parsed.redactionClass === view.redactionClass && parsed.databaseId === this.#store.databaseId
    if (reason !== undefined) return { reset: reason, isReadable }
    if (parsed.seq > this.#store.sequencer.seq) return { reset: 'The cursor is ahead of the database.', isReadable }
    const { seq: held, floor, gap } = parsed
    const safe = gap?.safe ?? held
    // A crash took commits of the time when the cursor was given out: records may be back at places that it has passed.
    const seq = gap !== undefined && this.#isLost(gap.head) ? safe : held
    if (session.rights(this.#authorizer, map.name).push === undefined && this.#isLost(held)) {
      return { reset: 'The server lost commits that this client has seen.', isReadable }
    }
    return { seq, held, floor, safe }
  }

  /** Merges records that the client holds and the server may have lost. Answers those that were refused. */
  push(
    session: Session,
    map: MapState,
    kind: MapKind | undefined,
    records: readonly (KeyedRecord<ReceivedRecord> | RefusedRecord)[],
    hasMissedNone: boolean,
  ): RefusedPush[] {
    const { push } = session.rights(this.#authorizer, map.name)
    const readable = records.filter(isReadable)
    const outcomes =
      push === undefined
        ? []
        : this.#store.committer.commit({ grant: push, records: readable, kind, level: 'MEMORY', hasMissedNone })
    const refused: RefusedPush[] = []
    let next = 0
    for (const pushed of records) {
      const error = 'refused' in pushed ? pushed.refused : errorOf(outcomes[next++] ?? mayNotPush(map.name))
      if (error !== undefined) refused.push({ key: pushed.key, errorCode: error.errorCode, message: error.message })
    }
    return refused
  }

  #isLost(seq: number): boolean {
    return this.#store.lostRanges.some(([from, to]) => seq > from && seq <= to)
  }

  /** The entries of some leaves of the trie, each once. A leaf is looked at when its entries are asked for. */
  *leaves(map: MapState, leaves: readonly number[]): IterableIterator<Entry> {
    for (const leaf of new Set(leaves)) yield* map.under(leaf.toString(16).padStart(3, '0'))
  }

  /** About how many records a leaf of a map has, as far as the session may know. */
  leafSize(session: Session, mapName: string): number {
    if (session.rights(this.#authorizer, mapName).view === undefined) return 0
    return (this.#store.residency.resident(mapName)?.entriesByKey.size ?? 0) / LEAVES
  }
}

function isReadable(pushed: KeyedRecord<ReceivedRecord> | RefusedRecord): pushed is KeyedRecord<ReceivedRecord> {
  return !('refused' in pushed)
}

/** Only who reads and writes the whole map can tell what is missing from it. */
function mayNotPush(mapName: string): CommitOutcome {
  const message = `Only who may read and write all of map '${mapName}' may push its records.`
  return { ok: false, error: wireError('FORBIDDEN', message) }
}

function errorOf(outcome: CommitOutcome): WireError | undefined {
  return outcome.ok ? undefined : outcome.error
}
