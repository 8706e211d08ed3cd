import type { KeyedRecord, MapEvent, ReceivedRecord, SyncDiff } from '@syncline/protocol/codec'
import { code } from '../../code.ts'
import { SynclineError } from '../../errors.ts'
import type { Feature, Kernel } from '../../feature.ts'
import { withoutVersion } from '../../offline/base.ts'
import type { Op } from '../../offline/overlay.ts'
import type { Replica } from '../../offline/replica.ts'
import { Backoff } from '../../session/backoff.ts'
import type { Comparisons } from './comparisons.ts'
import { Pushes } from './pushes.ts'

/** The code that compares digests, which clients need only after they are in step. */
export const comparisonsCode = code(() => import('./comparisons.ts'))

/** Positions that the server may have lost, each after the first and up to the second. */
type LostRanges = readonly (readonly [number, number])[]

const isIn = (ranges: LostRanges, seq: number): boolean => ranges.some(([from, to]) => seq > from && seq <= to)

/** Follows maps by cursor, pushes what the server has lost, and compares digests (DESIGN 'Reconciliation'). */
export function merkleSync(kernel: Kernel): Feature {
  let comparisons: Comparisons | undefined
  /** Counts the sessions that are over. */
  let sessions = 0
  const pushes = new Pushes(kernel)
  const backoff = new Backoff(kernel.env)

  function follow(replica: Replica): void {
    if (!kernel.isOnline || replica.link !== 'idle') return
    replica.link = 'asked'
    const { name: mapName, kind } = replica
    kernel.send({ type: 'SYNC_INIT', mapName, cursor: replica.base.cursor, ...(kind && { kind }) }, (error) => {
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
    // Nor may it go on showing what it could read at another time.
    if (error.code === 'FORBIDDEN') replica.reset()
    replica.fault = error
    linkChanged(replica)
    kernel.report(error)
  }

  function beginAnew(replica: Replica, isShown?: boolean): void {
    replica.reset(isShown)
    comparisons?.stop(replica)
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
  function take(
    replica: Replica,
    records: Iterable<KeyedRecord<ReceivedRecord> | MapEvent<ReceivedRecord>>,
    how: 'take' | 'merge' = 'take',
  ): string[] {
    const better: string[] = []
    for (const { key, record: received, seq = 0 } of records) {
      kernel.clock.received(received.timestamp)
      if (replica.base[how](key, withoutVersion(received), seq) !== undefined) better.push(key)
      if (how === 'take') replica.settleThrough(seq, false, kernel.overlay.of(replica.name, key))
    }
    return better
  }

  function advance(replica: Replica, cursor: string, seq: number, prunedThroughSeq: number | undefined): void {
    const { base } = replica
    if (prunedThroughSeq !== undefined) {
      for (const key of base.prune(prunedThroughSeq))
        for (const op of kernel.overlay.of(replica.name, key)) if (op.overtaken !== undefined) tooLate(op)
    }
    base.advance(cursor, seq)
    kernel.positionChanged(replica)
    replica.settleThrough(base.seq)
  }

  function takePage(replica: Replica, page: SyncDiff<ReceivedRecord>['payload']): void {
    const { base } = replica
    const askedFrom = base.seq
    const better = take(replica, page.records)
    advance(replica, page.cursor, page.seq, page.prunedThroughSeq)
    const isFirst = replica.link === 'asked'
    if (isFirst) replica.link = 'paging'
    pushes.add(replica, isFirst ? better.concat(lostKeys(replica, page.lost ?? [])) : better)
    if (isFirst) bringStored(replica, page.lost ?? [], askedFrom)
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

  function lostKeys({ base }: Replica, lost: LostRanges): string[] {
    if (lost.length === 0) return []
    return Array.from(base.rows).flatMap(([key, row]) => (isIn(lost, row.seq) ? [key] : []))
  }

  /** Up to its cursor a base has everything: only other tabs can have stored what was lost beyond. */
  function bringStored(replica: Replica, all: LostRanges, cursor: number): void {
    const lost = all.filter(([, to]) => to > cursor)
    const asked = sessions
    if (lost.length === 0) return
    const isOver = (): boolean => asked !== sessions
    withComparisons((those) => those.bringStored(replica, (seq) => isIn(lost, seq), isOver))
  }

  /** The whole map is here: what base does not have now is not there, and older writes must not bring it back. */
  function completed(replica: Replica): void {
    replica.base.completed()
    for (const op of kernel.overlay.ops.values()) {
      const { mapName, key } = op.row
      if (mapName !== replica.name || replica.base.rows.has(key)) continue
      if (op.inBase || op.overtaken !== undefined) tooLate(op)
    }
  }

  /** What an op changes was deleted and forgotten. A removal has what it wants, and the server says so. */
  function tooLate(op: Op): void {
    if (op.row.type === 'REMOVE' || op.refusal !== undefined) return
    kernel.outbox.tooLate(op, new SynclineError('STALE', 'What this write changes was deleted meanwhile.'))
  }

  const isComparable = (replica: Replica): boolean => replica.link === 'live' && !pushes.ahead.has(replica)

  /** Compares base with the digest that the server's map had at a position. It is a check: it may come late or fail. */
  function compare(replica: Replica, digest: string, seq: number): void {
    if (!isComparable(replica)) return
    if (!isComparable(replica)) return
    withComparisons((those) => {
      if (isComparable(replica)) those.start(replica, digest, seq)
    })
  }

  /** Runs with the code that compares: now if it is here, or in this session once it is. */
  function withComparisons(run: (those: Comparisons) => void): void {
    const { module } = comparisonsCode
    if (module !== undefined) {
      comparisons ??= new module.Comparisons(kernel, {
        isComparable,
        push: (compared, keys) => pushes.add(compared, keys),
        merge: (merged, records) => pushes.add(merged, take(merged, records, 'merge')),
      })
      run(comparisons)
      return
    }
    const asked = sessions
    comparisonsCode.load().then(
      () => {
        if (asked === sessions) withComparisons(run)
      },
      // Offline, or replaced by a newer build: the next session tries again.
      () => {},
    )
  }

  const liveReplica = (mapName: string): Replica | undefined => {
    const replica = kernel.replicas.get(mapName)
    return replica?.link === 'live' ? replica : undefined
  }

  return {
    mapUsed: follow,
    mapBegunAnew: (replica) => beginAnew(replica, true),
    online: followAll,
    offline() {
      backoff.stop()
      sessions++
      comparisons?.stop()
      pushes.stop()
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
        pushes.add(replica, take(replica, [payload]))
        advance(replica, payload.cursor, payload.seq, undefined)
      },
      SERVER_BATCH_EVENT({ payload }) {
        const replica = liveReplica(payload.mapName)
        const { cursor, events, seq = events.at(-1)?.seq } = payload
        if (replica === undefined || cursor === undefined || seq === undefined) return
        pushes.add(replica, take(replica, events))
        advance(replica, cursor, seq, payload.prunedThroughSeq)
      },
      SYNC_RESET_REQUIRED({ payload }) {
        const replica = kernel.replicas.get(payload.mapName)
        if (replica === undefined || replica.link === 'idle') return
        if (replica.base.cursor === null && replica.link === 'asked') {
          refuse(replica, new SynclineError('INTERNAL_ERROR', `The server refuses to begin: ${payload.reason}`))
          return
        }
        beginAnew(replica, payload.readable)
      },
      SYNC_PUSH_RESP: ({ payload }) => pushes.answered(payload),
      SYNC_TRIE_RESP: (message) => comparisons?.leaves(message),
      SYNC_LEAVES_RESP: (message) => comparisons?.keys(message),
      SYNC_RECORDS: (message) => comparisons?.records(message),
    },
  }
}
