import { compareStamps, maxStamp, type Stamp } from '../clock/hlc.ts'
import { compareCanonical } from '../value/canonical.ts'
import { isMap, valuesEqual, type Value, type ValueMap } from '../value/value.ts'
import {
  fieldStateOf,
  fieldWriteValue,
  raiseTimestamp,
  type FieldState,
  type FieldWrite,
  type LwwRecord,
} from './record.ts'

/**
 * Joins two states of one key. Commutative, associative and idempotent for any two records, equal stamps included
 * (SPEC [LW1] to [LW9]). Returns `a` itself where `b` adds nothing, so that callers can tell by identity.
 */
export function mergeRecords(a: LwwRecord, b: LwwRecord): LwwRecord {
  if (a === b) return a
  if (a.fields !== undefined || b.fields !== undefined) return mergeWithFields(a, b)
  const order = compareStamps(a.base, b.base)
  if (order > 0) return raiseTimestamp(a, b.timestamp)
  if (order < 0) return raiseTimestamp(b, a.timestamp)
  return mergeWithFields(a, b)
}

/** Applies a field write to a record. Returns the record itself where every field in it already has a later write. */
export function patchRecord(record: LwwRecord, write: FieldWrite): LwwRecord {
  const { stamp, set, unset } = write
  if (compareStamps(stamp, record.base) <= 0) return raiseTimestamp(record, stamp)
  const shown = isMap(record.value) ? { ...record.value } : undefined
  const fields: Record<string, FieldState> = { ...record.fields }
  let changed = false
  const put = (name: string, value: Value | undefined): void => {
    const current = fieldStateOf(record, name)
    if (current !== undefined) {
      const order = compareStamps(stamp, current.stamp)
      if (order < 0) return
      if (order === 0 && !isGreaterFieldValue(value, fieldWriteValue(record, name, current))) return
    }
    changed = true
    fields[name] = fieldState(stamp, value, shown !== undefined)
    if (shown !== undefined) show(shown, name, value)
  }
  for (const name of Object.keys(set)) put(name, set[name])
  for (const name of unset ?? []) put(name, undefined)
  if (!changed) return raiseTimestamp(record, stamp)
  return build(record, shown ?? record.value, record.ttlMs, fields, maxStamp(record.timestamp, stamp))
}

/** Says whether two records are the same state, `timestamp` included. */
export function recordsEqual(a: LwwRecord, b: LwwRecord): boolean {
  if (a === b) return true
  if (compareStamps(a.timestamp, b.timestamp) !== 0 || compareStamps(a.base, b.base) !== 0) return false
  if (a.ttlMs !== b.ttlMs || !fieldsEqual(a.fields, b.fields)) return false
  return valuesEqual(a.value, b.value)
}

function mergeWithFields(a: LwwRecord, b: LwwRecord): LwwRecord {
  const order = compareStamps(a.base, b.base)
  const whole = order > 0 ? a : order < 0 ? b : joinEqualBases(a, b)
  const shown = isMap(whole.value) ? { ...whole.value } : undefined
  const fields: Record<string, FieldState> = {}
  for (const record of [a, b]) {
    const other = record === a ? b : a
    for (const name of Object.keys(record.fields ?? {})) {
      if (Object.hasOwn(fields, name)) continue
      const state = (record.fields as Record<string, FieldState>)[name] as FieldState
      const winner = greaterFieldWrite(record, state, other, fieldStateOf(other, name), name)
      if (compareStamps(winner.stamp, whole.base) <= 0) continue
      fields[name] = fieldState(winner.stamp, winner.value, shown !== undefined)
      if (shown !== undefined) show(shown, name, winner.value)
    }
  }
  const merged = build(whole, shown ?? whole.value, whole.ttlMs, fields, maxStamp(a.timestamp, b.timestamp))
  return recordsEqual(merged, a) ? a : recordsEqual(merged, b) ? b : merged
}

