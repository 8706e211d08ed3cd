import { formatStamp, type Value } from '@syncline/core'
import type { ClientMessage, ClientOp, Encoding, ItemOp, ItemOpMessage, OpAck, OpResult } from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import {
  MovableEnv,
  SECRET,
  add,
  clientOp,
  count,
  opBatch,
  patch,
  put,
  remove,
  removeItem,
  stampAt,
  tokenOf,
  until,
} from '../../testing/harness.ts'
import type { PermissionPolicy } from '../../inbound/authorize.ts'
import { Replica } from '../../testing/replica.ts'
import { startTestServer, type TestClient } from '../../testing/test-server.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']

async function ackOf(client: TestClient, message: ClientMessage | ItemOpMessage): Promise<OpAck['payload']> {
  client.send(message)
  return (await client.take('OP_ACK')).payload
}

/** The result of one op. */
async function resultOf(client: TestClient, op: ClientOp | ItemOp): Promise<OpResult> {
  return (await ackOf(client, clientOp(op))).results[0] as OpResult
}

/** What a new reader is shown of a map. */
async function contentOf(client: TestClient, mapName: string): Promise<Record<string, Value>> {
  const queryId = `content-${Math.random()}`
  client.send({ type: 'QUERY_SUB', payload: { queryId, mapName, query: {} } })
  const response = await client.take('QUERY_RESP', ({ payload }) => payload.queryId === queryId)
  client.send({ type: 'QUERY_UNSUB', payload: { queryId } })
  return Object.fromEntries(response.payload.results.map(({ key, value }) => [key, value]))
}

/** Follows a map by cursor until it is live. */
async function followed(client: TestClient, mapName: string): Promise<Replica> {
  const replica = new Replica(mapName)
  replica.attach(client)
  await until(() => replica.isLive, 'the closing page')
  return replica
}

