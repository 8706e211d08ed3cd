import type { Encoding, Frame } from '@syncline/protocol'
import type { Connection } from './connection.ts'
import type { ClientStorageWrapper } from './device.ts'
import type { StorageWrapper } from './disk.ts'
import type { PlainQuery } from './live-queries.ts'
import type { Role } from './users.ts'

/** Changes a frame on its way; `undefined` drops it. */
export type FrameWrapper = (frame: Frame, connection: Connection) => Frame | undefined

/** What a mutant puts between the parts of the world, instead of nothing. */
export interface Wrappers {
  readonly serverStorage?: StorageWrapper
  readonly clientStorage?: ClientStorageWrapper
  /** What the server sends, before the oracle sees it: faults of the server. */
  readonly fromServer?: FrameWrapper
  /** What clients are given, after the oracle has seen it: faults of the client. */
  readonly toClient?: FrameWrapper
}

/** How a run of the world is set up. */
export interface WorldOptions {
  readonly machines: readonly {
    readonly clockOffsetMs: number
    readonly driftPpm: number
    readonly tabs: number
    readonly role: Role
    readonly hasLocks: boolean
  }[]
  /** How often the server clears away what has ended. */
  readonly gcIntervalMs: number
  /** Records in a page of a diff. */
  readonly pageRecords: number
  /** How long a flush of the server's disk takes at most, and a transaction of a machine's storage. */
  readonly diskSlownessMs: number
  readonly storageSlownessMs: number
  readonly bareClients: readonly {
    readonly encoding: Encoding
    readonly role: Role
    readonly queries: readonly PlainQuery[]
    /** It follows a live search. */
    readonly searches: boolean
  }[]
  /** Live queries of every tab. */
  readonly tabQueries: readonly PlainQuery[]
  /** The server asks who speaks. Tokens are good for so long; undefined is for ever. */
  readonly signIn: { readonly tokenMs: number | undefined } | undefined
  /** Tabs publish, listen, and see each other in a room. */
  readonly gathers: boolean
  /** Tabs ask for locks. */
  readonly usesLocks: boolean
  /** Tabs share a set and a counter. */
  readonly hasTallies: boolean
  /** Some values are large: as many as a page, a push or a batch holds. */
  readonly isBulky: boolean
}
