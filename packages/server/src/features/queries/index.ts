import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { QuerySender, queryHandlers, unfollowUnasked, withdrawal } from './handlers.ts'
import { QueryService } from './service.ts'

/** Live queries: QUERY_SUB, QUERY_UNSUB. */
export const queries = defineFeature({
  name: 'queries',
  options: z.object({
    maxResultRows: z
      .int()
      .positive()
      .default(2_000_000)
      .describe('Rows that all live queries together may hold in memory before new ones are refused.'),
    maxIndexRows: z
      .int()
      .nonnegative()
      .default(2_000_000)
      .describe('Rows that all indexes together may hold in memory. Past that, queries look at whole maps.'),
    indexes: z
      .record(z.string(), z.array(z.string()))
      .default({})
      .describe(
        'By map, the fields that have an index from the first query on; others get one when a query has a use for it.',
      ),
  }),
  start(kernel, { maxResultRows, maxIndexRows, indexes }) {
    const options = { maxResultRows, maxRows: maxIndexRows, declared: indexes }
    const service = new QueryService(kernel, new QuerySender(), options)
    const { metrics } = kernel
    metrics.gauge('syncline_live_queries', 'Different live queries.', () => service.inspect().queries)
    metrics.gauge(
      'syncline_live_query_subscriptions',
      'Live queries of all connections.',
      () => service.inspect().subscriptions,
    )
    metrics.gauge(
      'syncline_live_query_rows',
      'Rows that the results of live queries hold in memory.',
      () => service.inspect().rows,
    )
    metrics.gauge(
      'syncline_index_rows',
      'Rows that the indexes of maps hold in memory.',
      () => service.inspect().indexedRows,
    )
    kernel.onSessionClosed((session) => service.unsubscribeAll(session))
    kernel.onSessionChanged((session) => {
      for (const { queryId, mapName } of service.withdraw(session))
        session.refuse(withdrawal(mapName, queryId), 'QUERY_SUB')
      unfollowUnasked(kernel, service, session)
    })
    return { handlers: queryHandlers(kernel, service), inspect: () => service.inspect() }
  },
})
