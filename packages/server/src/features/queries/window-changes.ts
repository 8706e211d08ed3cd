import { valuesEqual } from '@syncline/core'
import type { OutgoingValue } from '../../outbound/redact.ts'
import type { ResultRow, RowChange } from './query-group.ts'

/** The rows of a window in order, and how many of them it shows and showed before. */
export interface WindowRows {
  readonly rows: readonly ResultRow[]
  readonly shown: number
  readonly shownBefore: number
}

/**
 * What turns the window that was into the one that is: rows that left, then the others. Beside the rows that were
 * looked at only those change which stand next to the end of the window: as many as it gained or lost of the former.
 */
export function windowChanges(
  { rows, shown, shownBefore }: WindowRows,
  before: ReadonlyMap<string, OutgoingValue | undefined>,
  shownAt: (key: string) => OutgoingValue | undefined,
  asShown: (value: OutgoingValue) => OutgoingValue,
): RowChange[] {
  const leaves: RowChange[] = []
  const others: RowChange[] = []
  /** Untouched rows that the window shows now, less those that it showed before. */
  let shift = shown - shownBefore
  for (const [key, old] of before) {
    const value = shownAt(key)
    if (old !== undefined) shift++
    if (value !== undefined) shift--
    if (value === undefined) {
      if (old !== undefined) leaves.push({ key, value: null, changeType: 'LEAVE' })
    } else if (old === undefined) others.push({ key, value, changeType: 'ENTER' })
    else if (!valuesEqual(old, value)) others.push({ key, value, changeType: 'UPDATE' })
  }
  for (let at = shown; shift < 0; at++) {
    const { key } = rows[at] as ResultRow
    if (before.has(key)) continue
    leaves.push({ key, value: null, changeType: 'LEAVE' })
    shift++
  }
  for (let at = shown - 1; shift > 0; at--) {
    const { key, value } = rows[at] as ResultRow
    if (before.has(key)) continue
    others.push({ key, value: asShown(value), changeType: 'ENTER' })
    shift--
  }
  return [...leaves, ...others]
}
