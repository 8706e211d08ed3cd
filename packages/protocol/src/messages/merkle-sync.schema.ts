import * as z from 'zod'
import { LIMITS } from '../limits.ts'
import { bytes, count, errorCode, flat, key, mapName, stamp, triePath, wrapped } from './common.schema.ts'
import { mapKindSchema, pushedRecordSchema, wireRecordSchema } from './maps.schema.ts'
import type {
  KeyedRecord,
  MerkleReqBucket,
  SyncDiff,
  SyncFetch,
  SyncInit,
  SyncLeaves,
  SyncLeavesResp,
  SyncPush,
  SyncPushResp,
  SyncRecords,
  SyncResetRequired,
  SyncRespBuckets,
  SyncRespLeaf,
  SyncRespRoot,
  SyncStop,
  SyncTrie,
  SyncTrieResp,
} from './merkle-sync.ts'

const keyedRecord: z.ZodType<KeyedRecord> = z.object({ key, record: wireRecordSchema, seq: count.exactOptional() })
const hash = count.max(0xffff_ffff)
const digest = z.string().regex(/^[0-9a-f]{16}$/)

/** The schema of SYNC_INIT. */
export const syncInitSchema: z.ZodType<SyncInit> = flat('SYNC_INIT', {
  mapName,
  cursor: z.string().max(LIMITS.cursorLength).nullable().exactOptional(),
  kind: mapKindSchema.exactOptional(),
  lastSyncTimestamp: z.union([z.number(), stamp]).exactOptional(),
})

/** The schema of SYNC_STOP. */
export const syncStopSchema: z.ZodType<SyncStop> = flat('SYNC_STOP', { mapName })

/** The schema of SYNC_PUSH. */
export const syncPushSchema: z.ZodType<SyncPush> = wrapped(
  'SYNC_PUSH',
  z.object({
    mapName,
    kind: mapKindSchema.exactOptional(),
    records: z.array(z.object({ key, record: pushedRecordSchema, seq: count.exactOptional() })).max(LIMITS.batchOps),
  }),
)

/** The schema of SYNC_TRIE. */
export const syncTrieSchema: z.ZodType<SyncTrie> = wrapped('SYNC_TRIE', z.object({ mapName }))

/** The schema of SYNC_LEAVES. */
export const syncLeavesSchema: z.ZodType<SyncLeaves> = wrapped(
  'SYNC_LEAVES',
  z.object({ mapName, leaves: z.array(count.max(4095)).max(LIMITS.fetchKeys) }),
)

/** The schema of SYNC_FETCH. */
export const syncFetchSchema: z.ZodType<SyncFetch> = wrapped(
  'SYNC_FETCH',
  z.object({ mapName, keys: z.array(key).max(LIMITS.fetchKeys) }),
)

/** The schema of MERKLE_REQ_BUCKET. */
export const merkleReqBucketSchema: z.ZodType<MerkleReqBucket> = wrapped(
  'MERKLE_REQ_BUCKET',
  z.object({ mapName, path: triePath }),
)

/** The schema of SYNC_DIFF. */
export const syncDiffSchema: z.ZodType<SyncDiff> = wrapped(
  'SYNC_DIFF',
  z.object({
    mapName,
    records: z.array(keyedRecord),
    cursor: z.string().max(LIMITS.cursorLength),
    seq: count,
    more: z.boolean(),
    kind: mapKindSchema.exactOptional(),
    lost: z.array(z.tuple([count, count])).exactOptional(),
    prunedThroughSeq: count.exactOptional(),
    digest: digest.exactOptional(),
    rootHash: hash.exactOptional(),
  }),
)

/** The schema of SYNC_RESET_REQUIRED. */
export const syncResetRequiredSchema: z.ZodType<SyncResetRequired> = wrapped(
  'SYNC_RESET_REQUIRED',
  z.object({ mapName, reason: z.string(), readable: z.literal(true).exactOptional() }),
)

/** The schema of SYNC_PUSH_RESP. */
export const syncPushRespSchema: z.ZodType<SyncPushResp> = wrapped(
  'SYNC_PUSH_RESP',
  z.object({
    mapName,
    accepted: count,
    refused: z.array(
      z.object({
        key,
        errorCode,
        message: z.string(),
        record: wireRecordSchema.exactOptional(),
        seq: count.exactOptional(),
      }),
    ),
    more: z.boolean().exactOptional(),
  }),
)

/** The schema of SYNC_RESP_ROOT. */
export const syncRespRootSchema: z.ZodType<SyncRespRoot> = wrapped(
  'SYNC_RESP_ROOT',
  z.object({ mapName, rootHash: hash, timestamp: stamp, digest: digest.exactOptional() }),
)

/** The schema of SYNC_RESP_BUCKETS. */
export const syncRespBucketsSchema: z.ZodType<SyncRespBuckets> = wrapped(
  'SYNC_RESP_BUCKETS',
  z.object({
    mapName,
    path: triePath,
    buckets: z.record(z.string(), hash),
    digests: z.record(z.string(), digest).exactOptional(),
  }),
)

/** The schema of SYNC_RESP_LEAF. */
export const syncRespLeafSchema: z.ZodType<SyncRespLeaf> = wrapped(
  'SYNC_RESP_LEAF',
  z.object({ mapName, path: triePath, records: z.array(keyedRecord), more: z.boolean().exactOptional() }),
)

/** The schema of SYNC_TRIE_RESP. */
export const syncTrieRespSchema: z.ZodType<SyncTrieResp> = wrapped(
  'SYNC_TRIE_RESP',
  z.object({ mapName, digest, leaves: bytes }),
)

/** The schema of SYNC_LEAVES_RESP. */
export const syncLeavesRespSchema: z.ZodType<SyncLeavesResp> = wrapped(
  'SYNC_LEAVES_RESP',
  z.object({ mapName, keys: z.array(key), digests: bytes, more: z.boolean() }),
)

/** The schema of SYNC_RECORDS. */
export const syncRecordsSchema: z.ZodType<SyncRecords> = wrapped(
  'SYNC_RECORDS',
  z.object({ mapName, records: z.array(keyedRecord), absent: z.array(key), more: z.boolean() }),
)
