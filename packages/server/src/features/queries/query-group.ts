import {
  compileOrder,
  compileQuery,
  decodeQueryCursor,
  encodeQueryCursor,
  err,
  isAfterCursor,
  isExpired,
  ok,
  valuesEqual,
  type Matcher,
  type QuerySpec,
  type Result,
  type RowOrder,
  type Value,
} from '@syncline/core'
import { wireError, type WireError } from '@syncline/protocol'
import type { ReadView } from '../../inbound/authorize.ts'
import { redactValue, type OutgoingValue } from '../../outbound/redact.ts'
import type { Entry, MapState } from '../../store/map-state.ts'

/** A row of a result. */
export interface ResultRow {
  readonly key: string
  readonly value: OutgoingValue
}

/** How a row changed in a result. */
export interface RowChange {
  readonly key: string
  /** Null in a LEAVE. */
  readonly value: OutgoingValue
  readonly changeType: 'ENTER' | 'UPDATE' | 'LEAVE'
}

/**
 * One query over one map in one redaction class, shared by all who ask it. It keeps the matching rows, in order where
 * the query has one, and works out from each changed entry what that does to the result: a write costs the same
 * however large the map is.
 */
export class QueryGroup {
  readonly map: MapState
  readonly view: ReadView
  readonly spec: QuerySpec
  readonly #matches: Matcher
  readonly #order: RowOrder
  readonly #limit: number
  /** Every row that matches, whether the limit shows it or not. */
  readonly #valuesByKey = new Map<string, OutgoingValue>()
  /** Those of them that have a time to live. */
  readonly #expiringByKey = new Map<string, Entry>()
  /** The same rows in order; only where a limit makes order matter. */
  #sorted: ResultRow[] | undefined
  /** Says whether a row lies after the query's cursor; undefined where it has none. */
  readonly #isAfter: ((key: string, value: Value) => boolean) | undefined

  private constructor(
    map: MapState,
    view: ReadView,
    spec: QuerySpec,
    matches: Matcher,
    isAfter: ((key: string, value: Value) => boolean) | undefined,
  ) {
    this.map = map
    this.view = view
    this.spec = spec
    this.#matches = matches
    this.#order = compileOrder(spec.sort)
    this.#isAfter = isAfter
    this.#limit = spec.limit === undefined || spec.limit === 0 ? Infinity : spec.limit
  }

