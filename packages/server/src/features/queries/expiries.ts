import { rowStandsUntilMs, type Row } from '../../store/rows.ts'

/** Rows of a result that read otherwise after a time without being written. */
export class Expiries {
  readonly #byKey = new Map<string, { readonly row: Row; readonly untilMs: number }>()
  /** None of them is due before: milliseconds since 1970. */
  #nextMs = Infinity

  /** There are some. */
  get any(): boolean {
    return this.#byKey.size > 0
  }

  /** Notes a row of the result as it was read. */
  note(row: Row, nowMs: number): void {
    const untilMs = rowStandsUntilMs(row, nowMs)
    if (untilMs === Infinity) return this.forget(row.key)
    this.#byKey.set(row.key, { row, untilMs })
    this.#nextMs = Math.min(this.#nextMs, untilMs)
  }

  /** A row is in the result no longer. */
  forget(key: string): void {
    if (this.any) this.#byKey.delete(key)
  }

  /** No row is in the result. */
  clear(): void {
    this.#byKey.clear()
    this.#nextMs = Infinity
  }

  /** One may be due. */
  isDue(nowMs: number): boolean {
    return nowMs > this.#nextMs
  }

  /** The rows whose time has passed. They are looked for when one is due. */
  due(nowMs: number): Row[] {
    const due: Row[] = []
    if (!this.isDue(nowMs)) return due
    this.#nextMs = Infinity
    for (const { row, untilMs } of this.#byKey.values()) {
      if (untilMs < nowMs) due.push(row)
      else this.#nextMs = Math.min(this.#nextMs, untilMs)
    }
    return due
  }
}
