import { ZERO_STAMP, type Stamp } from '../clock/hlc.ts'
import { isMap, type Value } from '../value/value.ts'
import type { LwwRecord } from './record.ts'

/** What one node has counted: how much it added and how much it took away, each a safe whole number that only grows. */
export interface CounterRow {
  readonly p: number
  readonly n: number
}

/** Says whether a value is a row of a counter: a map of `p` and `n` alone, both safe whole numbers from 0 on. */
export function isCounterRow(value: Value | undefined): value is Value & CounterRow {
  if (value === undefined || !isMap(value)) return false
  const { p, n } = value
  return isCount(p) && isCount(n) && Object.keys(value).length === 2
}

/**
 * The record of a row (SPEC [PN2]). All have the zero stamp as base: so `mergeRecords` joins any two of them count by
 * count, and the greater one wins.
 */
export function counterRecord({ p, n }: CounterRow, timestamp: Stamp): LwwRecord {
  return { value: { p, n }, timestamp, base: ZERO_STAMP }
}

/** Joins two states of one node's row. Returns `a` itself where `b` adds nothing. */
export function mergeCounterRows(a: CounterRow, b: CounterRow): CounterRow {
  return a.p >= b.p && a.n >= b.n ? a : { p: Math.max(a.p, b.p), n: Math.max(a.n, b.n) }
}

/** A counter would pass what a number counts exactly, 2^53 − 1. */
export class CounterOverflow extends RangeError {
  constructor() {
    super(`A counter counts up to ${Number.MAX_SAFE_INTEGER} in each direction.`)
    this.name = 'CounterOverflow'
  }
}

/**
 * A counter that nodes add to and take from apart from each other. Each writes a row of its own, and merging takes the
 * greater counts: what arrives twice counts once. Its value is the sum of all `p` less the sum of all `n`.
 */
export class PnCounter {
  readonly #rowsByNode = new Map<string, CounterRow>()
  #p = 0
  #n = 0

  /** What was added by all nodes, less what was taken away. */
  get value(): number {
    return this.#p - this.#n
  }

  /** The node's row, if it has counted. */
  row(nodeId: string): CounterRow | undefined {
    return this.#rowsByNode.get(nodeId)
  }

  /** All rows by node. */
  rows(): IterableIterator<[nodeId: string, row: CounterRow]> {
    return this.#rowsByNode.entries()
  }

  /**
   * Counts for a node: a positive delta adds, a negative one takes away. Answers its row, to be sent to other replicas.
   * Throws `RangeError` where the delta is no safe whole number, and `CounterOverflow` where the counter would pass 2^53 − 1.
   */
  add(nodeId: string, delta: number): CounterRow {
    if (!Number.isSafeInteger(delta)) throw new RangeError('A counter counts in safe whole numbers.')
    const { p, n } = this.#rowsByNode.get(nodeId) ?? EMPTY
    const row = delta < 0 ? { p, n: n - delta } : { p: p + delta, n }
    this.merge(nodeId, row)
    return row
  }

  /** Says whether a row can be merged without passing 2^53 − 1. */
  canMerge(nodeId: string, row: CounterRow): boolean {
    const known = this.#rowsByNode.get(nodeId) ?? EMPTY
    return (
      this.#p + Math.max(0, row.p - known.p) <= Number.MAX_SAFE_INTEGER &&
      this.#n + Math.max(0, row.n - known.n) <= Number.MAX_SAFE_INTEGER
    )
  }

  /** Merges another replica's row. Says whether that changed anything. Throws `CounterOverflow` as `add` does. */
  merge(nodeId: string, row: CounterRow): boolean {
    const known = this.#rowsByNode.get(nodeId) ?? EMPTY
    const merged = mergeCounterRows(known, row)
    if (merged === known) return false
    if (!this.canMerge(nodeId, row)) throw new CounterOverflow()
    this.#p += merged.p - known.p
    this.#n += merged.n - known.n
    this.#rowsByNode.set(nodeId, merged)
    return true
  }
}

const EMPTY: CounterRow = /* @__PURE__ */ Object.freeze({ p: 0, n: 0 })

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
