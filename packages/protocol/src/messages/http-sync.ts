import type { QuerySpec, Stamp } from '@syncline/core'
import type { ErrorCode } from '../errors.ts'
import type { ClientOp, ItemOp, OpAck, WireRecord } from './maps.ts'
import type { QueryRow } from './queries.ts'
import type { SearchOptions, SearchRow } from './search.ts'

/**
 * C→S. Asks for the records of a map that the server has taken in since a moment of its own, for those who poll and
 * keep no cursor. Without a moment, or with 0, it asks for all of them.
 */
export interface SyncDelta {
  readonly type: 'SYNC_DELTA'
  readonly payload: {
    /** The map that is asked about. */
    readonly mapName: string
    /** The `serverSyncTimestamp` of the reply before, or the milliseconds of one. */
    readonly lastSyncTimestamp?: Stamp | number
  }
}

/** A record as it is now. */
export interface DeltaRecord<R = WireRecord> {
  /** The key of the record. */
  readonly key: string
  /** The record, whole and merged. */
  readonly record: R
  /** REMOVE where the value of the record is null, else PUT. */
  readonly eventType: 'PUT' | 'REMOVE'
}

/** What one map has become since the moment that was asked from. */
export interface MapDelta<R = WireRecord> {
  /** The map that was asked about. */
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
  /** Names the query in the reply. */
  readonly queryId: string
  /** The map that is asked about. */
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
  /** Names the search in the reply. `requestId` is taken for it too. */
  readonly searchId: string
  /** The map that is searched. */
  readonly mapName: string
  /** The words that are looked for. */
  readonly query: string
  /** How to search, as in SEARCH. */
  readonly options?: SearchOptions
}

/** The body of a `POST /sync`. */
export interface HttpSyncRequest {
  /** Who asks. It changes nothing of the reply. */
  readonly clientId: string
  /** The latest stamp of the client's clock. It changes nothing of the reply. */
  readonly clientHlc: Stamp
  /** Writes, as in OP_BATCH. They are made before all else. */
  readonly operations?: readonly (ClientOp | ItemOp)[]
  /** Maps whose changes are wanted, as in SYNC_DELTA. */
  readonly syncMaps?: readonly SyncDelta['payload'][]
  /** Queries, each answered once. */
  readonly queries?: readonly HttpQuery[]
  /** Searches, each answered once. */
  readonly searches?: readonly HttpSearch[]
}

/** The result of one query of a `POST /sync`. */
export interface HttpQueryResult {
  /** The query that this answers. */
  readonly queryId: string
  /** The rows, in their order. */
  readonly results: readonly QueryRow[]
  /** More rows fit the query than were answered. */
  readonly hasMore: boolean
  /** The `cursor` of the next page ([QU6]). */
  readonly nextCursor?: string
}

/** The result of one search of a `POST /sync`. */
export interface HttpSearchResult {
  /** The search that this answers. */
  readonly searchId: string
  /** The rows, the best first. */
  readonly results: readonly SearchRow[]
  /** Rows that match, those beyond the limit included. */
  readonly totalCount: number
}

/** Why a part of a `POST /sync` was refused. */
export interface HttpSyncError {
  /** The numeric code of the error table. */
  readonly code: number
  /** The symbolic code. */
  readonly errorCode: ErrorCode
  /** Cause and remedy, in one sentence. */
  readonly message: string
  /** The part: `map/key` of an operation, a map's name, the id of a query or search. */
  readonly context: string
}

/** The body of the reply to a `POST /sync`. */
export interface HttpSyncResponse<R = WireRecord> {
  /** A stamp of the server's clock; its `millis` are the server's time. */
  readonly serverHlc: Stamp
  /** What became of `operations`, as in OP_ACK. Present where some were sent. */
  readonly ack?: OpAck['payload']
  /** One for each map that was asked about and not refused. */
  readonly deltas: readonly MapDelta<R>[]
  /** One for each query that was not refused. */
  readonly queryResults: readonly HttpQueryResult[]
  /** One for each search that was not refused. */
  readonly searchResults: readonly HttpSearchResult[]
  /** One for each part that was refused. Empty where none was. */
  readonly errors: readonly HttpSyncError[]
}
