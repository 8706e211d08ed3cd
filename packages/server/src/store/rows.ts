import type { Value } from '@syncline/core'
import type { ReadView } from '../inbound/authorize.ts'
import { redactValue, type OutgoingValue } from '../outbound/redact.ts'
import type { Entry, MapState } from './map-state.ts'

/**
 * What a map shows under one key: what queries, searches and HTTP read of a map is read here. In a map of records it is
 * the key's entry. The same object for as long as the map has the key; its value is read with `readRow`.
 */
export type Row = Entry

/** The rows of a map, those that read as absent included, in no promised order. It may be read on while the map changes. */
export function rowsOf(map: MapState): Iterable<Row> {
  return map.entriesByKey.values()
}

/** How many rows a map has, those that read as absent included. */
export function rowCount(map: MapState): number {
  return map.entriesByKey.size
}

/** The row under a key, which may read as absent. */
export function rowAt(map: MapState, key: string): Row | undefined {
  return map.entriesByKey.get(key)
}

/** The row that an entry belongs to. */
export function rowOf(entry: Entry): Row {
  return entry
}

/** The rows that changed entries belong to, each once. */
export function rowsOfEntries(entries: readonly Entry[]): readonly Row[] {
  return entries
}

/** What a reader of the view sees of a row at a time; undefined where its key reads as absent. */
export function readRow(view: ReadView, row: Row, nowMs: number): OutgoingValue | undefined {
  return redactValue(view, row, nowMs)
}

/**
 * The last millisecond, in milliseconds since 1970, at which a row that is read at a time still reads the same, unless
 * it is written: then a time to live ends. Infinity where none does.
 */
export function rowStandsUntilMs({ record: { base, ttlMs } }: Row, _nowMs: number): number {
  return ttlMs === undefined ? Infinity : base.millis + ttlMs
}

/**
 * What a row holds whoever reads it and whatever its time to live: what indexes are made of, and never sent. Undefined
 * where nobody sees anything under its key.
 */
export function indexedValue({ record: { value } }: Row): Value | undefined {
  return value === null ? undefined : value
}
