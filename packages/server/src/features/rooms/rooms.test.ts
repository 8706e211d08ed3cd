import {
  encodeFrame,
  LIMITS,
  type ClientMessage,
  type Encoding,
  type RoomMember,
  type ServerMessage,
} from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import type { ServerOptions } from '../../features.ts'
import { FakeSocket } from '../../testing/fake-socket.ts'
import { MovableEnv, SECRET, tokenOf, until } from '../../testing/harness.ts'
import { startTestServer, type TestServer } from '../../testing/test-server.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']
type State = Extract<ServerMessage, { type: 'ROOM_STATE' }>
type Presence = RoomMember['presence']

const join = (room: string, presence: Presence = {}, resume?: string): ClientMessage => ({
  type: 'ROOM_JOIN',
  payload: { room, presence, ...(resume === undefined ? {} : { resume }) },
})
const update = (room: string, presence: Presence): ClientMessage => ({
  type: 'ROOM_UPDATE',
  payload: { room, presence },
})
const leave = (room: string): ClientMessage => ({ type: 'ROOM_LEAVE', payload: { room } })

/** What a client makes of the states of one room. */
class View {
  readonly members = new Map<string, RoomMember>()
  /** Each coming, change and leaving of others that was told, in order. */
  readonly log: string[] = []
  self: NonNullable<State['payload']['self']> | undefined
  isWhole = false
  states = 0

  take(message: ServerMessage, room = 'r'): void {
    if (message.type !== 'ROOM_STATE' || message.payload.room !== room) return
    const { members, left = [], full, more, self } = message.payload
    this.states++
    if (full === true) this.members.clear()
    if (self !== undefined) this.self = self
    for (const member of members) {
      if (member.id !== this.self?.id) this.log.push(`${this.members.has(member.id) ? 'change' : 'come'} ${member.id}`)
      this.members.set(member.id, member)
    }
    for (const id of left) {
      this.log.push(`leave ${id}`)
      this.members.delete(id)
    }
    this.isWhole = more !== true
  }

  get shown(): readonly Presence[] {
    return [...this.members.values()].map(({ presence }) => presence)
  }
}

/** A client without a network in room `r`, and what it sees. */
class Visitor {
  readonly socket: FakeSocket
  readonly view = new View()
  #taken = 0

  constructor(server: TestServer) {
    this.socket = new FakeSocket(server.server)
  }

  send(message: ClientMessage, encoding: Encoding = 'json'): void {
    this.socket.receiveFrame(encodeFrame(encoding, message))
  }

