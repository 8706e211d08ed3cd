import { HybridClock, type Env, type Stamp } from '@syncline/core'
import type { HandedOut, Reservations, Start } from './reservations.ts'

/** Decides the order of commits: hands out seqs, record versions, fencing tokens and the server's own stamps. */
export class Sequencer {
  readonly #env: Env
  readonly #reservations: Reservations
  readonly #clock: HybridClock
  readonly #versionFloor: number
  #seq: number
  #greatestVersion: number
  #token: number

  constructor(env: Env, reservations: Reservations, start: Start, nodeId: string) {
    this.#env = env
    this.#reservations = reservations
    this.#clock = new HybridClock(nodeId, start.after)
    this.#seq = start.seq
    this.#versionFloor = start.versionFloor
    this.#greatestVersion = start.version
    this.#token = start.token
  }

  /** Seq of the latest commit. */
  get seq(): number {
    return this.#seq
  }

  /** The greatest of everything that was handed out. */
  get handedOut(): HandedOut {
    return { seq: this.#seq, version: this.#greatestVersion, millis: this.#clock.millis, token: this.#token }
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

  /** The next fencing token, greater than all before; undefined where storage has set none aside. */
  nextToken(): number | undefined {
    return this.#token < this.#reservations.tokenLimit ? ++this.#token : undefined
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
