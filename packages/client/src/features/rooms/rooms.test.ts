import { startTestServer } from '@syncline/server/testing'
import * as v from 'valibot'
import { expect, test } from 'vitest'
import { scene, type Scene } from '../../../test/harness.ts'
import { createClient, defineContract, room, type Client, type Readable } from '../../index.ts'

const contract = defineContract({
  rooms: {
    board: room({
      presence: v.object({ name: v.string(), cursor: v.optional(v.nullable(v.number()), null) }),
      topics: { emoji: v.string() },
    }),
    lobby: room({ presence: v.object({}) }),
  },
})
type Rooms = Client<typeof contract>

const roomScene = async (options: object = {}): Promise<Scene & { readonly client: Rooms }> =>
  (await scene({ contract, ...options })) as Scene & { readonly client: Rooms }

const member = (id: string, presence: object = { name: id }, state = 'active'): object => ({
  id,
  userId: `user of ${id}`,
  presence,
  state,
})
const state = (payload: object): object => ({
  type: 'ROOM_STATE',
  payload: { room: 'board:b1', members: [], ...payload },
})
const self = { id: 'me', resume: 'me.secret' }

async function until<T>(readable: Readable<T>, condition: (value: T) => boolean): Promise<T> {
  const timeout = AbortSignal.timeout(10_000)
  if (condition(readable.get())) return readable.get()
  return new Promise((resolve, reject) => {
    const stop = readable.subscribe((value) => {
      if (!condition(value)) return
      stop()
      resolve(value)
    })
    timeout.addEventListener('abort', () => reject(new Error(`Still ${JSON.stringify(readable.get())}`)))
  })
}

test('a room shows the others as its schema makes them, and not this member itself', async () => {
  const scene = await roomScene()
  const board = scene.client.rooms.board.join('b1', { presence: { name: 'Ada' } })
  const told: unknown[] = []
  board.others.subscribe((others) => told.push(others.map(({ id }) => id)))
  expect(board.others.get()).toEqual([])
  await scene.greet()
  expect(scene.sent('ROOM_JOIN')).toEqual([
    {
      type: 'ROOM_JOIN',
      payload: { room: 'board:b1', presence: { name: 'Ada' } },
      requestId: expect.any(String) as never,
    },
  ])
  await scene.say(state({ members: [member('me'), member('a')], full: true, more: true, self }))
  expect(board.others.get()).toEqual([])
  await scene.say(state({ members: [member('b', { name: 'B', cursor: 3 })], left: ['a'] }))
  expect(board.others.get()).toEqual([
    { id: 'b', userId: 'user of b', presence: { name: 'B', cursor: 3 }, state: 'active' },
  ])
  const before = board.others.get()
  await scene.say(state({ room: 'board:b2', members: [member('x')], full: true }))
  expect(board.others.get()).toBe(before)
  await scene.say(state({ members: [member('a'), member('b', { name: 'B' }, 'away')] }))
  expect(board.others.get().map(({ id, presence, state: each }) => [id, presence, each])).toEqual([
    ['b', { name: 'B', cursor: null }, 'away'],
    ['a', { name: 'a', cursor: null }, 'active'],
  ])
  await scene.say(state({ left: ['b'] }))
  expect(told).toEqual([['b'], ['b', 'a'], ['a']])
  await scene.say(state({ members: [member('c', { nope: 1 })] }))
  expect(scene.events).toMatchObject([['error', { error: { code: 'VALIDATION_ERROR' } }]])
  expect(board.others.get().map(({ id }) => id)).toEqual(['a'])
})

