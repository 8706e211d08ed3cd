import {
  compileOrder,
  compileQuery,
  err,
  isAfterCursor,
  ok,
  valuesEqual,
  type Env,
  type Matcher,
  type QueryCursor,
  type QuerySpec,
  type QueryWork,
  type Result,
  type RowOrder,
  type Value,
} from '@syncline/core'
import { wireError, type WireError } from '@syncline/protocol'
import type { ReadView } from '../../inbound/authorize.ts'
import { selectFields, type OutgoingValue } from '../../outbound/redact.ts'
import type { Entry, MapState } from '../../store/map-state.ts'
import { readRow, rowsOf, rowsOfEntries, type Row } from '../../store/rows.ts'
import type { QueryCursors } from './cursors.ts'
import { Expiries } from './expiries.ts'
import type { Indexes } from './indexes.ts'
import { chooseCandidates } from './plan.ts'
import { rowsPerLookFor, sortInSteps } from '../../sliced-work.ts'
import { placeOf } from '../../sorted.ts'
import { windowChanges } from './window-changes.ts'
import { WindowSource, type Drawn } from './window-source.ts'

/** Milliseconds after which a step ends. */
const STEP_MS = 1
/** Rows of a result that are put together in one step. */
const MADE_PER_STEP = 4_096
/** The largest limit whose window holds only some rows beyond its end, and takes more from an index. */
const MAX_SOURCED_LIMIT = 500

/** What is asked of a map. */
export interface Question {
  readonly spec: QuerySpec
  /** The only top-level fields that rows are shown with. */
  readonly fields?: ReadonlySet<string> | undefined
}

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
 * the query has a limit, and works out from each changed row what that does to the result: a write costs the same
 * however large the map is. A window over an index keeps some rows beyond its end, and takes more when it runs short.
 */
export class QueryGroup {
  readonly map: MapState
  readonly view: ReadView
  readonly spec: QuerySpec
  /** What has been looked at for the query, in rows of usual length. */
  readonly work: QueryWork
  /** Seq of the latest commit when the query was evaluated. */
  #evaluatedThrough = 0
  readonly #fields: ReadonlySet<string> | undefined
  readonly #matches: Matcher
  readonly #order: RowOrder
  readonly #limit: number
  /** Every row that matches, whether the limit shows it or not; in a window with a fence only up to that. */
  readonly #valuesByKey = new Map<string, OutgoingValue>()
  /** Those of them that have a time to live. */
  readonly #expiries = new Expiries()
  /** The same rows in order; only where a limit makes order matter, once the query is evaluated. */
  #sorted: ResultRow[] | undefined
  /** Where a window takes the rows from that lie after its fence. */
  #source: WindowSource | undefined
  /** The last place up to which the window holds every row that matches. Undefined where it holds all there are. */
  #fence: ResultRow | undefined
  /** The rows lie too far apart in the index for the window to take from it again. */
  #isSparse = false
  readonly #cursors: QueryCursors
  readonly #cursor: QueryCursor | undefined
  /** Says whether a row lies after the query's cursor; undefined where it has none. */
  readonly #isAfter: ((key: string, value: Value) => boolean) | undefined

  private constructor(
    map: MapState,
    view: ReadView,
    { spec, fields }: Question,
    matches: Matcher,
    work: QueryWork,
    cursors: QueryCursors,
    cursor: QueryCursor | undefined,
  ) {
    this.work = work
    this.#cursors = cursors
    this.map = map
    this.view = view
    this.spec = spec
    this.#fields = fields
    this.#matches = matches
    this.#order = compileOrder(spec.sort)
    this.#cursor = cursor
    this.#isAfter = cursor === undefined ? undefined : isAfterCursor(spec, cursor)
    this.#limit = spec.limit === undefined || spec.limit === 0 ? Infinity : spec.limit
  }

  /** Compiles a query. It has no result yet: `evaluate` is to be run first. */
  static compile(
    map: MapState,
    view: ReadView,
    question: Question,
    cursors: QueryCursors,
    nowMs: number,
  ): Result<QueryGroup, WireError> {
    const { spec } = question
    const work: QueryWork = { looked: 0 }
    const compiled = compileQuery(spec, work)
    if (!compiled.ok) return err(wireError(compiled.error.code, compiled.error.message))
    const position = spec.cursor === undefined ? undefined : cursors.open(map, view, spec, spec.cursor, nowMs)
    if (spec.cursor !== undefined && position === undefined) return err(wireError('INVALID_CURSOR'))
    return ok(new QueryGroup(map, view, question, compiled.value, work, cursors, position))
  }

