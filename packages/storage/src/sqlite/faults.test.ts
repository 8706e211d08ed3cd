import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { Value } from '@syncline/core'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { StorageError, type StorageAdapter, type StorageFault, type StoredRecord } from '../adapter.ts'
import { storedRecord } from '../testing/samples.ts'
import { toStorageError } from './faults.ts'
import { sqliteStorage } from './index.ts'
import { sqliteAdapter } from './sqlite-adapter.ts'

let folder: string
let path: string
const openStorages: StorageAdapter[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'syncline-faults-'))
  path = join(folder, 'data.db')
})

afterEach(async () => {
  await Promise.allSettled(openStorages.splice(0).map((storage) => storage.close()))
  chmodSync(folder, 0o700)
  rmSync(folder, { recursive: true })
})

async function opened(storage: StorageAdapter = sqliteStorage({ path })): Promise<StorageAdapter> {
  await storage.open('id')
  openStorages.push(storage)
  return storage
}

async function faultOf(call: Promise<unknown>): Promise<StorageError> {
  const error = await call.then(
    () => 'nothing failed',
    (reason: unknown) => reason,
  )
  if (!(error instanceof StorageError)) throw new Error('no StorageError', { cause: error })
  return error
}

/** One sentence of cause and fix that names the file. */
function expectFault(error: StorageError, fault: StorageFault, ...words: string[]): void {
  expect(error.fault).toBe(fault)
  for (const word of [path, ...words]) expect(error.message).toContain(word)
}

async function load(storage: StorageAdapter, mapName: string): Promise<StoredRecord[]> {
  const records: StoredRecord[] = []
  for await (const page of storage.load(mapName)) records.push(...page)
  return records
}

const runTool = (tool: string, ...parameters: string[]) => execFileSync(tool, parameters)
const large = (key: string, seq: number, bytes = 60_000) => storedRecord('m', key, seq, 'x'.repeat(bytes))
const inPlace = (change: (db: Database.Database) => void): void => {
  const db = new Database(path)
  change(db)
  db.close()
}

describe('no space left', () => {
  /** Writes until it fails with `full`; then tries to go on, makes space and goes on. */
  const fillAndRecover = async (storage: StorageAdapter, makeSpace: (seq: number) => unknown): Promise<void> => {
    let seq = 1
    for (; seq < 1000; seq++) {
      const result = storage.write({ seq, records: [large(`k${seq}`, seq)], values: { last: seq } })
      if (
        (await result.then(
          () => 'ok',
          () => 'failed',
        )) === 'failed'
      )
        break
    }
    // Of several under way, none is written after one that failed, even if it is small enough.
    const lost = storedRecord('first new map', 'lost', seq + 1, 'x'.repeat(9_000_000))
    const tooLarge = storage.write({ seq: seq + 1, records: [lost] })
    const small = [2, 3].map((n) =>
      storage.write({ seq: seq + n, records: [storedRecord('m', `small ${n}`, seq + n, n)] }),
    )
    for (const write of [tooLarge, ...small]) expectFault(await faultOf(write), 'full', 'free some')
    expect((await load(storage, 'm')).map(({ key }) => key)).toEqual(
      Array.from({ length: seq - 1 }, (_, i) => `k${i + 1}`),
    )
    expect(await storage.get('last')).toBe(seq - 1)
    await makeSpace(seq)
    const inMaps = ['m', 'second new map', 'first new map'].map((mapName) =>
      storedRecord(mapName, 'after', seq + 4, mapName),
    )
    expect(await storage.write({ seq: seq + 4, records: inMaps })).toEqual({ ok: true, seq: seq + 4 })
    await storage.close()
    const mapNames = ['first new map', 'm', 'second new map']
    expect(await storage.open('id')).toMatchObject({ durableSeq: seq + 4, mapNames })
    expect((await load(storage, 'm')).at(-1)).toStrictEqual(inMaps[0])
    expect(await load(storage, 'second new map')).toStrictEqual([inMaps[1]])
    expect(await load(storage, 'first new map')).toStrictEqual([inMaps[2]])
  }

  it('INV-8: a full database refuses with `full`, serves reads, and takes the batch when there is space', async () => {
    const storage = await opened(sqliteStorage({ path, testing: { maxPageCount: 400 } }))
    await fillAndRecover(storage, (seq) => {
      return storage.write({ seq, records: [], forget: ['k1', 'k2', 'k3'].map((key) => ({ mapName: 'm', key, seq })) })
    })
  })

  it('INV-8: a full disk refuses with `full`, and takes the batch when there is space', async ({ skip }) => {
    const disk = join(folder, 'disk')
    mkdirSync(disk)
    // Root may mount, unless a container keeps it from that.
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', disk]).status !== 0) skip('needs root on Linux')
    try {
      path = join(disk, 'data.db')
      writeFileSync(join(disk, 'ballast'), new Uint8Array(3_000_000))
      const storage = await opened()
      await fillAndRecover(storage, () => rmSync(join(disk, 'ballast')))
      await storage.close()
    } finally {
      runTool('umount', disk)
    }
  })
})

