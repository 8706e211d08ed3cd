import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { resetRequired } from '../../outbound/followers.ts'
import { syncHandlers } from './handlers.ts'
import { SyncService } from './service.ts'

/** How copies of a map come to agree: SYNC_INIT and what follows from it. */
export const merkleSync = defineFeature({
  name: 'merkle-sync',
  options: z.object({}),
  start(kernel) {
    const { followers, authorizer, store } = kernel
    const service = new SyncService(store, authorizer)
    kernel.onSessionClosed((session) => followers.unfollowAll(session))
    kernel.onSessionChanged((session) => {
      for (const { map, view } of followers.of(session)) {
        if (session.rights(authorizer, map.name).view?.redactionClass === view.redactionClass) continue
        followers.unfollow(session, map)
        session.send(resetRequired(map.name, 'The fields that may be read have changed.', false))
      }
    })
    return { handlers: syncHandlers(kernel, service), inspect: () => followers.inspect() }
  },
})
