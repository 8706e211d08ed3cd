import { compareStamps, err, ok, type Result, type Stamp } from '@syncline/core'
import { LIMITS, wireError, type WireError } from '@syncline/protocol'
import { forbidden, type Authorizer, type ReadView } from '../../inbound/authorize.ts'
import { recordBytes } from '../../outbound/pages.ts'
import { redact, type OutgoingRecord } from '../../outbound/redact.ts'
import type { Session } from '../../sessions/session.ts'
import { isOfKind, wrongKind } from '../../store/kinds.ts'
import type { Entry, MapState } from '../../store/map-state.ts'
import type { Store } from '../../store/store.ts'

/** What a map has become since a moment, a page of it. */
export interface Delta {
  readonly mapName: string
  readonly records: readonly { readonly key: string; readonly record: OutgoingRecord }[]
  /** All that arrived up to here is in this page or was in those before. */
  readonly through: Stamp
  readonly more: boolean
  readonly isReset: boolean
}

/** Reads maps by the time at which records arrived: a late write with an old stamp is new to whoever polls. */
export class DeltaService {
  readonly #store: Store
  readonly #authorizer: Authorizer

  constructor(store: Store, authorizer: Authorizer) {
    this.#store = store
    this.#authorizer = authorizer
  }

  /** The records of a map that may be looked at for a page. */
  cost(session: Session, mapName: string, since: Stamp | number | undefined): number {
    if (session.rights(this.#authorizer, mapName).view === undefined) return 1
    const map = this.#store.residency.resident(mapName)
    return map === undefined
      ? 1
      : 1 + Math.min(LIMITS.pageRecords, map.log.countAfter(map.log.seqBefore(millisOf(since))))
  }

  /** The page that follows a moment. `0` or `undefined` is the beginning. */
  read(session: Session, mapName: string, since: Stamp | number | undefined): Result<Delta, WireError> {
    const { view } = session.rights(this.#authorizer, mapName)
    if (view === undefined) return err(forbidden(mapName, 'READ'))
    const map = this.#store.residency.resident(mapName)
    if (map === undefined) throw new Error(`Map '${mapName}' is not in memory`)
    if (!isOfKind(map, 'lww')) return err(wrongKind(map))
    // Taken before anything is read: what arrives later is later than this.
    const now = this.#store.sequencer.stamp()
    if (millisOf(since) > now.millis) {
      const message = 'lastSyncTimestamp lies in the future of this server, which cannot have given it: start with 0.'
      return err(wireError('INVALID_CURSOR', message, { serverTime: now.millis }))
    }
    const isReset = millisOf(since) > 0 && isForgotten(map, since)
    return ok(this.#page(map, view, isReset ? undefined : since, now, isReset))
  }

  #page(map: MapState, view: ReadView, since: Stamp | number | undefined, now: Stamp, isReset: boolean): Delta {
    const records: { readonly key: string; readonly record: OutgoingRecord }[] = []
    let bytes = 0
    let through = now
    let more = false
    let last: { readonly entry: Entry; readonly record: OutgoingRecord } | undefined
    map.log.since(map.log.seqBefore(millisOf(since)), (entry) => {
      if (typeof since === 'object' && compareStamps(entry.arrival, since) <= 0) return true
      if (last !== undefined) {
        // Most deltas are one record, whose size matters to nobody.
        bytes += recordBytes(last.record)
        if (records.length >= LIMITS.pageRecords || bytes >= LIMITS.pageBytes) {
          through = { ...last.entry.arrival, nodeId: PART + String(map.pruned.arrivedMs) }
          more = true
          return false
        }
      }
      last = { entry, record: redact(view, entry) }
      records.push({ key: entry.key, record: last.record })
      return true
    })
    return { mapName: map.name, records, through, more, isReset }
  }
}

/**
 * In place of a node, a moment in the middle of a reply says up to when deletions were forgotten as the reply began:
 * whoever goes on from there has missed none of those. It is greater than the name of any server.
 */
const PART = '~'

/** Deletions that arrived after a moment are forgotten: whoever stands there has missed them. */
function isForgotten(map: MapState, since: Stamp | number | undefined): boolean {
  const isPart = typeof since === 'object' && since.nodeId.startsWith(PART)
  const known = isPart ? Number(since.nodeId.slice(PART.length)) : millisOf(since)
  return known < map.pruned.arrivedMs
}

function millisOf(since: Stamp | number | undefined): number {
  return typeof since === 'object' ? since.millis : (since ?? 0)
}
