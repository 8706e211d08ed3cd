import { isExpired, isTombstone, type Value } from '@syncline/core'
import type { ReadView } from '../inbound/authorize.ts'
import { redactValue, type OutgoingValue } from '../outbound/redact.ts'
import type { ItemSet } from './item-index.ts'
import type { Entry, MapState } from './map-state.ts'

/**
 * What a map shows under one key: what queries, searches and HTTP read of a map is read here. In a map of records it is
 * the key's entry, in an OR-map the key's items. The same object for as long as the map has the key; its value is read
 * with `readRow`.
 */
export type Row = Entry | ItemSet

/** The rows of a map, those that read as absent included, in no promised order. It may be read on while the map changes. */
export function rowsOf(map: MapState): Iterable<Row> {
  return map.kind === 'or' ? map.items().sets() : map.entriesByKey.values()
}

/** How many rows a map has, those that read as absent included. */
export function rowCount(map: MapState): number {
  return map.kind === 'or' ? map.items().size : map.entriesByKey.size
}

/** The row under a key, which may read as absent. */
export function rowAt(map: MapState, key: string): Row | undefined {
  return map.kind === 'or' ? map.items().at(key) : map.entriesByKey.get(key)
}

/** The row that an entry belongs to. */
export function rowOf(entry: Entry): Row {
  return entry.map.kind === 'or' ? entry.map.items().of(entry) : entry
}

/** The rows that changed entries belong to, each once. */
export function rowsOfEntries(entries: readonly Entry[]): readonly Row[] {
  return entries[0]?.map.kind === 'or' ? [...new Set(entries.map(rowOf))] : entries
}

/**
 * What a reader of the view sees of a row at a time; undefined where its key reads as absent. Of an OR-map that is the
 * list of the key's values in the order of their tags (SPEC [KD5]).
 */
export function readRow(view: ReadView, row: Row, nowMs: number): OutgoingValue | undefined {
  if (!isItems(row)) return redactValue(view, row, nowMs)
  const values: OutgoingValue[] = []
  for (const entry of row.entries) {
    const value = redactValue(view, entry, nowMs)
    if (value !== undefined) values.push(value)
  }
  return values.length === 0 ? undefined : (values as unknown as OutgoingValue)
}

/**
 * The last millisecond, in milliseconds since 1970, at which a row that is read at a time still reads the same, unless
 * it is written: then a time to live ends. Infinity where none does.
 */
export function rowStandsUntilMs(row: Row, nowMs: number): number {
  if (!isItems(row)) return endOf(row)
  let untilMs = Infinity
  for (const entry of row.entries) {
    if (!isTombstone(entry.record) && !isExpired(entry.record, nowMs)) untilMs = Math.min(untilMs, endOf(entry))
  }
  return untilMs
}

function endOf({ record: { base, ttlMs } }: Entry): number {
  return ttlMs === undefined ? Infinity : base.millis + ttlMs
}

/**
 * What a row holds whoever reads it and whatever its time to live: what indexes are made of, and never sent. Undefined
 * where nobody sees anything under its key.
 */
export function indexedValue(row: Row): Value | undefined {
  if (!isItems(row)) return row.record.value ?? undefined
  const values = row.entries.flatMap(({ record: { value } }) => (value === null ? [] : [value]))
  return values.length === 0 ? undefined : values
}

function isItems(row: Row): row is ItemSet {
  return 'entries' in row
}
