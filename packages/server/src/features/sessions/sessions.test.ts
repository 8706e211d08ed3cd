import { generateKeyPairSync, createSign } from 'node:crypto'
import { PROTOCOL_VERSION, SUBPROTOCOLS, encodeMsgpack, type Encoding } from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { MovableEnv, SECRET, clientOp, makeToken, put, tokenOf } from '../../testing/harness.ts'
import { startTestServer } from '../../testing/test-server.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']
const policies = [
  { role: 'USER', mapNamePattern: 'todos', actions: ['READ', 'PUT'] },
  { role: 'READER', mapNamePattern: 'todos', actions: ['READ'], allowedFields: ['title'] },
  { role: 'OWNER', mapNamePattern: 'own/{userId}', actions: ['ALL'] },
] as const

const startSecured = (options: Parameters<typeof startTestServer>[0] = {}): ReturnType<typeof startTestServer> =>
  startTestServer({
    mode: 'production',
    auth: 'jwt',
    jwtSecret: SECRET,
    securityPolicies: policies.map((policy) => ({ ...policy, actions: [...policy.actions] })) as never,
    ...options,
  })

describe('AUTH_REQUIRED', () => {
  test.each([undefined, SUBPROTOCOLS.json, SUBPROTOCOLS.msgpack])(
    'is the first frame and JSON text, with subprotocol %s',
    async (subprotocol) => {
      await using server = await startSecured()
      const socket = new WebSocket(`${server.url}/ws`, subprotocol === undefined ? [] : [subprotocol])
      const [data, isBinary] = await new Promise<[Buffer, boolean]>((resolve) =>
        socket.once('message', (...frame: [Buffer, boolean]) => resolve(frame)),
      )
      expect(isBinary).toBe(false)
      expect(JSON.parse(data.toString())).toMatchObject({ type: 'AUTH_REQUIRED', protocolVersion: PROTOCOL_VERSION })
      expect(socket.protocol).toBe(subprotocol ?? '')
      socket.terminate()
    },
  )

  test('[SE3] says that AUTH is optional where the server runs open, and everything works without it', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    expect(await client.take('AUTH_REQUIRED')).toMatchObject({ optional: true })
    client.send(clientOp(put('todos', 'a', 1)))
    expect((await client.take('OP_ACK')).payload.results).toMatchObject([{ success: true }])
  })
})