  async settle(): Promise<void> {
    await this.socket.settle()
    while (this.#taken < this.socket.written.length) this.view.take(this.socket.written[this.#taken++] as ServerMessage)
  }

  errors(): readonly unknown[] {
    return this.socket.written.flatMap((each) => (each.type === 'ERROR' ? [each.payload] : []))
  }
}

/** Lets the time in which a room tells no more pass, so that everybody has heard everything. */
async function hear(env: MovableEnv, ...visitors: readonly Visitor[]): Promise<void> {
  for (const visitor of visitors) await visitor.settle()
  env.advance(100)
  for (const visitor of visitors) await visitor.settle()
}

describe.each(encodings)('a room in %s', (encoding) => {
  test('[RO2] [RO3] shows who is in it, and who comes, changes and leaves', async () => {
    await using server = await startTestServer()
    const [ann, bob] = [await server.connect({ encoding }), await server.connect({ encoding: 'json' })]
    const [annSees, bobSees] = [new View(), new View()]
    ann.onMessage = (message) => annSees.take(message)
    bob.onMessage = (message) => bobSees.take(message)
    ann.send({ ...join('r', { name: 'Ann' }), requestId: 'j' })
    expect(await ann.take('ROOM_STATE', ({ requestId }) => requestId === 'j')).toMatchObject({
      payload: { room: 'r', full: true, self: { id: expect.any(String) as string } },
    })
    bob.send(join('r', { name: 'Bob', bytes: Uint8Array.of(1) }))
    await bob.until(() => bobSees.shown.length === 2)
    await ann.until(() => annSees.shown.length === 2)
    expect([...annSees.members.values()][1]).toEqual({
      id: bobSees.self?.id,
      userId: 'anonymous',
      presence: { name: 'Bob', bytes: expect.anything() as never },
      state: 'active',
    })
    ann.send(update('r', { name: 'Ann', cursor: { x: 1, y: 2 } }))
    await bob.until(() => bobSees.shown.some((presence) => presence['cursor'] !== undefined))
    await ann.until(() => annSees.shown.some((presence) => presence['cursor'] !== undefined))
    ann.send(leave('r'))
    await bob.until(() => bobSees.shown.length === 1)
    await ann.settle()
    expect(ann.inbox.filter(({ type }) => type === 'ERROR')).toEqual([])
    bob.send(leave('r'))
    await bob.settle()
    await until(() => server.server.inspect()['rooms']?.['rooms'] === 0, 'the end of the room')
  })
})

describe('a room', () => {
  test('[RO4] tells of many changes that come together once, the latest of each member, and of the first at once', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env, rooms: { updateIntervalMs: 10_000 } })
    const [ann, bob] = [new Visitor(server), new Visitor(server)]
    ann.send(join('r', { n: 0 }))
    bob.send(join('r', { n: 0 }), 'msgpack')
    await hear(env, ann, bob)
    env.advance(20_000)
    const before = bob.view.states
    ann.send(update('r', { n: 1 }))
    ann.send(update('r', { n: 2 }))
    await bob.settle()
    expect(bob.view.shown).toContainEqual({ n: 2 })
    for (let n = 3; n < 100; n++) {
      ann.send(update('r', { n }))
      await bob.settle()
    }
    expect(bob.view.states).toBe(before + 1)
    env.advance(10_000)
    await bob.settle()
    expect(bob.view.states).toBe(before + 2)
    expect(bob.view.shown).toContainEqual({ n: 99 })
  })

  test('[RO4] tells nothing where nothing changed', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const ann = new Visitor(server)
    ann.send(join('r', { a: { b: [1] } }))
    await hear(env, ann)
    const before = ann.view.states
    ann.send(update('r', { a: { b: [1] } }))
    await hear(env, ann)
    expect(ann.view.states).toBe(before)
  })

  test('[RO4] INV-22: a slow socket is sent the latest of each member when it drains, in pages', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const visitors = Array.from({ length: 120 }, () => new Visitor(server))
    const [slow, ...others] = visitors as [Visitor, ...Visitor[]]
    const pad = 'x'.repeat(3_500)
    for (const [i, visitor] of visitors.entries()) visitor.send(join('r', { i, n: 0, pad }))
    await hear(env, ...visitors)
    expect(slow.view.members.size).toBe(120)
    expect(slow.view.isWhole).toBe(true)
    slow.socket.isStuck = true
    // A few at a time, which fit into one message, then all of them, which do not.
    for (let n = 1; n <= 40; n++) {
      const changing = n < 38 ? others.slice(0, 10) : others
      for (const [i, visitor] of changing.entries()) visitor.send(update('r', { i: i + 1, n, pad }))
      await hear(env, ...changing)
    }
    others[5]?.send(leave('r'))
    await hear(env, ...others)
    // What was on its way, and a page: not the 2 MB that changed.
    expect(slow.socket.bufferedBytes).toBeLessThan(64 * 1024 + 2 * LIMITS.pageBytes)
    expect(slow.socket.closed).toBeUndefined()
    await slow.settle()
    const before = slow.view.states
    for (let turn = 0; turn < 5; turn++) {
      slow.socket.drain()
      await slow.settle()
    }
    expect(slow.view.members.size).toBe(119)
    expect(slow.view.shown.filter(({ n }) => n === 40)).toHaveLength(118)
    expect(slow.view.states - before).toBeLessThan(6)
    expect(server.server.inspect()['rooms']).toMatchObject({ behind: 0, members: 119 })
  })

  test('[RO2] joining again is another answer, with what is shown from now on', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const [ann, bob] = [new Visitor(server), new Visitor(server)]
    ann.send(join('r', { n: 1 }))
    bob.send(join('r', { n: 2 }))
    await hear(env, ann, bob)
    const self = ann.view.self
    bob.view.log.length = 0
    ann.send(join('r', { n: 3 }))
    await hear(env, ann, bob)
    expect(ann.view.self).toEqual(self)
    expect(bob.view.log).toEqual([`change ${self?.id}`])
    expect(bob.view.shown).toContainEqual({ n: 3 })
    expect(ann.view.members.size).toBe(2)
  })
})

