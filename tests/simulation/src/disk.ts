import {
  memoryStorage,
  StorageError,
  type StorageAdapter,
  type StorageFault,
  type StoredRecord,
  type WriteBatch,
} from '@syncline/storage'
import type { Random } from './random.ts'
import type { Process, Scheduler } from './virtual-env.ts'

interface Task {
  readonly process: Process
  readonly batch: WriteBatch | undefined
  readonly run: () => void
  readonly fail: (error: StorageError) => void
}

/** What stands between the server and the disk: a port that mutants wrap. */
export type StorageWrapper = (storage: StorageAdapter) => StorageAdapter

/** Who looks at what reaches the disk. */
export interface DiskWatcher {
  stored(record: StoredRecord): void
  forgotten(record: StoredRecord): void
}

/**
 * The server's disk. What it holds outlives the server's processes; what they handed over and was not flushed when they
 * died is lost, or was written just before. Reading and writing take virtual time.
 */
export class ServerDisk {
  /** Why writes fail at present, if they do. */
  fault: StorageFault | undefined
  /** How long a flush takes at most. */
  slownessMs = 12
  /** Every commit up to here is on disk. */
  durableSeq = 0
  /** Told of what comes to be on disk, and of what is forgotten there. */
  watcher: DiskWatcher | undefined
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly #image = memoryStorage()
  readonly #recordsByMap = new Map<string, Map<string, StoredRecord>>()
  #queue: Task[] = []

  constructor(scheduler: Scheduler, random: Random) {
    this.#scheduler = scheduler
    this.#random = random
  }

  get isIdle(): boolean {
    return this.#queue.length === 0
  }

  /** What is on disk of a key. */
  stored(mapName: string, key: string): StoredRecord | undefined {
    return this.#recordsByMap.get(mapName)?.get(key)
  }

  /** All that is on disk of a map. */
  records(mapName: string): ReadonlyMap<string, StoredRecord> {
    return this.#recordsByMap.get(mapName) ?? new Map<string, StoredRecord>()
  }

  /** The disk as one process of the server sees it. */
  storage(process: Process): StorageAdapter {
    const image = this.#image
    const does = <T>(work: () => T | Promise<T>): Promise<T> => this.#enqueue(process, undefined, work)
    return {
      name: 'disk',
      durable: true,
      open: async (newDatabaseId) => does(() => image.open(newDatabaseId)),
      write: (batch) => this.#enqueue(process, batch, () => this.#write(batch)),
      async *load(mapName) {
        await does(() => undefined)
        for await (const page of image.load(mapName)) {
          for (let at = 0; at < page.length; at += 5) yield await does(() => page.slice(at, at + 5))
        }
      },
      changesSince: (mapName, seq, limit) => does(() => image.changesSince(mapName, seq, limit)),
      get: (key) => does(() => image.get(key)),
      list: (prefix) => does(() => image.list(prefix)),
      close: () => does(() => image.close()),
    }
  }

  /** The process that used the disk has died. What it was writing at that moment may have reached the disk or not. */
  crash(): void {
    const [first] = this.#queue
    this.#queue = []
    if (first?.batch !== undefined && this.fault === undefined && this.#random.chance(0.5)) {
      this.#scheduler.note('disk', `keeps what was being written, up to ${first.batch.seq}`)
      void this.#write(first.batch)
    }
    void this.#image.close()
  }

  #enqueue<T>(process: Process, batch: WriteBatch | undefined, work: () => T | Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!process.isAlive) return
      const run = (): void => {
        Promise.resolve(work()).then(resolve, reject)
      }
      this.#queue.push({ process, batch, run, fail: reject })
      if (this.#queue.length === 1) this.#next()
    })
  }

  #next(): void {
    const [task] = this.#queue
    if (task === undefined) return
    const delayMs = task.batch === undefined ? this.#random.between(0, 2) : this.#random.skewed(0.2, this.slownessMs)
    this.#scheduler.after(delayMs, () => {
      if (this.#queue[0] !== task) return
      if (task.batch !== undefined && this.fault !== undefined) this.#refuse(this.fault)
      else {
        this.#queue.shift()
        this.#scheduler.note('disk', task.batch === undefined ? 'reads' : `wrote up to ${task.batch.seq}`)
        task.run()
      }
      this.#next()
    })
  }

  /** A write fails, and with it every write behind it. */
  #refuse(fault: StorageFault): void {
    const writes = this.#queue.filter(({ batch }) => batch !== undefined)
    this.#queue = this.#queue.filter(({ batch }) => batch === undefined)
    this.#scheduler.note('disk', `fails: ${fault}`)
    // After a failed flush nobody knows what reached the disk.
    const [first] = writes
    if (fault === 'io' && first?.batch !== undefined && this.#random.chance(0.5)) void this.#write(first.batch)
    for (const write of writes) write.fail(new StorageError(fault, `The disk fails: ${fault}.`))
  }

  #write(batch: WriteBatch): ReturnType<StorageAdapter['write']> {
    for (const record of batch.records) {
      let records = this.#recordsByMap.get(record.mapName)
      if (records === undefined) this.#recordsByMap.set(record.mapName, (records = new Map()))
      if ((records.get(record.key)?.seq ?? 0) >= record.seq) continue
      records.set(record.key, record)
      this.watcher?.stored(record)
    }
    for (const { mapName, key, seq } of batch.forget ?? []) {
      const records = this.#recordsByMap.get(mapName)
      const record = records?.get(key)
      if (record === undefined || record.seq > seq) continue
      records?.delete(key)
      this.watcher?.forgotten(record)
    }
    this.durableSeq = Math.max(this.durableSeq, batch.seq)
    return this.#image.write(batch)
  }
}
