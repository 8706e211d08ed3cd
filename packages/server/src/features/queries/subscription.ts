import type { Env } from '@syncline/core'
import { ResultFollower } from '../../outbound/result-follower.ts'
import type { Session } from '../../sessions/session.ts'
import type { SharedGroup } from './map-queries.ts'
import type { QueryGroup, ResultRow, RowChange } from './query-group.ts'

/** Changed keys that a slow subscriber may have open. Past that it gets its result anew. */
const MAX_MISSED = 10_000

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
  /** Sends a result that was taken. */
  result(subscription: Subscription, result: QueryResult, requestId?: string): void
}

/** One session's live query. */
export class Subscription extends ResultFollower<RowChange, number> {
  readonly queryId: string
  /** All who ask the same. */
  readonly shared: SharedGroup
  readonly #host: SubscriptionHost

  constructor(host: SubscriptionHost, session: Session, queryId: string, shared: SharedGroup) {
    super(host.env, session, shared.group.map.name)
    this.#host = host
    this.queryId = queryId
    this.shared = shared
  }

  get group(): QueryGroup {
    return this.shared.group
  }

  protected get maxMissed(): number {
    return MAX_MISSED
  }

  protected closing(): number {
    return this.group.version
  }

  protected changeOf(key: string, isKnown: boolean): RowChange | undefined {
    const value = this.group.shown(key)
    if (value !== undefined) return { key, value, changeType: isKnown ? 'UPDATE' : 'ENTER' }
    return isKnown ? { key, value: null, changeType: 'LEAVE' } : undefined
  }

  protected sendChanges(changes: readonly RowChange[], from: number, version: number): number {
    return this.#host.outlet.changes(this, changes, from, version)
  }

  protected sendResult(): void {
    this.#host.sendResult(this)?.catch((error: unknown) => this.fail(error))
  }
}

/** What a subscription needs of the service. */
export interface SubscriptionHost {
  readonly env: Pick<Env, 'log'>
  readonly outlet: QueryOutlet
  /** Puts the result in order, and sends it. A promise where that takes long. */
  sendResult(subscription: Subscription): Promise<void> | undefined
}
