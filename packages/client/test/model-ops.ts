import {
  ZERO_STAMP,
  itemKey,
  mergeRecords,
  patchRecord,
  wholeWrite,
  type LwwRecord,
  type ValueMap,
} from '@syncline/core'
import type { ClientOp, ItemOp } from '@syncline/protocol/codec'

/** An op on an OR-map as one on the item's record. */
export function plainOp(op: ClientOp | ItemOp): ClientOp {
  if (op.opType === 'OR_ADD') {
    const { orRecord, opType: _, key, ...rest } = op
    const { tag, ...record } = orRecord
    return { ...rest, opType: 'PUT', key: itemKey(tag, key), record }
  }
  if (op.opType === 'OR_REMOVE') {
    const { orTag, opType: _, key, timestamp = ZERO_STAMP, ...rest } = op
    return { ...rest, opType: 'REMOVE', key: itemKey(orTag, key), record: { value: null, timestamp } }
  }
  return op
}

/** A record with an op on top. A PATCH of nothing is nothing. */
export function applyOp(record: LwwRecord | undefined, { opType, record: written }: ClientOp): LwwRecord | undefined {
  const { value, timestamp, ttlMs, unset = [] } = written
  if (opType === 'PATCH') return record && patchRecord(record, { stamp: timestamp, set: value as ValueMap, unset })
  const whole = wholeWrite(value, timestamp, ttlMs)
  return record === undefined ? whole : mergeRecords(record, whole)
}
