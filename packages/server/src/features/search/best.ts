import { compareKeys } from '@syncline/core'
import type { Match } from './text-index.ts'

/** The order of results: greater scores first, equal ones by key. */
export function byRank(a: Match, b: Match): number {
  return b.score - a.score || compareKeys(a.key, b.key)
}

/** The best of many matches. It costs little more than looking at the score of each once. */
export class Best {
  readonly #size: number
  #kept: Match[] = []
  /** With as many kept as are wanted, the last of them. */
  #last: Match | undefined
  #count = 0

  /** The best so many. */
  constructor(size: number) {
    this.#size = size
  }

  /** How many matches there were, and are not withdrawn. */
  get count(): number {
    return this.#count
  }

  /** One more match, which is asked for only where it may be among the best. */
  offer(score: number, match: () => Match): void {
    this.#count++
    if (this.#last !== undefined && score < this.#last.score) return
    this.#kept.push(match())
    if (this.#kept.length >= 2 * this.#size + 64) this.#cut()
  }

  /** A match that was offered is none any more. */
  withdraw(key: string): void {
    this.#count--
    const at = this.#kept.findIndex((kept) => kept.key === key)
    if (at >= 0) this.#kept.splice(at, 1)
  }

  /** The best in order. They are fewer than there are matches, and than were wanted, only where some were withdrawn. */
  ranked(): Match[] {
    this.#cut()
    return this.#kept
  }

  #cut(): void {
    this.#kept.sort(byRank)
    if (this.#kept.length < this.#size) return
    this.#kept.length = this.#size
    this.#last = this.#kept[this.#size - 1]
  }
}
