import { isFieldName } from '@syncline/core'
import * as z from 'zod'
import { LIMITS } from '../limits.ts'
import { count, mapOf, name, wrapped } from './common.schema.ts'
import type { Counts, CounterRequest, CounterResponse, CounterState, CounterSync, CounterUpdate } from './counters.ts'

const counterName = name(LIMITS.counterNameBytes)

const counts: z.ZodType<Counts> = mapOf(
  count,
  (nodes) =>
    nodes.length <= LIMITS.counterRows &&
    nodes.every((node) => isFieldName(node) && name(LIMITS.keyBytes).safeParse(node).success),
)

const fullState = z.object({ p: counts, n: counts, positive: counts, negative: counts })
const state: z.ZodType<CounterState> = z
  .object({
    p: counts.exactOptional(),
    n: counts.exactOptional(),
    positive: counts.exactOptional(),
    negative: counts.exactOptional(),
  })
  .refine(({ p, n, positive, negative }) => (p ?? n ?? positive ?? negative) !== undefined)

/** The schema of COUNTER_REQUEST. */
export const counterRequestSchema: z.ZodType<CounterRequest> = wrapped(
  'COUNTER_REQUEST',
  z.object({ name: counterName }),
)

/** The schema of COUNTER_RESPONSE. */
export const counterResponseSchema: z.ZodType<CounterResponse> = wrapped(
  'COUNTER_RESPONSE',
  z.object({ name: counterName, state: fullState, more: z.boolean().exactOptional() }),
)

/** The schema of COUNTER_SYNC. */
export const counterSyncSchema: z.ZodType<CounterSync> = wrapped('COUNTER_SYNC', z.object({ name: counterName, state }))

/** The schema of COUNTER_UPDATE. */
export const counterUpdateSchema: z.ZodType<CounterUpdate> = wrapped(
  'COUNTER_UPDATE',
  z.object({ name: counterName, state: fullState }),
)
