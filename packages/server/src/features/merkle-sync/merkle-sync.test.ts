import type { LwwRecord } from '@syncline/core'
import { MerkleTrie, fnv1a, stampDigest, stateDigest } from '@syncline/core/merkle'
import { LIMITS, encodeMsgpack, type Encoding, type KeyedRecord, type WireRecord } from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import { memoryStorage } from '@syncline/storage'
import { GatedStorage, SECRET, clientOp, opBatch, patch, put, remove, stampAt, tokenOf } from '../../testing/harness.ts'
import { Replica } from '../../testing/replica.ts'
import { startTestServer, type TestClient } from '../../testing/test-server.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']

async function write(client: TestClient, ...ops: Parameters<typeof opBatch>[0][number][]): Promise<void> {
  for (let i = 0; i < ops.length; i += 1_000) {
    client.send(opBatch(ops.slice(i, i + 1_000)))
    const { results } = (await client.take('OP_ACK')).payload
    expect(results.filter(({ success }) => !success)).toEqual([])
  }
}

async function liveReplica(
  client: TestClient,
  mapName: string,
  replica: Replica = new Replica(mapName),
): Promise<Replica> {
  replica.attach(client)
  await client.until(() => replica.isLive)
  return replica
}

describe.each(encodings)('a follower by cursor in %s', (encoding) => {
  test('INV-10: from nothing it gets every record in pages, and the closing digest is that of what it holds', async () => {
    await using server = await startTestServer()
    const writer = await server.connect()
    const client = await server.connect({ encoding })
    await write(
      writer,
      ...Array.from({ length: 1_300 }, (_, i) =>
        put('m', `key-${i}`, { i, text: 'väl😀', bytes: new Uint8Array([i & 255]) }),
      ),
      patch('m', 'key-1', { i: -1 }, { unset: ['text'] }),
      remove('m', 'key-2'),
      patch('m', 'key-2', { hidden: true }),
      put('m', 'key-3', 'text', { ttlMs: 1e9 }),
    )
    const replica = await liveReplica(client, 'm')
    expect(replica.breaches).toEqual([])
    expect(replica.digest).toBe(replica.ownDigest())
    expect(replica.received).toBe(1_300)
    const pages = client.inbox.filter((message) => message.type === 'SYNC_DIFF')
    expect(pages.length).toBeGreaterThanOrEqual(3)
    expect(pages.slice(0, -1).every((page) => page.type === 'SYNC_DIFF' && page.payload.digest === undefined)).toBe(
      true,
    )
    client.send({ type: 'SYNC_INIT', mapName: 'm' })
    const root = (await client.take('SYNC_RESP_ROOT')).payload
    expect(root.digest).toBe(replica.digest)
    expect(root.rootHash).toBe(Number.parseInt(replica.digest?.slice(0, 8) ?? '', 16))
  })

  test('from a position it gets what came after it, each record once in its present state', async () => {
    await using server = await startTestServer()
    const writer = await server.connect()
    await write(writer, ...Array.from({ length: 100 }, (_, i) => put('m', `k${i}`, 0)))
    const first = await server.connect({ encoding })
    const replica = await liveReplica(first, 'm')
    first.end()
    await write(writer, ...Array.from({ length: 300 }, (_, i) => put('m', `k${i % 10}`, i)), remove('m', 'k50'))
    replica.received = 0
    const again = await liveReplica(await server.connect({ encoding }), 'm', replica)
    expect(again.received).toBe(11)
    expect(again.breaches).toEqual([])
    expect(again.content()['k9']).toBe(299)
  })

  test('an empty map has one empty closing page, and its cursor is good', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    client.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    const { payload } = await client.take('SYNC_DIFF')
    expect(payload).toMatchObject({ records: [], more: false, digest: '0'.repeat(16), rootHash: 0 })
    client.send({ type: 'SYNC_INIT', mapName: 'm', cursor: payload.cursor })
    expect((await client.take('SYNC_DIFF')).payload).toMatchObject({ records: [], more: false })
  })

  test('INV-22: no page is larger than its limit allows, however large records are', async () => {
    await using server = await startTestServer()
    const writer = await server.connect()
    await write(writer, ...Array.from({ length: 60 }, (_, i) => put('m', `k${i}`, `${i} ${'x'.repeat(200_000)}`)))
    const client = await server.connect({ encoding })
    let largest = 0
    const replica = new Replica('m')
    replica.attach(client)
    client.onMessage = (message, frame) => {
      largest = Math.max(largest, frame.length)
      replica.take(message)
    }
    await client.until(() => replica.isLive)
    expect(replica.recordsByKey.size).toBe(60)
    expect(largest).toBeLessThan(2 * LIMITS.pageBytes)
    const keys = [...replica.recordsByKey.keys()]
    largest = 0
    client.send({ type: 'SYNC_FETCH', payload: { mapName: 'm', keys: [...keys, 'nobody'] } })
    const fetched: KeyedRecord[] = []
    for (let more = true; more;) {
      const { payload } = await client.take('SYNC_RECORDS')
      fetched.push(...payload.records)
      ;({ more } = payload)
      if (!more) expect(payload.absent).toEqual(['nobody'])
    }
    expect(fetched.map(({ key }) => key)).toEqual(keys)
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: {} } })
    let rows = 0
    for (let more: boolean | undefined = true; more === true;) {
      const { payload } = await client.take('QUERY_RESP')
      rows += payload.results.length
      ;({ more } = payload)
    }
    expect(rows).toBe(60)
    expect(largest).toBeLessThan(2 * LIMITS.pageBytes)
    expect(client.closed).toBeUndefined()
  })

  test('INV-22: a batch of any size disturbs nobody who follows the map or a query over it', async () => {
    await using server = await startTestServer()
    const writer = await server.connect({ encoding: 'msgpack' })
    const clients = await Promise.all(Array.from({ length: 2 }, () => server.connect({ encoding })))
    const replicas = await Promise.all(clients.map((client) => liveReplica(client, 'm')))
    const [existing, asker] = [await server.connect({ encoding }), await server.connect({ encoding })]
    existing.send({ type: 'SYNC_INIT', mapName: 'm' })
    await existing.take('SYNC_RESP_ROOT')
    asker.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: {} } })
    await asker.take('QUERY_RESP')
    await write(writer, ...Array.from({ length: 300 }, (_, i) => put('m', `k${i}`, `${i} ${'x'.repeat(20_000)}`)))
    for (const [i, client] of clients.entries()) {
      await client.until(() => replicas[i]?.recordsByKey.size === 300, 20_000)
      expect(replicas[i]?.breaches).toEqual([])
    }
    const keysOf = (client: TestClient, type: 'event' | 'update'): Set<string> =>
      new Set(
        client.inbox.flatMap((message) => {
          if (type === 'update') return message.type === 'QUERY_UPDATE' ? [message.payload.key] : []
          if (message.type === 'SERVER_EVENT') return [message.payload.key]
          return message.type === 'SERVER_BATCH_EVENT' ? message.payload.events.map(({ key }) => key) : []
        }),
      )
    await existing.until(() => keysOf(existing, 'event').size === 300, 20_000)
    await asker.until(() => keysOf(asker, 'update').size === 300, 20_000)
  })

  test.each([
    ['garbage', () => 'garbage'],
    ['an empty text', () => ''],
    ['another database', (cursor: string) => `${cursor.slice(0, cursor.lastIndexOf('.'))}.other`],
    ['another redaction class', (cursor: string) => cursor.replace('.*.', '.abc.')],
    ['a position ahead of the database', (cursor: string) => `zzzzzzzzzz.${cursor.split('.').slice(1).join('.')}`],
    ['a position that is no number', (cursor: string) => `zzzzzzzzzzzzzzz.${cursor.split('.').slice(1).join('.')}`],
  ])('[SY10] a cursor of %s is answered by SYNC_RESET_REQUIRED, and nothing follows it', async (_, forge) => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    await write(client, put('m', 'a', 1))
    client.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    const { cursor } = (await client.take('SYNC_DIFF')).payload
    client.inbox.length = 0
    client.send({ type: 'SYNC_INIT', mapName: 'm', cursor: forge(cursor) })
    expect((await client.take('SYNC_RESET_REQUIRED')).payload.mapName).toBe('m')
    await write(client, put('m', 'b', 1))
    await client.settle()
    expect(client.inbox).toEqual([])
    client.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    expect((await client.take('SYNC_DIFF')).payload.records).toHaveLength(2)
  })

  test('SYNC_STOP ends what is sent of a map, and of no other', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    for (const mapName of ['m', 'n']) {
      client.send({ type: 'SYNC_INIT', mapName, cursor: null })
      await client.take('SYNC_DIFF')
    }
    client.send({ type: 'SYNC_STOP', mapName: 'm' })
    client.send({ type: 'SYNC_STOP', mapName: 'never followed' })
    client.inbox.length = 0
    await write(client, put('m', 'a', 1), put('n', 'a', 1))
    await client.settle()
    expect(client.inbox.map((message) => message.type === 'SERVER_EVENT' && message.payload.mapName)).toEqual(['n'])
    expect(server.server.inspect()['merkle-sync']).toEqual({ following: 1, behind: 0 })
  })

  test('following twice starts anew, and events come once', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    for (let i = 0; i < 3; i++) {
      client.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
      await client.take('SYNC_DIFF')
    }
    await write(client, put('m', 'a', 1))
    await client.take('SERVER_EVENT')
    await client.settle()
    expect(client.inbox.filter(({ type }) => type === 'SERVER_EVENT')).toEqual([])
  })
})

