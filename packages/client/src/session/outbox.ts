import { isAheadOfClock, isStamp, measureValue } from '@syncline/core'
import { BATCH_OPS, type OpAck, type OpResult, type WriteConcern } from '@syncline/protocol/codec'
import { SynclineError, anotherUser } from '../errors.ts'
import type { Kernel } from '../feature.ts'
import type { Op } from '../offline/overlay.ts'
import { LEVELS } from '../offline/write.ts'
import { Backoff } from './backoff.ts'
import { Restamps } from './restamps.ts'

/** Each batch is answered by itself: a slow line carries one before the server counts as silent. */
const MAX_BATCH_BYTES = 128 * 1024
/** Ops that may be on their way at once. */
const WINDOW_OPS = 4_000
/** How often one PUT is stamped anew for being older than forgotten deletions. */
const MAX_RENEWALS = 3

/** What the outbox tells its client. */
export interface OutboxHost {
  /** The op has left the overlay, confirmed or given up. */
  forget(op: Op): void
  rejected(op: Op): void
}

/** Sends ops, in the order of their stamps, until each has its answer on the present session. */
export class Outbox {
  readonly #kernel: Kernel
  readonly #host: OutboxHost
  readonly #backoff: Backoff
  #waiting = new Set<Op>()
  readonly #inFlight = new Map<string, Op>()
  /** Ops out of the overlay whose level someone waits for. */
  readonly #confirming = new Set<Op>()
  #unanswered = new Set<Op>()
  #pinged = new Set<Op>()
  /** While ops wait for new stamps, nothing is sent, so that each answer belongs to one stamp. */
  readonly #restamps: Restamps
  /** Decides what a COUNT makes of which row. False while it cannot be sent. */
  count: (op: Op) => boolean = () => false

  constructor(kernel: Kernel, host: OutboxHost) {
    this.#kernel = kernel
    this.#host = host
    this.#backoff = new Backoff(kernel.env)
    this.#restamps = new Restamps(kernel)
  }

  /** Takes a new op. */
  add(op: Op): void {
    this.#waiting.add(op)
    this.flushSoon()
  }

  /** A session began: everything in the overlay is sent again, acknowledged or not. */
  online(): void {
    this.#waiting = new Set(this.#confirming)
    for (const op of this.#kernel.overlay.ops.values()) {
      op.phase = 'waiting'
      if (op.refusal === undefined) this.#waiting.add(op)
    }
    this.#backoff.stop()
    this.#backoff.reset()
    this.flushSoon()
  }