  /**
   * Evaluates the query over the map, in steps between which others may have their turn. What changes meanwhile is taken
   * in at the end, so that the result is that of the one moment when the last step is done.
   */
  *evaluate(env: Pick<Env, 'now' | 'monotonic'>, indexes?: Indexes): Generator<void, void> {
    const { map, spec, view } = this
    let candidates: Iterable<Row> = rowsOf(map)
    if (indexes !== undefined) {
      const chosen = yield* chooseCandidates(map, view, spec, indexes, this.work)
      if (this.#isSourced && chosen.count > indexes.rowsToLookAt(this.#limit)) {
        const source = yield* WindowSource.open(map, view, spec, indexes, this.work)
        if (source !== undefined && this.#begin(source, env.now())) return
      }
      candidates = chosen.collect() ?? candidates
    }
    yield* this.#lookAt(candidates, env)
    this.#evaluatedThrough = map.log.head
  }

  *#lookAt(candidates: Iterable<Row>, env: Pick<Env, 'now' | 'monotonic'>): Generator<void, void> {
    const { map } = this
    const rowsPerLook = rowsPerLookFor(this.spec)
    let through = map.log.head
    let nowMs = env.now()
    let startedAt = env.monotonic()
    let looked = this.work.looked
    for (const row of candidates) {
      const value = this.#valueOf(row, nowMs)
      if (value !== undefined) this.#valuesByKey.set(row.key, value)
      // With the texts that were gone through, which may take as long as thousands of rows.
      if (++this.work.looked - looked < rowsPerLook) continue
      looked = this.work.looked
      if (env.monotonic() - startedAt < STEP_MS) continue
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
  }

  /** The window may hold only some rows beyond its end. */
  get #isSourced(): boolean {
    return this.#limit <= MAX_SOURCED_LIMIT
  }

