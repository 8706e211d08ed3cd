import type { StorageFault, StorageState } from '../adapter.ts'
import type { PackedRecords } from './batch-layout.ts'

/** How the database is opened. */
export interface OpenSettings {
  /** The file, as an absolute path. */
  readonly path: string
  readonly synchronous: 'full' | 'normal' | 'off'
  readonly maxPageCount: number | undefined
}

/**
 * A batch on its way to the worker, its records in as many buffers as they need. What is rare travels beside them, with
 * values as JSON text.
 */
export interface PackedBatch {
  readonly records: readonly PackedRecords[]
  readonly seq: number
  readonly rest: PackedRest | undefined
}

/** A batch that could not be packed, and why. It takes its place among the writes, so that none after it is stored. */
export interface UnpackableBatch {
  readonly unpackable: string
}

/** Everything in a batch but its records. */
export interface PackedRest {
  readonly once:
    | { readonly clientId: string; readonly id: string; readonly outcome: string; readonly atMs: number }
    | undefined
  readonly fence: readonly { readonly name: string; readonly token: number }[]
  readonly expect: readonly { readonly mapName: string; readonly key: string; readonly version: number }[]
  readonly unique: readonly PackedClaim[]
  /** A value of `null` deletes. */
  readonly values: readonly (readonly [key: string, json: string | null])[]
  readonly forget: readonly { readonly mapName: string; readonly key: string; readonly seq: number }[]
}

/** A claim whose value is in canonical bytes. */
export interface PackedClaim {
  readonly mapName: string
  readonly field: string
  readonly value: Uint8Array
  readonly key: string
  readonly release: boolean
}

/** What became of a batch. `index` says which of its conditions failed. */
export type PackedResult =
  | { readonly ok: true; readonly seq: number }
  | { readonly ok: false; readonly reason: 'once'; readonly outcome: string }
  | { readonly ok: false; readonly reason: 'fence'; readonly index: number; readonly token: number }
  | { readonly ok: false; readonly reason: 'expect'; readonly index: number; readonly version: number }
  | { readonly ok: false; readonly reason: 'unique'; readonly index: number; readonly holder: string }

/** A stored record's columns; `value` is `null` for a tombstone. */
export type RecordRow = readonly [key: string, seq: number, state: string, value: string | null]

/** Where a page of a map starts: after the record with this seq and key. */
export interface PagePosition {
  readonly seq: number
  readonly key: string
}

/** Each operation of the worker: what it takes, and what it answers. */
export interface WorkerOperations {
  open: { request: { settings: OpenSettings; newDatabaseId: string }; reply: StorageState }
  write: { request: PackedBatch | UnpackableBatch; reply: PackedResult }
  page: { request: { mapName: string; after: PagePosition }; reply: RecordRow[] }
  changes: { request: { mapName: string; seq: number; limit: number }; reply: RecordRow[] }
  get: { request: { key: string }; reply: string | undefined }
  list: { request: { prefix: string }; reply: [key: string, json: string][] }
  close: { request: undefined; reply: undefined }
}

export type OperationName = keyof WorkerOperations

/** A message to the worker, which answers each, in order. */
export type WorkerRequest = {
  [Name in OperationName]: {
    readonly id: number
    /** Number of failed writes that the sender knows of. A worker that failed writes nothing until the sender knows. */
    readonly epoch: number
    readonly name: Name
    readonly request: WorkerOperations[Name]['request']
  }
}[OperationName]

/** The worker's answer to one message. Answers that are ready together are sent together. */
export type WorkerReply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly fault: StorageFault; readonly message: string }
