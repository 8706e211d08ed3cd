import {
  decodeFrame,
  encodeFrame,
  LIMITS,
  type ClientMessage,
  type Encoding,
  type ServerMessage,
} from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import { FakeSocket } from '../../testing/fake-socket.ts'
import { SECRET, clientOp, put, tokenOf, until } from '../../testing/harness.ts'
import { startTestServer, type TestClient, type TestServer } from '../../testing/test-server.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']
const sub = (topic: string): ClientMessage => ({ type: 'TOPIC_SUB', payload: { topic } })
const unsub = (topic: string): ClientMessage => ({ type: 'TOPIC_UNSUB', payload: { topic } })
const pub = (topic: string, data: unknown): ClientMessage =>
  ({ type: 'TOPIC_PUB', payload: { topic, data } }) as ClientMessage

type TopicMessage = Extract<ServerMessage, { type: 'TOPIC_MESSAGE' }>
const isMessage = (message: ServerMessage): message is TopicMessage => message.type === 'TOPIC_MESSAGE'
const dataOf = (client: { readonly inbox: readonly ServerMessage[] }): readonly unknown[] =>
  client.inbox.filter(isMessage).map(({ payload }) => payload.data)

const counted = ({ server }: TestServer, what: string): number | undefined =>
  server.metrics().find(({ name }) => name === `syncline_topic_${what}_total`)?.values[0]?.value

const startSecured = (...policies: readonly object[]): ReturnType<typeof startTestServer> =>
  startTestServer({ mode: 'production', auth: 'jwt', jwtSecret: SECRET, securityPolicies: policies as never })

describe.each(encodings)('a publication in %s', (encoding) => {
  test('[TO1] [TO2] INV-16: reaches those who subscribe, in both encodings, and not who published it', async () => {
    await using server = await startTestServer()
    const [ann, bob, eve] = [
      await server.connect({ encoding }),
      await server.connect({ encoding: 'json' }),
      await server.connect({ encoding: 'msgpack' }),
    ]
    for (const client of [ann, bob, eve]) {
      client.send(sub('chat'))
      await client.settle()
    }
    const before = Date.now()
    ann.send(pub('chat', { msg: 'hello', bytes: Uint8Array.of(1, 2) }))
    for (const client of [bob, eve]) {
      const { payload } = await client.take('TOPIC_MESSAGE')
      expect(payload).toMatchObject({ topic: 'chat', data: { msg: 'hello', bytes: expect.anything() as never } })
      expect(payload.publisherId).toMatch(/.+/)
      expect(payload.timestamp).toBeGreaterThanOrEqual(before)
      expect(payload.timestamp).toBeLessThanOrEqual(Date.now())
    }
    await ann.settle()
    expect(dataOf(ann)).toEqual([])
  })

  test('[TO1] misses who subscribes later, and who has ended its subscription', async () => {
    await using server = await startTestServer()
    const [ann, bob, eve] = [await server.connect({ encoding }), await server.connect(), await server.connect()]
    bob.send(sub('chat'))
    bob.send(sub('chat'))
    await bob.settle()
    ann.send(pub('chat', 1))
    await ann.settle()
    eve.send(sub('chat'))
    await eve.settle()
    bob.send(unsub('chat'))
    await bob.settle()
    ann.send(pub('chat', 2))
    await eve.take('TOPIC_MESSAGE', ({ payload }) => payload.data === 2)
    await bob.settle()
    expect(dataOf(bob)).toEqual([1])
    expect(dataOf(eve)).toEqual([])
    expect(server.server.inspect()['topics']).toMatchObject({ topics: 1, subscriptions: 1 })
    expect([counted(server, 'publications'), counted(server, 'deliveries')]).toEqual([2, 2])
    eve.end()
    await until(() => server.server.inspect()['topics']?.['topics'] === 0, 'the end of a subscription')
  })

  test('[TO1] misses who subscribes later in the same turn', async () => {
    await using server = await startTestServer()
    const [publisher, early, late] = Array.from({ length: 3 }, () => new FakeSocket(server.server))
    const from = (socket: FakeSocket | undefined, message: ClientMessage): void =>
      socket?.receiveFrame(encodeFrame(encoding, message))
    from(early, sub('chat'))
    from(publisher, pub('chat', 1))
    from(late, sub('chat'))
    await late?.settle()
    expect(early?.written.filter(isMessage)).toHaveLength(1)
    expect(late?.written.filter(isMessage)).toEqual([])
  })

  test('[TO2] has one publisherId for each connection', async () => {
    await using server = await startTestServer()
    const [ann, bob, eve] = [await server.connect({ encoding }), await server.connect(), await server.connect()]
    for (const topic of ['a', 'b']) eve.send(sub(topic))
    await eve.settle()
    for (const topic of ['a', 'b'])
      for (const client of [ann, bob]) client.send(pub(topic, client === ann ? 'ann' : 'bob'))
    await eve.until(() => dataOf(eve).length === 4)
    const ids = eve.inbox
      .filter(isMessage)
      .map(({ payload }) => `${JSON.stringify(payload.data)} ${payload.publisherId}`)
    expect(new Set(ids).size).toBe(2)
  })
})

