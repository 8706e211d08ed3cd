import { compareStamps, isMap, visibleValue, type FieldState, type LwwRecord, type Value } from '@syncline/core'
import type { WireRecord } from '@syncline/protocol'
import type { ReadView } from '../inbound/authorize.ts'
import type { Entry } from '../store/map-state.ts'

declare const redacted: unique symbol

/** A record as one redaction class may see it. Only `redact` makes one; encoders accept nothing else. */
export type OutgoingRecord = WireRecord & { readonly [redacted]: true }

/** A value as one redaction class may see it. Only `redactValue` makes one. */
export type OutgoingValue = (Value & { readonly [redacted]: true }) | null

/** The record of an entry for readers of a view. */
export function redact(view: ReadView, entry: Entry): OutgoingRecord {
  const { record, version } = entry
  const shown = view.fields === undefined ? record : withFields(record, view.fields)
  const wire: { -readonly [K in keyof WireRecord]: WireRecord[K] } = { value: shown.value, timestamp: shown.timestamp }
  if (compareStamps(shown.base, shown.timestamp) !== 0) wire.base = shown.base
  if (shown.ttlMs !== undefined) wire.ttlMs = shown.ttlMs
  if (shown.fields !== undefined) wire.fields = shown.fields
  wire.version = version
  return wire as OutgoingRecord
}

/** What a reader of the view sees under an entry's key now; undefined where the key reads as absent. */
export function redactValue(view: ReadView, entry: Entry, nowMs: number): OutgoingValue | undefined {
  return redactFormer(view, visibleValue(entry.record, nowMs))
}

/** What a reader of the view sees of a value that a record held; undefined where it sees nothing. */
export function redactFormer(view: ReadView, value: Value | undefined): OutgoingValue | undefined {
  if (value === undefined || view.fields === undefined) return value as OutgoingValue | undefined
  return isMap(value) ? (pick(value, view.fields) as OutgoingValue) : undefined
}

/** A value with no other top-level fields than some. One that has no fields is left as it is. */
export function selectFields(value: OutgoingValue, fields: ReadonlySet<string>): OutgoingValue {
  return isMap(value) ? (pick(value, fields) as OutgoingValue) : value
}

/** A policy that names fields shows nothing of a value that has none: such a record reads as removed. */
function withFields(record: LwwRecord, allowed: ReadonlySet<string>): LwwRecord {
  const { base, timestamp } = record
  if (!isMap(record.value)) return { value: null, timestamp, base }
  const fields: Record<string, FieldState> = {}
  for (const name of Object.keys(record.fields ?? {})) {
    if (allowed.has(name)) fields[name] = (record.fields as Record<string, FieldState>)[name] as FieldState
  }
  return {
    value: pick(record.value, allowed),
    timestamp,
    base,
    ...(record.ttlMs === undefined ? {} : { ttlMs: record.ttlMs }),
    ...(Object.keys(fields).length === 0 ? {} : { fields }),
  }
}

function pick(value: Readonly<Record<string, Value>>, allowed: ReadonlySet<string>): Value {
  const picked: Record<string, Value> = {}
  for (const name of allowed) if (Object.hasOwn(value, name)) picked[name] = value[name] as Value
  return picked
}
