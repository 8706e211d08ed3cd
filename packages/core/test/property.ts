import { expect } from 'vitest'

/** Runs of each law. CI uses the default, a release more. */
export const RUNS = Number(process.env['SYNCLINE_PROPERTY_RUNS'] ?? 10_000)

/** For `it`: a law may take as long as its runs need. */
export const LAW = { timeout: 10_000 + 5 * RUNS }

/** `expect(actual).toBe(expected)` at a tenth of its price, for what runs ten thousand times. */
export function same(actual: unknown, expected: unknown): void {
  if (!Object.is(actual, expected)) expect(actual).toBe(expected)
}
