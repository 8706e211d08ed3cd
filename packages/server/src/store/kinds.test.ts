import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ClientOp, ItemOp, KeyedRecord, OpResult } from '@syncline/protocol'
import { StorageError, memoryStorage } from '@syncline/storage'
import { sqliteStorage } from '@syncline/storage/sqlite'
import { afterAll, describe, expect, test } from 'vitest'
import {
  GatedStorage,
  MovableEnv,
  SECRET,
  add,
  clientOp,
  count,
  opBatch,
  put,
  removeItem,
  stampAt,
  tokenOf,
  until,
} from '../testing/harness.ts'
import { Replica } from '../testing/replica.ts'
import { startTestServer, type TestClient, type TestServer } from '../testing/test-server.ts'

const folder = mkdtempSync(join(tmpdir(), 'syncline-kinds-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0
const newPath = (): string => join(folder, `${++files}.db`)
const start = (path: string, more: object = {}): Promise<TestServer> =>
  startTestServer({ storage: sqliteStorage({ path }), ...more })

/** What kill -9 leaves of a database. */
function crashCopy(path: string): string {
  const copy = newPath()
  for (const end of ['', '-wal']) if (existsSync(path + end)) copyFileSync(path + end, copy + end)
  return copy
}

async function resultsOf(client: TestClient, ...ops: readonly (ClientOp | ItemOp)[]): Promise<readonly OpResult[]> {
  client.send(opBatch(ops))
  return (await client.take('OP_ACK')).payload.results
}

async function followed(client: TestClient, mapName: string): Promise<Replica> {
  const replica = new Replica(mapName)
  replica.attach(client)
  await until(() => replica.isLive, 'the closing page')
  return replica
}

/** What a replica holds, as it would push it. */
function recordsOf({ recordsByKey }: Replica): KeyedRecord[] {
  return [...recordsByKey].map(([key, { record }]) => {
    const { version: _, ...rest } = record
    return { key, record: rest }
  })
}

const wrong = { success: false, errorCode: 'WRONG_MAP_KIND' }

describe('a restart', () => {
  test('[KD1] [KD2] INV-6: kinds, items, counters and whose nodes are, are as they were', async () => {
    const path = newPath()
    const auth = {
      jwtSecret: SECRET,
      securityPolicies: [{ role: 'USER', mapNamePattern: '*', actions: ['ALL' as const] }],
    }
    let digests: (string | undefined)[]
    {
      await using server = await start(path, auth)
      const client = await server.connect({ token: tokenOf('ada', 'USER') })
      await resultsOf(
        client,
        add('tags', 'k:1', { a: [1] }, { tag: '1:0:a', ttlMs: 1e9 }),
        add('tags', 'k:1', 'b', { tag: '2:0:a' }),
        removeItem('tags', 'k:1', '2:0:a'),
        count('votes', 'phone', 3, 1),
        put('todos', 'k', { a: 1 }),
      )
      digests = [(await followed(client, 'tags')).digest, (await followed(client, 'counter:votes')).digest]
    }
    await using server = await start(path, auth)
    const ada = await server.connect({ token: tokenOf('ada', 'USER') })
    const ben = await server.connect({ token: tokenOf('ben', 'USER') })
    // Before anything of these maps was read.
    expect(await resultsOf(ada, put('tags', 'k', 1), add('todos', 'k', 1))).toMatchObject([wrong, wrong])
    expect(await resultsOf(ben, count('likes', 'phone', 1), count('votes', 'phone', 9))).toMatchObject([
      { errorCode: 'FORBIDDEN' },
      { errorCode: 'FORBIDDEN' },
    ])
    const [tags, votes] = [
      await followed(ada, 'tags'),
      await followed(await server.connect({ token: tokenOf('ada', 'USER') }), 'counter:votes'),
    ]
    expect([tags.digest, votes.digest]).toEqual(digests)
    expect(tags.content()).toEqual({ '1:0:a:k:1': { a: [1] } })
    expect(votes.content()).toEqual({ phone: { p: 3, n: 1 } })
    expect(await resultsOf(ada, add('tags', 'k:1', 'b', { tag: '2:0:a' }))).toMatchObject([{ superseded: true }])
    expect(await resultsOf(ada, count('votes', 'phone', 4, 1))).toMatchObject([{ success: true }])
  })

  test('[KD2] a kind is stored in the batch of the first record: a crash leaves both or neither', async () => {
    const path = newPath()
    const storage = new GatedStorage(sqliteStorage({ path }))
    await using server = await startTestServer({ storage })
    const client = await server.connect()
    await resultsOf(client, put('before', 'k', 1, { writeConcern: 'PERSISTED' }))
    const batchesBefore = storage.batches.length
    storage.hold()
    await resultsOf(client, add('tags', 'k', 1, { tag: '1:0:a' }), add('tags', 'k', 2, { tag: '2:0:a' }))
    await until(() => storage.heldCount > 0, 'the batch')
    const neither = crashCopy(path)
    storage.release()
    await resultsOf(client, put('before', 'k', 2, { writeConcern: 'PERSISTED' }))
    const both = crashCopy(path)
    const holding = storage.batches
      .slice(batchesBefore)
      .filter(({ records }) => records.some(({ mapName }) => mapName === 'tags'))
    expect(holding).toHaveLength(1)
    expect(holding[0]?.values).toMatchObject({ 'syncline.kind/tags': 'or' })
    await using withNeither = await start(neither)
    expect(await resultsOf(await withNeither.connect(), put('tags', 'k', 1))).toMatchObject([{ success: true }])
    await using withBoth = await start(both)
    expect(await resultsOf(await withBoth.connect(), put('tags', 'k', 1))).toMatchObject([wrong])
  })

  test('[KD2] a kind whose batch storage refused is stored with the next one', async () => {
    const path = newPath()
    const storage = new GatedStorage(sqliteStorage({ path }))
    await using server = await startTestServer({ storage })
    const client = await server.connect()
    storage.fault = () => new StorageError('full', 'The disk is full.')
    await resultsOf(client, add('tags', 'k', 1, { tag: '1:0:a' }))
    await until(() => server.log.some((line) => line.includes('Storage refuses writes')), 'the refusal')
    storage.fault = undefined
    await until(() => server.log.some((line) => line.includes('Storage works again')), 'recovery')
    await resultsOf(client, put('other', 'k', 1, { writeConcern: 'PERSISTED' }))
    await using again = await start(crashCopy(path))
    expect(await resultsOf(await again.connect(), put('tags', 'k', 1))).toMatchObject([wrong])
  })
})

describe('after a crash that lost what was in memory', () => {
  test.each(['memory', 'sqlite'])(
    '[KD3] INV-10: followers push items, removals and rows back, and nothing counts twice (%s)',
    async (kind) => {
      const path = newPath()
      const held = kind === 'memory' ? memoryStorage() : sqliteStorage({ path })
      const storage = new GatedStorage(held)
      await using server = await startTestServer({ storage })
      const writer = await server.connect()
      await resultsOf(writer, put('before', 'k', 1))
      await until(() => server.server.health().in_flight === 0, 'storage')
      storage.hold()
      await resultsOf(
        writer,
        add('tags', 'k', { a: 1 }, { tag: '1:0:a' }),
        add('tags', 'k', 'gone', { tag: '2:0:a' }),
        removeItem('tags', 'k', '2:0:a'),
        count('votes', 'a', 3),
        count('votes', 'b', 5, 2),
      )
      const tags = await followed(await server.connect(), 'tags')
      const votes = await followed(await server.connect(), 'counter:votes')
      const copy = kind === 'memory' ? undefined : crashCopy(path)

      await using again = await startTestServer(copy === undefined ? {} : { storage: sqliteStorage({ path: copy }) })
      const [first, second] = [await again.connect(), await again.connect()]
      for (const client of [first, second, first]) {
        for (const [mapName, kindOf, replica] of [
          ['tags', 'or', tags],
          ['counter:votes', 'pn', votes],
        ] as const) {
          client.send({ type: 'SYNC_PUSH', payload: { mapName, kind: kindOf, records: recordsOf(replica) } })
          expect((await client.take('SYNC_PUSH_RESP')).payload.refused).toEqual([])
        }
      }
      const now = [
        await followed(await again.connect(), 'tags'),
        await followed(await again.connect(), 'counter:votes'),
      ]
      expect(now.map((replica) => replica.content())).toEqual([
        { '1:0:a:k': { a: 1 } },
        { a: { p: 3, n: 0 }, b: { p: 5, n: 2 } },
      ])
      expect(now.map((replica) => replica.digest)).toEqual([tags.ownDigest(), votes.ownDigest()])
      // The writer sends again what it had been told was done.
      const [addAgain, removed] = await resultsOf(
        first,
        add('tags', 'k', { a: 1 }, { tag: '1:0:a' }),
        add('tags', 'k', 'gone', { tag: '2:0:a' }),
        count('votes', 'a', 3),
      )
      expect(addAgain).toMatchObject({ success: true })
      expect(removed).toMatchObject({ superseded: true })
      expect(await resultsOf(first, put('tags', 'k', 1))).toMatchObject([wrong])
      storage.release()
    },
  )

  test('[OR3] [OM3] INV-12: an add with a later stamp than its removal brings nothing back, pushed or written', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    const [early, late] = [stampAt(), stampAt()]
    await resultsOf(
      client,
      add('tags', 'k', 1, { tag: '1:0:a', stamp: early }),
      removeItem('tags', 'k', '1:0:a', { stamp: early }),
    )
    const record = { value: 1, timestamp: late }
    client.send({ type: 'SYNC_PUSH', payload: { mapName: 'tags', records: [{ key: '1:0:a:k', record }] } })
    expect((await client.take('SYNC_PUSH_RESP')).payload).toMatchObject({ accepted: 1, refused: [] })
    const replica = await followed(client, 'tags')
    // The tombstone took the add's stamp, so that who holds the add and merges plainly gives it up.
    expect(replica.recordsByKey.get('1:0:a:k')?.record).toMatchObject({ value: null, base: late })
  })

  test('[KD3] what is no record of its kind is refused, and sinks no other', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    await resultsOf(client, add('tags', 'k', 1, { tag: '1:0:a' }))
    const stamp = stampAt()
    const good = { value: 2, timestamp: stamp }
    client.send({
      type: 'SYNC_PUSH',
      payload: {
        mapName: 'tags',
        records: [
          { key: 'k', record: good },
          { key: '1:0:a:k', record: good },
          { key: '2:0:a:k', record: { ...good, value: { a: 1 }, base: stampAt(1), fields: { a: { stamp } } } },
          { key: '3:0:a:k', record: good },
        ],
      },
    })
    const { payload } = await client.take('SYNC_PUSH_RESP')
    expect(payload).toMatchObject({ accepted: 1 })
    expect(payload.refused.map(({ key, errorCode }) => [key, errorCode])).toEqual([
      ['k', 'BAD_KEY'],
      ['1:0:a:k', 'ALREADY_EXISTS'],
      ['2:0:a:k', 'VALIDATION_ERROR'],
    ])
    const records = [
      { key: 'a', record: { value: { p: 1, n: 0 }, timestamp: stamp, ttlMs: 5 } },
      { key: 'b', record: { value: null, timestamp: stamp } },
      { key: 'c', record: { value: { p: 1.5, n: 0 }, timestamp: stamp } },
      { key: 'd', record: { value: { p: 1, n: 0 }, timestamp: stamp } },
    ]
    client.send({ type: 'SYNC_PUSH', payload: { mapName: 'counter:votes', records } })
    expect((await client.take('SYNC_PUSH_RESP')).payload.refused).toMatchObject([
      { key: 'a', errorCode: 'VALIDATION_ERROR' },
      { key: 'b', errorCode: 'VALIDATION_ERROR' },
      { key: 'c', errorCode: 'VALIDATION_ERROR' },
    ])
    client.send(clientOp(put('counter:votes', 'd', { p: 1, n: 0 })))
    expect((await client.take('OP_ACK')).payload.results).toMatchObject([{ success: true }])
  })
})

describe('an item whose time has passed', () => {
  test('[RT2] [OM3] is removed under its own stamp, and its tag brings it back no more', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const client = await server.connect()
    const stamp = stampAt(env.now())
    await resultsOf(
      client,
      add('tags', 'k', 1, { stamp, tag: '1:0:a', ttlMs: 1_000 }),
      add('tags', 'k', 2, { tag: '2:0:a' }),
    )
    const replica = await followed(client, 'tags')
    env.advance(3_000)
    client.send({ type: 'PING', timestamp: 0 })
    env.advance(12_000)
    client.send({ type: 'PING', timestamp: 0 })
    await until(() => {
      env.advance(1_000)
      client.send({ type: 'PING', timestamp: 0 })
      return replica.recordsByKey.get('1:0:a:k')?.record.value === null
    }, 'the removal')
    expect(replica.recordsByKey.get('1:0:a:k')?.record.base).toEqual(stamp)
    expect(replica.content()).toEqual({ '2:0:a:k': 2 })
    const [again] = await resultsOf(client, add('tags', 'k', 1, { stamp: stampAt(env.now()), tag: '1:0:a' }))
    expect(again).toMatchObject({ superseded: true })
    expect(replica.breaches).toEqual([])
  })
})
