import { code } from '../../code.ts'
import type { LateDefinition } from '../../late.ts'
import { promises, readable } from '../../stand-in.ts'
import { hashOf, type Query, type QueryState, type Where } from '../queries/handle.ts'

/** What a search looks at, and which rows it gives. */
export interface SearchSpec<T> {
  /** The only fields to search, each scored by itself. By default all that the server searches, as one text. */
  readonly fields?: readonly (keyof T & string)[]
  /** Most rows to give, the best; `loadMore` adds as many again. Without it, and at most, 1,000. */
  readonly limit?: number
  /** Rows with a lower score are left out. */
  readonly minScore?: number
  /** What rows must look like, as in a query. It does not touch scores. */
  readonly where?: Where<T>
}

/** One search: what a handle is made of. */
export interface SearchDefinition {
  readonly text: string
  readonly spec: SearchSpec<unknown>
  /** The fields that the contract says are searched. */
  readonly fields: readonly string[] | undefined
  readonly hash: string
}

/** The same text for searches that ask for the same. */
export function searchHash(mapName: string, text: string, spec: SearchSpec<unknown>): string {
  const { fields = null, limit = 0, minScore = 0, where = {} } = spec
  return `${mapName}:${hashOf(['search', text, fields, limit, minScore, where])}`
}

const NOTHING: QueryState<unknown> = { rows: [], status: 'loading', complete: false, hasMore: false }

/** A search whose code is not here yet, but for its hash. */
const standIn = readable<QueryState<unknown>, Pick<Query<unknown>, 'once' | 'loadMore'>>(NOTHING, {
  once: promises,
  loadMore: promises,
})

/** Searches, whose code is loaded with the first one. */
export const search: LateDefinition<SearchDefinition, Query<unknown>> = {
  code: code(() => import('./state.ts')),
  standIn:
    ({ hash }) =>
    (awaited) =>
      Object.assign(standIn(awaited), { hash }),
}
