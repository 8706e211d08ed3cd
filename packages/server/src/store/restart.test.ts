import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { LwwRecord, Value } from '@syncline/core'
import type { KeyedRecord, ReceivedOp, SyncDiff, WireError, WireRecord, WriteConcern } from '@syncline/protocol'
import { memoryStorage, StorageError, type StorageAdapter } from '@syncline/storage'
import { sqliteStorage } from '@syncline/storage/sqlite'
import { afterAll, describe, expect, test } from 'vitest'
import {
  GatedStorage,
  MovableEnv,
  SECRET,
  clientOp,
  opBatch,
  patch,
  put,
  remove,
  stampAt,
  tokenOf,
  until,
} from '../testing/harness.ts'
import { startTestServer, type TestClient, type TestServer } from '../testing/test-server.ts'

import { Authorizer, type WriteGrant } from '../inbound/authorize.ts'
import { Limits } from '../telemetry/limits.ts'
import { Metrics } from '../telemetry/metrics.ts'
import { Store } from './store.ts'

const folder = mkdtempSync(join(tmpdir(), 'syncline-store-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0
const newPath = (): string => join(folder, `${++files}`, 'data.db')

/** What a crash would leave of a database that is in use: its file, its log, without anybody closing them. */
function crashCopy(path: string): string {
  const copy = newPath()
  cpSync(dirname(path), dirname(copy), { recursive: true })
  expect(readdirSync(dirname(copy))).toContain(basename(path))
  return copy
}

type Page = SyncDiff['payload']

async function follow(client: TestClient, mapName: string, cursor: string | null): Promise<Page[]> {
  client.send({ type: 'SYNC_INIT', mapName, cursor })
  const pages: Page[] = []
  do pages.push((await client.take('SYNC_DIFF')).payload)
  while (pages.at(-1)?.more === true)
  return pages
}

const recordsOf = (pages: readonly Page[]): Map<string, KeyedRecord> =>
  new Map(pages.flatMap(({ records }) => records).map((item) => [item.key, item]))

async function persist(client: TestClient, ...ops: Parameters<typeof opBatch>[0][number][]): Promise<number[]> {
  client.send(opBatch(ops, { writeConcern: 'PERSISTED' }))
  const { results } = (await client.take('OP_ACK')).payload
  expect(results.every(({ success }) => success)).toBe(true)
  return results.map(({ seq = 0 }) => seq)
}

const start = (path: string, more: object = {}): Promise<TestServer> =>
  startTestServer({ storage: sqliteStorage({ path }), ...more })

describe('a clean stop', () => {
  test('INV-24: keeps every acknowledged write, whatever its level, with all its stamps', async () => {
    const path = newPath()
    let before: Map<string, KeyedRecord>
    {
      await using server = await start(path)
      const client = await server.connect()
      client.send(
        opBatch([
          put('m', 'text', 'väl😀ue', { ttlMs: 1e9 }),
          put('m', 'map', { a: 1, bytes: new Uint8Array([0, 255]), deep: { x: [1, null, true] } }),
          patch('m', 'map', { a: 2, b: 3 }, { unset: ['deep'] }),
          put('m', 'gone', 1),
          remove('m', 'gone'),
          patch('m', 'gone', { hidden: 1 }),
        ]),
      )
      await client.take('OP_ACK')
      before = recordsOf(await follow(client, 'm', null))
      expect(before.size).toBe(3)
    }
    await using server = await start(path)
    const pages = await follow(await server.connect(), 'm', null)
    expect(recordsOf(pages)).toEqual(before)
  })

  test('INV-13: leaves cursors good, seqs and versions going on, and nothing lost', async () => {
    const path = newPath()
    let cursor: string
    let seq: number
    let databaseId: unknown
    {
      await using server = await start(path)
      const client = await server.connect()
      for (let i = 0; i < 5; i++) client.send(clientOp(put('m', 'k', i)))
      await client.settle()
      const page = (await follow(client, 'm', null)).at(-1) as Page
      ;({ cursor, seq } = page)
      databaseId = cursor.split('.').at(-1)
    }
    await using server = await start(path)
    const client = await server.connect()
    const [page] = await follow(client, 'm', cursor)
    expect(page).toMatchObject({ records: [], more: false, seq, lost: [] })
    expect(page?.cursor.split('.').at(-1)).toBe(databaseId)
    const [next] = await persist(client, put('m', 'k', 5))
    expect(next).toBe(seq + 1)
    const event = await client.take('SERVER_EVENT')
    expect(event.payload.record.version).toBe(6)
    await persist(client, put('m', 'new', 1))
    expect((await client.take('SERVER_EVENT')).payload).toMatchObject({ key: 'new', record: { version: 1 } })
  })

  test('a record with many versions does not keep the next run from accepting writes', async () => {
    const storage = memoryStorage()
    const twoMillion = 2_000_000
    await storage.open('db')
    const record: LwwRecord = { value: 1, timestamp: stampAt(1), base: stampAt(1) }
    await storage.write({
      records: [{ mapName: 'm', key: 'k', record, seq: 1, arrival: stampAt(1), version: twoMillion }],
      seq: 1,
      // What a clean stop leaves.
      values: {
        'syncline.reserved': { isClean: true, seq: 1, version: twoMillion, millis: 1, versionFloor: 0, lost: [] },
      },
    })
    await storage.close()
    for (let run = 1; run <= 3; run++) {
      await using server = await startTestServer({ storage })
      const client = await server.connect()
      const ops = Array.from({ length: 20 }, (_, i) => put('m', 'k', i))
      client.send(opBatch(ops))
      const { results } = (await client.take('OP_ACK')).payload
      expect(results.map(({ errorCode }) => errorCode)).toEqual(ops.map(() => undefined))
      expect(recordsOf(await follow(client, 'm', null)).get('k')?.record.version).toBe(twoMillion + 20 * run)
    }
  })
})

describe('an unclean stop', () => {
  test('INV-6: keeps what was acknowledged as PERSISTED', async () => {
    const path = newPath()
    await using server = await start(path)
    const client = await server.connect()
    await persist(client, ...Array.from({ length: 50 }, (_, i) => put('m', `k${i}`, { i })))
    await persist(client, patch('m', 'k1', { j: 1 }), remove('m', 'k2'))
    await using again = await start(crashCopy(path))
    expect(recordsOf(await follow(await again.connect(), 'm', null))).toEqual(
      recordsOf(await follow(client, 'm', null)),
    )
  })

  test('seqs and versions go on above any that was handed out, and the range between counts as lost', async () => {
    const path = newPath()
    const storage = new GatedStorage(sqliteStorage({ path }))
    await using server = await startTestServer({ storage })
    const client = await server.connect()
    const [kept] = (await persist(client, put('m', 'k', 0))) as [number]
    // The copy is of a moment in which storage holds nothing of what follows.
    storage.hold()
    client.send(opBatch(Array.from({ length: 900 }, (_, i) => put('m', i % 2 === 0 ? 'k' : 'lost', i))))
    const lost = (await client.take('OP_ACK')).payload.results.map(({ seq = 0 }) => seq)
    const pages = await follow(client, 'm', null)
    const cursorInLost = (pages.at(-1) as Page).cursor
    const versionBefore = recordsOf(pages).get('k')?.record.version ?? 0
    const copy = crashCopy(path)

    await using again = await start(copy)
    const reader = await again.connect()
    const [page] = await follow(reader, 'm', cursorInLost)
    expect(page?.records).toEqual([])
    expect(page?.lost).toHaveLength(1)
    const [from, to] = (page as Page).lost?.[0] ?? [0, 0]
    expect(from).toBe(kept)
    for (const seq of lost) expect(seq > from && seq <= to).toBe(true)
    const [next] = (await persist(reader, put('m', 'k', 'after'))) as [number]
    expect(next).toBeGreaterThan(to)
    const event = await reader.take('SERVER_EVENT')
    expect(event.payload.record.version).toBeGreaterThan(versionBefore)
    storage.release()
  })

  test('every unclean stop adds a range, a clean one none, and cursors above them are good', async () => {
    let path = newPath()
    const kept: number[] = []
    for (let run = 0; run < 3; run++) {
      await using server = await start(path)
      const client = await server.connect()
      kept.push(...(await persist(client, put('m', `k${run}`, run))))
      path = crashCopy(path)
    }
    let cursor: string
    {
      await using server = await start(path)
      const client = await server.connect()
      kept.push(...(await persist(client, put('m', 'k3', 3))))
      cursor = ((await follow(client, 'm', null)).at(-1) as Page).cursor
    }
    await using server = await start(path)
    const [page] = await follow(await server.connect(), 'm', cursor)
    expect(page?.lost?.map(([from]) => from)).toEqual(kept.slice(0, 3))
    for (const [from, to] of page?.lost ?? []) expect(kept.some((seq) => seq > from && seq <= to)).toBe(false)
    expect(kept).toEqual(kept.toSorted((a, b) => a - b))
  })

  test('INV-13: a cursor in a lost range is resumed for who can push, and reset for who cannot', async () => {
    const path = newPath()
    const auth = {
      jwtSecret: SECRET,
      securityPolicies: [
        { role: 'USER', mapNamePattern: 'm', actions: ['READ' as const] },
        { role: 'FIELDS', mapNamePattern: 'm', actions: ['ALL' as const], allowedFields: ['a'] },
      ],
    }
    const storage = new GatedStorage(sqliteStorage({ path }))
    await using server = await startTestServer({ storage, ...auth })
    const [admin, user, partial] = [
      await server.connect({ token: tokenOf('root', 'ADMIN') }),
      await server.connect({ token: tokenOf('ann') }),
      await server.connect({ token: tokenOf('bob', 'FIELDS') }),
    ]
    await persist(admin, put('m', 'kept', { a: 1 }))
    storage.hold()
    admin.send(clientOp(put('m', 'lost', { a: 1, b: 2 })))
    await admin.take('OP_ACK')
    const cursors = await Promise.all(
      [admin, user, partial].map(async (client) => ((await follow(client, 'm', null)).at(-1) as Page).cursor),
    )
    const lostRecord = recordsOf(await follow(admin, 'm', null)).get('lost')?.record as WireRecord
    const copy = crashCopy(path)

    await using again = await start(copy, auth)
    const adminAgain = await again.connect({ token: tokenOf('root', 'ADMIN') })
    const userAgain = await again.connect({ token: tokenOf('ann') })
    const partialAgain = await again.connect({ token: tokenOf('bob', 'FIELDS') })
    const [page] = await follow(adminAgain, 'm', cursors[0] as string)
    expect(page).toMatchObject({ records: [], lost: [[expect.any(Number), expect.any(Number)]] })
    for (const [client, cursor] of [
      [userAgain, cursors[1]],
      [partialAgain, cursors[2]],
    ] as const) {
      client.send({ type: 'SYNC_INIT', mapName: 'm', cursor: cursor as string })
      await client.take('SYNC_RESET_REQUIRED')
      client.send({ type: 'SYNC_PUSH', payload: { mapName: 'm', records: [{ key: 'lost', record: lostRecord }] } })
      expect((await client.take('SYNC_PUSH_RESP')).payload.refused).toMatchObject([{ errorCode: 'FORBIDDEN' }])
    }
    adminAgain.send({ type: 'SYNC_PUSH', payload: { mapName: 'm', records: [{ key: 'lost', record: lostRecord }] } })
    expect((await adminAgain.take('SYNC_PUSH_RESP')).payload).toMatchObject({ accepted: 1, refused: [] })
    const user2 = recordsOf(await follow(userAgain, 'm', null))
    expect(user2.get('lost')?.record.value).toEqual({ a: 1, b: 2 })
    storage.release()
  })

  test('a server of a fixed name issues no stamp again', async () => {
    const path = newPath()
    const env = new MovableEnv()
    const stamps: string[] = []
    let current = path
    for (let run = 0; run < 4; run++) {
      await using server = await start(current, { nodeId: 'fixed', env, connections: { idleTimeout: 1e9 } })
      const client = await server.connect()
      const collect = async (): Promise<void> => {
        for (let i = 0; i < 20; i++) {
          client.send({ type: 'SYNC_INIT', mapName: 'm' })
          const { millis, counter, nodeId } = (await client.take('SYNC_RESP_ROOT')).payload.timestamp
          stamps.push(`${millis}:${counter}:${nodeId}`)
        }
      }
      await collect()
      await persist(client, put('m', 'k', run))
      // Time goes on, and what was set aside of it is used up.
      env.advance(30_000)
      await collect()
      current = crashCopy(current)
      // The clock of the next run is behind that of this one.
      env.advance(-35_000)
    }
    expect(new Set(stamps).size).toBe(stamps.length)
  })
})

describe('a server without storage', () => {
  test('goes on above every seq of an earlier run and counts all before it as lost', async () => {
    const env = new MovableEnv()
    let cursor: string
    let last: number
    {
      await using server = await startTestServer({ env })
      const client = await server.connect()
      client.send(clientOp(put('m', 'k', { a: 1 })))
      last = (await client.take('OP_ACK')).payload.results[0]?.seq ?? 0
      cursor = ((await follow(client, 'm', null)).at(-1) as Page).cursor
    }
    await using server = await startTestServer({ env })
    const client = await server.connect()
    const [page] = await follow(client, 'm', cursor)
    expect(page?.lost?.some(([from, to]) => last > from && last <= to)).toBe(true)
    client.send(clientOp(put('m', 'k', { a: 2 })))
    expect((await client.take('OP_ACK')).payload.results[0]?.seq).toBeGreaterThan(last)
  })
})

describe('memory', () => {
  const openStore = async (storage: StorageAdapter, maxUnstoredBytes: number = 1e9): Promise<Store> =>
    Store.open({
      env: new MovableEnv(),
      storage,
      nodeId: 'n',
      retention: { gcIntervalMs: 60_000, tombstoneRetentionDays: 30 },
      maxClockDriftMs: 60_000,
      maxUnstoredBytes,
      limits: new Limits(new Metrics()),
      metrics: new Metrics(),
      onChange: () => {},
      onFatal: () => {},
    })
  const write = (store: Store, key: string, value: Value, level: WriteConcern = 'MEMORY'): WireError | undefined => {
    const [outcome] = store.committer.commit({ grant, ops: [put('m', key, value) as ReceivedOp], level })
    return outcome?.ok === false ? outcome.error : undefined
  }
  const grant = new Authorizer(undefined, true).rights({ userId: 'u', roles: [] }, 'm').write as WriteGrant

  test('INV-22 INV-23: writes beyond what storage has not taken yet are refused OVERLOADED with a time to come back', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    const store = await openStore(storage)
    storage.hold()
    let written = 0
    while (written < 500_000 && write(store, `k${written}`, 1) === undefined) written++
    expect(written).toBeLessThan(250_000)
    expect(write(store, 'more', 1)).toMatchObject({
      errorCode: 'OVERLOADED',
      details: { retryAfterMs: expect.any(Number) },
    })
    storage.release()
    await until(() => store.dirtyCount === 0, 'storage to take all')
    expect(write(store, 'more', 1)).toBeUndefined()
    await store.close()
  })

  test('INV-22 INV-23: so are writes beyond the bytes of it, however few, while reads go on', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    const store = await openStore(storage, 10_000_000)
    const large = 'x'.repeat(100_000)
    storage.hold()
    for (let i = 0; i < 500; i++) expect(write(store, 'one', large)).toBeUndefined()
    await until(() => storage.heldCount === 1, 'the first batch')
    // What is under way counts, and so does what changes meanwhile: each record once, in its present state.
    let written = 0
    while (written < 1_000 && write(store, `k${written}`, large) === undefined) written++
    expect(written).toBe(99)
    expect(write(store, 'one', 'small')).toMatchObject({
      errorCode: 'OVERLOADED',
      details: { retryAfterMs: expect.any(Number) },
    })
    expect(store.residency.resident('m')?.entriesByKey.size).toBe(100)
    storage.release()
    await until(() => store.dirtyCount === 0, 'storage to take all')
    expect(write(store, 'more', large)).toBeUndefined()
    await store.close()
  })

  test('INV-8: bytes that storage refused wait again, and count', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    const store = await openStore(storage, 1_000_000)
    storage.fault = () => new StorageError('full', 'No space is left.')
    storage.hold()
    expect(write(store, 'a', 'x'.repeat(600_000))).toBeUndefined()
    await until(() => storage.heldCount === 1, 'the batch')
    expect(write(store, 'b', 'x'.repeat(300_000))).toBeUndefined()
    storage.release()
    await until(() => write(store, 'b', 'x'.repeat(300_000))?.errorCode === 'STORAGE_FULL', 'the refusal')
    expect(store.dirtyCount).toBe(2)
    storage.fault = undefined
    storage.hold()
    await until(() => storage.heldCount === 1, 'another try')
    expect(write(store, 'c', 1)?.errorCode).toBe('STORAGE_FULL')
    storage.release()
    await until(() => store.dirtyCount === 0, 'storage to take all')
    expect(
      storage.batches
        .at(-1)
        ?.records.map(({ key }) => key)
        .toSorted(),
    ).toEqual(['a', 'b'])
    expect(write(store, 'c', 'x'.repeat(900_000))).toBeUndefined()
    await store.close()
  })

  test('INV-22 INV-23: so are writes beyond what may wait for storage', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    const store = await openStore(storage)
    storage.hold()
    let waiting = 0
    let answered = 0
    while (waiting < 300_000 && write(store, 'k', waiting, 'PERSISTED') === undefined) {
      waiting++
      store.committer.whenDurable(60_000, (failure) => {
        if (failure === undefined) answered++
      })
    }
    expect(waiting).toBeLessThan(150_000)
    expect(write(store, 'k', 0, 'PERSISTED')?.errorCode).toBe('OVERLOADED')
    storage.release()
    await until(() => answered === waiting, 'all answers')
    expect(write(store, 'k', 0, 'PERSISTED')).toBeUndefined()
    await store.close()
  })

  test('INV-22: who may do nothing on a map does not bring it into memory', async () => {
    const storage = memoryStorage()
    {
      await using server = await startTestServer({ storage })
      const client = await server.connect()
      client.send(clientOp(put('secret', 'k', 1)))
      await client.take('OP_ACK')
    }
    const loads: string[] = []
    const gated = new GatedStorage(storage)
    gated.load = (mapName) => {
      loads.push(mapName)
      return storage.load(mapName)
    }
    await using server = await startTestServer({ storage: gated, jwtSecret: SECRET, securityPolicies: [] })
    const client = await server.connect({ token: tokenOf('ann') })
    client.send({ type: 'SYNC_INIT', mapName: 'secret', cursor: null })
    client.send({ type: 'SYNC_INIT', mapName: 'secret' })
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'secret', query: {} } })
    client.send(clientOp(put('secret', 'k', 2)))
    client.send({ type: 'SYNC_FETCH', payload: { mapName: 'secret', keys: ['k'] } })
    client.send({ type: 'SYNC_STOP', mapName: 'secret' })
    await client.settle()
    expect(loads).toEqual([])
    const admin = await server.connect({ token: tokenOf('root', 'ADMIN') })
    expect((await follow(admin, 'secret', null))[0]?.records).toHaveLength(1)
    expect(loads).toEqual(['secret'])
  })
})

