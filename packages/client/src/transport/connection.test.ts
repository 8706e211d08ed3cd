import { expect, test, vi } from 'vitest'
import { liveScene, scene } from '../../test/harness.ts'
import { Tab, World } from '../../test/virtual-env.ts'
import type { AuthContext } from '../index.ts'

const jwt = (expMs: number): string =>
  `x.${Buffer.from(JSON.stringify({ exp: expMs / 1_000 })).toString('base64url')}.y`

/** Delays between a lost connection and the next attempt, over several attempts that fail at once. */
async function delays(seed: number, attempts: number): Promise<number[]> {
  const world = new World(seed)
  const opened: number[] = []
  world.connect = (socket) => {
    opened.push(world.nowMs)
    world.after(0, () => socket.drop(1006))
  }
  const { client } = await scene({}, { world })
  await world.advance(200_000)
  await client.close()
  return opened.slice(1, attempts + 1).map((at, i) => at - (opened[i] as number))
}

test('createClient works without the network and comes back after failures with full jitter, at most 15 s apart', async () => {
  const runs = await Promise.all([1, 2, 3, 4, 5, 6].map((seed) => delays(seed, 10)))
  for (const run of runs) {
    for (const [i, delay] of run.entries()) expect(delay).toBeLessThanOrEqual(Math.min(15_000, 250 * 2 ** i) + 2)
  }
  const first = runs.map((run) => run[0])
  expect(new Set(first).size).toBeGreaterThan(3)
  expect(Math.min(...runs.flatMap((run) => run.slice(6)))).toBeLessThan(4_000)
  expect(Math.max(...runs.flatMap((run) => run.slice(6)))).toBeGreaterThan(8_000)
})

test('the network coming back, or the page being shown, ends the waiting', async () => {
  const { tab, world } = await scene()
  for (let i = 0; i < 8; i++) {
    tab.socket.drop()
    await world.advance(15_000)
  }
  tab.socket.drop()
  const before = tab.sockets.length
  for (const wake of tab.wakers) wake()
  expect(tab.sockets.length).toBe(before + 1)
})

test('a PING leaves every 5 s, and a server that is silent for 15 s is left for another connection', async () => {
  const { tab, world, sent, say, client } = await liveScene()
  await world.advance(5_000)
  const [ping] = sent('PING')
  await say({ type: 'PONG', timestamp: ping?.['timestamp'], serverTime: world.nowMs })
  await world.advance(14_000)
  expect(sent('PING')).toHaveLength(2)
  expect(client.status.get().connection).toBe('online')
  await world.advance(2_000)
  expect(tab.sockets.length).toBe(2)
})

test('AUTH_REQUIRED that is optional begins the session at once where there is no token', async () => {
  const { client, greet } = await scene()
  expect(client.status.get().connection).toBe('connecting')
  await greet()
  expect(client.status.get().connection).toBe('online')
})

test('the token of the auth callback is sent, and the session begins with AUTH_ACK', async () => {
  const { client, greet, sent, say, world } = await scene({ auth: async () => 'token' })
  await greet()
  expect(sent('AUTH')).toMatchObject([{ token: 'token', protocolVersion: 1 }])
  expect(client.status.get().connection).toBe('connecting')
  await say({ type: 'AUTH_ACK', protocolVersion: 1, userId: 'u', serverTime: world.nowMs, databaseId: 'd' })
  expect(client.status.get().connection).toBe('online')
})

const required = { type: 'AUTH_REQUIRED', serverTime: 1_700_000_000_000, protocolVersion: 1 }
const refused = { type: 'AUTH_FAIL', error: 'jwt expired', code: 401, errorCode: 'UNAUTHORIZED' }

test('a refused token asks for another one, and null ends in needs-auth without a loop until connect()', async () => {
  const reasons: string[] = []
  const answers: (string | null)[] = ['first', 'second', null]
  const auth = ({ reason }: AuthContext): string | null => {
    reasons.push(reason)
    return answers.shift() ?? null
  }
  const { client, say, sent, tab, world } = await scene({ auth })
  await say(required)
  expect(sent('AUTH')).toMatchObject([{ token: 'first' }])
  await say(refused)
  await world.advance(1_000)
  await say(required)
  expect(sent('AUTH')).toMatchObject([{ token: 'second' }])
  await say(refused)
  expect(client.status.get()).toMatchObject({ connection: 'needs-auth', reason: { code: 'UNAUTHORIZED' } })
  const sockets = tab.sockets.length
  await world.advance(120_000)
  expect(tab.sockets.length).toBe(sockets)
  expect(reasons).toEqual(['connect', 'rejected', 'rejected'])
  answers.push('third')
  client.connect()
  await say(required)
  expect(sent('AUTH')).toMatchObject([{ token: 'third' }])
})

