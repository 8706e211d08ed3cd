import type { PredicateNode, QuerySpec, Where } from '@syncline/core'
import * as z from 'zod'
import { LIMITS } from '../limits.ts'
import { anyMap, count, id, key, mapName, mapOf, value, wrapped } from './common.schema.ts'
import type { QueryResp, QuerySub, QueryUnsub, QueryUpdate } from './queries.ts'

/** The schemas of the parts of a query. */
export const querySpecShape = {
  where: (anyMap as z.ZodType<Where>).exactOptional(),
  predicate: (anyMap as unknown as z.ZodType<PredicateNode>).exactOptional(),
  sort: mapOf(z.enum(['asc', 'desc']), (names) => names.length <= LIMITS.sortFields, LIMITS.sortFields).exactOptional(),
  limit: count.max(LIMITS.queryLimit).exactOptional(),
  cursor: z.string().max(LIMITS.queryCursorLength).exactOptional(),
}

/** The schema of a query's outline. Its conditions are judged where it is compiled. */
export const querySpecSchema: z.ZodType<QuerySpec> = z.object(querySpecShape)

/** The schema of QUERY_SUB. */
export const querySubSchema: z.ZodType<QuerySub> = wrapped(
  'QUERY_SUB',
  z.object({
    queryId: id,
    mapName,
    query: querySpecSchema,
    fields: z.array(z.string()).max(LIMITS.queryFields).exactOptional(),
  }),
)

/** The schema of QUERY_UNSUB. */
export const queryUnsubSchema: z.ZodType<QueryUnsub> = wrapped('QUERY_UNSUB', z.object({ queryId: id }))

/** The schema of QUERY_RESP. */
export const queryRespSchema: z.ZodType<QueryResp> = wrapped(
  'QUERY_RESP',
  z.object({
    queryId: id,
    results: z.array(z.object({ key, value })),
    hasMore: z.boolean().exactOptional(),
    nextCursor: z.string().exactOptional(),
    cursorStatus: z.enum(['valid', 'expired', 'invalid', 'none']).exactOptional(),
    more: z.boolean().exactOptional(),
    version: count.exactOptional(),
  }),
)

/** The schema of QUERY_UPDATE. */
export const queryUpdateSchema: z.ZodType<QueryUpdate> = wrapped(
  'QUERY_UPDATE',
  z.object({
    queryId: id,
    key,
    value,
    changeType: z.enum(['ENTER', 'UPDATE', 'LEAVE']),
    version: count.exactOptional(),
  }),
)
