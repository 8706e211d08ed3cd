import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { setHandlers } from './handlers.ts'
import { SetService } from './service.ts'

/** OR-maps as existing clients synchronize them: ORMAP_SYNC_INIT and what follows from it. */
export const sets = defineFeature({
  name: 'sets',
  options: z.object({}),
  start(kernel) {
    return { handlers: setHandlers(kernel, new SetService(kernel)) }
  },
})
