import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { mapHandlers } from './handlers.ts'
import { MapService } from './service.ts'

/** Writes to maps: CLIENT_OP, OP_BATCH. */
export const maps = defineFeature({
  name: 'maps',
  options: z.object({}),
  start(kernel) {
    const service = new MapService(kernel.store, kernel.feed, kernel.authorizer)
    return { handlers: mapHandlers(kernel, service) }
  },
})
