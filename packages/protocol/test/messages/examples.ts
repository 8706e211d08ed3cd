import type { Stamp } from '@syncline/core'
import type { ClientOp, ItemOp, OrRecord, WireRecord } from '../../src/messages/maps.ts'

// What the examples of several features share.

/** A stamp of some node. */
export const n = (millis: number, counter = 0, nodeId = 'client-1'): Stamp => ({ millis, counter, nodeId })

/** A stamp, and a later one of another node. */
export const stamp: Stamp = n(1_706_000_000_000, 1)
export const later: Stamp = n(1_706_000_000_500, 0, 'client-2')

/** A whole write. */
export const op = {
  id: 'op-1',
  mapName: 'todos',
  key: 't1',
  opType: 'PUT',
  record: { value: { text: 'Milk', done: false }, timestamp: stamp },
} as const satisfies ClientOp

/** The tag of an add, and its item. */
export const addTag = '1706000000000:1:client-1'
export const orRecord: OrRecord = { value: { label: 'urgent' }, timestamp: stamp, tag: addTag }

/** An add to an OR-map. */
export const add = { id: 'op-1', mapName: 'tags', key: 't1', opType: 'OR_ADD', orRecord } as const satisfies ItemOp

/** A record as its whole write left it. */
export const whole: WireRecord = { value: { text: 'Milk' }, timestamp: stamp }

/** A record with field writes, one of them an unset. */
export const fielded: WireRecord = {
  value: { text: 'Milk', done: true },
  timestamp: later,
  base: stamp,
  fields: { done: { stamp: later }, due: { stamp: later, unset: true } },
}
