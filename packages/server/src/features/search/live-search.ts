import { valuesEqual } from '@syncline/core'
import type { SearchRow, SearchUpdate } from '@syncline/protocol'
import type { OutgoingValue } from '../../outbound/redact.ts'
import { best, byRank, rankOf } from './best.ts'
import type { CompiledSearch } from './compile.ts'
import type { DocumentChange, MapIndex } from './map-index.ts'
import type { Match, Statistics } from './text-index.ts'

/** How far scores may be off because the collection has changed, before all are reckoned anew. */
const MAX_DRIFT = 0.05
/** Matches beyond the limit that are kept in order, so that those which leave are replaced without looking at all. */
const SPARE = 64

/** A row of a result. Its value is what a reader of the index may see. */
export interface FoundRow extends SearchRow {
  readonly value: OutgoingValue
}

/** How a row changed in a result. */
export type FoundChange = FoundRow & Pick<SearchUpdate['payload'], 'changeType'>

/**
 * One search of one index, shared by all who make it: the matches, scored with the statistics of one moment. A document that
 * changes is scored by itself; all are scored anew when the collection has drifted away from that moment.
 */
export class LiveSearch {
  readonly index: MapIndex
  readonly search: CompiledSearch
  #statistics: Statistics | undefined
  #matchesByKey = new Map<string, Match>()
  /** The best of them in order: at least as many as the limit shows, if there are so many. */
  #head: Match[] = []
  /** Whatever is not in the head comes after this. Undefined where the head has all. */
  #headEnd: Match | undefined
  /** Documents that changed while all are being scored. */
  #changedKeys: Set<string> | undefined
  /** The result lacks changes that it is being scored anew for. */
  #isLagging = false

  constructor(index: MapIndex, search: CompiledSearch) {
    this.index = index
    this.search = search
  }

  /** Seq of the latest commit that the result has taken in. Undefined while changes are being taken in. */
  get version(): number | undefined {
    return this.#isLagging ? undefined : this.index.settledVersion
  }

  /** Rows that match, whether the limit shows them or not. */
  get totalCount(): number {
    return this.#matchesByKey.size
  }

  /** It is being scored, or scored anew. */
  get isEvaluating(): boolean {
    return this.#changedKeys !== undefined
  }

  /** The collection has changed so much that scores are off. */
  get hasDrifted(): boolean {
    return this.#isOff(MAX_DRIFT)
  }

  /** Scores are as they would be now. */
  get isExact(): boolean {
    return !this.isEvaluating && !this.#isOff(0)
  }

