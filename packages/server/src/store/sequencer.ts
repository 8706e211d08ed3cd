import { HybridClock, type Env, type Stamp } from '@syncline/core'
import type { Reservations } from './reservations.ts'

/** Decides the order of commits: hands out seqs, record versions and the server's own stamps. */
export class Sequencer {
  readonly #env: Env
  readonly #reservations: Reservations
  readonly #clock: HybridClock
  readonly #versionFloor: number
  #seq: number
  #greatestVersion: number

  constructor(
    env: Env,
    reservations: Reservations,
    start: { seq: number; versionFloor: number; greatestVersion: number; after: Stamp | undefined; nodeId: string },
  ) {
    this.#env = env
    this.#reservations = reservations
    this.#clock = new HybridClock(start.nodeId, start.after)
    this.#seq = start.seq
    this.#versionFloor = start.versionFloor
    this.#greatestVersion = start.greatestVersion
  }

  /** Seq of the latest commit. */
  get seq(): number {
    return this.#seq
  }

  get greatestVersion(): number {
    return this.#greatestVersion
  }

  /** Milliseconds of the latest stamp. */
  get millis(): number {
    return this.#clock.millis
  }

  /**
   * What is set aside suffices for another commit. It does not if storage has not answered for long. Time is no reason
   * to refuse: after a pause a stamp above a client's can pass what is set aside, until the batch that it is in renews it.
   */
  get canCommit(): boolean {
    const { seqLimit, versionLimit } = this.#reservations
    return this.#seq < seqLimit && this.#greatestVersion < versionLimit
  }

  /** The next place in the order of commits. */
  nextSeq(): number {
    return ++this.#seq
  }

  /** The version after a record's present one. */
  nextVersion(version: number): number {
    const next = Math.max(version, this.#versionFloor) + 1
    if (next > this.#greatestVersion) this.#greatestVersion = next
    return next
  }

  /** A server stamp, greater than all before. It does not pass what is set aside while that can be avoided. */
  stamp(): Stamp {
    return this.#clock.tick(Math.min(this.#env.now(), this.#reservations.millisLimit))
  }

  /** A server stamp that is also greater than another stamp. */
  stampAbove(stamp: Stamp): Stamp {
    this.#clock.observe(stamp, Math.min(this.#env.now(), this.#reservations.millisLimit))
    return this.stamp()
  }
}
