import { closeSync, fsyncSync, mkdirSync, openSync, realpathSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Database, Options } from 'better-sqlite3'
import { StorageError } from '../adapter.ts'
import { migrate, type Migration } from '../sql/migrations.ts'
import { toStorageError } from './faults.ts'
import type { OpenSettings } from './messages.ts'
import { APPLICATION_ID, SQLITE_MIGRATIONS } from './schema.ts'

/** How long to wait for a process that is just ending, in milliseconds. */
const LOCK_WAIT_MS = 500
/** How long to wait for somebody who writes into the file from outside, in milliseconds. */
const BUSY_WAIT_MS = 5000
const CACHE_KIB = 32 * 1024
/** The log shrinks to this size when it is started over. */
const LOG_LIMIT_BYTES = 64 * 1024 * 1024

/** An open database, and the lock that keeps other servers from it. */
export interface OpenedDatabase {
  readonly db: Database
  readonly lock: Database
}

/** Opens or creates the file, locks it against other servers, and brings its schema up to date. */
export async function openDatabase(
  settings: OpenSettings,
  create: (path: string, options: Options) => Database,
  migrations: readonly Migration<Database>[] = SQLITE_MIGRATIONS,
): Promise<OpenedDatabase> {
  const opened: Database[] = []
  try {
    makeFolder(dirname(settings.path))
    const path = realPath(settings.path)
    const lock = create(`${path}.lock`, { timeout: LOCK_WAIT_MS })
    opened.push(lock)
    takeLock(lock, settings.path)
    const db = create(path, { timeout: BUSY_WAIT_MS })
    opened.push(db)
    // Before anything is changed, so that a file of another kind stays as it is.
    schemaVersion(db, settings.path)
    configure(db, settings)
    await migrate(
      {
        name: settings.path,
        readVersion: () => schemaVersion(db, settings.path),
        async transaction(step) {
          db.exec('begin immediate')
          try {
            await step.up(db)
            db.pragma(`user_version = ${step.version}`)
            db.exec('commit')
          } catch (error) {
            if (db.inTransaction) db.exec('rollback')
            throw error
          }
        },
      },
      migrations,
    )
    return { db, lock }
  } catch (error) {
    for (const each of opened.reverse()) each.close()
    throw toStorageError(error, settings.path, 'open')
  }
}

/**
 * Holds an exclusive lock on a file beside the database for as long as the process lives; the system drops it when the
 * process dies. Not on the database itself, so that it can be queried and backed up while the server runs.
 */
function takeLock(lock: Database, path: string): void {
  try {
    lock.exec('begin exclusive')
  } catch (error) {
    if ((error as { code?: string }).code !== 'SQLITE_BUSY') throw error
    throw new StorageError(
      'unavailable',
      `${path} is in use by another process: stop that server, or give this one a path of its own.`,
      { cause: error },
    )
  }
}

function configure(db: Database, { path, synchronous, maxPageCount }: OpenSettings): void {
  if (maxPageCount !== undefined) db.pragma(`max_page_count = ${maxPageCount}`)
  if (db.pragma('journal_mode = wal', { simple: true }) !== 'wal') {
    throw new StorageError(
      'read-only',
      `The file system of ${path} has no shared memory: choose a path on a local disk.`,
    )
  }
  db.pragma(`synchronous = ${synchronous}`)
  // On macOS a plain fsync leaves data in the disk's own cache.
  db.pragma('fullfsync = on')
  db.pragma('checkpoint_fullfsync = on')
  // SQLite's own checkpoints hide a failed flush and try it again; the worker makes them itself.
  db.pragma('wal_autocheckpoint = 0')
  db.pragma(`journal_size_limit = ${LOG_LIMIT_BYTES}`)
  db.pragma(`cache_size = -${CACHE_KIB}`)
  db.pragma('temp_store = memory')
  db.pragma('cell_size_check = on')
  db.pragma('trusted_schema = off')
}

function schemaVersion(db: Database, path: string): number {
  if (db.pragma('application_id', { simple: true }) === APPLICATION_ID) {
    return db.pragma('user_version', { simple: true }) as number
  }
  const tables = db.prepare('select count(*) from sqlite_schema').pluck().get() as number
  if (tables === 0) return 0
  throw new StorageError('damaged', `${path} is a database of another application: choose another path.`)
}

/** Makes the folder, and flushes its parents, so that a loss of power does not take the new folder with it. */
function makeFolder(folder: string): void {
  const first = mkdirSync(folder, { recursive: true })
  if (first === undefined || process.platform === 'win32') return
  for (let made = folder; ; made = dirname(made)) {
    const parent = openSync(dirname(made), 'r')
    fsyncSync(parent)
    closeSync(parent)
    if (made === first || made === dirname(made)) return
  }
}

/** Follows links, so that two names of one file share one lock. */
function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return path
    throw error
  }
}
