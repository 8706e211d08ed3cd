import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { syncEndpoint } from './endpoint.ts'
import { deltaHandlers } from './handlers.ts'
import { DeltaService } from './service.ts'

/** Sync for those who poll: SYNC_DELTA, and `POST /sync`. */
export const httpSync = defineFeature({
  name: 'http-sync',
  options: z.strictObject({
    maxBodyBytes: z.int().positive().default(16_777_216).describe('Largest body of one request, in bytes.'),
    maxBodiesBytes: z
      .int()
      .positive()
      .default(134_217_728)
      .describe(
        'Bytes of bodies, and of their replies, that are held at once; above it requests are refused OVERLOADED.',
      ),
    maxDeltaPages: z
      .int()
      .positive()
      .default(16)
      .describe('Pages of records (500, or 256 KiB) in one reply. What is left comes with the next request.'),
    maxReplyBytes: z
      .int()
      .positive()
      .default(16_777_216)
      .describe('Bytes of records and rows in one reply; what finds it full is refused TOO_LARGE.'),
  }),
  start(kernel, options) {
    const budget = { bytes: 0, maxBytes: options.maxBodiesBytes, limits: kernel.limits }
    kernel.metrics.gauge(
      'syncline_http_body_bytes',
      'Bytes of bodies of POST /sync, and of replies, that are held.',
      () => budget.bytes,
    )
    return {
      handlers: deltaHandlers(new DeltaService(kernel.store, kernel.authorizer)),
      endpoints: { '/sync': syncEndpoint(kernel, options, budget) },
      inspect: () => ({ bodyBytes: budget.bytes }),
    }
  },
})
