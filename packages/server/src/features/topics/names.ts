/**
 * The resource whose rights govern a topic. A topic named `room:ROOM:REST` belongs to its room: what may be done in the
 * room may be done with its topics.
 */
export function resourceOf(topic: string): string {
  return topic.startsWith('room:') ? topic.slice(0, topic.lastIndexOf(':')) : `topic:${topic}`
}