describe('a disk that fails', () => {
  const child = fileURLToPath(new URL('../../test/fill-disk.ts', import.meta.url))

  // A limit on the size of files makes the kernel fail a write, as a broken disk does: the log's, or a checkpoint's.
  it.skipIf(process.platform === 'win32').each([
    ['into the log', 3_000, 0, 'io', 'io, asked'],
    ['of a checkpoint', 10_000, 20, 'none', 'io, unasked'],
  ])(
    'INV-8: a failed write %s ends the storage: onFatal is called at once, every later call rejects, and nothing acknowledged is lost',
    async (_what, kilobytes, restMs, expected, expectedFatal) => {
      const run = spawnSync('bash', [
        '-c',
        `ulimit -f ${kilobytes}; exec "$@"`,
        'bash',
        process.execPath,
        '--conditions=@syncline/source',
        child,
        path,
        String(restMs),
      ])
      expect(String(run.stderr)).toBe('')
      const { written, ...met } = JSON.parse(String(run.stdout)) as { written: number }
      expect(met).toEqual({ fault: expected, fatal: [expectedFatal], after: ['io', 'io', 'io', 'io'] })
      expect(written).toBeGreaterThan(10)
      const storage = await opened()
      const records = await load(storage, 'm')
      const durableSeq = records.at(-1)?.seq ?? 0
      expect(durableSeq).toBeGreaterThanOrEqual(written)
      expect(records).toHaveLength(durableSeq * 10)
    },
  )

  it('INV-8: a thread that dies rejects what is under way and every later call with `io`', async () => {
    const workers: Worker[] = []
    const settings = { path, synchronous: 'full', maxPageCount: undefined } as const
    const storage = await opened(
      sqliteAdapter(settings, () => {
        const worker = new Worker(new URL('./worker.ts', import.meta.url))
        workers.push(worker)
        return worker
      }),
    )
    await storage.write({ seq: 1, records: [large('a', 1)] })
    const underWay = [faultOf(storage.write({ seq: 2, records: [] })), faultOf(storage.get('a'))]
    await workers[0]?.terminate()
    for (const error of await Promise.all(underWay)) expectFault(error, 'io', 'start again')
    expectFault(await faultOf(storage.write({ seq: 3, records: [] })), 'io')
    expectFault(await faultOf(load(storage, 'm')), 'io')
    expectFault(await faultOf(storage.close()), 'io')
    expect(await load(await opened(), 'm')).toHaveLength(1)
  })

  it.each([
    ['SQLITE_IOERR_FSYNC', 'io'],
    ['SQLITE_IOERR_WRITE', 'io'],
    ['SQLITE_IOERR_READ', 'io'],
    ['SQLITE_IOERR_NOMEM', 'io'],
    ['SQLITE_NOVELTY', 'io'],
    ['EIO', 'io'],
    ['SQLITE_NOMEM', 'internal'],
    ['SQLITE_MISUSE', 'internal'],
    ['SQLITE_TOOBIG', 'internal'],
    ['ERR_STRING_TOO_LONG', 'internal'],
    ['ERR_INVALID_ARG_TYPE', 'internal'],
    ['SQLITE_FULL', 'full'],
    ['SQLITE_IOERR_SHMSIZE', 'full'],
    ['ENOSPC', 'full'],
    ['SQLITE_BUSY', 'unavailable'],
    ['SQLITE_BUSY_SNAPSHOT', 'unavailable'],
    ['SQLITE_READONLY_DBMOVED', 'read-only'],
    ['SQLITE_CANTOPEN_ISDIR', 'read-only'],
    ['EROFS', 'read-only'],
    ['SQLITE_CORRUPT_INDEX', 'damaged'],
    ['SQLITE_NOTADB', 'damaged'],
    ['SQLITE_ERROR', 'damaged'],
    ['', 'internal'],
  ] as const)('takes the code %s for `%s`', (code, fault) => {
    const error = toStorageError(Object.assign(new Error('why'), { code }), path, 'write to')
    expectFault(error, fault, 'why')
  })
})