describe('a connection that ends', () => {
  test('[RO6] its member leaves after the grace, and no earlier', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const [ann, bob] = [new Visitor(server), new Visitor(server)]
    ann.send(join('r', { name: 'Ann' }))
    bob.send(join('r'))
    await hear(env, ann, bob)
    ann.socket.end()
    env.advance(900)
    await bob.settle()
    expect(bob.view.members.size).toBe(2)
    env.advance(200)
    await hear(env, bob)
    expect(bob.view.members.size).toBe(1)
  })

  test('[RO5] one that comes back in time is the same member, and others see nothing', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const [ann, bob] = [new Visitor(server), new Visitor(server)]
    ann.send(join('r', { name: 'Ann' }))
    bob.send(join('r'))
    await hear(env, ann, bob)
    const self = ann.view.self
    bob.view.log.length = 0
    ann.socket.end()
    env.advance(800)
    const again = new Visitor(server)
    again.send(join('r', { name: 'Ann' }, self?.resume))
    await hear(env, again, bob)
    env.advance(5_000)
    await hear(env, again, bob)
    expect(again.view.self).toEqual(self)
    expect(bob.view.log).toEqual([])
    expect(bob.view.members.size).toBe(2)
  })

  test('[RO5] one that comes back later has its id again', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const [ann, bob] = [new Visitor(server), new Visitor(server)]
    ann.send(join('r'))
    bob.send(join('r'))
    await hear(env, ann, bob)
    const id = ann.view.self?.id
    bob.view.log.length = 0
    ann.socket.end()
    env.advance(20_000)
    await hear(env, bob)
    const again = new Visitor(server)
    again.send(join('r', {}, ann.view.self?.resume))
    await hear(env, again, bob)
    expect(bob.view.log).toEqual([`leave ${id}`, `come ${id}`])
  })

  test('[RO5] while the server has not noticed that, the new connection takes the place of the old one', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const [ann, bob] = [new Visitor(server), new Visitor(server)]
    ann.send(join('r', { n: 1 }))
    bob.send(join('r'))
    await hear(env, ann, bob)
    bob.view.log.length = 0
    const again = new Visitor(server)
    again.send(join('r', { n: 1 }, ann.view.self?.resume))
    await hear(env, ann, again, bob)
    expect(ann.errors()).toMatchObject([{ errorCode: 'CONFLICT', about: 'ROOM_JOIN', details: { room: 'r' } }])
    expect(ann.view.members.size).toBe(0)
    ann.send(update('r', { n: 666 }))
    await ann.settle()
    expect(ann.errors()[1]).toMatchObject({ errorCode: 'NOT_FOUND' })
    ann.socket.end()
    env.advance(5_000)
    await hear(env, again, bob)
    expect(bob.view.log).toEqual([])
    expect(bob.view.members.get(again.view.self?.id ?? '')?.presence).toEqual({ n: 1 })
  })

  test('[RO5] the id is the same in all rooms, and as publisher', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const [ann, bob] = [new Visitor(server), new Visitor(server)]
    for (const room of ['r', 's']) ann.send(join(room))
    bob.send({ type: 'TOPIC_SUB', payload: { topic: 'room:r:emoji' } })
    await hear(env, ann, bob)
    ann.send({ type: 'TOPIC_PUB', payload: { topic: 'room:r:emoji', data: '!' } })
    await hear(env, ann, bob)
    const selves = ann.socket.written.flatMap((each) =>
      each.type === 'ROOM_STATE' && each.payload.self !== undefined ? [each.payload.self.id] : [],
    )
    expect(selves).toEqual([ann.view.self?.id, ann.view.self?.id])
    expect(bob.socket.written.find(({ type }) => type === 'TOPIC_MESSAGE')).toMatchObject({
      payload: { publisherId: ann.view.self?.id },
    })
  })

  test('[RO5] INV-21: nobody takes the place of another', async () => {
    await using server = await startTestServer({ auth: 'jwt', jwtSecret: SECRET })
    const ann = await server.connect({ token: tokenOf('ann') })
    ann.send(join('r'))
    const { self } = (await ann.take('ROOM_STATE')).payload
    const proof = self?.resume.split('.')[1]
    const claims = [
      self?.resume,
      self?.id,
      `${self?.id}.`,
      `${self?.id}.x`,
      `x.${proof}`,
      `${self?.resume}.x`,
      `.${proof}`,
    ]
    for (const [i, claim] of claims.entries()) {
      // The first is what ann herself was told: it is hers alone.
      const eve = await server.connect({ token: tokenOf(i === 0 ? 'eve' : 'ann') })
      eve.send(join('r', {}, claim))
      const state = (await eve.take('ROOM_STATE', ({ payload }) => payload.full === true)).payload
      expect(state.self?.id).not.toBe(self?.id)
      expect(state.members.some(({ id, userId }) => id === self?.id && userId === 'ann')).toBe(true)
    }
    // Nobody else is ever told the secret.
    const other = await server.connect({ token: tokenOf('bob') })
    other.send(join('r'))
    await other.take('ROOM_STATE', ({ payload }) => payload.full === true)
    expect(JSON.stringify(other.inbox)).not.toContain(proof)
    await ann.settle()
    expect(ann.inbox.filter(({ type }) => type === 'ERROR')).toEqual([])
  })
})

