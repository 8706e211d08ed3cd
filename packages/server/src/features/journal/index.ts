import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { JournalSender, journalHandlers } from './handlers.ts'
import { JournalService } from './service.ts'

const pattern = z.string().min(1)

/** The journal of changes: JOURNAL_SUBSCRIBE, JOURNAL_UNSUBSCRIBE, JOURNAL_READ. */
export const journal = defineFeature({
  name: 'journal',
  options: z.object({
    enabled: z
      .boolean()
      .default(false)
      .describe('Keep the latest changes of maps in memory: who changed what, when, and what it was before.'),
    capacity: z.int().positive().default(10_000).describe('Changes that are kept of one map.'),
    ttlMs: z
      .int()
      .nonnegative()
      .default(0)
      .describe('Milliseconds after which a change is forgotten. 0 forgets none for its age.'),
    maxBytes: z
      .int()
      .positive()
      .default(67_108_864)
      .describe('About how many bytes all kept changes may hold, values before and after included.'),
    include: z
      .array(pattern)
      .optional()
      .describe('The only maps whose changes are kept: names, or beginnings of names with a star at the end.'),
    exclude: z.array(pattern).default([]).describe('Maps whose changes are not kept, named in the same way.'),
  }),
  start(kernel, options) {
    const sender = new JournalSender()
    const service = new JournalService(kernel, options, (subscriber) => sender.wake(service, subscriber))
    const { metrics } = kernel
    metrics.gauge('syncline_journal_events', 'Changes that the journal keeps.', () => service.inspect().events)
    metrics.gauge('syncline_journal_bytes', 'About how many bytes they hold.', () => service.inspect().bytes)
    metrics.gauge(
      'syncline_journal_subscriptions',
      'Subscriptions to the journal of all connections.',
      () => service.inspect().subscriptions,
    )
    kernel.onSessionClosed((session) => service.unsubscribeAll(session))
    kernel.onSessionChanged((session) => {
      for (const { id, error } of service.withdraw(session)) {
        session.refuse({ ...error, details: { ...error.details, subscriptionId: id } }, 'JOURNAL_SUBSCRIBE', id)
      }
    })
    return { handlers: journalHandlers(service), inspect: () => service.inspect() }
  },
})
