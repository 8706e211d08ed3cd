import type { Value, Where } from '@syncline/core'

/** How a search is to be made. Unknown members are ignored. */
export interface SearchOptions {
  /** Most rows to give, the best first. Without it, or with 0, as many as `LIMITS.searchLimit`; more are never given. */
  readonly limit?: number
  /** Rows with a lower score are left out. */
  readonly minScore?: number
  /** Weights of fields above 0; 1 for those that it does not name. With it each field is scored by itself. */
  readonly boost?: Readonly<Record<string, number>>
  /** The only fields to search. With it each field is scored by itself. */
  readonly fields?: readonly string[]
  /** What rows must look like, as in a query. */
  readonly where?: Where
  /** The last word of the query is still being typed. */
  readonly prefix?: boolean
}

/** C→S. Asks for the rows that a text describes best. */
export interface Search {
  readonly type: 'SEARCH'
  readonly payload: {
    readonly requestId: string
    readonly mapName: string
    readonly query: string
    readonly options?: SearchOptions
  }
}

/** C→S. Asks for them, and for what changes in them from then on. */
export interface SearchSub {
  readonly type: 'SEARCH_SUB'
  readonly payload: {
    readonly subscriptionId: string
    readonly mapName: string
    readonly query: string
    readonly options?: SearchOptions
  }
}

/** C→S. Ends a live search. */
export interface SearchUnsub {
  readonly type: 'SEARCH_UNSUB'
  readonly payload: { readonly subscriptionId: string }
}

/** One row that a search found. */
export interface SearchRow {
  readonly key: string
  readonly value: Value
  readonly score: number
  /** Which terms of the query it holds, as they are compared: in lower case, and as stems. */
  readonly matchedTerms: readonly string[]
}

/**
 * S→C. What was found, the best first. `requestId` is that of the SEARCH, or the `subscriptionId` of the SEARCH_SUB.
 * `more` says that another part follows at once; the last part says of which `version` the result is.
 */
export interface SearchResp {
  readonly type: 'SEARCH_RESP'
  readonly payload: {
    readonly requestId: string
    readonly results: readonly SearchRow[]
    /** Rows that match, those beyond the limit included. */
    readonly totalCount: number
    /** Why nothing was searched. A subscription has then not begun, or has ended. */
    readonly error?: string
    readonly errorCode?: string
    readonly details?: Readonly<Record<string, unknown>>
    readonly more?: boolean
    readonly version?: number
  }
}

/**
 * S→C. A row entered, changed in or left a live result. In a LEAVE `value` is null and `score` 0. With a `version` the
 * result is that of it; without one other changes of the same version follow.
 */
export interface SearchUpdate {
  readonly type: 'SEARCH_UPDATE'
  readonly payload: SearchRow & {
    readonly subscriptionId: string
    readonly changeType: 'ENTER' | 'UPDATE' | 'LEAVE'
    readonly totalCount?: number
    /** Seq of the latest commit in the result. It never falls while the subscription lives. */
    readonly version?: number
  }
}
