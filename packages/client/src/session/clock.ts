import {
  HybridClock,
  MAX_CLOCK_DRIFT_MS,
  ZERO_STAMP,
  clockOffset,
  compareStamps,
  type Env,
  type Stamp,
} from '@syncline/core'

/** How far ahead of the wall clock stamps are reserved in storage. */
const RESERVE_MS = 5_000

/**
 * The clock that stamps this tab's writes: wall time corrected to the server's, above every stamp that was received,
 * loaded or acknowledged, and above all that this tab's node id can have issued before a crash.
 */
export class SessionClock {
  /** Called when the clock has been set. */
  onSet: () => void = () => {}
  readonly #env: Env
  readonly #reserve: (untilMs: number) => void
  #clock: HybridClock
  #offset = 0
  /** The server's time when it was last heard of, and when that was by the monotonic clock. */
  #heard: { readonly serverMs: number; readonly at: number } | undefined
  /** The latest stamp that is known to be in the world. */
  #floor: Stamp = ZERO_STAMP
  /** Stamps from here on are not reserved. Infinite before `start`: who stamps then stamps again. */
  #reservedMs = Infinity
  /** The mark that is in storage. */
  #storedMs = 0
  /** A session is open, in which stamps may leave this tab. */
  #isOpen = false
  /** There is a mark in storage, or will be. */
  #hasMark = false
  /** The latest time of this tab's stamps. */
  #latestMs = -1

  /** `reserve` writes the mark to storage; `reserved` is called when it is there. */
  constructor(env: Env, nodeId: string, reserve: (untilMs: number) => void) {
    this.#env = env
    this.#clock = new HybridClock(nodeId)
    this.#reserve = reserve
  }

  get nodeId(): string {
    return this.#clock.nodeId
  }

  /** The server's wall clock, as well as it is known. */
  now(): number {
    return Math.floor(this.#env.now() + this.#offset)
  }

  /** Starts over as a node that may have issued stamps up to a mark. */
  start(nodeId: string, reservedMs: number): void {
    this.#clock = new HybridClock(nodeId, { millis: reservedMs, counter: -1, nodeId })
    if (this.#floor !== ZERO_STAMP) this.#clock.observe(this.#floor, 0)
    this.#reservedMs = reservedMs
    this.#storedMs = reservedMs
    this.#hasMark = reservedMs > 0
    this.#latestMs = -1
  }

  /** Stamps a write. */
  tick(): Stamp {
    const wallMs = this.now()
    const stamp = this.#clock.tick(wallMs)
    this.#cover(stamp.millis, wallMs)
    return stamp
  }

  /**
   * Reserves stamps that are to leave this tab. Without a session none does, and they stay above the mark, by which a
   * reload knows that they were never sent; but there is a mark, by which others find what this tab leaves behind.
   */
  #cover(millis: number, wallMs: number): void {
    this.#latestMs = Math.max(this.#latestMs, millis)
    if (millis < this.#reservedMs || (!this.#isOpen && this.#hasMark)) return
    this.#hasMark = true
    if (this.#isOpen) this.#reservedMs = Math.max(wallMs + RESERVE_MS, millis + 1)
    this.#reserve(this.#reservedMs)
  }

  /** A session begins: what was stamped without one may leave in it. */
  opened(): void {
    this.#isOpen = true
    if (this.#latestMs >= 0) this.#cover(this.#latestMs, this.now())
  }

  /** The session is over. */
  closed(): void {
    this.#isOpen = false
  }

  /** Takes note of a stamp that others know. */
  received(stamp: Stamp): void {
    if (compareStamps(stamp, this.#floor) <= 0) return
    this.#floor = stamp
    this.#clock.observe(stamp, 0)
  }

  /** Takes note of a stamp that nobody else may know yet. One of this tab may be from before the clock was set back. */
  seen(stamp: Stamp): void {
    this.#clock.observe(stamp, 0)
    if (stamp.nodeId === this.nodeId) this.#cover(stamp.millis, this.now())
  }

  /** Says that marks up to this one are in storage. */
  reserved(untilMs: number): void {
    this.#storedMs = untilMs
  }

  /**
   * A stamp of this tab may leave it, being below the stored mark: a crash could otherwise issue it again, and would not
   * know that it was sent.
   */
  isReserved(stamp: Stamp): boolean {
    return stamp.millis < this.#storedMs && stamp.nodeId === this.nodeId
  }

  /**
   * Learns the server's time from an exchange that began at a monotonic time: the wall clock may have been set since.
   * Half the round trip is uncertain, and what lies within is no news.
   */
  synchronize(sentAtMs: number, serverTimeMs: number): void {
    const now = this.#env.now()
    const roundTripMs = this.#env.monotonic() - sentAtMs
    const offset = clockOffset(now - roundTripMs, now, serverTimeMs)
    const isNews = Math.abs(offset - this.#offset) > roundTripMs / 2
    if (isNews) this.#offset = offset
    this.#heard = { serverMs: serverTimeMs + roundTripMs / 2, at: this.#env.monotonic() }
    if (isNews) this.onSet()
  }

  /**
   * Goes back to the server's time, above every stamp that is known to others or may be. `own` are stamps of writes
   * that may have been sent: the server cannot have taken those that lie too far ahead of its clock.
   */
  restart(own: Iterable<Stamp>): void {
    // By the monotonic clock: a wall clock that was set since the refusal must not make refused stamps look acceptable.
    const { serverMs, at } = this.#heard ?? { serverMs: this.now(), at: this.#env.monotonic() }
    const acceptableMs = serverMs + this.#env.monotonic() - at + MAX_CLOCK_DRIFT_MS
    for (const stamp of own) if (stamp.millis <= acceptableMs) this.received(stamp)
    this.#clock = new HybridClock(this.nodeId)
    this.#clock.observe(this.#floor, 0)
    this.#reservedMs = 0
    this.#storedMs = 0
    this.#hasMark = false
    this.#latestMs = this.#floor.millis
    if (this.#isOpen) this.opened()
  }
}
