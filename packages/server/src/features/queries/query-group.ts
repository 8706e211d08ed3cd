import {
  compileOrder,
  compileQuery,
  decodeQueryCursor,
  encodeQueryCursor,
  err,
  isAfterCursor,
  ok,
  valuesEqual,
  type Env,
  type Matcher,
  type QuerySpec,
  type Result,
  type RowOrder,
  type Value,
} from '@syncline/core'
import { wireError, type WireError } from '@syncline/protocol'
import type { ReadView } from '../../inbound/authorize.ts'
import type { OutgoingValue } from '../../outbound/redact.ts'
import type { Entry, MapState } from '../../store/map-state.ts'
import { readRow, rowsOf, rowsOfEntries, rowStandsUntilMs, type Row } from '../../store/rows.ts'
import { sortInSteps } from './sliced-work.ts'

/** Rows without a condition that are looked at between two looks at the clock: what a row costs depends on its size. */
const ROWS_PER_LOOK = 16
/** Milliseconds after which a step ends. */
const STEP_MS = 1
/** Rows of a result that are put together in one step. */
const MADE_PER_STEP = 4_096

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
  /** Seq of the latest commit when the query was evaluated. */
  #evaluatedThrough = 0
  readonly #matches: Matcher
  readonly #order: RowOrder
  readonly #limit: number
  /** Every row that matches, whether the limit shows it or not. */
  readonly #valuesByKey = new Map<string, OutgoingValue>()
  /** Those of them that have a time to live, and when each is to be looked at anew. */
  readonly #expiringByKey = new Map<string, { readonly row: Row; readonly untilMs: number }>()
  /** No row of the result expires before: milliseconds since 1970. */
  #nextExpiryMs = Infinity
  /** The same rows in order; only where a limit makes order matter, once the query is evaluated. */
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

  /** Compiles a query. It has no result yet: `evaluate` is to be run first. */
  static compile(map: MapState, view: ReadView, spec: QuerySpec): Result<QueryGroup, WireError> {
    const compiled = compileQuery(spec)
    if (!compiled.ok) return err(wireError(compiled.error.code, compiled.error.message))
    const position = spec.cursor === undefined ? undefined : decodeQueryCursor(spec, spec.cursor)
    if (position?.ok === false) return err(wireError('INVALID_CURSOR'))
    const isAfter = position === undefined ? undefined : isAfterCursor(spec, position.value)
    return ok(new QueryGroup(map, view, spec, compiled.value, isAfter))
  }

  /**
   * Evaluates the query over the map, in steps between which others may have their turn. What changes meanwhile is taken
   * in at the end, so that the result is that of the one moment when the last step is done.
   */
  *evaluate(env: Pick<Env, 'now' | 'monotonic'>): Generator<void, void> {
    const { map } = this
    const rowsPerLook = this.#rowsPerLook
    let through = map.log.head
    let nowMs = env.now()
    let startedAt = env.monotonic()
    let count = 0
    for (const row of rowsOf(map)) {
      const value = this.#valueOf(row, nowMs)
      if (value !== undefined) this.#valuesByKey.set(row.key, value)
      if (++count % rowsPerLook !== 0 || env.monotonic() - startedAt < STEP_MS) continue
      yield
      nowMs = env.now()
      startedAt = env.monotonic()
    }
    if (this.#limit !== Infinity) this.#sorted = yield* this.#ordered()
    for (;;) {
      const changed: Entry[] = []
      map.log.since(through, (entry) => changed.push(entry) < rowsPerLook)
      nowMs = env.now()
      this.apply(rowsOfEntries(changed), nowMs)
      if (changed.length < rowsPerLook) break
      through = (changed.at(-1) as Entry).seq
      yield
    }
    this.apply(this.expired(nowMs), nowMs)
    this.#evaluatedThrough = map.log.head
  }

  /** Seq of the latest commit that the result has taken in: it is told of each that concerns it. */
  get version(): number {
    return Math.max(this.#evaluatedThrough, this.map.announcedSeq)
  }

  /** A row of the result may leave it without being written. */
  get canExpire(): boolean {
    return this.#expiringByKey.size > 0
  }

  /** The rows of the result whose time has passed, which are to be applied. They are looked for when one is due. */
  expired(nowMs: number): Row[] {
    const expired: Row[] = []
    if (nowMs <= this.#nextExpiryMs) return expired
    this.#nextExpiryMs = Infinity
    for (const { row, untilMs } of this.#expiringByKey.values()) {
      if (untilMs < nowMs) expired.push(row)
      else this.#nextExpiryMs = Math.min(this.#nextExpiryMs, untilMs)
    }
    return expired
  }

  /** The result as of now, in order; in steps, which later changes do not disturb. */
  *rows(): Generator<void, readonly ResultRow[]> {
    return this.#sorted?.slice(0, this.#limit) ?? (yield* this.#ordered())
  }

  *#ordered(): Generator<void, ResultRow[]> {
    const [keys, values] = [[...this.#valuesByKey.keys()], [...this.#valuesByKey.values()]]
    const rows: ResultRow[] = []
    for (let i = 0; i < keys.length; i++) {
      rows.push({ key: keys[i] as string, value: values[i] as OutgoingValue })
      if (rows.length % MADE_PER_STEP === 0) yield
    }
    return yield* sortInSteps(rows, this.#byOrder)
  }

  /** Rows in memory: all that match, not only those that the limit shows. */
  get rowCount(): number {
    return this.#valuesByKey.size
  }

  /** More rows match than the limit shows. */
  get hasMore(): boolean {
    return this.#valuesByKey.size > this.#limit
  }

  /** A cursor that continues after the last row shown; undefined where there is nothing more. */
  nextCursor(): string | undefined {
    const last = this.hasMore ? this.#sorted?.[this.#limit - 1] : undefined
    return last === undefined ? undefined : encodeQueryCursor(this.spec, last.key, last.value)
  }

  /** The value under a key of the result; undefined where the result does not hold it. */
  shown(key: string): OutgoingValue | undefined {
    const value = this.#valuesByKey.get(key)
    if (value === undefined || this.#sorted === undefined) return value
    return this.#position({ key, value }) < this.#limit ? value : undefined
  }

  /** Takes changed rows in, and says what that did to the result. */
  apply(changed: readonly Row[], nowMs: number): RowChange[] {
    return this.#sorted === undefined ? this.#applyAll(changed, nowMs) : this.#applyWindow(this.#sorted, changed, nowMs)
  }

  #applyAll(changed: readonly Row[], nowMs: number): RowChange[] {
    const changes: RowChange[] = []
    for (const row of changed) {
      const { key } = row
      const before = this.#valuesByKey.get(key)
      const after = this.#valueOf(row, nowMs)
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

  #applyWindow(sorted: ResultRow[], changed: readonly Row[], nowMs: number): RowChange[] {
    const latest = new Map<string, Row>()
    for (const row of changed) latest.set(row.key, row)
    /** Rows that are looked at anew, as the window shows them before; undefined where it does not. */
    const before = new Map<string, OutgoingValue | undefined>()
    const shownBefore = Math.min(this.#limit, sorted.length)
    for (const key of latest.keys()) before.set(key, this.shown(key))
    for (const { key } of latest.values()) {
      const old = this.#valuesByKey.get(key)
      if (old === undefined) continue
      sorted.splice(this.#position({ key, value: old }), 1)
      this.#valuesByKey.delete(key)
    }
    for (const row of latest.values()) {
      const value = this.#valueOf(row, nowMs)
      if (value === undefined) continue
      const shown = { key: row.key, value }
      sorted.splice(this.#position(shown), 0, shown)
      this.#valuesByKey.set(row.key, value)
    }
    return this.#windowChanges(sorted, before, shownBefore)
  }

  /**
   * What turns the window that was into the one that is: rows that left, then the others. Beside the rows that were
   * looked at only those change which stand next to the end of the window: as many as it gained or lost of the former.
   */
  #windowChanges(
    sorted: readonly ResultRow[],
    before: ReadonlyMap<string, OutgoingValue | undefined>,
    shownBefore: number,
  ): RowChange[] {
    const leaves: RowChange[] = []
    const others: RowChange[] = []
    const shown = Math.min(this.#limit, sorted.length)
    /** Untouched rows that the window shows now, less those that it showed before. */
    let shift = shown - shownBefore
    for (const [key, old] of before) {
      const value = this.shown(key)
      if (old !== undefined) shift++
      if (value !== undefined) shift--
      if (value === undefined) {
        if (old !== undefined) leaves.push({ key, value: null, changeType: 'LEAVE' })
      } else if (old === undefined) others.push({ key, value, changeType: 'ENTER' })
      else if (!valuesEqual(old, value)) others.push({ key, value, changeType: 'UPDATE' })
    }
    for (let at = shown; shift < 0; at++) {
      const { key } = sorted[at] as ResultRow
      if (before.has(key)) continue
      leaves.push({ key, value: null, changeType: 'LEAVE' })
      shift++
    }
    for (let at = shown - 1; shift > 0; at--) {
      const { key, value } = sorted[at] as ResultRow
      if (before.has(key)) continue
      others.push({ key, value, changeType: 'ENTER' })
      shift--
    }
    return [...leaves, ...others]
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

  /** Rows between two looks at the clock. Conditions are judged for each row, so a longer query looks more often. */
  get #rowsPerLook(): number {
    const { where = {}, predicate = {} } = this.spec
    return Math.max(1, Math.floor(ROWS_PER_LOOK / (1 + membersIn(where) + membersIn(predicate))))
  }

  readonly #byOrder = (a: ResultRow, b: ResultRow): number => this.#order(a.key, a.value, b.key, b.value)

  #valueOf(row: Row, nowMs: number): OutgoingValue | undefined {
    const value = this.#selected(row, nowMs)
    const untilMs = value === undefined ? Infinity : rowStandsUntilMs(row, nowMs)
    if (untilMs !== Infinity) {
      this.#expiringByKey.set(row.key, { row, untilMs })
      this.#nextExpiryMs = Math.min(this.#nextExpiryMs, untilMs)
    } else if (this.#expiringByKey.size > 0) this.#expiringByKey.delete(row.key)
    return value
  }

  #selected(row: Row, nowMs: number): OutgoingValue | undefined {
    const value = readRow(this.view, row, nowMs)
    if (value === undefined || !this.#matches(value)) return undefined
    return this.#isAfter === undefined || this.#isAfter(row.key, value) ? value : undefined
  }
}

/** Everything named in a condition, at every depth: about as many tests as a row costs. */
function membersIn(condition: unknown): number {
  if (typeof condition !== 'object' || condition === null) return 0
  return Object.values(condition).reduce((sum: number, inner) => sum + 1 + membersIn(inner), 0)
}
