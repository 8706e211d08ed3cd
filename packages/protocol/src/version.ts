/** The protocol version that this package speaks. */
export const PROTOCOL_VERSION = 1

/** The oldest version that a server of this package accepts. */
export const OLDEST_PROTOCOL_VERSION = 1

/** WebSocket subprotocols that fix the encoding of a connection. */
export const SUBPROTOCOLS = { json: 'syncline.v1.json', msgpack: 'syncline.v1.msgpack' } as const

/**
 * What changed on the wire, newest last. `schemaHash` is a digest of all schemas of this version: a test compares it,
 * so that the wire cannot change without a row here.
 */
export const VERSION_HISTORY: readonly {
  readonly version: number
  readonly schemaHash: string
  readonly reason: string
}[] = [{ version: 1, schemaHash: 'b158b74edc589db0', reason: 'First version.' }]
