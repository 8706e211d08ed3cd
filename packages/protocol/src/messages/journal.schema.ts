import * as z from 'zod'
import { LIMITS } from '../limits.ts'
import { count, flat, id, key, mapName, stamp, value } from './common.schema.ts'
import type {
  JournalEntry,
  JournalEventMessage,
  JournalEventType,
  JournalRead,
  JournalReadResponse,
  JournalSubscribe,
  JournalUnsubscribe,
} from './journal.ts'

const eventType: z.ZodType<JournalEventType> = z.enum(['PUT', 'UPDATE', 'DELETE'])
const sequence = z
  .string()
  .regex(/^\d{1,16}$/)
  .refine((text) => Number.isSafeInteger(Number(text)))

/** The schema of one event. */
export const journalEntrySchema: z.ZodType<JournalEntry> = z.object({
  sequence,
  type: eventType,
  mapName,
  key,
  value: value.exactOptional(),
  previousValue: value.exactOptional(),
  timestamp: stamp,
  nodeId: z.string(),
  metadata: z.object({ userId: z.string() }),
})

const filter = { mapName: mapName.exactOptional(), types: z.array(eventType).max(3).exactOptional() }

/** The schema of JOURNAL_SUBSCRIBE. */
export const journalSubscribeSchema: z.ZodType<JournalSubscribe> = z.object({
  ...flat('JOURNAL_SUBSCRIBE', filter).shape,
  requestId: id,
  fromSequence: sequence.exactOptional(),
  epoch: id.exactOptional(),
})

/** The schema of JOURNAL_UNSUBSCRIBE. */
export const journalUnsubscribeSchema: z.ZodType<JournalUnsubscribe> = flat('JOURNAL_UNSUBSCRIBE', {
  subscriptionId: id,
})

/** The schema of JOURNAL_EVENT. */
export const journalEventSchema: z.ZodType<JournalEventMessage> = flat('JOURNAL_EVENT', {
  event: journalEntrySchema,
  epoch: id,
  subscriptionIds: z.array(id),
})

/** The schema of JOURNAL_READ. */
export const journalReadSchema: z.ZodType<JournalRead> = z
  .object({
    ...flat('JOURNAL_READ', filter).shape,
    requestId: id,
    fromSequence: sequence,
    epoch: id.exactOptional(),
    limit: count.min(1).max(LIMITS.journalPage).exactOptional(),
    key: key.exactOptional(),
    newestFirst: z.boolean().exactOptional(),
  })
  .refine(({ key, mapName }) => key === undefined || mapName !== undefined)

/** The schema of JOURNAL_READ_RESPONSE. */
export const journalReadResponseSchema: z.ZodType<JournalReadResponse> = z.object({
  ...flat('JOURNAL_READ_RESPONSE', {}).shape,
  requestId: id,
  events: z.array(journalEntrySchema),
  hasMore: z.boolean(),
  epoch: id,
  nextSequence: sequence,
})
