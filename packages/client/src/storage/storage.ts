/** The parts of a client's storage. */
export type StoreName = 'base' | 'cursors' | 'queue' | 'meta'

/** Every row has a key of two parts: map and key, tab and operation, or a name and ''. */
export type RowKey = readonly [string, string]

/** One atomic piece of work. What was put is seen by later reads of the same transaction. */
export interface StorageTransaction {
  get(store: StoreName, key: RowKey): Promise<unknown>
  /** All rows of a store, or those whose key starts with `first`, in any order. */
  entries(store: StoreName, first?: string): Promise<readonly (readonly [RowKey, unknown])[]>
  put(store: StoreName, key: RowKey, value: unknown): void
  delete(store: StoreName, key: RowKey): void
  /** Deletes all rows whose key starts with `first`. */
  clear(store: StoreName, first: string): void
}

/** A storage that has been opened. */
export interface OpenStorage {
  /** What the rows survive: only this object, what the browser grants, or everything but the user's own clearing. */
  readonly durability: 'memory' | 'best-effort' | 'persistent'
  /**
   * Runs `work` in a transaction, and resolves when what it put is stored whole; if it rejects, nothing is. Work may
   * await nothing but the transaction. Transactions that write do so one after the other, those of other tabs included.
   */
  transaction<T>(mode: 'readonly' | 'readwrite', work: (tx: StorageTransaction) => Promise<T>): Promise<T>
  close(): void
}

/** Where a client keeps its data: `memory()`, `indexedDB(name)` or one of your own. */
export interface StorageAdapter {
  /** The same for all tabs that share the data. */
  readonly id: string
  open(): Promise<OpenStorage>
}