describe.each(encodings)('AUTH in %s', (encoding) => {
  test('[SE1] [SE4] with a good HS256 token is answered by AUTH_ACK that names user, time and database', async () => {
    await using server = await startSecured()
    const client = await server.connect({ encoding })
    client.send({ type: 'AUTH', token: makeToken({ sub: 'ann', exp: Math.floor(Date.now() / 1000) + 60 }) })
    const ack = await client.take('AUTH_ACK')
    expect(ack).toMatchObject({ protocolVersion: PROTOCOL_VERSION, userId: 'ann', databaseId: 'memory' })
    expect(Math.abs(ack.serverTime - Date.now())).toBeLessThan(5_000)
  })

  const now = Math.floor(Date.now() / 1000)
  const rsaSigned = (): string => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    const signed = `${part({ alg: 'RS256' })}.${part({ sub: 'eve' })}`
    return `${signed}.${createSign('RSA-SHA256').update(signed).sign(privateKey).toString('base64url')}`
  }
  test.each([
    ['that has expired', () => makeToken({ sub: 'eve', exp: now - 10 }), 'jwt expired'],
    ['that is not valid yet', () => makeToken({ sub: 'eve', nbf: now + 1_000 }), 'jwt not active'],
    ['of another key', () => makeToken({ sub: 'eve' }, { secret: 'x'.repeat(32) }), 'invalid signature'],
    [
      'with alg none',
      () =>
        `${makeToken({ sub: 'eve' }, { header: { alg: 'none' } })
          .split('.', 2)
          .join('.')}.`,
      '',
    ],
    ['with alg none and a signature', () => makeToken({ sub: 'eve' }, { header: { alg: 'none' } }), ''],
    ['signed by HS256 under an RS256 header', () => makeToken({ sub: 'eve' }, { header: { alg: 'RS256' } }), ''],
    ['signed by RS256', rsaSigned, 'invalid algorithm'],
    ['with alg HS512', () => makeToken({ sub: 'eve' }, { header: { alg: 'HS512' } }), ''],
    [
      'with an unknown critical header',
      () => makeToken({ sub: 'eve' }, { header: { alg: 'HS256', crit: ['x'], x: 1 } }),
      '',
    ],
    ['that is garbage', () => 'garbage', 'jwt malformed'],
    ['that is empty', () => '', 'jwt malformed'],
    ['without a subject', () => makeToken({ roles: ['ADMIN'] }), 'jwt subject missing'],
    ['with an empty subject', () => makeToken({ sub: '' }), 'jwt subject missing'],
    ['with a number as subject', () => makeToken({ sub: 7 }), ''],
    ['with a text as roles', () => makeToken({ sub: 'eve', roles: 'ADMIN' }), 'jwt roles malformed'],
    ['with a text as expiry', () => makeToken({ sub: 'eve', exp: 'never' }), ''],
  ])('[SE4] with a token %s is refused by AUTH_FAIL and close 4001', async (_, token, reason) => {
    await using server = await startSecured()
    const client = await server.connect({ encoding })
    client.send({ type: 'AUTH', token: token() })
    expect(await client.untilClosed()).toMatchObject({ code: 4001 })
    const fail = client.inbox.find((message) => message.type === 'AUTH_FAIL')
    expect(fail).toMatchObject({ code: 401, errorCode: 'UNAUTHORIZED' })
    if (reason !== '') expect(fail).toMatchObject({ error: reason })
    expect(client.inbox.some((message) => message.type === 'AUTH_ACK')).toBe(false)
  })

  test('sent twice with one token, as existing clients do, is answered once', async () => {
    await using server = await startSecured()
    const client = await server.connect({ encoding })
    const token = tokenOf('ann')
    client.send({ type: 'AUTH', token })
    client.send({ type: 'AUTH', token })
    await client.settle()
    expect(client.inbox.filter((message) => message.type === 'AUTH_ACK')).toHaveLength(1)
  })

  test('is answered each time where it carries a requestId', async () => {
    await using server = await startSecured()
    const client = await server.connect({ encoding })
    const token = tokenOf('ann')
    for (const requestId of ['a', 'b']) client.send({ type: 'AUTH', token, requestId })
    expect(await client.take('AUTH_ACK')).toMatchObject({ requestId: 'a' })
    expect(await client.take('AUTH_ACK')).toMatchObject({ requestId: 'b' })
  })
})

