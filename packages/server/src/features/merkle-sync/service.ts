import {
  LIMITS,
  wireError,
  type ErrorCode,
  type KeyedRecord,
  type ReceivedRecord,
  type RefusedRecord,
  type WireError,
  type WireRecord,
} from '@syncline/protocol'
import { forbidden, type Authorizer, type ReadView } from '../../inbound/authorize.ts'
import { parseCursor, resetReason } from '../../outbound/cursor.ts'
import type { FollowStart } from '../../outbound/followers.ts'
import { recordBytes } from '../../outbound/pages.ts'
import { redact } from '../../outbound/redact.ts'
import type { Session } from '../../sessions/session.ts'
import type { CommitOutcome } from '../../store/commit.ts'
import type { Entry, MapState } from '../../store/map-state.ts'
import type { Store } from '../../store/store.ts'

/** A record that a client pushed and the server did not take, with what the server holds instead. */
export interface RefusedPush {
  readonly key: string
  readonly errorCode: ErrorCode
  readonly message: string
  readonly record?: WireRecord
  readonly seq?: number
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
  ): FollowStart | { readonly reset: string } {
    if (cursor === null) return { seq: 0, floor: map.prunedThroughSeq, safe: 0 }
    const parsed = parseCursor(cursor)
    if (parsed === undefined) return { reset: 'The cursor was not issued by this server.' }
    const reason = resetReason(parsed, view, this.#store.databaseId, map.prunedThroughSeq)
    if (reason !== undefined) return { reset: reason }
    if (parsed.seq > this.#store.sequencer.seq) return { reset: 'The cursor is ahead of the database.' }
    const { floor, gap } = parsed
    const safe = gap?.safe ?? parsed.seq
    // A crash took commits of the time when the cursor was given out: records may be back at places that it has passed.
    const seq = gap !== undefined && this.#isLost(gap.head) ? safe : parsed.seq
    if (session.rights(this.#authorizer, map.name).push === undefined && this.#isLost(seq)) {
      return { reset: 'The server lost commits that this client has seen.' }
    }
    return { seq, floor, safe }
  }

  /** Merges records that the client holds and the server may have lost. Answers those that were refused. */
  push(
    session: Session,
    map: MapState,
    records: readonly (KeyedRecord<ReceivedRecord> | RefusedRecord)[],
  ): RefusedPush[] {
    const { view, push } = session.rights(this.#authorizer, map.name)
    const readable = records.filter(isReadable)
    const outcomes =
      push === undefined ? [] : this.#store.committer.commit({ grant: push, records: readable, level: 'MEMORY' })
    const refused: RefusedPush[] = []
    let bytes = 0
    let next = 0
    for (const pushed of records) {
      const { key } = pushed
      const fault = 'refused' in pushed ? pushed.refused : errorOf(outcomes[next++] ?? mayNotPush(map.name))
      if (fault === undefined) continue
      const entry = map.entriesByKey.get(key)
      const { errorCode, message } = fault
      if (entry === undefined || view === undefined) {
        refused.push({ key, errorCode, message })
        continue
      }
      // What does not fit into one message is named by its seq alone: the client fetches it.
      const record = bytes < LIMITS.pageBytes ? redact(view, entry) : undefined
      if (record !== undefined) bytes += recordBytes(record)
      refused.push({ key, errorCode, message, ...(record === undefined ? {} : { record }), seq: entry.seq })
    }
    return refused
  }

  #isLost(seq: number): boolean {
    return this.#store.lostRanges.some(([from, to]) => seq > from && seq <= to)
  }

  /** The entries of some leaves of the trie, each once. */
  leaves(map: MapState, leaves: readonly number[]): Entry[] {
    return [...new Set(leaves)].flatMap((leaf) => map.under(leaf.toString(16).padStart(3, '0')))
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
