import { describe, expect, it } from 'vitest'
import { failureOf, liveScene, scene, type Scene } from '../../../test/harness.ts'
import { Tab, World } from '../../../test/virtual-env.ts'
import { createClient, memory } from '../../index.ts'
import type { Lock } from './handle.ts'

interface Asked {
  readonly requestId: string
  readonly name: string
  readonly ttl?: number
  readonly waitMs?: number
  readonly fencingToken?: number
}

const requests = (self: Scene): Asked[] => self.sent('LOCK_REQUEST').map(({ payload }) => payload as unknown as Asked)
const releases = (self: Scene): Asked[] => self.sent('LOCK_RELEASE').map(({ payload }) => payload as unknown as Asked)

async function grant(self: Scene, { requestId, name, ttl = 10_000 }: Asked, fencingToken: number): Promise<void> {
  await self.say({ type: 'LOCK_GRANTED', payload: { requestId, name, fencingToken, ttl } })
}

async function refuse(self: Scene, { requestId, name }: Asked, errorCode: string): Promise<void> {
  const payload = { requestId, name, success: false, error: 'No.', errorCode, code: 409 }
  await self.say({ type: 'LOCK_RELEASED', payload })
}

/** The one request that was sent. */
function only<T>(list: readonly T[]): T {
  expect(list).toHaveLength(1)
  return list[0] as T
}

/** A lock that is held, and the request that took it. */
async function holding(self: Scene, ttlMs = 10_000, token = 7): Promise<{ lock: Lock; asked: Asked }> {
  const asking = self.client.lock('invoice', { ttlMs })
  await self.world.settle()
  const asked = only(requests(self))
  await grant(self, asked, token)
  return { lock: await asking, asked }
}

const online = async (given: Parameters<typeof scene>[1] = {}): Promise<Scene> => {
  const self = await scene({}, given)
  await self.greet()
  self.socket.take()
  return self
}

/** What a signal was aborted for. */
const reasonOf = ({ signal }: Lock): unknown => (signal.aborted ? (signal.reason as { code: unknown }).code : undefined)