describe('a cursor that was given out before the head', () => {
  test('INV-13: misses no record whose later place a crash takes', async () => {
    const inner = memoryStorage()
    const storage = new GatedStorage(inner)
    const crashed = await startTestServer({ storage })
    const writer = await crashed.connect()
    const keys = Array.from({ length: 1_200 }, (_, i) => `k${i}`)
    for (const half of [keys.slice(0, 600), keys.slice(600)]) {
      writer.send(opBatch(half.map((key) => put('m', key, { v: 1 }))))
      await writer.take('OP_ACK')
    }
    await until(() => crashed.server.health().in_flight === 0, 'everything to be stored')
    await until(() => storage.batches.length > 0, 'a batch')
    storage.hold()
    // k10 has a durable place among the first page's, and a later one that the crash will take.
    writer.send(clientOp(patch('m', 'k10', { v: 2 })))
    await writer.take('OP_ACK')
    const reader = await crashed.connect()
    reader.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    const first = (await reader.take('SYNC_DIFF')).payload
    expect(first.more).toBe(true)
    expect(first.records.some(({ key }) => key === 'k10')).toBe(false)

    await inner.close()
    await using restarted = await startTestServer({ storage: inner })
    const again = await restarted.connect()
    const pages = await follow(again, 'm', first.cursor)
    const seen = new Set([...recordsOf([first]).keys(), ...recordsOf(pages).keys()])
    expect(keys.filter((key) => !seen.has(key))).toEqual([])
  })

  test('INV-13: is told what was lost by whoever can push, and reset for who cannot, though it begins at the start again', async () => {
    const inner = memoryStorage()
    const storage = new GatedStorage(inner)
    const auth = {
      jwtSecret: SECRET,
      securityPolicies: [{ role: 'USER', mapNamePattern: 'm', actions: ['READ' as const] }],
    }
    const crashed = await startTestServer({ storage, ...auth })
    const writer = await crashed.connect({ token: tokenOf('root', 'ADMIN') })
    writer.send(clientOp(put('other', 'k', 1)))
    await writer.take('OP_ACK')
    await until(() => crashed.server.health().in_flight === 0, 'everything to be stored')
    await until(() => storage.batches.length > 0, 'a batch')
    storage.hold()
    for (let at = 0; at < 1_200; at += 600) {
      writer.send(opBatch(Array.from({ length: 600 }, (_, i) => put('m', `k${at + i}`, { v: 1 }))))
      await writer.take('OP_ACK')
    }
    const reader = await crashed.connect({ token: tokenOf('ann') })
    const cursors: string[] = []
    for (const client of [writer, reader]) {
      client.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
      const { more, cursor } = (await client.take('SYNC_DIFF')).payload
      expect(more).toBe(true)
      cursors.push(cursor)
    }

    await inner.close()
    await using restarted = await startTestServer({ storage: inner, ...auth })
    const writerAgain = await restarted.connect({ token: tokenOf('root', 'ADMIN') })
    const [page] = await follow(writerAgain, 'm', cursors[0] as string)
    expect(page).toMatchObject({ records: [], lost: [[expect.any(Number), expect.any(Number)]] })
    const readerAgain = await restarted.connect({ token: tokenOf('ann') })
    readerAgain.send({ type: 'SYNC_INIT', mapName: 'm', cursor: cursors[1] as string })
    await readerAgain.take('SYNC_RESET_REQUIRED')
  })
})