describe('a failure of the program', () => {
  it('INV-8: a batch that cannot be encoded is `internal`: no disk has failed, and the storage goes on', async () => {
    let endless: Value = 1
    for (let depth = 0; depth < 200_000; depth++) endless = [endless]
    const fatal: StorageError[] = []
    const storage = sqliteStorage({ path })
    openStorages.push(storage)
    await storage.open('id', (error) => fatal.push(error))
    await storage.write({ seq: 1, records: [large('before', 1)] })
    // What was called after it is not stored without it.
    const writes = [
      storage.write({ seq: 2, records: [storedRecord('m', 'deep', 2, endless)] }),
      storage.write({ seq: 3, records: [large('after', 3)] }),
    ]
    for (const error of await Promise.all(writes.map(faultOf))) expectFault(error, 'internal', 'not the disk')
    expect((await load(storage, 'm')).map(({ key }) => key)).toEqual(['before'])
    expect(await storage.write({ seq: 3, records: [large('after', 3)] })).toEqual({ ok: true, seq: 3 })
    expect((await load(storage, 'm')).map(({ key }) => key)).toEqual(['before', 'after'])
    expect(fatal).toEqual([])
  })

  it('writes a batch of many buffers whole or not at all', async () => {
    const storage = await opened()
    const records = Array.from({ length: 60 }, (_, i) => large(`k${i}`, i + 1, 200_000))
    const stale = [{ mapName: 'm', key: 'k0', version: 7 }]
    expect(await storage.write({ seq: 60, records, expect: stale })).toMatchObject({ ok: false })
    expect(await load(storage, 'm')).toEqual([])
    expect(await storage.write({ seq: 60, records })).toEqual({ ok: true, seq: 60 })
    expect(await load(storage, 'm')).toEqual(records)
  })
})

