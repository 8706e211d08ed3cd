import type { Stamp } from '@syncline/core'
import type { WireError } from '../errors.ts'
import type { OrRecord } from './maps.ts'

/** What a replica holds of one key of an OR-map: its items, and the tags of those that were removed. */
export interface OrEntry<R = OrRecord> {
  readonly key: string
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
  readonly mapName: string
  readonly rootHash?: number
  readonly bucketHashes?: Readonly<Record<string, number>>
  readonly lastSyncTimestamp?: number | Stamp
}

/** S→C. Answers ORMAP_SYNC_INIT with the root of the trie over keys. */
export interface OrMapSyncRespRoot {
  readonly type: 'ORMAP_SYNC_RESP_ROOT'
  readonly payload: { readonly mapName: string; readonly rootHash: number; readonly timestamp: Stamp }
}

/** C→S. Asks for the children of a node of the trie over keys: '' is the root, three digits name a leaf. */
export interface OrMapMerkleReqBucket {
  readonly type: 'ORMAP_MERKLE_REQ_BUCKET'
  readonly payload: { readonly mapName: string; readonly path: string }
}

/** S→C. A node's children by hex digit. */
export interface OrMapSyncRespBuckets {
  readonly type: 'ORMAP_SYNC_RESP_BUCKETS'
  readonly payload: {
    readonly mapName: string
    readonly path: string
    readonly buckets: Readonly<Record<string, number>>
  }
}

/** S→C. The keys of a leaf, in pages. A key with many items comes in several entries, which are to be joined. */
export interface OrMapSyncRespLeaf {
  readonly type: 'ORMAP_SYNC_RESP_LEAF'
  readonly payload: {
    readonly mapName: string
    readonly path: string
    readonly entries: readonly OrEntry[]
    readonly more?: boolean
  }
}

/** C→S. Asks for some keys of an OR-map. */
export interface OrMapDiffRequest {
  readonly type: 'ORMAP_DIFF_REQUEST'
  readonly payload: { readonly mapName: string; readonly keys: readonly string[] }
}

/** S→C. Answers ORMAP_DIFF_REQUEST with an entry for every key asked for, in pages. */
export interface OrMapDiffResponse {
  readonly type: 'ORMAP_DIFF_RESPONSE'
  readonly payload: { readonly mapName: string; readonly entries: readonly OrEntry[]; readonly more?: boolean }
}

/** C→S. Items and removals that an existing client holds and the server may lack. Answered only where some are refused. */
export interface OrMapPushDiff<R = OrRecord> {
  readonly type: 'ORMAP_PUSH_DIFF'
  readonly payload: { readonly mapName: string; readonly entries: readonly OrEntry<R>[] }
}
