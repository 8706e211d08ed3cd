import { OrMap, compareTags, formatStamp, type Value } from '@syncline/core'
import { MerkleTrie, fnv1a, itemsDigest } from '@syncline/core/merkle'
import { LIMITS, readItemEvent, type Encoding, type OrEntry, type OrRecord } from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import type { PermissionPolicy } from '../../inbound/authorize.ts'
import { FakeSocket } from '../../testing/fake-socket.ts'
import {
  MovableEnv,
  SECRET,
  add,
  clientOp,
  opBatch,
  put,
  removeItem,
  slowEnv,
  stampAt,
  tokenOf,
  until,
} from '../../testing/harness.ts'
import { Replica } from '../../testing/replica.ts'
import { startTestServer, type TestClient, type TestServer } from '../../testing/test-server.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']
const item = (value: Value, millis: number, nodeId = 'old'): OrRecord => {
  const timestamp = { millis, counter: 0, nodeId }
  return { value, timestamp, tag: formatStamp(timestamp) }
}

/**
 * An existing client's OR-map: items by key, and the tags of all that was removed. It walks the trie where its own
 * differs, and pushes what it holds.
 */
class ExistingMap {
  readonly items = new Map<string, Map<string, OrRecord>>()
  readonly tombstones = new Set<string>()
  requests = 0
  readonly #client: TestClient
  readonly #mapName: string

  constructor(client: TestClient, mapName: string) {
    this.#client = client
    this.#mapName = mapName
    client.onMessage = (message) => {
      const read = readItemEvent(structuredClone(message))
      if (!read.ok) return
      const { payload } = read.value
      for (const event of 'events' in payload ? payload.events : [payload]) {
        if (event.eventType === 'OR_ADD') this.add(event.key, event.orRecord)
        else this.remove(event.orTag)
      }
    }
  }

  add(key: string, record: OrRecord): void {
    if (this.tombstones.has(record.tag)) return
    const items = this.items.get(key)
    if (items === undefined) this.items.set(key, new Map([[record.tag, record]]))
    else items.set(record.tag, record)
  }

  remove(tag: string): void {
    this.tombstones.add(tag)
    for (const [key, items] of this.items) if (items.delete(tag) && items.size === 0) this.items.delete(key)
  }

  get trie(): MerkleTrie {
    const trie = new MerkleTrie()
    for (const [key, items] of this.items) {
      const ofKey = [...items.values()].map(({ tag, value, timestamp, ttlMs }) => {
        return { tag, record: { value, timestamp, base: timestamp, ...(ttlMs === undefined ? {} : { ttlMs }) } }
      })
      trie.add(fnv1a(key), itemsDigest(key, ofKey), 0)
    }
    return trie
  }

  get content(): Record<string, Value[]> {
    const entries = [...this.items].map(([key, items]) => {
      const inOrder = [...items.values()].toSorted((a, b) => compareTags(a.tag, b.tag))
      return [key, inOrder.map(({ value }) => value)] as const
    })
    return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)))
  }

  /** Compares with the server and takes what differs. True if something did. */
  async sync(): Promise<boolean> {
    const [client, mapName] = [this.#client, this.#mapName]
    client.send({ type: 'ORMAP_SYNC_INIT', mapName, rootHash: this.trie.rootHash(), bucketHashes: {} })
    const { payload } = await client.take('ORMAP_SYNC_RESP_ROOT')
    if (payload.rootHash === this.trie.rootHash()) return false
    await this.#walk('')
    return true
  }

  /** Pushes everything that it holds, as existing clients do: every entry names all that was ever removed. */
  push(keys: Iterable<string> = this.items.keys()): void {
    const tombstones = [...this.tombstones]
    const entries = [...keys].map((key): OrEntry => {
      return { key, records: [...(this.items.get(key)?.values() ?? [])], tombstones }
    })
    this.#client.send({ type: 'ORMAP_PUSH_DIFF', payload: { mapName: this.#mapName, entries } })
  }

  take(entries: readonly OrEntry[]): void {
    for (const { key, records, tombstones } of entries) {
      for (const tag of tombstones) this.remove(tag)
      for (const record of records) this.add(key, record)
    }
  }

  async #walk(path: string): Promise<void> {
    this.requests++
    const [client, mapName] = [this.#client, this.#mapName]
    client.send({ type: 'ORMAP_MERKLE_REQ_BUCKET', payload: { mapName, path } })
    if (path.length === 3) {
      for (let more = true; more;) {
        const { payload } = await client.take('ORMAP_SYNC_RESP_LEAF', (each) => each.payload.path === path)
        this.take(payload.entries)
        more = payload.more === true
      }
      return
    }
    const { payload } = await client.take('ORMAP_SYNC_RESP_BUCKETS', (each) => each.payload.path === path)
    const own = this.trie.children(path)
    for (const [digit, hash] of Object.entries(payload.buckets)) {
      if (own[digit]?.stamps !== hash) await this.#walk(path + digit)
    }
  }
}

