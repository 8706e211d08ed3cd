import {
  compileOrder,
  compileWhere,
  fieldReader,
  valuesEqual,
  type FieldReader,
  type Matcher,
  type QuerySpec,
  type RowOrder,
  type Value,
} from '@syncline/core'
import { SynclineError } from '../../errors.ts'
import type { Replica, SyncState } from '../../offline/replica.ts'
import { comesAfter } from './place.ts'

/** One row of a result. The same object as long as value and state are the same. */
export interface Row<T> {
  readonly key: string
  readonly value: T
  readonly sync: SyncState
  /** How well the row answers a search; absent in queries. */
  readonly score?: number
}

/** More rows than this are taken out in one pass, and sorted by what is read of them once; fewer one by one. */
const FEW = 16

/** Everything in a map that meets a query's conditions, in its order, kept so from change to change. */
export class ResultSet {
  readonly #replica: Replica
  readonly #matches: Matcher
  readonly #order: RowOrder
  /** The first field to sort by, and 1 for ascending or -1. */
  readonly #first: readonly [read: FieldReader, sign: number] | undefined
  readonly #byKey = new Map<string, Row<unknown>>()
  rows: Row<unknown>[] = []
  /** The replica's version that this was computed from. */
  #version = -1

  readonly #isAfter: ((key: string, value: Value) => boolean) | undefined

  /** The rows after a place, if one is given. Throws BAD_QUERY and INVALID_CURSOR. */
  constructor(replica: Replica, spec: QuerySpec, after?: string) {
    const compiled = compileWhere(spec.where ?? {})
    if (!compiled.ok) throw new SynclineError(compiled.error.code, compiled.error.message)
    this.#replica = replica
    this.#matches = compiled.value
    this.#order = compileOrder(spec.sort)
    this.#isAfter = after === undefined ? undefined : comesAfter(spec, after)
    const [first] = Object.entries(spec.sort ?? {})
    this.#first = first && [fieldReader(first[0]), first[1] === 'desc' ? -1 : 1]
  }

  /** Looks at the whole map, unless nothing has changed since. */
  rebuild(): void {
    if (this.#version === this.#replica.version) return
    const gone = new Set(this.#byKey.keys())
    for (const [key] of this.#replica.entries()) gone.add(key)
    this.update(gone)
    this.#version = this.#replica.version
  }

  /** Looks at some keys. */
  update(keys: ReadonlySet<string>): void {
    const left = new Set<Row<unknown>>()
    const entered: Row<unknown>[] = []
    for (const key of keys) {
      const before = this.#byKey.get(key)
      const after = this.#read(key, before)
      if (before === after) continue
      if (before !== undefined) left.add(before)
      if (after === undefined) this.#byKey.delete(key)
      else {
        this.#byKey.set(key, after)
        entered.push(after)
      }
    }
    if (left.size > FEW) this.rows = this.rows.filter((row) => !left.has(row))
    else for (const row of left) this.rows.splice(this.#placeOf(row, this.rows.length), 1)
    this.#join(this.#sorted(entered))
    this.#version = this.#replica.version
  }

  #read(key: string, before: Row<unknown> | undefined): Row<unknown> | undefined {
    const value = this.#replica.get(key)
    if (value === undefined || !this.#matches(value) || this.#isAfter?.(key, value) === false) return undefined
    const sync = this.#replica.syncOf(key)
    if (before === undefined) return { key, value, sync }
    // What is confirmed comes as another object with the same value.
    const isSame = valuesEqual(before.value as Value, value)
    return isSame && before.sync === sync ? before : { key, value: isSame ? before.value : value, sync }
  }

  /** Puts sorted rows between those that are here, from the end on, so that nothing before the first one moves. */
  #join(entered: readonly Row<unknown>[]): void {
    const { rows } = this
    let from = rows.length
    for (const row of entered) rows.push(row)
    let to = rows.length
    for (let i = entered.length - 1; i >= 0; i--) {
      const row = entered[i] as Row<unknown>
      const place = this.#placeOf(row, from)
      while (from > place) rows[--to] = rows[--from] as Row<unknown>
      rows[--to] = row
    }
  }

  /** Most rows differ in the first field already: of many rows it is read once, and not for each comparison. */
  #sorted(rows: Row<unknown>[]): Row<unknown>[] {
    if (rows.length <= FEW || this.#first === undefined) return rows.sort(this.#compare)
    const [read, sign] = this.#first
    return rows
      .map((row) => {
        const by = read(row.value as Value)
        return { row, by: typeof by === 'number' || typeof by === 'string' ? by : undefined }
      })
      .sort((a, b) =>
        a.by === undefined || typeof a.by !== typeof b.by || a.by === b.by
          ? this.#compare(a.row, b.row)
          : (a.by < (b.by as typeof a.by) ? -1 : 1) * sign,
      )
      .map(({ row }) => row)
  }

  readonly #compare = (a: Row<unknown>, b: Row<unknown>): number =>
    this.#order(a.key, a.value as never, b.key, b.value as never)

  /** Where a row lies, or belongs, among the first `end`. */
  #placeOf(row: Row<unknown>, end: number): number {
    let [low, high] = [0, end]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#compare(this.rows[middle] as Row<unknown>, row) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}