describe('limits', () => {
  test('INV-22: a connection follows a bounded number of maps, whether it asks by SYNC_INIT or by queries', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding: 'msgpack' })
    for (let i = 0; i < LIMITS.mapsPerConnection; i++)
      client.send({ type: 'SYNC_INIT', mapName: `m${i}`, cursor: null })
    await client.settle()
    expect(server.server.inspect()['merkle-sync']).toMatchObject({ following: LIMITS.mapsPerConnection })
    client.send({ type: 'SYNC_INIT', mapName: 'one-more', cursor: null })
    expect((await client.take('ERROR')).payload).toMatchObject({
      errorCode: 'LIMIT_EXCEEDED',
      details: { limit: 'mapsPerConnection', max: LIMITS.mapsPerConnection },
    })
    const existing = await server.connect()
    for (let i = 0; i < LIMITS.mapsPerConnection; i++) existing.send({ type: 'SYNC_INIT', mapName: `x${i}` })
    existing.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'another', query: {} } })
    await existing.take('QUERY_RESP')
    expect(server.server.inspect()['merkle-sync']).toMatchObject({ following: 2 * LIMITS.mapsPerConnection })
  })
})

describe('stress', () => {
  test('INV-13: through random writes and random disconnections no follower misses a commit or sees one out of order', async () => {
    await using server = await startTestServer()
    const seed = 20_260_101
    let state = seed
    const random = (): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return state / 2 ** 32
    }
    const pick = (n: number): number => Math.floor(random() * n)
    const writers = await Promise.all(
      encodings.flatMap((encoding) => [server.connect({ encoding }), server.connect({ encoding })]),
    )
    const keys = Array.from({ length: 400 }, (_, i) => `key-${i}`)
    await write(writers[0] as TestClient, ...keys.map((key) => put('m', key, { n: 0, pad: 'p'.repeat(1_500) })))
    const followers = encodings.flatMap((encoding) =>
      Array.from({ length: 3 }, () => ({
        encoding,
        replica: new Replica('m'),
        client: undefined as TestClient | undefined,
      })),
    )
    for (let round = 0; round < 80; round++) {
      for (const writer of writers) {
        const ops = Array.from({ length: 1 + pick(8) }, () => {
          const key = keys[pick(keys.length)] as string
          const dice = random()
          const stamp = stampAt(Date.now() - pick(5_000), pick(100), `w${pick(4)}`)
          if (dice < 0.5) return put('m', key, { n: round, pad: 'p'.repeat(pick(3_000)) }, { stamp })
          return dice < 0.85 ? patch('m', key, { [`f${pick(4)}`]: round }, { stamp }) : remove('m', key, { stamp })
        })
        writer.send(random() < 0.5 ? opBatch(ops) : clientOp(ops[0] as never))
      }
      for (const follower of followers) {
        if (follower.client === undefined) {
          follower.client = await server.connect({ encoding: follower.encoding })
          follower.replica.attach(follower.client)
        } else if (random() < 0.06) {
          // Whatever was on its way is gone.
          follower.client.onMessage = undefined
          follower.client.end()
          follower.client = undefined
          // Some come back with nothing, so that pages and writes go on at the same time.
          if (random() < 0.5) follower.replica = new Replica('m')
        }
      }
      if (round % 10 === 0) await Promise.all(writers.map((writer) => writer.settle()))
    }
    await Promise.all(writers.map((writer) => writer.settle()))
    const truth = await liveReplica(await server.connect(), 'm')
    for (const follower of followers) {
      follower.client ??= await server.connect({ encoding: follower.encoding })
      if (!follower.replica.isLive) follower.replica.attach(follower.client)
      await follower.client.settle()
      await follower.client.until(() => follower.replica.isLive && follower.replica.seq === truth.seq)
      expect(follower.replica.breaches).toEqual([])
      expect(follower.replica.resets).toBe(0)
      expect(follower.replica.ownDigest()).toBe(truth.digest)
      expect(new Map(follower.replica.recordsByKey)).toEqual(truth.recordsByKey)
    }
  })
})

