import type { Stamp } from './hlc.ts'

/** How far ahead of the server's wall clock a stamp may be, unless configured otherwise. */
export const MAX_CLOCK_DRIFT_MS = 60_000

/** Says whether a stamp lies too far in the future to be accepted. Past stamps are ordinary, however old. */
export function isAheadOfClock(stamp: Stamp, wallMs: number, maxDriftMs: number = MAX_CLOCK_DRIFT_MS): boolean {
  return stamp.millis - wallMs > maxDriftMs
}

/**
 * The correction that turns a client's clock into the server's, in milliseconds, from one exchange: the server's time
 * is taken as of the middle of the round trip. Source: Cristian, "Probabilistic clock synchronization" (1989).
 */
export function clockOffset(sentAtMs: number, receivedAtMs: number, serverTimeMs: number): number {
  return Math.round(serverTimeMs - (sentAtMs + receivedAtMs) / 2)
}
