import {
  compareStamps,
  fromTagged,
  isMap,
  taggedName,
  type FieldState,
  type LwwRecord,
  type Stamp,
  type Value,
  type ValueMap,
} from '@syncline/core'
import type { StoredRecord } from '../adapter.ts'
import type { JsonWriter } from './json-writer.ts'

/** Writes a value as JSON that SQL can query: bytes as `{"$bytes": "<base64>"}`, and what looks like it escaped. */
export function writeValue(writer: JsonWriter, value: Value): void {
  switch (typeof value) {
    case 'string':
      return writer.string(value)
    case 'number':
      return writer.number(value)
    case 'boolean':
      return writer.raw(value ? 'true' : 'false')
    default:
  }
  if (value === null) return writer.raw('null')
  if (value instanceof Uint8Array) return writer.raw(`{"$bytes":"${base64(value)}"}`)
  if (isMap(value)) return writeMap(writer, value)
  writer.raw('[')
  for (let i = 0; i < value.length; i++) {
    if (i > 0) writer.raw(',')
    writeValue(writer, value[i] as Value)
  }
  writer.raw(']')
}

function writeMap(writer: JsonWriter, map: ValueMap): void {
  const names = Object.keys(map)
  const [first] = names
  writer.raw('{')
  for (const name of names) {
    if (name !== first) writer.raw(',')
    writer.string(taggedName(name, names.length === 1))
    writer.raw(':')
    writeValue(writer, map[name] as Value)
  }
  writer.raw('}')
}

/**
 * Writes what is stored of a record beside its value, as JSON: `v` version, `a` arrival, `t` timestamp, `b` base where
 * it is not `t`, `ttl`, `f` field writes. Stamps are `[millis, counter, nodeId]`.
 */
export function writeState(writer: JsonWriter, { version, arrival, record }: StoredRecord): void {
  writer.raw('{"v":')
  writer.number(version)
  writer.raw(',"a":')
  writeStamp(writer, arrival)
  writer.raw(',"t":')
  writeStamp(writer, record.timestamp)
  if (compareStamps(record.base, record.timestamp) !== 0) {
    writer.raw(',"b":')
    writeStamp(writer, record.base)
  }
  if (record.ttlMs !== undefined) {
    writer.raw(',"ttl":')
    writer.number(record.ttlMs)
  }
  if (record.fields !== undefined) writeFields(writer, record.fields)
  writer.raw('}')
}

function writeFields(writer: JsonWriter, fields: Readonly<Record<string, FieldState>>): void {
  let separator = ',"f":{'
  for (const [name, { stamp, unset, value }] of Object.entries(fields)) {
    writer.raw(separator)
    separator = ','
    writer.string(name)
    writer.raw(':{"t":')
    writeStamp(writer, stamp)
    if (unset) writer.raw(',"unset":true')
    if (value !== undefined) {
      writer.raw(',"value":')
      writeValue(writer, value)
    }
    writer.raw('}')
  }
  writer.raw(separator === ',' ? '}' : ',"f":{}')
}

function writeStamp(writer: JsonWriter, { millis, counter, nodeId }: Stamp): void {
  writer.raw('[')
  writer.number(millis)
  writer.raw(',')
  writer.number(counter)
  writer.raw(',')
  writer.string(nodeId)
  writer.raw(']')
}

/** Reads a value back from JSON. Throws where the text is not what `writeValue` writes. */
export function parseValue(json: string): Value {
  const value: unknown = JSON.parse(json)
  return (json.includes('$bytes"') ? fromTagged(value) : value) as Value
}

interface ParsedState {
  readonly v: number
  readonly a: ParsedStamp
  readonly t: ParsedStamp
  readonly b?: ParsedStamp
  readonly ttl?: number
  readonly f?: Readonly<Record<string, { readonly t: ParsedStamp; readonly unset?: true; readonly value?: Value }>>
}

type ParsedStamp = readonly [millis: number, counter: number, nodeId: string]

/** Puts a record together from its columns; `value` is `null` for a tombstone. Throws where they cannot be understood. */
export function parseRecord(
  mapName: string,
  key: string,
  seq: number,
  state: string,
  value: string | null,
): StoredRecord {
  const { v: version, a, t, b, ttl, f } = JSON.parse(state) as ParsedState
  if (!Number.isSafeInteger(version)) throw new TypeError('no version')
  const timestamp = stampOf(t)
  const base = b === undefined ? timestamp : stampOf(b)
  const record: LwwRecord = {
    value: value === null ? null : parseValue(value),
    timestamp,
    base,
    ...(ttl === undefined ? undefined : { ttlMs: ttl }),
    ...(f === undefined ? undefined : { fields: fieldsOf(f) }),
  }
  return { mapName, key, record, seq, arrival: stampOf(a), version }
}

function fieldsOf(parsed: NonNullable<ParsedState['f']>): Record<string, FieldState> {
  const fields: Record<string, FieldState> = {}
  for (const [name, { t, unset, value }] of Object.entries(parsed)) {
    fields[name] = {
      stamp: stampOf(t),
      ...(unset && { unset }),
      ...(value === undefined ? undefined : { value: fromTagged(value) as Value }),
    }
  }
  return fields
}

function stampOf(parsed: ParsedStamp): Stamp {
  const [millis, counter, nodeId] = parsed
  if (!Number.isSafeInteger(millis) || !Number.isInteger(counter) || typeof nodeId !== 'string') {
    throw new TypeError('no stamp')
  }
  return { millis, counter, nodeId }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
