import { formatStamp, type Value } from '@syncline/core'
import { LIMITS, type Encoding, type JournalEntry, type JournalRead, type JournalSubscribe } from '@syncline/protocol'
import { memoryStorage } from '@syncline/storage'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { defineFeature } from '../../feature.ts'
import { builtInFeatures, type ServerOptions } from '../../features.ts'
import { FakeSocket } from '../../testing/fake-socket.ts'
import {
  add,
  removeItem,
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
} from '../../testing/harness.ts'
import { startTestServer, type TestClient } from '../../testing/test-server.ts'
import { journalHandlers } from './handlers.ts'
import { JournalService, type Subscriber } from './service.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']
const kept: ServerOptions = { journal: { enabled: true } }

let lastId = 0

type Asked = Partial<Omit<JournalRead, 'type' | 'requestId'>>

async function read(client: TestClient, asked: Asked = {}) {
  const requestId = `r${++lastId}`
  client.send({ type: 'JOURNAL_READ', requestId, fromSequence: '0', ...asked })
  return client.take('JOURNAL_READ_RESPONSE', (each) => each.requestId === requestId)
}

async function refusedRead(client: TestClient, asked: Asked = {}) {
  const requestId = `r${++lastId}`
  client.send({ type: 'JOURNAL_READ', requestId, fromSequence: '0', ...asked })
  return (await client.take('ERROR', (each) => each.requestId === requestId)).payload
}

function subscribe(
  requestId: string,
  asked: Partial<Omit<JournalSubscribe, 'type' | 'requestId'>> = {},
): JournalSubscribe {
  return { type: 'JOURNAL_SUBSCRIBE', requestId, ...asked }
}

async function write(client: TestClient, ...ops: Parameters<typeof opBatch>[0]): Promise<number[]> {
  client.send(opBatch(ops))
  const { payload } = await client.take('OP_ACK')
  return payload.results.map(({ seq, success }) => {
    expect(success).toBe(true)
    return seq as number
  })
}

const brief = ({ type, mapName, key, value, previousValue }: JournalEntry): unknown[] => [
  type,
  mapName,
  key,
  previousValue,
  value,
]

describe.each(encodings)('the journal in %s', (encoding) => {
  test('[JO2] [JO4] says who changed what, when, and what it was before, in the order of commits', async () => {
    await using server = await startTestServer({ ...kept, jwtSecret: SECRET })
    const ada = await server.connect({ encoding, token: tokenOf('ada', 'USER') })
    const bob = await server.connect({ encoding, token: tokenOf('bob', 'USER') })
    const stamp = stampAt()
    const [first] = await write(ada, put('notes', 'a', { text: 'Mil' }, { stamp }))
    const [second] = await write(bob, patch('notes', 'a', { text: 'Milk' }))
    await write(bob, put('other', 'x', 1))
    const [fourth] = await write(ada, remove('notes', 'a'))
    const { events, hasMore, epoch, nextSequence } = await read(ada, { mapName: 'notes' })
    expect(events.map(brief)).toEqual([
      ['PUT', 'notes', 'a', undefined, { text: 'Mil' }],
      ['UPDATE', 'notes', 'a', { text: 'Mil' }, { text: 'Milk' }],
      ['DELETE', 'notes', 'a', { text: 'Milk' }, undefined],
    ])
    expect(events[0]).toEqual({
      sequence: String(first),
      type: 'PUT',
      mapName: 'notes',
      key: 'a',
      value: { text: 'Mil' },
      timestamp: stamp,
      nodeId: stamp.nodeId,
      metadata: { userId: 'ada' },
    })
    expect(events.map(({ sequence, metadata }) => [sequence, metadata.userId])).toEqual([
      [String(first), 'ada'],
      [String(second), 'bob'],
      [String(fourth), 'ada'],
    ])
    expect([hasMore, nextSequence]).toEqual([false, String((fourth as number) + 1)])
    expect(epoch.length).toBeGreaterThan(5)
    expect((await read(bob)).events.map(({ mapName }) => mapName)).toEqual(['notes', 'notes', 'other', 'notes'])
    expect((await read(bob, { types: ['UPDATE'] })).events).toHaveLength(1)
    expect((await read(bob, { fromSequence: String(second), epoch })).events.map(({ type }) => type)).toEqual([
      'UPDATE',
      'PUT',
      'DELETE',
    ])
  })

  test('[JO1] [JO4] events come as they are made, once to a connection, until the subscription ends', async () => {
    await using server = await startTestServer(kept)
    const client = await server.connect({ encoding })
    const writer = await server.connect({ encoding })
    await write(writer, put('notes', 'before', 1))
    client.send(subscribe('all'))
    client.send(subscribe('puts', { mapName: 'notes', types: ['PUT'] }))
    client.send(subscribe('other', { mapName: 'other' }))
    await client.settle()
    await write(writer, put('notes', 'a', 1), put('notes', 'a', 2), put('other', 'b', 3))
    const told = [
      await client.take('JOURNAL_EVENT'),
      await client.take('JOURNAL_EVENT'),
      await client.take('JOURNAL_EVENT'),
    ]
    expect(told.map(({ event, subscriptionIds }) => [...brief(event), subscriptionIds])).toEqual([
      ['PUT', 'notes', 'a', undefined, 1, ['all', 'puts']],
      ['UPDATE', 'notes', 'a', 1, 2, ['all']],
      ['PUT', 'other', 'b', undefined, 3, ['all', 'other']],
    ])
    client.send({ type: 'JOURNAL_UNSUBSCRIBE', subscriptionId: 'all' })
    client.send({ type: 'JOURNAL_UNSUBSCRIBE', subscriptionId: 'puts' })
    await client.settle()
    await write(writer, put('notes', 'c', 1), put('other', 'd', 4))
    expect((await client.take('JOURNAL_EVENT')).subscriptionIds).toEqual(['other'])
    await client.settle()
    expect(client.inbox.filter(({ type }) => type !== 'AUTH_REQUIRED')).toEqual([])
    client.send({ type: 'JOURNAL_UNSUBSCRIBE', subscriptionId: 'other' })
    await client.settle()
    expect(server.server.inspect()['journal']).toMatchObject({ subscriptions: 0, events: 6 })
  })
})

