import * as z from 'zod'
import { count, wrapped } from './common.schema.ts'
import type { PartitionMap, PartitionMapRequest } from './partitions.ts'

/** The schema of PARTITION_MAP_REQUEST. */
export const partitionMapRequestSchema: z.ZodType<PartitionMapRequest> = wrapped(
  'PARTITION_MAP_REQUEST',
  z.object({ currentVersion: z.number().exactOptional() }),
)

/** The schema of PARTITION_MAP. */
export const partitionMapSchema: z.ZodType<PartitionMap> = wrapped(
  'PARTITION_MAP',
  z.object({
    version: count,
    partitionCount: count,
    nodes: z.array(
      z.object({
        nodeId: z.string(),
        endpoints: z.object({ websocket: z.string(), http: z.string().exactOptional() }),
        status: z.enum(['ACTIVE', 'JOINING', 'LEAVING', 'SUSPECTED', 'FAILED']),
      }),
    ),
    partitions: z.array(z.object({ partitionId: count, ownerNodeId: z.string(), backupNodeIds: z.array(z.string()) })),
    generatedAt: z.number(),
  }),
)
