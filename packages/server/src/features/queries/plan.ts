import { coverOf, type FieldBound, type QuerySpec, type QueryWork } from '@syncline/core'
import type { ReadView } from '../../inbound/authorize.ts'
import type { MapState } from '../../store/map-state.ts'
import { rowCount, type Row } from '../../store/rows.ts'
import type { FieldIndex } from './field-index.ts'
import type { Indexes } from './indexes.ts'

/** What a condition is taken to select of a map without an index: one row in so many. */
const ONE_IN = { equality: 100, range: 4 }

/** The rows that a query has to look at. */
export interface Candidates {
  /** About how many there are. */
  readonly count: number
  /** They, as of now; undefined where it is every row of the map. */
  readonly collect: () => ReadonlySet<Row> | undefined
}

/**
 * Readers of a view see what is under a path. Not so where they do not see the field; nor where they see only one of a
 * field whose own name has dots and the field that the path goes through. An index that is used for such a path would
 * find what they do not see, or miss what they do, and what it costs would tell them of it.
 */
export function isVisible({ fields }: ReadView, path: string): boolean {
  if (fields === undefined) return true
  const dot = path.indexOf('.')
  return fields.has(path) && (dot < 0 || fields.has(path.slice(0, dot)))
}

/** Finds the rows that a query has to look at, by indexes where there are some or may be; in steps while one is made. */
export function* chooseCandidates(
  map: MapState,
  view: ReadView,
  spec: QuerySpec,
  indexes: Indexes,
  work: QueryWork,
): Generator<void, Candidates> {
  const all = rowCount(map)
  const everything: Candidates = { count: all, collect: () => undefined }
  const cover = coverOf(spec, (bound) => {
    if (!isVisible(view, bound.path)) return Infinity
    const index = indexes.existing(map, bound.path)
    return index === undefined ? all / ('equals' in bound ? ONE_IN.equality : ONE_IN.range) : index.count(bound)
  })
  if (cover === undefined) return everything
  const byPath = new Map<string, FieldIndex>()
  for (const { path } of cover) {
    const index = byPath.get(path) ?? indexes.get(map, path)
    if (index === undefined) return everything
    yield* whenReady(index, work)
    byPath.set(path, index)
  }
  for (const index of byPath.values()) index.refresh()
  const indexOf = ({ path }: FieldBound): FieldIndex => byPath.get(path) as FieldIndex
  const count = cover.reduce((sum, bound) => sum + indexOf(bound).count(bound), 0)
  if (count > all / 2) return everything
  const collect = (): ReadonlySet<Row> => {
    const rows = new Set<Row>()
    for (const bound of cover) {
      indexOf(bound).refresh()
      indexOf(bound).collect(bound, rows)
    }
    return rows
  }
  return { count, collect }
}

/** Helps an index to be made, in steps. */
export function* whenReady(index: FieldIndex, work: QueryWork): Generator<void, void> {
  if (!index.isReady) work.looked += index.size
  while (!index.isReady) {
    index.step()
    yield
  }
}
