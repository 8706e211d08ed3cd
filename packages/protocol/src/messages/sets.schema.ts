import * as z from 'zod'
import { LIMITS } from '../limits.ts'
import { count, flat, key, mapName, mapOf, stamp, triePath, wrapped } from './common.schema.ts'
import { orRecordSchema } from './maps.schema.ts'
import type {
  OrEntry,
  OrMapDiffRequest,
  OrMapDiffResponse,
  OrMapMerkleReqBucket,
  OrMapPushDiff,
  OrMapSyncInit,
  OrMapSyncRespBuckets,
  OrMapSyncRespLeaf,
  OrMapSyncRespRoot,
} from './sets.ts'

const hash = count.max(0xffff_ffff)
const entry: z.ZodType<OrEntry> = z.object({
  key,
  records: z.array(orRecordSchema),
  tombstones: z.array(z.string()),
})
const more = z.boolean().exactOptional()

/** The schema of ORMAP_SYNC_INIT. */
export const orMapSyncInitSchema: z.ZodType<OrMapSyncInit> = flat('ORMAP_SYNC_INIT', {
  mapName,
  rootHash: z.number().exactOptional(),
  bucketHashes: mapOf(z.number(), () => true).exactOptional(),
  lastSyncTimestamp: z.union([z.number(), stamp]).exactOptional(),
})

/** The schema of ORMAP_SYNC_RESP_ROOT. */
export const orMapSyncRespRootSchema: z.ZodType<OrMapSyncRespRoot> = wrapped(
  'ORMAP_SYNC_RESP_ROOT',
  z.object({ mapName, rootHash: hash, timestamp: stamp }),
)

/** The schema of ORMAP_MERKLE_REQ_BUCKET. */
export const orMapMerkleReqBucketSchema: z.ZodType<OrMapMerkleReqBucket> = wrapped(
  'ORMAP_MERKLE_REQ_BUCKET',
  z.object({ mapName, path: triePath }),
)

/** The schema of ORMAP_SYNC_RESP_BUCKETS. */
export const orMapSyncRespBucketsSchema: z.ZodType<OrMapSyncRespBuckets> = wrapped(
  'ORMAP_SYNC_RESP_BUCKETS',
  z.object({
    mapName,
    path: triePath,
    buckets: mapOf(hash, (digits) => digits.every((digit) => /^[0-9a-f]$/.test(digit))),
  }),
)

/** The schema of ORMAP_SYNC_RESP_LEAF. */
export const orMapSyncRespLeafSchema: z.ZodType<OrMapSyncRespLeaf> = wrapped(
  'ORMAP_SYNC_RESP_LEAF',
  z.object({ mapName, path: triePath, entries: z.array(entry), more }),
)

/** The schema of ORMAP_DIFF_REQUEST. */
export const orMapDiffRequestSchema: z.ZodType<OrMapDiffRequest> = wrapped(
  'ORMAP_DIFF_REQUEST',
  z.object({ mapName, keys: z.array(key).max(LIMITS.fetchKeys) }),
)

/** The schema of ORMAP_DIFF_RESPONSE. */
export const orMapDiffResponseSchema: z.ZodType<OrMapDiffResponse> = wrapped(
  'ORMAP_DIFF_RESPONSE',
  z.object({ mapName, entries: z.array(entry), more }),
)

/** The schema of ORMAP_PUSH_DIFF. */
export const orMapPushDiffSchema: z.ZodType<OrMapPushDiff> = wrapped(
  'ORMAP_PUSH_DIFF',
  z.object({ mapName, entries: z.array(entry).max(LIMITS.fetchKeys) }),
)
