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
  readonly value: Value
  readonly timestamp: Stamp
  /** The text of a stamp that no other add ever has. */
  readonly tag: string
  readonly ttlMs?: number
}

/** The written part of an op: a whole value (PUT), null (REMOVE), or a map of fields to set (PATCH). */
export interface OpRecord {
  readonly value: Value
  readonly timestamp: Stamp
  readonly ttlMs?: number
  /** PATCH only: fields to remove. */
  readonly unset?: readonly string[]
}

/** A lock under which an op writes, and the fencing token that it was granted with. */
export interface Fence {
  readonly name: string
  readonly token: number
}

/** One write of a client. A PUT of null is a REMOVE; without `opType` it is a PUT. */
export interface ClientOp {
  readonly id?: string
  readonly mapName: string
  readonly key: string
  readonly opType?: 'PUT' | 'REMOVE' | 'PATCH'
  readonly record: OpRecord
  readonly writeConcern?: WriteConcern
  /** Milliseconds to wait for the level. */
  readonly timeout?: number
  /** Refused STALE_TOKEN where the lock has been granted with a later token. */
  readonly fence?: Fence
}

/** One write of a client to an OR-map: a value is added to a key, or what was added under a tag is removed. */
export type ItemOp = Pick<ClientOp, 'id' | 'mapName' | 'key' | 'writeConcern' | 'timeout' | 'fence'> &
  (
    | { readonly opType: 'OR_ADD'; readonly orRecord: OrRecord }
    /** Without a timestamp the server gives the removal one. */
    | { readonly opType: 'OR_REMOVE'; readonly orTag: string; readonly timestamp?: Stamp }
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
    readonly ops: readonly Op[]
    readonly writeConcern?: WriteConcern
    readonly timeout?: number
  }
}

/** The outcome of one op. */
export interface OpResult {
  readonly opId: string
  readonly success: boolean
  /** The level asked for, or the one reached when the wait ended. */
  readonly achievedLevel: WriteConcern
  readonly latencyMs: number
  /** Position of the commit that holds the op's effect. Absent if it was refused. */
  readonly seq?: number
  /** The write was accepted and lost at once to a newer one. */
  readonly superseded?: true
  readonly error?: string
  readonly errorCode?: ErrorCode
  readonly details?: Readonly<Record<string, unknown>>
}

/** S→C. Answers one CLIENT_OP or OP_BATCH. FIRE_AND_FORGET ops are left out of `results`. */
export interface OpAck {
  readonly type: 'OP_ACK'
  readonly payload: {
    readonly lastId: string
    readonly achievedLevel?: WriteConcern
    readonly results: readonly OpResult[]
  }
}

/** S→C. An op was refused for good; its entry in OP_ACK says the same. */
export interface OpRejected {
  readonly type: 'OP_REJECTED'
  readonly payload: {
    readonly opId: string
    readonly reason: string
    readonly code: number
    readonly errorCode: ErrorCode
  }
}

/** The change of one record, as a reader may see it. */
export interface MapEvent<R = WireRecord> {
  readonly mapName: string
  readonly eventType: 'PUT' | 'REMOVE'
  readonly key: string
  readonly record: R
  readonly seq: number
}

/** The change of one item of an OR-map, as existing clients know it. Others see the item's record in a `MapEvent`. */
export type ItemEvent = Pick<MapEvent, 'mapName' | 'key' | 'seq'> &
  (
    | { readonly eventType: 'OR_ADD'; readonly orRecord: OrRecord }
    | { readonly eventType: 'OR_REMOVE'; readonly orTag: string }
  )

/** S→C. One change of an OR-map, for followers without a cursor. */
export interface ServerItemEvent {
  readonly type: 'SERVER_EVENT'
  readonly payload: ItemEvent
}

/** S→C. Several of them, in commit order. */
export interface ServerBatchItemEvent {
  readonly type: 'SERVER_BATCH_EVENT'
  readonly payload: { readonly mapName: string; readonly events: readonly ItemEvent[] }
}

/** S→C. One change. `cursor` is for followers that gave one in SYNC_INIT. */
export interface ServerEvent<R = WireRecord> {
  readonly type: 'SERVER_EVENT'
  readonly payload: MapEvent<R> & { readonly cursor?: string }
}

/**
 * S→C. Several changes of one map, in commit order. With `events` empty it only moves the cursor: commits were made
 * that this reader may not see, or old tombstones were forgotten.
 */
export interface ServerBatchEvent<R = WireRecord> {
  readonly type: 'SERVER_BATCH_EVENT'
  readonly payload: {
    readonly mapName: string
    readonly cursor?: string
    /** The seq that the cursor stands for. */
    readonly seq?: number
    /** Tombstones at or below this seq were pruned. Drop those in base. */
    readonly prunedThroughSeq?: number
    readonly events: readonly MapEvent<R>[]
  }
}
