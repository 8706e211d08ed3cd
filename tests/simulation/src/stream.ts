import type { Frame } from '@syncline/protocol'
import type { Random } from './random.ts'
import type { Scheduler } from './virtual-env.ts'

/** Bytes that the network itself holds: what is beyond waits in the sender. */
const WINDOW_BYTES = 2_048
/** Bytes that a link carries in a millisecond where nothing slows it. */
export const FAST = 10_000

/** How a connection carries bytes. */
export interface LinkQuality {
  readonly latencyMs: number
  readonly jitterMs: number
  /** Towards the client. */
  bytesPerMs: number
}

/** What a stream carries: a frame, or the end of the stream. */
export interface Parcel {
  readonly frame: Frame | undefined
  readonly bytes: number
  /** For the end of a stream. */
  readonly code: number
  readonly reason: string
}

/**
 * One direction of a connection, with the promises of TCP: what arrives is a beginning of what was sent, in order,
 * without a gap. It may stand still, and end at any point.
 */
export class Stream {
  bufferedBytes = 0
  /** Since when nothing is buffered. */
  emptySinceMs = 0
  isStalled = false
  isPaused = false
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly #quality: LinkQuality
  readonly #deliver: (parcel: Parcel) => void
  readonly #onDrain: () => void
  #isDead = false
  #sentAtMs = 0
  #arrivesAtMs = 0
  #unsent: number[] = []
  /** What is under way, in order. */
  #order: Parcel[] = []
  /** What has come, and is held. */
  #held: Parcel[] = []
  #underWay = 0

  constructor(
    scheduler: Scheduler,
    random: Random,
    quality: LinkQuality,
    deliver: (parcel: Parcel) => void,
    onDrain: () => void,
  ) {
    this.#scheduler = scheduler
    this.#random = random
    this.#quality = quality
    this.#deliver = deliver
    this.#onDrain = onDrain
  }

  /** Everything that was sent has arrived. */
  get isEmpty(): boolean {
    return this.#underWay === 0
  }

  send(parcel: Parcel): void {
    if (this.#isDead) return
    this.#underWay++
    const { latencyMs, jitterMs, bytesPerMs } = this.#quality
    const now = this.#scheduler.nowMs
    this.#sentAtMs = Math.max(now, this.#sentAtMs) + parcel.bytes / bytesPerMs
    this.#arrivesAtMs = Math.max(this.#arrivesAtMs, this.#sentAtMs + latencyMs + this.#random.skewed(0, jitterMs))
    this.bufferedBytes += parcel.bytes
    this.#scheduler.after(this.#sentAtMs - now, () => this.#sent(parcel.bytes))
    // The next one of what is under way, and not this one: rounded times must not change their order.
    this.#order.push(parcel)
    this.#scheduler.after(this.#arrivesAtMs - now, () => this.#arrived())
  }

  /** Goes on after standing still: what was held arrives in order. */
  release(): void {
    if (this.isStalled || this.#isDead) return
    const unsent = this.#unsent
    this.#unsent = []
    for (const bytes of unsent) this.#sent(bytes)
    this.#scheduler.after(0, () => this.#deliverHeld())
  }

  /** Ends here: what is under way never arrives. */
  kill(): void {
    this.#isDead = true
    this.#order = []
    this.#held = []
  }

  #sent(bytes: number): void {
    if (this.#isDead) return
    if (this.isStalled && this.bufferedBytes > WINDOW_BYTES) {
      this.#unsent.push(bytes)
      return
    }
    this.bufferedBytes -= bytes
    if (this.bufferedBytes > 0) return
    this.emptySinceMs = this.#scheduler.nowMs
    this.#onDrain()
  }

  #arrived(): void {
    if (this.#isDead) return
    const parcel = this.#order.shift() as Parcel
    if (this.isStalled || this.isPaused || this.#held.length > 0) this.#held.push(parcel)
    else this.#hand(parcel)
  }

  #hand(parcel: Parcel): void {
    this.#underWay--
    this.#deliver(parcel)
  }

  #deliverHeld(): void {
    if (this.isStalled || this.isPaused || this.#isDead) return
    const parcel = this.#held.shift()
    if (parcel === undefined) return
    this.#hand(parcel)
    if (this.#held.length > 0) this.#scheduler.after(0, () => this.#deliverHeld())
  }
}
