import { compareKeys } from '@syncline/core'
import type { Match } from './text-index.ts'

/** Matches that are looked at in one step. */
const MATCHES_PER_STEP = 4_096

/** The order of results: greater scores first, equal ones by key. */
export function byRank(a: Match, b: Match): number {
  return b.score - a.score || compareKeys(a.key, b.key)
}

/** The best so many matches in order, in steps. It costs little more than looking at each match once. */
export function* best(matches: Iterable<Match>, count: number): Generator<void, Match[]> {
  let kept: Match[] = []
  let last: Match | undefined
  let seen = 0
  const cut = (): void => {
    kept.sort(byRank)
    if (kept.length > count) kept = kept.slice(0, count)
    if (kept.length === count) last = kept[count - 1]
  }
  for (const match of matches) {
    if (++seen % MATCHES_PER_STEP === 0) yield
    if (last !== undefined && byRank(match, last) > 0) continue
    kept.push(match)
    if (kept.length >= 2 * count + 64) cut()
  }
  cut()
  return kept
}

/** Where a match stands in a list in order, or would stand. */
export function rankOf(match: Match, ranked: readonly Match[]): number {
  let [low, high] = [0, ranked.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (byRank(ranked[middle] as Match, match) < 0) low = middle + 1
    else high = middle
  }
  return low
}
