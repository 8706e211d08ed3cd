import type { QuerySpec, Value } from '@syncline/core'

/** C→S. Subscribes to a live query. With `fields`, rows are sent with no other top-level fields than these. */
export interface QuerySub {
  readonly type: 'QUERY_SUB'
  readonly payload: {
    /** Names the query on this connection. */
    readonly queryId: string
    /** The map that is asked about. */
    readonly mapName: string
    /** Which rows, in which order, and how many. */
    readonly query: QuerySpec
    /** The only top-level fields to send of each row. Without it all that the reader may see. */
    readonly fields?: readonly string[]
  }
}

/** C→S. Ends a live query. */
export interface QueryUnsub {
  readonly type: 'QUERY_UNSUB'
  readonly payload: {
    /** The query that ends. */
    readonly queryId: string
  }
}

/** One row of a result. */
export interface QueryRow {
  /** The key of the row. */
  readonly key: string
  /** Its value, as far as the reader may see it. */
  readonly value: Value
}

/**
 * S→C. The result as of now; QUERY_UPDATEs follow. `more` says that another part of it follows at once. The last part
 * says of which `version` the result is.
 */
export interface QueryResp {
  readonly type: 'QUERY_RESP'
  readonly payload: {
    /** The query that this answers. */
    readonly queryId: string
    /** The rows, in their order: this part of them. */
    readonly results: readonly QueryRow[]
    /** Rows beyond the limit follow, which `nextCursor` brings. In the last part, where the query has a `limit`. */
    readonly hasMore?: boolean
    /** The `cursor` of the next page ([QU6]). */
    readonly nextCursor?: string
    /** `valid` where the query had a `cursor`; one that does not count is refused. The other words are of existing servers. */
    readonly cursorStatus?: 'valid' | 'expired' | 'invalid' | 'none'
    /** Another part of the result follows at once. Default false. */
    readonly more?: boolean
    /** In the last part: seq of the latest commit in the result. */
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
    /** The query whose result has changed. */
    readonly queryId: string
    /** The key of the row. */
    readonly key: string
    /** The value of the row now; null in a LEAVE. */
    readonly value: Value
    /** The row is new in the result, has changed in it, or is gone from it. */
    readonly changeType: 'ENTER' | 'UPDATE' | 'LEAVE'
    /** Seq of the latest commit in the result. It never falls while the query lives. */
    readonly version?: number
  }
}
