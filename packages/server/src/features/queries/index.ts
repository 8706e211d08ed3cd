import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { QuerySender, queryHandlers, unfollowUnasked, withdrawal } from './handlers.ts'
import { QueryService } from './service.ts'

/** Live queries: QUERY_SUB, QUERY_UNSUB. */
export const queries = defineFeature({
  name: 'queries',
  options: z.object({}),
  start(kernel) {
    const service = new QueryService(kernel.env, kernel.store, kernel.authorizer, kernel.feed, new QuerySender())
    kernel.onSessionClosed((session) => service.unsubscribeAll(session))
    kernel.onSessionChanged((session) => {
      for (const { queryId, mapName } of service.withdraw(session))
        session.refuse(withdrawal(mapName, queryId), 'QUERY_SUB')
      unfollowUnasked(kernel, service, session)
    })
    return { handlers: queryHandlers(kernel, service), inspect: () => service.inspect() }
  },
})
