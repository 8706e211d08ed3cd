import { compareBytes, mergeRecords, type LwwRecord } from '@syncline/core'
import { canonicalRecord } from '@syncline/core/merkle'

/** The first record has everything of the second. */
export function holds(record: LwwRecord, other: LwwRecord): boolean {
  return mergeRecords(record, other) === record || sameState('', mergeRecords(record, other), record)
}

/** Both records have the same canonical bytes. */
export function sameState(key: string, a: LwwRecord, b: LwwRecord): boolean {
  const bytes = canonicalRecord(key, a).slice()
  return compareBytes(bytes, canonicalRecord(key, b)) === 0
}
