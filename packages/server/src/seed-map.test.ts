import { memoryStorage } from '@syncline/storage'
import { expect, test } from 'vitest'
import { GatedStorage, MovableEnv, SECRET, clientOp, opBatch, put, stampAt, tokenOf, until } from './testing/harness.ts'
import { startTestServer } from './testing/test-server.ts'

// What the documents in docs/seed-map say in one breath and no test of a single feature shows.

test('the life of a connection: AUTH_REQUIRED, AUTH and its answer, SYNC_INIT and its answer, events both ways', async () => {
  await using server = await startTestServer({
    auth: 'jwt',
    jwtSecret: SECRET,
    securityPolicies: [{ role: 'USER', mapNamePattern: 'users', actions: ['ALL'] }],
  })
  const stranger = await server.connect()
  await stranger.take('AUTH_REQUIRED')
  stranger.send({ type: 'AUTH', token: 'eyJh' })
  expect(await stranger.untilClosed()).toMatchObject({ code: 4001 })
  expect(stranger.inbox.map(({ type }) => type)).toEqual(['AUTH_FAIL'])

  const [alice, bob] = [await server.connect(), await server.connect()]
  for (const [client, name] of [
    [alice, 'alice'],
    [bob, 'bob'],
  ] as const) {
    await client.take('AUTH_REQUIRED')
    client.send({ type: 'AUTH', token: tokenOf(name) })
    expect((await client.take('AUTH_ACK')).userId).toBe(name)
    client.send({ type: 'SYNC_INIT', mapName: 'users', lastSyncTimestamp: 0 })
    expect((await client.take('SYNC_RESP_ROOT')).payload).toMatchObject({ mapName: 'users', rootHash: 0 })
  }
  for (const [from, to] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    from.send(clientOp(put('users', 'u1', { name: 'Alice' })))
    await from.take('OP_ACK')
    expect((await to.take('SERVER_EVENT')).payload).toMatchObject({ key: 'u1', record: { value: { name: 'Alice' } } })
  }
  // Diff rather than root for a client that names a position, whatever else it says.
  alice.send({ type: 'SYNC_INIT', mapName: 'users', lastSyncTimestamp: 0, cursor: null })
  expect((await alice.take('SYNC_DIFF')).payload.records.map(({ key }) => key)).toEqual(['u1'])
})

test('an envelope of type, payload, timestamp and requestId is taken, and the reply repeats the requestId', async () => {
  await using server = await startTestServer()
  const client = await server.connect()
  const { payload } = clientOp(put('users', 'u1', { name: 'Alice' })) as { payload: object }
  client.sendRaw(
    JSON.stringify({
      type: 'CLIENT_OP',
      payload,
      timestamp: { millis: 1_678_900_000, counter: 0, nodeId: 'client-1' },
      requestId: 'uuid',
    }),
  )
  expect(await client.take('OP_ACK')).toMatchObject({ requestId: 'uuid', payload: { results: [{ success: true }] } })
})

test('a write without a level is MEMORY, and one without a timeout waits 5,000 ms for its level', async () => {
  const storage = new GatedStorage(memoryStorage(), true)
  const env = new MovableEnv()
  await using server = await startTestServer({ storage, env })
  const client = await server.connect()
  storage.hold()
  for (const message of [
    (writeConcern?: 'PERSISTED') =>
      clientOp(put('m', 'k', 1, { stamp: stampAt(), ...(writeConcern && { writeConcern }) })),
    (writeConcern?: 'PERSISTED') => opBatch([put('m', 'k', 1)], writeConcern && { writeConcern }),
  ]) {
    client.send(message())
    expect((await client.take('OP_ACK')).payload.results).toMatchObject([{ success: true, achievedLevel: 'MEMORY' }])
    client.send(message('PERSISTED'))
    await client.settle()
    env.advance(4_900)
    await client.settle()
    expect(client.inbox.some(({ type }) => type === 'OP_ACK')).toBe(false)
    env.advance(100)
    const { results } = (await client.take('OP_ACK')).payload
    expect(results).toMatchObject([{ success: false, errorCode: 'TIMEOUT', achievedLevel: 'APPLIED' }])
  }
  storage.release()
  await until(() => server.server.health().in_flight === 0, 'storage to take all')
})

test.each([
  [29_000, true],
  [31_000, false],
])(
  'requests in flight have up to 30 seconds when the server stops: after %i ms one is answered: %s',
  async (ms, isInTime) => {
    const env = new MovableEnv()
    const storage = new GatedStorage(memoryStorage(), true)
    const testing = await startTestServer({ storage, env, connections: { idleTimeout: 1e9 } })
    const client = await testing.connect()
    storage.hold()
    client.send(clientOp(put('users', 'u1', 1, { writeConcern: 'PERSISTED', timeout: 300_000 })))
    await until(() => storage.heldCount === 1, 'the write to be in flight')
    const stopped = testing.server.shutdown().catch(() => {})
    await client.take('SHUTDOWN_PENDING')
    env.advance(ms)
    if (isInTime) storage.release()
    expect(await client.untilClosed()).toMatchObject({ code: 1001 })
    const acks = client.inbox.filter(({ type }) => type === 'OP_ACK')
    expect(acks).toMatchObject(isInTime ? [{ payload: { results: [{ success: true }] } }] : [])
    storage.release()
    await stopped
  },
)
