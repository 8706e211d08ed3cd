import type { Session } from '../../sessions/session.ts'
import type { SharedGroup } from './map-queries.ts'
import type { QueryGroup, ResultRow, RowChange } from './query-group.ts'
import type { QueryService } from './service.ts'

/** One session's live query. */
export interface Subscription {
  readonly session: Session
  readonly queryId: string
  readonly group: QueryGroup
  /** All who ask the same. */
  readonly shared: SharedGroup
  /**
   * What the subscriber misses while its socket drains: by key, whether the result that it knows held the key. An
   * entry that came and went meanwhile cancels out. Undefined while it misses nothing.
   */
  pending: Map<string, boolean> | undefined
  /** It misses too much: it gets the whole result anew. */
  isSnapshotDue: boolean
  isEnded: boolean
}

/** A result at one moment, in order. */
export interface QueryResult {
  readonly rows: readonly ResultRow[]
  readonly version: number
  readonly hasMore: boolean
  readonly nextCursor: string | undefined
}

/** What leaves the server for subscribers. */
export interface QueryOutlet {
  /**
   * Sends a page of changes, from one of them on. Answers where the next page begins. With the last one the result is
   * that of the version.
   */
  changes(subscription: Subscription, changes: readonly RowChange[], from: number, version: number): number
  /** The subscriber's socket is full: ask it later, through `collect`. */
  wait(subscription: Subscription, service: QueryService): void
}
