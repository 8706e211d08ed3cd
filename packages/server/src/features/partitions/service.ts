import type { PartitionMap } from '@syncline/protocol'

/** Parts into which the keys fall: FNV-1a of the key, modulo this. */
const PARTITIONS = 271

/** Addresses that an operator gave. */
export interface PartitionAddresses {
  readonly websocketUrl?: string | undefined
  readonly httpUrl?: string | undefined
}

/** The map of a deployment of one server, which owns every partition. */
export class PartitionService {
  readonly #nodeId: string
  readonly #version: number
  readonly #addresses: PartitionAddresses
  readonly #partitions: PartitionMap['payload']['partitions']

  constructor(nodeId: string, startedAtMs: number, addresses: PartitionAddresses) {
    this.#nodeId = nodeId
    // Another run may have another address, and begins later.
    this.#version = Math.max(1, Math.floor(startedAtMs))
    this.#addresses = addresses
    this.#partitions = Array.from({ length: PARTITIONS }, (_, partitionId) => ({
      partitionId,
      ownerNodeId: nodeId,
      backupNodeIds: [],
    }))
  }

  /** The map, with the address by which the client came where no other is given; undefined if the client knows it. */
  mapFor(knownVersion: number, hostAndPort: string | undefined): PartitionMap['payload'] | undefined {
    if (knownVersion >= this.#version) return undefined
    const { websocketUrl, httpUrl } = this.#addresses
    const websocket = websocketUrl ?? (hostAndPort === undefined ? '' : `ws://${hostAndPort}/ws`)
    const http = httpUrl ?? (hostAndPort === undefined ? undefined : `http://${hostAndPort}`)
    return {
      version: this.#version,
      partitionCount: PARTITIONS,
      nodes: [
        { nodeId: this.#nodeId, endpoints: { websocket, ...(http === undefined ? {} : { http }) }, status: 'ACTIVE' },
      ],
      partitions: this.#partitions,
      generatedAt: this.#version,
    }
  }

  inspect(): Readonly<Record<string, unknown>> {
    return { version: this.#version, partitionCount: PARTITIONS, nodes: 1 }
  }
}
