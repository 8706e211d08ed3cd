import { setTimeout as pause } from 'node:timers/promises'

const POLL_MS = 20

/** Waits until a condition holds, with a bound. `what` says what was waited for, and how things stand. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: () => string,
  limitMs: number = 20_000,
): Promise<void> {
  const endMs = performance.now() + limitMs
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`Not within ${limitMs} ms: ${what()}`)
    await pause(POLL_MS)
  }
}
