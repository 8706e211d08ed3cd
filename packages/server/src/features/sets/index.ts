import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { setHandlers } from './handlers.ts'
import { SetService } from './service.ts'

/** OR-maps as existing clients synchronize them: ORMAP_SYNC_INIT and what follows from it. */
export const sets = defineFeature({
  name: 'sets',
  options: z.object({}),
  start(kernel) {
    const service = new SetService(kernel)
    kernel.metrics.gauge(
      'syncline_set_index_keys',
      'Keys and tags of sets that are indexed for clients which compare by them.',
      () => service.inspect().indexedKeys,
    )
    return { handlers: setHandlers(kernel, service), inspect: () => service.inspect() }
  },
})
