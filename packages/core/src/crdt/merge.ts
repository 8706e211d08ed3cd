import { compareStamps, maxStamp, type Stamp } from '../clock/hlc.ts'
import { compareCanonical } from '../value/compare.ts'
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
  // What is resent after a lost acknowledgement is the same write once more.
  if (a.ttlMs === b.ttlMs && valuesEqual(a.value, b.value)) return raiseTimestamp(a, b.timestamp)
  return mergeWithFields(a, b)
}

/** Applies a field write to a record. Returns the record itself where every field in it already has a later write. */
export function patchRecord(record: LwwRecord, write: FieldWrite): LwwRecord {
  const { stamp, set, unset } = write
  if (compareStamps(stamp, record.base) <= 0) return raiseTimestamp(record, stamp)
  const shown = isMap(record.value) ? { ...record.value } : undefined
  const fields: Record<string, FieldState> = { ...record.fields }
  let [isChanged, isUnset] = [false, false]
  const put = (name: string, value: Value | undefined): void => {
    const current = fieldStateOf(record, name)
    if (current !== undefined) {
      const order = compareStamps(stamp, current.stamp)
      if (order < 0) return
      if (order === 0 && !isGreaterFieldValue(value, fieldWriteValue(record, name, current))) return
    }
    isChanged = true
    if (value === undefined) isUnset = true
    putField(fields, shown, name, stamp, value)
  }
  for (const name in set) put(name, set[name])
  for (const name of unset ?? []) put(name, undefined)
  if (!isChanged) return raiseTimestamp(record, stamp)
  const value = shown === undefined ? record.value : isUnset ? withoutUnset(shown, fields) : shown
  return build(value, maxStamp(record.timestamp, stamp), record.base, record.ttlMs, fields)
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
  const whole = order > 0 ? a : order < 0 ? b : greaterWhole(a, b)
  const shown = isMap(whole.value) ? {} : undefined
  const fields: Record<string, FieldState> = {}
  mergeFields(fields, shown, whole.base, a, b)
  mergeFields(fields, shown, whole.base, b, a)
  let { ttlMs } = whole
  if (shown !== undefined) {
    showOthers(shown, fields, whole.value as ValueMap)
    const other = whole === a ? b : a
    if (order === 0 && isMap(other.value)) {
      showOthers(shown, fields, other.value)
      ttlMs = longerTtl(a.ttlMs, b.ttlMs)
    }
  }
  const merged = build(shown ?? whole.value, maxStamp(a.timestamp, b.timestamp), whole.base, ttlMs, fields)
  return recordsEqual(merged, a) ? a : recordsEqual(merged, b) ? b : merged
}

/** Of two whole writes with equal base stamps the one that wins; of two maps, which are joined, either. */
function greaterWhole(a: LwwRecord, b: LwwRecord): LwwRecord {
  const kind = kindOf(a.value) - kindOf(b.value)
  if (kind !== 0) return kind > 0 ? a : b
  if (isMap(a.value)) return a
  const bytes = compareCanonical(a.value, b.value)
  if (bytes !== 0) return bytes > 0 ? a : b
  return longerTtl(a.ttlMs, b.ttlMs) === a.ttlMs ? a : b
}

/** Puts the field writes of `record` that are later than `base`, each against the one of `other`. */
function mergeFields(
  fields: Record<string, FieldState>,
  shown: Record<string, Value> | undefined,
  base: Stamp,
  record: LwwRecord,
  other: LwwRecord,
): void {
  for (const name in record.fields) {
    if (Object.hasOwn(fields, name)) continue
    const state = record.fields[name] as FieldState
    const value = fieldWriteValue(record, name, state)
    const otherState = fieldStateOf(other, name)
    const order = otherState === undefined ? 1 : compareStamps(state.stamp, otherState.stamp)
    const otherValue = otherState === undefined ? undefined : fieldWriteValue(other, name, otherState)
    const isFirst = order > 0 || (order === 0 && !isGreaterFieldValue(otherValue, value))
    const stamp = isFirst ? state.stamp : (otherState as FieldState).stamp
    if (compareStamps(stamp, base) > 0) putField(fields, shown, name, stamp, isFirst ? value : otherValue)
  }
}

/** Puts a field write: its value into the map that readers see, if there is one, else beside its stamp. */
function putField(
  fields: Record<string, FieldState>,
  shown: Record<string, Value> | undefined,
  name: string,
  stamp: Stamp,
  value: Value | undefined,
): void {
  if (value === undefined) fields[name] = { stamp, unset: true }
  else if (shown === undefined) fields[name] = { stamp, value }
  else {
    fields[name] = { stamp }
    shown[name] = value
  }
}

/** Shows the fields of a map that have no field write; where two maps have one, the greater value. */
function showOthers(shown: Record<string, Value>, fields: Readonly<Record<string, FieldState>>, map: ValueMap): void {
  for (const name in map) {
    if (Object.hasOwn(fields, name)) continue
    const value = map[name] as Value
    if (!Object.hasOwn(shown, name) || compareCanonical(value, shown[name] as Value) > 0) shown[name] = value
  }
}

function kindOf(value: Value): number {
  return value === null ? 2 : isMap(value) ? 1 : 0
}

/** A new map, because an object that has lost a property is slow from then on. */
function withoutUnset(map: ValueMap, fields: Readonly<Record<string, FieldState>>): ValueMap {
  const rest: Record<string, Value> = {}
  for (const name in map) {
    if (!Object.hasOwn(fields, name) || fields[name]?.unset !== true) rest[name] = map[name] as Value
  }
  return rest
}

function longerTtl(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : Math.max(a, b)
}

/** At equal stamps an unset beats a value, and of two values the one with the greater canonical bytes wins. */
function isGreaterFieldValue(candidate: Value | undefined, current: Value | undefined): boolean {
  if (current === undefined) return false
  return candidate === undefined || compareCanonical(candidate, current) > 0
}

function build(
  value: Value,
  timestamp: Stamp,
  base: Stamp,
  ttlMs: number | undefined,
  fields: Readonly<Record<string, FieldState>>,
): LwwRecord {
  const record: { -readonly [Part in keyof LwwRecord]: LwwRecord[Part] } = { value, timestamp, base }
  if (ttlMs !== undefined) record.ttlMs = ttlMs
  if (Object.keys(fields).length > 0) record.fields = fields
  return record
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
