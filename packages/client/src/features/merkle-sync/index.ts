import type { KeyedRecord, MapEvent, ReceivedRecord, SyncDiff } from '@syncline/protocol/codec'
import { SynclineError } from '../../errors.ts'
import type { Feature, Kernel } from '../../feature.ts'
import { isLost, withoutVersion, type LostRanges } from '../../offline/base.ts'
import type { Op } from '../../offline/overlay.ts'
import type { Replica } from '../../offline/replica.ts'
import { Backoff } from '../../session/backoff.ts'

/** Where events bring a map. */
interface Position {
  readonly cursor?: string
  readonly seq?: number | undefined
  readonly prunedThroughSeq?: number
}

/** Follows maps by cursor. What it knows better than the server is pushed, and digests are compared, in the background. */
export function merkleSync(kernel: Kernel): Feature {
  const backoff = new Backoff(kernel.env)
  /** Counts the sessions that are over. */
  let sessions = 0

  function follow(replica: Replica): void {
    if (!kernel.isOnline || replica.link !== 'idle') return
    replica.link = 'asked'
    const { name: mapName, kind } = replica
    const question = { type: 'SYNC_INIT', mapName, cursor: replica.base.cursor, ...(kind && { kind }) } as const
    replica.asked = kernel.send(question, (error) => {
      if (error.retryable) {
        replica.link = 'idle'
        backoff.pause(0, followAll)
      } else refuse(replica, error)
    })
  }

  function followAll(): void {
    for (const replica of kernel.data.used.values()) follow(replica)
  }

  /** The server does not let this client read the map: what it writes is gone from here when it is acknowledged. */
  function refuse(replica: Replica, error: SynclineError): void {
    replica.link = 'refused'
    // Nor may it go on showing what it could read at another time.
    if (error.code === 'FORBIDDEN') replica.reset()
    replica.fault = error
    linkChanged(replica)
    kernel.report(error)
  }

  function beginAnew(replica: Replica, isShown?: boolean): void {
    replica.reset(isShown)
    replica.link = 'idle'
    follow(replica)
    linkChanged(replica)
  }

  function linkChanged(replica: Replica): void {
    replica.stateChanged()
    kernel.outbox.flushSoon()
    kernel.statusChanged()
  }

  /** Applies records in the order of their positions. Gives the keys of those of which this base knows more. */
  function take(replica: Replica, records: Iterable<KeyedRecord<ReceivedRecord> | MapEvent<ReceivedRecord>>): string[] {
    const better: string[] = []
    for (const { key, record: received, seq = 0 } of records) {
      kernel.data.clock.received(received.timestamp)
      if (replica.base.take(key, withoutVersion(received), seq) !== undefined) better.push(key)
      replica.settleThrough(seq, false, kernel.data.overlay.of(replica.name, key))
    }
    return better
  }

  function advance(replica: Replica, cursor: string, seq: number, prunedThroughSeq: number | undefined): void {
    const { base } = replica
    if (prunedThroughSeq !== undefined) {
      for (const key of base.prune(prunedThroughSeq))
        for (const op of kernel.data.overlay.of(replica.name, key)) if (op.overtaken !== undefined) tooLate(op)
    }
    base.advance(cursor, seq)
    kernel.data.writer.markBase(replica.name, '')
    replica.settleThrough(base.seq)
  }

  function takePage(replica: Replica, page: SyncDiff<ReceivedRecord>['payload']): void {
    const { base } = replica
    const { lost = [] } = page
    const askedFrom = base.seq
    const asked = sessions
    const better = take(replica, page.records)
    advance(replica, page.cursor, page.seq, page.prunedThroughSeq)
    const isFirst = replica.link === 'asked'
    if (isFirst) replica.link = 'paging'
    push(replica, isFirst ? better.concat(lostKeys(replica, lost)) : better)
    // Up to its cursor a base has everything: only other tabs can have stored what was lost beyond.
    if (isFirst && lost.some(([, to]) => to > askedFrom)) {
      kernel.inBackground(({ comparisons }) => comparisons.bringStored(replica, lost, () => asked !== sessions))
    }
    if (!page.more) {
      replica.link = 'live'
      replica.fault = undefined
      base.whole = page.digest !== undefined
      // What is acknowledged up to the head and not here is not for this reader, or was deleted and forgotten.
      replica.settleThrough(base.seq, true)
      if (!base.complete) completed(replica)
      const { digest } = page
      const { seq } = base
      if (digest !== undefined) kernel.inBackground(({ comparisons }) => comparisons.start(replica, digest, seq))
    }
    if (isFirst || !page.more) linkChanged(replica)
  }

  function lostKeys({ base }: Replica, lost: LostRanges): string[] {
    if (lost.length === 0) return []
    return Array.from(base.rows).flatMap(([key, row]) => (isLost(lost, row.seq) ? [key] : []))
  }

  /** What base holds under some keys is pushed. */
  function push(replica: Replica, keys: readonly string[]): void {
    if (replica.addUnpushed(keys)) kernel.inBackground(({ pushes }) => pushes.add(replica, keys))
  }

  /** The whole map is here: what base does not have now is not there, and older writes must not bring it back. */
  function completed(replica: Replica): void {
    replica.base.completed()
    for (const op of kernel.data.overlay.ops.values()) {
      const { mapName, key } = op.row
      if (mapName !== replica.name || replica.base.rows.has(key)) continue
      if (op.inBase || op.overtaken !== undefined) tooLate(op)
    }
  }

  /** What an op changes was deleted and forgotten. A removal has what it wants, and the server says so. */
  function tooLate(op: Op): void {
    if (op.row.type === 'REMOVE') return
    kernel.inBackground(({ refusals }) => {
      if (op.refusal === undefined && kernel.data.overlay.ops.has(op.row.id)) {
        refusals.tooLate(op, new SynclineError('STALE', 'What this write changes was deleted meanwhile.'))
      }
    })
  }

  /** What has changed in a map that is live. */
  function changed(
    { mapName, cursor, seq, prunedThroughSeq }: Position & { readonly mapName: string },
    events: readonly MapEvent<ReceivedRecord>[],
  ): void {
    const replica = kernel.data.used.get(mapName)
    if (replica?.link !== 'live' || cursor === undefined || seq === undefined) return
    push(replica, take(replica, events))
    advance(replica, cursor, seq, prunedThroughSeq)
  }

  return {
    mapUsed: follow,
    mapBegunAnew: (replica) => beginAnew(replica, true),
    online: followAll,
    offline() {
      backoff.stop()
      sessions++
      for (const replica of kernel.data.used.values()) {
        replica.disconnected()
        linkChanged(replica)
      }
    },
    handlers: {
      SYNC_DIFF({ payload, requestId }) {
        const replica = kernel.data.used.get(payload.mapName)
        // A live map is asked for as well, for its digest: pages that come after it has begun anew are none of its own.
        if (replica === undefined || (requestId ?? replica.asked) !== replica.asked) return
        if (replica.link !== 'idle' && replica.link !== 'refused') takePage(replica, payload)
      },
      SERVER_EVENT: ({ payload }) => changed(payload, [payload]),
      SERVER_BATCH_EVENT: ({ payload }) => changed({ seq: payload.events.at(-1)?.seq, ...payload }, payload.events),
      SYNC_RESET_REQUIRED({ payload }) {
        const replica = kernel.data.used.get(payload.mapName)
        if (replica === undefined || replica.link === 'idle') return
        // It was sent before the server heard that this client begins anew by itself, which it answers by pages.
        if (replica.base.cursor === null && replica.link === 'asked') {
          if (payload.readable !== true) replica.reset()
        } else beginAnew(replica, payload.readable)
      },
    },
  }
}