describe('existing clients', () => {
  const vectorStamps: readonly (readonly [string, LwwRecord['timestamp']])[] = Array.from({ length: 100 }, (_, i) => [
    `key-${i}`,
    { millis: 1_700_000_000_000 + i, counter: i % 3, nodeId: `node-${i % 4}` },
  ])

  test.each<[string, readonly (readonly [string, LwwRecord['timestamp']])[], number]>([
    ['V1', [['t1', { millis: 1_706_000_000_000, counter: 1, nodeId: 'client-1' }]], 627_195_050],
    [
      'V2',
      [
        ['t1', { millis: 1_706_000_000_000, counter: 1, nodeId: 'client-1' }],
        ['t2', { millis: 1_706_000_000_500, counter: 0, nodeId: 'client-2' }],
      ],
      3_333_465_492,
    ],
    [
      'V4',
      [
        ['ключ', { millis: 1, counter: 2, nodeId: 'n' }],
        ['😀', { millis: 3, counter: 4, nodeId: 'm' }],
      ],
      1_797_215_653,
    ],
    ['V5', vectorStamps, 499_161_845],
  ])('the root hash is the one that they compute: %s', async (_, records, rootHash) => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding: 'msgpack' })
    await write(client, ...records.map(([key, stamp]) => put('m', key, 1, { stamp })))
    client.send({ type: 'SYNC_INIT', mapName: 'm' })
    expect((await client.take('SYNC_RESP_ROOT')).payload.rootHash).toBe(rootHash)
  })

  test('[SY11] the buckets of V2 are the ones that they compute', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding: 'msgpack' })
    await write(
      client,
      put('m', 't1', 1, { stamp: stampAt(1_706_000_000_000, 1, 'client-1') }),
      put('m', 't2', 2, { stamp: stampAt(1_706_000_000_500, 0, 'client-2') }),
    )
    const buckets: Record<string, unknown> = {}
    for (const path of ['', '0', '08', '07', 'f']) {
      client.send({ type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'm', path } })
      buckets[path] = (await client.take('SYNC_RESP_BUCKETS')).payload.buckets
    }
    expect(buckets).toEqual({
      '': { '0': 273_111_667 },
      '0': { '7': 754_532_552, '8': 1_157_703_966 },
      '08': { '4': 1_409_898_598 },
      '07': { '4': expect.any(Number) },
      f: {},
    })
  })

  test('INV-10: a walk by root, buckets and leaves brings over every record that differs', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding: 'msgpack' })
    const other = await server.connect()
    await write(other, ...vectorStamps.map(([key, stamp]) => put('m', key, { key }, { stamp })))
    await write(other, remove('m', 'key-7'), put('m', 'key-8', 'changed'))
    // The client has half of it, as it was.
    const held = new Map<string, WireRecord>(
      vectorStamps.slice(0, 50).map(([key, timestamp]) => [key, { value: { key }, timestamp }]),
    )
    const ownTrie = (): MerkleTrie => {
      const trie = new MerkleTrie()
      for (const [key, { timestamp, value }] of held) {
        const record = { value, timestamp, base: timestamp }
        trie.add(fnv1a(key), stampDigest(fnv1a(key), timestamp), stateDigest(key, record))
      }
      return trie
    }
    client.send({ type: 'SYNC_INIT', mapName: 'm', lastSyncTimestamp: 0 })
    const { rootHash } = (await client.take('SYNC_RESP_ROOT')).payload
    expect(ownTrie().rootHash()).not.toBe(rootHash)
    const walk = async (path: string): Promise<void> => {
      client.send({ type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'm', path } })
      if (path.length === 3) {
        const { records } = (await client.take('SYNC_RESP_LEAF', ({ payload }) => payload.path === path)).payload
        for (const { key, record } of records) held.set(key, record)
        return
      }
      const { buckets } = (await client.take('SYNC_RESP_BUCKETS', ({ payload }) => payload.path === path)).payload
      const own = ownTrie().children(path)
      for (const [digit, hash] of Object.entries(buckets)) if (own[digit]?.stamps !== hash) await walk(path + digit)
    }
    await walk('')
    expect(ownTrie().rootHash()).toBe(rootHash)
    expect(held.size).toBe(100)
    expect(held.get('key-7')?.value).toBeNull()
    expect(held.get('key-8')?.value).toBe('changed')
  })

  test('[SY7] a path that is none is refused and the connection survives; longer paths name part of a leaf', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    await write(client, put('m', 't1', 1), put('m', 't2', 2))
    for (const path of ['g', '0123456789', 'ABC', 5 as never]) {
      client.send({ type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'm', path } })
      expect((await client.take('ERROR')).payload).toMatchObject({ code: 400, about: 'MERKLE_REQ_BUCKET' })
    }
    for (const [path, keys] of [
      ['084', ['t1']],
      ['0844ecd6', ['t1']],
      ['0844', ['t1']],
      ['0845', []],
    ] as const) {
      client.send({ type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'm', path } })
      const { records } = (await client.take('SYNC_RESP_LEAF')).payload
      expect(records.map(({ key }) => key)).toEqual(keys)
    }
  })

  test('flat and wrapped requests are the same', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding: 'msgpack' })
    client.sendRaw(encodeMsgpack({ type: 'SYNC_INIT', payload: { mapName: 'm', lastSyncTimestamp: 0 } } as never))
    await client.take('SYNC_RESP_ROOT')
    client.sendRaw(encodeMsgpack({ type: 'MERKLE_REQ_BUCKET', mapName: 'm', path: '' } as never))
    await client.take('SYNC_RESP_BUCKETS')
  })
})

