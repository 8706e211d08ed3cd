import { compareForOrder, fieldReader, type QuerySpec, type QueryWork, type Value } from '@syncline/core'
import type { ReadView } from '../../inbound/authorize.ts'
import type { OutgoingValue } from '../../outbound/redact.ts'
import type { MapState } from '../../store/map-state.ts'
import type { Row } from '../../store/rows.ts'
import type { FieldIndex } from './field-index.ts'
import type { Indexes } from './indexes.ts'
import { isVisible, whenReady } from './plan.ts'
import type { ResultRow } from './query-group.ts'

/** What a window took from its source. */
export interface Drawn {
  readonly rows: ResultRow[]
  /** There are no more after them. */
  readonly isWhole: boolean
  /** Too many rows were looked at, and the window has none of this. */
  readonly isCutOff: boolean
}

/** A place in the order of the field that a query sorts by first. */
interface Place {
  readonly key: string
  readonly value: Value | undefined
}

/** The rows of a map in the order of what a query sorts by first, from which its window takes what it needs. */
export class WindowSource {
  readonly #index: FieldIndex
  readonly #sign: number
  /** The index has the whole order of the query, and not only that of its first field. */
  readonly #isExact: boolean
  readonly #read: (value: Value) => Value | undefined
  /** Rows that the window holds when it has taken some. */
  readonly rowsToKeep: number
  /** Rows that are looked at for them at most. */
  readonly rowsToLookAt: number

  private constructor(index: FieldIndex, { sort = {}, limit = 0 }: QuerySpec, indexes: Indexes) {
    const [first, second] = Object.entries(sort)
    this.rowsToKeep = indexes.rowsToKeep(limit)
    this.rowsToLookAt = indexes.rowsToLookAt(limit)
    this.#index = index
    this.#sign = first?.[1] === 'desc' ? -1 : 1
    this.#isExact = second === undefined
    this.#read = first === undefined ? () => undefined : fieldReader(first[0])
    index.users++
  }

  /** The window relies on it no longer. */
  close(): void {
    this.#index.users--
  }

  /** The source for a query's order, in steps while an index is made; undefined where there is to be none. */
  static *open(
    map: MapState,
    view: ReadView,
    spec: QuerySpec,
    indexes: Indexes,
    work: QueryWork,
  ): Generator<void, WindowSource | undefined> {
    const index = indexOf(map, view, spec, indexes)
    if (index === undefined) return undefined
    yield* whenReady(index, work)
    return new WindowSource(index, spec, indexes)
  }

  /** The same if it is there already. Otherwise some of the work is done that it takes to make it. */
  static openNow(map: MapState, view: ReadView, spec: QuerySpec, indexes: Indexes): WindowSource | undefined {
    const index = indexOf(map, view, spec, indexes)
    index?.step()
    return index?.isReady === true ? new WindowSource(index, spec, indexes) : undefined
  }

  /** What a value is sorted by first. */
  valueOf(value: Value): Value | undefined {
    return this.#read(value)
  }

  /**
   * Takes at least `count` rows that a test lets through, from a place on; in the order of the query's first field, and no
   * row that is left lies before one that is taken. Each row that is looked at is counted in `work`, which may be where the
   * test counts what else it does: it is cut off when that has come to `maxLooked`.
   */
  draw(
    after: Place | undefined,
    count: number,
    maxLooked: number,
    work: QueryWork,
    read: (row: Row) => OutgoingValue | undefined,
  ): Drawn {
    this.#index.refresh()
    const rows: ResultRow[] = []
    const enough = work.looked + maxLooked
    let run: Value | undefined
    const from = after === undefined || this.#isExact ? after : { ...after, key: '' }
    for (const { value: first, row } of this.#index.walk(this.#sign, from)) {
      if (rows.length >= count && (this.#isExact || compareForOrder(first, run) !== 0)) {
        return { rows, isWhole: false, isCutOff: false }
      }
      if (work.looked >= enough) return { rows: [], isWhole: false, isCutOff: true }
      work.looked++
      run = first
      const value = read(row)
      if (value !== undefined) rows.push({ key: row.key, value })
    }
    return { rows, isWhole: true, isCutOff: false }
  }
}

function indexOf(map: MapState, view: ReadView, { sort = {} }: QuerySpec, indexes: Indexes): FieldIndex | undefined {
  const [path] = Object.keys(sort)
  return path === undefined || isVisible(view, path) ? indexes.get(map, path) : undefined
}