/**
 * The whole write of two records with equal base stamps: tombstone over map over other value, then the greater
 * canonical bytes, then the longer time to live; two maps join field by field.
 * A map's own value of a field that has a later field write is never looked at: it can no longer be seen.
 */
function joinEqualBases(a: LwwRecord, b: LwwRecord): LwwRecord {
  const kind = kindOf(a.value) - kindOf(b.value)
  if (kind !== 0) return kind > 0 ? a : b
  if (isMap(a.value) && isMap(b.value)) {
    const value: Record<string, Value> = {}
    for (const name of new Set([...Object.keys(a.value), ...Object.keys(b.value)])) {
      const greater = greaterBaseField(baseField(a, name), baseField(b, name))
      if (greater !== undefined) value[name] = greater
    }
    return build(a, value, longerTtl(a.ttlMs, b.ttlMs), {}, a.base)
  }
  const bytes = compareCanonical(a.value, b.value)
  if (bytes !== 0) return bytes > 0 ? a : b
  return longerTtl(a.ttlMs, b.ttlMs) === a.ttlMs ? a : b
}

function kindOf(value: Value): number {
  return value === null ? 2 : isMap(value) ? 1 : 0
}

function baseField(record: LwwRecord, name: string): Value | undefined {
  const value = record.value as ValueMap
  return fieldStateOf(record, name) === undefined && Object.hasOwn(value, name) ? value[name] : undefined
}

function greaterBaseField(a: Value | undefined, b: Value | undefined): Value | undefined {
  // Not `??`: a field may be null.
  if (a === undefined || b === undefined) return a === undefined ? b : a
  return compareCanonical(a, b) >= 0 ? a : b
}

function longerTtl(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : Math.max(a, b)
}

function greaterFieldWrite(
  a: LwwRecord,
  stateA: FieldState,
  b: LwwRecord,
  stateB: FieldState | undefined,
  name: string,
): { stamp: Stamp; value: Value | undefined } {
  const valueA = fieldWriteValue(a, name, stateA)
  if (stateB === undefined) return { stamp: stateA.stamp, value: valueA }
  const order = compareStamps(stateA.stamp, stateB.stamp)
  const valueB = fieldWriteValue(b, name, stateB)
  const first = order > 0 || (order === 0 && !isGreaterFieldValue(valueB, valueA))
  return first ? { stamp: stateA.stamp, value: valueA } : { stamp: stateB.stamp, value: valueB }
}

/** At equal stamps an unset beats a value, and of two values the one with the greater canonical bytes wins. */
function isGreaterFieldValue(candidate: Value | undefined, current: Value | undefined): boolean {
  if (current === undefined) return false
  return candidate === undefined || compareCanonical(candidate, current) > 0
}

function fieldState(stamp: Stamp, value: Value | undefined, isShown: boolean): FieldState {
  if (value === undefined) return { stamp, unset: true }
  return isShown ? { stamp } : { stamp, value }
}

function show(shown: Record<string, Value>, name: string, value: Value | undefined): void {
  if (value === undefined) delete shown[name]
  else shown[name] = value
}

function build(
  whole: LwwRecord,
  value: Value,
  ttlMs: number | undefined,
  fields: Readonly<Record<string, FieldState>>,
  timestamp: Stamp,
): LwwRecord {
  return {
    value,
    timestamp: maxStamp(timestamp, whole.base),
    base: whole.base,
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(Object.keys(fields).length === 0 ? {} : { fields }),
  }
}

function fieldsEqual(a: LwwRecord['fields'], b: LwwRecord['fields']): boolean {
  if (a === b) return true
  const names = Object.keys(a ?? {})
  if (names.length !== Object.keys(b ?? {}).length) return false
  return names.every((name) => {
    const stateA = (a as Record<string, FieldState>)[name] as FieldState
    const stateB = b !== undefined && Object.hasOwn(b, name) ? b[name] : undefined
    if (stateB === undefined || stateA.unset !== stateB.unset) return false
    return compareStamps(stateA.stamp, stateB.stamp) === 0 && valuesEqual(stateA.value, stateB.value)
  })
}
