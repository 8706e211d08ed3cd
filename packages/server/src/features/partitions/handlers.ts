import type { Handlers } from '../../feature.ts'
import type { PartitionService } from './service.ts'

/** PARTITION_MAP_REQUEST. */
export function partitionHandlers(service: PartitionService): Handlers {
  return {
    PARTITION_MAP_REQUEST: {
      handle: (session, { payload }) => {
        const map = service.mapFor(payload.currentVersion ?? 0, session.localAddress)
        return map === undefined ? undefined : { type: 'PARTITION_MAP', payload: map }
      },
    },
  }
}