describe('taking a lock', () => {
  it('[LK1] asks for it with its time, and has its name and token', async () => {
    const self = await online()
    const asking = self.client.lock('invoice', { ttlMs: 5_000, waitMs: 2_000 })
    await self.world.settle()
    const asked = only(requests(self))
    expect(asked).toEqual({ requestId: expect.any(String), name: 'invoice', ttl: 5_000, waitMs: 2_000 })
    await grant(self, asked, 42)
    const lock = await asking
    expect([lock.name, lock.fencingToken, lock.signal.aborted]).toEqual(['invoice', 42, false])
    await self.world.advance(3_000)
    expect(self.events).toEqual([])
  })

  it('waits for a connection, asks again on the next one, and has the lock there', async () => {
    const self = await scene()
    const asking = self.client.lock('invoice', { ttlMs: 5_000 })
    await self.world.settle()
    expect(requests(self)).toEqual([])
    await self.greet()
    only(requests(self))
    self.socket.drop()
    await self.world.advance(60_000)
    await self.greet()
    await grant(self, only(requests(self)), 1)
    expect((await asking).fencingToken).toBe(1)
  })

  it('INV-19: a lease that began while others were waited for is renewed before anybody relies on it', async () => {
    const self = await online()
    let lock: Lock | undefined
    void self.client.lock('invoice', { ttlMs: 10_000 }).then((held) => (lock = held))
    await self.world.settle()
    const first = only(requests(self))
    await self.world.advance(8_000)
    await grant(self, first, 3)
    expect(lock).toBeUndefined()
    const renewal = only(requests(self))
    expect(renewal).toMatchObject({ name: 'invoice', ttl: 10_000, fencingToken: 3 })
    await grant(self, renewal, 3)
    expect(lock?.fencingToken).toBe(3)
    await self.world.advance(9_899)
    expect(lock?.signal.aborted).toBe(false)
    await self.world.advance(2)
    expect(lock?.signal.aborted).toBe(true)
  })

  it('INV-19: waits again where that lease was over before it could be renewed', async () => {
    const self = await online()
    const asking = self.client.lock('invoice', { ttlMs: 1_000 })
    await self.world.settle()
    const first = only(requests(self))
    await self.world.advance(5_000)
    await grant(self, first, 3)
    await refuse(self, only(requests(self)), 'STALE_TOKEN')
    await grant(self, only(requests(self)), 4)
    expect((await asking).fencingToken).toBe(4)
  })

  it('is refused with the code of the server, and for what cannot be meant', async () => {
    const self = await online()
    for (const errorCode of ['FORBIDDEN', 'LIMIT_EXCEEDED', 'STORAGE_UNAVAILABLE', 'TIMEOUT']) {
      const failure = failureOf(self.client.lock('invoice', { ttlMs: 5_000 }))
      await self.world.settle()
      await refuse(self, only(requests(self)), errorCode)
      expect(await failure).toMatchObject({ code: errorCode, message: 'No.' })
    }
    const failure = failureOf(self.client.lock('x', { ttlMs: 1 }))
    await self.world.settle()
    const [{ requestId } = { requestId: '' }] = self.sent('LOCK_REQUEST') as unknown as { requestId: string }[]
    await self.say({
      type: 'ERROR',
      requestId,
      payload: { code: 429, errorCode: 'RATE_LIMITED', message: 'Slower.' },
    })
    expect(await failure).toMatchObject({ code: 'RATE_LIMITED' })
    for (const name of ['', 'x'.repeat(257), 'a\0'])
      expect(await failureOf(self.client.lock(name, { ttlMs: 1 }))).toMatchObject({ code: 'BAD_KEY' })
    for (const options of [{ ttlMs: 0 }, { ttlMs: Infinity }, { ttlMs: NaN }, { ttlMs: 1, waitMs: -1 }])
      expect(await failureOf(self.client.lock('n', options))).toMatchObject({ code: 'VALIDATION_ERROR' })
    const alone = createClient({ env: new Tab(self.world, 'alone').env() })
    expect(await failureOf(alone.lock('n', { ttlMs: 1 }))).toMatchObject({ code: 'OFFLINE' })
    expect(requests(self)).toEqual([])
  })

  it('[LK6] a wait that times out or is aborted is ended at the server too, and is over at once', async () => {
    const self = await online()
    const late = failureOf(self.client.lock('a', { ttlMs: 5_000, waitMs: 2_000 }))
    const controller = new AbortController()
    const given = failureOf(self.client.lock('b', { ttlMs: 5_000, signal: controller.signal }))
    await self.world.settle()
    const [a, b] = requests(self)
    await self.world.advance(2_001)
    expect(await late).toMatchObject({ code: 'TIMEOUT', retryable: true })
    expect(releases(self)).toEqual([{ requestId: a?.requestId, name: 'a' }])
    controller.abort(new Error('Enough.'))
    expect(await given).toMatchObject({ message: 'Enough.' })
    await self.world.settle()
    expect(releases(self)).toEqual([{ requestId: b?.requestId, name: 'b' }])
    // Granted by then: the server takes it back by the same message, and here it is nobody's.
    await grant(self, b as Asked, 9)
    expect(self.events).toEqual([])
    expect(
      await failureOf(self.client.lock('c', { ttlMs: 1, signal: AbortSignal.abort(new Error('Never.')) })),
    ).toMatchObject({ message: 'Never.' })
    expect(requests(self)).toEqual([])
  })

  it('[LK6] a wait that ends while the lease is being made sure gives the lock back by its token', async () => {
    const self = await online()
    const failure = failureOf(self.client.lock('a', { ttlMs: 1_000, waitMs: 2_000 }))
    await self.world.settle()
    const asked = only(requests(self))
    await self.world.advance(1_900)
    await grant(self, asked, 5)
    only(requests(self))
    await self.world.advance(200)
    expect(await failure).toMatchObject({ code: 'TIMEOUT' })
    expect(releases(self)).toMatchObject([{ name: 'a', fencingToken: 5 }])
  })

  it('[LK11] a server that stops does not end the wait: the next connection is asked', async () => {
    const self = await online()
    const asking = self.client.lock('a', { ttlMs: 5_000 })
    const hasty = failureOf(self.client.lock('b', { ttlMs: 5_000, waitMs: 0 }))
    await self.world.settle()
    const [a, b] = requests(self)
    await refuse(self, a as Asked, 'SHUTTING_DOWN')
    await refuse(self, b as Asked, 'SHUTTING_DOWN')
    expect(await hasty).toMatchObject({ code: 'SHUTTING_DOWN', retryable: true })
    expect(requests(self)).toEqual([])
    self.socket.drop(1001)
    await self.world.advance(20_000)
    await self.greet()
    const again = only(requests(self))
    expect(again).toMatchObject({ name: 'a', ttl: 5_000 })
    await grant(self, again, 12)
    expect(await asking).toMatchObject({ fencingToken: 12 })
  })

  it('[LK7] with waitMs 0 it does not wait: neither for others, nor for itself, nor for a connection', async () => {
    const self = await scene()
    expect(await failureOf(self.client.lock('a', { ttlMs: 1_000, waitMs: 0 }))).toMatchObject({ code: 'OFFLINE' })
    await self.greet()
    const refused = failureOf(self.client.lock('a', { ttlMs: 1_000, waitMs: 0 }))
    await self.world.settle()
    const asked = only(requests(self))
    expect(asked.waitMs).toBe(0)
    await refuse(self, asked, 'TIMEOUT')
    expect(await refused).toMatchObject({ code: 'TIMEOUT' })
    await holding(self)
    expect(await failureOf(self.client.lock('invoice', { ttlMs: 1, waitMs: 0 }))).toMatchObject({ code: 'TIMEOUT' })
  })
})

