import type { LwwRecord, Stamp, Value } from '@syncline/core'

/** A record as the server keeps it. */
export interface StoredRecord {
  readonly mapName: string
  readonly key: string
  readonly record: LwwRecord
  /** Position of the commit that made the record what it is. Positive, and different for every commit of a database. */
  readonly seq: number
  /** When the server took that commit in. Rises with `seq`. */
  readonly arrival: Stamp
  /** Number of the record's commits on the server, for `expect`. */
  readonly version: number
}

/** A record that must have this version for a batch to be written; version 0 means that it must not exist. */
export interface Expectation {
  readonly mapName: string
  readonly key: string
  readonly version: number
}

/**
 * A value of a unique field, and the record that wants to hold it (or, released, held it). Values are the same when
 * their canonical bytes are. Releasing what another record holds changes nothing.
 */
export interface UniqueClaim {
  readonly mapName: string
  readonly field: string
  readonly value: Value
  readonly key: string
  readonly release?: true
}

/** How long a storage remembers an id at least, counted by the `atMs` of later marks. */
export const ONCE_RETENTION_MS = 86_400_000

/**
 * An id under which a batch happens at most once, and what to answer to a repetition. Storages forget marks by
 * themselves, some writes after a mark arrives that is more than `ONCE_RETENTION_MS` younger.
 */
export interface OnceMark {
  readonly clientId: string
  readonly id: string
  readonly outcome: Value
  readonly atMs: number
}

/** A lock's fencing token under which a batch writes. Refused if a greater one was used for that lock before. */
export interface FenceToken {
  readonly name: string
  readonly token: number
}

/**
 * A set of changes that is written whole or not at all. Conditions are checked in the order `once`, `fence`, `expect`,
 * `unique`, and the first that fails is answered: a repetition gets its first outcome, whatever else has changed since.
 */
export interface WriteBatch {
  /** At most one entry for each map and key. A stored record with a greater `seq` is left as it is, silently. */
  readonly records: readonly StoredRecord[]
  /** Every commit up to this one is stored when the batch is. Not less than any `seq` in `records`. */
  readonly seq: number
  /** Versions before the batch. A tombstone is a record and has one. */
  readonly expect?: readonly Expectation[]
  /** Releases are carried out before claims, so that a batch can hand a value from one record to another. */
  readonly unique?: readonly UniqueClaim[]
  readonly once?: OnceMark
  readonly fence?: readonly FenceToken[]
  /** Key-value pairs written with it. `null` deletes. */
  readonly values?: Readonly<Record<string, Value>>
  /** Records forgotten after the rest (pruned tombstones), where their stored `seq` is not greater than given here. */
  readonly forget?: readonly { readonly mapName: string; readonly key: string; readonly seq: number }[]
}

/** What became of a batch. Refusals leave no trace. */
export type WriteResult =
  /** Written. Every commit up to `seq` is stored. */
  | { readonly ok: true; readonly seq: number }
  | { readonly ok: false; readonly reason: 'expect'; readonly failed: Expectation; readonly version: number }
  | { readonly ok: false; readonly reason: 'unique'; readonly failed: UniqueClaim; readonly holder: string }
  | { readonly ok: false; readonly reason: 'once'; readonly outcome: Value }
  | { readonly ok: false; readonly reason: 'fence'; readonly failed: FenceToken; readonly token: number }

/** What a storage says of itself when it opens. */
export interface StorageState {
  /** Names the database for ever: given at creation, kept since. */
  readonly databaseId: string
  /** Every commit up to here is stored. 0 in a new database. */
  readonly durableSeq: number
  /** The names of all maps that hold records. */
  readonly mapNames: readonly string[]
}

/** Why a storage cannot do what it was asked for. */
export type StorageFault =
  /** No space. Reads go on; the batch may be written again later. */
  | 'full'
  /** The database cannot be reached or is locked by another process. The batch may be written again later. */
  | 'unavailable'
  /** The folder or file may not be written. */
  | 'read-only'
  /** A newer version of Syncline made the file. */
  | 'newer-schema'
  /** Stored data cannot be understood. It is not served. */
  | 'damaged'
  /**
   * This program failed and not the disk: an error in it, or no memory. Nothing of it is stored, and what is on disk is
   * known. The batch may be written again later.
   */
  | 'internal'
  /** A read, write or flush of the disk failed. What is on disk is unknown: the process must end. */
  | 'io'

/** A failure of storage, in one sentence that names cause and fix. */
export class StorageError extends Error {
  readonly fault: StorageFault
  constructor(fault: StorageFault, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StorageError'
    this.fault = fault
  }
}

/** The errors that JavaScript itself makes. No disk makes one of these. */
const SLIPS = [RangeError, TypeError, ReferenceError, SyntaxError]

/**
 * What an error means that came out of a storage. Adapters reject with `StorageError` alone; of one that does not, only
 * an error that JavaScript itself makes is `internal`, and for any other the disk may have failed.
 */
export function faultOf(error: unknown): StorageFault {
  if (error instanceof StorageError) return error.fault
  return SLIPS.some((slip) => error instanceof slip) ? 'internal' : 'io'
}

/**
 * Where a server keeps its records. One server uses it at a time. Every method rejects with `StorageError`, before
 * `open` and after `close` too. `@syncline/storage/testing` holds the suite that every adapter passes.
 *
 * Calls are carried out in order, and several may be under way: a read sees every write that was called before it.
 * Order of text is that of its UTF-8 bytes.
 */
export interface StorageAdapter {
  /** The adapter's name, for messages. */
  readonly name: string
  /** A resolved `write` survives the loss of power. */
  readonly durable: boolean
  /**
   * Opens or creates the database and brings its schema up to date. `newDatabaseId` names it if it is new.
   * A storage that was closed can be opened again.
   *
   * `onFatal` is called once if the storage fails for good after it has opened, as soon as that is known and whatever
   * it was doing: a write, a read, or work of its own that nobody waits for. Every call rejects from then on. Neither
   * refusals nor faults that may pass call it, nor does `close`.
   */
  open(newDatabaseId: string, onFatal?: (error: StorageError) => void): Promise<StorageState>
  /**
   * Writes a batch, atomically. When it resolves with `ok: true` and the adapter is durable, the batch is flushed.
   * The batch must not change before it resolves. When a write rejects, nothing of it is stored, unless the fault is
   * `io`; and every write that was called after it, up to the moment it rejected, rejects too: a later commit is
   * never stored without an earlier one. The caller writes them again, in order.
   */
  write(batch: WriteBatch): Promise<WriteResult>
  /**
   * All records of a map, tombstones included, in pages, by seq and then key. A record written meanwhile comes with its
   * old or its new state, or first with the old and later with the new.
   */
  load(mapName: string): AsyncIterable<readonly StoredRecord[]>
  /**
   * Records of a map whose seq is greater than `seq`, by seq and then key: `limit` of them, and what else the last
   * one's commit wrote, so that a reader can go on from the last seq. Fewer than `limit` means that there are no more.
   */
  changesSince(mapName: string, seq: number, limit: number): Promise<readonly StoredRecord[]>
  /** Reads a stored value by key, `null` where there is none. */
  get(key: string): Promise<Value>
  /** Values whose key starts with a prefix, in key order. */
  list(prefix: string): Promise<readonly (readonly [key: string, value: Value])[]>
  /** Finishes what was handed over and closes. Closing what is not open does nothing. */
  close(): Promise<void>
}
