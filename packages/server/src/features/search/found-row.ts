import type { SearchRow, SearchUpdate } from '@syncline/protocol'
import type { OutgoingValue } from '../../outbound/redact.ts'
import type { CompiledSearch } from './compile.ts'
import type { MapIndex } from './map-index.ts'
import type { Match } from './text-index.ts'

/** A row of a result. Its value is what a reader of the index may see. */
export interface FoundRow extends SearchRow {
  readonly value: OutgoingValue
}

/** How a row changed in a result. */
export type FoundChange = FoundRow & Pick<SearchUpdate['payload'], 'changeType'>

/** The row of a match, as it is now. */
export function rowOf(index: MapIndex, { query }: CompiledSearch, { key, score, terms }: Match): FoundRow {
  const matchedTerms = query.terms.filter((_, i) => (terms & (1 << i)) !== 0)
  return {
    key,
    value: index.valueAt(key) ?? null,
    score,
    matchedTerms: matchedTerms.map(({ term, prefix }) => prefix ?? term),
  }
}

/** That a row left a result. */
export function leaveOf(key: string): FoundChange {
  return { key, value: null, score: 0, matchedTerms: [], changeType: 'LEAVE' }
}