  /** Compiles a query and evaluates it over the map as it is now. */
  static open(map: MapState, view: ReadView, spec: QuerySpec, nowMs: number): Result<QueryGroup, WireError> {
    const compiled = compileQuery(spec)
    if (!compiled.ok) return err(wireError(compiled.error.code, compiled.error.message))
    const position = spec.cursor === undefined ? undefined : decodeQueryCursor(spec, spec.cursor)
    if (position?.ok === false) return err(wireError('INVALID_CURSOR'))
    const isAfter = position === undefined ? undefined : isAfterCursor(spec, position.value)
    const group = new QueryGroup(map, view, spec, compiled.value, isAfter)
    const matching: ResultRow[] = []
    for (const entry of map.entriesByKey.values()) {
      const value = group.#valueOf(entry, nowMs)
      if (value === undefined) continue
      group.#valuesByKey.set(entry.key, value)
      matching.push({ key: entry.key, value })
    }
    if (group.#limit !== Infinity) {
      matching.sort((a, b) => group.#order(a.key, a.value, b.key, b.value))
      group.#sorted = matching
    }
    return ok(group)
  }

  /** A row of the result may leave it without being written. */
  get canExpire(): boolean {
    return this.#expiringByKey.size > 0
  }

  /** The entries of the result whose time has passed. */
  expired(nowMs: number): Entry[] {
    return [...this.#expiringByKey.values()].filter((entry) => isExpired(entry.record, nowMs))
  }

  /** The result as of now, in order. */
  rows(): readonly ResultRow[] {
    if (this.#sorted !== undefined) return this.#sorted.slice(0, this.#limit)
    const rows = [...this.#valuesByKey].map(([key, value]) => ({ key, value }))
    return rows.sort((a, b) => this.#order(a.key, a.value, b.key, b.value))
  }

  /** More rows match than the limit shows. */
  get hasMore(): boolean {
    return this.#valuesByKey.size > this.#limit
  }

  /** A cursor that continues after the last row shown; undefined where there is nothing more. */
  nextCursor(): string | undefined {
    const last = this.hasMore ? this.rows().at(-1) : undefined
    return last === undefined ? undefined : encodeQueryCursor(this.spec, last.key, last.value)
  }

  /** The value under a key of the result; undefined where the result does not hold it. */
  shown(key: string): OutgoingValue | undefined {
    const value = this.#valuesByKey.get(key)
    if (value === undefined || this.#sorted === undefined) return value
    return this.#position({ key, value }) < this.#limit ? value : undefined
  }

  /** Takes changed entries in, and says what that did to the result. */
  apply(entries: readonly Entry[], nowMs: number): RowChange[] {
    return this.#sorted === undefined ? this.#applyAll(entries, nowMs) : this.#applyWindow(this.#sorted, entries, nowMs)
  }

  #applyAll(entries: readonly Entry[], nowMs: number): RowChange[] {
    const changes: RowChange[] = []
    for (const entry of entries) {
      const { key } = entry
      const before = this.#valuesByKey.get(key)
      const after = this.#valueOf(entry, nowMs)
      if (after === undefined) {
        if (this.#valuesByKey.delete(key)) changes.push({ key, value: null, changeType: 'LEAVE' })
        continue
      }
      this.#valuesByKey.set(key, after)
      if (before === undefined) changes.push({ key, value: after, changeType: 'ENTER' })
      else if (!valuesEqual(before, after)) changes.push({ key, value: after, changeType: 'UPDATE' })
    }
    return changes
  }

  #applyWindow(sorted: ResultRow[], entries: readonly Entry[], nowMs: number): RowChange[] {
    const touched = new Map<string, OutgoingValue | undefined>()
    const before = sorted.slice(0, this.#limit)
    for (const entry of entries) {
      const { key } = entry
      const old = this.#valuesByKey.get(key)
      const value = this.#valueOf(entry, nowMs)
      if (old === undefined && value === undefined) continue
      touched.set(key, value)
      if (old !== undefined) {
        sorted.splice(this.#position({ key, value: old }), 1)
        this.#valuesByKey.delete(key)
      }
      if (value === undefined) continue
      sorted.splice(this.#position({ key, value }), 0, { key, value })
      this.#valuesByKey.set(key, value)
    }
    if (touched.size === 0) return []
    return windowChanges(before, sorted.slice(0, this.#limit), touched)
  }

  /** Where a row stands, or would stand, in the order. */
  #position(row: ResultRow): number {
    const sorted = this.#sorted as ResultRow[]
    let [low, high] = [0, sorted.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      const other = sorted[middle] as ResultRow
      if (this.#order(other.key, other.value, row.key, row.value) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  #valueOf(entry: Entry, nowMs: number): OutgoingValue | undefined {
    const value = this.#selected(entry, nowMs)
    if (value !== undefined && entry.record.ttlMs !== undefined) this.#expiringByKey.set(entry.key, entry)
    else if (this.#expiringByKey.size > 0) this.#expiringByKey.delete(entry.key)
    return value
  }

  #selected(entry: Entry, nowMs: number): OutgoingValue | undefined {
    const value = redactValue(this.view, entry, nowMs)
    if (value === undefined || !this.#matches(value)) return undefined
    return this.#isAfter === undefined || this.#isAfter(entry.key, value) ? value : undefined
  }
}

/** What turns one window into another: rows that left, then rows that came, then rows that changed in place. */
function windowChanges(
  before: readonly ResultRow[],
  after: readonly ResultRow[],
  touched: ReadonlyMap<string, OutgoingValue | undefined>,
): RowChange[] {
  const changes: RowChange[] = []
  const beforeByKey = new Map(before.map((row) => [row.key, row.value]))
  const afterKeys = new Set(after.map((row) => row.key))
  for (const { key } of before) if (!afterKeys.has(key)) changes.push({ key, value: null, changeType: 'LEAVE' })
  for (const { key, value } of after) {
    const old = beforeByKey.get(key)
    if (old === undefined) changes.push({ key, value, changeType: 'ENTER' })
    else if (touched.has(key) && !valuesEqual(old, value)) changes.push({ key, value, changeType: 'UPDATE' })
  }
  return changes
}
