import { isAheadOfClock, isStamp } from '@syncline/core'
import type { OpRejected, WriteConcern } from '@syncline/protocol/codec'
import { SynclineError } from '../errors.ts'
import type { Kernel } from '../feature.ts'
import { lossOf } from '../offline/conflicts.ts'
import { UNCOUNTED, type Op } from '../offline/overlay.ts'
import { LEVELS } from '../offline/write.ts'
import type { Outbox } from './outbox.ts'
import { Restamps } from './restamps.ts'
import { retryAfterOf } from './retry-after.ts'

/** How often one PUT is stamped anew for being older than forgotten deletions. */
const MAX_RENEWALS = 3

/** Sees to the writes that the server did not take: sends them again, stamps them anew, or gives them up and says so. */
export class Refusals {
  readonly #kernel: Kernel
  readonly #outbox: Outbox
  /** While ops wait for new stamps, nothing is sent, so that each answer belongs to one stamp. */
  readonly restamps: Restamps

  constructor(kernel: Kernel) {
    this.#kernel = kernel
    this.#outbox = kernel.outbox
    this.restamps = new Restamps(kernel)
  }

  /** A write without acknowledgement was refused all the same. */
  rejected({ opId, errorCode, reason }: OpRejected['payload']): void {
    const { unanswered, pingedOps } = this.#outbox
    for (const op of [...unanswered, ...pingedOps]) {
      if (op.row.id !== opId) continue
      unanswered.delete(op)
      pingedOps.delete(op)
      this.reject(op, new SynclineError(errorCode, reason))
    }
  }

  /** Refuses an op for good: it stays visible until the application discards it. */
  reject(op: Op, error: SynclineError): void {
    this.#outbox.waiting.delete(op)
    if (this.#outbox.confirming.delete(op)) {
      op.write?.failAbove(-1, error)
      return
    }
    op.phase = 'waiting'
    op.refusal = op.lastError = error
    const { mapName, key, count } = op.row
    const { overlay } = this.#kernel.data
    // It belongs to no row of its counter any more, which others may raise.
    if (count !== undefined) overlay.count(op, UNCOUNTED, undefined)
    overlay.refusedCount++
    this.#kernel.data.writer.markOp(op.row.id)
    for (const touched of new Set([key, op.row.key])) this.#kernel.data.replica(mapName).touch(touched)
    this.#kernel.statusChanged()
    this.#kernel.refused(op, error)
    op.write?.fail(error)
  }

  /**
   * The write stands, but not at the level that it was made with: until it does, this may be the only copy that survives
   * a crash of the server. It stays and is sent again, to no other effect.
   */
  reachedTooLittle(op: Op, level: WriteConcern): void {
    op.phase = 'waiting'
    op.wasAcked = true
    op.lastError = new SynclineError(
      'TIMEOUT',
      `The server took the write at ${level} and not at ${op.row.concern} yet.`,
    )
    this.#kernel.data.clock.received(op.stamp)
    op.write?.reach(level)
    this.#kernel.statusChanged()
    this.#outbox.retry(op, 0)
  }

