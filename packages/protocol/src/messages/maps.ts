import type { LwwRecord, Stamp, Value } from '@syncline/core'
import type { ErrorCode, WireError } from '../errors.ts'

/** How much must have happened to a write before it is acknowledged, from least to most. */
export type WriteConcern = 'FIRE_AND_FORGET' | 'MEMORY' | 'APPLIED' | 'REPLICATED' | 'PERSISTED'

/** The levels in ascending order. */
export const WRITE_CONCERNS: readonly WriteConcern[] = [
  'FIRE_AND_FORGET',
  'MEMORY',
  'APPLIED',
  'REPLICATED',
  'PERSISTED',
]

/**
 * A record on the wire: an LwwRecord whose `base` is left out where it equals `timestamp`.
 * Existing clients read `value`, `timestamp` and `ttlMs` and ignore the rest.
 */
export interface WireRecord extends Omit<LwwRecord, 'base'> {
  /** Stamp of the whole write. Absent where it is `timestamp`. */
  readonly base?: Stamp
  /** A counter of the record's commits on the server, outside merge and digest. Only from the server. */
  readonly version?: number
}

/** A record as a reader of messages hands it out: in normal form, `base` included. */
export interface ReceivedRecord extends LwwRecord {
  readonly version?: number
}

/** What kind of data a map holds: records that merge by field, a set of values for each key, or a counter. */
export type MapKind = 'lww' | 'or' | 'pn'

/** An item of an OR-map on the wire: a value that was added to a key under a tag of its own. */
export interface OrRecord {
  /** What was added; not null. */
  readonly value: Value
  /** The stamp of the write: at first that of the tag, and later where the op got a new one. */
  readonly timestamp: Stamp
  /** The text of a stamp that no other add ever has. */
  readonly tag: string
  /** Milliseconds from the add after which the item reads as absent. Without it the item stays. */
  readonly ttlMs?: number
}

/** The written part of an op: a whole value (PUT), null (REMOVE), or a map of fields to set (PATCH). */
export interface OpRecord {
  /** PUT: the whole value. REMOVE: null. PATCH: a map of the fields to set, empty or null where it only unsets. */
  readonly value: Value
  /** The stamp that the client made for the write ([HC3]). A later write wins. */
  readonly timestamp: Stamp
  /** PUT only: milliseconds from the stamp after which the record reads as absent. Without it the record stays. */
  readonly ttlMs?: number
  /** PATCH only: names of fields to remove. */
  readonly unset?: readonly string[]
}

/** A lock under which an op writes, and the fencing token that it was granted with. */
export interface Fence {
  /** The lock's name. */
  readonly name: string
  /** The `fencingToken` of its LOCK_GRANTED. */
  readonly token: number
}

/** One write of a client. A PUT of null is a REMOVE; without `opType` it is a PUT. */
export interface ClientOp {
  /** Names the op in its answer. Unique among the ops that the client has under way; without it the server makes one. */
  readonly id?: string
  /** The map that is written. */
  readonly mapName: string
  /** The key that is written. */
  readonly key: string
  /** What the op does. Default PUT. */
  readonly opType?: 'PUT' | 'REMOVE' | 'PATCH'
  /** What is written, and when. */
  readonly record: OpRecord
  /** When it is to be acknowledged ([OP13]). Default that of the batch, else MEMORY. */
  readonly writeConcern?: WriteConcern
  /** Milliseconds to wait for the level. Default that of the batch, else 5,000. */
  readonly timeout?: number
  /** The lock under which it is written: refused STALE_TOKEN where that has been granted with a later token. */
  readonly fence?: Fence
}

/** One write of a client to an OR-map: a value is added to a key, or what was added under a tag is removed. */
export type ItemOp = Pick<ClientOp, 'id' | 'mapName' | 'key' | 'writeConcern' | 'timeout' | 'fence'> &
  (
    | {
        readonly opType: 'OR_ADD'
        /** What is added to the key. */
        readonly orRecord: OrRecord
      }
    | {
        readonly opType: 'OR_REMOVE'
        /** The tag of what is removed. */
        readonly orTag: string
        /** When it is removed. Without it the server stamps the removal. */
        readonly timestamp?: Stamp
      }
  )

/**
 * An op as a reader of messages hands it out: `opType` says what it does, and a PUT never holds null. An op on an OR-map
 * is a write of the item's record: `key` is the item key, and the stamp of a removal without one is the zero stamp.
 */
export interface ReceivedOp extends Omit<ClientOp, 'opType'> {
  readonly opType: 'PUT' | 'REMOVE' | 'PATCH' | ItemOp['opType']
}

/** An op that cannot be read. It takes its place among the results of the OP_ACK; its siblings are applied. */
export interface RefusedOp {
  /** The op's own id, where it could be read. */
  readonly id?: string
  /** Present where it could be read, so that a FIRE_AND_FORGET op stays unanswered. */
  readonly writeConcern?: WriteConcern
  readonly refused: WireError
}

