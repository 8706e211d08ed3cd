import type { Stamp } from '../trial.ts'

/** [HC2] Says whether a stamp is later than another. */
export function isLater(a: Stamp, b: Stamp): boolean {
  if (a.millis !== b.millis) return a.millis > b.millis
  if (a.counter !== b.counter) return a.counter > b.counter
  return a.nodeId > b.nodeId
}
