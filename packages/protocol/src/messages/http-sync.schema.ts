import type { PredicateNode, Where } from '@syncline/core'
import * as z from 'zod'
import { LIMITS } from '../limits.ts'
import { anyMap, count, errorCode, id, key, mapName, mapOf, stamp, value, wrapped } from './common.schema.ts'
import type {
  HttpQuery,
  HttpSearch,
  HttpSyncRequest,
  HttpSyncResponse,
  MapDelta,
  SyncDelta,
  SyncDeltaResp,
} from './http-sync.ts'
import { clientOpSchema, opAckPayloadSchema, wireRecordSchema } from './maps.schema.ts'

const lastSyncTimestamp = z.union([stamp, z.number().min(0)])

const delta: z.ZodType<MapDelta> = z.object({
  mapName,
  records: z.array(z.object({ key, record: wireRecordSchema, eventType: z.enum(['PUT', 'REMOVE']) })),
  serverSyncTimestamp: stamp,
  more: z.boolean().exactOptional(),
  reset: z.boolean().exactOptional(),
})

/** The schema of SYNC_DELTA. */
export const syncDeltaSchema: z.ZodType<SyncDelta> = wrapped(
  'SYNC_DELTA',
  z.object({ mapName, lastSyncTimestamp: lastSyncTimestamp.exactOptional() }),
)

/** The schema of SYNC_DELTA_RESP. */
export const syncDeltaRespSchema: z.ZodType<SyncDeltaResp> = wrapped('SYNC_DELTA_RESP', delta)

const query: z.ZodType<HttpQuery> = z.object({
  queryId: id,
  mapName,
  filter: (anyMap as z.ZodType<Where>).exactOptional(),
  predicate: (anyMap as unknown as z.ZodType<PredicateNode>).exactOptional(),
  sort: mapOf(z.enum(['asc', 'desc']), (names) => names.length <= LIMITS.sortFields).exactOptional(),
  cursor: z.string().max(LIMITS.queryCursorLength).exactOptional(),
  limit: count.max(LIMITS.queryLimit).exactOptional(),
  offset: count.max(LIMITS.queryLimit).exactOptional(),
})

const search: z.ZodType<HttpSearch> = z.object({
  searchId: id,
  mapName,
  query: z.string(),
  options: (anyMap as unknown as z.ZodType<NonNullable<HttpSearch['options']>>).exactOptional(),
})

/** The schema of the body of a `POST /sync`. */
export const httpSyncRequestSchema: z.ZodType<HttpSyncRequest> = z.object({
  clientId: id,
  clientHlc: stamp,
  operations: z.array(clientOpSchema).max(LIMITS.batchOps).exactOptional(),
  syncMaps: z
    .array(z.object({ mapName, lastSyncTimestamp: lastSyncTimestamp.exactOptional() }))
    .max(LIMITS.httpParts)
    .exactOptional(),
  queries: z.array(query).max(LIMITS.httpParts).exactOptional(),
  searches: z.array(search).max(LIMITS.httpParts).exactOptional(),
})

/** The schema of the body of its reply. */
export const httpSyncResponseSchema: z.ZodType<HttpSyncResponse> = z.object({
  serverHlc: stamp,
  ack: opAckPayloadSchema.exactOptional(),
  deltas: z.array(delta),
  queryResults: z.array(
    z.object({
      queryId: id,
      results: z.array(z.object({ key, value })),
      hasMore: z.boolean(),
      nextCursor: z.string().exactOptional(),
    }),
  ),
  searchResults: z.array(z.object({ searchId: id, results: z.array(z.unknown()), totalCount: count })),
  errors: z.array(z.object({ code: z.int(), errorCode, message: z.string(), context: z.string() })),
})
