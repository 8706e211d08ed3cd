/** How serious a line of narration is. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** Stops a timer. Calling it again, or after the timer fired, does nothing. */
export type Cancel = () => void

/**
 * Time, chance and the outside, handed in. Nothing in the product reads a clock, draws a random number or starts a
 * timer in any other way, so that a whole system runs on a virtual clock in one process.
 */
export interface Env {
  /** Wall-clock time in milliseconds since 1970. It may jump. */
  now(): number
  /** Milliseconds from an arbitrary start. It never goes back. */
  monotonic(): number
  /** Calls `run` once after at least `delayMs` milliseconds. */
  after(delayMs: number, run: () => void): Cancel
  /** Calls `run` when the events that are ready now have been handled, without waiting for a timer. */
  endOfTurn(run: () => void): void
  /** A random number in [0, 1). Not for secrets. */
  random(): number
  /** A text that no other call has returned or will return, on any machine. Without ':'. */
  uniqueId(): string
  /** Says something to whoever operates the program. */
  log(level: LogLevel, message: string, details?: Readonly<Record<string, unknown>>): void
}