describe.each(encodings)('existing clients in %s', (encoding) => {
  test('[OM7] [OM8] [MK6] INV-10: a walk of the trie brings a copy to where the server is, and equal copies to nothing', async () => {
    await using server = await startTestServer()
    const writer = await server.connect({ encoding })
    const ops = Array.from({ length: 300 }, (_, i) => add('tags', `key-${i % 90}`, { n: i, deep: { x: [i] } }))
    writer.send(opBatch(ops))
    writer.send(
      opBatch(ops.slice(0, 30).map((op) => removeItem('tags', op.key, (op as { orRecord: OrRecord }).orRecord.tag))),
    )
    await writer.settle()
    const map = new ExistingMap(await server.connect({ encoding }), 'tags')
    expect(await map.sync()).toBe(true)
    expect([...map.items.values()].reduce((sum, items) => sum + items.size, 0)).toBe(270)
    // Only what leaves have of removals, and of those only their own keys'.
    expect(map.tombstones.size).toBe(30)
    expect(await map.sync()).toBe(false)
    map.requests = 0
    writer.send(clientOp(add('tags', 'key-7', 'one more')))
    await until(() => map.content['key-7']?.includes('one more') === true, 'the event')
    expect(await map.sync()).toBe(false)
    const other = new ExistingMap(await server.connect({ encoding }), 'tags')
    other.take([...map.items].map(([key, items]) => ({ key, records: [...items.values()], tombstones: [] })))
    other.remove([...(other.items.get('key-3')?.keys() ?? [])][0] as string)
    other.tombstones.clear()
    expect(await other.sync()).toBe(true)
    expect(other.requests).toBe(4)
    expect(other.content).toEqual(map.content)
  })

  test('[OM9] INV-10: a push brings what the client has, adds and removals, and replays change nothing', async () => {
    await using server = await startTestServer()
    const [client, follower] = [await server.connect({ encoding }), await server.connect({ encoding })]
    follower.send({ type: 'ORMAP_SYNC_INIT', mapName: 'tags' })
    await follower.take('ORMAP_SYNC_RESP_ROOT')
    const other = new ExistingMap(follower, 'tags')
    client.send(opBatch([add('tags', 'kept', 'a', { tag: '1:0:a' }), add('tags', 'gone', 'b', { tag: '2:0:a' })]))
    await client.settle()
    const map = new ExistingMap(client, 'tags')
    map.add('mine', item({ x: [1] }, 1_700_000_000_000))
    map.add('kept', item('c', 1_700_000_000_001))
    map.remove('2:0:a')
    // Of a tag that no item has nothing is kept: nobody knows whose it was.
    map.remove('3:0:nobody')
    map.push()
    map.push()
    await client.settle()
    expect(client.inbox.filter(({ type }) => type === 'ERROR')).toEqual([])
    const replica = new Replica('tags')
    replica.attach(await server.connect({ encoding }))
    await until(() => replica.isLive, 'the closing page')
    expect([...replica.recordsByKey.keys()].toSorted()).toEqual(
      ['1:0:a:kept', '1700000000000:0:old:mine', '1700000000001:0:old:kept', '2:0:a:gone'].toSorted(),
    )
    expect(Object.values(replica.content())).toHaveLength(3)
    await until(() => Object.keys(other.content).length === 2, 'the events')
    expect(other.content).toEqual({ kept: ['a', 'c'], mine: [{ x: [1] }] })
    await map.sync()
    expect(map.content).toEqual({ kept: ['a', 'c'], mine: [{ x: [1] }] })
    expect(await map.sync()).toBe(false)
  })

  test('[OM9] what is refused of a push sinks nothing else, and one error counts it', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    client.send(clientOp(add('tags', 'k', 1, { tag: '1:0:a' })))
    await client.take('OP_ACK')
    const good = item('good', 1_700_000_000_000)
    const records = [
      { ...item('other', 1), tag: '1:0:a' },
      { ...good, tag: 'none' },
      item('future', Date.now() + 90_000),
      { ...good, value: null },
      good,
    ]
    client.send({
      type: 'ORMAP_PUSH_DIFF',
      payload: { mapName: 'tags', entries: [{ key: 'k', records, tombstones: [] }] },
      requestId: 'r',
    })
    expect(await client.take('ERROR')).toMatchObject({
      payload: { errorCode: 'VALIDATION_ERROR', about: 'ORMAP_PUSH_DIFF', details: { refused: 4 } },
      requestId: 'r',
    })
    const map = new ExistingMap(client, 'tags')
    await map.sync()
    expect(map.content).toEqual({ k: [1, 'good'] })
  })

  test('[OM8] a key is asked for by its name, an unknown one has an entry of nothing, and one with many items comes in parts', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    const many = Array.from({ length: 2 * LIMITS.pageRecords }, (_, i) => add('tags', 'many', i))
    client.send(opBatch(many))
    client.send(opBatch([add('tags', 'one', 'x', { tag: '1:0:a' }), removeItem('tags', 'one', '2:0:a')]))
    await client.settle()
    client.send({ type: 'ORMAP_DIFF_REQUEST', payload: { mapName: 'tags', keys: ['one', 'none', 'many'] } })
    const entries: OrEntry[] = []
    for (let more = true; more;) {
      const { payload } = await client.take('ORMAP_DIFF_RESPONSE')
      entries.push(...payload.entries)
      more = payload.more === true
    }
    expect(entries.slice(0, 2)).toMatchObject([
      { key: 'one', records: [{ tag: '1:0:a', value: 'x' }], tombstones: ['2:0:a'] },
      { key: 'none', records: [], tombstones: [] },
    ])
    const copy = new OrMap()
    for (const { tag, value, timestamp } of entries.slice(2).flatMap(({ records }) => records))
      copy.add('many', tag, value, timestamp)
    expect(copy.values('many', 0)).toEqual(many.map((_, i) => i))
    expect(entries.length).toBeGreaterThan(3)
  })
})

