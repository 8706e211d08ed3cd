import { valuesEqual } from '@syncline/core'
import { placeOf } from '../../sorted.ts'
import { Best, byRank } from './best.ts'
import type { CompiledSearch } from './compile.ts'
import { leaveOf, rowOf, type FoundChange, type FoundRow } from './found-row.ts'
import type { DocumentChange, MapIndex } from './map-index.ts'
import { Pass, matchOf, type Finder } from './pass.ts'
import type { Match, Statistics } from './text-index.ts'

/** How far scores may be off because the collection has changed, before all are reckoned anew. */
const MAX_DRIFT = 0.05
/** Matches beyond the limit that are kept in order, so that those which leave are replaced without looking at all. */
const SPARE = 64

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
  /** The rows that the limit shows, in order, as they were told. While the result lags, others may match better. */
  #toldByKey: ReadonlyMap<string, Match> = new Map()
  /** Rows whose values have changed since. */
  readonly #changedKeys = new Set<string>()
  #joined = 0
  #isEvaluating = false
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

  /** Postings that were looked at beside those that could be counted before. */
  get joined(): number {
    return this.#joined
  }

  /** All documents are being scored. */
  get isEvaluating(): boolean {
    return this.#isEvaluating
  }

  /** The collection has changed so much that scores are off. */
  get hasDrifted(): boolean {
    return this.#isOff(MAX_DRIFT)
  }

  /** Scores are as they would be now. */
  get isExact(): boolean {
    return !this.#isEvaluating && !this.#isOff(0)
  }

  /** Scores all documents, in steps. Answers what that did to the result that was told. */
  *evaluate(): Generator<void, FoundChange[]> {
    this.#isEvaluating = true
    try {
      do {
        const matchesByKey = new Map<string, Match>()
        const best = new Best(this.search.limit + SPARE)
        const finder: Finder = {
          keepsAll: true,
          floor: -Infinity,
          count: 0,
          found: (match) => {
            matchesByKey.set(match.key, match)
            best.found(match)
          },
          lost: (match) => {
            matchesByKey.delete(match.key)
            best.lost(match)
          },
        }
        const { statistics, joined } = yield* new Pass(this.index, this.search, finder).run()
        this.#statistics = statistics
        this.#joined = joined
        this.#matchesByKey = matchesByKey
        this.#setHead(best.ranked())
      } while (this.#isShort)
    } finally {
      this.#isEvaluating = false
      this.#isLagging = false
    }
    return this.#difference()
  }

  /**
   * Takes changed documents in. Answers what that did to the result; undefined where all are to be scored anew first, or
   * are being.
   */
  apply(changes: readonly DocumentChange[]): FoundChange[] | undefined {
    for (const { key, before, after } of changes) if (!valuesEqual(before, after)) this.#changedKeys.add(key)
    if (this.#statistics === undefined) return undefined
    for (const { key } of changes) this.#rescore(key, this.#statistics)
    if (this.#isShort || this.hasDrifted) this.#isLagging = true
    return this.#isLagging ? undefined : this.#difference()
  }

  /** The rows that the limit shows, in order. */
  rows(): FoundRow[] {
    return [...this.#toldByKey.values()].map((match) => rowOf(this.index, this.search, match))
  }

  /** The row under a key, if the limit shows it. */
  shown(key: string): FoundRow | undefined {
    const match = this.#toldByKey.get(key)
    return match === undefined ? undefined : rowOf(this.index, this.search, match)
  }

  #isOff(share: number): boolean {
    const { index, search } = this
    return this.#statistics !== undefined && index.text.hasDrifted(search.query, this.#statistics, share)
  }

  /** The limit shows more rows than are kept in order. */
  get #isShort(): boolean {
    return this.#head.length < Math.min(this.search.limit, this.#matchesByKey.size)
  }

  #rescore(key: string, statistics: Statistics): void {
    const old = this.#matchesByKey.get(key)
    if (old !== undefined) {
      this.#matchesByKey.delete(key)
      const rank = placeOf(this.#head, byRank, old)
      if (this.#head[rank] === old) this.#head.splice(rank, 1)
    }
    const { index, search } = this
    const value = index.valueAt(key)
    if (value === undefined) return
    const match = matchOf(index, search, index.documentOf(key, value), value, statistics)
    if (match === undefined) return
    this.#matchesByKey.set(key, match)
    if (this.#headEnd !== undefined && byRank(match, this.#headEnd) > 0) return
    this.#head.splice(placeOf(this.#head, byRank, match), 0, match)
    if (this.#head.length > 2 * (search.limit + SPARE)) this.#setHead(this.#head.slice(0, search.limit + SPARE))
  }

  #setHead(ranked: Match[]): void {
    this.#head = ranked
    this.#headEnd = ranked.length < this.#matchesByKey.size ? ranked.at(-1) : undefined
  }

  #difference(): FoundChange[] {
    const before = this.#toldByKey
    const after = new Map(this.#head.slice(0, this.search.limit).map((match) => [match.key, match]))
    // A window loses rows before it takes new ones, or it would be too large in between.
    const changes: FoundChange[] = []
    for (const key of before.keys()) if (!after.has(key)) changes.push(leaveOf(key))
    for (const [key, match] of after) {
      const old = before.get(key)
      const isSame = old?.score === match.score && old.terms === match.terms && !this.#changedKeys.has(key)
      if (isSame) continue
      const changeType = old === undefined ? 'ENTER' : 'UPDATE'
      changes.push({ ...rowOf(this.index, this.search, match), changeType })
    }
    this.#toldByKey = after
    this.#changedKeys.clear()
    return changes
  }
}
