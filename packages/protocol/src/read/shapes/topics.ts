import type { Shapes } from '../server-message.ts'

/** The messages by which a server delivers what is published. */
export const topicShapes: Shapes = {
  flat: {},
  payload: {
    TOPIC_MESSAGE: 'topic:s data:v publisherId:s? timestamp:n',
    TOPIC_DROPPED: 'topic:s dropped:n',
  },
}