describe('signs of life', () => {
  test('[RO6] a silent connection is away, and active again when it gives one', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const [ann, bob] = [new Visitor(server), new Visitor(server)]
    ann.send(join('r'))
    bob.send(join('r'))
    await hear(env, ann, bob)
    const stateOfAnn = (): string | undefined => bob.view.members.get(ann.view.self?.id ?? '')?.state
    for (let second = 0; second < 18; second++) {
      bob.socket.pong()
      env.advance(1_000)
      await hear(env, bob)
      if (second < 13) expect(stateOfAnn()).toBe('active')
    }
    expect(stateOfAnn()).toBe('away')
    expect(ann.socket.pings).toBeGreaterThan(5)
    ann.socket.pong()
    for (let second = 0; second < 2; second++) {
      env.advance(1_000)
      await hear(env, bob)
    }
    expect(stateOfAnn()).toBe('active')
  })

  test('[RO6] a page whose timers are throttled to one a minute does not flap in an hour: its pings are answered', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const [hidden, bob] = [new Visitor(server), new Visitor(server)]
    hidden.send(join('r'))
    bob.send(join('r'))
    await hear(env, hidden, bob)
    bob.view.log.length = 0
    let answered = hidden.socket.pings
    for (let second = 0; second < 3_600; second++) {
      bob.socket.pong()
      // The browser answers by itself, in a second at most; the page says something once a minute.
      if (hidden.socket.pings > answered) {
        answered = hidden.socket.pings
        hidden.socket.pong()
      }
      if (second % 60 === 0) hidden.send({ type: 'PING', timestamp: second })
      env.advance(1_000)
      if (second % 50 === 0) await hear(env, bob)
    }
    await hear(env, bob)
    expect(bob.view.log).toEqual([])
    expect(bob.view.members.size).toBe(2)
  })

  test('[RO6] a connection that is silent for good is away, then gone when it is closed', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env })
    const [ann, bob] = [new Visitor(server), new Visitor(server)]
    ann.send(join('r'))
    bob.send(join('r'))
    await hear(env, ann, bob)
    const id = ann.view.self?.id
    bob.view.log.length = 0
    for (let second = 0; second < 70; second++) {
      bob.socket.pong()
      env.advance(1_000)
      await hear(env, bob)
    }
    expect(ann.socket.closed).toMatchObject({ code: 4002 })
    expect(bob.view.log).toEqual([`change ${id}`, `leave ${id}`])
  })

  test('[RO6] a server that was asleep itself judges nobody by that', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env, connections: { idleTimeout: 10_000_000 } })
    const [ann, bob] = [new Visitor(server), new Visitor(server)]
    ann.send(join('r'))
    bob.send(join('r'))
    await hear(env, ann, bob)
    bob.view.log.length = 0
    env.advance(600_000)
    for (let second = 0; second < 3; second++) {
      ann.socket.pong()
      bob.socket.pong()
      env.advance(1_000)
      await hear(env, bob)
    }
    expect(bob.view.log).toEqual([])
  })
})

