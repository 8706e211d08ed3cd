import type { MessageCases } from './cases.ts'
import { fielded, later, n } from './examples.ts'

const moment = n(1_706_000_001_000, 2, 'server-1')
const ask = (members: object): object => ({ type: 'SYNC_DELTA', payload: { mapName: 'todos', ...members } })

/** Messages of the feature http-sync. */
export const httpSync: MessageCases = {
  messages: [
    ['HS4', { type: 'SYNC_DELTA', payload: { mapName: 'todos' } }],
    ['HS4', { type: 'SYNC_DELTA', payload: { mapName: 'todos', lastSyncTimestamp: later }, requestId: 'r7' }],
    ['HS4', { type: 'SYNC_DELTA', payload: { mapName: 'todos', lastSyncTimestamp: 1_706_000_000_500 } }],
    [
      'HS4',
      {
        type: 'SYNC_DELTA_RESP',
        payload: {
          mapName: 'todos',
          records: [
            { key: 't1', record: { ...fielded, version: 3 }, eventType: 'PUT' },
            { key: 't2', record: { value: null, timestamp: later, version: 4 }, eventType: 'REMOVE' },
          ],
          serverSyncTimestamp: moment,
          more: true,
        },
        requestId: 'r7',
      },
    ],
    [
      'HS4',
      {
        type: 'SYNC_DELTA_RESP',
        payload: { mapName: 'todos', records: [], serverSyncTimestamp: moment, reset: true },
      },
    ],
  ],
  accepted: [
    ['a moment whose node is not named', 'HS4', ask({ lastSyncTimestamp: { ...moment, nodeId: '' } })],
    ['the beginning', 'HS4', ask({ lastSyncTimestamp: 0 })],
    ['flat members', 'HS4', { type: 'SYNC_DELTA', mapName: 'todos' }],
  ],
  refused: [
    ['no map', 'HS4', { type: 'SYNC_DELTA', payload: {} }],
    ['a moment before the beginning', 'HS4', ask({ lastSyncTimestamp: -1 })],
    ['a moment that is a text', 'HS4', ask({ lastSyncTimestamp: 'now' })],
    ['a moment that is no stamp', 'HS4', ask({ lastSyncTimestamp: { millis: 1 } })],
  ],
}
