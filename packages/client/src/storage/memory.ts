import type { OpenStorage, RowKey, StorageAdapter, StorageTransaction, StoreName } from './storage.ts'

/** The rows of a store by both parts of their keys. */
type Rows = Map<string, Map<string, unknown>>

/** Where a row lay, and what it was before a step. */
type Step = readonly [group: Map<string, unknown>, second: string, before: unknown]

let created = 0

/** Keeps data as long as the program runs. Clients that are given the same object share it. */
export function memory(): StorageAdapter {
  const stores: Record<StoreName, Rows> = { base: new Map(), cursors: new Map(), queue: new Map(), meta: new Map() }
  let last: Promise<unknown> = Promise.resolve()
  const open: OpenStorage = {
    durability: 'memory',
    transaction(_mode, work) {
      const run = last.then(async () => {
        const steps: Step[] = []
        try {
          return await work(transactionOn(stores, steps))
        } catch (error) {
          for (const [group, second, before] of steps.reverse()) put(group, second, before)
          throw error
        }
      })
      last = run.catch(() => {})
      return run
    },
    close() {},
  }
  return { id: `memory-${++created}`, open: async () => open }
}

function put(group: Map<string, unknown>, second: string, value: unknown): void {
  if (value === undefined) group.delete(second)
  else group.set(second, value)
}

/** Changes rows in place: transactions run one after the other, and one that fails takes its steps back. */
function transactionOn(stores: Record<StoreName, Rows>, steps: Step[]): StorageTransaction {
  const set = (store: StoreName, [first, second]: RowKey, value: unknown): void => {
    let group = stores[store].get(first)
    if (group === undefined) stores[store].set(first, (group = new Map()))
    steps.push([group, second, group.get(second)])
    put(group, second, value)
  }
  return {
    get: async (store, [first, second]) => stores[store].get(first)?.get(second),
    async entries(store, wanted) {
      const found: [RowKey, unknown][] = []
      for (const [first, group] of stores[store]) {
        if (wanted !== undefined && wanted !== first) continue
        for (const [second, value] of group) found.push([[first, second], value])
      }
      return found
    },
    put: set,
    delete: (store, key) => set(store, key, undefined),
    clear(store, first) {
      for (const second of stores[store].get(first)?.keys() ?? []) set(store, [first, second], undefined)
    },
  }
}
