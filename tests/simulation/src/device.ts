import {
  preload,
  type LockPort,
  type OpenStorage,
  type RowKey,
  type StorageAdapter,
  type StorageTransaction,
  type StoreName,
  type TabMemory,
} from '@syncline/client'
import type { Random } from './random.ts'
import type { Process, Scheduler } from './virtual-env.ts'

// A virtual clock does not wait for modules: what clients load later is here before the first run.
await preload()

type Rows = Map<string, Map<string, unknown>>
type Change = readonly [store: StoreName, first: string, second: string | undefined, value: unknown]

interface Task {
  readonly process: Process
  readonly work: (tx: DeviceTransaction) => Promise<unknown>
  readonly isWriting: boolean
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

/** What stands between a client and its storage: a port that mutants wrap. */
export type ClientStorageWrapper = (storage: OpenStorage) => OpenStorage

/**
 * The storage that all tabs of one machine share, as IndexedDB does it: transactions one after the other, each whole or
 * not at all, stored when they have resolved. What a tab had not finished when it died is lost, or was stored just before.
 */
export class DeviceStorage {
  /** Transactions that write fail at present. */
  fault: 'full' | 'broken' | undefined
  /** How long a transaction takes at most. */
  slownessMs = 8
  /** Told after each transaction that wrote. */
  onCommit: (() => void) | undefined
  readonly #id: string
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly #stores = new Map<StoreName, Rows>()
  #queue: Task[] = []

  constructor(id: string, scheduler: Scheduler, random: Random) {
    this.#id = id
    this.#scheduler = scheduler
    this.#random = random
  }

  get isIdle(): boolean {
    return this.#queue.length === 0
  }

  /** All rows of a store. */
  rows(store: StoreName): readonly (readonly [RowKey, unknown])[] {
    const found: [RowKey, unknown][] = []
    for (const [first, inner] of this.#stores.get(store) ?? []) {
      for (const [second, value] of inner) found.push([[first, second], value])
    }
    return found
  }

  row(store: StoreName, [first, second]: RowKey): unknown {
    return this.#stores.get(store)?.get(first)?.get(second)
  }

  /** The storage as one tab sees it. */
  adapter(process: Process, wrap: ClientStorageWrapper): StorageAdapter {
    const open: OpenStorage = {
      durability: 'persistent',
      transaction: <T>(mode: 'readonly' | 'readwrite', work: (tx: StorageTransaction) => Promise<T>) =>
        new Promise<T>((resolve, reject) => {
          if (!process.isAlive) return
          this.#queue.push({
            process,
            work,
            isWriting: mode === 'readwrite',
            resolve: resolve as (result: unknown) => void,
            reject,
          })
          if (this.#queue.length === 1) this.#next()
        }),
      close() {},
    }
    return { id: this.#id, open: () => this.#opened(wrap(open)) }
  }

  #opened(open: OpenStorage): Promise<OpenStorage> {
    return new Promise((resolve) => this.#scheduler.after(this.#random.between(0, 5), () => resolve(open)))
  }

  #next(): void {
    const [task] = this.#queue
    if (task === undefined) return
    this.#scheduler.after(this.#random.skewed(0.1, this.slownessMs / 4), () => {
      if (!task.process.isAlive) return this.#done()
      const tx = new DeviceTransaction(this.#stores)
      task.work(tx).then(
        (result) => this.#commit(task, tx, result),
        (error: unknown) => {
          task.reject(error)
          this.#done()
        },
      )
    })
  }

  #commit(task: Task, tx: DeviceTransaction, result: unknown): void {
    const delayMs = task.isWriting ? this.#random.skewed(0.1, this.slownessMs) : 0
    this.#scheduler.after(delayMs, () => {
      const { isAlive, name } = task.process
      if (isAlive && task.isWriting && this.fault !== undefined) {
        this.#scheduler.note(name, `storage fails: ${this.fault}`)
        const error = new Error('The storage fails.')
        if (this.fault === 'full') error.name = 'QuotaExceededError'
        task.reject(error)
      } else if (isAlive || (this.fault === undefined && this.#random.chance(0.5))) {
        if (task.isWriting) this.#scheduler.note(name, `stores ${tx.changes.length} changes`)
        for (const change of tx.changes) apply(this.#stores, change)
        if (task.isWriting) this.onCommit?.()
        if (isAlive) task.resolve(result)
      }
      this.#done()
    })
  }

  #done(): void {
    this.#queue.shift()
    this.#next()
  }
}

