import type { Stamp } from '@syncline/core'
import type { WireError } from '../errors.ts'
import type { OrRecord } from './maps.ts'

/** What a replica holds of one key of an OR-map: its items, and the tags of those that were removed. */
export interface OrEntry<R = OrRecord> {
  /** The key that the items are of. */
  readonly key: string
  /** Its items. */
  readonly records: readonly R[]
  /** Tags of removed items: from a server those of this key, from existing clients those of the whole map. */
  readonly tombstones: readonly string[]
}

/** A pushed item that cannot be read. Its siblings are merged. */
export interface RefusedItem {
  readonly refused: WireError
}

/** C→S. An existing client starts following an OR-map. The hashes are its own; the server needs none of them. */
export interface OrMapSyncInit {
  readonly type: 'ORMAP_SYNC_INIT'
  /** The map to follow. */
  readonly mapName: string
  /** The root of the client's own trie. Ignored. */
  readonly rootHash?: number
  /** The children of the client's own root. Ignored. */
  readonly bucketHashes?: Readonly<Record<string, number>>
  /** When the client last synchronized, as in SYNC_INIT. */
  readonly lastSyncTimestamp?: number | Stamp
}

/** S→C. Answers ORMAP_SYNC_INIT with the root of the trie over keys. */
export interface OrMapSyncRespRoot {
  readonly type: 'ORMAP_SYNC_RESP_ROOT'
  readonly payload: {
    /** The map that is followed. */
    readonly mapName: string
    /** The root of the trie over keys ([MK6]); 0 where the map is empty. */
    readonly rootHash: number
    /** A stamp of the server's clock. */
    readonly timestamp: Stamp
  }
}

/** C→S. Asks for the children of a node of the trie over keys: '' is the root, three digits name a leaf. */
export interface OrMapMerkleReqBucket {
  readonly type: 'ORMAP_MERKLE_REQ_BUCKET'
  readonly payload: {
    /** The map that is asked about. */
    readonly mapName: string
    /** The node, as up to 8 hexadecimal digits in lower case. */
    readonly path: string
  }
}

/** S→C. A node's children by hex digit. */
export interface OrMapSyncRespBuckets {
  readonly type: 'ORMAP_SYNC_RESP_BUCKETS'
  readonly payload: {
    /** The map that was asked about. */
    readonly mapName: string
    /** The node that was asked for. */
    readonly path: string
    /** The digest of each child that holds something, by its hexadecimal digit. */
    readonly buckets: Readonly<Record<string, number>>
  }
}

/** S→C. The keys of a leaf, in pages. A key with many items comes in several entries, which are to be joined. */
export interface OrMapSyncRespLeaf {
  readonly type: 'ORMAP_SYNC_RESP_LEAF'
  readonly payload: {
    /** The map that was asked about. */
    readonly mapName: string
    /** The leaf that was asked for. */
    readonly path: string
    /** This page of its keys. */
    readonly entries: readonly OrEntry[]
    /** Another page follows by itself. Default false. */
    readonly more?: boolean
  }
}

/** C→S. Asks for some keys of an OR-map. */
export interface OrMapDiffRequest {
  readonly type: 'ORMAP_DIFF_REQUEST'
  readonly payload: {
    /** The map that is asked about. */
    readonly mapName: string
    /** The keys that are wanted. */
    readonly keys: readonly string[]
  }
}

/** S→C. Answers ORMAP_DIFF_REQUEST with an entry for every key asked for, in pages. */
export interface OrMapDiffResponse {
  readonly type: 'ORMAP_DIFF_RESPONSE'
  readonly payload: {
    /** The map that was asked about. */
    readonly mapName: string
    /** This page of the keys that were asked for. */
    readonly entries: readonly OrEntry[]
    /** Another page follows by itself. Default false. */
    readonly more?: boolean
  }
}

/** C→S. Items and removals that an existing client holds and the server may lack. Answered only where some are refused. */
export interface OrMapPushDiff<R = OrRecord> {
  readonly type: 'ORMAP_PUSH_DIFF'
  readonly payload: {
    /** The map that the items are of. */
    readonly mapName: string
    /** What the client holds, by key. */
    readonly entries: readonly OrEntry<R>[]
  }
}
