import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { ZERO_STAMP } from '@syncline/core'
import type { ClientOp, OpResult, WireRecord } from '@syncline/protocol'
import { memoryStorage, StorageError } from '@syncline/storage'
import { sqliteStorage } from '@syncline/storage/sqlite'
import { afterAll, describe, expect, test } from 'vitest'
import type { ServerOptions } from '../features.ts'
import { GatedStorage, MovableEnv, clientOp, opBatch, patch, put, remove, until } from '../testing/harness.ts'
import { Replica } from '../testing/replica.ts'
import { startTestServer, type TestClient, type TestServer } from '../testing/test-server.ts'

const GC_MS = 60_000
const DAY_MS = 86_400_000

const folder = mkdtempSync(join(tmpdir(), 'syncline-retention-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0

interface Scene extends AsyncDisposable {
  readonly server: TestServer
  readonly env: MovableEnv
  readonly client: TestClient
  /** A stamp of some milliseconds from now. */
  at(ms: number): { millis: number; counter: number; nodeId: string }
  write(...ops: ClientOp[]): Promise<readonly OpResult[]>
  /** Lets time pass, and one look for what is due. */
  pass(ms: number): Promise<void>
  follow(mapName?: string, from?: Replica): Promise<Replica>
}

let counter = 0

async function scene(options: Partial<ServerOptions> = {}, env: MovableEnv = new MovableEnv()): Promise<Scene> {
  // What time does to idle connections is not what is shown here.
  const server = await startTestServer({ env, connections: { idleTimeout: 2_147_000_000 }, ...options })
  const client = await server.connect()
  return {
    server,
    env,
    client,
    at: (ms) => ({ millis: env.now() + ms, counter: counter++ % 60_000, nodeId: 'tester' }),
    async write(...ops) {
      client.send(opBatch(ops))
      return (await client.take('OP_ACK')).payload.results
    },
    async pass(ms) {
      env.sleep(ms)
      for (let i = 0; i < 4; i++) {
        env.advance(GC_MS)
        await client.settle()
      }
    },
    async follow(mapName = 'm', from = new Replica(mapName)) {
      const own = await server.connect()
      from.attach(own)
      await own.until(() => from.isLive)
      return from
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

describe('a record whose time to live has passed', () => {
  test('[RT2] is removed under its own base stamp: every later write wins, also one that arrives late', async () => {
    await using self = await scene()
    const base = self.at(0)
    await self.write(put('m', 'k', { a: 1 }, { stamp: base, ttlMs: 1_000 }))
    const follower = await self.follow()
    await self.pass(2_000)
    await until(() => follower.recordsByKey.get('k')?.record.value === null, 'the removal')
    const { record } = follower.recordsByKey.get('k') as { record: WireRecord }
    expect(record.base).toEqual(base)
    expect(record.ttlMs).toBeUndefined()
    expect(record.timestamp.millis).toBeGreaterThan(base.millis)
    const late = { ...base, counter: base.counter + 1 }
    expect(await self.write(patch('m', 'k', { b: 2 }, { stamp: late }))).toMatchObject([{ superseded: true }])
    expect(await self.write(put('m', 'k', 'again', { stamp: late }))).toMatchObject([{ success: true }])
    await until(() => follower.content()['k'] === 'again', 'the write')
    expect(follower.breaches).toEqual([])
  })

  test('[RT1] [RT2] stays where it was written again in time, and is found again after a restart', async () => {
    const path = join(folder, `${++files}`, 'data.db')
    const env = new MovableEnv()
    {
      await using self = await scene({ storage: sqliteStorage({ path }) }, env)
      await self.write(put('m', 'renewed', 1, { stamp: self.at(0), ttlMs: 1_000 }))
      await self.write(put('m', 'renewed', 2, { stamp: self.at(1), ttlMs: DAY_MS }))
      await self.write(put('m', 'kept', 1, { stamp: self.at(0), ttlMs: 1_000 }))
      await self.write(put('m', 'kept', 2, { stamp: self.at(1) }))
      await self.write(put('m', 'for ever', 1, { stamp: self.at(0), ttlMs: Number.MAX_VALUE }))
      await self.write(put('m', 'gone', 1, { stamp: self.at(0), ttlMs: 2 * DAY_MS }))
      await self.pass(5_000)
      expect((await self.follow()).content()).toEqual({ renewed: 2, kept: 2, 'for ever': 1, gone: 1 })
    }
    env.sleep(DAY_MS + 1_000)
    await using self = await scene({ storage: sqliteStorage({ path }) }, env)
    const follower = await self.follow()
    await self.pass(0)
    await until(() => follower.content()['renewed'] === undefined, 'the end of one')
    expect(follower.content()).toEqual({ kept: 2, 'for ever': 1, gone: 1 })
    await self.pass(DAY_MS)
    await until(() => follower.content()['gone'] === undefined, 'the end of another')
    expect(follower.content()).toEqual({ kept: 2, 'for ever': 1 })
  })

  test('INV-22: of very many only some are removed in one turn', async () => {
    await using self = await scene()
    const ops = Array.from({ length: 1_000 }, (_, i) => put('m', `k${i}`, i, { stamp: self.at(0), ttlMs: 1_000 }))
    await self.write(...ops)
    const follower = self.client
    follower.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    await follower.take('SYNC_DIFF', ({ payload }) => !payload.more)
    self.env.advance(GC_MS)
    const first = await follower.take('SERVER_BATCH_EVENT')
    expect(first.payload.events.length).toBe(500)
    expect((await follower.take('SERVER_BATCH_EVENT')).payload.events.length).toBe(500)
  })
})

describe('old deletions', () => {
  test('[RT3] [EV3] [SY9] are forgotten 30 days after they arrived, hidden field writes included, and followers are told', async () => {
    await using self = await scene()
    await self.write(put('m', 'k', 1, { stamp: self.at(-3) }), put('m', 'stays', 1, { stamp: self.at(-3) }))
    await self.write(remove('m', 'k', { stamp: self.at(-2) }), patch('m', 'k', { hidden: 1 }, { stamp: self.at(-1) }))
    // The age of the stamp does not count.
    await self.write(remove('m', 'old stamp', { stamp: self.at(-100 * DAY_MS) }))
    const follower = await self.follow()
    const tail = await self.server.connect({ encoding: 'msgpack' })
    tail.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    await tail.take('SYNC_DIFF')
    await self.pass(29 * DAY_MS)
    expect(follower.recordsByKey.size).toBe(3)
    await self.pass(DAY_MS)
    await until(() => follower.recordsByKey.size === 1, 'the deletions to be forgotten')
    expect((await tail.take('SERVER_BATCH_EVENT')).payload).toMatchObject({
      events: [],
      cursor: expect.any(String),
      seq: follower.seq,
      prunedThroughSeq: expect.any(Number),
    })
    // Both sides hold the same again, and a newcomer gets no more than that.
    const newcomer = await self.follow()
    expect([newcomer.digest, newcomer.recordsByKey.size]).toEqual([follower.ownDigest(), 1])
    expect([...follower.breaches, ...newcomer.breaches]).toEqual([])
  })

  test('INV-12 [RT3] [SY10]: who has not seen them begins anew, who has goes on', async () => {
    await using self = await scene()
    await self.write(put('m', 'k', 1, { stamp: self.at(0) }), put('m', 'stays', 1, { stamp: self.at(0) }))
    const away = await self.follow()
    const cursorOfAway = away.cursor
    await self.write(remove('m', 'k', { stamp: self.at(1) }))
    const seen = await self.follow()
    const cursorOfSeen = seen.cursor
    await self.pass(31 * DAY_MS)
    const late = await self.server.connect()
    late.send({ type: 'SYNC_INIT', mapName: 'm', cursor: cursorOfAway, requestId: 'r' })
    expect((await late.take('SYNC_RESET_REQUIRED')).payload).toMatchObject({ mapName: 'm' })
    late.send({ type: 'SYNC_INIT', mapName: 'm', cursor: cursorOfSeen })
    const page = (await late.take('SYNC_DIFF')).payload
    expect(page).toMatchObject({ records: [], more: false, prunedThroughSeq: expect.any(Number) })
    expect(page.prunedThroughSeq).toBeLessThanOrEqual(Number.parseInt(cursorOfSeen?.split('.')[0] as string, 36))
  })

  test('INV-9 INV-12 [RT4]: a record that the server lost is taken however old from who has missed no forgotten deletion, and from nobody else', async () => {
    await using self = await scene()
    const [before, deleted] = [self.at(-2), self.at(-1)]
    await self.write(put('m', 'k', 1, { stamp: before }))
    const { cursor: early } = await self.follow()
    const lively = await self.server.connect()
    lively.send({ type: 'SYNC_INIT', mapName: 'm', cursor: early as string })
    await self.write(remove('m', 'k', { stamp: deleted }))
    const { cursor: late } = await self.follow()
    await self.pass(31 * DAY_MS)
    const push = async (client: TestClient, key: string): Promise<unknown> => {
      const record: WireRecord = { value: 'held', timestamp: before }
      client.send({ type: 'SYNC_PUSH', payload: { mapName: 'm', records: [{ key, record }] } })
      return (await client.take('SYNC_PUSH_RESP')).payload
    }
    const followed = async (cursor: string | null): Promise<TestClient> => {
      const client = await self.server.connect()
      client.send({ type: 'SYNC_INIT', mapName: 'm', cursor })
      await client.settle()
      return client
    }
    const stale = { accepted: 0, refused: [{ errorCode: 'STALE' }] }
    expect(await push(self.client, 'a')).toMatchObject(stale)
    expect(await push(await followed(early), 'b')).toMatchObject(stale)
    // What it was sent since, it may not have read when it sent this.
    expect(await push(lively, 'c')).toMatchObject(stale)
    expect(await push(await followed(null), 'd')).toMatchObject(stale)
    const holder = await followed(late)
    expect(await push(holder, 'e')).toMatchObject({ accepted: 1, refused: [] })
    holder.send(opBatch([put('m', 'f', 1, { stamp: before })]))
    expect((await holder.take('OP_ACK')).payload.results).toMatchObject([{ errorCode: 'STALE' }])
    expect([...(await self.follow()).recordsByKey.keys()]).toEqual(['e'])
  })

  test('INV-12 [RT4]: a write to what is forgotten is STALE if it is not later, whoever sends it, whatever his cursor', async () => {
    await using self = await scene()
    const [before, deleted] = [self.at(-2), self.at(-1)]
    // Of a map that has forgotten nothing no write is too old.
    expect(await self.write(put('m', 'first', 1, { stamp: ZERO_STAMP }))).toMatchObject([{ success: true }])
    await self.write(put('m', 'k', 1, { stamp: before }), remove('m', 'k', { stamp: deleted }))
    await self.pass(31 * DAY_MS)
    const stale = { success: false, errorCode: 'STALE', details: { prunedThrough: deleted } }
    expect(
      await self.write(
        put('m', 'k', 'older', { stamp: before }),
        put('m', 'another key', 'as old', { stamp: deleted }),
        remove('m', 'k', { stamp: deleted }),
      ),
    ).toMatchObject([stale, stale, stale])
    const record = { value: null, timestamp: deleted }
    self.client.send({ type: 'SYNC_PUSH', payload: { mapName: 'm', records: [{ key: 'k', record }] } })
    expect((await self.client.take('SYNC_PUSH_RESP')).payload).toMatchObject({ refused: [{ errorCode: 'STALE' }] })
    expect(await self.write(patch('m', 'k', { a: 1 }, { stamp: self.at(0) }))).toMatchObject([
      { errorCode: 'NOT_FOUND' },
    ])
    expect([...(await self.follow()).recordsByKey.keys()]).toEqual(['first'])
    // Who writes it anew, after all that, is meant.
    expect(await self.write(put('m', 'k', 'new', { stamp: self.at(0) }))).toMatchObject([{ success: true }])
    const { record: back } = (await self.follow()).recordsByKey.get('k') as { record: { version?: number } }
    expect(back.version).toBe(3)
  })

  test('INV-13: who is among the pages when they are forgotten begins anew, unless he had passed them', async () => {
    await using self = await scene()
    const big = (i: number): ClientOp => put('m', `k${i}`, 'x'.repeat(200_000), { stamp: self.at(0) })
    for (let i = 0; i < 30; i++) await self.write(big(i))
    await self.write(remove('m', 'k0', { stamp: self.at(1) }))
    const slow = await self.server.connect()
    slow.pause()
    slow.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    await self.client.settle()
    await self.pass(31 * DAY_MS)
    slow.resume()
    expect((await slow.take('SYNC_RESET_REQUIRED')).payload.mapName).toBe('m')
    expect((await self.follow()).recordsByKey.size).toBe(29)
  })

  test('INV-13: who has been sent nothing of a map when they are forgotten has missed nothing', async () => {
    await using self = await scene()
    for (let i = 0; i < 30; i++) await self.write(put('m', `k${i}`, 'x'.repeat(200_000), { stamp: self.at(0) }))
    await self.write(put('other', 'a', 1, { stamp: self.at(0) }), remove('other', 'b', { stamp: self.at(1) }))
    const slow = await self.server.connect()
    slow.pause()
    slow.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    slow.send({ type: 'SYNC_INIT', mapName: 'other', cursor: null })
    await self.client.settle()
    await self.pass(31 * DAY_MS)
    slow.resume()
    const isOfOther = (message: { type: string; payload?: unknown }): boolean =>
      message.type.startsWith('SYNC_') && (message.payload as { mapName: string }).mapName === 'other'
    await slow.until(() => slow.inbox.some(isOfOther))
    expect(slow.inbox.find(isOfOther)).toMatchObject({
      type: 'SYNC_DIFF',
      payload: { more: false, records: [{ key: 'a' }] },
    })
  })

  test('INV-13: a follower that reads so slowly that it missed them begins anew', async () => {
    await using self = await scene({ connections: { idleTimeout: 2_147_000_000, maxOutboundBytes: 200_000_000 } })
    const slow = await self.server.connect()
    slow.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    await slow.take('SYNC_DIFF')
    slow.pause()
    for (let i = 0; i < 60; i++) await self.write(put('m', 'k', `${i}${'x'.repeat(200_000)}`, { stamp: self.at(i) }))
    await until(() => (self.server.server.inspect()['merkle-sync'] as { behind: number }).behind > 0, 'a slow follower')
    await self.write(remove('m', 'k', { stamp: self.at(100) }))
    await self.pass(31 * DAY_MS)
    slow.resume()
    await slow.take('SYNC_RESET_REQUIRED')
  })

  test('[SY1] a client that knows no cursor is reset where deletions since its last synchronization are forgotten', async () => {
    await using self = await scene()
    const sync = async (mapName: string, lastSyncTimestamp: number | object): Promise<string> => {
      self.client.send({ type: 'SYNC_INIT', mapName, lastSyncTimestamp: lastSyncTimestamp as number })
      await self.client.settle()
      const answers = self.client.inbox
        .splice(0)
        .filter(({ type }) => type.startsWith('SYNC_'))
        .map(({ type }) => type)
      return answers.join()
    }
    const start = self.env.now()
    await self.write(put('m', 'k', 1, { stamp: self.at(0) }), remove('m', 'k', { stamp: self.at(1) }))
    await self.write(put('other', 'k', 1, { stamp: self.at(0) }))
    await self.pass(31 * DAY_MS)
    expect(await sync('m', start - 1_000)).toBe('SYNC_RESET_REQUIRED')
    expect(await sync('m', Math.floor(start / 1_000) - 5)).toBe('SYNC_RESET_REQUIRED')
    expect(await sync('m', { millis: start - 1_000, counter: 0, nodeId: 'n' })).toBe('SYNC_RESET_REQUIRED')
    // It holds nothing, was there since, or follows a map of which nothing is forgotten: age alone is no reason.
    expect(await sync('m', 0)).toBe('SYNC_RESP_ROOT')
    expect(await sync('m', start + DAY_MS)).toBe('SYNC_RESP_ROOT')
    expect(await sync('other', 1_678_000_000)).toBe('SYNC_RESP_ROOT')
  })

  test('INV-12: nobody is told to forget before storage has: a crash would bring the deletions back', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    await using self = await scene({ storage })
    await self.write(put('m', 'k', 1, { stamp: self.at(-2) }), remove('m', 'k', { stamp: self.at(-1) }))
    const follower = await self.follow()
    await self.write(put('other', 'k', 1, { stamp: self.at(0) }))
    self.env.sleep(31 * DAY_MS)
    storage.hold()
    self.env.advance(GC_MS)
    await until(() => storage.heldCount > 0, 'the batch')
    await self.client.settle()
    expect(follower.recordsByKey.size).toBe(1)
    const batch = storage.batches.at(-1)
    expect(batch?.forget).toMatchObject([{ mapName: 'm', key: 'k' }])
    expect(batch?.values).toMatchObject({ 'syncline.pruned/m': { seq: batch?.forget?.[0]?.seq } })
    storage.release()
    await until(() => follower.recordsByKey.size === 0, 'the deletion to be forgotten')
    // Storage that refuses keeps everything as it is, until it takes it.
    await self.write(put('m', 'l', 1, { stamp: self.at(-2) }), remove('m', 'l', { stamp: self.at(-1) }))
    storage.fault = () => new StorageError('unavailable', 'no')
    await self.pass(31 * DAY_MS)
    expect(follower.recordsByKey.size).toBe(1)
    storage.fault = undefined
    await self.pass(GC_MS)
    await until(() => follower.recordsByKey.size === 0, 'the other deletion to be forgotten')
  })

  test('a key that is written while its deletion is being forgotten stays', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    const env = new MovableEnv()
    {
      await using self = await scene({ storage }, env)
      await self.write(put('m', 'k', 1, { stamp: self.at(-3) }), remove('m', 'k', { stamp: self.at(-2) }))
      await self.write(put('m', 'l', 1, { stamp: self.at(-3) }), remove('m', 'l', { stamp: self.at(-2) }))
      const follower = await self.follow()
      self.env.sleep(31 * DAY_MS)
      storage.hold()
      self.env.advance(GC_MS)
      await until(() => storage.heldCount > 0, 'the batch')
      await self.write(put('m', 'k', 2, { stamp: self.at(0) }))
      storage.release()
      await until(() => follower.recordsByKey.size === 1, 'the other deletion to be forgotten')
      expect(follower.content()).toEqual({ k: 2 })
      expect((await self.follow()).digest).toBe(follower.ownDigest())
    }
    await using self = await scene({ storage }, env)
    expect((await self.follow()).content()).toEqual({ k: 2 })
  })

  test('INV-22: of very many only some are forgotten in one batch', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    await using self = await scene({ storage })
    const keys = Array.from({ length: 1_000 }, (_, i) => `k${i}`)
    await self.write(...keys.map((key) => remove('m', key, { stamp: self.at(0) })))
    await self.write(...keys.map((key) => remove('m', `and ${key}`, { stamp: self.at(0) })))
    const follower = await self.follow()
    await self.pass(31 * DAY_MS)
    await until(() => follower.recordsByKey.size === 0, 'all to be forgotten')
    const sizes = storage.batches.flatMap(({ forget }) => (forget === undefined ? [] : [forget.length]))
    expect(sizes).toEqual([500, 500, 500, 500])
    expect(self.server.server.metrics().find(({ name }) => name === 'syncline_pruned_tombstones_total')).toMatchObject({
      values: [{ value: 2_000 }],
    })
  })
})

test('INV-12: ninety days of deletions, crashes and devices that were away bring nothing back', async () => {
  let path = join(folder, `${++files}`, 'data.db')
  const env = new MovableEnv()
  const open = (): Promise<Scene> => scene({ storage: sqliteStorage({ path }) }, env)
  const alive = new Set<string>()
  const dead = new Map<string, ReturnType<Scene['at']>>()
  const copies: { readonly day: number; readonly cursor: string }[] = []
  for (let day = 0; day < 90; day += 5) {
    await using self = await open()
    copies.push({ day, cursor: (await self.follow()).cursor as string })
    const ops: ClientOp[] = []
    for (let i = 0; i < 8; i++) {
      const key = `k${day}-${i}`
      const stamp = self.at(0)
      ops.push(put('m', key, 'here', { stamp, ...(i === 7 ? { ttlMs: DAY_MS } : {}) }))
      if (i < 7) alive.add(key)
      else dead.set(key, stamp)
    }
    // What was written five days ago is removed now, but for one of each day.
    for (const key of [...alive].filter((name) => name.startsWith(`k${day - 5}-`) && !name.endsWith('-0'))) {
      const stamp = self.at(1)
      ops.push(remove('m', key, { stamp }))
      alive.delete(key)
      dead.set(key, stamp)
    }
    const results = await self.write(...ops)
    expect(results.every(({ success }) => success)).toBe(true)
    await self.pass(2.4 * DAY_MS)
    // Devices that were away come back with what they once saw, and write it again as it was.
    const old = Array.from(dead, ([key, stamp]) =>
      put('m', key, 'from the grave', { stamp: { ...stamp, millis: stamp.millis - 1 } }),
    )
    for (const { success, superseded, errorCode } of await self.write(...old))
      expect(success ? superseded : errorCode).toBe(success ? true : 'STALE')
    await self.pass(2.6 * DAY_MS)
    expect((await self.follow()).content()).toEqual(contentOf(alive))
    if (day % 2 === 0) continue
    // The process is killed: what is on its disk at this moment is what the next one finds.
    self.client.send(clientOp(put('m', `k${day}-0`, 'here', { stamp: self.at(0), writeConcern: 'PERSISTED' })))
    await self.client.take('OP_ACK')
    const copy = join(folder, `${++files}`, 'data.db')
    cpSync(dirname(path), dirname(copy), { recursive: true })
    path = copy
  }
  await using self = await open()
  const now = await self.follow()
  expect(now.content()).toEqual(contentOf(alive))
  // Deletions of the last thirty days are kept, and no others.
  const kept = [...now.recordsByKey].flatMap(([key, { record }]) => (record.value === null ? [key] : []))
  expect(new Set(kept.map((key) => Number(/\d+/.exec(key)?.[0])))).toEqual(new Set([60, 65, 70, 75, 80, 85]))
  const resets: number[] = []
  for (const { day, cursor } of copies) {
    const own = await self.server.connect()
    own.send({ type: 'SYNC_INIT', mapName: 'm', cursor })
    await own.until(() => own.inbox.some(({ type }) => type === 'SYNC_DIFF' || type === 'SYNC_RESET_REQUIRED'))
    if (own.inbox.some(({ type }) => type === 'SYNC_RESET_REQUIRED')) resets.push(day)
    own.end()
  }
  // Who was away for longer than deletions are kept begins anew; who was not goes on.
  expect(resets).toEqual(copies.map(({ day }) => day).filter((day) => day <= 60))
})

const contentOf = (keys: ReadonlySet<string>): Record<string, string> =>
  Object.fromEntries([...keys].map((key) => [key, 'here']))

test('gcIntervalMs is 60,000 and says how often what has ended is looked for', async () => {
  const expiredAfter = async (gcIntervalMs: number | undefined, ms: number): Promise<number | undefined> => {
    await using self = await scene(gcIntervalMs === undefined ? {} : { gcIntervalMs })
    await self.write(put('m', 'k', 1, { stamp: self.at(-5_000), ttlMs: 1 }))
    self.env.advance(ms)
    await self.client.settle()
    const metric = self.server.server.metrics().find(({ name }) => name === 'syncline_expired_records_total')
    return metric?.values[0]?.value
  }
  expect(await expiredAfter(undefined, 50_000)).toBe(0)
  expect(await expiredAfter(undefined, 60_000)).toBe(1)
  expect(await expiredAfter(5_000, 5_000)).toBe(1)
})

test.each([
  ['gcIntervalMs', 0],
  ['gcIntervalMs', Number.NaN],
  ['gcIntervalMs', 2 ** 31],
  ['tombstoneRetentionDays', 0],
  ['tombstoneRetentionDays', -1],
  ['tombstoneRetentionDays', Infinity],
])('%s: %s is refused', async (name, value) => {
  await expect(startTestServer({ [name]: value })).rejects.toThrow(name)
})

test.each([0, -1, '5', true])('[OP7] a time to live of %s is refused', async (ttlMs) => {
  await using self = await scene()
  const tail = await self.server.connect({ encoding: 'msgpack' })
  tail.send(clientOp(put('m', 'k', 1, { stamp: self.at(0), ttlMs: ttlMs as number })))
  expect((await tail.take('OP_ACK')).payload.results).toMatchObject([{ success: false, errorCode: 'VALIDATION_ERROR' }])
})