  failed(op: Op, error: SynclineError): void {
    const { code, details } = error
    const isVisible = this.#kernel.data.overlay.ops.has(op.row.id)
    op.phase = 'waiting'
    op.lastError = error
    op.write?.status.changed()
    this.#kernel.statusChanged()
    if (code === 'CLOCK_SKEW' && isVisible) {
      const serverTime = (details as { serverTime?: unknown } | undefined)?.serverTime
      if (typeof serverTime === 'number') this.#kernel.data.clock.synchronize(this.#kernel.env.monotonic(), serverTime)
      this.restamps.skewed(op.stamp)
      op.wasAcked = false
      this.#outbox.retry(op, 0)
    } else if (code === 'STALE' && isVisible) this.#isStale(op, error)
    else if (code === 'NOT_FOUND' && isVisible && op.overtaken !== undefined) this.tooLate(op, error)
    else if (code === 'WRITE_CONCERN_UNAVAILABLE' && op.asked !== op.row.concern) {
      op.asked = op.row.concern
      op.write?.failAbove(LEVELS.indexOf(op.asked), error)
      this.#outbox.confirming.delete(op)
      if (isVisible) this.#outbox.waiting.add(op)
    } else if (error.retryable || (code === 'NOT_FOUND' && this.#mayBeFound(op))) {
      this.#outbox.retry(op, retryAfterOf(error))
    } else this.reject(op, error)
  }

  /** The key was deleted, and the server has forgotten when: an older write must not bring it back. */
  #isStale(op: Op, error: SynclineError): void {
    // A new stamp is above the deletions that were forgotten.
    const { prunedThrough } = (error.details ?? {}) as { prunedThrough?: unknown }
    const { clock } = this.#kernel.data
    if (isStamp(prunedThrough) && !isAheadOfClock(prunedThrough, clock.now())) clock.received(prunedThrough)
    // A removal has what it wants, unless it removes what this client is about to write anew.
    if (op.row.type === 'REMOVE' && !this.#followsUnsent(op)) this.#over(op)
    else if (op.row.type === 'REMOVE') this.#outbox.waiting.add(op)
    else if (op.inBase || op.overtaken !== undefined || op.wasSent || op.wasAcked) this.tooLate(op, error)
    else if (op.row.type === 'PUT' ? op.renewals++ < MAX_RENEWALS : this.#followsUnsent(op)) {
      // It was written as new, so it is meant to be there.
      if (op.row.type === 'PUT') this.restamps.stale(op)
      this.#outbox.waiting.add(op)
    } else this.reject(op, error)
  }

  /**
   * A write to something that was deleted and forgotten meanwhile must not bring it back. One that this client has
   * replaced by a later write is over: what became of that one was told.
   */
  tooLate(op: Op, error: SynclineError): void {
    // Whether somebody saw an item and removed it, or it never arrived, is not known of one whose answer was lost.
    const isOver = op.row.tag !== undefined && (op.overtaken !== undefined || op.wasAcked)
    if (op.overtaken === 'own' || isOver) {
      this.#outbox.inFlight.delete(op.row.id)
      this.#over(op)
      this.restampIfDrained()
    } else if (!this.#outbox.inFlight.has(op.row.id)) {
      // What is on its way gets its answer.
      this.reject(op, error)
      if (op.row.tag !== undefined) return
      const { mapName, key } = op.row
      this.#kernel.conflict(lossOf(op, this.#kernel.data.replica(mapName).base.rows.get(key)?.record))
      // What was written on top of it would bring the record back as well.
      for (const later of this.#others(op, 1)) later.wasSent = true
    }
  }

  #over(op: Op): void {
    const { writer } = this.#kernel.data
    // What this client has replaced does not come up any more, though it was refused.
    for (const earlier of op.row.type === 'PATCH' ? [] : this.#others(op, -1)) {
      earlier.overtaken = 'own'
      writer.markOp(earlier.row.id)
    }
    op.write?.reach(op.asked)
    this.#outbox.forget(op)
  }

  /** The writes of the same key before an op (-1) or after it (1). */
  #others(op: Op, side: number): Op[] {
    const ops = Array.from(this.#kernel.data.overlay.of(op.row.mapName, op.row.key))
    const place = ops.indexOf(op)
    return ops.filter((_, i) => (i - place) * side > 0)
  }

  /** An earlier write of the same key is still to come, which may create it. */
  #followsUnsent(op: Op): boolean {
    return this.#others(op, -1).some((earlier) => earlier.phase !== 'acked' && earlier.refusal === undefined)
  }

  /**
   * What a change was not found for will be there, or is by now: answers need not come in the order of the writes, so that an earlier
   * one that had to be sent again may have been taken before this is heard.
   */
  #mayBeFound(op: Op): boolean {
    const { mapName, key } = op.row
    const { overlay } = this.#kernel.data
    const isTaken = Array.from(overlay.of(mapName, key)).some(
      ({ row, phase }) => row.type === 'PUT' && phase === 'acked',
    )
    return isTaken || this.#kernel.data.replica(mapName).isInBase(key) || this.#followsUnsent(op)
  }

  /** Gives ops their new stamps as soon as nothing is on its way. */
  restampIfDrained(): void {
    const outbox = this.#outbox
    if (!this.restamps.isDue || outbox.inFlight.size > 0) return
    this.restamps.run()
    const all = new Set([...this.#kernel.data.overlay.ops.values(), ...outbox.waiting])
    outbox.waiting = new Set([...all].filter((op) => outbox.waiting.has(op)))
    outbox.flushSoon()
  }
}
