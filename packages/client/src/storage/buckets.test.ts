import 'fake-indexeddb/auto'
import { expect, test, vi } from 'vitest'
import { indexedDB, type OpenStorage } from '../index.ts'

const NAMES = ['base', 'cursors', 'queue', 'meta'] as const
let databases = 0

const entriesOf = async (open: OpenStorage, first?: string): Promise<Record<string, unknown>> => {
  const entries = await open.transaction('readonly', (tx) => tx.entries('base', first))
  const rows = Object.fromEntries(entries.map(([key, value]) => [key.join('/'), value]))
  expect(Object.keys(rows)).toHaveLength(entries.length)
  return rows
}

test('rows of base lie together, and are found again one by one', async () => {
  const name = `buckets-${++databases}`
  const open = await indexedDB(name).open()
  const bytes = new Uint8Array([0, 255])
  await open.transaction('readwrite', async (tx) => {
    for (let i = 0; i < 5_000; i++) tx.put('base', ['m', `key-${i}`], { i, bytes })
    for (const first of ['a', 'm\u{10ffff}', 'z']) tx.put('base', [first, 'another'], 1)
  })
  await open.transaction('readwrite', async (tx) => {
    tx.put('base', ['m', 'key-7'], { i: 'seven' })
    tx.delete('base', ['m', 'key-8'])
    expect(await tx.get('base', ['m', 'key-9'])).toEqual({ i: 9, bytes })
  })
  const rows = await entriesOf(open, 'm')
  expect(Object.keys(rows)).toHaveLength(4_999)
  expect(rows['m/key-7']).toEqual({ i: 'seven' })
  expect(rows['m/key-4999']).toEqual({ i: 4_999, bytes })
  expect(Object.keys(await entriesOf(open))).toHaveLength(5_002)
  expect(await entriesOf(open, 'none')).toEqual({})
  expect((await keysOf(name)).length).toBeLessThan(1_100)
  await open.transaction('readwrite', async (tx) => {
    for (let i = 0; i < 5_000; i++) tx.delete('base', ['m', `key-${i}`])
    for (const first of ['a', 'm\u{10ffff}', 'z']) tx.delete('base', [first, 'another'])
  })
  expect(await keysOf(name)).toEqual([])
  open.close()
})

test('what is put before a clear of the same transaction is gone, and what is put after it stays', async () => {
  const open = await indexedDB(`clear-${++databases}`).open()
  await open.transaction('readwrite', async (tx) => {
    tx.put('base', ['m', 'a'], 1)
    tx.clear('base', 'm')
    tx.put('base', ['m', 'b'], 2)
  })
  expect(await entriesOf(open)).toEqual({ 'm/b': 2 })
  open.close()
})

test('a damaged row of base is an error and not an empty map', async () => {
  const name = `damaged-${++databases}`
  const open = await indexedDB(name).open()
  await open.transaction('readwrite', async (tx) => tx.put('base', ['m', 'a'], 1))
  const [key] = await keysOf(name)
  await withDatabase(name, async (database) => {
    database
      .transaction('base', 'readwrite')
      .objectStore('base')
      .put('[["a",', key as IDBValidKey)
  })
  await expect(entriesOf(open)).rejects.toThrow('damaged')
  const write = open.transaction('readwrite', async (tx) => tx.put('base', ['m', 'a'], 2))
  await expect(write).rejects.toThrow('damaged')
  open.close()
})

test('a transaction that the browser ends says why, and not what else it could not do any more', async () => {
  const open = await indexedDB(`failing-${++databases}`).open()
  const puts = async (): Promise<void> =>
    open.transaction('readwrite', async (tx) => {
      tx.put('base', ['m', 'a'], 1)
      await tx.get('base', ['m', 'a'])
      // This is asked for behind the put.
      tx.put('base', ['n', 'a'], 1)
    })
  await puts()
  // What a full disk does to a put is done here to one whose key is taken.
  const put = vi.spyOn(IDBObjectStore.prototype, 'put').mockImplementation(function (this: IDBObjectStore, value, key) {
    return this.add(value, key)
  })
  await expect(puts()).rejects.toMatchObject({ name: 'ConstraintError' })
  put.mockRestore()
  await puts()
  open.close()
})

test('INV-25 of a database of version 1 the queue stays, and base comes again from the server', async () => {
  const name = `version-${++databases}`
  await withDatabase(
    name,
    async (database) => {
      const transaction = database.transaction([...NAMES], 'readwrite')
      for (const store of NAMES) transaction.objectStore(store).put(store, ['m', ''])
    },
    (database) => {
      for (const store of NAMES) database.createObjectStore(store)
    },
  )
  const open = await indexedDB(name).open()
  const left = await open.transaction('readonly', (tx) => Promise.all(NAMES.map((store) => tx.entries(store))))
  expect(left).toEqual([[], [], [[['m', ''], 'queue']], [[['m', ''], 'meta']]])
  open.close()
})

/** The keys under which the rows of base really lie. */
function keysOf(name: string): Promise<readonly unknown[]> {
  return withDatabase(name, async (database) => {
    const request = database.transaction('base').objectStore('base').getAllKeys()
    await new Promise((resolve) => request.addEventListener('success', resolve))
    return request.result
  })
}

/** The database as browsers see it; with `upgrade` a new one of version 1. */
async function withDatabase<T>(
  name: string,
  work: (database: IDBDatabase) => Promise<T>,
  upgrade?: (database: IDBDatabase) => void,
): Promise<T> {
  const request = globalThis.indexedDB.open(name, ...(upgrade === undefined ? [] : [1]))
  request.addEventListener('upgradeneeded', () => upgrade?.(request.result))
  await new Promise((resolve) => request.addEventListener('success', resolve))
  try {
    return await work(request.result)
  } finally {
    request.result.close()
  }
}
