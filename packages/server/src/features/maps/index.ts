import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { mapHandlers } from './handlers.ts'
import { MapService } from './service.ts'

/** Writes to maps: CLIENT_OP, OP_BATCH. */
export const maps = defineFeature({
  name: 'maps',
  options: z.object({}),
  start(kernel) {
    const service = new MapService(kernel)
    kernel.metrics.gauge(
      'syncline_waiting_writes',
      'Ops and batches whose clients wait until they are stored.',
      () => service.inspect().waitingWrites,
    )
    return { handlers: mapHandlers(kernel, service), inspect: () => service.inspect() }
  },
})
