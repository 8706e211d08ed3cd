import { LIMITS, encodeFrame, type Encoding } from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { defineFeature } from '../feature.ts'
import { FakeSocket } from '../testing/fake-socket.ts'
import { clientOp, opBatch, put } from '../testing/harness.ts'
import { Replica } from '../testing/replica.ts'
import { startTestServer } from '../testing/test-server.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']
const pad = (size: number): string => 'x'.repeat(size)

describe('a follower whose socket is full', () => {
  test('INV-22: is sent nothing more until it drains, then each record once in its latest state, in order', async () => {
    await using server = await startTestServer()
    const writer = await server.connect()
    const slow = new FakeSocket(server.server)
    slow.receive({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    await slow.settle()
    const replica = new Replica('m')
    for (const message of slow.written.splice(0)) replica.take(message)
    slow.isStuck = true
    for (let round = 0; round < 40; round++) {
      writer.send(opBatch(Array.from({ length: 50 }, (_, i) => put('m', `k${i}`, { round, pad: pad(2_000) }))))
      await writer.take('OP_ACK')
    }
    await writer.settle()
    // What was on its way when the buffer filled, and not the 4 MB that were written since.
    expect(slow.bufferedBytes).toBeLessThan(64 * 1024 + LIMITS.pageBytes + 300_000)
    expect(slow.closed).toBeUndefined()
    expect(server.server.inspect()['merkle-sync']).toEqual({ following: 1, behind: 1 })
    for (const message of slow.written.splice(0)) replica.take(message)
    replica.received = 0
    slow.drain()
    await slow.settle()
    for (const message of slow.written.splice(0)) replica.take(message)
    expect(replica.received).toBe(50)
    expect(replica.breaches).toEqual([])
    expect(Object.values(replica.content())).toEqual(Array.from({ length: 50 }, () => ({ round: 39, pad: pad(2_000) })))
    expect(server.server.inspect()['merkle-sync']).toEqual({ following: 1, behind: 0 })
    writer.send(clientOp(put('m', 'live again', 1)))
    await writer.take('OP_ACK')
    await slow.settle()
    expect(slow.written.map(({ type }) => type)).toEqual(['SERVER_EVENT'])
  })

  test('INV-22: pages wait for it too', async () => {
    await using server = await startTestServer()
    const writer = await server.connect()
    writer.send(opBatch(Array.from({ length: 100 }, (_, i) => put('m', `k${i}`, pad(20_000)))))
    await writer.take('OP_ACK')
    const slow = new FakeSocket(server.server)
    await slow.settle()
    slow.isStuck = true
    slow.receive({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    slow.receive({
      type: 'SYNC_FETCH',
      payload: { mapName: 'm', keys: Array.from({ length: 100 }, (_, i) => `k${i}`) },
    })
    slow.receive({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: {} } })
    await slow.settle()
    expect(slow.bufferedBytes).toBeLessThan(2 * LIMITS.pageBytes)
    for (let turn = 0; turn < 100 && slow.written.filter(({ type }) => type === 'QUERY_RESP').length < 8; turn++) {
      slow.drain()
      slow.isStuck = true
      await slow.settle()
      expect(slow.bufferedBytes).toBeLessThan(2 * LIMITS.pageBytes)
    }
    const types = slow.written.map(({ type }) => type)
    for (const type of ['SYNC_DIFF', 'SYNC_RECORDS', 'QUERY_RESP']) {
      expect(types.filter((each) => each === type).length).toBeGreaterThanOrEqual(7)
    }
    expect(slow.closed).toBeUndefined()
  })

  test('INV-22: replies to a client that does not read close it with 4008, and the server goes on', async () => {
    await using server = await startTestServer()
    const other = await server.connect()
    const slow = new FakeSocket(server.server)
    slow.isStuck = true
    for (let i = 0; i < 60 && slow.closed === undefined; i++) {
      slow.receive({ type: 'SYNC_TRIE', payload: { mapName: 'm' } })
      await slow.settle()
    }
    expect(slow.closed).toMatchObject({ code: 4008 })
    expect(slow.bufferedBytes).toBeLessThan(1_048_576 + 200_000)
    await other.settle()
    expect(server.server.health().connections).toBe(1)
  })

  test('INV-22: so do pages that are larger than all it may leave unread', async () => {
    await using server = await startTestServer({ connections: { maxOutboundBytes: 20_000 } })
    const writer = await server.connect()
    writer.send(opBatch(Array.from({ length: 20 }, (_, i) => put('m', `k${i}`, pad(20_000)))))
    await writer.take('OP_ACK')
    for (const ask of [
      { type: 'SYNC_INIT', mapName: 'm', cursor: null },
      { type: 'SYNC_FETCH', payload: { mapName: 'm', keys: Array.from({ length: 20 }, (_, i) => `k${i}`) } },
    ] as const) {
      const slow = new FakeSocket(server.server)
      await slow.settle()
      slow.isStuck = true
      slow.receive(ask)
      await slow.settle()
      expect(slow.closed).toMatchObject({ code: 4008 })
    }
    await writer.settle()
  })

  test('INV-22: requests for pages wait in the socket, not in memory, while earlier ones are unread', async () => {
    await using server = await startTestServer({ connections: { inboxFrames: 10 } })
    const writer = await server.connect()
    writer.send(opBatch(Array.from({ length: 20 }, (_, i) => put('m', `k${i}`, pad(20_000)))))
    await writer.take('OP_ACK')
    const slow = new FakeSocket(server.server)
    await slow.settle()
    slow.isStuck = true
    slow.receive({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    await slow.settle()
    const fetch = { type: 'SYNC_FETCH', payload: { mapName: 'm', keys: ['k1'] } } as const
    let sent = 0
    while (!slow.isPaused && sent < 1_000) {
      slow.receive(fetch)
      sent++
    }
    expect(sent).toBeLessThan(100)
    slow.drain()
    for (let turn = 0; turn < 100 && slow.written.filter(({ type }) => type === 'SYNC_RECORDS').length < sent; turn++) {
      await slow.settle()
    }
    expect(slow.written.filter(({ type }) => type === 'SYNC_RECORDS')).toHaveLength(sent)
    expect(slow.isPaused).toBe(false)
  })
})

describe.each(encodings)('a paused socket in %s', (encoding) => {
  test('INV-22: costs bounded memory, catches up, and disturbs nobody', async () => {
    await using server = await startTestServer()
    const [writer, quick, slow] = [
      await server.connect({ encoding: 'msgpack' }),
      await server.connect({ encoding }),
      await server.connect({ encoding }),
    ]
    const [quickReplica, slowReplica] = [new Replica('m'), new Replica('m')]
    quickReplica.attach(quick)
    slowReplica.attach(slow)
    slow.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: {} } })
    await quick.until(() => quickReplica.isLive)
    await slow.take('QUERY_RESP')
    const byQuery = new Map<string, unknown>()
    const { onMessage } = slow
    slow.onMessage = (message, frame) => {
      onMessage?.(message, frame)
      if (message.type !== 'QUERY_UPDATE') return
      if (message.payload.changeType === 'LEAVE') byQuery.delete(message.payload.key)
      else byQuery.set(message.payload.key, message.payload.value)
    }
    slow.pause()
    const rounds = 120
    for (let round = 0; round < rounds; round++) {
      writer.send(opBatch(Array.from({ length: 20 }, (_, i) => put('m', `k${i}`, { round, pad: pad(10_000) }))))
      await writer.take('OP_ACK')
      quick.inbox.length = 0
    }
    await quick.until(() => quickReplica.content()['k19'] !== undefined && quickReplica.seq > 0)
    expect(slow.closed).toBeUndefined()
    slow.resume()
    await slow.until(() => slowReplica.seq === quickReplica.seq && byQuery.size === 20, 20_000)
    await slow.settle()
    expect(slowReplica.breaches).toEqual([])
    expect(slowReplica.ownDigest()).toBe(quickReplica.ownDigest())
    // Most of what was written it never saw: 24 MB in 2,400 records.
    expect(slowReplica.received).toBeLessThan(rounds * 20 * 0.8)
    expect(Object.fromEntries(byQuery)).toEqual(slowReplica.content())
  })

  test('a socket with a small buffer and compression is sent every page', async () => {
    for (const compression of [false, true]) {
      await using server = await startTestServer({ writeCoalescing: { maxBytes: 100 }, connections: { compression } })
      const writer = await server.connect()
      writer.send(opBatch(Array.from({ length: 100 }, (_, i) => put('m', `k${i}`, pad(20_000)))))
      await writer.take('OP_ACK')
      const client = await server.connect({ encoding, compression })
      const replica = new Replica('m')
      replica.attach(client)
      await client.until(
        () => replica.isLive,
        10_000,
        () => `all pages, compression ${compression}`,
      )
      expect(replica.recordsByKey.size).toBe(100)
    }
  })
})

describe('signs of life below the protocol', () => {
  test('INV-22: pings of a peer that does not read the answers end its connection', async () => {
    await using server = await startTestServer()
    const other = await server.connect()
    const flood = await server.connect()
    flood.pause()
    const data = new Uint8Array(125)
    const deadline = performance.now() + 20_000
    while (server.server.health().connections === 2 && performance.now() < deadline) {
      for (let i = 0; i < 5_000; i++) flood.pingRaw(data)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(server.server.health().connections).toBe(1)
    await other.settle()
  })
})

describe('frames that are being handled slowly', () => {
  test('INV-22: a bounded number of bytes of them waits in memory', async () => {
    const never = defineFeature({
      name: 'never',
      options: z.object({}),
      start: () => ({ handlers: { AUTH: { isPublic: true, handle: () => new Promise(() => {}) } } }),
    })
    await using server = await startTestServer({ features: [never] })
    const socket = new FakeSocket(server.server)
    const frame = { type: 'AUTH', token: pad(60_000) } as const
    const size = encodeFrame('json', frame).length
    let sent = 0
    while (!socket.isPaused && sent < 1_000) {
      socket.receive(frame)
      sent++
    }
    expect(sent * size).toBeLessThan(2 * 1_048_576)
  })
})

describe('one turn', () => {
  test('what it sends to a socket leaves in one write, MessagePack as BATCH frames', async () => {
    await using server = await startTestServer({ writeCoalescing: { maxBatch: 10 } })
    const client = await server.connect({ encoding: 'msgpack' })
    await client.settle()
    client.frames = 0
    for (let i = 0; i < 35; i++) client.send({ type: 'PING', timestamp: i })
    await client.until(() => client.inbox.filter(({ type }) => type === 'PONG').length === 35)
    const pongs = client.inbox.flatMap((message) => (message.type === 'PONG' ? [message.timestamp] : []))
    expect(pongs).toEqual(Array.from({ length: 35 }, (_, i) => i))
    expect(client.frames).toBeLessThan(35)
    const socket = new FakeSocket(server.server)
    await socket.settle()
    socket.writes.length = 0
    for (let i = 0; i < 5; i++) socket.receive({ type: 'PING', timestamp: i })
    await socket.settle()
    expect(socket.writes).toHaveLength(1)
    expect(socket.written.filter(({ type }) => type === 'PONG')).toHaveLength(5)
  })
})
