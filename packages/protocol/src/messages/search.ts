import type { Value, Where } from '@syncline/core'

/** How a search is to be made. Unknown members are ignored. */
export interface SearchOptions {
  /** Most rows to give, the best first. Without it, or with 0, 1,000; more are never given. */
  readonly limit?: number
  /** Rows with a lower score are left out. Default 0. */
  readonly minScore?: number
  /** Weights of fields above 0; 1 for those that it does not name. With it each field is scored by itself. */
  readonly boost?: Readonly<Record<string, number>>
  /** The only fields to search. Default all that the map is searched by. With it each field is scored by itself. */
  readonly fields?: readonly string[]
  /** What rows must look like, as in a query. */
  readonly where?: Where
  /** The last word of the query is still being typed. Default false. */
  readonly prefix?: boolean
}

/** C→S. Asks for the rows that a text describes best. */
export interface Search {
  readonly type: 'SEARCH'
  readonly payload: {
    /** Names the search in its answer. */
    readonly requestId: string
    /** The map that is searched. */
    readonly mapName: string
    /** The words that are looked for. */
    readonly query: string
    /** How to search. Default: all searched fields, no least score. */
    readonly options?: SearchOptions
  }
}

/** C→S. Asks for them, and for what changes in them from then on. */
export interface SearchSub {
  readonly type: 'SEARCH_SUB'
  readonly payload: {
    /** Names the live search on this connection. */
    readonly subscriptionId: string
    /** The map that is searched. */
    readonly mapName: string
    /** The words that are looked for. */
    readonly query: string
    /** How to search. Default: all searched fields, no least score. */
    readonly options?: SearchOptions
  }
}

/** C→S. Ends a live search. */
export interface SearchUnsub {
  readonly type: 'SEARCH_UNSUB'
  readonly payload: {
    /** The live search that ends. */
    readonly subscriptionId: string
  }
}

/** One row that a search found. */
export interface SearchRow {
  /** The key of the row. */
  readonly key: string
  /** Its value, as far as the reader may see it. */
  readonly value: Value
  /** How well the text describes it ([SR2]); greater is better. */
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
    /** The `requestId` of the SEARCH, or the `subscriptionId` of the SEARCH_SUB. */
    readonly requestId: string
    /** The rows, the best first: this part of them. */
    readonly results: readonly SearchRow[]
    /** Rows that match, those beyond the limit included. */
    readonly totalCount: number
    /** Why nothing was searched. A subscription has then not begun, or has ended. */
    readonly error?: string
    /** Symbolic code of the error. */
    readonly errorCode?: string
    /** What the refusal is about, such as `limit` and `max`. */
    readonly details?: Readonly<Record<string, unknown>>
    /** Another part of the result follows at once. Default false. */
    readonly more?: boolean
    /** In the last part: seq of the latest commit in the result. */
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
    /** The live search whose result has changed. */
    readonly subscriptionId: string
    /** The row is new in the result, has changed in it, or is gone from it. */
    readonly changeType: 'ENTER' | 'UPDATE' | 'LEAVE'
    /** How many rows match now; beside `version`. */
    readonly totalCount?: number
    /** Seq of the latest commit in the result. It never falls while the subscription lives. */
    readonly version?: number
  }
}
