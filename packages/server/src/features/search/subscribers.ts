import type { Env } from '@syncline/core'
import { CLOSE_CODES } from '@syncline/protocol'
import { errorText } from '../../env.ts'
import type { ReadView } from '../../inbound/authorize.ts'
import type { Session } from '../../sessions/session.ts'
import { leaveOf, type FoundChange } from './found-row.ts'
import type { LiveSearch } from './live-search.ts'
import type { Found } from './one-search.ts'
import type { SharedSearch } from './searches.ts'

/** One session's live search. */
export interface Subscription {
  readonly session: Session
  readonly id: string
  readonly mapName: string
  readonly view: ReadView
  /** What it follows, once that has been found. */
  shared: SharedSearch | undefined
  /**
   * What the subscriber misses while its socket drains: by key, whether the result that it knows held the key. Undefined
   * while it misses nothing.
   */
  pending: Map<string, boolean> | undefined
  /** It misses too much: it gets the whole result anew. */
  isSnapshotDue: boolean
  isEnded: boolean
}

/** What leaves the server for subscribers. */
export interface SearchOutlet {
  /** Sends a page of changes, from one of them on. Answers where the next page begins. */
  changes(subscription: Subscription, live: LiveSearch, changes: readonly FoundChange[], from: number): number
  /** The subscriber's socket is full: ask it later, through `collect`. */
  wait(subscription: Subscription, subscribers: Subscribers): void
}

/** Brings changes to those who follow searches, each as fast as its socket takes them. */
export class Subscribers {
  readonly outlet: SearchOutlet
  readonly #env: Env

  constructor(env: Env, outlet: SearchOutlet) {
    this.#env = env
    this.outlet = outlet
  }

  /** The result that a subscriber is to be sent: it has what was held back until now. */
  result(subscription: Subscription): Found {
    subscription.pending = new Map()
    subscription.isSnapshotDue = false
    return foundBy((subscription.shared as SharedSearch).live)
  }

  /**
   * What a subscriber that waited has missed, net of what cancelled out. `snapshot` says that it is too much. Changes go on
   * being held back until `isCaughtUp`.
   */
  collect(subscription: Subscription): readonly FoundChange[] | 'snapshot' {
    const { pending, isSnapshotDue } = subscription
    const { live } = subscription.shared as SharedSearch
    subscription.pending = new Map()
    subscription.isSnapshotDue = false
    if (isSnapshotDue) return 'snapshot'
    const leaves: FoundChange[] = []
    const others: FoundChange[] = []
    for (const [key, wasShown] of pending ?? []) {
      const row = live.shown(key)
      if (row !== undefined) others.push({ ...row, changeType: wasShown ? 'UPDATE' : 'ENTER' })
      else if (wasShown) leaves.push(leaveOf(key))
    }
    return [...leaves, ...others]
  }

  /** True if nothing has changed since `collect`: from now on changes are sent as they come. */
  isCaughtUp(subscription: Subscription): boolean {
    if (subscription.isSnapshotDue || (subscription.pending?.size ?? 0) > 0) return false
    subscription.pending = undefined
    return true
  }

  /** A subscriber whose result cannot be kept up to date is closed: it comes back and asks anew. */
  fail({ session, mapName }: Subscription, error: unknown): void {
    const details = { session: session.id, map: mapName, error: errorText(error) }
    this.#env.log('error', 'A live search failed and its subscriber is closed', details)
    session.close(CLOSE_CODES.INTERNAL_ERROR, 'Internal error')
  }

  /** A search that cannot be brought up to date ends the sessions that follow it: they come back and ask anew. */
  isolated({ members }: SharedSearch, work: () => void): void {
    try {
      work()
    } catch (error) {
      for (const subscription of members) this.fail(subscription, error)
    }
  }

  tell(shared: SharedSearch, changes: readonly FoundChange[]): void {
    if (changes.length === 0) return
    for (const subscription of shared.members) {
      try {
        this.#tellOne(subscription, shared.live, changes)
      } catch (error) {
        this.fail(subscription, error)
      }
    }
  }

  #tellOne(subscription: Subscription, live: LiveSearch, changes: readonly FoundChange[]): void {
    let sent = 0
    if (subscription.pending === undefined) {
      if (!subscription.session.outbox.isDraining) sent = this.outlet.changes(subscription, live, changes, 0)
      if (sent === changes.length) return
      subscription.pending = new Map()
      this.outlet.wait(subscription, this)
    }
    const { pending } = subscription
    for (const { key, changeType } of changes.slice(sent)) {
      if (!pending.has(key)) pending.set(key, changeType !== 'ENTER')
    }
    if (pending.size > 2 * live.search.limit) {
      pending.clear()
      subscription.isSnapshotDue = true
    }
  }
}

/** What a search has found by now. */
export function foundBy(live: LiveSearch): Found {
  return { rows: live.rows(), totalCount: live.totalCount, version: live.version }
}