describe('one client', () => {
  it('INV-19: asks for a lock once at a time, though the server would take a second request as a renewal', async () => {
    const self = await online()
    const { lock } = await holding(self, 10_000, 7)
    const second = self.client.lock('invoice', { ttlMs: 10_000 })
    const other = self.client.lock('other', { ttlMs: 10_000 })
    await self.world.settle()
    const asked = only(requests(self))
    expect(asked.name).toBe('other')
    await grant(self, asked, 8)
    await other
    void lock.release()
    await self.world.settle()
    // The release leaves first: the next request of this connection is a new one.
    const sent = self.socket.take().map(({ type }) => type)
    expect(sent).toEqual(['LOCK_RELEASE', 'LOCK_REQUEST'])
    void second.catch(() => {})
  })

  it('INV-19: gives a lease back that may be over before it asks anew, so that the next token is another one', async () => {
    const self = await online()
    const { lock } = await holding(self, 1_000, 7)
    const second = self.client.lock('invoice', { ttlMs: 1_000 })
    await self.world.advance(1_000)
    expect(reasonOf(lock)).toBe('TIMEOUT')
    const sent = self.socket.take().filter(({ type }) => (type as string).startsWith('LOCK_'))
    expect(sent.map(({ type }) => type)).toEqual(['LOCK_RELEASE', 'LOCK_REQUEST'])
    await grant(self, sent[1]?.['payload'] as Asked, 8)
    expect((await second).fencingToken).toBe(8)
  })
})

