import { utf8Length } from '../value/value.ts'

/**
 * A hybrid logical clock stamp: wall-clock milliseconds since 1970, a counter that orders stamps of one millisecond,
 * and the node that issued it. Source: Kulkarni et al., "Logical Physical Clocks" (2014).
 */
export interface Stamp {
  /** Wall time in milliseconds since 1970, or later where the clock had to go on above another stamp. */
  readonly millis: number
  /** Tells the stamps of one millisecond apart, from 0 on. */
  readonly counter: number
  /** Who issued it: a device, a tab or the server. Without `:`. */
  readonly nodeId: string
}

/** Greatest counter within one millisecond; the stamp after it has the next millisecond and counter 0. */
export const MAX_COUNTER = 65_535

/** Most UTF-16 code units of a node id. */
const MAX_NODE_ID_LENGTH = 128

/** Before every stamp that a clock can issue. */
export const ZERO_STAMP: Stamp = /* @__PURE__ */ Object.freeze({ millis: 0, counter: 0, nodeId: '' })

/** Orders stamps by millis, then counter, then node id by code unit. Negative, zero or positive. */
export function compareStamps(a: Stamp, b: Stamp): number {
  if (a === b) return 0
  if (a.millis !== b.millis) return a.millis < b.millis ? -1 : 1
  if (a.counter !== b.counter) return a.counter < b.counter ? -1 : 1
  if (a.nodeId === b.nodeId) return 0
  return a.nodeId < b.nodeId ? -1 : 1
}

/** The greater of two stamps; the first if they are equal. */
export function maxStamp(a: Stamp, b: Stamp): Stamp {
  return compareStamps(a, b) >= 0 ? a : b
}

/** Says whether something is a stamp that a clock could have issued: whole numbers in range, node id without ':'. */
export function isStamp(value: unknown): value is Stamp {
  if (typeof value !== 'object' || value === null) return false
  const { millis, counter, nodeId } = value as Stamp
  return (
    Number.isSafeInteger(millis) &&
    millis >= 0 &&
    Number.isInteger(counter) &&
    counter >= 0 &&
    counter <= MAX_COUNTER &&
    typeof nodeId === 'string' &&
    nodeId.length <= MAX_NODE_ID_LENGTH &&
    utf8Length(nodeId) >= 0 &&
    !nodeId.includes(':')
  )
}

/** A hybrid logical clock. It reads no clock itself: wall time is handed to each call, in milliseconds. */
export class HybridClock {
  readonly nodeId: string
  #millis: number
  #counter: number

  /** `after` is the latest stamp that this node can have issued before; the clock starts above it. */
  constructor(nodeId: string, after?: Stamp) {
    this.nodeId = nodeId
    this.#millis = after?.millis ?? 0
    this.#counter = after?.counter ?? -1
  }

  /** Milliseconds of the latest stamp. */
  get millis(): number {
    return this.#millis
  }

  /** Issues a stamp greater than all issued and observed before. */
  tick(wallMs: number): Stamp {
    if (wallMs > this.#millis) {
      this.#millis = wallMs
      this.#counter = 0
    } else this.#step()
    return { millis: this.#millis, counter: this.#counter, nodeId: this.nodeId }
  }

  /**
   * Takes notice of another node's stamp, so that the next tick is greater than it. It goes as far ahead as the stamp
   * does: check `isStamp` and `isAheadOfClock` first.
   */
  observe(stamp: Stamp, wallMs: number): void {
    const { millis, counter } = stamp
    if (!Number.isSafeInteger(millis) || !Number.isSafeInteger(counter)) return
    if (wallMs > this.#millis && wallMs > millis) {
      this.#millis = wallMs
      this.#counter = 0
      return
    }
    if (millis > this.#millis) {
      this.#millis = millis
      this.#counter = counter
    } else if (millis === this.#millis && counter > this.#counter) this.#counter = counter
    this.#step()
  }

  #step(): void {
    if (this.#counter < MAX_COUNTER) this.#counter++
    else {
      this.#millis++
      this.#counter = 0
    }
  }
}
