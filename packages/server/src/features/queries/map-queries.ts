import { coverOf, type FieldBound, type LwwRecord } from '@syncline/core'
import type { Session } from '../../sessions/session.ts'
import type { Entry, MapState } from '../../store/map-state.ts'
import { rowOf, rowsOfEntries, type Row } from '../../store/rows.ts'
import type { QueryGroup } from './query-group.ts'
import { isVisible } from './plan.ts'
import { Routes } from './routes.ts'
import type { Subscription } from './subscription.ts'

/** One query and all who ask it. */
export interface SharedGroup {
  readonly group: QueryGroup
  /** What it is known by among the groups of its map. */
  readonly key: string
  readonly members: Set<Subscription>
  /** Sessions that wait for its first result. */
  readonly waiting: Set<Session>
  /** Settles when there is a result. Undefined from then on. */
  evaluation: Promise<void> | undefined
  /** Its rows are among those that are counted. */
  isCounted: boolean
}

/** Values that a condition on a range is taken to select, beside one for a condition on equality. */
const RANGE_COST = 16

/** The live queries of one map, and which of them a changed record concerns. */
export class MapQueries {
  readonly groups = new Map<string, SharedGroup>()
  readonly #map: MapState
  readonly #routes = new Routes<SharedGroup>()
  /** Those evaluated since the feed last told of changes: they have seen some of what it tells next. */
  #fresh: SharedGroup[] = []

  constructor(map: MapState) {
    this.#map = map
  }

  add(shared: SharedGroup): void {
    const { spec, view } = shared.group
    const costOf = (bound: FieldBound): number =>
      isVisible(view, bound.path) ? ('equals' in bound ? 1 : RANGE_COST) : Infinity
    this.groups.set(shared.key, shared)
    this.#routes.add(shared, coverOf(spec, costOf))
    if (this.#routes.hasBounded) this.#map.previous ??= new Map()
  }

  remove(shared: SharedGroup): void {
    this.groups.delete(shared.key)
    this.#routes.remove(shared)
    this.#fresh = this.#fresh.filter((each) => each !== shared)
    if (!this.#routes.hasBounded) this.#map.previous = undefined
  }

  /** A group has its first result. */
  evaluated(shared: SharedGroup): void {
    this.#fresh.push(shared)
  }

  /** Which rows each group is to look at anew, that may have one of them in its result, or may have from now on. */
  concerned(entries: readonly Entry[]): Map<SharedGroup, readonly Row[]> {
    const rowsByGroup = new Map<SharedGroup, readonly Row[]>()
    if (this.#routes.hasBounded) this.#route(entries, this.#map.previous, rowsByGroup as Map<SharedGroup, Row[]>)
    if (this.#fresh.length === 0 && this.#routes.unbounded.size === 0) return rowsByGroup
    const rows = rowsOfEntries(entries)
    for (const shared of this.#routes.unbounded) rowsByGroup.set(shared, rows)
    for (const shared of this.#fresh) rowsByGroup.set(shared, rows)
    this.#fresh = []
    return rowsByGroup
  }

  #route(
    entries: readonly Entry[],
    previous: ReadonlyMap<Entry, LwwRecord> | undefined,
    rowsByGroup: Map<SharedGroup, Row[]>,
  ): void {
    for (const entry of entries) {
      const row = rowOf(entry)
      const note = (shared: SharedGroup): void => {
        const rows = rowsByGroup.get(shared)
        if (rows === undefined) rowsByGroup.set(shared, [row])
        else if (rows.at(-1) !== row) rows.push(row)
      }
      const before = previous?.get(entry)
      if (before !== undefined) this.#routes.visit(before.value, note)
      this.#routes.visit(entry.record.value, note)
    }
  }
}