describe('damaged data', () => {
  it('refuses a file that is no database, and leaves it as it is', async () => {
    const content = 'my diary\n'.repeat(1000)
    writeFileSync(path, content)
    expectFault(await faultOf(sqliteStorage({ path }).open('id')), 'damaged', 'no database')
    expect(readFileSync(path, 'utf8')).toBe(content)
  })

  it('refuses the database of another application, and leaves it as it is', async () => {
    inPlace((db) => db.exec('create table diary (entry text)'))
    const before = readFileSync(path)
    expectFault(await faultOf(sqliteStorage({ path }).open('id')), 'damaged', 'another application')
    expect(readFileSync(path).equals(before)).toBe(true)
  })

  it('opens an empty file as a new database', async () => {
    writeFileSync(path, '')
    expect(await sqliteStorageState()).toMatchObject({ databaseId: 'id', durableSeq: 0 })
  })

  const sqliteStorageState = async () => {
    const storage = sqliteStorage({ path })
    openStorages.push(storage)
    return storage.open('id')
  }

  it('INV-8: does not serve pages that are damaged or missing', async () => {
    const storage = await opened()
    await storage.write({ seq: 1, records: Array.from({ length: 200 }, (_, i) => large(`k${i}`, 1, 3000)) })
    await storage.close()
    truncateSync(path, statSync(path).size / 2)
    expectFault(await faultOf(storage.open('id').then(() => load(storage, 'm'))), 'damaged')
    await storage.close()
  })

  it.each([
    [`update records set value = '{"half":' where key = 'bad'`],
    [`update records set value = '{"a":{"$bytes":"no base64"}}' where key = 'bad'`],
    [`update records set value = '{"$bytes":7}' where key = 'bad'`],
    [`update records set state = '' where key = 'bad'`],
    [`update records set state = '{}' where key = 'bad'`],
    [`update records set state = 'null' where key = 'bad'`],
    [`update records set state = json_remove(state, '$.v') where key = 'bad'`],
    [`update records set state = json_set(state, '$.t', json('[1,2]')) where key = 'bad'`],
    [`update records set state = json_set(state, '$.a[0]', 'x') where key = 'bad'`],
    [`update records set state = json_set(state, '$.f', json('{"x":1}')) where key = 'bad'`],
  ])('names the map and the key of a record that cannot be understood: %s', async (damage) => {
    const storage = await opened()
    await storage.write({ seq: 1, records: [large('good', 1, 9), storedRecord('map "7"', 'bad', 1, { a: 1 })] })
    await storage.close()
    inPlace((db) => db.exec(damage))
    await storage.open('id')
    expectFault(await faultOf(load(storage, 'map "7"')), 'damaged', '"bad"', String.raw`"map \"7\""`, 'backup')
    expectFault(await faultOf(storage.changesSince('map "7"', 0, 9)), 'damaged', '"bad"')
    expect(await load(storage, 'm')).toHaveLength(1)
  })

  it('names the key of a value, and the id of an outcome, that cannot be understood', async () => {
    const storage = await opened()
    const once = { clientId: 'c', id: 'twice', outcome: 1, atMs: 1 }
    await storage.write({ seq: 1, records: [], values: { good: 1, bad: 2 }, once })
    await storage.close()
    inPlace((db) => db.exec(`update kv set value = '' where key = 'bad'; update once_marks set outcome = '{'`))
    await storage.open('id')
    expectFault(await faultOf(storage.get('bad')), 'damaged', '"bad"')
    expectFault(await faultOf(storage.list('')), 'damaged', '"bad"')
    expectFault(await faultOf(storage.write({ seq: 2, records: [], once })), 'damaged', '"twice"')
    expect(await storage.get('good')).toBe(1)
  })
})

