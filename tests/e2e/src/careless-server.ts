// A server that breaks its promises in one way, for the tests that show that the audit of kill -9 finds it.
// node careless-server.ts <way> <database file> <secret>

import { createServer } from '@syncline/server'
import type { StorageAdapter, WriteBatch, WriteResult } from '@syncline/storage'
import { sqliteStorage } from '@syncline/storage/sqlite'

/** How a careless server is careless. */
export type Way = 'hasty' | 'unflushed' | 'forgetful' | 'unordered'

/** Batches that a hasty storage owes: so many that a kill finds some, however soon the next batch follows. */
const OWED_BATCHES = 16

/** Says that a batch is written as soon as it has it, and hands it on when many more have come. */
function hasty(storage: StorageAdapter): StorageAdapter {
  const owed: WriteBatch[] = []
  const handOn = async (left: number): Promise<void> => {
    while (owed.length > left) await storage.write(owed.shift() as WriteBatch)
  }
  return {
    ...storage,
    async write(batch): Promise<WriteResult> {
      if (batch.records.length === 0) {
        await handOn(0)
        return storage.write(batch)
      }
      owed.push(structuredClone(batch))
      await handOn(OWED_BATCHES)
      return { ok: true, seq: batch.seq }
    },
    async close() {
      await handOn(0)
      await storage.close()
    },
  }
}

/** Does not keep what the server sets aside ahead of use: after a crash the same seqs and versions are given out again. */
function forgetful(storage: StorageAdapter): StorageAdapter {
  return { ...storage, write: (batch) => storage.write({ ...batch, values: {} }) }
}

/** Writes the later half of a batch first, in a transaction of its own. */
function unordered(storage: StorageAdapter): StorageAdapter {
  return {
    ...storage,
    async write(batch) {
      const middle = batch.records.length >> 1
      await storage.write({ ...batch, records: batch.records.slice(middle) })
      return storage.write({ ...batch, records: batch.records.slice(0, middle) })
    },
  }
}

const [way, path, jwtSecret] = process.argv.slice(2) as [Way, string, string]
const storages: Record<Way, () => StorageAdapter> = {
  hasty: () => hasty(sqliteStorage({ path })),
  // SQLite would not flush its log before it answers, and says so; this passes it off as durable.
  unflushed: () => ({ ...sqliteStorage({ path, testing: { synchronous: 'normal' } }), durable: true }),
  forgetful: () => forgetful(hasty(sqliteStorage({ path }))),
  unordered: () => unordered(sqliteStorage({ path })),
}
const server = createServer({ host: '127.0.0.1', port: 0, jwtSecret, storage: storages[way](), logLevel: 'error' })
for (const event of ['SIGTERM', 'disconnect'])
  process.on(event, () => void server.shutdown().then(() => process.exit(0)))
await server.ready()
process.stdout.write(`PORT=${server.port}\n`)