describe.each(encodings)('OR-maps in %s', (encoding) => {
  test('[OM1] [OM2] [OM4] [KD5] values are added and removed by tag, objects too, and a query sees lists in the order of tags', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    const [first, second] = [add('tags', 't:1', { label: 'urgent' }), add('tags', 't:1', 'home')]
    const ack = await ackOf(client, opBatch([second, first, add('tags', 't2', [1, new Uint8Array([2])])]))
    expect(ack.results.every(({ success, seq }) => success && typeof seq === 'number')).toBe(true)
    expect(await contentOf(client, 'tags')).toEqual({
      't:1': [{ label: 'urgent' }, 'home'],
      t2: [[1, expect.anything()]],
    })
    // The value went over the wire and back; its tag is what removes it.
    await resultOf(client, removeItem('tags', 't:1', (first as { orRecord: { tag: string } }).orRecord.tag))
    expect((await contentOf(client, 'tags'))['t:1']).toEqual(['home'])
    await resultOf(
      client,
      removeItem('tags', 't:1', (second as { orRecord: { tag: string } }).orRecord.tag, { stamp: stampAt() }),
    )
    expect(await contentOf(client, 'tags')).toEqual({ t2: expect.anything() })
  })

  test('[OM3] INV-7: a tag that comes again counts once, with another value it is refused, and removed it stays so', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    const stamp = stampAt()
    const tag = formatStamp(stamp)
    const first = await resultOf(client, add('tags', 'k', { a: 1 }, { stamp }))
    const again = await resultOf(client, add('tags', 'k', { a: 1 }, { stamp }))
    expect(again).toMatchObject({ success: true, seq: first.seq })
    // Stamped anew after CLOCK_SKEW: the tag is the same.
    expect(await resultOf(client, add('tags', 'k', { a: 1 }, { tag }))).toMatchObject({ success: true })
    expect(await resultOf(client, add('tags', 'k', { a: 2 }, { tag }))).toMatchObject({
      success: false,
      errorCode: 'ALREADY_EXISTS',
    })
    expect(await contentOf(client, 'tags')).toEqual({ k: [{ a: 1 }] })
    const removed = await resultOf(client, removeItem('tags', 'k', tag, { stamp: { ...stamp, millis: 5 } }))
    expect(removed).toMatchObject({ success: true })
    expect(await resultOf(client, add('tags', 'k', { a: 1 }, { tag }))).toMatchObject({
      success: true,
      superseded: true,
    })
    expect(await contentOf(client, 'tags')).toEqual({})
  })

  test('[OM4] a removal may come before its add', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    const stamp = stampAt()
    for (const removal of [removeItem('tags', 'k', formatStamp(stamp)), removeItem('tags', 'k', '1:0:z', { stamp })])
      expect(await resultOf(client, removal)).toMatchObject({ success: true })
    expect(await resultOf(client, add('tags', 'k', 'late', { stamp }))).toMatchObject({ superseded: true })
    expect(await contentOf(client, 'tags')).toEqual({})
  })

  test('[OM5] [OM6] [KD3] INV-10: who follows by cursor is sent records under item keys, others OR_ADD and OR_REMOVE; the writer not', async () => {
    await using server = await startTestServer()
    const [writer, byCursor, byQuery] = [
      await server.connect({ encoding }),
      await server.connect({ encoding }),
      await server.connect({ encoding }),
    ]
    await resultOf(writer, add('tags', 'k', 0, { tag: '1:0:a' }))
    const replica = await followed(byCursor, 'tags')
    await contentOf(byQuery, 'tags')
    byQuery.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'tags', query: {} } })
    writer.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'tags', query: {} } })
    for (const client of [byQuery, writer]) await client.take('QUERY_RESP')
    const stamp = stampAt()
    const ops = [add('tags', 'k', { a: 1 }, { stamp, tag: '2:0:a', ttlMs: 1e9 }), removeItem('tags', 'k', '1:0:a')]
    await ackOf(writer, opBatch(ops))
    expect(await byQuery.takeItems(2)).toEqual([
      {
        mapName: 'tags',
        key: 'k',
        seq: expect.any(Number),
        eventType: 'OR_ADD',
        orRecord: { value: { a: 1 }, timestamp: stamp, tag: '2:0:a', ttlMs: 1e9 },
      },
      { mapName: 'tags', key: 'k', seq: expect.any(Number), eventType: 'OR_REMOVE', orTag: '1:0:a' },
    ])
    const { payload } = await byQuery.take('QUERY_UPDATE')
    expect(payload).toMatchObject({ queryId: 'q', key: 'k', value: [{ a: 1 }], changeType: 'UPDATE' })
    await until(() => replica.content()['2:0:a:k'] !== undefined, 'the event')
    expect(replica.content()).toEqual({ '2:0:a:k': { a: 1 } })
    expect(replica.breaches).toEqual([])
    const late = await followed(await server.connect({ encoding }), 'tags')
    expect(late.digest).toBe(replica.ownDigest())
    await writer.settle()
    expect(writer.inbox.filter(({ type }) => type.startsWith('SERVER_'))).toEqual([])
  })

  test('[KD2] [KD4] the first write decides what a map is, and operations of another kind are refused', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    await resultOf(client, add('tags', 'k', 1))
    await resultOf(client, put('todos', 'k', { a: 1 }))
    const wrong: readonly (ClientOp | ItemOp)[] = [
      put('tags', 'k', 1),
      remove('tags', 'k'),
      patch('tags', 'k', { a: 1 }),
      add('todos', 'k', 1),
      removeItem('todos', 'k', '1:0:a'),
      add('counter:votes', 'k', 1),
      remove('counter:votes', 'k'),
      patch('counter:votes', 'k', { p: 1 }),
    ]
    const { results } = await ackOf(client, opBatch(wrong))
    expect(results.map(({ errorCode }) => errorCode)).toEqual(wrong.map(() => 'WRONG_MAP_KIND'))
    const messages: readonly ClientMessage[] = [
      { type: 'SYNC_INIT', mapName: 'tags' },
      { type: 'SYNC_INIT', mapName: 'tags', cursor: null, kind: 'lww' },
      { type: 'SYNC_INIT', mapName: 'todos', cursor: null, kind: 'or' },
      { type: 'SYNC_INIT', mapName: 'todos', cursor: null, kind: 'pn' },
      { type: 'SYNC_INIT', mapName: 'nothing', cursor: null, kind: 'pn' },
      { type: 'SYNC_INIT', mapName: 'counter:votes', cursor: null, kind: 'lww' },
      { type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'tags', path: '' } },
      { type: 'SYNC_DELTA', payload: { mapName: 'tags' } },
      { type: 'SYNC_PUSH', payload: { mapName: 'tags', kind: 'lww', records: [] } },
      { type: 'SYNC_PUSH', payload: { mapName: 'todos', kind: 'or', records: [] } },
      { type: 'SYNC_PUSH', payload: { mapName: 'nothing', kind: 'pn', records: [] } },
    ]
    for (const message of messages) {
      client.send(message)
      const { payload } = await client.take('ERROR')
      expect([message, payload]).toMatchObject([message, { errorCode: 'WRONG_MAP_KIND', about: message.type }])
    }
    const right: readonly ClientMessage[] = [
      { type: 'SYNC_INIT', mapName: 'tags', cursor: null, kind: 'or' },
      { type: 'SYNC_INIT', mapName: 'counter:votes', cursor: null, kind: 'pn' },
      { type: 'SYNC_INIT', mapName: 'todos', cursor: null, kind: 'lww' },
    ]
    for (const [i, message] of right.entries()) {
      client.send(message)
      expect((await client.take('SYNC_DIFF')).payload.kind).toBe(['or', 'pn', undefined][i])
    }
  })
})

