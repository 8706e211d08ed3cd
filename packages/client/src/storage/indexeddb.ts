import { Buckets, done } from './buckets.ts'
import type { OpenStorage, RowKey, StorageAdapter, StorageTransaction, StoreName } from './storage.ts'

/** Version 1 kept each row of base by itself: such a base is thrown away, and comes again from the server. */
const VERSION = 2
const STORES: readonly StoreName[] = ['base', 'cursors', 'queue', 'meta']

/** Keeps data in the browser's IndexedDB database of this name, shared by all tabs of the site. */
export function indexedDB(name: string): StorageAdapter {
  return { id: name, open: () => openStorage(name) }
}

async function openStorage(name: string): Promise<OpenStorage> {
  let database: IDBDatabase | undefined = await openDatabase(name)
  const isPersistent = await globalThis.navigator?.storage?.persisted?.().catch(() => false)
  return {
    durability: isPersistent ? 'persistent' : 'best-effort',
    async transaction(mode, work) {
      if (database === undefined) database = await openDatabase(name)
      try {
        return await run(database, mode, work)
      } catch (error) {
        // Browsers close connections on their own (a newer version, evicted data, a backgrounded app).
        if ((error as Error).name !== 'InvalidStateError') throw error
        database = undefined
        database = await openDatabase(name)
        return run(database, mode, work)
      }
    },
    close() {
      database?.close()
    },
  }
}

function openDatabase(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = globalThis.indexedDB.open(name, VERSION)
    request.onupgradeneeded = () => {
      const { result: database } = request
      for (const store of database.objectStoreNames) {
        if (store === 'base' || store === 'cursors') database.deleteObjectStore(store)
      }
      for (const store of STORES) if (!database.objectStoreNames.contains(store)) database.createObjectStore(store)
    }
    request.onsuccess = () => {
      const database = request.result
      // Another tab deletes or upgrades the database; it would wait for us for ever.
      database.onversionchange = () => database.close()
      resolve(database)
    }
    request.addEventListener('error', () => reject(request.error))
  })
}

function run<T>(
  database: IDBDatabase,
  mode: IDBTransactionMode,
  work: (tx: StorageTransaction) => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction([...STORES], mode)
    let failure: unknown
    let result: T
    transaction.addEventListener('complete', () => resolve(result))
    // Its own error is why it ended, a full disk for one; whatever was still asked for only hears that it did.
    const end = (): void => reject(transaction.error ?? failure)
    transaction.addEventListener('abort', end)
    const fail = (error: unknown): void => {
      failure ??= error
      try {
        transaction.abort()
      } catch {
        end()
      }
    }
    work(new IndexedDbTransaction(transaction, fail)).then((value) => {
      result = value
    }, fail)
  })
}

class IndexedDbTransaction implements StorageTransaction {
  readonly #transaction: IDBTransaction
  readonly #base: Buckets

  constructor(transaction: IDBTransaction, fail: (error: unknown) => void) {
    this.#transaction = transaction
    this.#base = new Buckets(this.#store('base'), fail)
  }

  get(store: StoreName, key: RowKey): Promise<unknown> {
    return store === 'base' ? this.#base.get(...key) : done(this.#store(store).get(key as unknown as IDBValidKey))
  }

  async entries(store: StoreName, first?: string): Promise<readonly (readonly [RowKey, unknown])[]> {
    const range = first === undefined ? undefined : startingWith(first)
    if (store === 'base') return this.#base.entries(range)
    const [keys, values] = await Promise.all([
      done(this.#store(store).getAllKeys(range)),
      done(this.#store(store).getAll(range)),
    ])
    return keys.map((key, i) => [key as unknown as RowKey, values[i] as unknown] as const)
  }

  put(store: StoreName, key: RowKey, value: unknown): void {
    if (store === 'base') this.#base.put(...key, value)
    else this.#store(store).put(value, key as unknown as IDBValidKey)
  }

  delete(store: StoreName, key: RowKey): void {
    if (store === 'base') this.#base.put(...key, undefined)
    else this.#store(store).delete(key as unknown as IDBValidKey)
  }

  clear(store: StoreName, first: string): void {
    const range = startingWith(first)
    if (store === 'base') this.#base.clear(first, range)
    else this.#store(store).delete(range)
  }

  #store(name: StoreName): IDBObjectStore {
    return this.#transaction.objectStore(name)
  }
}

/** All keys `[first, …]`: an array sorts after every string. */
function startingWith(first: string): IDBKeyRange {
  return IDBKeyRange.bound([first], [first, []])
}
