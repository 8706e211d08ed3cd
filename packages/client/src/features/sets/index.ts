import type { AnySetDef } from '@syncline/protocol/contract'
import type { Kernel } from '../../feature.ts'
import type { LateFeature } from '../../late.ts'
import type { SetsOf } from './handle.ts'
import { SetHandle, SetItems } from './state.ts'

/** Sets: each is the values under one key of an OR-map, which is kept and followed as any map. */
export function start(kernel: Kernel): LateFeature<AnySetDef, SetsOf<unknown, unknown>> {
  const maps = new Map<string, { readonly items: SetItems; readonly handles: Map<string, SetHandle> }>()
  return {
    handlers: {},
    open(mapName, { schema }) {
      let map = maps.get(mapName)
      if (map === undefined) {
        const replica = kernel.data.replica(mapName)
        replica.kind = 'or'
        maps.set(mapName, (map = { items: new SetItems(replica), handles: new Map() }))
      }
      const { items, handles } = map
      return (key = mapName) => {
        let handle = handles.get(key)
        if (handle === undefined) handles.set(key, (handle = new SetHandle(kernel, items, key, schema)))
        return handle
      }
    },
  }
}
