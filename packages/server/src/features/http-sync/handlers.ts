import type { Handlers } from '../../feature.ts'
import type { DeltaService } from './service.ts'

/** SYNC_DELTA. */
export function deltaHandlers(service: DeltaService): Handlers {
  return {
    SYNC_DELTA: {
      maps: ({ payload }) => [payload.mapName],
      cost: (session, { payload }) => service.cost(session, payload.mapName, payload.lastSyncTimestamp),
      handle: (session, { payload }) => {
        const read = service.read(session, payload.mapName, payload.lastSyncTimestamp)
        if (!read.ok) return { refuse: read.error }
        const { mapName, records, through, more, isReset } = read.value
        return {
          type: 'SYNC_DELTA_RESP',
          payload: {
            mapName,
            records: records.map(({ key, record }) => ({
              key,
              record,
              eventType: record.value === null ? 'REMOVE' : 'PUT',
            })),
            serverSyncTimestamp: through,
            ...(more ? { more } : {}),
            ...(isReset ? { reset: true } : {}),
          },
        }
      },
    },
  }
}