describe('recovery of missed events', () => {
  test('[JO3] what was missed is told from a sequence on, and then what comes, each event once and in order', async () => {
    await using server = await startTestServer(kept)
    const writer = await server.connect()
    const seqs: number[] = []
    for (let i = 0; i < 5; i++) seqs.push(...(await write(writer, put('notes', `k${i}`, i))))
    const client = await server.connect()
    client.send(subscribe('j', { fromSequence: String(seqs[2]), mapName: 'notes' }))
    client.send(subscribe('all', { fromSequence: '0' }))
    await write(writer, put('notes', 'k5', 5))
    const values: [Value | undefined, readonly string[]][] = []
    await client.until(() => client.inbox.filter(({ type }) => type === 'JOURNAL_EVENT').length >= 6)
    for (const message of client.inbox)
      if (message.type === 'JOURNAL_EVENT') values.push([message.event.value, message.subscriptionIds])
    const [j, all] = ['j', 'all'].map((id) => values.filter(([, ids]) => ids.includes(id)).map(([value]) => value))
    expect(j).toEqual([2, 3, 4, 5])
    expect(all).toEqual([0, 1, 2, 3, 4, 5])
  })

  test('[JO3] a sequence whose followers are forgotten, of another epoch or never handed out is INVALID_CURSOR', async () => {
    await using server = await startTestServer({ journal: { enabled: true, capacity: 3 } })
    const client = await server.connect()
    const seqs: number[] = []
    for (let i = 0; i < 6; i++) seqs.push(...(await write(client, put('notes', 'k', i))))
    await write(client, put('quiet', 'k', 1))
    const { events, epoch } = await read(client, { mapName: 'notes' })
    expect(events.map(({ value }) => value)).toEqual([3, 4, 5])
    const oldestSequence = String((seqs[2] as number) + 1)
    for (const seq of [seqs[0], seqs[2]]) {
      const refused = await refusedRead(client, { mapName: 'notes', fromSequence: String(seq) })
      expect(refused).toMatchObject({
        errorCode: 'INVALID_CURSOR',
        code: 400,
        details: { reason: 'forgotten', oldestSequence },
      })
      const overAll = await refusedRead(client, { fromSequence: String(seq) })
      expect(overAll).toMatchObject({ details: { reason: 'forgotten', oldestSequence } })
      client.send(subscribe('j', { fromSequence: String(seq) }))
      expect(await client.take('ERROR')).toMatchObject({
        requestId: 'j',
        payload: { about: 'JOURNAL_SUBSCRIBE', errorCode: 'INVALID_CURSOR' },
      })
    }
    expect((await read(client, { mapName: 'notes', fromSequence: oldestSequence })).events).toHaveLength(3)
    expect((await read(client, { mapName: 'quiet', fromSequence: String(seqs[0]) })).events).toHaveLength(1)
    const future = await refusedRead(client, { fromSequence: String((seqs[5] as number) + 100) })
    expect(future).toMatchObject({ errorCode: 'INVALID_CURSOR', details: { reason: 'foreign', epoch } })
    const foreign = await refusedRead(client, { fromSequence: String(seqs[5]), epoch: 'another' })
    expect(foreign).toMatchObject({ errorCode: 'INVALID_CURSOR', details: { reason: 'foreign', epoch } })
    expect(server.server.inspect()['journal']).toMatchObject({ subscriptions: 0 })
  })

  test('[JO3] after a restart what was before is forgotten, and a follower that missed nothing goes on', async () => {
    const storage = memoryStorage()
    let seqs: number[]
    let epoch: string
    {
      await using server = await startTestServer({ ...kept, storage })
      const client = await server.connect()
      seqs = await write(client, put('notes', 'a', 1), put('notes', 'a', 2))
      ;({ epoch } = await read(client))
    }
    await using server = await startTestServer({ ...kept, storage })
    const client = await server.connect()
    const refused = await refusedRead(client, { fromSequence: String(seqs[1]), epoch })
    expect(refused).toMatchObject({ errorCode: 'INVALID_CURSOR', details: { reason: 'forgotten' } })
    const { oldestSequence } = refused.details as { oldestSequence: string }
    expect(Number(oldestSequence)).toBeGreaterThan(seqs[1] as number)
    expect((await read(client, { fromSequence: oldestSequence, epoch })).events).toEqual([])
    await write(client, put('notes', 'a', 3))
    expect((await read(client, { fromSequence: oldestSequence, epoch })).events.map(brief)).toEqual([
      ['UPDATE', 'notes', 'a', 2, 3],
    ])
    await using memory = await startTestServer(kept)
    const other = await memory.connect()
    expect(await refusedRead(other, { fromSequence: '5', epoch })).toMatchObject({ details: { reason: 'foreign' } })
  })

  test('INV-22: a slow subscriber costs no memory, and is told when it has fallen behind what is kept', async () => {
    await using server = await startTestServer({ journal: { enabled: true, capacity: 50 } })
    const socket = new FakeSocket(server.server)
    socket.receive(subscribe('j'))
    socket.receive(subscribe('quiet', { mapName: 'quiet' }))
    await socket.settle()
    const writer = await server.connect({ encoding: 'msgpack' })
    socket.isStuck = true
    const filler = 'x'.repeat(100_000)
    await write(writer, put('notes', 'a', filler))
    await write(writer, put('quiet', 'q', 1))
    for (let i = 0; i < 60; i++) await write(writer, put('notes', 'b', i))
    expect(server.server.inspect()['journal']).toMatchObject({ events: 51 })
    socket.drain()
    await until(() => socket.written.some(({ type }) => type === 'ERROR'), 'the refusal')
    const refusal = socket.written.find(({ type }) => type === 'ERROR')
    expect(refusal).toMatchObject({
      requestId: 'j',
      payload: { errorCode: 'INVALID_CURSOR', details: { reason: 'forgotten', subscriptionId: 'j' } },
    })
    await until(
      () => socket.written.some((each) => each.type === 'JOURNAL_EVENT' && each.event.mapName === 'quiet'),
      'the other',
    )
    expect(server.server.inspect()['journal']).toMatchObject({ subscriptions: 1 })
  })
})

