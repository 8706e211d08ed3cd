import { compareStamps, isAheadOfClock, type Stamp } from '@syncline/core'
import type { Kernel } from '../feature.ts'
import type { Op } from '../offline/overlay.ts'

/** Ops that wait for new stamps, because the server took theirs for too late or too early. */
export class Restamps {
  readonly #kernel: Kernel
  /** The earliest stamp that the server refused for lying in the future. */
  #skewedFrom: Stamp | undefined
  readonly #stale = new Set<Op>()

  constructor(kernel: Kernel) {
    this.#kernel = kernel
  }

  /** Some ops wait. */
  get isDue(): boolean {
    return this.#skewedFrom !== undefined || this.#stale.size > 0
  }

  /** A stamp lies in the future: it and what follows it are to be stamped by the server's time. */
  skewed(stamp: Stamp): void {
    if (this.#skewedFrom === undefined || compareStamps(stamp, this.#skewedFrom) < 0) this.#skewedFrom = stamp
  }

  /** An op is older than deletions that were forgotten, and is to be stamped as new. */
  stale(op: Op): void {
    this.#stale.add(op)
  }

  forget(op: Op): void {
    this.#stale.delete(op)
  }

  /** Gives the new stamps, in the order of the old ones. Nothing may be on its way. */
  run(): void {
    const kernel = this.#kernel
    const { outbox } = kernel
    const { overlay, clock, writer } = kernel.data
    const skewedFrom = this.#skewedFrom
    // Where a later write of the key is with the server, this one goes as it is, and loses to that.
    for (const op of this.#stale) if (this.#isOvertaken(op)) this.#stale.delete(op)
    const pending = [...overlay.ops.values()].filter((op) => op.refusal === undefined && !op.wasAcked)
    // Earlier stamps are good: a new one would lift their writes over later ones that are acknowledged already.
    const isSkewed = ({ stamp }: Op): boolean =>
      skewedFrom !== undefined && (compareStamps(stamp, skewedFrom) >= 0 || isAheadOfClock(stamp, clock.now()))
    const due = pending.filter((op) => isSkewed(op) || this.#isAfterStale(op))
    if (skewedFrom !== undefined) {
      clock.restart(pending.map((op): Stamp => op.stamp))
      // The mark that says so is set back.
      for (const op of overlay.ops.values()) if (op.wasSent || op.wasAcked) writer.markOp(op.row.id)
    }
    for (const op of due) {
      // It was sent, is not answered and will not be sent again: it is with the server as it was, or lost.
      if (outbox.unanswered.delete(op) || outbox.pingedOps.delete(op)) {
        outbox.forget(op)
        continue
      }
      op.stamp = clock.tick()
      op.overtaken = undefined
      writer.markOp(op.row.id)
    }
    overlay.sort()
    for (const { row } of due) kernel.data.replica(row.mapName).touch(row.key)
    this.#skewedFrom = undefined
    this.#stale.clear()
  }

  #isOvertaken({ row: { mapName, key }, stamp }: Op): boolean {
    const { data } = this.#kernel
    const held = data.replica(mapName).base.rows.get(key)?.record.base
    const ops = Array.from(data.overlay.of(mapName, key))
    const others = ops.flatMap((op) => (op.wasAcked && op.row.type !== 'PATCH' ? [op.stamp] : []))
    return [...others, ...(held === undefined ? [] : [held])].some((other) => compareStamps(other, stamp) > 0)
  }

  #isAfterStale({ row, stamp }: Op): boolean {
    for (const stale of this.#stale) {
      const { mapName, key } = stale.row
      if (mapName === row.mapName && key === row.key && compareStamps(stale.stamp, stamp) <= 0) return true
    }
    return false
  }
}