describe('the signal', () => {
  it('INV-19: is aborted before the lease can be over, counted from when it was asked for', async () => {
    const self = await online()
    const asking = self.client.lock('invoice', { ttlMs: 10_000 })
    await self.world.settle()
    const asked = only(requests(self))
    await self.world.advance(3_000)
    await grant(self, asked, 1)
    const lock = await asking
    await self.world.advance(6_899)
    expect(lock.signal.aborted).toBe(false)
    await self.world.advance(2)
    expect(reasonOf(lock)).toBe('TIMEOUT')
    expect(releases(self)).toMatchObject([{ name: 'invoice', fencingToken: 1 }])
    expect(await failureOf(lock.renew())).toMatchObject({ code: 'TIMEOUT' })
    await lock.release()
    expect(releases(self)).toEqual([])
  })

  it('INV-19: is aborted when the device wakes up after the lease was over, whichever clock stood still', async () => {
    const tab = new Tab(new World(), 'tab')
    const self = await online({ world: tab.world, tab })
    const { lock } = await holding(self)
    tab.skewMs += 20_000
    for (const wake of tab.wakers) wake()
    expect(reasonOf(lock)).toBe('TIMEOUT')
    // A wall clock that is set back makes no lease longer.
    const { lock: other } = await holding(self, 10_000, 8)
    tab.skewMs -= 3_600_000
    await self.world.advance(9_901)
    expect(reasonOf(other)).toBe('TIMEOUT')
  })

  it.each<[string, string, (self: Scene, asked: Asked, lock: Lock) => unknown]>([
    ['the connection is lost', 'OFFLINE', (self) => self.socket.drop()],
    ['the client disconnects', 'OFFLINE', (self) => self.client.disconnect()],
    ['the right to it ends', 'FORBIDDEN', (self, asked) => refuse(self, asked, 'FORBIDDEN')],
    ['it is released', 'CLOSED', (_, __, lock) => void lock.release()],
    ['the client is closed', 'CLOSED', (self) => void self.client.close()],
    [
      'a renewal finds it lost',
      'STALE_TOKEN',
      async (self, _, lock) => {
        const failure = failureOf(lock.renew())
        await self.world.settle()
        await refuse(self, only(requests(self)), 'STALE_TOKEN')
        expect(await failure).toMatchObject({ code: 'STALE_TOKEN' })
      },
    ],
  ])('is aborted when %s: %s', async (_, code, happen) => {
    const self = await online()
    const { lock, asked } = await holding(self)
    await happen(self, asked, lock)
    await self.world.settle()
    expect(reasonOf(lock)).toBe(code)
    expect(self.world.pendingTimers).toBeLessThan(5)
  })

  it('[LK5] no lock comes back with a connection', async () => {
    const self = await online()
    const { lock } = await holding(self)
    self.socket.drop()
    await self.world.advance(60_000)
    await self.greet()
    expect(requests(self)).toEqual([])
    expect(reasonOf(lock)).toBe('OFFLINE')
  })
})

