import { measureValue } from '@syncline/core'
import { BATCH_OPS, type OpAck, type OpResult, type WriteConcern } from '@syncline/protocol/codec'
import { SynclineError, anotherUser } from '../errors.ts'
import type { Kernel } from '../feature.ts'
import type { Op } from '../offline/overlay.ts'
import { LEVELS } from '../offline/write.ts'
import { Backoff } from './backoff.ts'
import type { Refusals } from './refusals.ts'

/** Each batch is answered by itself: a slow line carries one before the server counts as silent. */
const MAX_BATCH_BYTES = 128 * 1024
/** Ops that may be on their way at once. */
const WINDOW_OPS = 4_000
/** Sends ops, in the order of their stamps, until each has its answer on the present session. */
export class Outbox {
  readonly #kernel: Kernel
  readonly #backoff: Backoff
  /** Ops to be sent. */
  waiting = new Set<Op>()
  /** Ops whose answer is still to come, or to be dealt with. */
  readonly inFlight = new Map<string, Op>()
  /** Ops out of the overlay whose level someone waits for. */
  readonly confirming = new Set<Op>()
  /** Ops that were sent once and are not answered: since the latest PING, and before it. */
  unanswered = new Set<Op>()
  pingedOps = new Set<Op>()
  /** What has become of writes that were not taken; none before the first. Its code is loaded in the background. */
  refusals: Refusals | undefined
  /** Counts the sessions that are over: what was answered on one of them is void. */
  #sessions = 0
  /** Decides what a COUNT makes of which row. False while it cannot be sent. */
  count: (op: Op) => boolean = () => false

  constructor(kernel: Kernel) {
    this.#kernel = kernel
    this.#backoff = new Backoff(kernel.env)
  }

  /** Takes a new op. */
  add(op: Op): void {
    this.waiting.add(op)
    this.flushSoon()
  }

  /** A session began: everything in the overlay is sent again, acknowledged or not. */
  online(): void {
    this.waiting = new Set(this.confirming)
    for (const op of this.#kernel.data.overlay.ops.values()) {
      op.phase = 'waiting'
      if (op.refusal === undefined) this.waiting.add(op)
    }
    this.#backoff.stop()
    this.#backoff.reset()
    this.flushSoon()
  }

  /** The session is over: whatever was on its way is unknown. */
  offline(): void {
    this.#sessions++
    this.#backoff.stop()
    for (const op of this.inFlight.values()) {
      op.phase = 'waiting'
      op.wasSent = true
    }
    this.inFlight.clear()
    for (const op of [...this.unanswered, ...this.pingedOps]) this.forget(op)
    this.unanswered.clear()
    this.pingedOps.clear()
    for (const op of this.#kernel.data.overlay.ops.values()) {
      if (op.phase === 'acked') op.phase = 'waiting'
      op.write?.status.changed()
    }
    this.refusals?.restampIfDrained()
  }

  /** Another user has signed in: how far the former one's writes come is not asked for any more. */
  userChanged(aside: readonly Op[]): void {
    for (const op of [...this.confirming, ...aside]) op.write?.failAbove(-1, anotherUser())
    this.confirming.clear()
  }

  /** A PING leaves: whatever was sent before it has been handled when its PONG comes. */
  pinged(): void {
    for (const op of this.unanswered) this.pingedOps.add(op)
    this.unanswered = new Set()
  }

  /** Writes without acknowledgement that came before the ping are over: the stream shows them, or they were lost. */
  ponged(): void {
    for (const op of this.pingedOps) this.forget(op)
    this.pingedOps = new Set()
  }

  /** Asks for a level, sending the op once more if it has been sent for less. */
  raise(op: Op, level: WriteConcern): void {
    if (op.refusal !== undefined || LEVELS.indexOf(level) <= LEVELS.indexOf(op.asked)) return
    op.asked = level
    if (!this.#kernel.data.overlay.ops.has(op.row.id)) this.confirming.add(op)
    this.unanswered.delete(op)
    this.pingedOps.delete(op)
    if (!this.inFlight.has(op.row.id)) this.add(op)
  }

  /** Gives an op up. */
  discard(op: Op): void {
    this.inFlight.delete(op.row.id)
    this.forget(op)
    op.write?.fail(new SynclineError('CLOSED', 'The write was discarded.'))
    this.refusals?.restampIfDrained()
  }

  flushSoon(): void {
    this.#kernel.turn.schedule(this.#flush)
  }

  /** An OP_ACK arrived. */
  acknowledged({ results }: OpAck['payload']): void {
    for (const result of results) {
      const op = this.inFlight.get(result.opId)
      if (op !== undefined) this.#answered(op, result)
    }
    this.#goOn()
  }

  #answered(op: Op, result: OpResult): void {
    const { success, errorCode = 'INTERNAL_ERROR', details, seq, achievedLevel } = result
    if (success) this.#backoff.reset()
    op.isSuperseded = result.superseded === true
    // A timeout that names a position: the write stands, at a lower level than it asked for.
    if (!success && (errorCode !== 'TIMEOUT' || seq === undefined)) {
      this.#refused(op, (refusals) => refusals.failed(op, new SynclineError(errorCode, result.error, { details })))
    } else if (LEVELS.indexOf(achievedLevel) < LEVELS.indexOf(op.row.concern)) {
      this.#refused(op, (refusals) => refusals.reachedTooLittle(op, achievedLevel))
    } else {
      this.inFlight.delete(op.row.id)
      this.#acked(op, seq ?? 0, achievedLevel)
    }
  }