describe('what comes before AUTH', () => {
  test.each(encodings)('an op is refused UNAUTHORIZED and the connection survives, in %s', async (encoding) => {
    await using server = await startSecured()
    const client = await server.connect({ encoding })
    client.send({ ...clientOp(put('todos', 'a', 1)), requestId: 'r1' })
    expect(await client.take('ERROR')).toMatchObject({
      payload: { code: 401, errorCode: 'UNAUTHORIZED', about: 'CLIENT_OP' },
      requestId: 'r1',
    })
    client.send({ type: 'AUTH', token: tokenOf('ann') })
    await client.take('AUTH_ACK')
    client.send(clientOp(put('todos', 'b', 1)))
    await client.take('OP_ACK')
    client.send({ type: 'SYNC_INIT', mapName: 'todos', cursor: null })
    expect((await client.take('SYNC_DIFF')).payload.records.map(({ key }) => key)).toEqual(['b'])
  })

  test('every message but AUTH and PING is refused', async () => {
    await using server = await startSecured()
    const client = await server.connect()
    const messages = [
      { type: 'OP_BATCH', payload: { ops: [] } },
      { type: 'SYNC_INIT', mapName: 'todos', cursor: null },
      { type: 'SYNC_STOP', mapName: 'todos' },
      { type: 'SYNC_PUSH', payload: { mapName: 'todos', records: [] } },
      { type: 'SYNC_TRIE', payload: { mapName: 'todos' } },
      { type: 'SYNC_LEAVES', payload: { mapName: 'todos', leaves: [0] } },
      { type: 'SYNC_FETCH', payload: { mapName: 'todos', keys: ['a'] } },
      { type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'todos', path: '' } },
      { type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'todos', query: {} } },
      { type: 'QUERY_UNSUB', payload: { queryId: 'q' } },
    ] as const
    await client.take('AUTH_REQUIRED')
    for (const message of messages) client.send(message)
    await client.settle()
    expect(client.inbox.map((message) => message.type === 'ERROR' && message.payload)).toMatchObject(
      messages.map(({ type }) => ({ errorCode: 'UNAUTHORIZED', about: type })),
    )
  })

  test('[SE2] PING is answered with its timestamp and the time of the server', async () => {
    await using server = await startSecured()
    const client = await server.connect()
    client.send({ type: 'PING', timestamp: 12.5 })
    const pong = await client.take('PONG')
    expect(pong.timestamp).toBe(12.5)
    expect(Math.abs(pong.serverTime - Date.now())).toBeLessThan(5_000)
  })

  test('INV-22: a frame over 64 KiB closes with 1009, and after AUTH it is taken', async () => {
    await using server = await startSecured()
    for (const compression of [false, true]) {
      const early = await server.connect({ compression })
      early.sendRaw(JSON.stringify({ type: 'AUTH', token: 'x'.repeat(64 * 1024) }))
      expect(await early.untilClosed()).toMatchObject({ code: 1009 })
    }
    const client = await server.connect({ token: tokenOf('ann') })
    client.send(clientOp(put('todos', 'big', 'x'.repeat(200_000))))
    expect((await client.take('OP_ACK')).payload.results).toMatchObject([{ success: true }])
  })

  test('INV-22: with compression as well, the limit is on what a frame becomes, and grows with AUTH', async () => {
    await using server = await startSecured({ connections: { compression: true } })
    const early = await server.connect({ compression: true })
    early.sendRaw(JSON.stringify({ type: 'AUTH', token: 'x'.repeat(1024 * 1024) }))
    expect(await early.untilClosed()).toMatchObject({ code: 1009 })
    const client = await server.connect({ compression: true, token: tokenOf('ann') })
    client.send(clientOp(put('todos', 'big', 'x'.repeat(200_000))))
    expect((await client.take('OP_ACK')).payload.results).toMatchObject([{ success: true }])
  })

  test('a connection that never authenticates is closed with 4001 when its time is up', async () => {
    const env = new MovableEnv()
    await using server = await startSecured({ env, connections: { authTimeout: 5_000 } })
    const silent = await server.connect()
    const known = await server.connect({ token: tokenOf('ann') })
    env.advance(4_000)
    await silent.settle()
    env.advance(2_500)
    expect(await silent.untilClosed()).toMatchObject({ code: 4001, reason: 'Auth timeout' })
    await known.settle()
  })

  test('an unsupported protocol version is refused and the connection survives', async () => {
    await using server = await startSecured()
    const client = await server.connect()
    client.send({ type: 'AUTH', token: tokenOf('ann'), protocolVersion: PROTOCOL_VERSION + 1 })
    expect((await client.take('ERROR')).payload.errorCode).toBe('UNSUPPORTED_VERSION')
    client.send({ type: 'AUTH', token: tokenOf('ann'), protocolVersion: PROTOCOL_VERSION })
    await client.take('AUTH_ACK')
  })
})