describe('renewing and releasing', () => {
  it('[LK4] renews with the token; a shorter lease counts from when it is asked for', async () => {
    const self = await online()
    const { lock } = await holding(self)
    await self.world.advance(9_000)
    const renewed = lock.renew()
    await self.world.settle()
    const asked = only(requests(self))
    expect(asked).toMatchObject({ name: 'invoice', fencingToken: 7, ttl: 10_000 })
    await grant(self, asked, 7)
    await renewed
    await self.world.advance(9_000)
    expect(lock.signal.aborted).toBe(false)
    void lock.renew(500).catch(() => {})
    await self.world.advance(496)
    expect(reasonOf(lock)).toBe('TIMEOUT')
    expect(await failureOf(lock.renew(0))).toMatchObject({ code: 'TIMEOUT' })
  })

  it('INV-19: renews one after the other, because of two under way nobody would know which lease the server has', async () => {
    const self = await online()
    const { lock } = await holding(self)
    const both = [lock.renew(20_000), lock.renew(500)]
    await self.world.settle()
    const first = only(requests(self))
    expect(first.ttl).toBe(20_000)
    await grant(self, { ...first, ttl: 20_000 }, 7)
    const second = only(requests(self))
    expect(second.ttl).toBe(500)
    await grant(self, { ...second, ttl: 500 }, 7)
    await Promise.all(both)
    await self.world.advance(500)
    expect(reasonOf(lock)).toBe('TIMEOUT')
  })

  it('[LK6] releases once, resolves when the server has it, and a scope releases by itself', async () => {
    const self = await online()
    let isBack = false
    const { lock } = await holding(self)
    void lock.release().then(() => (isBack = true))
    void lock.release()
    await self.world.settle()
    const released = only(releases(self))
    expect(released).toMatchObject({ name: 'invoice', fencingToken: 7 })
    expect(isBack).toBe(false)
    await self.say({
      type: 'LOCK_RELEASED',
      payload: { requestId: released.requestId, name: 'invoice', success: true },
    })
    expect(isBack).toBe(true)
    const scope = (async () => {
      await using held = (await holding(self)).lock
      return held.fencingToken
    })()
    await self.world.settle()
    await self.world.settle()
    const last = only(releases(self))
    await refuse(self, last, 'STALE_TOKEN')
    expect(await scope).toBe(7)
    expect(self.events).toEqual([])
  })

  it('a release is over when the connection is, and whoever waits is told when the client is closed', async () => {
    const self = await online()
    const { lock } = await holding(self)
    const released = lock.release()
    self.socket.drop()
    await released
    const waiting = failureOf(self.client.lock('invoice', { ttlMs: 1_000 }))
    await self.world.settle()
    void self.client.close()
    expect(await waiting).toMatchObject({ code: 'CLOSED' })
    expect(await failureOf(self.client.lock('invoice', { ttlMs: 1_000 }))).toMatchObject({ code: 'CLOSED' })
  })

  it('INV-21: nobody waits in the name of another user', async () => {
    const world = new World()
    const tab = new Tab(world, 'tab')
    const token = (sub: string): string => `x.${btoa(JSON.stringify({ sub }))}.x`
    let user = 'ada'
    const self = await scene({ auth: () => token(user) }, { world, tab, storage: memory() })
    const signIn = async (): Promise<void> => {
      self.socket.say({ type: 'AUTH_REQUIRED', serverTime: world.nowMs, protocolVersion: 1 })
      await world.settle()
      await self.say({ type: 'AUTH_ACK', protocolVersion: 1, userId: user, serverTime: world.nowMs, databaseId: 'd' })
    }
    await signIn()
    const waiting = failureOf(self.client.lock('invoice', { ttlMs: 1_000 }))
    await world.settle()
    only(requests(self))
    self.socket.drop()
    user = 'eve'
    await world.advance(60_000)
    await signIn()
    expect(await waiting).toMatchObject({ code: 'UNAUTHORIZED' })
    expect(requests(self)).toEqual([])
  })
})

describe('a fence', () => {
  it('[LK9] [OP9] goes with every kind of write, is kept over a reload, and refuses the write where it is stale', async () => {
    const storage = memory()
    const world = new World()
    const tab = new Tab(world, 'tab')
    const self = await liveScene([], {}, { world, tab, storage })
    const { lock } = await holding(self)
    const todos = self.client.map('todos')
    todos.set('a', { n: 1 }, { fence: lock })
    todos.update('a', (draft) => void (draft.n = 2), { fence: lock })
    todos.delete('b', { fence: { name: 'other', fencingToken: 3 } })
    todos.set('c', 1)
    await world.settle()
    const fences = [
      { name: 'invoice', token: 7 },
      { name: 'invoice', token: 7 },
      { name: 'other', token: 3 },
      undefined,
    ]
    expect(self.ops().map(({ fence }) => fence)).toEqual(fences)
    tab.kill()
    const again = await scene({}, { world, tab, storage })
    await again.greet()
    await again.page('todos')
    const ops = again.ops()
    expect(ops.map(({ fence }) => fence)).toEqual(fences)
    const [op] = ops
    const result = {
      opId: op?.id,
      success: false,
      achievedLevel: 'FIRE_AND_FORGET',
      latencyMs: 0,
      errorCode: 'STALE_TOKEN',
    }
    await again.say({ type: 'OP_ACK', payload: { lastId: op?.id, results: [result] } })
    expect(again.events).toMatchObject([['rejected', { error: { code: 'STALE_TOKEN' } }]])
  })
})
