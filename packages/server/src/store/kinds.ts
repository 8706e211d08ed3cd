import { isCounterRow, isFieldName, parseItemKey, type LwwRecord, type Value } from '@syncline/core'
import { COUNTER_MAP_PREFIX, wireError, type MapKind, type ReceivedOp, type WireError } from '@syncline/protocol'
import type { StorageAdapter } from '@syncline/storage'
import type { MapState } from './map-state.ts'

// A map's kind is a guard on writes and a view on reads; the records of all kinds merge alike.

/** The kind that follows from a map's name, if one does. */
export function kindOfName(mapName: string): MapKind | undefined {
  return mapName.startsWith(COUNTER_MAP_PREFIX) ? 'pn' : undefined
}

/** Says whether a map is of a kind, or may become one of it. Everything may be asked of a map by who names none. */
export function isOfKind({ name, kind }: MapState, wanted: MapKind | undefined): boolean {
  return wanted === undefined || (kind ?? (wanted === 'pn' ? kindOfName(name) : wanted)) === wanted
}

/** The refusal of what is for maps of another kind. */
export function wrongKind({ name, kind = 'lww' }: MapState, wanted?: MapKind): WireError {
  const message = `Map '${name}' is of kind '${kind}'${wanted === undefined ? '' : `, not '${wanted}'`}; use the operations of that kind.`
  return wireError('WRONG_MAP_KIND', message, { mapName: name, kind })
}

/** Why an op is not for maps of this kind, if it is not. */
export function kindFault(map: MapState, opType: ReceivedOp['opType']): WireError | undefined {
  const { kind } = map
  if (kind === 'pn') return opType === 'PUT' ? undefined : wrongKind(map)
  return kind === undefined || (kind === 'or') === isItemOp(opType) ? undefined : wrongKind(map)
}

/** An op on an item of an OR-map. */
export function isItemOp(opType: ReceivedOp['opType']): boolean {
  return opType === 'OR_ADD' || opType === 'OR_REMOVE'
}

/** Why a record that is pushed cannot be one of a map of this kind, if it cannot. */
export function recordKindFault(kind: MapKind, key: string, record: LwwRecord): WireError | undefined {
  if (kind === 'lww') return undefined
  if (record.fields !== undefined)
    return wireError('VALIDATION_ERROR', 'Only records of lww maps have field writes.', { path: 'record.fields' })
  if (kind === 'or') {
    if (parseItemKey(key) !== undefined) return undefined
    return wireError('BAD_KEY', 'The key of an item is its tag, a colon, and the key that it belongs to.')
  }
  return rowFault(key, record.value) ?? (record.ttlMs === undefined ? undefined : NO_TTL)
}

/** Why a value cannot be the row of a counter under a node id, if it cannot. */
export function rowFault(nodeId: string, value: Value): WireError | undefined {
  if (!isFieldName(nodeId)) return wireError('BAD_KEY', 'A node id is not one of the reserved names.', { path: 'key' })
  if (isCounterRow(value)) return undefined
  const message = 'The row of a counter is {p, n}, whole numbers from 0 to 2^53 − 1.'
  return wireError('VALIDATION_ERROR', message, { path: 'record.value' })
}

const NO_TTL = wireError('VALIDATION_ERROR', 'The row of a counter has no time to live.', { path: 'record.ttlMs' })

const PREFIX = 'syncline.kind/'

/** The value of storage that keeps a map's kind: it is written with the map's first record. */
export function kindValues(mapName: string, kind: MapKind): Record<string, Value> {
  return { [PREFIX + mapName]: kind }
}

/** The kinds that storage keeps, by map. */
export async function loadKinds(storage: StorageAdapter | undefined): Promise<Map<string, MapKind>> {
  const stored = (await storage?.list(PREFIX)) ?? []
  return new Map(stored.map(([key, value]) => [key.slice(PREFIX.length), value as MapKind]))
}
