import type { OpenStorage, RowKey, StorageAdapter, StorageTransaction, StoreName } from './storage.ts'

/** Rows by store and first part of the key, then by the second. */
type Rows = Map<string, Map<string, unknown>>

let created = 0

/** Keeps data as long as the program runs. Clients that are given the same object share it. */
export function memory(): StorageAdapter {
  const rows: Rows = new Map()
  let last: Promise<unknown> = Promise.resolve()
  const open: OpenStorage = {
    durability: 'memory',
    transaction(_mode, work) {
      const run = last.then(async () => {
        const undo: (() => void)[] = []
        try {
          return await work(transactionOn(rows, undo))
        } catch (error) {
          // Taking a step back is a step itself.
          for (const step of undo.splice(0).reverse()) step()
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

/** Changes rows in place: transactions run one after the other, and one that fails takes its steps back. */
function transactionOn(rows: Rows, undo: (() => void)[]): StorageTransaction {
  const groupOf = (store: StoreName, first: string): Map<string, unknown> => {
    const name = `${store} ${first}`
    let group = rows.get(name)
    if (group === undefined) rows.set(name, (group = new Map()))
    return group
  }
  const set = (store: StoreName, [first, second]: RowKey, value: unknown): void => {
    const group = groupOf(store, first)
    const before = group.get(second)
    undo.push(() => set(store, [first, second], before))
    if (value === undefined) group.delete(second)
    else group.set(second, value)
  }
  return {
    get: async (store, [first, second]) => groupOf(store, first).get(second),
    async entries(store, wanted) {
      const found: [RowKey, unknown][] = []
      for (const [name, group] of rows) {
        const first = name.slice(store.length + 1)
        if (name !== `${store} ${wanted ?? first}`) continue
        for (const [second, value] of group) found.push([[first, second], value])
      }
      return found
    },
    put: set,
    delete: (store, key) => set(store, key, undefined),
    clear(store, first) {
      for (const second of groupOf(store, first).keys()) set(store, [first, second], undefined)
    },
  }
}
