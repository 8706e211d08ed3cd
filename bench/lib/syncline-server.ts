// A Syncline server as a process of its own.
import { rmSync } from 'node:fs'
import { createServer, type ServerOptions } from '@syncline/server'
import { memoryStorage, type StorageAdapter } from '@syncline/storage'
import { answer, processArguments } from './remote.ts'

/** What the process is started with. */
export interface SynclineServerArguments {
  /** `none` keeps records in the server's own maps only. */
  readonly storage?: 'none' | 'memory' | { readonly sqlite: string }
  readonly options?: ServerOptions
}

const { storage = 'none', options } = processArguments() as SynclineServerArguments

async function openStorage(): Promise<StorageAdapter | undefined> {
  if (storage === 'none') return undefined
  if (storage === 'memory') return memoryStorage()
  const { sqliteStorage } = await import('@syncline/storage/sqlite')
  return sqliteStorage({ path: storage.sqlite })
}

const adapter = await openStorage()
const server = createServer({ ...options, ...(adapter === undefined ? {} : { storage: adapter }) })
await server.ready()

answer({
  port: () => server.port,
  collectGarbage: () => globalThis.gc?.(),
  async stop() {
    await server.shutdown()
    if (typeof storage === 'object') rmSync(storage.sqlite, { force: true })
  },
})
