/** C→S. Asks which node owns which part of the keys, unless the client knows this version already. */
export interface PartitionMapRequest {
  readonly type: 'PARTITION_MAP_REQUEST'
  readonly payload: { readonly currentVersion?: number }
}

/** A server of the deployment. */
export interface PartitionNode {
  readonly nodeId: string
  readonly endpoints: { readonly websocket: string; readonly http?: string }
  readonly status: 'ACTIVE' | 'JOINING' | 'LEAVING' | 'SUSPECTED' | 'FAILED'
}

/** A part of the keys: those whose hash leaves this remainder. */
export interface Partition {
  readonly partitionId: number
  readonly ownerNodeId: string
  readonly backupNodeIds: readonly string[]
}

/** S→C. Every server takes every write: a client that ignores this message loses nothing. */
export interface PartitionMap {
  readonly type: 'PARTITION_MAP'
  readonly payload: {
    /** Greater than those before, also of earlier runs. */
    readonly version: number
    readonly partitionCount: number
    readonly nodes: readonly PartitionNode[]
    readonly partitions: readonly Partition[]
    /** Milliseconds since 1970. */
    readonly generatedAt: number
  }
}
