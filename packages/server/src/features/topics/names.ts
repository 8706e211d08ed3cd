const ROOM = 'room:'

/**
 * The resource whose rights govern a topic; undefined where there can be none. A topic named `room:ROOM:REST` belongs to
 * its room: what may be done in the room may be done with its topics.
 */
export function resourceOf(topic: string): string | undefined {
  if (!topic.startsWith(ROOM)) return `topic:${topic}`
  const end = topic.lastIndexOf(':')
  return end <= ROOM.length || end === topic.length - 1 ? undefined : topic.slice(0, end)
}
