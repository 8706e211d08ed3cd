import type { Result } from '@syncline/core'
import type { WireError } from '@syncline/protocol'
import type { LiveSearch } from './live-search.ts'
import type { DocumentChange, MapIndex } from './map-index.ts'
import type { Subscription } from './subscription.ts'
import type { TextQuery } from './text-index.ts'

/** Share by which a collection may change before its searches are looked at for drift. */
const COLLECTION_DRIFT = 0.01

/** A live search and who follows it. */
export interface SharedSearch {
  readonly live: LiveSearch
  readonly members: Set<Subscription>
  /** Its matches, as they were counted last. */
  matches: number
  /** While all documents are being scored, who is to be told when they are. Each joins then, or does without it. */
  waiting: ((result: Result<SharedSearch, WireError>) => void)[] | undefined
}

/** The live searches of one index: a change costs as many as look for a term that it touches. */
export class Searches {
  readonly byKey = new Map<string, SharedSearch>()
  readonly #byTerm = new Map<string, Set<SharedSearch>>()
  /** Those that look for whatever begins with a prefix. */
  readonly #withPrefix = new Set<SharedSearch>()
  /** Documents, and their mean lengths, when all were looked at for drift. */
  #collection: readonly number[] = []

  add(shared: SharedSearch): void {
    const { key, query } = shared.live.search
    this.byKey.set(key, shared)
    if (query.terms.some(({ prefix }) => prefix !== undefined)) this.#withPrefix.add(shared)
    for (const term of wholeTerms(query)) {
      const searches = this.#byTerm.get(term)
      if (searches === undefined) this.#byTerm.set(term, new Set([shared]))
      else searches.add(shared)
    }
  }

  /** False where it was not among them. */
  delete(shared: SharedSearch): boolean {
    const { key, query } = shared.live.search
    if (this.byKey.get(key) !== shared) return false
    this.byKey.delete(key)
    this.#withPrefix.delete(shared)
    for (const term of wholeTerms(query)) {
      const searches = this.#byTerm.get(term)
      searches?.delete(shared)
      if (searches?.size === 0) this.#byTerm.delete(term)
    }
    return true
  }

  /** Which searches changes concern, and which of the changes. */
  touchedBy(changes: readonly DocumentChange[]): Map<SharedSearch, Set<DocumentChange>> {
    const touched = new Map<SharedSearch, Set<DocumentChange>>()
    const touch = (shared: SharedSearch, change: DocumentChange): void => {
      const own = touched.get(shared)
      if (own === undefined) touched.set(shared, new Set([change]))
      else own.add(change)
    }
    for (const change of changes) {
      for (const term of change.terms) {
        for (const shared of this.#byTerm.get(term) ?? []) touch(shared, change)
        for (const shared of this.#withPrefix) {
          if (shared.live.search.query.terms.some(({ prefix }) => prefix !== undefined && term.startsWith(prefix))) {
            touch(shared, change)
          }
        }
      }
    }
    return touched
  }

  /** All searches where the collection has changed so much that those may have drifted which no change touched. */
  drifting({ size, text }: MapIndex): Iterable<SharedSearch> {
    const collection = [size, ...text.averageLengths]
    if (collection.every((figure, i) => isNear(figure, this.#collection[i] ?? 0))) return []
    this.#collection = collection
    return this.byKey.values()
  }
}

function wholeTerms({ terms }: TextQuery): string[] {
  return terms.flatMap(({ term, stems = [] }) => [term, ...stems])
}

function isNear(a: number, b: number): boolean {
  return Math.abs(a - b) <= COLLECTION_DRIFT * Math.max(a, b)
}
