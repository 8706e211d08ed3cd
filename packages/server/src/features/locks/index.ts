import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { lockHandlers, withdrawLocks } from './handlers.ts'
import { LockService } from './service.ts'

/** Longest delay of a timer: what a lease may last at most. */
const MAX_TIMER_MS = 2_147_483_647

/** Distributed locks with fencing tokens: LOCK_REQUEST, LOCK_RELEASE. */
export const locks = defineFeature({
  name: 'locks',
  options: z.object({
    leaseMs: z
      .int()
      .positive()
      .max(MAX_TIMER_MS)
      .default(10_000)
      .describe('Milliseconds that a lease lasts where the request names no ttl.'),
    leaseMsMax: z
      .int()
      .positive()
      .max(MAX_TIMER_MS)
      .default(300_000)
      .describe('Longest lease, in milliseconds: a longer ttl is shortened to it.'),
    maxPerConnection: z
      .int()
      .positive()
      .default(100)
      .describe('Locks that one connection may hold or wait for. Beyond it: LIMIT_EXCEEDED.'),
    maxWaitersPerLock: z
      .int()
      .positive()
      .default(1_000)
      .describe('Requests that may wait for one lock. Beyond it: LIMIT_EXCEEDED.'),
  }),
  start(kernel, options) {
    const { env, limits, metrics } = kernel
    const { committer, fences } = kernel.store
    const service = new LockService({ env, fences, limits, refusal: () => committer.refusal() }, options)
    metrics.gauge('syncline_locks_held', 'Locks that connections hold.', () => service.inspect().held)
    metrics.gauge('syncline_locks_waiting', 'Requests that wait for a lock.', () => service.inspect().waiting)
    kernel.onSessionClosed((session) => service.releaseAll(session))
    kernel.onSessionChanged((session) => withdrawLocks(kernel, service, session))
    return { handlers: lockHandlers(kernel, service), inspect: () => service.inspect() }
  },
})