const policies: PermissionPolicy[] = [
  { role: 'USER', mapNamePattern: '*', actions: ['ALL'] },
  { role: 'READER', mapNamePattern: '*', actions: ['READ'] },
  { role: 'KEEPER', mapNamePattern: '*', actions: ['READ', 'PUT'] },
  { role: 'TITLES', mapNamePattern: '*', actions: ['ALL'], allowedFields: ['title'] },
  { role: 'SWEEPER', mapNamePattern: '*', actions: ['PUT', 'REMOVE'] },
]

describe('rights', () => {
  test.each(encodings)(
    'INV-21 [OM7]: digests, leaves, diffs and events show a reader of some fields nothing of the others, in %s',
    async (encoding) => {
      await using server = await startTestServer({ jwtSecret: SECRET, securityPolicies: policies })
      const user = await server.connect({ token: tokenOf('ada', 'USER') })
      const frames: string[] = []
      const client = await server.connect({ encoding, token: tokenOf('tim', 'TITLES') })
      const map = new ExistingMap(client, 'tags')
      const take = client.onMessage
      client.onMessage = (message, frame) => {
        frames.push(Buffer.from(frame as string).toString('latin1'))
        take?.(message, frame)
      }
      const write = (title: string, secret: string): void => {
        user.send(clientOp(add('tags', 'k', { title, secret }, { tag: `${stampAt().millis}:0:${title}` })))
      }
      write('one', 'CANARY')
      user.send(clientOp(add('tags', 'hidden', 'CANARY', { tag: '1:0:h' })))
      await user.settle()
      await map.sync()
      expect(map.content).toEqual({ k: [{ title: 'one' }] })
      // What it may see is all that its digests are made of: equal copies have equal roots.
      expect(await map.sync()).toBe(false)
      write('two', 'CANARY')
      user.send(clientOp(add('tags', 'hidden', ['CANARY'], { tag: '2:0:h' })))
      await until(() => map.content['k']?.length === 2, 'the event')
      expect(await map.sync()).toBe(false)
      client.send({ type: 'ORMAP_DIFF_REQUEST', payload: { mapName: 'tags', keys: ['k', 'hidden'] } })
      expect((await client.take('ORMAP_DIFF_RESPONSE')).payload.entries).toMatchObject([
        { key: 'k', records: [{ value: { title: 'one' } }, { value: { title: 'two' } }] },
        { key: 'hidden', records: [], tombstones: ['1:0:h', '2:0:h'] },
      ])
      map.push()
      expect((await client.take('ERROR')).payload).toMatchObject({ errorCode: 'FORBIDDEN', details: { refused: 2 } })
      expect(frames.filter((frame) => frame.includes('CANARY'))).toEqual([])
    },
  )

  test('[OM9] what a reader of some fields was told was removed is not removed by its push', async () => {
    await using server = await startTestServer({ jwtSecret: SECRET, securityPolicies: policies })
    const user = await server.connect({ token: tokenOf('ada', 'USER') })
    user.send(clientOp(add('tags', 'k', 'no map', { tag: '1:0:a' })))
    await user.take('OP_ACK')
    const client = await server.connect({ token: tokenOf('tim', 'TITLES', 'SWEEPER') })
    const map = new ExistingMap(client, 'tags')
    await map.sync()
    client.send({ type: 'ORMAP_DIFF_REQUEST', payload: { mapName: 'tags', keys: ['k'] } })
    const { payload } = await client.take('ORMAP_DIFF_RESPONSE')
    map.take(payload.entries)
    expect([...map.tombstones]).toEqual(['1:0:a'])
    map.push(['k'])
    await client.settle()
    const whole = new ExistingMap(user, 'tags')
    await whole.sync()
    expect(whole.content).toEqual({ k: ['no map'] })
  })

  test('INV-21: READ to compare, PUT to push, REMOVE for tombstones', async () => {
    await using server = await startTestServer({ jwtSecret: SECRET, securityPolicies: policies })
    const user = await server.connect({ token: tokenOf('ada', 'USER') })
    user.send(clientOp(add('tags', 'k', 'CANARY', { tag: '1:0:a' })))
    await user.take('OP_ACK')
    const nobody = await server.connect({ token: tokenOf('eve', 'NOBODY') })
    for (const message of [
      { type: 'ORMAP_SYNC_INIT', mapName: 'tags' },
      { type: 'ORMAP_MERKLE_REQ_BUCKET', payload: { mapName: 'tags', path: '' } },
      { type: 'ORMAP_MERKLE_REQ_BUCKET', payload: { mapName: 'tags', path: '000' } },
      { type: 'ORMAP_DIFF_REQUEST', payload: { mapName: 'tags', keys: ['k'] } },
      { type: 'ORMAP_PUSH_DIFF', payload: { mapName: 'tags', entries: [] } },
    ] as const) {
      nobody.send(message)
      expect((await nobody.take('ERROR')).payload).toMatchObject({ errorCode: 'FORBIDDEN', about: message.type })
    }
    const entries = [{ key: 'k', records: [item('new', 1_700_000_000_000)], tombstones: ['1:0:a'] }]
    for (const [role, refused] of [
      ['READER', 0],
      ['KEEPER', 1],
    ] as const) {
      const client = await server.connect({ token: tokenOf(role, role) })
      client.send({ type: 'ORMAP_PUSH_DIFF', payload: { mapName: 'tags', entries } })
      const { payload } = await client.take('ERROR')
      expect(payload.errorCode).toBe('FORBIDDEN')
      expect(payload.details?.['refused'] ?? 0).toBe(refused)
    }
    const map = new ExistingMap(user, 'tags')
    await map.sync()
    expect(map.content).toEqual({ k: ['CANARY', 'new'] })
  })

  test('[KD4] maps of another kind are refused, and one without a kind is taken for an OR-map', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    client.send(clientOp(put('todos', 'k', 1)))
    for (const mapName of ['todos', 'counter:votes']) {
      for (const message of [
        { type: 'ORMAP_SYNC_INIT', mapName },
        { type: 'ORMAP_MERKLE_REQ_BUCKET', payload: { mapName, path: '' } },
        { type: 'ORMAP_DIFF_REQUEST', payload: { mapName, keys: ['k'] } },
        { type: 'ORMAP_PUSH_DIFF', payload: { mapName, entries: [] } },
      ] as const) {
        client.send(message)
        expect((await client.take('ERROR')).payload).toMatchObject({ errorCode: 'WRONG_MAP_KIND', about: message.type })
      }
    }
    const map = new ExistingMap(client, 'nothing')
    expect(await map.sync()).toBe(false)
    client.send({ type: 'ORMAP_DIFF_REQUEST', payload: { mapName: 'nothing', keys: ['k'] } })
    expect((await client.take('ORMAP_DIFF_RESPONSE')).payload.entries).toEqual([
      { key: 'k', records: [], tombstones: [] },
    ])
    map.add('k', item(1, 1_700_000_000_000))
    map.push()
    client.send(clientOp(put('nothing', 'k', 1)))
    const acks = [await client.take('OP_ACK'), await client.take('OP_ACK')]
    expect(acks.at(-1)?.payload.results).toMatchObject([{ errorCode: 'WRONG_MAP_KIND' }])
  })
})

