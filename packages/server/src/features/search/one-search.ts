import { Best } from './best.ts'
import type { CompiledSearch } from './compile.ts'
import { rowOf, type FoundRow } from './found-row.ts'
import type { MapIndex } from './map-index.ts'
import { Pass } from './pass.ts'

/** Matches beyond the limit that are kept, for those that change meanwhile. */
const SPARE = 64

/** What a search has found. */
export interface Found {
  readonly rows: readonly FoundRow[]
  /** Rows that match, whether the limit shows them or not. */
  readonly totalCount: number
  /** Seq of the latest commit that it has taken in. Undefined while changes are being taken in. */
  readonly version: number | undefined
}

/**
 * Searches an index once, in steps. It keeps the best rows, and counts the others. `joined` are postings that were looked at
 * beside those that could be counted before.
 */
export function* searchOnce(
  index: MapIndex,
  search: CompiledSearch,
): Generator<void, Found & { readonly joined: number }> {
  let joined = 0
  for (;;) {
    const best = new Best(search.limit + SPARE)
    joined += (yield* new Pass(index, search, best).run()).joined
    const ranked = best.ranked()
    // More of the best have changed meanwhile than there were to take their place.
    if (ranked.length < Math.min(search.limit, best.count)) continue
    const rows = ranked.slice(0, search.limit).map((match) => rowOf(index, search, match))
    return { rows, totalCount: best.count, version: index.settledVersion, joined }
  }
}