test('what a member shows is sent as a whole, coalesced: the first change at once, then every 33 ms', async () => {
  const scene = await roomScene()
  const board = scene.client.rooms.board.join('b1', { presence: { name: 'Ada' } })
  board.self.update({ cursor: 0 })
  await scene.greet()
  expect(scene.sent('ROOM_JOIN')[0]?.payload['presence']).toEqual({ name: 'Ada', cursor: 0 })
  await scene.world.advance(100)
  for (let cursor = 1; cursor <= 5; cursor++) board.self.update({ cursor })
  await scene.world.settle()
  const shown = (): unknown[] => scene.sent('ROOM_UPDATE').map(({ payload }) => payload['presence'])
  expect(shown()).toEqual([{ name: 'Ada', cursor: 5 }])
  for (let cursor = 6; cursor <= 25; cursor++) {
    board.self.update({ cursor })
    await scene.world.advance(5)
  }
  expect(shown()).toEqual([
    { name: 'Ada', cursor: 12 },
    { name: 'Ada', cursor: 19 },
    { name: 'Ada', cursor: 25 },
  ])
  expect(() => board.self.update({ cursor: 'x' } as never)).toThrow(
    expect.objectContaining({ code: 'VALIDATION_ERROR' }),
  )
  expect(() => board.self.update({ name: 'x'.repeat(5_000) })).toThrow(expect.objectContaining({ code: 'TOO_LARGE' }))
  board.leave()
  expect(scene.sent('ROOM_LEAVE')).toEqual([{ type: 'ROOM_LEAVE', payload: { room: 'board:b1' } }])
  expect(() => board.self.update({ cursor: 1 })).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  board.leave()
  await scene.world.advance(100)
  expect(scene.socket.take().filter(({ type }) => type !== 'PING')).toEqual([])
})

test('[RO5] after a lost connection it comes back as the same member, and the others do not flicker', async () => {
  const scene = await roomScene()
  const board = scene.client.rooms.board.join('b1', { presence: { name: 'Ada' } })
  const told: unknown[] = []
  board.others.subscribe((others) => told.push(others.map(({ id }) => id)))
  await scene.greet()
  await scene.say(state({ members: [member('me'), member('a')], full: true, self }))
  scene.socket.drop()
  board.self.update({ cursor: 7 })
  await scene.world.advance(1_000)
  await scene.greet()
  expect(scene.sent('ROOM_JOIN')[0]?.payload).toEqual({
    room: 'board:b1',
    presence: { name: 'Ada', cursor: 7 },
    resume: 'me.secret',
  })
  await scene.say(state({ members: [member('me')], full: true, more: true, self }))
  await scene.say(state({ members: [member('a')] }))
  await scene.world.advance(3_000)
  expect(told).toEqual([['a'], ['a']])
  expect(board.others.get()).toHaveLength(1)
})

test('who is offline for more than two seconds shows nobody', async () => {
  const scene = await roomScene()
  const board = scene.client.rooms.board.join('b1', { presence: { name: 'Ada' } })
  await scene.greet()
  await scene.say(state({ members: [member('me'), member('a')], full: true, self }))
  scene.client.disconnect()
  await scene.world.advance(1_900)
  expect(board.others.get()).toHaveLength(1)
  await scene.world.advance(200)
  expect(board.others.get()).toEqual([])
})

test('joining twice is being there once, until both have left; `using` leaves', async () => {
  const scene = await roomScene()
  await scene.greet()
  const first = scene.client.rooms.board.join('b1', { presence: { name: 'Ada' } })
  {
    using second = scene.client.rooms.board.join('b1', { presence: { name: 'Grace' } })
    await scene.say(state({ members: [member('a')], full: true, self }))
    expect(second.others.get()).toBe(first.others.get())
    await scene.world.advance(50)
  }
  expect(scene.sent('ROOM_JOIN')).toHaveLength(1)
  expect(scene.sent('ROOM_UPDATE').map(({ payload }) => payload['presence'])).toEqual([{ name: 'Grace' }])
  expect(scene.sent('ROOM_LEAVE')).toEqual([])
  first.leave()
  expect(scene.sent('ROOM_LEAVE')).toHaveLength(1)
  expect(first.others.get()).toEqual([])
})

test('what the server refuses is told, and asked for again in the next session', async () => {
  const scene = await roomScene()
  scene.client.rooms.board.join('b1', { presence: { name: 'Ada' } })
  await scene.greet()
  const [{ requestId } = { requestId: '' }] = scene.sent('ROOM_JOIN')
  const payload = {
    code: 403,
    errorCode: 'FORBIDDEN',
    message: 'No.',
    about: 'ROOM_JOIN',
    details: { room: 'board:b1' },
  }
  await scene.say({ type: 'ERROR', payload, requestId })
  expect(scene.events).toMatchObject([['error', { error: { code: 'FORBIDDEN', details: { room: 'board:b1' } } }]])
  scene.socket.drop()
  await scene.world.advance(1_000)
  await scene.greet()
  expect(scene.sent('ROOM_JOIN')).toHaveLength(1)
})

