import type { OutgoingValue } from '../../outbound/redact.ts'
import type { CompiledSearch } from './compile.ts'
import type { DocumentChange, MapIndex } from './map-index.ts'
import { readStep, type Step } from './scan.ts'
import type { Match, Prepared, Statistics, TextDocument } from './text-index.ts'

/** How many fewer documents a step takes where each match is judged by a condition, or kept. */
const COSTLY_SHARE = 8

/** Who is handed what a pass finds. */
export interface Finder {
  /** It keeps each match, or does something as costly with it. */
  readonly keepsAll: boolean
  /** Matches with a smaller score are counted and not handed over. */
  readonly floor: number
  /** How many documents match. */
  count: number
  found(match: Match): void
  /** One that was counted, and handed over if its score was worth it, matches no more, or otherwise. */
  lost(match: Match): void
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
      while (this.#through < index.text.endId) {
        const step = readStep(prepared.lists, this.#through, share)
        this.#take(step)
        this.#through = step.to
        yield
      }
      for (const key of this.#changedKeys) {
        const value = index.valueAt(key)
        const match = value === undefined ? undefined : this.#match(index.documentOf(key, value), value)
        if (match === undefined) continue
        this.#finder.count++
        this.#finder.found(match)
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
    if (match === undefined) return
    this.#finder.count--
    this.#finder.lost(match)
  }

  #take({ from, places, count, scores, terms }: Step): void {
    const finder = this.#finder
    const { text } = this.index
    const { minScore, matches } = this.search
    const changedIds = this.#changedIds.size > 0 ? this.#changedIds : undefined
    let { floor } = finder
    let matching = 0
    for (let i = 0; i < count; i++) {
      const at = places[i] as number
      const score = scores[at] as number
      if (score < minScore || changedIds?.has(from + at) === true) continue
      if (matches !== undefined) {
        const value = this.index.valueAt(text.keyOf(from + at) as string)
        if (value === undefined || !matches(value)) continue
      }
      matching++
      if (score < floor) continue
      finder.found({ key: text.keyOf(from + at) as string, score, terms: terms[at] as number })
      floor = finder.floor
    }
    finder.count += matching
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
