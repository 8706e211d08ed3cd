/** C→S. Asks which node owns which part of the keys, unless the client knows this version already. */
export interface PartitionMapRequest {
  readonly type: 'PARTITION_MAP_REQUEST'
  readonly payload: {
    /** The version that the client knows: there is no answer unless the server has a later one. */
    readonly currentVersion?: number
  }
}

/** A server of the deployment. */
export interface PartitionNode {
  /** Names the server. */
  readonly nodeId: string
  /** Where it is reached. */
  readonly endpoints: {
    /** Address for WebSockets, such as `ws://host:8080/ws`. */
    readonly websocket: string
    /** Address for HTTP, such as `http://host:8080`. */
    readonly http?: string
  }
  /** Whether it takes part. A server alone is ACTIVE. */
  readonly status: 'ACTIVE' | 'JOINING' | 'LEAVING' | 'SUSPECTED' | 'FAILED'
}

/** A part of the keys: those whose hash leaves this remainder. */
export interface Partition {
  /** The remainder, from 0 on. */
  readonly partitionId: number
  /** The server that looks after these keys. */
  readonly ownerNodeId: string
  /** The servers that would take its place. */
  readonly backupNodeIds: readonly string[]
}

/** S→C. Every server takes every write: a client that ignores this message loses nothing. */
export interface PartitionMap {
  readonly type: 'PARTITION_MAP'
  readonly payload: {
    /** Greater than those before, also of earlier runs. */
    readonly version: number
    /** How many partitions there are: 271. */
    readonly partitionCount: number
    /** The servers. */
    readonly nodes: readonly PartitionNode[]
    /** One for each remainder. */
    readonly partitions: readonly Partition[]
    /** Milliseconds since 1970. */
    readonly generatedAt: number
  }
}
