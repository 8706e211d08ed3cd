import { distance } from 'fastest-levenshtein'

/** The candidate that was probably meant, if one is near enough. */
export function closest(word: string, candidates: readonly string[]): string | undefined {
  const within = Math.max(1, Math.floor(word.length / 3))
  return candidates
    .map((candidate) => ({ candidate, away: distance(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ away }) => away <= within)
    .sort((a, b) => a.away - b.away)[0]?.candidate
}