describe.each(encodings)('counters as maps, in %s', (encoding) => {
  test('[CN1] [CN2] INV-7: a node writes its row, replays and smaller counts change nothing, and nothing counts twice', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    const stamp = stampAt()
    const first = await resultOf(client, count('votes', 'a', 3, 1, { stamp }))
    expect(await resultOf(client, count('votes', 'a', 3, 1, { stamp }))).toMatchObject({
      success: true,
      seq: first.seq,
    })
    for (const [p, n] of [
      [2, 1],
      [3, 0],
      [0, 0],
    ] as const)
      expect(await resultOf(client, count('votes', 'a', p, n))).toMatchObject({ success: true, seq: first.seq })
    // A count that grew, under a stamp from before.
    expect(await resultOf(client, count('votes', 'a', 2, 9, { stamp: stampAt(7) }))).toMatchObject({ success: true })
    await resultOf(client, count('votes', 'b', 10))
    const replica = await followed(client, 'counter:votes')
    expect(replica.content()).toEqual({ a: { p: 3, n: 9 }, b: { p: 10, n: 0 } })
    expect(replica.recordsByKey.get('a')?.record.base).toEqual({ millis: 0, counter: 0, nodeId: '' })
    expect(replica.breaches).toEqual([])
  })

  test('[CN1] what is no row, or no node id, is refused', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    const bad: readonly [string, string, Value][] = [
      ['VALIDATION_ERROR', 'a', 5],
      ['VALIDATION_ERROR', 'a', { p: 1 }],
      ['VALIDATION_ERROR', 'a', { p: -1, n: 0 }],
      ['VALIDATION_ERROR', 'a', { p: 0.5, n: 0 }],
      ['VALIDATION_ERROR', 'a', { p: 1e300, n: 0 }],
      ['VALIDATION_ERROR', 'a', { p: 1, n: 0, x: 0 }],
      ['BAD_KEY', 'constructor', { p: 1, n: 0 }],
    ]
    const { results } = await ackOf(client, opBatch(bad.map(([, node, row]) => put('counter:votes', node, row))))
    expect(results.map(({ errorCode }) => errorCode)).toEqual(bad.map(([code]) => code))
    const timed = put('counter:votes', 'a', { p: 1, n: 0 }, { ttlMs: 5 })
    expect(await resultOf(client, timed)).toMatchObject({ errorCode: 'VALIDATION_ERROR' })
    expect(await contentOf(client, 'counter:votes')).toEqual({})
  })

  test('[CN7] no direction passes 2^53 − 1, and what is refused changes nothing', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    const max = Number.MAX_SAFE_INTEGER
    await resultOf(client, count('votes', 'a', max - 1, max))
    const over = await resultOf(client, count('votes', 'b', 2))
    expect(over).toMatchObject({ success: false, errorCode: 'TOO_LARGE', details: { limit: 'counterTotal', max } })
    expect(await resultOf(client, count('votes', 'b', 0, 1))).toMatchObject({ errorCode: 'TOO_LARGE' })
    expect(await resultOf(client, count('votes', 'b', 1))).toMatchObject({ success: true })
    expect(await resultOf(client, count('votes', 'a', max))).toMatchObject({ errorCode: 'TOO_LARGE' })
    expect(await contentOf(client, 'counter:votes')).toEqual({ a: { p: max - 1, n: max }, b: { p: 1, n: 0 } })
  })
})

