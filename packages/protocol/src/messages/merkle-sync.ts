import type { Stamp } from '@syncline/core'
import type { ErrorCode, WireError } from '../errors.ts'
import type { MapKind, WireRecord } from './maps.ts'

/** A record under its key. */
export interface KeyedRecord<R = WireRecord> {
  /** The key of the record. */
  readonly key: string
  /** The record, whole and merged. */
  readonly record: R
  /** Position of the commit that made it so. */
  readonly seq?: number
}

/** A pushed record that cannot be read. SYNC_PUSH_RESP names it; its siblings are merged. */
export interface RefusedRecord {
  readonly key: string
  readonly refused: WireError
}

/**
 * C→S. Starts following a map. With `cursor` (null at first) the server answers by SYNC_DIFF and goes on with events
 * that carry a cursor; without the member it answers by SYNC_RESP_ROOT.
 */
export interface SyncInit {
  readonly type: 'SYNC_INIT'
  /** The map to follow. */
  readonly mapName: string
  /** From where on: the latest cursor of the map that the client has stored, or null at first. */
  readonly cursor?: string | null
  /** The kind that the client takes the map for. Refused where it is of another. */
  readonly kind?: MapKind
  /** For clients that know no cursor: when they last synchronized, in milliseconds since 1970 ([SY1]). */
  readonly lastSyncTimestamp?: number | Stamp
}

/** C→S. Stops following a map. */
export interface SyncStop {
  readonly type: 'SYNC_STOP'
  /** The map that is followed no longer. */
  readonly mapName: string
}

/** S→C. A page of the changes since a cursor, in seq order, each record in its present state. */
export interface SyncDiff<R = WireRecord> {
  readonly type: 'SYNC_DIFF'
  readonly payload: {
    /** The map that is followed. */
    readonly mapName: string
    /** What has changed since the cursor, by `seq`. */
    readonly records: readonly KeyedRecord<R>[]
    /** The position after this page. Store it in one transaction with the records. */
    readonly cursor: string
    /** The seq that the cursor stands for. */
    readonly seq: number
    /** Another page follows by itself. */
    readonly more: boolean
    /** First page only: what kind of map it is, unless that is `lww` or not known yet. */
    readonly kind?: MapKind
    /** First page only: ranges (from, to] of seq in which the server may have lost commits in a crash. */
    readonly lost?: readonly (readonly [number, number])[]
    /** Tombstones at or below this seq were pruned. Drop those in base. */
    readonly prunedThroughSeq?: number
    /** Closing page only, and only to readers of the whole map: both lanes of the root ([MK5]). */
    readonly digest?: string
    /** Closing page only: lane 0 of the root, as in SYNC_RESP_ROOT. */
    readonly rootHash?: number
  }
}

/** S→C. The cursor cannot be resumed: forget base, keep what is pending, and start with cursor null. */
export interface SyncResetRequired {
  readonly type: 'SYNC_RESET_REQUIRED'
  readonly payload: {
    /** The map that was followed. */
    readonly mapName: string
    /** Why, in one sentence for people. */
    readonly reason: string
    /** What the client holds is still for its eyes: it may be shown until the map is there again. */
    readonly readable?: true
  }
}

/** C→S. Records that the client holds and the server may have lost, with all their stamps. */
export interface SyncPush<Item = KeyedRecord> {
  readonly type: 'SYNC_PUSH'
  readonly payload: {
    /** The map that the records are of. */
    readonly mapName: string
    /** The map's kind, which the server may have lost with its records; without it that of the server's map, else `lww`. */
    readonly kind?: MapKind
    /** The records, tombstones too, with `base` and `fields` where they have them. */
    readonly records: readonly Item[]
  }
  readonly requestId?: string
}

/**
 * S→C. Answers SYNC_PUSH. A refused record comes with the server's own, if it has one. `accepted` counts the whole push;
 * `more` says that another part of what was refused follows.
 */
export interface SyncPushResp<R = WireRecord> {
  readonly type: 'SYNC_PUSH_RESP'
  readonly payload: {
    /** The map that was pushed to. */
    readonly mapName: string
    /** How many records of the whole push were merged. */
    readonly accepted: number
    /** Records that were refused: this part of them. */
    readonly refused: readonly {
      /** The key of the record. */
      readonly key: string
      /** Why it was refused. */
      readonly errorCode: ErrorCode
      /** The same in one sentence. */
      readonly message: string
      /** The server's own record, which takes the place of the client's. Absent where the server has none. */
      readonly record?: R
      /** Position of the commit that made it so. */
      readonly seq?: number
    }[]
    /** Another part of `refused` follows. Default false. */
    readonly more?: boolean
  }
  readonly requestId?: string
}

