import { compareStamps, maxStamp, type Stamp } from '../clock/hlc.ts'
import { isMap, type Value, type ValueMap } from '../value/value.ts'

/** One field's latest field write, where it is later than the whole write below it. */
export interface FieldState {
  /** When the field was written. */
  readonly stamp: Stamp
  /** The write removed the field. */
  readonly unset?: true
  /** What the write put, where the record's `value` cannot show it: over a tombstone or a value that is no map. */
  readonly value?: Value
}

/**
 * A key's state in a map: its latest whole write, and the field writes that are later than that.
 * This is also its form on the wire, where `base` may be left out if it equals `timestamp`.
 */
export interface LwwRecord {
  /** What readers see: the whole write with the field writes applied. `null` is a tombstone: the key reads as absent. */
  readonly value: Value
  /** At least the latest stamp in the record. It only grows. */
  readonly timestamp: Stamp
  /** Stamp of the whole write. */
  readonly base: Stamp
  /** Milliseconds from the base stamp after which the record reads as absent. Without it the record stays. */
  readonly ttlMs?: number
  /** Field writes later than the whole write, by field name. */
  readonly fields?: Readonly<Record<string, FieldState>>
}

/** A write of some fields of one record (PATCH). */
export interface FieldWrite {
  readonly stamp: Stamp
  /** Fields that get a value. */
  readonly set: ValueMap
  /** Fields that are removed. */
  readonly unset?: readonly string[]
}

/** The record that a whole write makes. A value of `null` is a removal, which has no time to live. */
export function wholeWrite(value: Value, stamp: Stamp, ttlMs?: number): LwwRecord {
  return ttlMs === undefined || value === null
    ? { value, timestamp: stamp, base: stamp }
    : { value, timestamp: stamp, base: stamp, ttlMs }
}

/** Says whether the key reads as absent because it was removed. */
export function isTombstone(record: LwwRecord): boolean {
  return record.value === null
}

/** Says whether the record's time to live has passed: it then reads as absent. */
export function isExpired(record: LwwRecord, nowMs: number): boolean {
  return record.ttlMs !== undefined && record.base.millis + record.ttlMs < nowMs
}

/** What a reader sees of a record at a time: its value, or `undefined` where the key is absent. */
export function visibleValue(record: LwwRecord | undefined, nowMs: number): Value | undefined {
  return record === undefined || record.value === null || isExpired(record, nowMs) ? undefined : record.value
}

/** The stamp under which a field has its present value: of its field write, else of the whole write. */
export function fieldStamp(record: LwwRecord, name: string): Stamp {
  return fieldStateOf(record, name)?.stamp ?? record.base
}

/** The latest write of anything in the record. */
export function latestStamp(record: LwwRecord): Stamp {
  let latest = record.base
  for (const name in record.fields) latest = maxStamp(latest, (record.fields[name] as FieldState).stamp)
  return latest
}

/** A field's own write, if it has one that is later than the whole write. */
export function fieldStateOf(record: LwwRecord, name: string): FieldState | undefined {
  return record.fields !== undefined && Object.hasOwn(record.fields, name) ? record.fields[name] : undefined
}

/** What a field's own write put: its value, or `undefined` for an unset. */
export function fieldWriteValue(record: LwwRecord, name: string, state: FieldState): Value | undefined {
  if (state.unset === true) return undefined
  if (!isMap(record.value)) return state.value
  return Object.hasOwn(record.value, name) ? record.value[name] : undefined
}

/** The same record under a later `timestamp`; the record itself if it already is as late. */
export function raiseTimestamp(record: LwwRecord, stamp: Stamp): LwwRecord {
  return compareStamps(record.timestamp, stamp) >= 0 ? record : { ...record, timestamp: stamp }
}