describe('a database that cannot be had', () => {
  it('makes the missing folders of its path', async () => {
    path = join(folder, 'a', 'b', 'c', 'data.db')
    await opened()
    expect(statSync(path).isFile()).toBe(true)
  })

  it('takes turns: a second storage on the file, or on a link to it, is told so, and gets it when the first closes', async () => {
    const first = await opened()
    const link = join(folder, 'link.db')
    symlinkSync(path, link)
    expectFault(await faultOf(sqliteStorage({ path }).open('id')), 'unavailable', 'in use')
    const second = sqliteStorage({ path: link })
    expect((await faultOf(second.open('id'))).message).toContain(link)
    await first.write({ seq: 1, records: [large('a', 1)] })
    await first.close()
    expect(await (await opened(second)).changesSince('m', 0, 9)).toHaveLength(1)
  })

  it('tells a second process which file is in use', async () => {
    await opened()
    const child = fileURLToPath(new URL('../../test/fill-disk.ts', import.meta.url))
    const run = spawnSync(process.execPath, ['--conditions=@syncline/source', child, path])
    expect(run.status).toBe(1)
    expect(String(run.stderr)).toContain(`${path} is in use by another process: stop that server`)
  })

  it('opens in a process that runs a module from its command line', () => {
    const code = `import { sqliteStorage } from '@syncline/storage/sqlite'
      const storage = sqliteStorage({ path: process.argv[1] })
      console.log((await storage.open('id')).databaseId)
      await storage.close()`
    const options = ['--conditions=@syncline/source', '--input-type=module', '--eval', code, path]
    const run = spawnSync(process.execPath, options, { cwd: fileURLToPath(new URL('.', import.meta.url)) })
    expect(String(run.stderr)).toBe('')
    expect(String(run.stdout)).toBe('id\n')
  })

  it('lets others read the database while it is open, and query it by JSON path', async () => {
    const storage = await opened()
    await storage.write({
      seq: 1,
      records: [storedRecord('todos', 'a', 1, { title: 'Buy milk', photo: new Uint8Array(2) })],
    })
    const db = new Database(path, { readonly: true })
    const sql = `select json_extract(value, '$.title') || json_extract(value, '$.photo."$bytes"') from records`
    expect(db.prepare(sql).pluck().get()).toBe('Buy milkAAA=')
    db.close()
  })

  const asNobody = async <Result>(action: () => Promise<Result>): Promise<Result> => {
    if (process.getuid?.() !== 0) return action()
    runTool('chown', '-R', 'nobody', folder)
    process.seteuid?.('nobody')
    try {
      return await action()
    } finally {
      process.seteuid?.(0)
    }
  }

  it.skipIf(process.platform === 'win32')('names a folder that may not be written, and what to do', async () => {
    chmodSync(folder, 0o500)
    for (const at of [path, join(folder, 'sub', 'data.db')]) {
      path = at
      const error = await asNobody(() => faultOf(sqliteStorage({ path }).open('id')))
      expectFault(error, 'read-only', 'let this process write', 'another path')
    }
  })

  it.skipIf(process.platform === 'win32')(
    'names a file that may not be written when it opens, not at the first write',
    async () => {
      const storage = await opened()
      await storage.write({ seq: 1, records: [] })
      await storage.close()
      chmodSync(path, 0o400)
      const error = await asNobody(() => faultOf(sqliteStorage({ path }).open('id')))
      expectFault(error, 'read-only', 'let this process write')
    },
  )

  it('names a path that leads through a file, or to a folder', async () => {
    writeFileSync(join(folder, 'file'), '')
    path = join(folder, 'file', 'data.db')
    expectFault(await faultOf(sqliteStorage({ path }).open('id')), 'read-only')
    path = join(folder, 'sub')
    mkdirSync(path)
    expectFault(await faultOf(sqliteStorage({ path }).open('id')), 'read-only')
  })

  it('refuses a Node that better-sqlite3 would crash, before it starts anything', async () => {
    const real = process.versions
    const refusals: string[] = []
    for (const node of ['20.20.2', '22.11.0']) {
      Object.defineProperty(process, 'versions', { value: { ...real, node } })
      try {
        const storage = sqliteAdapter({ path, synchronous: 'full', maxPageCount: undefined }, () => {
          throw new Error('a worker was started')
        })
        refusals.push((await faultOf(storage.open('id'))).message)
      } finally {
        Object.defineProperty(process, 'versions', { value: real })
      }
    }
    expect(refusals).toEqual(
      ['20.20.2', '22.11.0'].map(
        (node) => `SQLite storage needs Node 22.12 or later, and this is ${node}: install a newer Node.`,
      ),
    )
  })

  it('can be opened after an attempt that failed', async () => {
    mkdirSync(path)
    const storage = sqliteStorage({ path })
    expectFault(await faultOf(storage.open('id')), 'read-only')
    rmSync(path, { recursive: true })
    expect(await storage.open('id')).toMatchObject({ durableSeq: 0 })
    await storage.close()
  })
})
