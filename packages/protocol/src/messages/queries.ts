import type { QuerySpec, Value } from '@syncline/core'

/** C→S. Subscribes to a live query. With `fields`, rows are sent with no other top-level fields than these. */
export interface QuerySub {
  readonly type: 'QUERY_SUB'
  readonly payload: {
    readonly queryId: string
    readonly mapName: string
    readonly query: QuerySpec
    readonly fields?: readonly string[]
  }
}

/** C→S. Ends a live query. */
export interface QueryUnsub {
  readonly type: 'QUERY_UNSUB'
  readonly payload: { readonly queryId: string }
}

/** One row of a result. */
export interface QueryRow {
  readonly key: string
  readonly value: Value
}

/**
 * S→C. The result as of now; QUERY_UPDATEs follow. `more` says that another part of it follows at once. The last part
 * says of which `version` the result is.
 */
export interface QueryResp {
  readonly type: 'QUERY_RESP'
  readonly payload: {
    readonly queryId: string
    readonly results: readonly QueryRow[]
    readonly hasMore?: boolean
    readonly nextCursor?: string
    readonly cursorStatus?: 'valid' | 'expired' | 'invalid' | 'none'
    readonly more?: boolean
    readonly version?: number
  }
}

/**
 * S→C. A row entered, changed in or left the result. `value` is null in a LEAVE. With a `version` the result is that of
 * it; without one other changes of the same version follow.
 */
export interface QueryUpdate {
  readonly type: 'QUERY_UPDATE'
  readonly payload: {
    readonly queryId: string
    readonly key: string
    readonly value: Value
    readonly changeType: 'ENTER' | 'UPDATE' | 'LEAVE'
    /** Seq of the latest commit in the result. It never falls while the query lives. */
    readonly version?: number
  }
}
