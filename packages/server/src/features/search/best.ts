import { compareKeys } from '@syncline/core'
import type { Finder } from './pass.ts'
import type { Match } from './text-index.ts'

/** The order of results: greater scores first, equal ones by key. */
export function byRank(a: Match, b: Match): number {
  return b.score - a.score || compareKeys(a.key, b.key)
}

/** The best of many matches. It costs little more than looking at the score of each once. */
export class Best implements Finder {
  readonly keepsAll = false
  /** Matches with a smaller score are not among the best. */
  floor = -Infinity
  /** How many matches there were, and are not lost. */
  count = 0
  readonly #size: number
  #kept: Match[] = []
  /** With as many kept as are wanted, the last of them. */
  #last: Match | undefined

  /** The best so many. */
  constructor(size: number) {
    this.#size = size
  }

  found(match: Match): void {
    if (this.#last !== undefined && byRank(match, this.#last) > 0) return
    this.#kept.push(match)
    if (this.#kept.length >= 2 * this.#size + 64) this.#cut()
  }

  lost({ key }: Match): void {
    const at = this.#kept.findIndex((kept) => kept.key === key)
    if (at >= 0) this.#kept.splice(at, 1)
  }

  /** The best in order. They are fewer than there are matches, and than were wanted, only where some were lost. */
  ranked(): Match[] {
    this.#cut()
    return this.#kept
  }

  #cut(): void {
    this.#kept.sort(byRank)
    if (this.#kept.length < this.#size) return
    this.#kept.length = this.#size
    this.#last = this.#kept[this.#size - 1]
    this.floor = (this.#last as Match).score
  }
}