class DeviceTransaction implements StorageTransaction {
  readonly changes: Change[] = []
  readonly #stores: Map<StoreName, Rows>

  constructor(stores: Map<StoreName, Rows>) {
    this.#stores = stores
  }

  async get(store: StoreName, [first, second]: RowKey): Promise<unknown> {
    for (let i = this.changes.length; i-- > 0;) {
      const [name, a, b, value] = this.changes[i] as Change
      if (name === store && a === first && (b === second || b === undefined)) return value
    }
    return this.#stores.get(store)?.get(first)?.get(second)
  }

  async entries(store: StoreName, first?: string): Promise<readonly (readonly [RowKey, unknown])[]> {
    const copy = new Map([
      [store, new Map([...(this.#stores.get(store) ?? [])].map(([k, rows]) => [k, new Map(rows)]))],
    ])
    for (const change of this.changes) if (change[0] === store) apply(copy, change)
    const found: [RowKey, unknown][] = []
    for (const [name, inner] of copy.get(store) ?? []) {
      if (first !== undefined && name !== first) continue
      for (const [second, value] of inner) found.push([[name, second], value])
    }
    return found
  }

  put(store: StoreName, [first, second]: RowKey, value: unknown): void {
    this.changes.push([store, first, second, value])
  }

  delete(store: StoreName, [first, second]: RowKey): void {
    this.changes.push([store, first, second, undefined])
  }

  clear(store: StoreName, first: string): void {
    this.changes.push([store, first, undefined, undefined])
  }
}

function apply(stores: Map<StoreName, Rows>, [store, first, second, value]: Change): void {
  let rows = stores.get(store)
  if (rows === undefined) stores.set(store, (rows = new Map()))
  if (second === undefined) rows.delete(first)
  else if (value === undefined) rows.get(first)?.delete(second)
  else {
    let inner = rows.get(first)
    if (inner === undefined) rows.set(first, (inner = new Map()))
    inner.set(second, value)
  }
}

/** The Web Locks of one machine: a tab that dies lets go of all of its own a little later. */
export class DeviceLocks {
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly #holders = new Map<string, Process>()
  /** Who waits for a lock to be free. */
  readonly #waiters = new Map<string, (() => void)[]>()

  constructor(scheduler: Scheduler, random: Random) {
    this.#scheduler = scheduler
    this.#random = random
  }

  port(process: Process): LockPort {
    const soon = <T>(answer: () => T): Promise<T> =>
      new Promise((resolve) => {
        this.#scheduler.after(this.#random.skewed(0.1, 4), () => {
          if (process.isAlive) resolve(answer())
        })
      })
    return {
      tryAcquire: (name) =>
        soon(() => {
          if (this.#holders.has(name)) return undefined
          this.#holders.set(name, process)
          return () => {
            if (this.#holders.get(name) === process) this.#free(name)
          }
        }),
      whenFree: (name, signal) =>
        new Promise((resolve, reject) => {
          const run = (): void => {
            if (!process.isAlive) return
            if (signal.aborted) reject(signal.reason as Error)
            else if (this.#holders.has(name)) this.#waiters.set(name, [...(this.#waiters.get(name) ?? []), later])
            else resolve()
          }
          const later = (): void => void this.#scheduler.after(this.#random.skewed(0.1, 4), run)
          later()
        }),
    }
  }

  /** A tab is gone. */
  died(process: Process): void {
    this.#scheduler.after(this.#random.skewed(0, 20), () => {
      for (const [name, holder] of this.#holders) if (holder === process) this.#free(name)
    })
  }

  #free(name: string): void {
    this.#holders.delete(name)
    const waiters = this.#waiters.get(name) ?? []
    this.#waiters.delete(name)
    for (const run of waiters) run()
  }
}

/** What a tab keeps over its reloads. Its duplicate gets a copy. */
export function tabMemory(values: Map<string, string>): TabMemory {
  return {
    get: (name) => values.get(name),
    set: (name, value) => void (value === undefined ? values.delete(name) : values.set(name, value)),
  }
}
