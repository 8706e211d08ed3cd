import type { LwwRecord } from '@syncline/core'
import {
  toWireRecord,
  type KeyedRecord,
  type MapEvent,
  type ReceivedRecord,
  type SyncDiff,
  type SyncPushResp,
} from '@syncline/protocol/codec'
import { SynclineError } from '../../errors.ts'
import type { Feature, Kernel } from '../../feature.ts'
import { withoutVersion } from '../../offline/base.ts'
import type { Replica } from '../../offline/replica.ts'
import { Backoff } from '../../session/backoff.ts'
import type { Comparisons } from './comparisons.ts'

/** Records in one SYNC_PUSH. */
const PUSH_RECORDS = 500

let loaded: { readonly Comparisons: typeof Comparisons } | undefined

/**
 * Loads the code that compares digests, which clients need only after they are in step. They do so by themselves; tests
 * on a virtual clock, which cannot wait for it, do it ahead. Rejects where it cannot be had.
 */
export async function loadComparisons(): Promise<void> {
  loaded ??= await import('./comparisons.ts')
}

/** Follows maps by cursor, pushes what the server has lost, and compares digests (DESIGN 'Reconciliation'). */
export function merkleSync(kernel: Kernel): Feature {
  let comparisons: Comparisons | undefined
  /** Counts the sessions that are over. */
  let sessions = 0
  /** Maps of which this session knows more than the server: their digests differ until the stream shows the pushes. */
  const ahead = new Set<Replica>()
  const backoff = new Backoff(kernel.env)
  const report = (error: SynclineError): void => kernel.report(error)

  function follow(replica: Replica): void {
    if (!kernel.isOnline || replica.link !== 'idle') return
    replica.link = 'asked'
    kernel.send({ type: 'SYNC_INIT', mapName: replica.name, cursor: replica.base.cursor }, (error) => {
      if (error.retryable) {
        replica.link = 'idle'
        backoff.pause(0, followAll)
      } else refuse(replica, error)
    })
  }

  function followAll(): void {
    for (const replica of kernel.replicas.values()) follow(replica)
  }

  /** The server does not let this client read the map: what it writes is gone from here when it is acknowledged. */
  function refuse(replica: Replica, error: SynclineError): void {
    replica.link = 'refused'
    replica.fault = error
    linkChanged(replica)
    kernel.report(error)
  }

  function linkChanged(replica: Replica): void {
    replica.stateChanged()
    kernel.outbox.flushSoon()
    kernel.statusChanged()
  }

  function push(replica: Replica, all: readonly KeyedRecord<LwwRecord>[]): void {
    if (all.length === 0 || !replica.base.whole) return
    ahead.add(replica)
    for (let at = 0; at < all.length; at += PUSH_RECORDS) {
      const page = all.slice(at, at + PUSH_RECORDS)
      const records = page.map(({ key, record }) => ({ key, record: toWireRecord(record) }))
      const payload = { mapName: replica.name, records }
      kernel.send({ type: 'SYNC_PUSH', payload }, report)
    }
  }

  /** Applies records in the order of their positions. Gives those of which this base knows more. */
  function take(
    replica: Replica,
    records: Iterable<KeyedRecord<ReceivedRecord> | MapEvent<ReceivedRecord>>,
    how: 'take' | 'merge' = 'take',
  ): KeyedRecord<LwwRecord>[] {
    const better: KeyedRecord<LwwRecord>[] = []
    for (const { key, record: received, seq = 0 } of records) {
      kernel.clock.received(received.timestamp)
      const record = replica.base[how](key, withoutVersion(received), seq)
      if (record !== undefined) better.push({ key, record })
      if (how === 'take') replica.settleThrough(seq)
    }
    return better
  }

  function advance(replica: Replica, cursor: string, seq: number, prunedThroughSeq: number | undefined): void {
    const { base } = replica
    if (prunedThroughSeq !== undefined) base.prune(prunedThroughSeq)
    base.advance(cursor, seq)
    kernel.positionChanged(replica)
    replica.settleThrough(base.seq)
  }

  function takePage(replica: Replica, page: SyncDiff<ReceivedRecord>['payload']): void {
    const { base } = replica
    const better = take(replica, page.records)
    advance(replica, page.cursor, page.seq, page.prunedThroughSeq)
    const isFirst = replica.link === 'asked'
    if (isFirst) replica.link = 'paging'
    push(replica, [...better, ...(isFirst ? lostRecords(replica, page.lost ?? []) : [])])
    if (!page.more) {
      replica.link = 'live'
      replica.fault = undefined
      base.whole = page.digest !== undefined
      // What is acknowledged up to the head and not here is not for this reader, or was deleted and forgotten.
      replica.settleThrough(base.seq, true)
      if (!base.complete) completed(replica)
      if (page.digest !== undefined) compare(replica, page.digest, base.seq)
    }
    if (isFirst || !page.more) linkChanged(replica)
  }

  function lostRecords({ base }: Replica, lost: readonly (readonly [number, number])[]): KeyedRecord<LwwRecord>[] {
    if (lost.length === 0) return []
    const isLost = (seq: number): boolean => lost.some(([from, to]) => seq > from && seq <= to)
    return Array.from(base.rows).flatMap(([key, row]) => (isLost(row.seq) ? [{ key, record: row.record }] : []))
  }

  /** The whole map is here: what base does not have now is not there, and older writes must not bring it back. */
  function completed(replica: Replica): void {
    replica.base.complete = true
    for (const op of kernel.overlay.ops.values()) {
      const { mapName, key } = op.row
      if (mapName !== replica.name || !op.inBase || op.refusal !== undefined || replica.base.rows.has(key)) continue
      kernel.outbox.rejectStale(op, new SynclineError('STALE', 'What this write changes was deleted meanwhile.'))
    }
  }

  const isComparable = (replica: Replica): boolean => replica.link === 'live' && !ahead.has(replica)

  /** Compares base with the digest that the server's map had at a position. It is a check: it may come late or fail. */
  function compare(replica: Replica, digest: string, seq: number): void {
    if (!isComparable(replica)) return
    if (loaded !== undefined) {
      comparisons ??= new loaded.Comparisons(kernel, {
        isComparable,
        push,
        merge: (merged, records) => push(merged, take(merged, records, 'merge')),
      })
      comparisons.start(replica, digest, seq)
      return
    }
    const asked = sessions
    loadComparisons().then(
      () => {
        if (asked === sessions) compare(replica, digest, seq)
      },
      // Offline, or replaced by a newer build: the next session tries again.
      () => {},
    )
  }

  /** What a push could not bring: the server's record takes its place. */
  function takeRefused(replica: Replica, refused: SyncPushResp<ReceivedRecord>['payload']['refused']): void {
    for (const { key, errorCode, record, seq } of refused) {
      const row = replica.base.rows.get(key)
      if (row === undefined || new SynclineError(errorCode).retryable) continue
      // The stream may have brought something later meanwhile.
      if (record !== undefined && (seq ?? row.seq) < row.seq) continue
      replica.base.set(key, record && { record: withoutVersion(record), seq: seq ?? row.seq })
    }
  }

  const liveReplica = (mapName: string): Replica | undefined => {
    const replica = kernel.replicas.get(mapName)
    return replica?.link === 'live' ? replica : undefined
  }

  return {
    mapUsed: follow,
    online: followAll,
    offline() {
      backoff.stop()
      sessions++
      comparisons?.stop()
      ahead.clear()
      for (const replica of kernel.replicas.values()) {
        replica.disconnected()
        linkChanged(replica)
      }
    },
    handlers: {
      SYNC_DIFF({ payload }) {
        const replica = kernel.replicas.get(payload.mapName)
        if (replica !== undefined && (replica.link === 'asked' || replica.link === 'paging')) takePage(replica, payload)
      },
      SERVER_EVENT({ payload }) {
        const replica = liveReplica(payload.mapName)
        if (replica === undefined || payload.cursor === undefined) return
        push(replica, take(replica, [payload]))
        advance(replica, payload.cursor, payload.seq, undefined)
      },
      SERVER_BATCH_EVENT({ payload }) {
        const replica = liveReplica(payload.mapName)
        const { cursor, events, seq = events.at(-1)?.seq } = payload
        if (replica === undefined || cursor === undefined || seq === undefined) return
        push(replica, take(replica, events))
        advance(replica, cursor, seq, (payload as { prunedThroughSeq?: number }).prunedThroughSeq)
      },
      SYNC_RESET_REQUIRED({ payload }) {
        const replica = kernel.replicas.get(payload.mapName)
        if (replica === undefined || replica.link === 'idle') return
        if (replica.base.cursor === null && replica.link === 'asked') {
          refuse(replica, new SynclineError('INTERNAL_ERROR', `The server refuses to begin: ${payload.reason}`))
          return
        }
        replica.base.reset()
        kernel.positionChanged(replica)
        comparisons?.stop(replica)
        replica.link = 'idle'
        follow(replica)
        linkChanged(replica)
      },
      SYNC_PUSH_RESP({ payload }) {
        const replica = kernel.replicas.get(payload.mapName)
        if (replica !== undefined) takeRefused(replica, payload.refused)
      },
      SYNC_TRIE_RESP: (message) => comparisons?.leaves(message),
      SYNC_LEAVES_RESP: (message) => comparisons?.keys(message),
      SYNC_RECORDS: (message) => comparisons?.records(message),
    },
  }
}
