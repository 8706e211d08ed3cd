import { createHash } from 'node:crypto'
import { compileWhere, copyValue, err, ok, type Matcher, type Result } from '@syncline/core'
import { canonicalBytes } from '@syncline/core/merkle'
import { queryTerms } from '@syncline/core/search'
import { LIMITS, wireError, type SearchOptions, type WireError } from '@syncline/protocol'
import type { ReadView } from '../../inbound/authorize.ts'
import type { TextQuery } from './text-index.ts'

/** How a map is searched. */
export interface SearchedMap {
  readonly fields: readonly string[]
  readonly boost?: Readonly<Record<string, number>> | undefined
}

/** How maps are searched, and how much that may take. */
export interface SearchSettings {
  readonly maps: Readonly<Record<string, SearchedMap>>
  readonly maxIndexedRecords: number
  readonly maxLiveMatches: number
  readonly idleMs: number
}

/** A search that can be made. */
export interface CompiledSearch {
  /** What the columns of the index hold that it looks into: all fields as one text, or each by itself. */
  readonly columns: readonly (readonly string[])[]
  readonly query: TextQuery
  readonly limit: number
  readonly minScore: number
  readonly matches: Matcher | undefined
  /** The same for searches that ask for the same of one index. */
  readonly key: string
}

/** Deeper than any condition that compiles. */
const MAX_WHERE_DEPTH = 128

/** Compiles a search of a map, as far as a reader of the view may look. */
export function compileSearch(
  searched: SearchedMap,
  view: ReadView,
  text: string,
  options: SearchOptions,
): Result<CompiledSearch, WireError> {
  const { limit = 0, minScore = 0, fields, where, prefix = false } = options
  const boost = options.boost ?? searched.boost
  const visible = searched.fields.filter((field) => view.fields === undefined || view.fields.has(field))
  // A field of which the reader may not know and one that is not searched are refused in the same words.
  const unknown = [...(fields ?? []), ...Object.keys(options.boost ?? {})].find((field) => !visible.includes(field))
  if (unknown !== undefined) {
    return err(wireError('BAD_QUERY', `'${unknown}' is no searched field of this map.`, { field: unknown }))
  }
  const terms = queryTerms(text, prefix)
  if (terms.length > LIMITS.searchTerms) {
    const message = `A search has at most ${LIMITS.searchTerms} different terms.`
    return err(wireError('BAD_QUERY', message, { limit: 'searchTerms', max: LIMITS.searchTerms }))
  }
  const compiled = where === undefined ? undefined : compileWhere(where)
  if (compiled?.ok === false) return err(wireError(compiled.error.code, compiled.error.message))
  const copy = copyValue([where ?? null], MAX_WHERE_DEPTH)
  if (!('value' in copy)) {
    return err(wireError('BAD_QUERY', 'The condition holds a name or value that no record can hold.'))
  }
  const isByField = fields !== undefined || boost !== undefined
  const columns = isByField ? visible.map((field) => [field]) : [visible]
  const weights = isByField ? visible.map((field) => weightOf(field, fields, boost)) : [1]
  const most = limit === 0 ? LIMITS.searchLimit : Math.min(limit, LIMITS.searchLimit)
  const asked = [
    terms.map(({ term, prefix: begun }) => [term, begun ?? null]),
    weights,
    most,
    minScore,
    Buffer.from(canonicalBytes(copy.value)).toString('base64'),
  ]
  return ok({
    columns,
    query: { terms, weights },
    limit: most,
    minScore,
    matches: compiled?.value,
    key: createHash('sha256').update(JSON.stringify(asked)).digest('base64url'),
  })
}

function weightOf(
  field: string,
  fields: readonly string[] | undefined,
  boost: Readonly<Record<string, number>> | undefined,
): number {
  if (fields?.includes(field) === false) return 0
  return boost !== undefined && Object.hasOwn(boost, field) ? (boost[field] as number) : 1
}