/** C→S. One write. */
export interface ClientOpMessage<Op = ClientOp> {
  readonly type: 'CLIENT_OP'
  readonly payload: Op
}

/** C→S. Ops are independent: one that is refused does not keep the others from being applied. */
export interface OpBatchMessage<Op = ClientOp> {
  readonly type: 'OP_BATCH'
  readonly payload: {
    /** The writes, in the order in which they are applied and answered. */
    readonly ops: readonly Op[]
    /** Of the ops that name none. Default MEMORY. */
    readonly writeConcern?: WriteConcern
    /** Of the ops that name none, in milliseconds. Default 5,000. */
    readonly timeout?: number
  }
}

/** The outcome of one op. */
export interface OpResult {
  /** The `id` of the op. */
  readonly opId: string
  /** The level asked for was reached. False where the op was refused, or the wait for its level ended ([OP13]). */
  readonly success: boolean
  /** The level asked for, or the one reached when the wait ended; FIRE_AND_FORGET where the op was refused. */
  readonly achievedLevel: WriteConcern
  /** Milliseconds from the arrival of the op to this answer. */
  readonly latencyMs: number
  /** Position of the commit that holds the op's effect. Absent if it was refused. */
  readonly seq?: number
  /** The write was accepted and lost at once to a newer one. */
  readonly superseded?: true
  /** Why it was refused, in one sentence. Present where `success` is false. */
  readonly error?: string
  /** Present where `success` is false. */
  readonly errorCode?: ErrorCode
  /** What the refusal is about, such as `path`, `limit`, `serverTime` or `retryAfterMs`. */
  readonly details?: Readonly<Record<string, unknown>>
}

/** S→C. Answers one CLIENT_OP or OP_BATCH. FIRE_AND_FORGET ops are left out of `results`. */
export interface OpAck {
  readonly type: 'OP_ACK'
  readonly payload: {
    /** The `id` of the last op that this answers. */
    readonly lastId: string
    /** The lowest of the levels in `results`. */
    readonly achievedLevel?: WriteConcern
    /** One for each op, in their order. */
    readonly results: readonly OpResult[]
  }
}

/** S→C. An op was refused for good; its entry in OP_ACK says the same. */
export interface OpRejected {
  readonly type: 'OP_REJECTED'
  readonly payload: {
    /** The `id` of the op. */
    readonly opId: string
    /** Why, in one sentence. */
    readonly reason: string
    /** Numeric code of the error. */
    readonly code: number
    /** Symbolic code of the error. */
    readonly errorCode: ErrorCode
  }
}

/** The change of one record, as a reader may see it. */
export interface MapEvent<R = WireRecord> {
  /** The map that changed. */
  readonly mapName: string
  /** REMOVE where the value of the record is null, else PUT. */
  readonly eventType: 'PUT' | 'REMOVE'
  /** The key that changed. */
  readonly key: string
  /** The record as it is now, whole and merged. */
  readonly record: R
  /** Position of the commit that changed it. */
  readonly seq: number
}

/** The change of one item of an OR-map, as existing clients know it. Others see the item's record in a `MapEvent`. */
export type ItemEvent = Pick<MapEvent, 'mapName' | 'key' | 'seq'> &
  (
    | {
        readonly eventType: 'OR_ADD'
        /** The item that was added. */
        readonly orRecord: OrRecord
      }
    | {
        readonly eventType: 'OR_REMOVE'
        /** The tag of the item that was removed. */
        readonly orTag: string
      }
  )

/** S→C. One change of an OR-map, for followers without a cursor. */
export interface ServerItemEvent {
  readonly type: 'SERVER_EVENT'
  readonly payload: ItemEvent
}

/** S→C. Several of them, in commit order. */
export interface ServerBatchItemEvent {
  readonly type: 'SERVER_BATCH_EVENT'
  readonly payload: {
    /** The map that changed. */
    readonly mapName: string
    /** The changes, oldest first. */
    readonly events: readonly ItemEvent[]
  }
}

/** S→C. One change. `cursor` is for followers that gave one in SYNC_INIT. */
export interface ServerEvent<R = WireRecord> {
  readonly type: 'SERVER_EVENT'
  readonly payload: MapEvent<R> & {
    /** The position after this change, for followers that gave a cursor in SYNC_INIT. Store it with the record. */
    readonly cursor?: string
  }
}

/**
 * S→C. Several changes of one map, in commit order. With `events` empty it only moves the cursor: commits were made
 * that this reader may not see, or old tombstones were forgotten.
 */
export interface ServerBatchEvent<R = WireRecord> {
  readonly type: 'SERVER_BATCH_EVENT'
  readonly payload: {
    /** The map that changed. */
    readonly mapName: string
    /** The position after these changes, for followers that gave a cursor in SYNC_INIT. Store it with the records. */
    readonly cursor?: string
    /** The seq that the cursor stands for. */
    readonly seq?: number
    /** Tombstones at or below this seq were pruned. Drop those in base. */
    readonly prunedThroughSeq?: number
    /** The changes, oldest first. */
    readonly events: readonly MapEvent<R>[]
  }
}