test('[OM9] INV-22: the first removals that are pushed are looked up while others have their turns', async () => {
  await using server = await startTestServer({
    env: slowEnv(),
    connections: { idleTimeout: 1e12, authTimeout: 1e12 },
  })
  const client = new FakeSocket(server.server)
  for (let from = 0; from < 8_000; from += 1_000) {
    const items = Array.from({ length: 1_000 }, (_, i) =>
      add('tags', `k${i}`, from + i, { tag: `${from + i + 1}:0:a` }),
    )
    client.receive(opBatch(items))
    await client.settle()
  }
  const other = new FakeSocket(server.server)
  const entries = [{ key: 'k6', records: [], tombstones: ['7:0:a', '9:0:unknown'] }]
  client.receive({ type: 'ORMAP_PUSH_DIFF', payload: { mapName: 'tags', entries } })
  client.receive({ type: 'ORMAP_DIFF_REQUEST', payload: { mapName: 'tags', keys: ['k6'] } })
  const answer = () => client.written.find(({ type }) => type === 'ORMAP_DIFF_RESPONSE')
  let turns = 0
  for (; answer() === undefined && turns < 1_000; turns++) {
    other.receive({ type: 'PING', timestamp: turns })
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(turns).toBeGreaterThan(2)
  expect(other.written.filter(({ type }) => type === 'PONG').length).toBeGreaterThan(1)
  expect(answer()).toMatchObject({ payload: { entries: [{ key: 'k6', tombstones: ['7:0:a'] }] } })
})

test('INV-22: what is made to compare a map is given up when nobody asks, and nothing is kept of names that hold nothing', async () => {
  const env = new MovableEnv()
  await using server = await startTestServer({ env, connections: { idleTimeout: 2_147_000_000 } })
  const client = await server.connect()
  const map = new ExistingMap(client, 'tags')
  for (let i = 0; i < 20; i++) await new ExistingMap(client, `made up ${i}`).sync()
  client.send(opBatch([add('tags', 'k', 1), add('tags', 'k', 2), add('tags', 'l', 3)]))
  await client.settle()
  expect(server.server.inspect()['sets']).toEqual({ indexedMaps: 0, indexedKeys: 0 })
  await map.sync()
  map.remove('1:0:nobody')
  map.push()
  await client.settle()
  expect(server.server.inspect()['sets']).toEqual({ indexedMaps: 1, indexedKeys: 5 })
  for (let i = 0; i < 3; i++) env.advance(600_000)
  expect(server.server.inspect()['sets']).toEqual({ indexedMaps: 0, indexedKeys: 0 })
  expect(await map.sync()).toBe(false)
})

describe('removals that were forgotten', () => {
  const DAY_MS = 86_400_000

  /** Removes an item after the server has compared the map, and lets it forget that. */
  async function forgotten() {
    const env = new MovableEnv()
    const server = await startTestServer({ env, connections: { idleTimeout: 2_147_000_000 } })
    const [client, writer] = [await server.connect(), await server.connect()]
    const map = new ExistingMap(client, 'tags')
    client.send(opBatch([add('tags', 'kept', 1, { tag: '1:0:a' }), add('tags', 'gone', 2, { tag: '2:0:a' })]))
    await client.settle()
    await map.sync()
    // Every index that is made for those who compare has it now.
    map.remove('3:0:nobody')
    map.push()
    await client.settle()
    writer.send(clientOp(removeItem('tags', 'gone', '2:0:a')))
    await until(() => map.items.size === 1, 'the removal')
    env.sleep(31 * DAY_MS)
    const pruned = (): number => valueOf(server, 'syncline_pruned_tombstones_total')
    for (let i = 0; i < 100 && pruned() === 0; i++) {
      env.advance(60_000)
      await client.settle()
    }
    expect(pruned()).toBe(1)
    return { server, client, map }
  }

  const valueOf = ({ server }: TestServer, metric: string): number =>
    server.metrics().find(({ name }) => name === metric)?.values[0]?.value ?? 0

  test('[OM7] INV-10: the root is that of what is left, also where nobody compared in between', async () => {
    const { server, map } = await forgotten()
    await using _ = server
    expect(await map.sync()).toBe(false)
    const other = new ExistingMap(await server.connect(), 'tags')
    expect(await other.sync()).toBe(true)
    expect(other.content).toEqual({ kept: [1] })
    expect(await other.sync()).toBe(false)
  })

  test('[OM9] INV-12: who still names one brings nothing of it back', async () => {
    const { server, client, map } = await forgotten()
    await using _ = server
    map.remove('2:0:a')
    map.push()
    await client.settle()
    const replica = new Replica('tags')
    replica.attach(await server.connect())
    await until(() => replica.isLive, 'the closing page')
    expect([...replica.recordsByKey.keys()]).toEqual(['1:0:a:kept'])
  })
})