  /** Does with a write what takes the code for refusals. Until that is here it is on its way; with its session it is void. */
  #refused(op: Op, run: (refusals: Refusals) => void): void {
    const sessions = this.#sessions
    this.unanswered.delete(op)
    this.pingedOps.delete(op)
    this.inFlight.set(op.row.id, op)
    this.#kernel.inBackground(({ refusals }) => {
      if (sessions !== this.#sessions || !this.inFlight.delete(op.row.id)) return
      run((this.refusals = refusals))
      this.#goOn()
    })
  }

  #goOn(): void {
    this.refusals?.restampIfDrained()
    this.flushSoon()
  }

  #acked(op: Op, seq: number, level: WriteConcern): void {
    const rank = LEVELS.indexOf(level)
    op.phase = 'acked'
    op.seq = seq
    op.wasAcked = true
    op.lastError = undefined
    this.#kernel.data.clock.received(op.stamp)
    op.write?.reach(level)
    this.confirming.delete(op)
    this.#kernel.data.replica(op.row.mapName).acked(op)
    const awaited = op.write?.awaited
    const isShort = rank < LEVELS.indexOf(op.asked)
    op.asked = awaited ?? level
    if (awaited === undefined) return
    // Someone waits for more than this: the op is sent once more, to no other effect.
    if (!this.#kernel.data.overlay.ops.has(op.row.id)) this.confirming.add(op)
    if (isShort) this.retry(op, 0)
    else this.waiting.add(op)
  }

  readonly #flush = (): void => {
    const { isOnline, data } = this.#kernel
    if (!isOnline || !data.isReady || this.refusals?.restamps.isDue === true || this.#backoff.isPaused) return
    let batch: Op[] = []
    let bytes = 0
    for (const op of this.waiting) {
      if (this.inFlight.size + batch.length >= WINDOW_OPS) break
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
    const replica = this.#kernel.data.replica(row.mapName)
    // Until base is complete nobody knows whether what this op changes still exists.
    return (
      replica.acceptsOps(row.key) &&
      this.#mayLeave(op) &&
      (!inBase || replica.base.complete || replica.link === 'refused') &&
      (row.type !== 'COUNT' || this.count(op))
    )
  }

  /**
   * What is stored says that it may have been sent: by the mark of this tab's stamps, or of itself. Where storage fails,
   * what is not stored at all leaves as well, because no other page finds it; but not what is written on top of what stays.
   */
  #mayLeave(op: Op): boolean {
    const { clock, overlay, writer } = this.#kernel.data
    const { id, mapName, key, type } = op.row
    if (writer.fault !== undefined) {
      // A count is counted once, whenever it is sent.
      for (const { row, stored } of type === 'COUNT' ? [] : overlay.of(mapName, key)) {
        if (stored ? !stored.wasSent && !clock.isReserved(stored.stamp) : !writer.isStored(row.id)) return false
        if (row.id === id) break
      }
      return true
    }
    if (op.stamp.nodeId === clock.nodeId) return clock.isReserved(op.stamp)
    if (!op.isLeaving) {
      op.isLeaving = true
      if (!op.wasSent) writer.markOp(id)
    }
    return writer.isStored(id)
  }

  #send(batch: readonly Op[]): void {
    const writeConcern = (batch[0] as Op).asked
    const isAnswered = writeConcern !== 'FIRE_AND_FORGET'
    for (const op of batch) {
      this.waiting.delete(op)
      op.phase = 'sent'
      op.attempts++
      if (isAnswered) this.inFlight.set(op.row.id, op)
      else this.unanswered.add(op)
      op.write?.status.changed()
    }
    this.#kernel.statusChanged()
    this.#kernel.send({ type: 'OP_BATCH', payload: { ops: batch.map((op) => op.toWire()), writeConcern } }, (error) => {
      for (const op of batch) {
        const isOurs = [this.inFlight.delete(op.row.id), this.unanswered.delete(op), this.pingedOps.delete(op)]
        if (!isOurs.includes(true)) continue
        // One bad op makes the server refuse the frame: sent alone, each gets its own answer.
        if (error.retryable || batch.length === 1) this.#refused(op, (refusals) => refusals.failed(op, error))
        else {
          op.phase = 'waiting'
          op.isAlone = true
          this.waiting.add(op)
        }
      }
      this.#goOn()
    })
  }

  /** Sends an op again, after a while. */
  retry(op: Op, notBeforeMs: number): void {
    this.waiting.add(op)
    this.#backoff.pause(notBeforeMs, () => this.flushSoon())
  }

  /** An op is over: it leaves the overlay. */
  forget(op: Op): void {
    this.waiting.delete(op)
    this.confirming.delete(op)
    this.refusals?.restamps.forget(op)
    this.#kernel.data.forget(op)
  }
}

/** Bytes of an op in JSON, roughly: base64 and escapes make a value larger. */
function sizeOf({ row }: Op): number {
  const size = measureValue(row.value)
  return 400 + row.key.length * 2 + (typeof size === 'number' ? size * 1.4 : 0)
}