describe('INV-21: rights end', () => {
  test.each(encodings)('INV-21: with the token: AUTH_FAIL and close 4001 within 2 s, in %s', async (encoding) => {
    const env = new MovableEnv()
    await using server = await startSecured({ env, connections: { idleTimeout: 10_000_000 } })
    const exp = Math.floor(env.now() / 1000) + 100
    const client = await server.connect({ encoding, token: makeToken({ sub: 'ann', exp }) })
    const other = await server.connect({ encoding, token: makeToken({ sub: 'bob', exp: exp + 1_000 }) })
    client.send({ type: 'PING', timestamp: 1 })
    await client.take('PONG')
    env.advance(exp * 1000 - env.now() - 1_000)
    await client.settle()
    env.advance(1_000 + 2_000)
    expect(await client.untilClosed()).toMatchObject({ code: 4001 })
    expect(client.inbox.at(-1)).toMatchObject({ type: 'AUTH_FAIL', error: 'jwt expired', code: 401 })
    await other.settle()
  })

  test('a token that is refreshed in time keeps the session, hour after hour', async () => {
    const env = new MovableEnv()
    await using server = await startSecured({ env, connections: { idleTimeout: 10_000_000 } })
    const fresh = (): string => makeToken({ sub: 'ann', exp: Math.floor(env.now() / 1000) + 3_600 })
    const client = await server.connect({ token: fresh() })
    for (let hour = 0; hour < 15; hour++) {
      env.advance(3_000_000)
      if (client.closed === undefined) await client.settle()
      client.send({ type: 'AUTH', token: fresh() })
      await client.take('AUTH_ACK')
    }
    client.send(clientOp(put('todos', 'a', 1)))
    expect((await client.take('OP_ACK')).payload.results).toMatchObject([{ success: true }])
  })

  test('tokens that follow one another faster than anyone signs in end the connection', async () => {
    await using server = await startSecured()
    const client = await server.connect()
    for (let i = 0; i < 11; i++) client.send({ type: 'AUTH', token: tokenOf(`user-${i}`) })
    expect(await client.untilClosed()).toMatchObject({ code: 4001 })
    expect(client.inbox.at(-1)).toMatchObject({ type: 'AUTH_FAIL', error: 'too many attempts' })
  })

  test('INV-21: another AUTH with other rights resets followers, ends queries and refuses writes', async () => {
    await using server = await startSecured()
    const writer = await server.connect({ token: tokenOf('root', 'ADMIN') })
    writer.send(clientOp(put('todos', 'a', { title: 'shown', secret: 'hidden' })))
    await writer.take('OP_ACK')
    const client = await server.connect({ token: tokenOf('ann') })
    client.send({ type: 'SYNC_INIT', mapName: 'todos', cursor: null })
    expect((await client.take('SYNC_DIFF')).payload.records).toHaveLength(1)
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'todos', query: {} } })
    await client.take('QUERY_RESP')

    client.send({ type: 'AUTH', token: tokenOf('ann', 'READER') })
    expect((await client.take('SYNC_RESET_REQUIRED')).payload.mapName).toBe('todos')
    expect((await client.take('ERROR')).payload).toMatchObject({ errorCode: 'FORBIDDEN', details: { queryId: 'q' } })
    await client.take('AUTH_ACK')
    client.send(clientOp(put('todos', 'b', 1)))
    expect((await client.take('OP_ACK')).payload.results).toMatchObject([{ success: false, errorCode: 'FORBIDDEN' }])

    client.inbox.length = 0
    writer.send(clientOp(put('todos', 'a', { title: 'again', secret: 'hidden' })))
    await writer.take('OP_ACK')
    await client.settle()
    expect(client.inbox).toEqual([])
    client.send({ type: 'SYNC_INIT', mapName: 'todos', cursor: null })
    expect((await client.take('SYNC_DIFF')).payload.records[0]?.record.value).toEqual({ title: 'again' })
  })

  test('another AUTH with the same rights disturbs nothing', async () => {
    await using server = await startSecured()
    const client = await server.connect({ token: tokenOf('ann') })
    client.send({ type: 'SYNC_INIT', mapName: 'todos', cursor: null })
    await client.take('SYNC_DIFF')
    client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'todos', query: {} } })
    await client.take('QUERY_RESP')
    client.inbox.length = 0
    client.send({ type: 'AUTH', token: makeToken({ sub: 'ann', iat: 1 }) })
    await client.settle()
    expect(client.inbox.map(({ type }) => type)).toEqual(['AUTH_ACK'])
    client.send(clientOp(put('todos', 'a', 1)))
    await client.take('SERVER_EVENT')
    await client.take('QUERY_UPDATE')
  })

  test('INV-21: pages of a reply that are still to come are not made under rights that have ended', async () => {
    await using server = await startSecured()
    const writer = await server.connect({ token: tokenOf('root', 'ADMIN') })
    for (let i = 0; i < 40; i++) writer.send(clientOp(put('own/ann', `k${i}`, { pad: 'p'.repeat(200_000) })))
    await writer.settle()
    const client = await server.connect({ token: tokenOf('ann', 'OWNER') })
    // Both arrive before the first page leaves.
    client.pause()
    client.send({ type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'own/ann', path: '000' } })
    client.send({
      type: 'SYNC_FETCH',
      payload: { mapName: 'own/ann', keys: Array.from({ length: 40 }, (_, i) => `k${i}`) },
      requestId: 'fetch',
    })
    client.send({ type: 'AUTH', token: tokenOf('bob', 'OWNER') })
    await new Promise((resolve) => setImmediate(resolve))
    client.resume()
    await client.take('AUTH_ACK')
    await client.settle()
    const pages = client.inbox.filter((message) => message.type === 'SYNC_RECORDS')
    expect(pages.flatMap((page) => (page.type === 'SYNC_RECORDS' ? page.payload.records : [])).length).toBeLessThan(40)
    expect(client.inbox.find((message) => message.type === 'ERROR' && message.requestId === 'fetch')).toMatchObject({
      payload: { errorCode: 'FORBIDDEN', about: 'SYNC_FETCH' },
    })
  })
})

