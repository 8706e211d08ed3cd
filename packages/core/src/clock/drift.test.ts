import { expect, it } from 'vitest'
import { MAX_CLOCK_DRIFT_MS, clockOffset, isAheadOfClock } from './drift.ts'

const at = (millis: number) => ({ millis, counter: 0, nodeId: 'n' })

it('[HC6] a stamp up to 60 s ahead is accepted, one further is not, and no past stamp is refused', () => {
  expect(isAheadOfClock(at(1_000 + MAX_CLOCK_DRIFT_MS), 1_000)).toBe(false)
  expect(isAheadOfClock(at(1_001 + MAX_CLOCK_DRIFT_MS), 1_000)).toBe(true)
  expect(isAheadOfClock(at(1_011), 1_000, 10)).toBe(true)
  expect(isAheadOfClock(at(1_010), 1_000, 10)).toBe(false)
  expect(isAheadOfClock(at(0), 2 ** 50)).toBe(false)
})

it('[HC7] the offset takes the server time as of the middle of the round trip', () => {
  expect(clockOffset(1_000, 1_200, 5_100)).toBe(4_000)
  expect(clockOffset(5_000, 5_000, 1_000)).toBe(-4_000)
})