describe('reading', () => {
  test('[JO2] pages follow one another without a gap, forwards and backwards, by key and by type', async () => {
    await using server = await startTestServer(kept)
    const client = await server.connect({ encoding: 'msgpack' })
    for (let i = 0; i < 30; i++) await write(client, put('notes', `k${i % 3}`, i), put('other', 'x', i))
    for (const asked of [{}, { mapName: 'notes' }, { mapName: 'notes', key: 'k1' }, { types: ['UPDATE' as const] }]) {
      const whole = (await read(client, asked)).events
      expect(whole.length).toBeGreaterThan(8)
      for (const newestFirst of [false, true]) {
        const paged: JournalEntry[] = []
        let fromSequence = '0'
        for (;;) {
          const page = await read(client, { ...asked, fromSequence, limit: 7, newestFirst })
          expect(page.events.length).toBeLessThanOrEqual(7)
          paged.push(...page.events)
          fromSequence = page.nextSequence
          if (!page.hasMore) break
          expect(page.events).toHaveLength(7)
        }
        expect(paged).toEqual(newestFirst ? whole.toReversed() : whole)
      }
    }
  })

  test('[JO2] a page has at most 100 events, and ends where it is large', async () => {
    await using server = await startTestServer(kept)
    const client = await server.connect({ encoding: 'msgpack' })
    await write(client, ...Array.from({ length: 150 }, (_, i) => put('notes', `k${i}`, i)))
    expect(await read(client)).toMatchObject({ hasMore: true, events: { length: LIMITS.journalPage } })
    for (let i = 0; i < 6; i++) await write(client, put('large', 'k', 'x'.repeat(100_000)), put('large', 'k', i))
    const page = await read(client, { mapName: 'large' })
    expect(page).toMatchObject({ hasMore: true })
    expect(page.events.length).toBeLessThan(6)
  })

  test('[JO4] writes that change nothing that can be seen are no events', async () => {
    await using server = await startTestServer(kept)
    const client = await server.connect()
    const late = stampAt()
    await write(client, put('notes', 'a', { x: 1 }))
    await write(
      client,
      put('notes', 'a', { x: 1 }),
      patch('notes', 'a', { x: 1 }),
      put('notes', 'a', { x: 9 }, { stamp: late }),
    )
    await write(client, remove('notes', 'a'))
    await write(client, patch('notes', 'a', { x: 2 }), remove('notes', 'b'))
    expect((await read(client)).events.map(({ type }) => type)).toEqual(['PUT', 'DELETE'])
  })

  test('[JO4] in an OR-map each value of a key has events of its own', async () => {
    await using server = await startTestServer(kept)
    const client = await server.connect()
    const stamp = stampAt()
    await write(client, add('tags', 'a', 'one', { stamp }), add('tags', 'a', 'two'))
    await write(client, removeItem('tags', 'a', formatStamp(stamp)))
    expect((await read(client, { mapName: 'tags', key: 'a' })).events.map(brief)).toEqual([
      ['PUT', 'tags', 'a', undefined, 'one'],
      ['PUT', 'tags', 'a', undefined, 'two'],
      ['DELETE', 'tags', 'a', 'one', undefined],
    ])
  })

  test('a record that the server removes because its time is over is an event of the server', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ ...kept, env, connections: { idleTimeout: 10_000_000 } })
    const client = await server.connect()
    client.send(subscribe('j'))
    await write(client, put('notes', 'a', 1, { stamp: { millis: env.now(), counter: 0, nodeId: 't' }, ttlMs: 1_000 }))
    await client.take('JOURNAL_EVENT')
    env.advance(2_000)
    env.advance(120_000)
    const { event } = await client.take('JOURNAL_EVENT')
    expect(event).toMatchObject({ type: 'DELETE', key: 'a', previousValue: 1, metadata: { userId: '$server' } })
  })
})

