import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { StorageError, type StoredRecord } from '../adapter.ts'
import { SAMPLE_RECORDS, storedRecord } from '../testing/samples.ts'
import { sqliteStorage } from './index.ts'
import { openDatabase } from './open-database.ts'
import { SQLITE_MIGRATIONS } from './schema.ts'

let folder: string
let path: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'syncline-open-'))
  path = join(folder, 'data.db')
})

afterEach(() => {
  rmSync(folder, { recursive: true })
})

const settings = () => ({ path, synchronous: 'full', maxPageCount: undefined }) as const

async function withDatabase<Result>(
  look: (db: Database.Database) => Result,
  migrations = SQLITE_MIGRATIONS,
): Promise<Result> {
  const { db, lock } = await openDatabase(settings(), (file, options) => new Database(file, options), migrations)
  try {
    return look(db)
  } finally {
    db.close()
    lock.close()
  }
}

describe('settings', () => {
  it('INV-6: writes through a log that is flushed at every commit, and leaves checkpoints to the worker', async () => {
    await withDatabase((db) => {
      const pragma = (name: string) => db.pragma(name, { simple: true })
      expect(pragma('journal_mode')).toBe('wal')
      expect(pragma('synchronous')).toBe(2)
      expect(pragma('fullfsync')).toBe(1)
      expect(pragma('checkpoint_fullfsync')).toBe(1)
      expect(pragma('wal_autocheckpoint')).toBe(0)
    })
  })

  it('keeps the log short while it is written to', async () => {
    const storage = sqliteStorage({ path })
    await storage.open('id')
    for (let seq = 1; seq <= 100; seq++) {
      await storage.write({ seq, records: [storedRecord('m', `k${seq}`, seq, 'x'.repeat(250_000))] })
    }
    expect(statSync(`${path}-wal`).size).toBeLessThan(8 * 1024 * 1024)
    await storage.close()
    expect(statSync(path).size).toBeGreaterThan(25_000_000)
  })
})

describe('migrations', () => {
  it('opens a database of version 1, with everything that it held', async () => {
    copyFileSync(new URL('../../test/fixtures/version-1.db', import.meta.url), path)
    const storage = sqliteStorage({ path })
    expect(await storage.open('another id')).toEqual({
      databaseId: 'fixture',
      durableSeq: 12,
      mapNames: ['todos', 'Ⓜ️'],
    })
    const records: StoredRecord[] = []
    for await (const page of storage.load('Ⓜ️')) records.push(...page)
    expect(records).toStrictEqual(
      SAMPLE_RECORDS.map((record, i) => storedRecord('Ⓜ️', `k${i}`, i + 1, null, { record })),
    )
    expect(await storage.changesSince('todos', 0, 9)).toStrictEqual([
      storedRecord('todos', 'a', 12, { title: 'Buy milk' }),
    ])
    expect(await storage.list('')).toStrictEqual([
      ['clock', { millis: 7 }],
      ['photo', new Uint8Array([1, 2, 3])],
    ])
    const write = { records: [], seq: 13 }
    const claim = { mapName: 'people', field: 'email', value: 'ann@example.org', key: 'bob' }
    expect(await storage.write({ ...write, unique: [claim] })).toMatchObject({ reason: 'unique', holder: 'ann' })
    expect(await storage.write({ ...write, fence: [{ name: 'lock', token: 4 }] })).toMatchObject({
      reason: 'fence',
      token: 5,
    })
    const once = { clientId: 'c', id: 'i', outcome: 2, atMs: 9 }
    expect(await storage.write({ ...write, once })).toMatchObject({ reason: 'once', outcome: { rows: 1 } })
    await storage.close()
  })

  it('refuses a newer schema with both versions, and touches nothing', async () => {
    await withDatabase((db) => db.pragma('user_version = 9'))
    const before = readFileSync(path)
    const error: unknown = await sqliteStorage({ path })
      .open('id')
      .catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(StorageError)
    expect(error).toMatchObject({
      fault: 'newer-schema',
      message: `${path} has schema version 9, which a newer Syncline made, and this one knows versions up to 1: upgrade Syncline.`,
    })
    expect(readFileSync(path).equals(before)).toBe(true)
  })

  const twoMore = (third: (db: Database.Database) => void) => [
    ...SQLITE_MIGRATIONS,
    { version: 2, up: (db: Database.Database) => void db.exec('create table second (a)') },
    {
      version: 3,
      up(db: Database.Database) {
        db.exec('create table third (a)')
        third(db)
      },
    },
  ]
  const tablesAndVersion = (db: Database.Database) => ({
    tables: db.prepare(`select name from sqlite_schema where name in ('second', 'third') order by name`).pluck().all(),
    version: db.pragma('user_version', { simple: true }),
  })

  it('leaves no trace of a step that fails, keeps those before it, and goes on from there', async () => {
    const failing = twoMore(() => {
      throw new StorageError('full', 'no space')
    })
    await expect(withDatabase(() => undefined, failing)).rejects.toMatchObject({ fault: 'full' })
    const db = new Database(path)
    expect(tablesAndVersion(db)).toEqual({ tables: ['second'], version: 2 })
    db.close()
    expect(
      await withDatabase(
        tablesAndVersion,
        twoMore(() => undefined),
      ),
    ).toEqual({ tables: ['second', 'third'], version: 3 })
  })

  it('goes on after a process that was killed in the middle of a step', async () => {
    const child = fileURLToPath(new URL('../../test/die-in-migration.ts', import.meta.url))
    const run = spawnSync(process.execPath, ['--conditions=@syncline/source', child, path], { encoding: 'utf8' })
    expect(run).toMatchObject({ signal: 'SIGKILL', stderr: '' })
    const db = new Database(path)
    expect(tablesAndVersion(db)).toEqual({ tables: ['second'], version: 2 })
    db.close()
    expect(
      await withDatabase(
        tablesAndVersion,
        twoMore(() => undefined),
      ),
    ).toEqual({ tables: ['second', 'third'], version: 3 })
  })
})
