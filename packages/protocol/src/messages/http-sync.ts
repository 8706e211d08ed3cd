import type { QuerySpec, Stamp, Value } from '@syncline/core'
import type { ErrorCode } from '../errors.ts'
import type { ClientOp, OpResult, WireRecord, WriteConcern } from './maps.ts'

/**
 * C→S. Asks for the records of a map that the server has taken in since a moment of its own, for those who poll and
 * keep no cursor. Without a moment, or with 0, it asks for all of them.
 */
export interface SyncDelta {
  readonly type: 'SYNC_DELTA'
  readonly payload: {
    readonly mapName: string
    /** The `serverSyncTimestamp` of the reply before, or the milliseconds of one. */
    readonly lastSyncTimestamp?: Stamp | number
  }
}

/** A record as it is now. */
export interface DeltaRecord<R = WireRecord> {
  readonly key: string
  readonly record: R
  readonly eventType: 'PUT' | 'REMOVE'
}

/** What one map has become since the moment that was asked from. */
export interface MapDelta<R = WireRecord> {
  readonly mapName: string
  /** By arrival. Each record comes once, in its latest state. */
  readonly records: readonly DeltaRecord<R>[]
  /** The moment to ask from next. What is not in this reply arrives after it. */
  readonly serverSyncTimestamp: Stamp
  /** There is more: ask again at once. */
  readonly more?: boolean
  /** Deletions from before were forgotten: what the reader holds and these records do not name is gone. */
  readonly reset?: boolean
}

/** S→C. Answers SYNC_DELTA. */
export interface SyncDeltaResp<R = WireRecord> {
  readonly type: 'SYNC_DELTA_RESP'
  readonly payload: MapDelta<R>
}

/** A query of a `POST /sync`, answered once. */
export interface HttpQuery extends Pick<QuerySpec, 'predicate' | 'sort' | 'cursor'> {
  readonly queryId: string
  readonly mapName: string
  /** The `where` of the query. */
  readonly filter?: NonNullable<QuerySpec['where']>
  /** Rows to answer at most. Without it, or with 0, all. */
  readonly limit?: number
  /** Rows to leave out before them. Default 0. */
  readonly offset?: number
}

/** A search of a `POST /sync`, answered once. */
export interface HttpSearch {
  readonly searchId: string
  readonly mapName: string
  readonly query: string
  readonly options?: Readonly<Record<string, Value>>
}

/** The body of a `POST /sync`. */
export interface HttpSyncRequest {
  readonly clientId: string
  readonly clientHlc: Stamp
  readonly operations?: readonly ClientOp[]
  readonly syncMaps?: readonly { readonly mapName: string; readonly lastSyncTimestamp?: Stamp | number }[]
  readonly queries?: readonly HttpQuery[]
  readonly searches?: readonly HttpSearch[]
}

/** The result of one query of a `POST /sync`. */
export interface HttpQueryResult {
  readonly queryId: string
  readonly results: readonly { readonly key: string; readonly value: Value }[]
  /** More rows fit the query than were answered. */
  readonly hasMore: boolean
  readonly nextCursor?: string
}

/** The result of one search of a `POST /sync`. */
export interface HttpSearchResult {
  readonly searchId: string
  readonly results: readonly unknown[]
  readonly totalCount: number
}

/** Why a part of a `POST /sync` was refused. */
export interface HttpSyncError {
  /** The numeric code of the error table. */
  readonly code: number
  readonly errorCode: ErrorCode
  readonly message: string
  /** The part: `map/key` of an operation, a map's name, the id of a query or search. */
  readonly context: string
}

/** The body of the reply to a `POST /sync`. */
export interface HttpSyncResponse<R = WireRecord> {
  readonly serverHlc: Stamp
  /** Present where operations were sent. */
  readonly ack?: {
    readonly lastId: string
    readonly achievedLevel?: WriteConcern
    readonly results: readonly OpResult[]
  }
  readonly deltas: readonly MapDelta<R>[]
  readonly queryResults: readonly HttpQueryResult[]
  readonly searchResults: readonly HttpSearchResult[]
  readonly errors: readonly HttpSyncError[]
}
