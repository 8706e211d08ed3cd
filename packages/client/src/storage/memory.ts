import type { OpenStorage, RowKey, StorageAdapter, StorageTransaction, StoreName } from './storage.ts'

type Rows = Map<string, Map<string, unknown>>

type Change = readonly [store: StoreName, first: string, second: string | undefined, value: unknown]

let created = 0

/** Keeps data as long as the program runs. Clients that are given the same object share it. */
export function memory(): StorageAdapter {
  const stores = new Map<StoreName, Rows>()
  let last: Promise<unknown> = Promise.resolve()
  const open: OpenStorage = {
    durability: 'memory',
    transaction(_mode, work) {
      const run = last.then(async () => {
        const tx = new MemoryTransaction(stores)
        const result = await work(tx)
        tx.commit()
        return result
      })
      last = run.catch(() => {})
      return run
    },
    close() {},
  }
  return { id: `memory-${++created}`, open: async () => open }
}

/** Writes go to an overlay of their own and reach the stores at the end, so that failed work leaves no trace. */
class MemoryTransaction implements StorageTransaction {
  readonly #stores: Map<StoreName, Rows>
  readonly #changes: Change[] = []

  constructor(stores: Map<StoreName, Rows>) {
    this.#stores = stores
  }

  async get(store: StoreName, [first, second]: RowKey): Promise<unknown> {
    for (let i = this.#changes.length; i-- > 0;) {
      const [name, a, b, value] = this.#changes[i] as Change
      if (name === store && a === first && (b === second || b === undefined)) return value
    }
    return this.#stores.get(store)?.get(first)?.get(second)
  }

  async entries(store: StoreName, first?: string): Promise<readonly (readonly [RowKey, unknown])[]> {
    const rows = new Map([...(this.#stores.get(store) ?? [])].map(([name, inner]) => [name, new Map(inner)]))
    for (const change of this.#changes) if (change[0] === store) apply(rows, change)
    const found: [RowKey, unknown][] = []
    for (const [name, inner] of rows) {
      if (first !== undefined && name !== first) continue
      for (const [second, value] of inner) found.push([[name, second], value])
    }
    return found
  }

  put(store: StoreName, [first, second]: RowKey, value: unknown): void {
    this.#changes.push([store, first, second, value])
  }

  delete(store: StoreName, key: RowKey): void {
    this.put(store, key, undefined)
  }

  clear(store: StoreName, first: string): void {
    this.#changes.push([store, first, undefined, undefined])
  }

  commit(): void {
    for (const change of this.#changes) {
      let rows = this.#stores.get(change[0])
      if (rows === undefined) this.#stores.set(change[0], (rows = new Map()))
      apply(rows, change)
    }
  }
}

function apply(rows: Rows, [, first, second, value]: Change): void {
  if (second === undefined) rows.delete(first)
  else if (value === undefined) rows.get(first)?.delete(second)
  else {
    let inner = rows.get(first)
    if (inner === undefined) rows.set(first, (inner = new Map()))
    inner.set(second, value)
  }
}