  /** Takes the window's first rows from a source, at once. False where they lie too far apart in it. */
  #begin(source: WindowSource, nowMs: number): boolean {
    const after = this.#cursor && { key: this.#cursor.key, value: this.#cursor.sortValues[0] }
    const read = (row: Row): OutgoingValue | undefined => this.#valueOf(row, nowMs)
    const drawn = source.draw(after, source.rowsToKeep, source.rowsToLookAt, this.work, read)
    if (drawn.isCutOff) {
      this.#expiries.clear()
      return false
    }
    this.#source = source
    this.#sorted = []
    this.#take(drawn)
    this.#evaluatedThrough = this.map.log.head
    return true
  }

  /** Adds rows that lie after all that the window holds. */
  #take({ rows, isWhole }: Drawn): void {
    const sorted = this.#sorted as ResultRow[]
    for (const row of rows.sort(this.#byOrder)) {
      sorted.push(row)
      this.#valuesByKey.set(row.key, row.value)
    }
    this.#fence = isWhole ? undefined : sorted.at(-1)
  }

  /** A window that shows all that it holds has to know what comes after. */
  #refill(nowMs: number): void {
    const [source, fence, sorted] = [this.#source, this.#fence, this.#sorted]
    if (source === undefined || fence === undefined || sorted === undefined || sorted.length > this.#limit) return
    this.#fence = undefined
    const after = { key: fence.key, value: source.valueOf(fence.value) }
    const draw = (count: number, maxLooked: number): Drawn =>
      source.draw(after, count, maxLooked, { looked: 0 }, (row) => {
        const value = this.#valueOf(row, nowMs)
        if (value === undefined || this.#order(row.key, value, fence.key, fence.value) > 0) return value
        return undefined
      })
    const drawn = draw(source.rowsToKeep - sorted.length, source.rowsToLookAt)
    if (!drawn.isCutOff) return this.#take(drawn)
    // Rows lie so far apart that looking for a few costs as much as for all: from now on it holds all, and never looks again.
    this.#isSparse = true
    this.#take(draw(Infinity, Infinity))
    this.end()
  }

  /** Nobody asks any more: it relies on no index. */
  end(): void {
    this.#source?.close()
    this.#source = undefined
  }

  /** Lets go of rows far beyond the end of the window, which its source can give back. */
  #trim(indexes: Indexes | undefined): void {
    const sorted = this.#sorted as ResultRow[]
    if (this.#source === undefined && indexes !== undefined && this.#isSourced && !this.#isSparse) {
      if (sorted.length <= indexes.rowsToLookAt(this.#limit)) return
      this.#source = WindowSource.openNow(this.map, this.view, this.spec, indexes)
    }
    const keep = this.#source?.rowsToKeep ?? Infinity
    if (sorted.length <= 2 * keep) return
    for (const { key } of sorted.splice(keep)) {
      this.#valuesByKey.delete(key)
      this.#expiries.forget(key)
    }
    this.#fence = sorted.at(-1)
  }

  /** Seq of the latest commit that the result has taken in: it is told of each that concerns it. */
  get version(): number {
    return Math.max(this.#evaluatedThrough, this.map.announcedSeq)
  }

  /** A row of the result may leave it without being written. */
  get canExpire(): boolean {
    return this.#expiries.any
  }

  /** A row's time may have passed. */
  isExpiring(nowMs: number): boolean {
    return this.#expiries.isDue(nowMs)
  }

  /** The rows of the result whose time has passed, which are to be applied. */
  expired(nowMs: number): Row[] {
    return this.#expiries.due(nowMs)
  }

  /** The result as of now, in order; in steps, which later changes do not disturb. */
  *rows(): Generator<void, readonly ResultRow[]> {
    const rows = this.#sorted?.slice(0, this.#limit) ?? (yield* this.#ordered())
    return this.#fields === undefined ? rows : rows.map(({ key, value }) => ({ key, value: this.#asShown(value) }))
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

  /** Rows that the limit shows. */
  get shownCount(): number {
    return Math.min(this.#limit, this.rowCount)
  }

  /** More rows match than the limit shows. */
  get hasMore(): boolean {
    return this.#valuesByKey.size > this.#limit
  }

  /** A cursor that continues after the last row shown; undefined where there is nothing more. */
  nextCursor(): string | undefined {
    const last = this.hasMore ? this.#sorted?.[this.#limit - 1] : undefined
    return last === undefined ? undefined : this.#cursors.seal(this.map, this.spec, last.key, last.value)
  }

  /** The value under a key of the result; undefined where the result does not hold it. */
  shown(key: string): OutgoingValue | undefined {
    const value = this.#valuesByKey.get(key)
    if (value === undefined) return undefined
    if (this.#sorted !== undefined && this.#position({ key, value }) >= this.#limit) return undefined
    return this.#asShown(value)
  }

  #asShown(value: OutgoingValue): OutgoingValue {
    return this.#fields === undefined ? value : selectFields(value, this.#fields)
  }

  /** Takes changed rows in, and says what that did to the result. With indexes, a window that has grown lets go of rows. */
  apply(changed: readonly Row[], nowMs: number, indexes?: Indexes): RowChange[] {
    if (this.#sorted === undefined) return this.#applyAll(changed, nowMs)
    const changes = this.#applyWindow(this.#sorted, changed, nowMs)
    this.#trim(indexes)
    return changes
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
      const value = this.#asShown(after)
      if (before === undefined) changes.push({ key, value, changeType: 'ENTER' })
      else if (!valuesEqual(this.#asShown(before), value)) changes.push({ key, value, changeType: 'UPDATE' })
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
    this.#refill(nowMs)
    return windowChanges(
      { rows: sorted, shownBefore, shown: this.shownCount },
      before,
      (key) => this.shown(key),
      (value) => this.#asShown(value),
    )
  }

  /** Where a row stands, or would stand, in the order. */
  #position(row: ResultRow): number {
    return placeOf(this.#sorted as ResultRow[], this.#byOrder, row)
  }

  readonly #byOrder = (a: ResultRow, b: ResultRow): number => this.#order(a.key, a.value, b.key, b.value)

  #valueOf(row: Row, nowMs: number): OutgoingValue | undefined {
    const value = this.#selected(row, nowMs)
    if (value === undefined) this.#expiries.forget(row.key)
    else this.#expiries.note(row, nowMs)
    return value
  }

  #selected(row: Row, nowMs: number): OutgoingValue | undefined {
    const value = readRow(this.view, row, nowMs)
    if (value === undefined || !this.#matches(value)) return undefined
    if (this.#isAfter !== undefined && !this.#isAfter(row.key, value)) return undefined
    const fence = this.#fence
    return fence === undefined || this.#order(row.key, value, fence.key, fence.value) <= 0 ? value : undefined
  }
}
