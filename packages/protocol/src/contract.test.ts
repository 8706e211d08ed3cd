import type { StandardSchemaV1 } from '@standard-schema/spec'
import { describe, expect, expectTypeOf, it } from 'vitest'
import * as z from 'zod'
import {
  counter,
  defineContract,
  indexesOf,
  map,
  room,
  set,
  topic,
  type Contract,
  type In,
  type Out,
  type StandardSchema,
} from './contract.ts'
import { readClientMessage } from './read/client-message.ts'

const todo = z.object({ text: z.string(), done: z.boolean().default(false), listId: z.string() })

describe('defineContract', () => {
  it('[CO1] returns the contract itself, with its types', () => {
    const todos = map({ schema: todo, indexes: ['listId', 'done'], search: ['text'], ttlMs: 1000 })
    const given = { version: 1, maps: { todos } } as const
    const contract = defineContract(given)
    expect(contract).toBe(given)
    expect(contract.maps.todos.kind).toBe('map')
    expectTypeOf<In<typeof todo>>().toEqualTypeOf<{ text: string; done?: boolean | undefined; listId: string }>()
    expectTypeOf<Out<(typeof contract)['maps']['todos']['schema']>>().toEqualTypeOf<{
      text: string
      done: boolean
      listId: string
    }>()
  })

  it('[CO1] names sets, counters, topics and rooms as well, with their types', () => {
    const contract = defineContract({
      sets: { tags: set({ schema: z.string() }) },
      counters: { votes: counter() },
      topics: { news: topic(z.object({ text: z.string() })) },
      rooms: {
        board: room({ presence: z.object({ name: z.string() }), topics: { emoji: z.string() } }),
        bare: room({ presence: z.number() }),
      },
    })
    const { tags } = contract.sets
    const { board, bare } = contract.rooms
    expect([tags.kind, contract.counters.votes.kind, contract.topics.news.kind, board.kind]).toEqual([
      'set',
      'counter',
      'topic',
      'room',
    ])
    expect(bare.topics).toEqual({})
    expectTypeOf<Out<typeof tags.schema>>().toEqualTypeOf<string>()
    expectTypeOf<In<(typeof board)['topics']['emoji']>>().toEqualTypeOf<string>()
    expectTypeOf<Out<typeof board.presence>>().toEqualTypeOf<{ name: string }>()
    expectTypeOf<keyof (typeof bare)['topics']>().toEqualTypeOf<never>()
  })

  it('[CO2] an index or search field that the schema does not have is a type error', () => {
    // @ts-expect-error there is no field b
    map({ schema: z.object({ a: z.string() }), indexes: ['b'] })
    // @ts-expect-error there is no field c
    map({ schema: z.object({ a: z.string() }), search: ['c'] })
    // @ts-expect-error a text has no fields
    map({ schema: z.string(), indexes: ['length'] })
    map({ schema: z.union([z.object({ a: z.string() }), z.object({ b: z.string() })]), indexes: ['a', 'b'] })
  })

  it('[CO1] takes any validator that implements Standard Schema', () => {
    expectTypeOf<StandardSchemaV1<string, number>>().toExtend<StandardSchema<string, number>>()
    expectTypeOf<StandardSchema<string, number>>().toExtend<StandardSchemaV1<string, number>>()
    const own: StandardSchema<string, number> = {
      '~standard': { version: 1, vendor: 'own', validate: (value) => ({ value: Number(value) }) },
    }
    expect(defineContract({ maps: { own: map({ schema: own }) } }).maps.own.schema).toBe(own)
    expectTypeOf<In<typeof own>>().toEqualTypeOf<string>()
    expectTypeOf<Out<typeof own>>().toEqualTypeOf<number>()
  })

  const schema = z.object({ a: z.string() })
  const bad: readonly (readonly [string, unknown, string])[] = [
    [
      'an unknown part',
      { settings: {} },
      '"settings" is no part of it; the parts are version, maps, sets, counters, topics and rooms',
    ],
    ['a version that is no count', { version: 0.5 }, 'version must be a whole number above 0'],
    ['maps that are no object', { maps: 5 }, 'maps must be an object'],
    ['nothing', undefined, 'it must be an object of its parts'],
    ['a text', 'todos', '"0" is no part of it'],
    ['a map of nothing', { maps: { m: map(undefined as never) } }, 'maps.m.schema must be a schema'],
    ['a room of nothing', { rooms: { r: room(undefined as never) } }, 'rooms.r.presence must be a schema'],
    ['a map that map() did not make', { maps: { m: { schema } } }, 'maps.m must be made by map'],
    ['a map that is null', { maps: { m: null } }, 'maps.m must be made by map'],
    ['no schema', { maps: { m: { kind: 'map' } } }, 'maps.m.schema must be a schema'],
    ['a set that set() did not make', { sets: { s: map({ schema }) } }, 'sets.s must be made by set'],
    ['a set without a schema', { sets: { s: { kind: 'set' } } }, 'sets.s.schema must be a schema'],
    ['a counter that counter() did not make', { counters: { c: {} } }, 'counters.c must be made by counter'],
    ['a topic without a schema', { topics: { t: topic(undefined as never) } }, 'topics.t.schema must be a schema'],
    ['a room without a schema', { rooms: { r: room({ presence: {} as never }) } }, 'rooms.r.presence must be a schema'],
    [
      'a topic of a room without a schema',
      { rooms: { r: room({ presence: schema, topics: { t: 1 as never } }) } },
      'rooms.r.topics.t must be a schema',
    ],
    ['a map and a set of one name', { maps: { m: map({ schema }) }, sets: { m: set({ schema }) } }, '"m" is both'],
    ['a foreign schema', { maps: { m: { kind: 'map', schema: { parse() {} } } } }, 'maps.m.schema must be a schema'],
    [
      'indexes that are no list',
      { maps: { m: { kind: 'map', schema, indexes: 'a' } } },
      'maps.m.indexes must be a list',
    ],
    ['an index that is no name', { maps: { m: { kind: 'map', schema, indexes: [1] } } }, 'must hold field names only'],
    ['an index twice', { maps: { m: { kind: 'map', schema, indexes: ['a', 'a'] } } }, 'names a field twice'],
    [
      'a search field twice',
      { maps: { m: { kind: 'map', schema, search: ['a', 'a'] } } },
      'maps.m.search names a field twice',
    ],
    ['a ttl of zero', { maps: { m: { kind: 'map', schema, ttlMs: 0 } } }, 'maps.m.ttlMs must be a positive number'],
    ['an endless ttl', { maps: { m: { kind: 'map', schema, ttlMs: Infinity } } }, 'maps.m.ttlMs must be'],
  ]
  it.each(bad)('[CO3] refuses %s', (_, contract, message) => {
    const expected = { code: 'VALIDATION_ERROR', message: expect.stringContaining(`Bad contract: `) as string }
    expect(() => defineContract(contract as Contract)).toThrow(expect.objectContaining(expected))
    expect(() => defineContract(contract as Contract)).toThrow(message)
  })
})

