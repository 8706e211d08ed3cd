import type { Worker } from 'node:worker_threads'
import { StorageError, type StorageAdapter, type StorageState, type StoredRecord } from '../adapter.ts'
import { parseRecord, parseValue } from '../sql/body.ts'
import { buffersOf } from './batch-layout.ts'
import type { OpenSettings, PagePosition, RecordRow } from './messages.ts'
import { packBatch, unpackResult } from './pack-batch.ts'
import { WorkerLink } from './worker-link.ts'

/** The adapter, over a worker that `startWorker` gives. */
export function sqliteAdapter(settings: OpenSettings, startWorker: () => Worker): StorageAdapter {
  const { path } = settings
  let link: WorkerLink | undefined
  let state: 'closed' | 'opening' | 'open' | 'closing' = 'closed'
  /** Settles when the latest `open` or `close` is done. */
  let transition: Promise<unknown> = Promise.resolve()

  const opened = (): WorkerLink => {
    if (link === undefined || state !== 'open') {
      throw new StorageError('unavailable', `${path} is not open: call open() first, and nothing after close().`)
    }
    return link
  }

  const open = async (newDatabaseId: string, onFatal?: (error: StorageError) => void): Promise<StorageState> => {
    state = 'opening'
    link = new WorkerLink(startWorker(), path)
    try {
      const found = await link.ask('open', { settings, newDatabaseId })
      link.onBroken = onFatal
      state = 'open'
      return found
    } catch (error) {
      await link.end()
      state = 'closed'
      throw error
    }
  }

  const close = async (worker: WorkerLink): Promise<void> => {
    state = 'closing'
    try {
      await worker.ask('close', undefined)
    } finally {
      await worker.end()
      state = 'closed'
    }
  }

  const recordOf = (mapName: string, [key, seq, recordState, value]: RecordRow): StoredRecord => {
    try {
      return parseRecord(mapName, key, seq, recordState, value)
    } catch (cause) {
      const which = `record ${JSON.stringify(key)} of map ${JSON.stringify(mapName)}`
      throw damaged(path, which, cause)
    }
  }

  return {
    name: 'sqlite',
    durable: settings.synchronous === 'full',

    async open(newDatabaseId, onFatal) {
      if (state !== 'closed')
        throw new StorageError('unavailable', `${path} is open already: one server uses it at a time.`)
      requireNode()
      const opening = open(newDatabaseId, onFatal)
      transition = opening.catch(() => undefined)
      return opening
    },

    async write(batch) {
      const worker = opened()
      const packed = packBatch(batch)
      const result = await worker.ask('write', packed, buffersOf(packed))
      try {
        return unpackResult(result, batch)
      } catch (cause) {
        throw damaged(path, `the outcome of ${JSON.stringify(batch.once?.id)}`, cause)
      }
    },

    async *load(mapName) {
      let rows = await opened().ask('page', { mapName, after: { seq: 0, key: '' } })
      while (rows.length > 0) {
        const [key, seq] = rows.at(-1) as RecordRow
        const after: PagePosition = { seq, key }
        // The worker reads the next page while this one is taken in.
        const next = opened().ask('page', { mapName, after })
        next.catch(() => undefined)
        yield rows.map((row) => recordOf(mapName, row))
        rows = await next
      }
    },

    async changesSince(mapName, seq, limit) {
      const rows = await opened().ask('changes', { mapName, seq, limit })
      return rows.map((row) => recordOf(mapName, row))
    },

    async get(key) {
      const json = await opened().ask('get', { key })
      return json === undefined ? null : valueOf(path, key, json)
    },

    async list(prefix) {
      const found = await opened().ask('list', { prefix })
      return found.map(([key, json]) => [key, valueOf(path, key, json)] as const)
    },

    async close() {
      if (state === 'opening') await transition
      if (state === 'open') transition = close(opened())
      await transition
    },
  }
}

function valueOf(path: string, key: string, json: string) {
  try {
    return parseValue(json)
  } catch (cause) {
    throw damaged(path, `the value of ${JSON.stringify(key)}`, cause)
  }
}

function damaged(path: string, what: string, cause: unknown): StorageError {
  return new StorageError(
    'damaged',
    `${path} is damaged: ${what} cannot be understood. Restore the file from a backup.`,
    {
      cause,
    },
  )
}

/** better-sqlite3 crashes the process on a Node that it was not built for, before it can say so. */
function requireNode(): void {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > 22 || (major === 22 && minor >= 12)) return
  throw new StorageError(
    'unavailable',
    `SQLite storage needs Node 22.12 or later, and this is ${process.versions.node}: install a newer Node.`,
  )
}
