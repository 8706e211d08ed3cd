import { isMap, valuesEqual, type Env, type Value } from '@syncline/core'
import { searchTerms, searchedText } from '@syncline/core/search'
import type { ReadView } from '../../inbound/authorize.ts'
import type { OutgoingValue } from '../../outbound/redact.ts'
import type { Entry, MapState } from '../../store/map-state.ts'
import { readRow, rowAt, rowStandsUntilMs, rowsOf, rowsOfEntries, type Row } from '../../store/rows.ts'
import type { Pass } from './pass.ts'
import { DueHeap } from '../../store/due-heap.ts'
import { TextIndex, type TextDocument } from './text-index.ts'

/** Changes after which those who follow the index are told, where more wait. */
const CHANGES_AT_ONCE = 256

/** How a document of an index changed. */
export interface DocumentChange {
  readonly key: string
  /** The document's id in the index; another one may have it once this is gone. */
  readonly id: number
  /** What the row showed before and shows now; undefined where it was or is no document. */
  readonly before: OutgoingValue | undefined
  readonly after: OutgoingValue | undefined
  /** The terms that it held before or holds now. */
  readonly terms: ReadonlySet<string>
}

/**
 * The index of a map for the readers of one redaction class. It holds what they see and nothing else, so that what they may
 * not see can neither match nor touch a score. It follows the map in steps, as many as there is time for.
 */
export class MapIndex {
  readonly map: MapState
  readonly view: ReadView
  /** The searched fields, by column: one text or several. */
  readonly columns: readonly (readonly string[])[]
  readonly text: TextIndex
  /** Looks at all documents that are under way: they are told of each change as it is made. */
  readonly passes = new Set<Pass>()
  /** When it was last asked for, by the monotonic clock. */
  usedAtMs = 0
  /** Every row has been looked at. */
  isBuilt = false
  readonly #env: Env
  readonly #onChanges: (index: MapIndex, changes: readonly DocumentChange[]) => void
  /** What the rows show that are documents. */
  readonly #valuesByKey = new Map<string, OutgoingValue>()
  /** Rows that read otherwise after a time without being written. */
  readonly #expiring = new DueHeap<string>()
  /** Seq of the latest commit that it knows of. */
  #knownSeq = 0
  #version = 0
  /** Rows that changed and have not been looked at since, in the order in which they did. */
  readonly #pending = new Map<string, Row>()
  #changes: DocumentChange[] = []

  /** `onChanges` is called with what changed in documents, while none of them waits to be told of. */
  constructor(
    map: MapState,
    view: ReadView,
    columns: readonly (readonly string[])[],
    env: Env,
    onChanges: (index: MapIndex, changes: readonly DocumentChange[]) => void,
  ) {
    this.map = map
    this.view = view
    this.columns = columns
    this.text = new TextIndex(columns.length)
    this.#env = env
    this.#onChanges = onChanges
    this.#knownSeq = map.log.head
  }

  /** Documents in the index. */
  get size(): number {
    return this.#valuesByKey.size
  }

  /** Rows that wait to be looked at. */
  get pendingCount(): number {
    return this.#pending.size
  }

  /** Seq of the latest commit that it has taken in and told, with all before. Undefined while there is more to take in. */
  get settledVersion(): number | undefined {
    return this.#pending.size === 0 && this.#changes.length === 0 ? this.#version : undefined
  }

  /** Some document may leave without being written. */
  get canExpire(): boolean {
    return this.#expiring.size > 0
  }

  /** Some row is to be looked at, because it was written or because its time has passed. */
  get isBehind(): boolean {
    return this.#pending.size > 0 || this.#expiring.isDue(this.#env.now())
  }