const policies: PermissionPolicy[] = [
  { role: 'USER', mapNamePattern: '*', actions: ['ALL'] },
  { role: 'READER', mapNamePattern: '*', actions: ['READ'] },
  { role: 'WRITER', mapNamePattern: '*', actions: ['PUT'] },
  { role: 'TITLES', mapNamePattern: '*', actions: ['ALL'], allowedFields: ['title'] },
]

describe('rights', () => {
  test('[CN3] a node id belongs to the user who first raised it, also for other counters; whoever raises nothing is let be', async () => {
    await using server = await startTestServer({ jwtSecret: SECRET, securityPolicies: policies })
    const ada = await server.connect({ token: tokenOf('ada', 'USER') })
    const ben = await server.connect({ token: tokenOf('ben', 'USER') })
    await resultOf(ada, count('votes', 'phone', 3))
    for (const op of [count('votes', 'phone', 4), count('likes', 'phone', 1)])
      expect(await resultOf(ben, op)).toMatchObject({ errorCode: 'FORBIDDEN', details: { nodeId: 'phone' } })
    expect(await resultOf(ben, count('votes', 'phone', 3))).toMatchObject({ success: true })
    expect(await resultOf(ben, count('votes', 'laptop', 1))).toMatchObject({ success: true })
    ben.send({
      type: 'SYNC_PUSH',
      payload: { mapName: 'counter:votes', records: [pushedRow('phone', 9), pushedRow('tablet', 5)] },
    })
    expect((await ben.take('SYNC_PUSH_RESP')).payload).toMatchObject({
      accepted: 1,
      refused: [{ key: 'phone', errorCode: 'FORBIDDEN', record: { value: { p: 3, n: 0 } } }],
    })
    // A push gives nothing away: the tablet is its owner's when that comes.
    expect(await resultOf(ada, count('votes', 'tablet', 6))).toMatchObject({ success: true })
    expect(await resultOf(ben, count('votes', 'tablet', 7))).toMatchObject({ errorCode: 'FORBIDDEN' })
    expect(await contentOf(ada, 'counter:votes')).toEqual({
      phone: { p: 3, n: 0 },
      laptop: { p: 1, n: 0 },
      tablet: { p: 6, n: 0 },
    })
    const admin = await server.connect({ token: tokenOf('root', 'ADMIN') })
    expect(await contentOf(admin, '$sys/counter-nodes')).toEqual({
      phone: { userId: 'ada' },
      laptop: { userId: 'ben' },
      tablet: { userId: 'ada' },
    })
    expect(await resultOf(ada, put('$sys/counter-nodes', 'laptop', { userId: 'ada' }))).toMatchObject({
      errorCode: 'FORBIDDEN',
    })
  })

  test('INV-21: adding needs PUT on the whole value, removing REMOVE', async () => {
    await using server = await startTestServer({ jwtSecret: SECRET, securityPolicies: policies })
    const user = await server.connect({ token: tokenOf('ada', 'USER') })
    const tag = '1:0:a'
    await resultOf(user, add('tags', 'k', { title: 't' }, { tag }))
    for (const [role, mayAdd, mayRemove] of [
      ['READER', false, false],
      ['WRITER', true, false],
      ['TITLES', false, false],
    ] as const) {
      const client = await server.connect({ token: tokenOf(`a-${role}`, role) })
      expect(await resultOf(client, add('tags', 'k', { title: role }))).toMatchObject({ success: mayAdd })
      expect(await resultOf(client, count('votes', role, 1))).toMatchObject({ success: mayAdd })
      expect(await resultOf(client, removeItem('tags', 'k', tag))).toMatchObject({ success: mayRemove })
    }
  })

  test.each(encodings)(
    'INV-21 [OM6]: of items a reader of some fields is sent those, and values without fields never, in %s',
    async (encoding) => {
      await using server = await startTestServer({ jwtSecret: SECRET, securityPolicies: policies })
      const user = await server.connect({ token: tokenOf('ada', 'USER') })
      const frames: string[] = []
      const seeing = async (name: string): Promise<TestClient> => {
        const client = await server.connect({ encoding, token: tokenOf(name, 'TITLES') })
        client.onMessage = (_, frame) => frames.push(Buffer.from(frame as string).toString('latin1'))
        return client
      }
      await resultOf(user, add('tags', 'k', { title: 'seen', secret: 'CANARY' }, { tag: '1:0:a' }))
      await resultOf(user, add('tags', 'k', 'CANARY', { tag: '2:0:a' }))
      const [byCursor, byQuery] = [await seeing('cursor'), await seeing('query')]
      byCursor.send({ type: 'SYNC_INIT', mapName: 'tags', cursor: null })
      expect((await byCursor.take('SYNC_DIFF')).payload.records).toMatchObject([
        { key: '1:0:a:k', record: { value: { title: 'seen' } } },
        { key: '2:0:a:k', record: { value: null } },
      ])
      byQuery.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'tags', query: {} } })
      expect((await byQuery.take('QUERY_RESP')).payload.results).toEqual([{ key: 'k', value: [{ title: 'seen' }] }])
      await resultOf(user, add('tags', 'k', { title: 'more', secret: 'CANARY' }, { tag: '3:0:a' }))
      await resultOf(user, add('tags', 'k', ['CANARY'], { tag: '4:0:a' }))
      const events = await byQuery.takeItems(2)
      expect(events).toMatchObject([
        { eventType: 'OR_ADD', orRecord: { tag: '3:0:a', value: { title: 'more' } } },
        { eventType: 'OR_REMOVE', orTag: '4:0:a' },
      ])
      expect((await byQuery.take('QUERY_UPDATE')).payload.value).toEqual([{ title: 'seen' }, { title: 'more' }])
      await byCursor.settle()
      expect(frames.length).toBeGreaterThan(4)
      expect(frames.filter((frame) => frame.includes('CANARY'))).toEqual([])
    },
  )
})

