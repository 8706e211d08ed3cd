import 'fake-indexeddb/auto'
import { expect, test } from 'vitest'
import { scene, stamp } from '../../test/harness.ts'
import { Tab, World } from '../../test/virtual-env.ts'
import { indexedDB, memory, type OpenStorage, type StorageAdapter } from '../index.ts'
import type { BaseRow, CursorRow } from '../offline/base.ts'
import { Turn } from '../readable.ts'
import { StorageWriter } from './writer.ts'

let databases = 0

const adapters: readonly [string, () => StorageAdapter][] = [
  ['memory', memory],
  ['IndexedDB', () => indexedDB(`test-${++databases}`)],
]

const all = (open: OpenStorage, store: 'base' | 'queue' = 'base', first?: string): Promise<unknown> =>
  open.transaction('readonly', async (tx) => {
    const entries = await tx.entries(store, first)
    return Object.fromEntries(entries.map(([key, value]) => [key.join('/'), value]))
  })

for (const [name, create] of adapters) {
  test(`${name}: what a transaction put is there for all who open the same storage`, async () => {
    const adapter = create()
    const [one, other] = [await adapter.open(), await adapter.open()]
    const value = { text: 'ключ 😀', bytes: new Uint8Array([0, 255]), list: [null, 0, ''], nested: { a: true } }
    await one.transaction('readwrite', async (tx) => {
      tx.put('base', ['m', 'a'], value)
      tx.put('base', ['m', ''], 1)
      tx.put('base', ['n', 'a'], 2)
      tx.put('queue', ['m', 'a'], 3)
    })
    expect(await all(other)).toEqual({ 'm/a': value, 'm/': 1, 'n/a': 2 })
    expect(await all(other, 'base', 'm')).toEqual({ 'm/a': value, 'm/': 1 })
    expect(await all(other, 'queue')).toEqual({ 'm/a': 3 })
    one.close()
    other.close()
  })

  test(`${name}: a transaction sees what it wrote itself`, async () => {
    const open = await create().open()
    await open.transaction('readwrite', async (tx) => {
      tx.put('base', ['m', 'a'], 1)
      expect(await tx.get('base', ['m', 'a'])).toBe(1)
      tx.put('base', ['m', 'b'], 2)
      tx.delete('base', ['m', 'a'])
      expect(await tx.get('base', ['m', 'a'])).toBeUndefined()
      expect(await tx.entries('base', 'm')).toEqual([[['m', 'b'], 2]])
      tx.clear('base', 'm')
      expect(await tx.get('base', ['m', 'b'])).toBeUndefined()
      tx.put('base', ['m', 'c'], 3)
      expect(await tx.entries('base')).toEqual([[['m', 'c'], 3]])
    })
    expect(await all(open)).toEqual({ 'm/c': 3 })
    open.close()
  })

  test(`${name}: work that fails leaves no trace`, async () => {
    const open = await create().open()
    await open.transaction('readwrite', async (tx) => tx.put('base', ['m', 'a'], 1))
    const work = open.transaction('readwrite', async (tx) => {
      tx.put('base', ['m', 'a'], 2)
      tx.clear('base', 'm')
      tx.put('base', ['m', 'b'], 2)
      await tx.get('base', ['m', 'a'])
      throw new Error('no')
    })
    await expect(work).rejects.toThrow('no')
    expect(await all(open)).toEqual({ 'm/a': 1 })
    open.close()
  })

  test(`${name}: transactions that write do so one after the other, those of another tab too`, async () => {
    const adapter = create()
    const tabs = [await adapter.open(), await adapter.open()]
    const add = async (open: OpenStorage | undefined): Promise<void> =>
      open?.transaction('readwrite', async (tx) => {
        const before = (await tx.get('meta', ['n', ''])) as number | undefined
        tx.put('meta', ['n', ''], (before ?? 0) + 1)
      })
    await Promise.all(Array.from({ length: 40 }, (_, i) => add(tabs[i % 2])))
    const [tab] = tabs
    expect(await tab?.transaction('readonly', (tx) => tx.get('meta', ['n', '']))).toBe(40)
    for (const open of tabs) open.close()
  })

  test(`${name}: clear takes the rows of one first part and no others`, async () => {
    const open = await create().open()
    await open.transaction('readwrite', async (tx) => {
      for (const first of ['a', 'a\u{10ffff}', 'aa', 'b', ''])
        for (const second of ['', 'x', '\u{10ffff}']) tx.put('base', [first, second], 1)
    })
    await open.transaction('readwrite', async (tx) => tx.clear('base', 'a'))
    const left = Object.keys((await all(open)) as object)
    expect(left).toHaveLength(12)
    expect(left.some((key) => key.startsWith('a/'))).toBe(false)
    open.close()
  })

  test(`${name}: a slower tab neither moves the cursor back nor replaces a row by an older one`, async () => {
    const adapter = create()
    const [fast, slow] = [await writerOf(adapter), await writerOf(adapter)]
    await fast.set({ seq: 5 }, { a: 3, b: 5 })
    await slow.set({ seq: 2 }, { a: 2, c: 1 })
    expect(await stateOf(adapter)).toEqual({ seq: 5, epoch: 0, a: 3, b: 5, c: 1 })
    // Having been behind once, it must go on comparing, although nobody else has written since.
    await slow.set({ seq: 4 }, { b: 4 })
    expect(await stateOf(adapter)).toEqual({ seq: 5, epoch: 0, a: 3, b: 5, c: 1 })
    await slow.set({ seq: 9 }, { b: 9 })
    await fast.set({ seq: 7 }, { b: 7 })
    expect(await stateOf(adapter)).toEqual({ seq: 9, epoch: 0, a: 3, b: 9, c: 1 })
  })

  test(`${name}: a slower tab does not delete a row that another has brought back since`, async () => {
    const adapter = create()
    const [fast, slow] = [await writerOf(adapter), await writerOf(adapter)]
    await slow.set({ seq: 3 }, { a: 3 })
    await fast.set({ seq: 8 }, { a: 8 })
    await slow.set({ seq: 4 }, { a: undefined })
    expect(await stateOf(adapter)).toEqual({ seq: 8, epoch: 0, a: 8 })
    await slow.set({ seq: 9 }, { a: undefined })
    expect(await stateOf(adapter)).toEqual({ seq: 9, epoch: 0 })
  })

  test(`${name}: a reset drops all rows, and what belongs to the epoch before it is void`, async () => {
    const adapter = create()
    const [one, other] = [await writerOf(adapter), await writerOf(adapter)]
    await one.set({ seq: 5 }, { a: 3, b: 5 })
    await one.set({ seq: 1, epoch: 1 }, { c: 1 })
    expect(await stateOf(adapter)).toEqual({ seq: 1, epoch: 1, c: 1 })
    await other.set({ seq: 9 }, { a: 9 })
    expect(await stateOf(adapter)).toEqual({ seq: 1, epoch: 1, c: 1 })
    await other.set({ seq: 2, epoch: 1 }, { d: 2 })
    expect(await stateOf(adapter)).toEqual({ seq: 2, epoch: 1, c: 1, d: 2 })
  })

  test(`${name}: a client finds everything again`, async () => {
    const world = new World()
    const tab = new Tab(world, 'tab')
    const storage = create()
    const until = async (condition: () => boolean): Promise<void> => {
      for (let i = 0; i < 500 && !condition(); i++) await world.settle()
      expect(condition()).toBe(true)
    }
    const before = await scene({ storage }, { world, tab })
    await before.client.ready
    before.client.map('todos')
    await until(() => tab.sockets.length > 0)
    await before.greet()
    await before.page('todos', [{ key: 't1', record: { value: 1, timestamp: stamp(world) }, seq: 4 }])
    await before.client.map('todos').set('t2', 2).wait('local')
    tab.kill()
    const after = await scene({ storage }, { world, tab })
    await after.client.ready
    expect(Object.fromEntries(after.client.map('todos'))).toEqual({ t1: 1, t2: 2 })
    expect(after.client.map('todos').query().get().complete).toBe(true)
    expect(after.client.pending.get()).toMatchObject([{ target: 'todos/t2' }])
    await after.client.close()
  })
}