test('a server that needs a token of a client without the callback leads to needs-auth', async () => {
  const { client, say } = await scene()
  await say(required)
  expect(client.status.get().connection).toBe('needs-auth')
})

test('a session that the server ends as unauthorized asks for a token again', async () => {
  const reasons: string[] = []
  const { say, tab, world } = await scene({
    auth: ({ reason }) => {
      reasons.push(reason)
      return 'token'
    },
  })
  await say(required)
  await say({ type: 'AUTH_ACK', protocolVersion: 1, userId: 'u', serverTime: world.nowMs, databaseId: 'd' })
  tab.socket.drop(4001, 'Token expired')
  await world.advance(1_000)
  expect(reasons).toEqual(['connect', 'rejected'])
  expect(tab.sockets.length).toBe(2)
})

test('a token that expires soon is replaced on the same connection', async () => {
  const world = new World()
  const reasons: string[] = []
  const auth = ({ reason }: AuthContext): string => {
    reasons.push(reason)
    return jwt(world.nowMs + 120_000)
  }
  const { say, sent } = await scene({ auth }, { world })
  await say(required)
  await say({ type: 'AUTH_ACK', protocolVersion: 1, userId: 'u', serverTime: world.nowMs, databaseId: 'd' })
  sent('AUTH')
  for (let i = 0; i < 10; i++) {
    await world.advance(8_900)
    await say({ type: 'PONG', timestamp: world.nowMs, serverTime: world.nowMs })
  }
  expect(reasons).toEqual(['connect'])
  await world.advance(2_000)
  expect(reasons).toEqual(['connect', 'expiring'])
  expect(sent('AUTH')).toHaveLength(1)
})

test('an auth callback that fails is reported and tried again', async () => {
  const auth = vi.fn<() => Promise<string>>().mockRejectedValueOnce(new Error('no network')).mockResolvedValue('token')
  const { say, sent, events, world } = await scene({ auth })
  await say(required)
  expect(events).toMatchObject([['error', { error: { code: 'UNAUTHORIZED', cause: { message: 'no network' } } }]])
  await world.advance(1_000)
  await say(required)
  expect(sent('AUTH')).toMatchObject([{ token: 'token' }])
})

test('the signal of the auth callback is aborted when the connection is given up', async () => {
  let signal: AbortSignal | undefined
  const { client, say } = await scene({
    auth: (context) => {
      signal = context.signal
      return new Promise(() => {})
    },
  })
  await say(required)
  expect(signal?.aborted).toBe(false)
  client.disconnect()
  expect(signal?.aborted).toBe(true)
  expect(client.status.get().connection).toBe('offline')
})

test('a server that asks to be left alone for a while is, with jitter on top', async () => {
  const { tab, say, world } = await liveScene()
  await say({ type: 'SHUTDOWN_PENDING', retryAfter: 10_000 })
  tab.socket.drop(1001)
  await world.advance(9_900)
  expect(tab.sockets.length).toBe(1)
  await world.advance(6_000)
  expect(tab.sockets.length).toBe(2)
})

test('a server that speaks another protocol is an error without a loop, and upgrade-required', async () => {
  const { client, say, events, tab, world } = await scene({ auth: () => 'token' })
  await say(required)
  await say({ type: 'AUTH_FAIL', error: 'too old', code: 400, errorCode: 'UNSUPPORTED_VERSION' })
  expect(client.status.get().connection).toBe('error')
  expect(events).toMatchObject([['upgrade-required', { error: { code: 'UNSUPPORTED_VERSION' } }]])
  await world.advance(60_000)
  expect(tab.sockets.length).toBe(1)
})

test('an address that cannot be one is an error, not an exception', async () => {
  const world = new World()
  world.connect = () => {
    throw new SyntaxError('bad url')
  }
  const { client, events } = await scene({ url: ':::' }, { world })
  expect(client.status.get().connection).toBe('error')
  expect(events).toMatchObject([['error', { error: { code: 'INVALID_REQUEST' } }]])
})

test('a Node without WebSocket is named as the cause', async () => {
  const world = new World()
  world.connect = () => {
    throw new ReferenceError('WebSocket is not defined')
  }
  const { client } = await scene({}, { world })
  expect(client.status.get()).toMatchObject({ connection: 'error', reason: { code: 'INVALID_REQUEST' } })
  expect(client.status.get().reason?.message).toContain('Node has WebSocket from version 22 on')
})

test('INV-11: a device whose clock is wrong stamps with the server’s time once it has heard it', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  tab.skewMs = -7_200_000
  const { client, ops } = await liveScene([], {}, { world, tab })
  client.map('todos').set('t1', 1)
  await world.settle()
  expect(Math.abs((ops()[0]?.record.timestamp.millis ?? 0) - world.nowMs)).toBeLessThan(100)
})