describe('rights', () => {
  const policies = [
    { role: 'GUEST', mapNamePattern: 'room:r', actions: ['READ', 'PUT'] },
    { role: 'WATCHER', mapNamePattern: 'room:r', actions: ['READ'] },
    { role: 'GHOST', mapNamePattern: 'room:r', actions: ['PUT'] },
    { role: 'PART', mapNamePattern: 'room:*', actions: ['ALL'], allowedFields: ['name'] },
    { role: 'OTHER', mapNamePattern: 'room:s', actions: ['ALL'] },
    { role: 'MAPS', mapNamePattern: 'r', actions: ['ALL'] },
    { role: 'TOPICS', mapNamePattern: 'topic:*', actions: ['ALL'] },
  ] satisfies ServerOptions['securityPolicies']
  const startSecured = (): ReturnType<typeof startTestServer> =>
    startTestServer({ mode: 'production', auth: 'jwt', jwtSecret: SECRET, securityPolicies: policies })

  test('[RO2] INV-21: who may not read sees nobody, who may not write is not seen', async () => {
    await using server = await startSecured()
    const [guest, watcher, ghost] = await Promise.all(
      ['GUEST', 'WATCHER', 'GHOST'].map((role) => server.connect({ token: tokenOf(role.toLowerCase(), role) })),
    )
    if (guest === undefined || watcher === undefined || ghost === undefined) throw new Error('No clients')
    const views = [guest, watcher, ghost].map((client) => {
      const view = new View()
      client.onMessage = (message) => view.take(message)
      return view
    })
    guest.send(join('r', { secret: 'canary' }))
    watcher.send(join('r', { name: 'unseen' }))
    ghost.send(join('r', { name: 'Ghost' }))
    for (const role of ['PART', 'OTHER', 'MAPS', 'TOPICS', 'NOBODY']) {
      const client = await server.connect({ token: tokenOf(role, role) })
      client.send({ ...join('r', { name: 'intruder' }), requestId: 'j' })
      expect(await client.take('ERROR')).toMatchObject({
        requestId: 'j',
        payload: { code: 403, errorCode: 'FORBIDDEN', about: 'ROOM_JOIN', details: { room: 'r' } },
      })
      client.send(update('r', { name: 'intruder' }))
      expect((await client.take('ERROR')).payload.errorCode).toBe('NOT_FOUND')
      await client.settle()
      expect(JSON.stringify(client.inbox)).not.toContain('canary')
    }
    guest.send(update('r', { secret: 'canary', n: 2 }))
    const names = (view: View | undefined): readonly string[] =>
      [...(view?.members.values() ?? [])].map(({ userId }) => userId).sort()
    await guest.until(() => names(views[0]).length === 2)
    await watcher.until(() => views[1]?.shown.some(({ n }) => n === 2) === true)
    await ghost.settle()
    expect(names(views[0])).toEqual(['ghost', 'guest'])
    expect(names(views[1])).toEqual(['ghost', 'guest'])
    expect(names(views[2])).toEqual([])
    expect(views[1]?.self).toBeUndefined()
    expect(JSON.stringify(ghost.inbox)).not.toContain('canary')
    watcher.send(update('r', { name: 'seen' }))
    expect((await watcher.take('ERROR')).payload).toMatchObject({ errorCode: 'FORBIDDEN', about: 'ROOM_UPDATE' })
  })

  test('[RO7] INV-21: with the rights, or another user, a connection is out of its rooms', async () => {
    await using server = await startSecured()
    for (const [before, after] of [
      [tokenOf('ann', 'GUEST'), tokenOf('ann', 'WATCHER')],
      [tokenOf('ann', 'GUEST'), tokenOf('ann', 'OTHER')],
      [tokenOf('ann', 'GUEST'), tokenOf('eve', 'GUEST')],
    ] as const) {
      const watcher = await server.connect({ token: tokenOf('w', 'WATCHER') })
      const view = new View()
      watcher.onMessage = (message) => view.take(message)
      watcher.send(join('r'))
      const client = await server.connect({ token: before })
      client.send(join('r', { secret: 'canary' }))
      const { self } = (await client.take('ROOM_STATE', ({ payload }) => payload.full === true)).payload
      await watcher.until(() => view.members.has(self?.id ?? ''))
      client.inbox.length = 0
      client.send({ type: 'AUTH', token: after })
      await client.take('AUTH_ACK')
      const empty = await client.take('ROOM_STATE', ({ payload }) => payload.full === true)
      expect(empty.payload).toEqual({ room: 'r', members: [], full: true })
      expect((await client.take('ERROR')).payload).toMatchObject({
        errorCode: 'FORBIDDEN',
        about: 'ROOM_JOIN',
        details: { room: 'r' },
      })
      await watcher.until(() => !view.members.has(self?.id ?? ''))
      if (after === tokenOf('eve', 'GUEST')) {
        client.send(join('r', {}, self?.resume))
        const again = (await client.take('ROOM_STATE', ({ payload }) => payload.full === true)).payload
        expect(again.self?.id).not.toBe(self?.id)
      }
    }
  })

  test('[RO7] another AUTH with the same rights disturbs nothing', async () => {
    await using server = await startSecured()
    const client = await server.connect({ token: tokenOf('ann', 'GUEST') })
    client.send(join('r'))
    await client.take('ROOM_STATE')
    client.send({ type: 'AUTH', token: tokenOf('ann', 'GUEST', 'X') })
    await client.take('AUTH_ACK')
    client.send(update('r', { n: 1 }))
    await client.take('ROOM_STATE', ({ payload }) => payload.members.some(({ presence }) => presence['n'] === 1))
    expect(client.inbox.filter(({ type }) => type === 'ERROR')).toEqual([])
  })
})