describe.each(encodings)('the walk of Syncline peers in %s', (encoding) => {
  test('[SY5] [SY6] SYNC_TRIE, SYNC_LEAVES and SYNC_FETCH bring over what differs, hidden field writes included', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    await write(client, ...Array.from({ length: 300 }, (_, i) => put('m', `k${i}`, { i })))
    const before = await liveReplica(await server.connect(), 'm')
    const old = new Map([...before.recordsByKey].map(([key, { record }]) => [key, record]))
    await write(
      client,
      remove('m', 'k1'),
      patch('m', 'k1', { hidden: 1 }),
      put('m', 'k2', { i: -2 }),
      put('m', 'new', 1),
    )

    client.send({ type: 'SYNC_TRIE', payload: { mapName: 'm' } })
    const { leaves, digest } = (await client.take('SYNC_TRIE_RESP')).payload
    expect(leaves.length).toBe(4096 * 8)
    const own = new MerkleTrie()
    for (const [key, record] of old) {
      own.add(fnv1a(key), stampDigest(fnv1a(key), record.timestamp), stateDigest(key, record))
    }
    const ownLeaves = own.leaves()
    const differing = Array.from({ length: 4096 }, (_, leaf) => leaf).filter((leaf) =>
      leaves.subarray(leaf * 8, leaf * 8 + 8).some((byte, i) => byte !== ownLeaves[leaf * 8 + i]),
    )
    expect(differing.length).toBe(3)
    client.send({ type: 'SYNC_LEAVES', payload: { mapName: 'm', leaves: differing } })
    const { keys, digests, more } = (await client.take('SYNC_LEAVES_RESP')).payload
    expect(more).toBe(false)
    const view = new DataView(digests.buffer, digests.byteOffset)
    const wanted = keys.filter((key, i) => {
      const record = old.get(key)
      return record === undefined || view.getUint32(i * 8 + 4) !== stateDigest(key, record)
    })
    expect(wanted.toSorted()).toEqual(['k1', 'k2', 'new'])
    client.send({ type: 'SYNC_FETCH', payload: { mapName: 'm', keys: [...wanted, 'nobody'] } })
    const fetched = (await client.take('SYNC_RECORDS')).payload
    expect(fetched.absent).toEqual(['nobody'])
    const after = await liveReplica(await server.connect({ encoding }), 'm')
    expect(after.digest).toBe(digest)
    expect(fetched.records.find(({ key }) => key === 'k1')?.record.fields).toMatchObject({ hidden: { value: 1 } })
  })
})