describe('order', () => {
  test('[TO2] INV-16: at most once and in the order of each publisher, over all topics, under load', async () => {
    await using server = await startTestServer()
    const publishers = await Promise.all(
      Array.from({ length: 6 }, (_, i) => server.connect({ encoding: i % 2 === 0 ? 'json' : 'msgpack' })),
    )
    const subscribers = await Promise.all(
      Array.from({ length: 8 }, (_, i) => server.connect({ encoding: i % 2 === 0 ? 'msgpack' : 'json' })),
    )
    // Publishers listen as well, and some hear one of the topics only.
    const topicsOf = (client: TestClient): readonly string[] =>
      subscribers.indexOf(client) % 3 === 1 ? ['b'] : ['a', 'b', 'c']
    for (const client of [...publishers, ...subscribers]) {
      for (const topic of topicsOf(client)) client.send(sub(topic))
      await client.settle()
    }
    const count = 600
    for (let i = 0; i < count; i++) {
      for (const [publisher, client] of publishers.entries()) {
        client.send(pub(['a', 'b', 'c'][(i * 7 + publisher) % 3] as string, [publisher, i]))
      }
      if (i % 40 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    for (const client of publishers) await client.settle()
    for (const client of [...publishers, ...subscribers]) {
      await client.settle()
      const own = publishers.indexOf(client)
      const heard = topicsOf(client)
      for (const publisher of publishers.keys()) {
        const numbers = client.inbox
          .filter(isMessage)
          .map(({ payload }) => payload.data as [number, number])
          .filter(([from]) => from === publisher)
          .map(([, i]) => i)
        const expected = Array.from({ length: count }, (_, i) => i).filter((i) =>
          heard.includes(['a', 'b', 'c'][(i * 7 + publisher) % 3] as string),
        )
        expect(numbers).toEqual(publisher === own ? [] : expected)
      }
    }
  })

  test('INV-16: a turn that brings more than may wait is delivered whole to a socket that takes it', async () => {
    await using server = await startTestServer()
    const [publisher, subscriber] = [new FakeSocket(server.server), new FakeSocket(server.server)]
    subscriber.receive(sub('a'))
    await subscriber.settle()
    const text = 'x'.repeat(1_000)
    for (let i = 0; i < 2_000; i++) publisher.receive(pub('a', { i, text }))
    await subscriber.settle()
    expect(subscriber.written.filter(isMessage)).toHaveLength(2_000)
  })
})

describe('a subscriber that reads too slowly', () => {
  test('[TO3] INV-16 INV-22: is told in its place how many messages of each topic it has missed', async () => {
    await using server = await startTestServer()
    const [ann, quick] = [await server.connect(), await server.connect()]
    quick.send(sub('a'))
    await quick.settle()
    const slow = new FakeSocket(server.server)
    for (const topic of ['a', 'b']) slow.receive(sub(topic))
    await slow.settle()
    slow.written.length = 0
    slow.isStuck = true
    const text = 'x'.repeat(10_000)
    for (let i = 0; i < 200; i++) {
      ann.send(pub('a', { i, text }))
      if (i % 10 === 0) ann.send(pub('b', { i, text }))
      if (i % 20 === 0) await ann.settle()
    }
    await ann.settle()
    await slow.settle()
    expect(slow.bufferedBytes).toBeGreaterThan(400_000)
    expect(slow.bufferedBytes).toBeLessThan(800_000)
    expect(slow.closed).toBeUndefined()
    expect(server.server.inspect()['topics']).toMatchObject({ behind: 1 })
    // It is told when it has drained, also where nothing more is published.
    slow.drain()
    await slow.settle()
    const numbers = (topic: string): readonly number[] =>
      slow.written
        .filter(isMessage)
        .filter(({ payload }) => payload.topic === topic)
        .map(({ payload }) => (payload.data as { readonly i: number }).i)
    const droppedOf = (topic: string): readonly number[] =>
      slow.written.flatMap((each) =>
        each.type === 'TOPIC_DROPPED' && each.payload.topic === topic ? [each.payload.dropped] : [],
      )
    const got = numbers('a').length
    expect(numbers('a')).toEqual(Array.from({ length: got }, (_, i) => i))
    expect(droppedOf('a')).toEqual([200 - got])
    expect(droppedOf('b')).toEqual([20 - numbers('b').length])
    expect(slow.written.slice(-2).map(({ type }) => type)).toEqual(['TOPIC_DROPPED', 'TOPIC_DROPPED'])
    ann.send(pub('a', { i: 200, text }))
    await ann.settle()
    await slow.settle()
    expect(numbers('a').at(-1)).toBe(200)
    expect(droppedOf('a')).toHaveLength(1)
    await quick.until(() => dataOf(quick).length === 201)
    expect(counted(server, 'drops')).toBe(220 - got - numbers('b').length)
  })

  test('[TO3] INV-16: over a real socket what it received and what it was told of add up, in order', async () => {
    await using server = await startTestServer()
    const [ann, slow, quick] = [
      await server.connect({ encoding: 'msgpack' }),
      await server.connect({ encoding: 'msgpack' }),
      await server.connect({ encoding: 'json' }),
    ]
    for (const client of [slow, quick]) {
      client.send(sub('a'))
      await client.settle()
    }
    slow.pause()
    const count = 2_500
    const text = 'x'.repeat(5_000)
    for (let i = 0; i < count; i++) {
      ann.send(pub('a', { i, text }))
      if (i % 50 === 0) await ann.settle()
    }
    await quick.until(() => dataOf(quick).length === count)
    slow.resume()
    await slow.settle()
    let next = 0
    let dropped = 0
    for (const message of slow.inbox) {
      if (message.type === 'TOPIC_DROPPED') {
        next += message.payload.dropped
        dropped += message.payload.dropped
      } else if (isMessage(message)) expect((message.payload.data as { readonly i: number }).i).toBe(next++)
    }
    expect(next).toBe(count)
    expect(dropped).toBeGreaterThan(0)
  })

  test('[TO3] INV-16: is told before the next message, also where that comes while it drains', async () => {
    await using server = await startTestServer()
    const [publisher, slow] = [new FakeSocket(server.server), new FakeSocket(server.server)]
    slow.receive(sub('a'))
    await slow.settle()
    slow.isStuck = true
    for (let i = 0; i < 90; i++) publisher.receive(pub('a', 'x'.repeat(10_000)))
    await slow.settle()
    expect(server.server.inspect()['topics']).toMatchObject({ behind: 1 })
    slow.written.length = 0
    publisher.receive(pub('a', 'next'))
    slow.drain()
    await slow.settle()
    expect(slow.written.map(({ type }) => type)).toEqual(['TOPIC_DROPPED', 'TOPIC_MESSAGE'])
  })

  test('[TO3] is told nothing of a topic that it has left', async () => {
    await using server = await startTestServer()
    const ann = await server.connect()
    const slow = new FakeSocket(server.server)
    slow.receive(sub('a'))
    await slow.settle()
    slow.isStuck = true
    for (let i = 0; i < 90; i++) ann.send(pub('a', 'x'.repeat(10_000)))
    await ann.settle()
    expect(server.server.inspect()['topics']).toMatchObject({ behind: 1 })
    slow.receive(unsub('a'))
    slow.drain()
    await slow.settle()
    expect(slow.written.filter(({ type }) => type === 'TOPIC_DROPPED')).toEqual([])
  })
})

describe('what is encoded and written', () => {
  test('a turn is one write for each socket, and the same bytes for all of an encoding', async () => {
    await using server = await startTestServer()
    const sockets = Array.from({ length: 4 }, () => new FakeSocket(server.server))
    const publisher = new FakeSocket(server.server)
    for (const [i, socket] of sockets.entries()) {
      socket.receiveFrame(encodeFrame(i < 2 ? 'json' : 'msgpack', sub('a')))
      await socket.settle()
      socket.writes.length = 0
      socket.frames.length = 0
    }
    for (let i = 0; i < 5; i++) publisher.receive(pub('a', { i }))
    await publisher.settle()
    for (const socket of sockets) {
      expect(socket.writes).toHaveLength(1)
      expect(socket.written.filter(isMessage).map(({ payload }) => payload.data)).toEqual(
        Array.from({ length: 5 }, (_, i) => ({ i })),
      )
    }
    expect(sockets[1]?.frames[0]).toBe(sockets[0]?.frames[0])
    expect(sockets[3]?.frames[0]).toBe(sockets[2]?.frames[0])
    expect(sockets[2]?.frames[0]).toHaveLength(1)
  })

  test('what is published, and what is committed, leaves at the end of its turn and not of the next', async () => {
    await using server = await startTestServer()
    const [socket, publisher] = [new FakeSocket(server.server), new FakeSocket(server.server)]
    socket.receive(sub('a'))
    socket.receive({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    await socket.settle()
    socket.writes.length = 0
    socket.written.length = 0
    publisher.receive(pub('a', 1))
    publisher.receive(clientOp(put('m', 'k', 1)))
    await new Promise((resolve) => setImmediate(resolve))
    expect(socket.written.map(({ type }) => type).sort()).toEqual(['SERVER_EVENT', 'TOPIC_MESSAGE'])
    expect(socket.writes).toHaveLength(1)
  })

  test('a turn that brings something else as well holds no BATCH within a BATCH', async () => {
    await using server = await startTestServer()
    const [socket, publisher] = [new FakeSocket(server.server), new FakeSocket(server.server)]
    socket.receiveFrame(encodeFrame('msgpack', sub('a')))
    await socket.settle()
    socket.frames.length = 0
    socket.written.length = 0
    for (let i = 0; i < 3; i++) publisher.receive(pub('a', i))
    socket.receiveFrame(encodeFrame('msgpack', { type: 'PING', timestamp: 1 }))
    await socket.settle()
    expect(socket.written.map(({ type }) => type).sort()).toEqual([
      'PONG',
      'TOPIC_MESSAGE',
      'TOPIC_MESSAGE',
      'TOPIC_MESSAGE',
    ])
    const decoded = decodeFrame(socket.frames[0]?.[0] as Uint8Array)
    expect(decoded.ok && (decoded.value.message as { count?: number }).count).toBe(4)
  })
})

describe('refusals', () => {
  const cases: readonly (readonly [string, object, string])[] = [
    ['an empty name', { type: 'TOPIC_SUB', payload: { topic: '' } }, 'BAD_KEY'],
    ['a space', { type: 'TOPIC_SUB', payload: { topic: 'a b' } }, 'BAD_KEY'],
    ['257 characters', { type: 'TOPIC_PUB', payload: { topic: 'x'.repeat(257), data: 1 } }, 'BAD_KEY'],
    ['a number as name', { type: 'TOPIC_UNSUB', payload: { topic: 5 } }, 'VALIDATION_ERROR'],
    ['no name', { type: 'TOPIC_SUB', payload: {} }, 'VALIDATION_ERROR'],
    ['no data', { type: 'TOPIC_PUB', topic: 'a' }, 'VALIDATION_ERROR'],
    ['reserved names in the data', { type: 'TOPIC_PUB', topic: 'a', data: { constructor: 1 } }, 'BAD_KEY'],
    ['data beyond 256 KiB', { type: 'TOPIC_PUB', topic: 'a', data: 'x'.repeat(262_144) }, 'TOO_LARGE'],
    ['a room without a topic', { type: 'TOPIC_SUB', topic: 'room:b1' }, 'BAD_KEY'],
    ['a topic without a room', { type: 'TOPIC_SUB', topic: 'room::emoji' }, 'BAD_KEY'],
    ['a room with an empty topic', { type: 'TOPIC_PUB', topic: 'room:b1:', data: 1 }, 'BAD_KEY'],
  ]
  test.each(cases)('[TO1] [TO2] [TO4] %s', async (_, message, errorCode) => {
    await using server = await startTestServer()
    const client = await server.connect()
    client.sendRaw(JSON.stringify({ ...message, requestId: 'r1' }))
    const error = await client.take('ERROR')
    expect(error).toMatchObject({ requestId: 'r1', payload: { errorCode, about: (message as { type: string }).type } })
    expect(error.payload.code).toBe(errorCode === 'TOO_LARGE' ? 413 : 400)
    await client.settle()
  })

  test('[TO1] INV-22: more than 100 topics are LIMIT_EXCEEDED, until one is left', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    for (let i = 0; i < LIMITS.topicsPerConnection; i++) client.send(sub(`t${i}`))
    client.send(sub('t5'))
    await client.settle()
    expect(client.inbox.filter(({ type }) => type === 'ERROR')).toEqual([])
    client.send({ ...sub('more'), requestId: 'r' })
    expect(await client.take('ERROR')).toMatchObject({
      requestId: 'r',
      payload: { errorCode: 'LIMIT_EXCEEDED', details: { limit: 'topicsPerConnection', max: 100, topic: 'more' } },
    })
    client.send(unsub('t0'))
    client.send(sub('more'))
    await client.settle()
    expect(client.inbox.filter(({ type }) => type === 'ERROR')).toEqual([])
    expect(server.server.inspect()['topics']).toMatchObject({ subscriptions: 100 })
    const refusals = server.server.metrics().find(({ name }) => name === 'syncline_limit_refusals_total')
    expect(refusals?.values).toEqual([{ labels: { limit: 'topicsPerConnection' }, value: 1 }])
  })

  test('[TO2] who publishes more than rateLimiting allows is RATE_LIMITED: a publication costs its audience', async () => {
    await using server = await startTestServer({
      rateLimiting: { maxConnectionsPerSecond: 1_000, maxCostAtOnce: 100, maxCostPerSecond: 1 },
    })
    const [ann, ...others] = await Promise.all(Array.from({ length: 11 }, () => server.connect()))
    for (const other of others) {
      other.send(sub('a'))
      await other.settle()
    }
    for (let i = 0; i < 20; i++) ann?.send(pub('a', i))
    const error = await ann?.take('ERROR')
    expect(error?.payload).toMatchObject({ errorCode: 'RATE_LIMITED', about: 'TOPIC_PUB' })
    await others[0]?.settle()
    expect(dataOf(others[0] as TestClient).length).toBeLessThan(13)
  })
})

describe('rights', () => {
  const policies = [
    { role: 'READER', mapNamePattern: 'topic:news', actions: ['READ'] },
    { role: 'WRITER', mapNamePattern: 'topic:news', actions: ['PUT'] },
    { role: 'MAPS', mapNamePattern: 'news', actions: ['ALL'] },
    { role: 'MAPS', mapNamePattern: 'room:*', actions: ['REMOVE'] },
    { role: 'PART', mapNamePattern: 'topic:*', actions: ['ALL'], allowedFields: ['text'] },
    { role: 'GUEST', mapNamePattern: 'room:lobby', actions: ['READ', 'PUT'] },
    { role: 'TOPICS', mapNamePattern: 'topic:*', actions: ['ALL'] },
  ]
  const canary = { secret: 'canary' }

  test('[TO4] INV-21: who may not read a topic is sent nothing of it; who may not write, sends nothing', async () => {
    await using server = await startSecured(...policies)
    const root = await server.connect({ token: tokenOf('root', 'ADMIN') })
    const reader = await server.connect({ token: tokenOf('r', 'READER') })
    const others = await Promise.all(
      ['WRITER', 'MAPS', 'PART', 'GUEST', 'NOBODY'].map((role) => server.connect({ token: tokenOf(role, role) })),
    )
    for (const client of [root, reader]) {
      client.send(sub('news'))
      await client.settle()
    }
    for (const client of others) {
      client.send({ ...sub('news'), requestId: 'r' })
      expect(await client.take('ERROR')).toMatchObject({
        requestId: 'r',
        payload: { code: 403, errorCode: 'FORBIDDEN', about: 'TOPIC_SUB', details: { topic: 'news' } },
      })
    }
    root.send(pub('news', canary))
    await reader.take('TOPIC_MESSAGE')
    for (const client of others) {
      await client.settle()
      expect(JSON.stringify(client.inbox)).not.toContain('canary')
    }
    for (const client of [reader, ...others.slice(1)]) {
      client.send({ ...pub('news', canary), requestId: 'p' })
      expect(await client.take('ERROR')).toMatchObject({ requestId: 'p', payload: { errorCode: 'FORBIDDEN' } })
    }
    await root.settle()
    expect(dataOf(root)).toEqual([])
    others[0]?.send(pub('news', 'fine'))
    expect((await root.take('TOPIC_MESSAGE')).payload.data).toBe('fine')
  })

  test('[TO4] INV-21: a topic of a room takes rights on the room, and rights on all topics give none', async () => {
    await using server = await startSecured(...policies)
    const [guest, other, topics, maps] = await Promise.all(
      ['GUEST', 'GUEST', 'TOPICS', 'MAPS'].map((role, i) => server.connect({ token: tokenOf(`u${i}`, role) })),
    )
    for (const client of [topics, maps]) {
      client?.send(sub('room:lobby:emoji'))
      expect((await client?.take('ERROR'))?.payload).toMatchObject({ errorCode: 'FORBIDDEN' })
      client?.send(pub('room:lobby:emoji', canary))
      expect((await client?.take('ERROR'))?.payload).toMatchObject({ errorCode: 'FORBIDDEN' })
    }
    guest?.send(sub('room:lobby:emoji'))
    guest?.send(sub('room:lobby:x:emoji'))
    expect((await guest?.take('ERROR'))?.payload).toMatchObject({ details: { topic: 'room:lobby:x:emoji' } })
    other?.send(pub('room:lobby:emoji', '!'))
    expect((await guest?.take('TOPIC_MESSAGE'))?.payload.data).toBe('!')
  })

  test('[TO4] INV-21: a subscription ends with the right to it, and says so', async () => {
    await using server = await startSecured(...policies)
    const root = await server.connect({ token: tokenOf('root', 'ADMIN') })
    const client = await server.connect({ token: tokenOf('ann', 'READER', 'TOPICS') })
    for (const topic of ['news', 'other']) client.send(sub(topic))
    await client.settle()
    client.send({ type: 'AUTH', token: tokenOf('ann', 'READER') })
    await client.take('AUTH_ACK')
    expect((await client.take('ERROR')).payload).toMatchObject({
      errorCode: 'FORBIDDEN',
      about: 'TOPIC_SUB',
      details: { topic: 'other' },
    })
    for (const topic of ['other', 'news']) root.send(pub(topic, topic))
    await client.take('TOPIC_MESSAGE', ({ payload }) => payload.topic === 'news')
    await client.settle()
    expect(dataOf(client)).toEqual([])
    expect(server.server.inspect()['topics']).toMatchObject({ subscriptions: 1 })
  })

  test('[TO4] before AUTH nothing is taken', async () => {
    await using server = await startSecured(...policies)
    const client = await server.connect()
    for (const message of [sub('news'), pub('news', 1), unsub('news')]) {
      client.send(message)
      expect((await client.take('ERROR')).payload).toMatchObject({ errorCode: 'UNAUTHORIZED', about: message.type })
    }
  })
})