/** A tab that stores positions and rows, of which only the seq matters here. */
async function writerOf(adapter: StorageAdapter): Promise<{
  set(position: Partial<CursorRow>, rows: Record<string, number | undefined>): Promise<void>
}> {
  const env = new Tab(new World(), 'tab').env()
  const rowsByKey = new Map<string, BaseRow>()
  let position: CursorRow = { cursor: null, seq: 0, epoch: 0, complete: false, whole: true }
  const at = stamp(new World())
  const writer = new StorageWriter({
    env,
    turn: new Turn(env),
    row: (_, key) => rowsByKey.get(key),
    position: () => position,
    op: () => undefined,
    opStored() {},
    isPaging: () => false,
    isAnew: () => false,
    begunAnew() {},
    stored() {},
    onFault() {},
  })
  const storage = await adapter.open()
  await writer.load(storage, 'node')
  writer.start(storage, 'node')
  return {
    async set(next, rows) {
      position = { ...position, ...next }
      for (const [key, seq] of Object.entries(rows)) {
        if (seq === undefined) rowsByKey.delete(key)
        else rowsByKey.set(key, { record: { value: seq, timestamp: at, base: at }, seq })
        writer.markBase('m', key)
      }
      await writer.stored()
    },
  }
}

async function stateOf(adapter: StorageAdapter): Promise<Record<string, number>> {
  const open = await adapter.open()
  const state = await open.transaction('readonly', async (tx) => {
    const { seq, epoch } = (await tx.get('cursors', ['m', ''])) as CursorRow
    const rows = await tx.entries('base', 'm')
    return { seq, epoch, ...Object.fromEntries(rows.map(([[, key], row]) => [key, (row as BaseRow).seq])) }
  })
  open.close()
  return state
}