describe('bounds and rights', () => {
  test('[JO5] without the option, and for maps that it leaves out, everything is NOT_ENABLED', async () => {
    await using off = await startTestServer()
    const client = await off.connect()
    client.send(clientOp(put('notes', 'a', 1)))
    expect(await refusedRead(client)).toMatchObject({ errorCode: 'NOT_ENABLED', code: 501 })
    client.send(subscribe('j'))
    expect((await client.take('ERROR')).payload).toMatchObject({ errorCode: 'NOT_ENABLED' })
    const journal = { enabled: true, include: ['notes*', 'exact'], exclude: ['notes-secret'] }
    await using some = await startTestServer({ journal })
    const reader = await some.connect()
    const maps = ['notes', 'notes-open', 'notes-secret', 'exact', 'exactly', 'other']
    for (const map of maps) await write(reader, put(map, 'k', 1))
    expect((await read(reader)).events.map(({ mapName }) => mapName)).toEqual(['notes', 'notes-open', 'exact'])
    for (const mapName of ['notes-secret', 'exactly', 'other'])
      expect(await refusedRead(reader, { mapName })).toMatchObject({ errorCode: 'NOT_ENABLED' })
  })

  test('INV-22: changes are forgotten by number, by bytes and by age', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({
      journal: { enabled: true, capacity: 100, maxBytes: 50_000, ttlMs: 60_000 },
      env,
      connections: { idleTimeout: 10_000_000 },
    })
    const client = await server.connect({ encoding: 'msgpack' })
    await write(client, put('quiet', 'k', 1))
    for (let i = 0; i < 40; i++)
      await write(client, ...Array.from({ length: 100 }, (_, j) => put('busy', 'k', i * 100 + j)))
    const inspected = (): Record<string, unknown> => server.server.inspect()['journal'] as Record<string, unknown>
    expect(inspected()).toMatchObject({ events: 101 })
    expect((await read(client, { mapName: 'quiet' })).events).toHaveLength(1)
    await write(client, put('busy', 'large', 'x'.repeat(40_000)))
    expect(inspected()['bytes']).toBeLessThanOrEqual(50_000)
    expect((await read(client, { mapName: 'quiet' })).events).toHaveLength(0)
    expect((await read(client, { mapName: 'busy', newestFirst: true })).events[0]?.key).toBe('large')
    env.advance(61_000)
    expect((await read(client)).events).toEqual([])
  })

  test('INV-21: who may not read a map or a field reads neither in the journal, nor of changes to it', async () => {
    await using server = await startTestServer({
      ...kept,
      jwtSecret: SECRET,
      securityPolicies: [
        { role: 'USER', mapNamePattern: '*', actions: ['ALL'] },
        { role: 'TITLES', mapNamePattern: 'notes', actions: ['READ'], allowedFields: ['title'] },
      ],
    })
    const writer = await server.connect({ token: tokenOf('ada', 'USER') })
    const reader = await server.connect({ token: tokenOf('eve', 'TITLES') })
    const nobody = await server.connect({ token: tokenOf('bob', 'GUEST') })
    for (const client of [reader, nobody]) client.send(subscribe('all'))
    reader.send(subscribe('notes', { mapName: 'notes' }))
    await reader.settle()
    await nobody.settle()
    await write(
      writer,
      put('notes', 'a', { title: 'one', secret: 'canary' }),
      patch('notes', 'a', { secret: 'canary 2' }),
      patch('notes', 'a', { title: 'two' }),
      put('notes', 'b', 'canary text'),
      put('secret', 'canary', { title: 'canary' }),
      put('notes', 'a', 'canary text'),
      put('$notes', 'canary', 'canary'),
    )
    const expected = [
      ['PUT', 'notes', 'a', undefined, { title: 'one' }],
      ['UPDATE', 'notes', 'a', { title: 'one' }, { title: 'two' }],
      ['DELETE', 'notes', 'a', { title: 'two' }, undefined],
    ]
    for (const asked of [{}, { mapName: 'notes' }, { newestFirst: true }]) {
      const { events } = await read(reader, asked)
      expect((asked.newestFirst === true ? events.toReversed() : events).map(brief)).toEqual(expected)
    }
    const told = [
      await reader.take('JOURNAL_EVENT'),
      await reader.take('JOURNAL_EVENT'),
      await reader.take('JOURNAL_EVENT'),
    ]
    expect(told.map(({ event }) => brief(event))).toEqual(expected)
    expect((await read(nobody)).events).toEqual([])
    for (const mapName of ['notes', 'secret']) {
      expect(await refusedRead(nobody, { mapName })).toMatchObject({ errorCode: 'FORBIDDEN' })
      nobody.send(subscribe('j', { mapName }))
      expect((await nobody.take('ERROR')).payload).toMatchObject({ errorCode: 'FORBIDDEN' })
    }
    expect(JSON.stringify([told, reader.inbox, nobody.inbox])).not.toContain('canary')
    reader.send({ type: 'AUTH', token: tokenOf('eve', 'GUEST') })
    expect(await reader.take('ERROR')).toMatchObject({
      requestId: 'notes',
      payload: { errorCode: 'FORBIDDEN', details: { subscriptionId: 'notes' } },
    })
    await write(writer, patch('notes', 'a', { title: 'three' }))
    await reader.settle()
    expect(reader.inbox.filter(({ type }) => type === 'JOURNAL_EVENT')).toEqual([])
  })

  test('[JO1] a connection has at most 100 subscriptions, and they end with it', async () => {
    await using server = await startTestServer(kept)
    const client = await server.connect()
    for (let i = 0; i <= LIMITS.journalsPerConnection; i++) client.send(subscribe(`j${i}`))
    const details = { limit: 'journalsPerConnection', max: 100 }
    expect(await client.take('ERROR')).toMatchObject({
      requestId: 'j100',
      payload: { errorCode: 'LIMIT_EXCEEDED', details },
    })
    client.send(subscribe('j5', { mapName: 'notes' }))
    await client.settle()
    expect(client.inbox.filter(({ type }) => type !== 'AUTH_REQUIRED')).toEqual([])
    expect(server.server.inspect()['journal']).toMatchObject({ subscriptions: 100 })
    client.end()
    await until(() => server.server.inspect()['journal']?.['subscriptions'] === 0, 'the end of the subscriptions')
  })
})

