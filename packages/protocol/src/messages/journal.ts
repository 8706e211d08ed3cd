import type { Stamp, Value } from '@syncline/core'

/** What a change did, as its reader sees it. */
export type JournalEventType = 'PUT' | 'UPDATE' | 'DELETE'

/** One change of one record. */
export interface JournalEntry {
  /** Its place in the order of commits, as decimal digits. It rises from event to event, with gaps. */
  readonly sequence: string
  /** PUT: the key held nothing before. UPDATE: it did. DELETE: it holds nothing now. */
  readonly type: JournalEventType
  readonly mapName: string
  readonly key: string
  /** What the key holds since. Absent in a DELETE. */
  readonly value?: Value
  /** What it held before. Absent in a PUT. */
  readonly previousValue?: Value
  /** The record's `timestamp` since then. */
  readonly timestamp: Stamp
  /** Who made the stamp: a device, or the server. */
  readonly nodeId: string
  readonly metadata: {
    /** Who wrote: the user of the session. */
    readonly userId: string
  }
}

/** Which events. */
export interface JournalFilter {
  readonly mapName?: string
  readonly types?: readonly JournalEventType[]
}

/**
 * C→S. Asks for the events from now on, or from a sequence on. Answered only by what it asks for, or by an ERROR. The
 * `requestId` names the subscription.
 */
export interface JournalSubscribe extends JournalFilter {
  readonly type: 'JOURNAL_SUBSCRIBE'
  readonly requestId: string
  /** The first sequence wanted. `0` stands for the oldest that is kept. */
  readonly fromSequence?: string
  /** The epoch that the sequence is of. */
  readonly epoch?: string
}

/** C→S. Ends a subscription to the journal. */
export interface JournalUnsubscribe {
  readonly type: 'JOURNAL_UNSUBSCRIBE'
  readonly subscriptionId: string
}

/** S→C. One event, once for each connection, and for which of its subscriptions. */
export interface JournalEventMessage {
  readonly type: 'JOURNAL_EVENT'
  readonly event: JournalEntry
  /** Which database the sequence is of. Sequences of another epoch mean nothing in this one. */
  readonly epoch: string
  readonly subscriptionIds: readonly string[]
}

/** C→S. Asks for a page of events. */
export interface JournalRead extends JournalFilter {
  readonly type: 'JOURNAL_READ'
  readonly requestId: string
  /** The first sequence wanted. `0` stands for the oldest that is kept; with `newestFirst` for the newest. */
  readonly fromSequence: string
  readonly epoch?: string
  /** 100 where it is absent, and at most. */
  readonly limit?: number
  /** Only events of this key; needs `mapName`. */
  readonly key?: string
  /** From `fromSequence` backwards. */
  readonly newestFirst?: boolean
}

/** S→C. A page of the journal. */
export interface JournalReadResponse {
  readonly type: 'JOURNAL_READ_RESPONSE'
  readonly requestId: string
  readonly events: readonly JournalEntry[]
  readonly hasMore: boolean
  readonly epoch: string
  /** Where to read on: the `fromSequence` after this page. */
  readonly nextSequence: string
}
