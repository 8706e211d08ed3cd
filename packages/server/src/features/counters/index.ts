import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { CounterSender, counterHandlers, withdrawCounters } from './handlers.ts'
import { CounterService } from './service.ts'

/** Counters as existing clients know them: COUNTER_REQUEST, COUNTER_SYNC. */
export const counters = defineFeature({
  name: 'counters',
  options: z.object({}),
  start(kernel) {
    const service = new CounterService(kernel, new CounterSender())
    kernel.metrics.gauge(
      'syncline_counters_followed',
      'Counters that connections follow by COUNTER_REQUEST, each connection counted by itself.',
      () => service.inspect().following,
    )
    kernel.onSessionClosed((session) => service.unfollowAll(session))
    kernel.onSessionChanged((session) => withdrawCounters(service, session))
    return { handlers: counterHandlers(kernel, service), inspect: () => service.inspect() }
  },
})
