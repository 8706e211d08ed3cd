import type { Env } from '@syncline/core'
import type { ReadView } from '../../inbound/authorize.ts'
import { ResultFollower } from '../../outbound/result-follower.ts'
import type { Session } from '../../sessions/session.ts'
import { leaveOf, type FoundChange } from './found-row.ts'
import type { LiveSearch } from './live-search.ts'
import type { Found } from './one-search.ts'
import type { SharedSearch } from './searches.ts'

/** What a result is as of one moment, beside its rows. */
export type Closing = Pick<Found, 'totalCount' | 'version'>

/** What leaves the server for subscribers. */
export interface SearchOutlet {
  /** Sends a page of changes, from one of them on. Answers where the next page begins. */
  changes(subscription: Subscription, changes: readonly FoundChange[], from: number, closing: Closing): number
  /** Sends the result anew. */
  result(subscription: Subscription): void
}

/** One session's live search. */
export class Subscription extends ResultFollower<FoundChange, Closing> {
  readonly id: string
  readonly view: ReadView
  /** What it follows, once that has been found. */
  shared: SharedSearch | undefined
  readonly #outlet: SearchOutlet

  constructor(
    env: Pick<Env, 'log'>,
    outlet: SearchOutlet,
    session: Session,
    id: string,
    mapName: string,
    view: ReadView,
  ) {
    super(env, session, mapName)
    this.#outlet = outlet
    this.id = id
    this.view = view
  }

  /** What the search has found by now: it has what was held back. */
  take(): Found {
    this.begin()
    return foundBy(this.#live)
  }

  get #live(): LiveSearch {
    return (this.shared as SharedSearch).live
  }

  protected get maxMissed(): number {
    return 2 * this.#live.search.limit
  }

  protected closing(): Closing {
    const { totalCount, version } = this.#live
    return { totalCount, version }
  }

  protected changeOf(key: string, isKnown: boolean): FoundChange | undefined {
    const row = this.#live.shown(key)
    if (row !== undefined) return { ...row, changeType: isKnown ? 'UPDATE' : 'ENTER' }
    return isKnown ? leaveOf(key) : undefined
  }

  protected sendChanges(changes: readonly FoundChange[], from: number, closing: Closing): number {
    return this.#outlet.changes(this, changes, from, closing)
  }

  protected sendResult(): void {
    this.#outlet.result(this)
  }
}

/** What a search has found by now. */
export function foundBy(live: LiveSearch): Found {
  return { rows: live.rows(), totalCount: live.totalCount, version: live.version }
}
