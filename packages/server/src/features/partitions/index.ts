import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { partitionHandlers } from './handlers.ts'
import { PartitionService } from './service.ts'

/** Where existing clients that route by key learn of the nodes: PARTITION_MAP_REQUEST. */
export const partitions = defineFeature({
  name: 'partitions',
  options: z.object({
    websocketUrl: z
      .url({ protocol: /^wss?$/ })
      .optional()
      .describe('The address of this server for WebSockets, as clients see it. By default the one that each came by.'),
    httpUrl: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe('The address of this server for HTTP, as clients see it. By default the one that each came by.'),
  }),
  start(kernel, options) {
    const service = new PartitionService(kernel.nodeId, kernel.env.now(), options)
    return { handlers: partitionHandlers(service), inspect: () => service.inspect() }
  },
})
