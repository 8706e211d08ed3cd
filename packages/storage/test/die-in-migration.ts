// Opens the database named on the command line with two more migrations, and dies in the middle of the second.
import Database from 'better-sqlite3'
import { openDatabase } from '../src/sqlite/open-database.ts'
import { SQLITE_MIGRATIONS } from '../src/sqlite/schema.ts'

const settings = { path: process.argv[2] as string, synchronous: 'full', maxPageCount: undefined } as const
await openDatabase(settings, (file, options) => new Database(file, options), [
  ...SQLITE_MIGRATIONS,
  { version: 2, up: (db) => void db.exec('create table second (a)') },
  {
    version: 3,
    up(db) {
      db.exec('create table third (a)')
      process.kill(process.pid, 'SIGKILL')
    },
  },
])
