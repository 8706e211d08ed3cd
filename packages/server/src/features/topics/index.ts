import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import type { Metrics } from '../../telemetry/metrics.ts'
import { readable, refusal, topicHandlers, TopicSender } from './handlers.ts'
import { TopicService, type TopicCounts } from './service.ts'

/** Live topics: TOPIC_SUB, TOPIC_UNSUB, TOPIC_PUB. */
export const topics = defineFeature({
  name: 'topics',
  options: z.object({
    maxQueuedBytes: z
      .int()
      .positive()
      .default(524_288)
      .describe('Unread bytes of a subscriber above which messages for it are dropped and counted.'),
  }),
  start(kernel, { maxQueuedBytes }) {
    const { env, metrics } = kernel
    const service = new TopicService(new TopicSender(), { maxQueuedBytes }, countsOf(metrics), (run) =>
      env.endOfTurn(run),
    )
    metrics.gauge('syncline_topic_subscriptions', 'Subscriptions to topics.', () => service.inspect().subscriptions)
    kernel.onSessionClosed((session) => service.unsubscribeAll(session))
    kernel.onSessionChanged((session) => {
      for (const topic of service.withdraw(session, (each) => readable(kernel, session, each)))
        session.refuse(refusal(topic, 'READ'), 'TOPIC_SUB')
    })
    return { handlers: topicHandlers(kernel, service), inspect: () => ({ ...service.inspect() }) }
  },
})

function countsOf(metrics: Metrics): TopicCounts {
  return {
    published: metrics.counter('syncline_topic_publications_total', 'Messages that were published to topics.'),
    delivered: metrics.counter(
      'syncline_topic_deliveries_total',
      'Messages of topics that were sent, counted once for each subscriber.',
    ),
    dropped: metrics.counter(
      'syncline_topic_drops_total',
      'Messages of topics that were not sent to a subscriber because it reads too slowly.',
    ),
  }
}