test('INV-22: keys of leaves come in pages, and each once however often its leaf is asked for', async () => {
  await using server = await startTestServer()
  const client = await server.connect()
  const keys = Array.from({ length: 1_500 }, (_, i) => `${i}-${'k'.repeat(400)}`)
  await write(client, ...keys.map((key) => put('m', key, 1)))
  let largest = 0
  client.onMessage = (_, frame) => (largest = Math.max(largest, frame.length))
  const everywhere = Array.from({ length: 4096 }, (_, leaf) => leaf)
  client.send({ type: 'SYNC_LEAVES', payload: { mapName: 'm', leaves: [...everywhere, ...everywhere] } })
  const found: string[] = []
  for (let more = true; more;) {
    const { payload } = await client.take('SYNC_LEAVES_RESP')
    expect(payload.digests.length).toBe(payload.keys.length * 8)
    found.push(...payload.keys)
    ;({ more } = payload)
  }
  expect(found.toSorted()).toEqual(keys.toSorted())
  expect(largest).toBeLessThan(2 * LIMITS.pageBytes)
})

describe('SYNC_PUSH', () => {
  const wire = (value: unknown, at: number, more: object = {}): WireRecord =>
    ({ value, timestamp: stampAt(at), ...more }) as WireRecord

  test.each(encodings)('INV-10: merges records with all their stamps, in any order, in %s', async (encoding) => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    const follower = await liveReplica(await server.connect(), 'm')
    await write(
      client,
      put('m', 'older here', { a: 1 }, { stamp: stampAt(1_000) }),
      put('m', 'newer here', 2, { stamp: stampAt(9_000) }),
    )
    const records = [
      { key: 'new', record: wire({ a: 1 }, 5_000) },
      {
        key: 'older here',
        record: wire({ a: 2, b: 3 }, 5_000, { base: stampAt(2_000), fields: { b: { stamp: stampAt(5_000) } } }),
      },
      { key: 'newer here', record: wire(1, 5_000) },
      {
        key: 'tombstone',
        record: wire(null, 5_000, { base: stampAt(4_000), fields: { h: { stamp: stampAt(5_000), value: 7 } } }),
      },
    ]
    client.send({ type: 'SYNC_PUSH', payload: { mapName: 'm', records } })
    expect((await client.take('SYNC_PUSH_RESP')).payload).toEqual({ mapName: 'm', accepted: 4, refused: [] })
    const after = await liveReplica(await server.connect(), 'm')
    expect(after.content()).toEqual({ new: { a: 1 }, 'newer here': 2, 'older here': { a: 2, b: 3 } })
    expect(after.recordsByKey.get('tombstone')?.record.fields).toEqual({ h: { stamp: stampAt(5_000), value: 7 } })
    await client.settle()
    expect(follower.breaches).toEqual([])
  })

  test.each<[string, readonly unknown[], string]>([
    ['an item without a key', [{ key: 'a', record: wire(1, 1_000) }, { record: wire(1, 1_000) }], 'VALIDATION_ERROR'],
    ['an item with an empty key', [{ key: '', record: wire(1, 1_000) }], 'BAD_KEY'],
    ['an item that is no map', ['text'], 'VALIDATION_ERROR'],
    ['too many items', Array.from({ length: 1_001 }, () => ({ key: 'a', record: wire(1, 1_000) })), 'TOO_LARGE'],
  ])('[SY2] %s refuses the message, of which nothing is merged', async (_, records, code) => {
    await using server = await startTestServer()
    const client = await server.connect()
    client.send({ type: 'SYNC_PUSH', payload: { mapName: 'm', records: records as KeyedRecord[] } })
    expect((await client.take('ERROR')).payload).toMatchObject({ errorCode: code, about: 'SYNC_PUSH' })
    expect((await liveReplica(client, 'm')).content()).toEqual({})
  })

  test('what is refused is named with its code and the record of the server; the rest is merged', async () => {
    await using server = await startTestServer({
      jwtSecret: SECRET,
      securityPolicies: [
        { role: 'WRITER', mapNamePattern: 'm', actions: ['READ', 'PUT'] },
        { role: 'PARTIAL', mapNamePattern: 'm', actions: ['READ', 'PUT'], allowedFields: ['a'] },
        { role: 'READER', mapNamePattern: 'm', actions: ['READ'] },
        { role: 'BLIND', mapNamePattern: 'm', actions: ['PUT'] },
      ],
    })
    const admin = await server.connect({ token: tokenOf('root', 'ADMIN') })
    await write(admin, put('m', 'k', { a: 1, secret: 'canary' }))
    const push = async (role: string, records: KeyedRecord[]): Promise<readonly unknown[]> => {
      const client = await server.connect({ token: tokenOf('u', role) })
      client.send({ type: 'SYNC_PUSH', payload: { mapName: 'm', records } })
      client.send({ type: 'PING', timestamp: 1 })
      await client.take('PONG')
      const reply = client.inbox.find(({ type }) => type === 'SYNC_PUSH_RESP')
      return reply?.type === 'SYNC_PUSH_RESP'
        ? reply.payload.refused
        : client.inbox.flatMap((message) => (message.type === 'ERROR' ? [message.payload] : []))
    }
    expect(
      await push('WRITER', [
        { key: 'ok', record: wire(1, 1_000) },
        { key: 'k', record: wire(null, 1_000) },
        { key: 'k', record: wire('a\u0000', 1_000) },
        { key: 'future', record: wire(1, Date.now() + 100_000) },
      ]),
    ).toMatchObject([
      { key: 'k', errorCode: 'FORBIDDEN', record: { value: { a: 1, secret: 'canary' } }, seq: expect.any(Number) },
      { key: 'k', errorCode: 'BAD_VALUE' },
      { key: 'future', errorCode: 'CLOCK_SKEW' },
    ])
    const partial = await push('PARTIAL', [{ key: 'k', record: wire({ a: 2 }, 1_000) }])
    expect(partial).toMatchObject([{ errorCode: 'FORBIDDEN', record: { value: { a: 1 } } }])
    expect(JSON.stringify(partial)).not.toContain('canary')
    expect(await push('READER', [{ key: 'k', record: wire(2, 1_000) }])).toMatchObject([{ errorCode: 'FORBIDDEN' }])
    const blind = await push('BLIND', [{ key: 'k', record: wire(2, 1_000) }])
    expect(blind).toMatchObject([{ errorCode: 'FORBIDDEN' }])
    expect(JSON.stringify(blind)).not.toContain('canary')
    expect((await liveReplica(admin, 'm')).content()).toEqual({ k: { a: 1, secret: 'canary' }, ok: 1 })
  })

  test('INV-22 [SY2]: what is refused of a push comes in pages, each record with what the server holds', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    const keys = Array.from({ length: 60 }, (_, i) => `k${i}`)
    await write(client, ...keys.map((key) => put('m', key, 'x'.repeat(100_000))))
    let largest = 0
    client.onMessage = (_, frame) => (largest = Math.max(largest, frame.length))
    const records = [...keys, 'new'].map((key) => ({
      key,
      record: wire(1, Date.now() + (key === 'new' ? 0 : 100_000)),
    }))
    client.send({ type: 'SYNC_PUSH', payload: { mapName: 'm', records }, requestId: 'r' })
    const refused: string[] = []
    for (let more = true; more;) {
      const { payload, requestId } = await client.take('SYNC_PUSH_RESP')
      expect([requestId, payload.accepted]).toEqual(['r', 1])
      for (const { key, errorCode, record, seq } of payload.refused) {
        expect([errorCode, record?.value, typeof seq]).toEqual(['CLOCK_SKEW', 'x'.repeat(100_000), 'number'])
        refused.push(key)
      }
      more = payload.more === true
    }
    expect(refused).toEqual(keys)
    expect(largest).toBeLessThan(2 * LIMITS.pageBytes)
  })
})