/** S→C. Answers SYNC_INIT without a cursor. */
export interface SyncRespRoot {
  readonly type: 'SYNC_RESP_ROOT'
  readonly payload: {
    /** The map that is followed. */
    readonly mapName: string
    /** Lane 0 of the root ([MK2]); 0 where the map is empty. */
    readonly rootHash: number
    /** A stamp of the server's clock. */
    readonly timestamp: Stamp
    /** Both lanes of the root, for Syncline peers. Absent for readers of some fields. */
    readonly digest?: string
  }
}

/** C→S. Asks for the children of a trie node: '' is the root, three digits name a leaf, more a part of a leaf. */
export interface MerkleReqBucket {
  readonly type: 'MERKLE_REQ_BUCKET'
  readonly payload: {
    /** The map that is asked about. */
    readonly mapName: string
    /** The node, as up to 8 hexadecimal digits in lower case ([MK1]). */
    readonly path: string
  }
}

/** S→C. Lane 0 of a node's children by hex digit, and both lanes for Syncline peers. */
export interface SyncRespBuckets {
  readonly type: 'SYNC_RESP_BUCKETS'
  readonly payload: {
    /** The map that was asked about. */
    readonly mapName: string
    /** The node that was asked for. */
    readonly path: string
    /** Lane 0 of each child that holds something, by its hexadecimal digit. */
    readonly buckets: Readonly<Record<string, number>>
    /** Both lanes of each, for Syncline peers. */
    readonly digests?: Readonly<Record<string, string>>
  }
}

/** S→C. All records of a leaf, tombstones included, in pages. */
export interface SyncRespLeaf<R = WireRecord> {
  readonly type: 'SYNC_RESP_LEAF'
  readonly payload: {
    /** The map that was asked about. */
    readonly mapName: string
    /** The leaf that was asked for. */
    readonly path: string
    /** This page of its records. */
    readonly records: readonly KeyedRecord<R>[]
    /** Another page follows by itself. Default false. */
    readonly more?: boolean
  }
}

/** C→S. Asks a Syncline server for the digests of all 4,096 leaves at once. */
export interface SyncTrie {
  readonly type: 'SYNC_TRIE'
  readonly payload: {
    /** The map that is asked about. */
    readonly mapName: string
  }
}

/** S→C. `leaves` holds 4,096 × (lane 0, lane 1) as unsigned 32-bit big-endian numbers. */
export interface SyncTrieResp {
  readonly type: 'SYNC_TRIE_RESP'
  readonly payload: {
    /** The map that was asked about. */
    readonly mapName: string
    /** Both lanes of the root ([MK5]). */
    readonly digest: string
    /** 32,768 bytes: lane 0 and lane 1 of leaf 000, then of 001, up to fff. */
    readonly leaves: Uint8Array
  }
}

/** C→S. Asks for keys and digests of the records in some leaves, without the records. */
export interface SyncLeaves {
  readonly type: 'SYNC_LEAVES'
  readonly payload: {
    /** The map that is asked about. */
    readonly mapName: string
    /** Which leaves: 0 is 000, 4095 is fff. */
    readonly leaves: readonly number[]
  }
}

/** S→C. `digests` holds (lane 0, lane 1) of each key's record, as unsigned 32-bit big-endian numbers. */
export interface SyncLeavesResp {
  readonly type: 'SYNC_LEAVES_RESP'
  readonly payload: {
    /** The map that was asked about. */
    readonly mapName: string
    /** The keys in the leaves, this page of them. */
    readonly keys: readonly string[]
    /** 8 bytes for each of `keys`, in their order: lane 0, lane 1. */
    readonly digests: Uint8Array
    /** Another page follows by itself. */
    readonly more: boolean
  }
}

/** C→S. Asks for some records by key. */
export interface SyncFetch {
  readonly type: 'SYNC_FETCH'
  readonly payload: {
    /** The map that is asked about. */
    readonly mapName: string
    /** The keys of the records that are wanted. */
    readonly keys: readonly string[]
  }
}

/** S→C. Answers SYNC_FETCH, in pages. Keys that the server has no record of are in `absent`. */
export interface SyncRecords<R = WireRecord> {
  readonly type: 'SYNC_RECORDS'
  readonly payload: {
    /** The map that was asked about. */
    readonly mapName: string
    /** This page of the records. */
    readonly records: readonly KeyedRecord<R>[]
    /** Keys that were asked for and that the server has no record of. */
    readonly absent: readonly string[]
    /** Another page follows by itself. */
    readonly more: boolean
  }
}