  /** Looks at all rows of the map, in steps. Those that change meanwhile are looked at as they do. */
  *build(): Generator<void, void> {
    for (const row of rowsOf(this.map)) {
      if (this.#valuesByKey.has(row.key)) continue
      this.#take(row, (document) => this.text.gather(document))
      yield
      if (this.text.isFull) yield* this.text.settle()
    }
    yield* this.text.settle()
    yield* this.catchUp()
    this.isBuilt = true
  }

  /** Learns which rows have changed. They are looked at in `catchUp`. */
  learn(): void {
    const { log } = this.map
    if (log.head === this.#knownSeq) return
    const entries: Entry[] = []
    log.since(this.#knownSeq, (entry) => entries.push(entry) > 0)
    this.#knownSeq = log.head
    for (const row of rowsOfEntries(entries)) this.#pending.set(row.key, row)
  }

  /** Looks at the rows that have changed up to now, or whose time has passed, in steps. Others that change meanwhile may wait. */
  *catchUp(): Generator<void, void> {
    const nowMs = this.#env.now()
    for (let key = this.#expiring.take(nowMs); key !== undefined; key = this.#expiring.take(nowMs)) {
      const row = rowAt(this.map, key)
      if (row !== undefined) this.#pending.set(key, row)
      yield
    }
    for (let due = this.#pending.size; due > 0 && this.#pending.size > 0; due--) {
      const [key, row] = this.#pending.entries().next().value as [string, Row]
      this.#pending.delete(key)
      this.#take(row, (document) => this.text.add(document))
      if (this.#changes.length >= CHANGES_AT_ONCE) this.#tell()
      yield
    }
    if (this.#pending.size === 0) this.#version = this.#knownSeq
    this.#tell()
  }

  /** What the row under a key shows, as of the index. Undefined where it is no document. */
  valueAt(key: string): OutgoingValue | undefined {
    return this.#valuesByKey.get(key)
  }

  /** What the index holds of a row that shows a value. */
  documentOf(key: string, value: Value): TextDocument {
    const parts = this.#parts(value)
    const textOf = (fields: readonly string[]): string => parts.map((part) => searchedText(part, fields)).join(' ')
    return { key, columns: this.columns.map((fields) => searchTerms(textOf(fields))) }
  }

  #take(row: Row, add: (document: TextDocument) => void): void {
    const { key } = row
    const nowMs = this.#env.now()
    const shown = readRow(this.view, row, nowMs)
    const value = shown !== undefined && this.#parts(shown).some(isMap) ? shown : undefined
    const before = this.#valuesByKey.get(key)
    if (value === undefined) this.#valuesByKey.delete(key)
    else {
      this.#valuesByKey.set(key, value)
      const untilMs = rowStandsUntilMs(row, nowMs)
      if (untilMs !== Infinity) this.#expiring.add(key, untilMs)
    }
    // A change of what may not be seen is none.
    if (valuesEqual(before, value)) return
    const old = before === undefined ? undefined : this.documentOf(key, before)
    const document = value === undefined ? undefined : this.documentOf(key, value)
    const idBefore = this.text.idOf(key)
    if (old === undefined || document === undefined || !haveSameTerms(old, document)) {
      if (old !== undefined) this.text.remove(old)
      if (document !== undefined) add(document)
    }
    // While it is made there is nobody to tell.
    const id = idBefore ?? this.text.idOf(key)
    if (!this.isBuilt || id === undefined) return
    const terms = new Set([...(old?.columns.flat() ?? []), ...(document?.columns.flat() ?? [])])
    const change = { key, id, before, after: value, terms }
    for (const pass of this.passes) pass.note(change)
    this.#changes.push(change)
  }

  #tell(): void {
    const changes = this.#changes
    this.#changes = []
    if (changes.length > 0) this.#onChanges(this, changes)
  }

  /** A row of an OR-map is the list of its values, and its text that of all of them. */
  #parts(value: Value): readonly Value[] {
    return this.map.kind === 'or' && Array.isArray(value) ? (value as readonly Value[]) : [value]
  }
}

function haveSameTerms(a: TextDocument, b: TextDocument): boolean {
  return a.columns.every((terms, column) => {
    const others = b.columns[column] as readonly string[]
    return terms.length === others.length && terms.every((term, i) => term === others[i])
  })
}
