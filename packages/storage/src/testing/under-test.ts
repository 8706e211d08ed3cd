import type { Value } from '@syncline/core'
import type { StorageState, StorageAdapter, StoredRecord, WriteBatch, WriteResult } from '../adapter.ts'
import { storedRecord } from './samples.ts'

/** How the suite gets at the storages it tests. */
export interface StorageContractOptions {
  /** Makes a storage over a new, empty database, and does not open it. */
  create(): StorageAdapter | Promise<StorageAdapter>
  /** Makes another storage over the database of one that was closed. Without it the closed one is opened again. */
  reopen?(closed: StorageAdapter): StorageAdapter | Promise<StorageAdapter>
  /** Makes an open storage fail for good, as a broken disk does. Left out where nothing can fail. */
  breakDown?(storage: StorageAdapter): unknown
  /** Removes the database of a storage that was closed. */
  destroy?(closed: StorageAdapter): void | Promise<void>
  /** Seeds of the random batches. */
  readonly seeds?: readonly number[]
}

/** The storage that a test of the contract works on, over a database of its own. */
export class StorageUnderTest {
  readonly #options: StorageContractOptions
  #storage: StorageAdapter | undefined

  constructor(options: StorageContractOptions) {
    this.#options = options
  }

  /** Opened, over a database that was empty when the test began. */
  get storage(): StorageAdapter {
    if (this.#storage === undefined) throw new Error('No test has begun')
    return this.#storage
  }

  async create(): Promise<void> {
    this.#storage = await this.#options.create()
    await this.#storage.open('first-id')
  }

  async destroy(): Promise<void> {
    await this.storage.close()
    await this.#options.destroy?.(this.storage)
  }

  /** Closes the database and opens it again. */
  readonly reopen = async (newDatabaseId: string = 'other-id'): Promise<StorageState> => {
    await this.storage.close()
    this.#storage = (await this.#options.reopen?.(this.storage)) ?? this.storage
    return this.storage.open(newDatabaseId)
  }

  readonly write = (batch: Partial<WriteBatch> & { seq: number }): Promise<WriteResult> =>
    this.storage.write({ records: [], ...batch })

  readonly load = async (mapName: string): Promise<StoredRecord[]> => {
    const records: StoredRecord[] = []
    for await (const page of this.storage.load(mapName)) records.push(...page)
    return records
  }

  /** Everything that can be seen of the database without closing it. */
  readonly everything = async (): Promise<{
    readonly durableSeq: WriteResult
    readonly records: readonly (readonly StoredRecord[])[]
    readonly values: readonly (readonly [string, Value])[]
  }> => {
    const mapNames = ['todos', 'people', 'new map', 'no map']
    const durableSeq = await this.write({ seq: 0 })
    return {
      durableSeq,
      records: await Promise.all(mapNames.map(this.load)),
      values: await this.storage.list(''),
    }
  }
}

/** A record of the map `todos`. */
export function todo(key: string, seq: number, version: number = 1): StoredRecord {
  return storedRecord('todos', key, seq, `at ${seq}`, { version })
}

export function keysOf(records: readonly StoredRecord[]): string[] {
  return records.map(({ key }) => key)
}
