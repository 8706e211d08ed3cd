import type { LwwRecord } from '@syncline/core'
import {
  toWireRecord,
  type KeyedRecord,
  type MapEvent,
  type ReceivedRecord,
  type SyncDiff,
  type SyncPushResp,
  type SyncRecords,
} from '@syncline/protocol/codec'
import { SynclineError } from '../../errors.ts'
import type { Feature, Kernel } from '../../feature.ts'
import { withoutVersion } from '../../offline/base.ts'
import type { Replica } from '../../offline/replica.ts'
import { Backoff } from '../../session/backoff.ts'
import { BaseDigests } from './state.ts'

/** Records in one SYNC_PUSH, keys in one SYNC_FETCH. */
const PUSH_RECORDS = 500
const FETCH_KEYS = 5_000

/** One comparison of a base with the server's map. */
interface Walk {
  readonly leaves: number[]
  /** Our keys in those leaves that the server has not named yet. */
  readonly ours: Set<string>
  readonly differing: string[]
}

/** Follows maps by cursor, pushes what the server has lost, and compares digests (DESIGN 'Reconciliation'). */
export function merkleSync(kernel: Kernel): Feature {
  const digests = new WeakMap<Replica, BaseDigests>()
  const walks = new Map<Replica, Walk>()
  /** Maps of which this session knows more than the server: their digests differ until the stream shows the pushes. */
  const ahead = new Set<Replica>()
  const backoff = new Backoff(kernel.env)
  const report = (error: SynclineError): void => kernel.report(error)

  function digestsOf(replica: Replica): BaseDigests {
    let found = digests.get(replica)
    if (found === undefined) digests.set(replica, (found = new BaseDigests(replica.base)))
    return found
  }

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

  function push(replica: Replica, records: readonly KeyedRecord[]): void {
    if (records.length === 0 || !replica.base.whole) return
    ahead.add(replica)
    for (let at = 0; at < records.length; at += PUSH_RECORDS) {
      const payload = { mapName: replica.name, records: records.slice(at, at + PUSH_RECORDS) }
      kernel.send({ type: 'SYNC_PUSH', payload }, report)
    }
  }

  /** Applies records in the order of their positions. Gives those of which this base knows more. */
  function take(
    replica: Replica,
    records: Iterable<KeyedRecord<ReceivedRecord> | MapEvent<ReceivedRecord>>,
  ): KeyedRecord[] {
    const better: KeyedRecord[] = []
    for (const { key, record, seq = 0 } of records) {
      kernel.clock.received(record.timestamp)
      const merged = replica.base.take(key, withoutVersion(record), seq)
      if (merged !== undefined) better.push({ key, record: toWireRecord(merged) })
      replica.settleThrough(seq)
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
      if (page.digest !== undefined && !ahead.has(replica) && page.digest !== digestsOf(replica).root()) walk(replica)
    }
    linkChanged(replica)
  }

  function lostRecords({ base }: Replica, lost: readonly (readonly [number, number])[]): KeyedRecord[] {
    if (lost.length === 0) return []
    const isLost = (seq: number): boolean => lost.some(([from, to]) => seq > from && seq <= to)
    return Array.from(base.rows).flatMap(([key, row]) =>
      isLost(row.seq) ? [{ key, record: toWireRecord(row.record) }] : [],
    )
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

  function walk(replica: Replica): void {
    if (walks.has(replica)) return
    walks.set(replica, { leaves: [], ours: new Set(), differing: [] })
    kernel.send({ type: 'SYNC_TRIE', payload: { mapName: replica.name } }, report)
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

  function takeFetched(replica: Replica, { records }: SyncRecords<ReceivedRecord>['payload']): void {
    const better: KeyedRecord[] = []
    for (const { key, record, seq = 0 } of records) {
      kernel.clock.received(record.timestamp)
      const merged: LwwRecord | undefined = replica.base.merge(key, withoutVersion(record), seq)
      if (merged !== undefined) better.push({ key, record: toWireRecord(merged) })
    }
    push(replica, better)
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
      walks.clear()
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
        walks.delete(replica)
        replica.link = 'idle'
        follow(replica)
        linkChanged(replica)
      },
      SYNC_PUSH_RESP({ payload }) {
        const replica = kernel.replicas.get(payload.mapName)
        if (replica !== undefined) takeRefused(replica, payload.refused)
      },
      SYNC_TRIE_RESP({ payload }) {
        const replica = liveReplica(payload.mapName)
        const running = replica && walks.get(replica)
        if (replica === undefined || running === undefined) return
        running.leaves.push(...digestsOf(replica).differingLeaves(payload.leaves))
        if (running.leaves.length === 0) return
        for (const key of digestsOf(replica).keysIn(running.leaves)) running.ours.add(key)
        kernel.send({ type: 'SYNC_LEAVES', payload: { mapName: replica.name, leaves: running.leaves } }, report)
      },
      SYNC_LEAVES_RESP({ payload }) {
        const replica = liveReplica(payload.mapName)
        const running = replica && walks.get(replica)
        if (replica === undefined || running === undefined) return
        running.differing.push(...digestsOf(replica).differingKeys(payload.keys, payload.digests))
        for (const key of payload.keys) running.ours.delete(key)
        if (payload.more) return
        for (let at = 0; at < running.differing.length; at += FETCH_KEYS) {
          const keys = running.differing.slice(at, at + FETCH_KEYS)
          kernel.send({ type: 'SYNC_FETCH', payload: { mapName: replica.name, keys } }, report)
        }
        push(
          replica,
          [...running.ours].flatMap((key) => {
            const row = replica.base.rows.get(key)
            return row === undefined ? [] : [{ key, record: toWireRecord(row.record) }]
          }),
        )
      },
      SYNC_RECORDS({ payload }) {
        const replica = liveReplica(payload.mapName)
        if (replica !== undefined && walks.has(replica)) takeFetched(replica, payload)
      },
    },
  }
}