test('what lies within half a round trip is no news about the clock', async () => {
  const world = new World()
  const tab = new Tab(world, 'tab')
  const { client, say, ops } = await liveScene([], {}, { world, tab })
  const sentAt = world.nowMs
  await world.advance(400)
  await say({ type: 'PONG', timestamp: sentAt, serverTime: sentAt + 390 })
  client.map('todos').set('t1', 1)
  await world.settle()
  expect(ops()[0]?.record.timestamp.millis).toBe(world.nowMs)
})

test('disconnect() stays offline until connect(), and close() for ever', async () => {
  const { client, tab, world } = await liveScene()
  client.disconnect()
  await world.advance(60_000)
  expect(client.status.get().connection).toBe('offline')
  expect(tab.sockets.length).toBe(1)
  client.connect()
  expect(tab.sockets.length).toBe(2)
  await client.close()
  expect(client.status.get().connection).toBe('closed')
  client.connect()
  await world.advance(60_000)
  expect(tab.sockets.length).toBe(2)
  expect(() => client.map('todos').set('t1', 1)).toThrow(expect.objectContaining({ code: 'CLOSED' }))
})

test('close({ flushMs }) waits for the server, and no longer', async () => {
  const { client, world, ops, ack, event } = await liveScene()
  const todos = client.map('todos')
  todos.set('t1', 1)
  await world.settle()
  const [op] = ops()
  let isClosed = false
  void client.close({ flushMs: 5_000 }).then(() => (isClosed = true))
  await world.advance(1_000)
  expect(isClosed).toBe(false)
  await ack([op!.id!], 1)
  await event('t1', 1, 1, op!.record.timestamp)
  expect(isClosed).toBe(true)
})

test('an aborted signal and `await using` close the client', async () => {
  const controller = new AbortController()
  const { client, world } = await liveScene([], { signal: controller.signal })
  controller.abort()
  await world.settle()
  expect(client.status.get().connection).toBe('closed')
  const other = await scene()
  {
    await using closing = other.client
    void closing
  }
  expect(other.client.status.get().connection).toBe('closed')
})

test('a closed client leaves no timer behind', async () => {
  const { client, world, tab } = await liveScene()
  client.map('todos').set('t1', 1, { ttlMs: 100_000 })
  await client.close()
  const sockets = tab.sockets.length
  await world.advance(600_000)
  expect(world.pendingTimers).toBe(0)
  expect(tab.sockets.length).toBe(sockets)
})

test('a message that this client does not know is left alone; one that is broken is an error event', async () => {
  const { client, say, events, event, world } = await liveScene()
  await say({ type: 'FROM_THE_FUTURE', payload: {} })
  await say({ type: 'SYNC_DIFF', payload: { mapName: 7 } })
  expect(events).toMatchObject([['error', { error: { code: 'VALIDATION_ERROR' } }]])
  await event('t1', 1, 1, { millis: world.nowMs, counter: 0, nodeId: 'o' })
  expect(client.map('todos').get('t1')).toBe(1)
})

test('an ERROR that answers AUTH is told apart: later, another token, another version', async () => {
  const { client, say, sent, tab, world, events } = await scene({ auth: () => 'token' })
  const error = (errorCode: string): unknown => ({
    type: 'ERROR',
    payload: { code: 400, errorCode, message: errorCode, about: 'AUTH' },
  })
  await say(required)
  await say(error('RATE_LIMITED'))
  expect(client.status.get()).toMatchObject({ connection: 'offline', reason: { code: 'RATE_LIMITED' } })
  await world.advance(1_000)
  expect(tab.sockets.length).toBe(2)
  await say(required)
  expect(sent('AUTH')).toHaveLength(1)
  await say(error('UNSUPPORTED_VERSION'))
  expect(client.status.get().connection).toBe('error')
  expect(events).toMatchObject([['upgrade-required', { error: { code: 'UNSUPPORTED_VERSION' } }]])
})

test('status says since or until when everything was as on the server, also where nobody looks on', async () => {
  const { client, world, ops, ack, event, socket } = await liveScene()
  const since = client.status.get().lastSyncedAt
  expect(since).toBe(world.nowMs)
  await world.advance(1_000)
  client.map('todos').set('t1', 1)
  const until = world.nowMs
  await world.advance(1_000)
  expect(client.status.get()).toMatchObject({ lastSyncedAt: until, oldestPendingAt: until, pending: 1 })
  const [op] = ops()
  await ack([op!.id!], 1)
  await event('t1', 1, 1, op!.record.timestamp)
  const again = world.nowMs
  await world.advance(1_000)
  expect(client.status.get().lastSyncedAt).toBe(again)
  socket.drop()
  expect(client.status.get().lastSyncedAt).toBe(world.nowMs)
  expect(client.status.get()).toBe(client.status.get())
})
