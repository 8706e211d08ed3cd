import { wireError } from '@syncline/protocol'
import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { refusal, SearchSender, searchHandlers } from './handlers.ts'
import { SearchService } from './service.ts'

const MAX_FIELDS = 16

const searchedMap = z
  .strictObject({
    fields: z
      .array(z.string().min(1))
      .min(1)
      .max(MAX_FIELDS)
      .describe('Fields whose texts are searched, at the top level of records.'),
    boost: z
      .record(z.string(), z.number().positive())
      .optional()
      .describe('How much a match in a field counts; 1 where it is not named. Each field is then scored by itself.'),
  })
  .refine(({ fields, boost = {} }) => Object.keys(boost).every((field) => fields.includes(field)), {
    path: ['boost'],
    message: 'names a field that is not among the fields',
  })

/** Full-text search: SEARCH, SEARCH_SUB, SEARCH_UNSUB. */
export const search = defineFeature({
  name: 'search',
  options: z.object({
    maps: z.record(z.string(), searchedMap).default({}).describe('The maps that can be searched, by name.'),
    maxIndexedRecords: z
      .int()
      .positive()
      .default(1_000_000)
      .describe('Records that all search indexes together may hold before new ones are refused. One takes about 1 kB.'),
    maxLiveMatches: z
      .int()
      .positive()
      .default(2_000_000)
      .describe('Matches that all live searches together may hold in memory before new ones are refused.'),
    idleMs: z
      .int()
      .positive()
      .default(600_000)
      .describe(
        'Milliseconds after which an index is given up that nobody asks. It is made again when it is asked for.',
      ),
  }),
  start(kernel, options) {
    const service = new SearchService(kernel, options, new SearchSender())
    const { metrics } = kernel
    metrics.gauge('syncline_search_indexes', 'Search indexes in memory.', () => service.inspect().indexes)
    metrics.gauge(
      'syncline_search_indexed_records',
      'Records that search indexes hold.',
      () => service.inspect().indexedRecords,
    )
    metrics.gauge(
      'syncline_search_waiting_records',
      'Changed records that search indexes have still to look at.',
      () => service.inspect().waitingRecords,
    )
    metrics.gauge('syncline_live_searches', 'Different live searches.', () => service.inspect().searches)
    metrics.gauge(
      'syncline_live_search_matches',
      'Matches that all live searches hold.',
      () => service.inspect().matches,
    )
    metrics.gauge(
      'syncline_live_search_subscriptions',
      'Live searches of all connections.',
      () => service.inspect().subscriptions,
    )
    kernel.onSessionClosed((session) => service.unsubscribeAll(session))
    kernel.onSessionChanged((session) => {
      for (const { id, mapName } of service.withdraw(session)) {
        const message = `The live search of map '${mapName}' ended: the rights to read it have changed.`
        session.send(refusal(id, wireError('FORBIDDEN', message)))
      }
    })
    return { handlers: searchHandlers(service), inspect: () => service.inspect() }
  },
})