describe('live queries over OR-maps', () => {
  test('[KD5] INV-15: rows enter, change and leave as their items do, and with the time of the last one', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const client = await server.connect()
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'tags', query: { sort: {}, limit: 2 } } })
    await client.take('QUERY_RESP')
    const update = async (): Promise<readonly unknown[]> => {
      const { key, value, changeType } = (await client.take('QUERY_UPDATE')).payload
      return [key, value, changeType]
    }
    const now = (): ReturnType<typeof stampAt> => stampAt(env.now())
    await resultOf(client, add('tags', 'b', 1, { tag: '1:0:a', stamp: now(), ttlMs: 5_000 }))
    expect(await update()).toEqual(['b', [1], 'ENTER'])
    await resultOf(client, add('tags', 'b', 2, { tag: '2:0:a', stamp: now() }))
    expect(await update()).toEqual(['b', [1, 2], 'UPDATE'])
    await ackOf(client, opBatch([add('tags', 'a', 3), add('tags', 'c', 4)]))
    expect(await update()).toEqual(['a', [3], 'ENTER'])
    env.advance(6_500)
    expect(await update()).toEqual(['b', [2], 'UPDATE'])
    await resultOf(client, removeItem('tags', 'b', '2:0:a'))
    expect(await update()).toEqual(['b', null, 'LEAVE'])
    expect(await update()).toEqual(['c', [4], 'ENTER'])
  })
})

function pushedRow(
  nodeId: string,
  p: number,
): { key: string; record: { value: Value; timestamp: ReturnType<typeof stampAt> } } {
  return { key: nodeId, record: { value: { p, n: 0 }, timestamp: stampAt() } }
}
