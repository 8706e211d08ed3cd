import { resolve } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { StorageAdapter } from '../adapter.ts'
import { sqliteAdapter } from './sqlite-adapter.ts'

/** Options of `sqliteStorage`. */
export interface SqliteStorageOptions {
  /** The database file. It and its folder are made if they are missing. */
  readonly path: string
  /** For tests of storages and servers. */
  readonly testing?: {
    /** When SQLite flushes. Anything but `full`, the default, loses acknowledged writes when power fails. */
    readonly synchronous?: 'full' | 'normal' | 'off'
    /** Pages of 4 KiB that the file may have, so that it is full early. */
    readonly maxPageCount?: number
  }
}

/**
 * Keeps a database in one SQLite file, on a thread of its own, every batch flushed before it counts as written.
 * Needs Node 22.12 or later and the package better-sqlite3, which is loaded when the storage opens.
 */
export function sqliteStorage(options: SqliteStorageOptions): StorageAdapter {
  const { path, testing } = options
  const settings = {
    path: resolve(path),
    synchronous: testing?.synchronous ?? 'full',
    maxPageCount: testing?.maxPageCount,
  } as const
  return sqliteAdapter(settings, startWorker)
}

/** Here and not deeper: only an entry's code stays in the built file of its name, beside `worker.js`. */
function startWorker(): Worker {
  const isSource = import.meta.url.endsWith('.ts')
  const { execArgv } = process
  // A thread inherits what the process was started with, and the type of a text on the command line fits no file.
  const ofText = execArgv.some((argument) => argument.startsWith('--input-type'))
  return new Worker(new URL(isSource ? './worker.ts' : './worker.js', import.meta.url), {
    name: 'syncline-sqlite',
    ...(ofText && { execArgv: execArgv.filter((argument) => argument.startsWith('--conditions=')) }),
  })
}
