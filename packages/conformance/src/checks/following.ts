import type { Trial } from '../trial.ts'
import type { Vector } from '../vectors.ts'
import type { Message, Payload, Peer } from '../wire.ts'

// What the checks of maps that are followed share.

/** All pages of a SYNC_DIFF. */
export async function pages(peer: Peer): Promise<readonly Payload[]> {
  const found: Payload[] = []
  for (;;) {
    const { payload } = await peer.take('SYNC_DIFF')
    found.push(payload)
    if (payload['more'] !== true) return found
  }
}

/** The keys of records, in order. */
export const keysOf = (records: readonly Vector[]): readonly string[] => records.map(({ key }) => key as string)

/** The events of one map that are in the inbox, in order, with the cursor of each frame. */
export function eventsIn(peer: Peer): readonly {
  readonly key: string
  readonly seq: number
  readonly cursor?: string
  readonly eventType: string
  readonly record: Vector
}[] {
  const events = (message: Message): readonly Vector[] =>
    message.type === 'SERVER_EVENT'
      ? [message.payload]
      : message.type === 'SERVER_BATCH_EVENT'
        ? (message.payload['events'] as Vector[]).map((event) => ({
            ...event,
            cursor: message.payload['cursor'] as unknown,
          }))
        : []
  return peer.inbox.splice(0).flatMap(events) as never
}

/** Writes keys k0, k1 and so on. */
export async function fill(trial: Trial, peer: Peer, mapName: string, count: number): Promise<void> {
  const ops = Array.from({ length: count }, (_, i) => ({
    id: `${i}`,
    mapName,
    key: `k${i}`,
    record: { value: { i }, timestamp: trial.stamp() },
  }))
  trial.willRemove(
    mapName,
    ops.map(({ key }) => key),
  )
  for (let i = 0; i < count; i += 1_000) {
    await peer.ask({ type: 'OP_BATCH', payload: { ops: ops.slice(i, i + 1_000) } }, 'OP_ACK')
  }
}