  /** The session is over: whatever was on its way is unknown. */
  offline(): void {
    this.#backoff.stop()
    for (const op of this.#inFlight.values()) {
      op.phase = 'waiting'
      op.wasSent = true
    }
    this.#inFlight.clear()
    for (const op of [...this.#unanswered, ...this.#pinged]) this.#forget(op)
    this.#unanswered.clear()
    this.#pinged.clear()
    for (const op of this.#kernel.overlay.ops.values()) {
      if (op.phase === 'acked') op.phase = 'waiting'
      op.write?.status.changed()
    }
    this.#restampIfDrained()
  }

  /** Another user has signed in: how far the former one's writes come is not asked for any more. */
  userChanged(aside: readonly Op[]): void {
    for (const op of [...this.#confirming, ...aside]) op.write?.failAbove(-1, anotherUser())
    this.#confirming.clear()
  }

  /** A PING leaves: whatever was sent before it has been handled when its PONG comes. */
  pinged(): void {
    for (const op of this.#unanswered) this.#pinged.add(op)
    this.#unanswered = new Set()
  }

  /** Writes without acknowledgement that came before the ping are over: the stream shows them, or they were lost. */
  ponged(): void {
    for (const op of this.#pinged) this.#forget(op)
    this.#pinged = new Set()
  }

  /** Asks for a level, sending the op once more if it has been sent for less. */
  raise(op: Op, level: WriteConcern): void {
    if (op.refusal !== undefined || LEVELS.indexOf(level) <= LEVELS.indexOf(op.asked)) return
    op.asked = level
    if (!this.#kernel.overlay.ops.has(op.row.id)) this.#confirming.add(op)
    this.#unanswered.delete(op)
    this.#pinged.delete(op)
    if (!this.#inFlight.has(op.row.id)) this.add(op)
  }

  /** Gives an op up. */
  discard(op: Op): void {
    this.#inFlight.delete(op.row.id)
    this.#forget(op)
    op.write?.fail(new SynclineError('CLOSED', 'The write was discarded.'))
    this.#restampIfDrained()
  }

  /** Refuses an op for good: it stays visible until the application discards it. */
  reject(op: Op, error: SynclineError): void {
    this.#waiting.delete(op)
    if (this.#confirming.delete(op)) {
      op.write?.failAbove(-1, error)
      return
    }
    op.phase = 'waiting'
    op.refusal = op.lastError = error
    this.#host.rejected(op)
    op.write?.fail(error)
  }

  flushSoon(): void {
    this.#kernel.turn.schedule(this.#flush)
  }

  /** An OP_ACK arrived. */
  acknowledged({ results }: OpAck['payload']): void {
    for (const result of results) {
      const op = this.#inFlight.get(result.opId)
      if (op === undefined) continue
      this.#inFlight.delete(result.opId)
      this.#answered(op, result)
    }
    this.#restampIfDrained()
    this.flushSoon()
  }

  /** A write without acknowledgement was refused all the same. */
  refused(opId: string, error: SynclineError): void {
    for (const op of [...this.#unanswered, ...this.#pinged]) {
      if (op.row.id !== opId) continue
      this.#unanswered.delete(op)
      this.#pinged.delete(op)
      this.reject(op, error)
    }
  }

  #answered(op: Op, result: OpResult): void {
    const { success, errorCode = 'INTERNAL_ERROR', details, seq, achievedLevel } = result
    if (success) this.#backoff.reset()
    op.isSuperseded = result.superseded === true
    // A timeout that names a position: the write stands, at a lower level than it asked for.
    if (success || (errorCode === 'TIMEOUT' && seq !== undefined)) this.#acked(op, seq ?? 0, achievedLevel)
    else this.#failed(op, new SynclineError(errorCode, result.error, { details }))
  }

  #acked(op: Op, seq: number, level: WriteConcern): void {
    const rank = LEVELS.indexOf(level)
    if (rank < LEVELS.indexOf(op.row.concern)) {
      this.#reachedTooLittle(op, level)
      return
    }
    op.phase = 'acked'
    op.seq = seq
    op.wasAcked = true
    op.lastError = undefined
    this.#kernel.clock.received(op.stamp)
    op.write?.reach(level)
    this.#confirming.delete(op)
    this.#kernel.replica(op.row.mapName).acked(op)
    const awaited = op.write?.awaited
    const isShort = rank < LEVELS.indexOf(op.asked)
    op.asked = awaited ?? level
    if (awaited === undefined) return
    // Someone waits for more than this: the op is sent once more, to no other effect.
    if (!this.#kernel.overlay.ops.has(op.row.id)) this.#confirming.add(op)
    this.#waiting.add(op)
    if (isShort) this.#backoff.pause(0, () => this.flushSoon())
  }

  /**
   * The write stands, but not at the level that it was made with: until it does, this may be the only copy that survives
   * a crash of the server. It stays and is sent again, to no other effect.
   */
  #reachedTooLittle(op: Op, level: WriteConcern): void {
    op.phase = 'waiting'
    op.wasAcked = true
    op.lastError = new SynclineError(
      'TIMEOUT',
      `The server took the write at ${level} and not at ${op.row.concern} yet.`,
    )
    this.#kernel.clock.received(op.stamp)
    op.write?.reach(level)
    this.#kernel.statusChanged()
    this.#retry(op, 0)
  }

  #failed(op: Op, error: SynclineError): void {
    const { code, details } = error
    const isVisible = this.#kernel.overlay.ops.has(op.row.id)
    op.phase = 'waiting'
    op.lastError = error
    op.write?.status.changed()
    this.#kernel.statusChanged()
    if (code === 'CLOCK_SKEW' && isVisible) {
      const serverTime = (details as { serverTime?: unknown } | undefined)?.serverTime
      if (typeof serverTime === 'number') this.#kernel.clock.synchronize(this.#kernel.env.monotonic(), serverTime)
      this.#restamps.skewed(op.stamp)
      op.wasAcked = false
      this.#retry(op, 0)
    } else if (code === 'STALE' && isVisible) this.#isStale(op, error)
    else if (code === 'NOT_FOUND' && isVisible && op.overtaken !== undefined) this.tooLate(op, error)
    else if (code === 'WRITE_CONCERN_UNAVAILABLE' && op.asked !== op.row.concern) {
      op.asked = op.row.concern
      op.write?.failAbove(LEVELS.indexOf(op.asked), error)
      this.#confirming.delete(op)
      if (isVisible) this.#waiting.add(op)
    } else if (error.retryable || (code === 'NOT_FOUND' && this.#followsUnsent(op))) {
      this.#retry(op, (details as { retryAfterMs?: number } | undefined)?.retryAfterMs ?? 0)
    } else this.reject(op, error)
  }

  #retry(op: Op, notBeforeMs: number): void {
    this.#waiting.add(op)
    this.#backoff.pause(notBeforeMs, () => this.flushSoon())
  }

  /** The key was deleted, and the server has forgotten when: an older write must not bring it back. */
  #isStale(op: Op, error: SynclineError): void {
    // A new stamp is above the deletions that were forgotten.
    const { prunedThrough } = (error.details ?? {}) as { prunedThrough?: unknown }
    const { clock } = this.#kernel
    if (isStamp(prunedThrough) && !isAheadOfClock(prunedThrough, clock.now())) clock.received(prunedThrough)
    // A removal has what it wants, unless it removes what this client is about to write anew.
    if (op.row.type === 'REMOVE' && !this.#followsUnsent(op)) this.#over(op)
    else if (op.row.type === 'REMOVE') this.#waiting.add(op)
    else if (op.inBase || op.overtaken !== undefined || op.wasSent || op.wasAcked) this.tooLate(op, error)
    else if (op.row.type === 'PUT' ? op.renewals++ < MAX_RENEWALS : this.#followsUnsent(op)) {
      // It was written as new, so it is meant to be there.
      if (op.row.type === 'PUT') this.#restamps.stale(op)
      this.#waiting.add(op)
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
      this.#inFlight.delete(op.row.id)
      this.#over(op)
      this.#restampIfDrained()
    } else if (!this.#inFlight.has(op.row.id)) {
      // What is on its way gets its answer.
      this.reject(op, error)
      if (op.row.tag !== undefined) return
      this.#kernel.replica(op.row.mapName).reportLoss(op)
      // What was written on top of it would bring the record back as well.
      const { overlay } = this.#kernel
      const ops = overlay.of(op.row.mapName, op.row.key)
      for (const later of ops.slice(ops.indexOf(op) + 1)) later.wasSent = true
    }
  }

  #over(op: Op): void {
    op.write?.reach(op.asked)
    this.#forget(op)
  }

  /** An earlier write of the same key is still to come, which may create it. */
  #followsUnsent(op: Op): boolean {
    const ops = this.#kernel.overlay.of(op.row.mapName, op.row.key)
    return ops
      .slice(0, Math.max(0, ops.indexOf(op)))
      .some((earlier) => earlier.phase !== 'acked' && earlier.refusal === undefined)
  }

  #restampIfDrained(): void {
    if (!this.#restamps.isDue || this.#inFlight.size > 0) return
    this.#restamps.run()
    this.#waiting = new Set(
      [...this.#kernel.overlay.ops.values(), ...this.#waiting].filter((op) => this.#waiting.has(op)),
    )
    this.flushSoon()
  }

  readonly #flush = (): void => {
    const { isOnline, isReady } = this.#kernel
    if (!isOnline || !isReady || this.#restamps.isDue || this.#backoff.isPaused) return
    let batch: Op[] = []
    let bytes = 0
    for (const op of this.#waiting) {
      if (this.#inFlight.size + batch.length >= WINDOW_OPS) break
      if (!this.#maySend(op)) continue
      const size = sizeOf(op)
      const [first] = batch
      const isFull = batch.length >= BATCH_OPS || bytes + size > MAX_BATCH_BYTES
      if (first !== undefined && (isFull || first.asked !== op.asked || first.isAlone || op.isAlone)) {
        this.#send(batch)
        batch = []
        bytes = 0
      }
      batch.push(op)
      bytes += size
    }
    if (batch.length > 0) this.#send(batch)
  }

  #maySend(op: Op): boolean {
    const { row, inBase } = op
    const replica = this.#kernel.replica(row.mapName)
    // Until base is complete nobody knows whether what this op changes still exists.
    return (
      replica.acceptsOps(row.key) &&
      this.#mayLeave(op) &&
      (!inBase || replica.base.complete || replica.link === 'refused') &&
      (row.type !== 'COUNT' || this.count(op))
    )
  }

  /** What is stored says that it may have been sent: by the mark of this tab's stamps, or of itself. */
  #mayLeave(op: Op): boolean {
    const { clock } = this.#kernel
    if (op.stamp.nodeId === clock.nodeId) return clock.isReserved(op.stamp)
    if (!op.isLeaving) {
      op.isLeaving = true
      if (!op.wasSent) this.#kernel.opChanged(op)
    }
    return this.#kernel.isStored(op)
  }

  #send(batch: readonly Op[]): void {
    const writeConcern = (batch[0] as Op).asked
    const isAnswered = writeConcern !== 'FIRE_AND_FORGET'
    for (const op of batch) {
      this.#waiting.delete(op)
      op.phase = 'sent'
      op.attempts++
      if (isAnswered) this.#inFlight.set(op.row.id, op)
      else this.#unanswered.add(op)
      op.write?.status.changed()
    }
    this.#kernel.statusChanged()
    this.#kernel.send({ type: 'OP_BATCH', payload: { ops: batch.map((op) => op.toWire()), writeConcern } }, (error) => {
      for (const op of batch) {
        const isOurs = [this.#inFlight.delete(op.row.id), this.#unanswered.delete(op), this.#pinged.delete(op)]
        if (!isOurs.includes(true)) continue
        // One bad op makes the server refuse the frame: sent alone, each gets its own answer.
        if (error.retryable || batch.length === 1) this.#failed(op, error)
        else {
          op.phase = 'waiting'
          op.isAlone = true
          this.#waiting.add(op)
        }
      }
      this.#restampIfDrained()
      this.flushSoon()
    })
  }

  #forget(op: Op): void {
    this.#waiting.delete(op)
    this.#confirming.delete(op)
    this.#restamps.forget(op)
    if (this.#kernel.overlay.ops.has(op.row.id)) this.#host.forget(op)
  }
}

/** Bytes of an op in JSON, roughly: base64 and escapes make a value larger. */
function sizeOf({ row }: Op): number {
  const size = measureValue(row.value)
  return 400 + row.key.length * 2 + (typeof size === 'number' ? size * 1.4 : 0)
}