test('another user is in none of the former one’s rooms', async () => {
  const scene = await roomScene({ auth: () => 'token' })
  const signIn = async (userId: string): Promise<void> => {
    await scene.say({ type: 'AUTH_REQUIRED', serverTime: scene.world.nowMs, protocolVersion: 1 })
    const serverTime = scene.world.nowMs
    await scene.say({ type: 'AUTH_ACK', protocolVersion: 1, userId, serverTime, databaseId: 'db' })
  }
  const board = scene.client.rooms.board.join('b1', { presence: { name: 'Ann' } })
  await signIn('ann')
  await scene.say(state({ members: [member('a')], full: true, self }))
  scene.socket.drop()
  await scene.world.advance(1_000)
  await signIn('bob')
  expect(scene.sent('ROOM_JOIN')).toEqual([])
  expect(board.others.get()).toEqual([])
  expect(() => board.self.update({ cursor: 1 })).toThrow(expect.objectContaining({ code: 'UNAUTHORIZED' }))
  scene.client.rooms.board.join('b1', { presence: { name: 'Bob' } })
  expect(scene.sent('ROOM_JOIN').map(({ payload }) => payload)).toEqual([
    { room: 'board:b1', presence: { name: 'Bob' } },
  ])
})

test('closing the client leaves its rooms', async () => {
  const scene = await roomScene()
  await scene.greet()
  scene.client.rooms.board.join('b1', { presence: { name: 'Ada' } })
  await scene.client.close()
  expect(scene.sent('ROOM_LEAVE')).toHaveLength(1)
  expect(() => scene.client.rooms.lobby.join('x', { presence: {} })).toThrow(
    expect.objectContaining({ code: 'CLOSED' }),
  )
})

test('a room that cannot be named is refused', async () => {
  const scene = await roomScene()
  for (const id of ['a b', 'x'.repeat(123), 'é']) {
    expect(() => scene.client.rooms.board.join(id, { presence: { name: 'Ada' } })).toThrow(
      expect.objectContaining({ code: 'BAD_KEY' }),
    )
  }
  expect(() => scene.client.rooms.board.join('b1', { presence: { name: 5 } as never })).toThrow(
    expect.objectContaining({ code: 'VALIDATION_ERROR' }),
  )
})

test('members of a real server see each other, hear each other by their ids, and leave', async () => {
  await using server = await startTestServer()
  await using ann = createClient({ contract, url: `${server.url}/ws` })
  await using bob = createClient({ contract, url: `${server.url}/ws` })
  const annsBoard = ann.rooms.board.join('b1', { presence: { name: 'Ann' } })
  const bobsBoard = bob.rooms.board.join('b1', { presence: { name: 'Bob' } })
  await until(annsBoard.others, (others) => others[0]?.presence.name === 'Bob')
  await until(bobsBoard.others, (others) => others[0]?.presence.name === 'Ann')
  const id = bobsBoard.others.get()[0]?.id
  const emoji = bobsBoard.topics.emoji.stream()
  const heard = emoji.next()
  const timer = setInterval(() => annsBoard.topics.emoji.publish('!'), 20)
  expect((await heard).value).toMatchObject({ data: '!', from: id })
  clearInterval(timer)
  annsBoard.self.update({ cursor: 5 })
  await until(bobsBoard.others, (others) => others[0]?.presence.cursor === 5)
  const log: string[] = []
  bobsBoard.others.subscribe((others) => log.push(others.map((each) => each.id).join()))
  ann.disconnect()
  ann.connect()
  annsBoard.self.update({ cursor: 6 })
  await until(bobsBoard.others, (others) => others[0]?.presence.cursor === 6)
  expect(new Set(log)).toEqual(new Set([id]))
  annsBoard.leave()
  await until(bobsBoard.others, (others) => others.length === 0)
})