describe('names of a contract', () => {
  const schema = z.object({ a: z.string() })
  const inRoom = (name: string): Contract => ({ rooms: { r: room({ presence: schema, topics: { [name]: schema } }) } })
  const parts: Readonly<Record<string, (name: string) => Contract>> = {
    map: (name) => ({ maps: { [name]: map({ schema }) } }),
    set: (name) => ({ sets: { [name]: set({ schema }) } }),
    counter: (name) => ({ counters: { [name]: counter() } }),
    topic: (name) => ({ topics: { [name]: topic(schema) } }),
    room: (name) => ({ rooms: { [name]: room({ presence: schema }) } }),
    'topic of a room': inRoom,
  }
  const bad: readonly (readonly [part: string, name: string, maxBytes: number])[] = [
    ...Object.keys(parts).flatMap((part) => ['', 'constructor', 'a\uD800'].map((name) => [part, name, 1] as const)),
    ['map', 'é'.repeat(65), 128],
    ['map', 'counter:likes', 128],
    ['set', 'counter:', 128],
    ['counter', 'é'.repeat(61), 120],
    ['topic', 'the chat', 256],
    ['topic', 'büro', 256],
    ['topic', 'x'.repeat(257), 256],
    ['topic', 'room:board', 256],
    ['topic', 'room::emoji', 256],
    ['room', 'the board', 128],
    ['room', 'x'.repeat(127), 128],
    ['topic of a room', 'a b', 128],
    ['topic of a room', 'a:b', 128],
    ['topic of a room', 'x'.repeat(123), 128],
  ]
  it.each(bad)('[CO5] refuses a %s named %j', (part, name, maxBytes) => {
    const words = maxBytes === 1 ? 'a name in it is' : `a name in it is a well-formed text of 1 to ${maxBytes} bytes`
    expect(() => defineContract(parts[part]?.(name) as Contract)).toThrow(
      expect.objectContaining({
        code: 'VALIDATION_ERROR',
        message: expect.stringContaining(`.${name}: ${words}`) as string,
      }),
    )
  })

  const good: readonly (readonly [part: string, name: string])[] = [
    ['map', 'é'.repeat(64)],
    ['map', 'room:board'],
    ['counter', 'x'.repeat(120)],
    ['topic', 'x'.repeat(256)],
    ['topic', 'a-b_c.d:e/F9'],
    ['topic', 'room:board:b1:emoji'],
    ['room', 'x'.repeat(126)],
    ['topic of a room', 'x'.repeat(122)],
  ]
  it.each(good)('[CO5] takes a %s named %j', (part, name) => {
    expect(() => defineContract(parts[part]?.(name) as Contract)).not.toThrow()
  })

  it('[CO5] the server reads the longest names of topics and rooms that follow from a contract', () => {
    const room = `${'x'.repeat(126)}:1`
    for (const message of [
      { type: 'ROOM_LEAVE', payload: { room } },
      { type: 'TOPIC_SUB', payload: { topic: `room:${room}:${'x'.repeat(122)}` } },
    ])
      expect(readClientMessage(message)).toMatchObject({ ok: true })
  })
})

describe('indexesOf', () => {
  it('[CO1] is the indexes of the maps that have some', () => {
    const contract = defineContract({
      maps: { todos: map({ schema: todo, indexes: ['listId'] }), plain: map({ schema: todo }) },
    })
    expect(indexesOf(contract)).toEqual({ todos: ['listId'] })
    expect(indexesOf({})).toEqual({})
  })
})
