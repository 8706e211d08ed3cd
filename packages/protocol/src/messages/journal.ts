import type { Stamp, Value } from '@syncline/core'

/** What a change did, as its reader sees it. */
export type JournalEventType = 'PUT' | 'UPDATE' | 'DELETE'

/** One change of one record. */
export interface JournalEntry {
  /** Its place in the order of commits, as decimal digits. It rises from event to event, with gaps. */
  readonly sequence: string
  /** PUT: the key held nothing before. UPDATE: it did. DELETE: it holds nothing now. */
  readonly type: JournalEventType
  /** The map that changed. */
  readonly mapName: string
  /** The key that changed. */
  readonly key: string
  /** What the key holds since. Absent in a DELETE. */
  readonly value?: Value
  /** What it held before. Absent in a PUT. */
  readonly previousValue?: Value
  /** The record's `timestamp` since then. */
  readonly timestamp: Stamp
  /** Who made the stamp: a device, or the server. */
  readonly nodeId: string
  /** What else is known of the change. */
  readonly metadata: {
    /** Who wrote: the user of the session. */
    readonly userId: string
  }
}

/** Which events. */
export interface JournalFilter {
  /** Only events of this map. Default: of all that the reader may read. */
  readonly mapName?: string
  /** Only events of these types. Default: all. */
  readonly types?: readonly JournalEventType[]
}

/**
 * C→S. Asks for the events from now on, or from a sequence on. Answered only by what it asks for, or by an ERROR. The
 * `requestId` names the subscription.
 */
export interface JournalSubscribe extends JournalFilter {
  readonly type: 'JOURNAL_SUBSCRIBE'
  /** Names the subscription on this connection. */
  readonly requestId: string
  /** The first sequence wanted; `0` stands for the oldest that is kept. Without it events begin now. */
  readonly fromSequence?: string
  /** The epoch that the sequence is of. Without it any. */
  readonly epoch?: string
}

/** C→S. Ends a subscription to the journal. */
export interface JournalUnsubscribe {
  readonly type: 'JOURNAL_UNSUBSCRIBE'
  /** The `requestId` of the subscription that ends. */
  readonly subscriptionId: string
}

/** S→C. One event, once for each connection, and for which of its subscriptions. */
export interface JournalEventMessage {
  readonly type: 'JOURNAL_EVENT'
  /** What has changed. */
  readonly event: JournalEntry
  /** Which database the sequence is of. Sequences of another epoch mean nothing in this one. */
  readonly epoch: string
  /** Which subscriptions of this connection it is for. */
  readonly subscriptionIds: readonly string[]
}

/** C→S. Asks for a page of events. */
export interface JournalRead extends JournalFilter {
  readonly type: 'JOURNAL_READ'
  /** Names the question in its answer. */
  readonly requestId: string
  /** The first sequence wanted. `0` stands for the oldest that is kept; with `newestFirst` for the newest. */
  readonly fromSequence: string
  /** The epoch that the sequence is of. Without it any. */
  readonly epoch?: string
  /** How many events at most. Default 100. */
  readonly limit?: number
  /** Only events of this key; needs `mapName`. */
  readonly key?: string
  /** From `fromSequence` backwards. Default false. */
  readonly newestFirst?: boolean
}

/** S→C. A page of the journal. */
export interface JournalReadResponse {
  readonly type: 'JOURNAL_READ_RESPONSE'
  /** The question that this answers. */
  readonly requestId: string
  /** The events, by rising sequence; by falling sequence with `newestFirst`. */
  readonly events: readonly JournalEntry[]
  /** There are more events now. */
  readonly hasMore: boolean
  /** Which database the sequences are of. */
  readonly epoch: string
  /** Where to read on: the `fromSequence` after this page. */
  readonly nextSequence: string
}
