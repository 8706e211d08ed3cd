import * as z from 'zod'
import { LIMITS } from '../limits.ts'
import { count, errorCode, id, key, mapName, stamp, value, wrapped } from './common.schema.ts'
import type {
  HttpQuery,
  HttpSearch,
  HttpSyncRequest,
  HttpSyncResponse,
  MapDelta,
  SyncDelta,
  SyncDeltaResp,
} from './http-sync.ts'
import { anyOpSchema, opAckPayloadSchema, wireRecordSchema } from './maps.schema.ts'
import { querySpecShape } from './queries.schema.ts'
import { searchOptionsSchema, searchRowSchema } from './search.schema.ts'

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
  filter: querySpecShape.where,
  predicate: querySpecShape.predicate,
  sort: querySpecShape.sort,
  cursor: querySpecShape.cursor,
  limit: querySpecShape.limit,
  offset: querySpecShape.limit,
})

const search: z.ZodType<HttpSearch> = z.object({
  searchId: id,
  mapName,
  query: z.string().max(LIMITS.searchQueryLength),
  options: searchOptionsSchema.exactOptional(),
})

/** The schema of the body of a `POST /sync`. */
export const httpSyncRequestSchema: z.ZodType<HttpSyncRequest> = z.object({
  clientId: id,
  clientHlc: stamp,
  operations: z.array(anyOpSchema).max(LIMITS.batchOps).exactOptional(),
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
  searchResults: z.array(z.object({ searchId: id, results: z.array(searchRowSchema), totalCount: count })),
  errors: z.array(z.object({ code: z.int(), errorCode, message: z.string(), context: z.string() })),
})