test('[JO4] the events of a key, in order, lead from nothing to what it holds', { timeout: 60_000 }, async () => {
  const value = fc.oneof(fc.nat(2), fc.record({ a: fc.nat(2), b: fc.nat(2) }, { requiredKeys: [] }))
  const op = fc.oneof(
    fc.tuple(fc.constant('put' as const), fc.nat(2), value),
    fc.tuple(fc.constant('patch' as const), fc.nat(2), fc.record({ a: fc.nat(2) })),
    fc.tuple(fc.constant('remove' as const), fc.nat(2), fc.constant(null)),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(op, { maxLength: 30 }), async (ops) => {
      await using server = await startTestServer(kept)
      const client = await server.connect({ encoding: 'msgpack' })
      for (const [kind, i, content] of ops) {
        const key = `k${i}`
        client.send(
          clientOp(
            kind === 'put' ? put('m', key, content) : kind === 'patch' ? patch('m', key, content) : remove('m', key),
          ),
        )
      }
      await client.settle()
      client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: {} } })
      const { payload } = await client.take('QUERY_RESP')
      const held = new Map<string, Value | undefined>()
      for (const event of (await read(client)).events) {
        expect(event.previousValue).toEqual(held.get(event.key))
        expect(event.type).toBe(
          event.value === undefined ? 'DELETE' : held.get(event.key) === undefined ? 'PUT' : 'UPDATE',
        )
        held.set(event.key, event.value)
      }
      const now = [...held].filter(([, each]) => each !== undefined).map(([key, each]) => ({ key, value: each }))
      expect(now.toSorted((a, b) => (a.key < b.key ? -1 : 1))).toEqual(payload.results)
    }),
    { numRuns: Number(process.env['SYNCLINE_TEST_RUNS'] ?? 30) },
  )
})