/** A memory storage that fails while it is told to. */
function failing(): { storage: StorageAdapter; fail: (error: unknown) => void } {
  const inner = memory()
  let failure: unknown
  return {
    fail: (error) => (failure = error),
    storage: {
      id: 'failing',
      async open() {
        if (failure === 'open') throw new Error('private window')
        const open = await inner.open()
        return {
          ...open,
          durability: 'best-effort',
          transaction: (mode, work) =>
            failure !== undefined && mode === 'readwrite' ? Promise.reject(failure) : open.transaction(mode, work),
        }
      },
    },
  }
}

test('a full storage is an error event and a status, writes go on in memory and are stored when there is room again', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const { storage, fail } = failing()
  const { client, events, greet, page, ops } = await scene({ storage }, { world, tab })
  expect(client.status.get().storage).toBe('best-effort')
  fail(new DOMException('full', 'QuotaExceededError'))
  const write = client.map('todos').set('t1', 1)
  await expect(write.wait('local')).rejects.toMatchObject({ code: 'STORAGE_QUOTA' })
  expect(events).toMatchObject([['error', { error: { code: 'STORAGE_QUOTA' } }]])
  expect(client.status.get().storage).toBe('memory')
  await greet()
  await page('todos')
  expect(ops()).toMatchObject([{ key: 't1' }])
  fail(undefined)
  await world.advance(10_000)
  expect(client.status.get().storage).toBe('best-effort')
  tab.kill()
  // Its stamps were not reserved for a while, so it comes back as another tab, which adopts the writes.
  const after = await scene({ storage }, { world, tab })
  expect(after.client.clientId).not.toBe(client.clientId)
  expect(after.client.map('todos').get('t1')).toBe(1)
})

test('a storage that cannot be opened is an error event, and the client works in memory', async () => {
  const { storage, fail } = failing()
  fail('open')
  const { client, events, greet, page, ops } = await scene({ storage })
  await client.ready
  client.map('todos').set('t1', 1)
  expect(events).toMatchObject([['error', { error: { code: 'STORAGE_UNAVAILABLE' } }]])
  expect(client.status.get().storage).toBe('memory')
  await greet()
  await page('todos')
  expect(ops()).toHaveLength(1)
})

test('flushes are batched: one is under way, and the next collects what changed meanwhile', async () => {
  const inner = memory()
  let running = 0
  let flushes = 0
  const storage: StorageAdapter = {
    id: 'counting',
    async open() {
      const open = await inner.open()
      return {
        ...open,
        async transaction(mode, work) {
          if (mode === 'readonly') return open.transaction(mode, work)
          flushes++
          expect(++running).toBe(1)
          await new Promise((resolve) => setTimeout(resolve, 5))
          const result = await open.transaction(mode, work)
          running--
          return result
        },
      }
    },
  }
  const { client } = await scene({ storage })
  let last = client.map('todos').set('t', 0)
  for (let i = 0; i < 50; i++) {
    last = client.map('todos').set(`t${i}`, i)
    await Promise.resolve()
  }
  await last.wait('local')
  expect(flushes).toBeLessThan(5)
})

test('a closed database is opened again', async () => {
  const name = `closed-${++databases}`
  const open = await indexedDB(name).open()
  await open.transaction('readwrite', async (tx) => tx.put('meta', ['a', ''], 1))
  const request = globalThis.indexedDB.deleteDatabase(name)
  await new Promise((resolve) => request.addEventListener('success', resolve))
  await open.transaction('readwrite', async (tx) => tx.put('meta', ['b', ''], 2))
  expect(await open.transaction('readonly', (tx) => tx.entries('meta'))).toEqual([[['b', ''], 2]])
  open.close()
})
