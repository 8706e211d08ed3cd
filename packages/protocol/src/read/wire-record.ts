import { compareStamps, type LwwRecord } from '@syncline/core'
import type { WireRecord } from '../messages/maps.ts'

/** The form in which a record travels: `base` only where it differs from `timestamp`, and the server's `version`. */
export function toWireRecord(record: LwwRecord, version?: number): WireRecord {
  const { value, timestamp, base, ttlMs, fields } = record
  return {
    value,
    timestamp,
    ...(compareStamps(base, timestamp) === 0 ? {} : { base }),
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(fields === undefined ? {} : { fields }),
    ...(version === undefined ? {} : { version }),
  }
}