test('INV-22: a change costs those who follow its map, and nobody who follows another', async () => {
  const woken: Subscriber[] = []
  const watched = defineFeature({
    name: 'watched-journal',
    options: z.object({}),
    start(kernel) {
      const settings = { enabled: true, capacity: 100, ttlMs: 0, maxBytes: 1_000_000, exclude: [] }
      const service = new JournalService(kernel, settings, (subscriber) => woken.push(subscriber))
      kernel.onSessionClosed((session) => service.unsubscribeAll(session))
      return { handlers: journalHandlers(service) }
    },
  })
  await using server = await startTestServer({ features: [...builtInFeatures, watched] })
  const client = await server.connect()
  const others = await Promise.all([server.connect(), server.connect(), server.connect()])
  others[0]?.send(subscribe('a', { mapName: 'a' }))
  others[1]?.send(subscribe('b', { mapName: 'b' }))
  others[1]?.send(subscribe('also b', { mapName: 'b' }))
  others[2]?.send(subscribe('all'))
  for (const each of others) await each.settle()
  const idsOf = (): string[] => woken.splice(0).flatMap(({ subscriptions }) => [...subscriptions.keys()])
  await write(client, put('a', 'k', 1), put('c', 'k', 1))
  expect(idsOf().toSorted()).toEqual(['a', 'all'])
  others[1]?.send({ type: 'JOURNAL_UNSUBSCRIBE', subscriptionId: 'b' })
  await others[1]?.settle()
  await write(client, put('b', 'k', 1))
  expect(idsOf().toSorted()).toEqual(['all', 'also b'])
  others[1]?.send({ type: 'JOURNAL_UNSUBSCRIBE', subscriptionId: 'also b' })
  others[2]?.end()
  await others[1]?.settle()
  await until(() => server.server.health().connections === 3, 'the end of a connection')
  await write(client, put('b', 'k', 2))
  expect(idsOf()).toEqual([])
})