  /**
   * Scores all documents, in steps. Answers what that did to the result that there was, as did the changes that have led to it
   * and were not applied.
   */
  *evaluate(changes: readonly DocumentChange[] = []): Generator<void, FoundChange[]> {
    const changed = (this.#changedKeys = new Set<string>())
    this.#isLagging = changes.length > 0
    const { matches, statistics } = yield* this.index.text.find(this.search.query)
    const matchesByKey = new Map<string, Match>()
    let count = 0
    for (const match of matches) {
      if (this.#accepts(match)) matchesByKey.set(match.key, match)
      if (++count % SPARE === 0) yield
    }
    const ranked = yield* best(matchesByKey.values(), this.#headSize)
    const before = this.#window
    this.#statistics = statistics
    this.#matchesByKey = matchesByKey
    this.#setHead(ranked)
    this.#changedKeys = undefined
    this.#isLagging = false
    for (const key of changed) this.#rescore(key)
    this.#fillHead()
    // What changed meanwhile was told as it did.
    return this.#difference(before, changedValues(changes))
  }

  /** Takes changed documents in. Answers what that did to the result. */
  apply(changes: readonly DocumentChange[]): FoundChange[] {
    for (const { key } of changes) this.#changedKeys?.add(key)
    if (this.#statistics === undefined) return []
    const before = this.#window
    for (const { key } of changes) this.#rescore(key)
    this.#fillHead()
    return this.#difference(before, changedValues(changes))
  }

  /** The rows that the limit shows, in order. */
  rows(): FoundRow[] {
    return this.#window.map((match) => this.#rowOf(match))
  }

  /** The row under a key, if the limit shows it. */
  shown(key: string): FoundRow | undefined {
    const match = this.#matchesByKey.get(key)
    if (match === undefined || rankOf(match, this.#head) >= this.search.limit) return undefined
    return this.#rowOf(match)
  }

  #isOff(share: number): boolean {
    const { index, search } = this
    return this.#statistics !== undefined && index.text.hasDrifted(search.query, this.#statistics, share)
  }

  get #window(): readonly Match[] {
    return this.#head.slice(0, this.search.limit)
  }

  get #headSize(): number {
    return this.search.limit + SPARE
  }

  #accepts({ key, score }: Match): boolean {
    const { minScore, matches } = this.search
    if (score < minScore) return false
    const value = this.index.valueAt(key)
    return value !== undefined && (matches === undefined || matches(value))
  }

  #rescore(key: string): void {
    const old = this.#matchesByKey.get(key)
    if (old !== undefined) {
      this.#matchesByKey.delete(key)
      const rank = rankOf(old, this.#head)
      if (this.#head[rank] === old) this.#head.splice(rank, 1)
    }
    const document = this.index.document(key)
    if (document === undefined) return
    const match = this.index.text.score(this.search.query, document, this.#statistics as Statistics)
    if (match === undefined || !this.#accepts(match)) return
    this.#matchesByKey.set(key, match)
    if (this.#headEnd === undefined || byRank(match, this.#headEnd) < 0) {
      this.#head.splice(rankOf(match, this.#head), 0, match)
    }
  }

  /** The head must show what the limit does, and stay small. */
  #fillHead(): void {
    const isShort = this.#head.length < Math.min(this.search.limit, this.#matchesByKey.size)
    if (!isShort && this.#head.length <= 2 * this.#headSize) return
    const ranking = best(this.#matchesByKey.values(), this.#headSize)
    let step = ranking.next()
    while (step.done !== true) step = ranking.next()
    this.#setHead(step.value)
  }

  #setHead(ranked: Match[]): void {
    this.#head = ranked
    this.#headEnd = ranked.length < this.#matchesByKey.size ? ranked.at(-1) : undefined
  }

  #difference(before: readonly Match[], valueChanged: ReadonlySet<string>): FoundChange[] {
    const after = this.#window
    if (before.length === 0 && after.length === 0) return []
    const leaving = new Map(before.map((match) => [match.key, match]))
    const others: FoundChange[] = []
    for (const match of after) {
      const old = leaving.get(match.key)
      leaving.delete(match.key)
      if (old === undefined) others.push({ ...this.#rowOf(match), changeType: 'ENTER' })
      else if (old.score !== match.score || old.terms !== match.terms || valueChanged.has(match.key)) {
        others.push({ ...this.#rowOf(match), changeType: 'UPDATE' })
      }
    }
    // A window loses rows before it takes new ones, or it would be too large in between.
    const leaves: FoundChange[] = [...leaving.keys()].map((key) => leaveOf(key))
    return [...leaves, ...others]
  }

  #rowOf({ key, score, terms }: Match): FoundRow {
    const matchedTerms = this.search.query.terms.filter((_, i) => (terms & (1 << i)) !== 0)
    return {
      key,
      value: this.index.valueAt(key) ?? null,
      score,
      matchedTerms: matchedTerms.map(({ term, prefix }) => prefix ?? term),
    }
  }
}

function changedValues(changes: readonly DocumentChange[]): ReadonlySet<string> {
  return new Set(changes.filter(({ before, after }) => !valuesEqual(before, after)).map(({ key }) => key))
}

/** That a row left a result. */
export function leaveOf(key: string): FoundChange {
  return { key, value: null, score: 0, matchedTerms: [], changeType: 'LEAVE' }
}
