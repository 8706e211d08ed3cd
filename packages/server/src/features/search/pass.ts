import type { OutgoingValue } from '../../outbound/redact.ts'
import type { CompiledSearch } from './compile.ts'
import type { DocumentChange, MapIndex } from './map-index.ts'
import type { Match, Prepared, Statistics, TextDocument } from './text-index.ts'

/** How many fewer documents a step takes where each match is judged by a condition, or kept. */
const COSTLY_SHARE = 8

/** Who is handed what a pass finds. */
export interface Finder {
  /** A document matches. */
  found(score: number, match: () => Match): void
  /** One that was handed over has changed since. */
  lost(match: Match): void
  /** It keeps each match, or does something as costly with it. */
  readonly keepsAll: boolean
}

/**
 * One look at all documents of an index for a search, in steps, while they change under it. What changes meanwhile is
 * scored by itself at the end, so that the result is that of the one moment when the last step is done.
 */
export class Pass {
  readonly index: MapIndex
  readonly search: CompiledSearch
  readonly #finder: Finder
  readonly #changedIds = new Set<number>()
  readonly #changedKeys = new Set<string>()
  #statistics: Statistics | undefined
  /** Documents with smaller ids have been looked at. */
  #through = 0

  constructor(index: MapIndex, search: CompiledSearch, finder: Finder) {
    this.index = index
    this.search = search
    this.#finder = finder
  }

  *run(): Generator<void, Prepared> {
    const { index, search } = this
    index.passes.add(this)
    try {
      const prepared = yield* index.text.prepare(search.query)
      this.#statistics = prepared.statistics
      const share = search.matches !== undefined || this.#finder.keepsAll ? COSTLY_SHARE : 1
      const take = (id: number, score: number, terms: number): void => this.#take(id, score, terms)
      while (this.#through < index.text.endId) {
        this.#through = index.text.scan(prepared, this.#through, share, take)
        yield
      }
      for (const key of this.#changedKeys) {
        const value = index.valueAt(key)
        const match = value === undefined ? undefined : this.#match(index.documentOf(key, value), value)
        if (match !== undefined) this.#finder.found(match.score, () => match)
      }
      return prepared
    } finally {
      index.passes.delete(this)
    }
  }

  /** A document of the index has changed. */
  note({ key, id, before }: DocumentChange): void {
    const isKnown = this.#changedKeys.has(key)
    this.#changedIds.add(id)
    this.#changedKeys.add(key)
    if (isKnown || before === undefined || id >= this.#through) return
    const match = this.#match(this.index.documentOf(key, before), before)
    if (match !== undefined) this.#finder.lost(match)
  }

  #take(id: number, score: number, terms: number): void {
    const { index, search } = this
    if (this.#changedIds.has(id) || score < search.minScore) return
    if (search.matches !== undefined) {
      const value = index.valueAt(index.text.keyOf(id) as string)
      if (value === undefined || !search.matches(value)) return
    }
    this.#finder.found(score, () => ({ key: index.text.keyOf(id) as string, score, terms }))
  }

  #match(document: TextDocument, value: OutgoingValue): Match | undefined {
    return matchOf(this.index, this.search, document, value, this.#statistics as Statistics)
  }
}

/** How a document matches a search by given statistics. */
export function matchOf(
  { text }: MapIndex,
  { query, minScore, matches }: CompiledSearch,
  document: TextDocument,
  value: OutgoingValue,
  statistics: Statistics,
): Match | undefined {
  const match = text.score(query, document, statistics)
  if (match === undefined || match.score < minScore) return undefined
  return matches === undefined || matches(value) ? match : undefined
}
