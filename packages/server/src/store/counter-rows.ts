import { isCounterRow, isMap, type CounterRow, type LwwRecord } from '@syncline/core'
import { wireError, type WireError } from '@syncline/protocol'
import type { MapState } from './map-state.ts'

/** The map that says whose each node id of counters is: a record `{userId}` for each. */
export const COUNTER_NODES = '$sys/counter-nodes'

/** What is known of counters beside their rows: whose they are, and what they add up to. */
export class CounterRows {
  readonly #nodes: () => MapState
  /** Sums of maps that were written, kept so that a write costs the same however many nodes count. */
  readonly #totals = new WeakMap<MapState, { p: number; n: number }>()

  constructor(nodes: () => MapState) {
    this.#nodes = nodes
  }

  /** Whose a node id is; undefined where it is nobody's yet. */
  ownerOf(nodeId: string): string | undefined {
    const value = this.#nodes().entriesByKey.get(nodeId)?.record.value
    const owner = value !== undefined && isMap(value) ? value['userId'] : undefined
    return typeof owner === 'string' ? owner : undefined
  }

  /** Why a user may not raise a node's row to this, if so. */
  refusal(map: MapState, nodeId: string, row: CounterRow, userId: string): WireError | undefined {
    const owner = this.ownerOf(nodeId)
    if (owner !== undefined && owner !== userId) {
      return wireError('FORBIDDEN', `Node id '${nodeId}' counts for another user.`, { nodeId })
    }
    const known = counterRowAt(map, nodeId)
    const { p, n } = this.#totalsOf(map)
    const max = Number.MAX_SAFE_INTEGER
    const isWithin = p + Math.max(0, row.p - known.p) <= max && n + Math.max(0, row.n - known.n) <= max
    return isWithin
      ? undefined
      : wireError('TOO_LARGE', 'The counter would pass 2^53 − 1.', { limit: 'counterTotal', max })
  }

  /** A row was raised. */
  raised(map: MapState, before: CounterRow, after: CounterRow): void {
    const totals = this.#totals.get(map)
    if (totals === undefined) return
    totals.p += after.p - before.p
    totals.n += after.n - before.n
  }

  #totalsOf(map: MapState): { readonly p: number; readonly n: number } {
    let totals = this.#totals.get(map)
    if (totals === undefined) {
      totals = { p: 0, n: 0 }
      for (const nodeId of map.entriesByKey.keys()) {
        const { p, n } = counterRowAt(map, nodeId)
        totals.p += p
        totals.n += n
      }
      this.#totals.set(map, totals)
    }
    return totals
  }
}

/** A node's row of a counter; zeros where it has not counted. */
export function counterRowAt(map: MapState, nodeId: string): CounterRow {
  return rowIn(map.entriesByKey.get(nodeId)?.record)
}

/** The row that a record holds; zeros where it holds none. */
export function rowIn(record: Pick<LwwRecord, 'value'> | undefined): CounterRow {
  const value = record?.value
  return isCounterRow(value) ? value : EMPTY
}

const EMPTY: CounterRow = Object.freeze({ p: 0, n: 0 })
