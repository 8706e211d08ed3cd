import { compileOrder, compileQuery, type Matcher, type QuerySpec, type RowOrder } from '@syncline/core'
import { SynclineError } from '../../errors.ts'
import type { Replica, SyncState } from '../../offline/replica.ts'

/** One row of a result. The same object as long as value and state are the same. */
export interface Row<T> {
  readonly key: string
  readonly value: T
  readonly sync: SyncState
}

/** More changed keys than this are merged in one pass; fewer are put in place one by one. */
const FEW = 16

/** Everything in a map that meets a query's conditions, in its order, kept so from change to change. */
export class ResultSet {
  readonly #replica: Replica
  readonly #matches: Matcher
  readonly #order: RowOrder
  readonly #byKey = new Map<string, Row<unknown>>()
  rows: Row<unknown>[] = []
  /** The replica's version that this was computed from. */
  #version = -1

  /** Throws BAD_QUERY. */
  constructor(replica: Replica, spec: QuerySpec) {
    const compiled = compileQuery(spec)
    if (!compiled.ok) throw new SynclineError(compiled.error.code, compiled.error.message)
    this.#replica = replica
    this.#matches = compiled.value
    this.#order = compileOrder(spec.sort)
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
    const changes: [Row<unknown> | undefined, Row<unknown> | undefined][] = []
    for (const key of keys) {
      const before = this.#byKey.get(key)
      const after = this.#read(key, before)
      if (before === after) continue
      changes.push([before, after])
      if (after === undefined) this.#byKey.delete(key)
      else this.#byKey.set(key, after)
    }
    if (changes.length > FEW) {
      const left = new Set(changes.flatMap(([before]) => before ?? []))
      if (left.size > 0) this.rows = this.rows.filter((row) => !left.has(row))
      this.#join(changes.flatMap(([, after]) => after ?? []).sort(this.#compare))
    } else {
      for (const [before, after] of changes) {
        if (before !== undefined) this.rows.splice(this.#placeOf(before), 1)
        if (after !== undefined) this.rows.splice(this.#placeOf(after), 0, after)
      }
    }
    this.#version = this.#replica.version
  }

  #read(key: string, before: Row<unknown> | undefined): Row<unknown> | undefined {
    const value = this.#replica.get(key)
    if (value === undefined || !this.#matches(value)) return undefined
    const sync = this.#replica.syncOf(key)
    return before?.value === value && before.sync === sync ? before : { key, value, sync }
  }

  /** Joins sorted rows to those that are here. */
  #join(entered: readonly Row<unknown>[]): void {
    const joined: Row<unknown>[] = []
    let at = 0
    for (const row of entered) {
      const place = this.#placeOf(row, at)
      while (at < place) joined.push(this.rows[at++] as Row<unknown>)
      joined.push(row)
    }
    while (at < this.rows.length) joined.push(this.rows[at++] as Row<unknown>)
    this.rows = joined
  }

  readonly #compare = (a: Row<unknown>, b: Row<unknown>): number =>
    this.#order(a.key, a.value as never, b.key, b.value as never)

  #placeOf(row: Row<unknown>, from = 0): number {
    let [low, high] = [from, this.rows.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#compare(this.rows[middle] as Row<unknown>, row) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}