describe('limits and refusals', () => {
  test('[RO2] INV-22: a room has so many members, and one more may still look or come back', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ env, rooms: { maxMembers: 3 } })
    const visitors = Array.from({ length: 4 }, () => new Visitor(server))
    for (const visitor of visitors) {
      visitor.send(join('r'))
      await visitor.settle()
    }
    expect(visitors[3]?.errors()).toMatchObject([
      { errorCode: 'LIMIT_EXCEEDED', about: 'ROOM_JOIN', details: { limit: 'rooms.maxMembers', max: 3, room: 'r' } },
    ])
    visitors[0]?.send(join('r', { again: true }))
    const resume = visitors[1]?.view.self?.resume
    visitors[1]?.socket.end()
    const again = new Visitor(server)
    again.send(join('r', {}, resume))
    await hear(env, ...visitors, again)
    expect([...(visitors[0]?.errors() ?? []), ...again.errors()]).toEqual([])
    expect(server.server.inspect()['rooms']).toMatchObject({ members: 3 })
    const refusals = server.server.metrics().find(({ name }) => name === 'syncline_limit_refusals_total')
    expect(refusals?.values).toEqual([{ labels: { limit: 'rooms.maxMembers' }, value: 1 }])
  })

  test('[RO2] INV-22: a connection is in at most 100 rooms', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    for (let i = 0; i < LIMITS.roomsPerConnection; i++) client.send(join(`r${i}`))
    await client.settle()
    expect(client.inbox.filter(({ type }) => type === 'ERROR')).toEqual([])
    client.send(join('more'))
    expect((await client.take('ERROR')).payload).toMatchObject({
      errorCode: 'LIMIT_EXCEEDED',
      details: { limit: 'roomsPerConnection', max: 100, room: 'more' },
    })
    client.send(leave('r0'))
    client.send(join('more'))
    await client.take('ROOM_STATE', ({ payload }) => payload.room === 'more')
  })

  test.each([
    ['no room', { type: 'ROOM_JOIN', payload: { presence: {} } }, 'VALIDATION_ERROR'],
    ['a space', { type: 'ROOM_LEAVE', room: 'a b' }, 'BAD_KEY'],
    ['129 characters', { type: 'ROOM_LEAVE', room: 'x'.repeat(129) }, 'BAD_KEY'],
    ['no presence', { type: 'ROOM_JOIN', room: 'r' }, 'VALIDATION_ERROR'],
    ['a text as presence', { type: 'ROOM_JOIN', room: 'r', presence: 'here' }, 'VALIDATION_ERROR'],
    ['too much presence', { type: 'ROOM_UPDATE', room: 'r', presence: { text: 'x'.repeat(4_096) } }, 'TOO_LARGE'],
    ['a room that it is not in', { type: 'ROOM_UPDATE', room: 'r', presence: {} }, 'NOT_FOUND'],
    ['leaving where it is not', { type: 'ROOM_LEAVE', room: 'r' }, 'NOT_FOUND'],
  ])('[RO1] [RO7] %s is refused, and the connection survives', async (_, message, errorCode) => {
    await using server = await startTestServer()
    const client = await server.connect()
    client.sendRaw(JSON.stringify({ ...message, requestId: 'q' }))
    expect(await client.take('ERROR')).toMatchObject({ requestId: 'q', payload: { errorCode, about: message.type } })
    client.send(join('r'))
    await client.take('ROOM_STATE')
  })
})
