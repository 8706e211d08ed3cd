import {
  compareStamps,
  isExpired,
  isMap,
  measureValue,
  mergeRecords,
  patchRecord,
  wholeWrite,
  type FieldState,
  type LwwRecord,
  type ValueMap,
} from '@syncline/core'
import { LIMITS, wireError, type ReceivedOp, type WireError } from '@syncline/protocol'
import { forbidden, lockResource, type WriteGrant } from '../inbound/authorize.ts'

// What can be said of an op and of the record that it makes without the map that it is for.

/** The whole write that an op is. */
export function wholeOf({ opType, record }: ReceivedOp): LwwRecord {
  return wholeWrite(opType === 'REMOVE' ? null : record.value, record.timestamp, record.ttlMs)
}

/** The field writes that a PATCH is. */
export function fieldsOf({
  record: { value, timestamp: stamp, unset },
}: ReceivedOp): Parameters<typeof patchRecord>[1] {
  return { stamp, set: value as ValueMap, ...(unset === undefined ? {} : { unset }) }
}

/** Why the writer may not make an op, if so. */
export function denial(
  { opType, record, fence }: ReceivedOp,
  grant: WriteGrant,
  mayFence: ((name: string) => boolean) | undefined,
): WireError | undefined {
  const { mapName, fields } = grant
  if (fence !== undefined && mayFence?.(fence.name) !== true) return forbidden(lockResource(fence.name), 'PUT')
  if (opType === 'REMOVE' || opType === 'OR_REMOVE') return grant.canRemove ? undefined : forbidden(mapName, 'REMOVE')
  if (!grant.canPut) return forbidden(mapName, 'PUT')
  if (fields === undefined) return undefined
  if (opType !== 'PATCH') {
    return wireError('FORBIDDEN', `On map '${mapName}' only some fields may be written: change them with PATCH.`)
  }
  for (const name of [...Object.keys(record.value as ValueMap), ...(record.unset ?? [])]) {
    if (!fields.has(name))
      return wireError('FORBIDDEN', `No policy allows writing field '${name}' on map '${mapName}'.`)
  }
  return undefined
}

/** Nothing of the field write can be seen: the record is removed, expired or no map, or every field has a later write. */
export function isPatchLost(record: LwwRecord, op: ReceivedOp, nowMs: number): boolean {
  return !isMap(record.value) || isExpired(record, nowMs) || !hasFieldOf(record, op)
}

/** Some field of the record was last written by the PATCH. */
function hasFieldOf(record: LwwRecord, op: ReceivedOp): boolean {
  const names = [...Object.keys(op.record.value as ValueMap), ...(op.record.unset ?? [])]
  return names.some((name) => {
    const state = record.fields !== undefined && Object.hasOwn(record.fields, name) ? record.fields[name] : undefined
    return state !== undefined && compareStamps(state.stamp, op.record.timestamp) === 0
  })
}

/** The record holds this very write already. */
export function isRepetition(record: LwwRecord, op: ReceivedOp): boolean {
  if (op.opType === 'PATCH') return hasFieldOf(record, op) && patchRecord(record, fieldsOf(op)) === record
  const incoming = wholeOf(op)
  return compareStamps(record.base, incoming.base) === 0 && mergeRecords(record, incoming) === record
}

/**
 * What a writer of some fields is measured by: were it by the whole record, a refusal would tell how large fields are that
 * it may not see. So the fields of each policy that names some have the limit of a record for themselves.
 */
export function onlyFields(record: LwwRecord, names: ReadonlySet<string>): LwwRecord {
  const own = <T>(fields: Readonly<Record<string, T>>): Record<string, T> =>
    Object.fromEntries(Object.entries(fields).filter(([name]) => names.has(name)))
  const value = isMap(record.value) ? own(record.value) : null
  return record.fields === undefined ? { ...record, value } : { ...record, value, fields: own(record.fields) }
}

/** Whole writes are measured where they are decoded; what writes add up to is known only here. */
export function recordFault(record: LwwRecord, isJoined: boolean): WireError | undefined {
  if (record.fields === undefined && !isJoined) return undefined
  const names = Object.keys(record.fields ?? {})
  if (names.length > LIMITS.recordFields)
    return wireError('TOO_LARGE', undefined, { limit: 'recordFields', max: LIMITS.recordFields })
  let size = measureValue(record.value)
  if (typeof size !== 'number') return wireError(size)
  for (const name of names) {
    const state = record.fields?.[name] as FieldState
    const hidden = state.value === undefined ? 0 : measureValue(state.value)
    if (typeof hidden !== 'number') return wireError(hidden)
    size += name.length * 3 + state.stamp.nodeId.length * 3 + 24 + hidden
  }
  return size > LIMITS.valueBytes
    ? wireError('TOO_LARGE', undefined, { limit: 'valueBytes', max: LIMITS.valueBytes })
    : undefined
}