describe('a request', () => {
  test('[FR13]: its id is repeated by every page of the diff, and by no event', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    await write(client, ...Array.from({ length: 4 }, (_, i) => put('m', `k${i}`, 'x'.repeat(100_000))))
    client.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null, requestId: 'r' })
    const pages = [await client.take('SYNC_DIFF'), await client.take('SYNC_DIFF')]
    expect(pages.map(({ requestId, payload }) => [requestId, payload.more])).toEqual([
      ['r', true],
      ['r', false],
    ])
    await write(client, put('m', 'k', 1))
    expect(await client.take('SERVER_EVENT')).not.toHaveProperty('requestId')
  })

  test('to stop following a map that is not in memory does not bring it there', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    const opened = storage.open.bind(storage)
    storage.open = async (...args) => ({ ...(await opened(...args)), mapNames: ['stored'] })
    const loaded: string[] = []
    const load = storage.load.bind(storage)
    storage.load = (mapName) => {
      loaded.push(mapName)
      return load(mapName)
    }
    await using server = await startTestServer({ storage })
    const client = await server.connect()
    client.send({ type: 'SYNC_STOP', mapName: 'stored' })
    await client.settle()
    expect(loaded).toEqual([])
    client.send({ type: 'SYNC_INIT', mapName: 'stored', cursor: null })
    await client.take('SYNC_DIFF')
    expect(loaded).toEqual(['stored'])
  })
})
