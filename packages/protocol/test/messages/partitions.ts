import type { MessageCases } from './cases.ts'

/** Messages of the feature partitions. */
export const partitions: MessageCases = {
  messages: [
    ['PM1', { type: 'PARTITION_MAP_REQUEST', payload: {} }],
    ['PM1', { type: 'PARTITION_MAP_REQUEST', payload: { currentVersion: 7 } }],
    [
      'PM1 PM2',
      {
        type: 'PARTITION_MAP',
        payload: {
          version: 8,
          partitionCount: 271,
          nodes: [
            { nodeId: 'node-1', endpoints: { websocket: 'ws://a:8080/ws', http: 'http://a:8080' }, status: 'ACTIVE' },
          ],
          partitions: [{ partitionId: 0, ownerNodeId: 'node-1', backupNodeIds: [] }],
          generatedAt: 1_706_000_000_000,
        },
      },
    ],
  ],
  refused: [['a version that is a text', 'PM1', { type: 'PARTITION_MAP_REQUEST', payload: { currentVersion: '7' } }]],
}
