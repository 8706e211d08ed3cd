import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { sessionHandlers } from './handlers.ts'
import { SessionService } from './service.ts'
import { hs256Verifier } from './verify.ts'

/** Who speaks on a connection: AUTH, PING. */
export const sessions = defineFeature({
  name: 'sessions',
  options: z.object({}),
  start(kernel) {
    const { jwtSecret, env } = kernel
    const verifier = jwtSecret === undefined ? undefined : hs256Verifier(jwtSecret, () => env.now())
    return { handlers: sessionHandlers(kernel, new SessionService(verifier, env)) }
  },
})
