import {
  ZERO_STAMP,
  compareStamps,
  fieldStamp,
  isExpired,
  isMap,
  patchRecord,
  valuesEqual,
  visibleValue,
  type LwwRecord,
  type Stamp,
  type Value,
} from '@syncline/core'
import type { Op } from './overlay.ts'

/** A write that lost something to another writer's. `undefined` stands for an absent key. */
export interface Conflict {
  readonly op: Op
  readonly local: Value | undefined
  readonly remote: Value | undefined
  readonly fields: readonly string[]
}

/** What a write to a record that is gone has lost: all of it. */
export function lossOf(op: Op, record: LwwRecord | undefined): Conflict {
  return { op, local: localOf(op, record), remote: undefined, fields: fieldsOf(op) }
}

/** What the record in base shows otherwise than a confirmed op wrote it, where someone else wrote that. */
export function conflictOf(
  op: Op,
  record: LwwRecord | undefined,
  now: number,
  isOwn: (nodeId: string) => boolean,
): Conflict | undefined {
  // In sets and counters nothing is lost to another writer but what that one saw.
  if (op.row.tag !== undefined || op.row.type === 'COUNT') return undefined
  const { type, value, unset = [] } = op.row
  // Without a record the reader may not see it, or what replaced the write was deleted and forgotten meanwhile.
  if (record === undefined) return op.overtaken === 'other' && type !== 'REMOVE' ? lossOf(op, record) : undefined
  // The record's time had passed when the change of it arrived.
  if (type === 'PATCH' && op.isSuperseded && isExpired(record, now)) return lossOf(op, record)
  const isOther = (stamp: Stamp): boolean => compareStamps(stamp, op.stamp) > 0 && !isOwn(stamp.nodeId)
  const remote = visibleValue(record, -Infinity)
  const conflict = (fields: readonly string[]): Conflict => ({ op, local: localOf(op, record), remote, fields })
  if (isMap(record.value) && (type === 'PATCH' || isMap(value))) {
    const shown = record.value
    const written = value as Record<string, Value>
    const names = new Set([...Object.keys(written), ...unset, ...(type === 'PATCH' ? [] : Object.keys(shown))])
    const lost = [...names].filter(
      (name) => !valuesEqual(ownOf(shown, name), ownOf(written, name)) && isOther(fieldStamp(record, name)),
    )
    return lost.length === 0 ? undefined : conflict(lost)
  }
  if (type === 'PATCH') return isOwn(record.base.nodeId) ? undefined : conflict(fieldsOf(op))
  return !valuesEqual(record.value, value) && isOther(record.base) ? conflict(fieldsOf(op)) : undefined
}

/** What the application saw of a key because of an op, with this record below it. */
function localOf({ row, stamp }: Op, record: LwwRecord | undefined): Value | undefined {
  const { type, value, unset } = row
  if (type !== 'PATCH') return value ?? undefined
  const below: LwwRecord = {
    value: isMap(record?.value) ? record.value : {},
    timestamp: ZERO_STAMP,
    base: ZERO_STAMP,
  }
  return patchRecord(below, { stamp, set: value as Record<string, Value>, ...(unset === undefined ? {} : { unset }) })
    .value
}

function ownOf(map: Readonly<Record<string, Value>>, name: string): Value | undefined {
  return Object.hasOwn(map, name) ? map[name] : undefined
}

function fieldsOf({ row: { type, value, unset = [] } }: Op): readonly string[] {
  return type === 'PATCH' ? [...Object.keys(value as object), ...unset] : isMap(value) ? Object.keys(value) : []
}
