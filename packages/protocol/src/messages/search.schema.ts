import type { Where } from '@syncline/core'
import * as z from 'zod'
import { LIMITS } from '../limits.ts'
import { anyMap, count, errorCode, id, key, mapName, mapOf, name, value, wrapped } from './common.schema.ts'
import type { Search, SearchOptions, SearchResp, SearchRow, SearchSub, SearchUnsub, SearchUpdate } from './search.ts'

const query = z.string().max(LIMITS.searchQueryLength)

const optionsShape: z.ZodType<SearchOptions, Readonly<Record<string, unknown>>> = z.object({
  limit: count.exactOptional(),
  minScore: z.number().min(0).exactOptional(),
  boost: mapOf(z.number().positive(), (names) => names.length <= LIMITS.searchFields).exactOptional(),
  fields: z.array(name(LIMITS.fieldNameBytes)).min(1).max(LIMITS.searchFields).exactOptional(),
  where: (anyMap as z.ZodType<Where>).exactOptional(),
  prefix: z.boolean().exactOptional(),
}) as never

/** The schema of a search's options. */
export const searchOptionsSchema: z.ZodType<SearchOptions> = anyMap.pipe(optionsShape)

/** The schema of SEARCH. */
export const searchSchema: z.ZodType<Search> = wrapped(
  'SEARCH',
  z.object({ requestId: id, mapName, query, options: searchOptionsSchema.exactOptional() }),
)

/** The schema of SEARCH_SUB. */
export const searchSubSchema: z.ZodType<SearchSub> = wrapped(
  'SEARCH_SUB',
  z.object({ subscriptionId: id, mapName, query, options: searchOptionsSchema.exactOptional() }),
)

/** The schema of SEARCH_UNSUB. */
export const searchUnsubSchema: z.ZodType<SearchUnsub> = wrapped('SEARCH_UNSUB', z.object({ subscriptionId: id }))

const rowShape = { key, value, score: z.number().min(0), matchedTerms: z.array(z.string()) }

/** The schema of one row that a search found. */
export const searchRowSchema: z.ZodType<SearchRow> = z.object(rowShape)

/** The schema of SEARCH_RESP. */
export const searchRespSchema: z.ZodType<SearchResp> = wrapped(
  'SEARCH_RESP',
  z.object({
    requestId: id,
    results: z.array(searchRowSchema),
    totalCount: count,
    error: z.string().exactOptional(),
    errorCode: errorCode.exactOptional(),
    details: anyMap.exactOptional(),
    more: z.boolean().exactOptional(),
    version: count.exactOptional(),
  }),
)

/** The schema of SEARCH_UPDATE. */
export const searchUpdateSchema: z.ZodType<SearchUpdate> = wrapped(
  'SEARCH_UPDATE',
  z.object({
    ...rowShape,
    subscriptionId: id,
    changeType: z.enum(['ENTER', 'UPDATE', 'LEAVE']),
    totalCount: count.exactOptional(),
    version: count.exactOptional(),
  }),
)
