/** Counts durations in steps of 10 µs up to 10 s, without keeping them. */
export class Histogram {
  readonly #counts = new Uint32Array(1_000_001)
  #total = 0

  add(ms: number): void {
    const step = Math.round(ms * 100)
    const at = step < 0 ? 0 : step > 1_000_000 ? 1_000_000 : step
    this.#counts[at] = (this.#counts[at] as number) + 1
    this.#total++
  }

  reset(): void {
    this.#counts.fill(0)
    this.#total = 0
  }

  get count(): number {
    return this.#total
  }

  /** The duration in milliseconds that a share of all stays within. */
  percentile(share: number): number {
    let left = Math.ceil(this.#total * share)
    for (let step = 0; step < this.#counts.length; step++) {
      left -= this.#counts[step] as number
      if (left <= 0) return step / 100
    }
    return 0
  }
}

/** The middle one; of an even number, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  if (sorted.length === 0) return Number.NaN
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}