describe('roles', () => {
  test('a token without roles has the role USER', async () => {
    await using server = await startSecured()
    const user = await server.connect({ token: tokenOf('ann') })
    user.send(clientOp(put('todos', 'a', 1)))
    expect((await user.take('OP_ACK')).payload.results).toMatchObject([{ success: true }])
    const none = await server.connect({ token: makeToken({ sub: 'ann', roles: [] }) })
    none.send(clientOp(put('todos', 'a', 1)))
    expect((await none.take('OP_ACK')).payload.results).toMatchObject([{ errorCode: 'FORBIDDEN' }])
  })
})

describe('encoding', () => {
  test('a reply is in the encoding of the latest frame', async () => {
    await using server = await startSecured()
    const socket = new WebSocket(`${server.url}/ws`)
    const kinds: string[] = []
    socket.on('message', (_, isBinary) => kinds.push(isBinary ? 'bytes' : 'text'))
    await new Promise((resolve) => socket.once('open', resolve))
    const frames = [
      encodeMsgpack({ type: 'PING', timestamp: 1 }),
      '{"type":"PING","timestamp":2}',
      // JSON in a binary frame is JSON.
      Buffer.from('{"type":"PING","timestamp":3}'),
      encodeMsgpack({ type: 'PING', timestamp: 4 }),
    ]
    for (const [i, frame] of frames.entries()) {
      socket.send(frame)
      while (kinds.length < i + 2) await new Promise((resolve) => socket.once('message', resolve))
    }
    expect(kinds).toEqual(['text', 'bytes', 'text', 'text', 'bytes'])
    socket.terminate()
  })

  test.each([
    [SUBPROTOCOLS.json, 'text'],
    [SUBPROTOCOLS.msgpack, 'bytes'],
  ])('the subprotocol %s fixes replies as %s, whatever frames come', async (subprotocol, kind) => {
    await using server = await startSecured()
    const socket = new WebSocket(`${server.url}/ws`, [subprotocol])
    const kinds: string[] = []
    socket.on('message', (_, isBinary) => kinds.push(isBinary ? 'bytes' : 'text'))
    await new Promise((resolve) => socket.once('open', resolve))
    for (const [i, frame] of [encodeMsgpack({ type: 'PING', timestamp: 1 }), '{"type":"PING"}', 'no json'].entries()) {
      socket.send(frame)
      while (kinds.length < i + 2) await new Promise((resolve) => socket.once('message', resolve))
    }
    expect(kinds).toEqual(['text', kind, kind, kind])
    socket.terminate()
  })
})
