import { inspect } from 'node:util'
import * as v from 'valibot'
import { expect, test } from 'vitest'
import { scene } from '../test/harness.ts'
import { Tab, World } from '../test/virtual-env.ts'
import {
  SynclineError,
  createClient,
  counter,
  defineContract,
  map,
  preload,
  room,
  set,
  topic,
  type Client,
} from './index.ts'

const contract = defineContract({
  maps: { todos: map({ schema: v.object({ text: v.string() }) }) },
  sets: { tags: set({ schema: v.string() }) },
  counters: { votes: counter() },
  topics: { news: topic(v.string()) },
  rooms: { board: room({ presence: v.object({ name: v.string() }), topics: { emoji: v.string() } }) },
})

/** What is passed for each argument in turn, while the others are as they should be. */
const WRONG: readonly unknown[] = [undefined, null, 5, 'text', true, [], {}, () => {}]

/** A call of the public surface: what it is named, and good arguments. */
// eslint-disable-next-line typescript/no-explicit-any -- what types forbid is what is tried.
type Call = readonly [name: string, call: (client: any, ...args: any[]) => unknown, ...good: unknown[]]

const calls: readonly Call[] = [
  ['client.map', (client, name) => client.map(name), 'todos'],
  ['map.get', (client, key) => client.maps.todos.get(key), 'a'],
  ['map.has', (client, key) => client.maps.todos.has(key), 'a'],
  ['map.set', (client, ...args) => client.maps.todos.set(...args), 'a', { text: 'x' }, {}],
  ['map.update', (client, ...args) => client.maps.todos.update(...args), 'a', () => {}, {}],
  ['map.delete', (client, ...args) => client.maps.todos.delete(...args), 'a', {}],
  ['map.watch', (client, key) => client.maps.todos.watch(key).get(), 'a'],
  ['map.watch.subscribe', (client, ...args) => client.maps.todos.watch('a').subscribe(...args), () => {}, {}],
  ['map.query', (client, spec) => client.maps.todos.query(spec).get(), {}],
  ...['where', 'orderBy', 'limit', 'after', 'select'].map((name): Call => [
    `map.query ${name}`,
    (client, value) => client.maps.todos.query({ [name]: value }).get().rows,
    undefined,
  ]),
  ['query.subscribe', (client, ...args) => client.maps.todos.query().subscribe(...args), () => {}, {}],
  ['query.once', (client, options) => client.maps.todos.query().once(options), {}],
  ['query.once from', (client, from) => client.maps.todos.query().once({ from, timeoutMs: 10 }), 'local'],
  ['query.once signal', (client, signal) => client.maps.todos.query().once({ signal }), undefined],
  ['query.once timeoutMs', (client, timeoutMs) => client.maps.todos.query().once({ timeoutMs }), undefined],
  ['query.loadMore', (client) => client.maps.todos.query().loadMore()],
  ['map.search', (client, ...args) => client.maps.todos.search(...args).get(), 'x', {}],
  ...['fields', 'limit', 'minScore', 'where'].map((name): Call => [
    `map.search ${name}`,
    (client, value) => client.maps.todos.search('x', { [name]: value }).get(),
  ]),
  ['map.history', (client, ...args) => client.maps.todos.history(...args), 'a', { timeoutMs: 1 }],
  ['map.onConflict', (client, callback) => client.maps.todos.onConflict(callback), () => {}],
  ['write.wait', (client, ...args) => client.maps.todos.set('w', { text: '' }).wait(...args), 'local', {}],
  ...['concern', 'ttlMs', 'fence'].map((name): Call => [
    `map.set ${name}`,
    (client, value) => client.maps.todos.set('o', { text: '' }, { [name]: value }),
    undefined,
  ]),
  [
    'map.watch.subscribe signal',
    (client, signal) => client.maps.todos.watch('a').subscribe(() => {}, { signal }),
    undefined,
  ],
  ['topic.subscribe signal', (client, signal) => client.topics.news.subscribe(() => {}, { signal }), undefined],
  ['topic.subscribe onMissed', (client, onMissed) => client.topics.news.subscribe(() => {}, { onMissed }), undefined],
  ['topic.stream signal', (client, signal) => client.topics.news.stream({ signal }).return(), undefined],
  [
    'write.wait timeoutMs',
    (client, timeoutMs) => client.maps.todos.set('w', { text: '' }).wait('memory', { timeoutMs }),
    1,
  ],
  ['sets', (client, name) => client.sets.tags(name).get(), 'a'],
  ['set.add', (client, ...args) => client.sets.tags('a').add(...args), 'x', {}],
  ['set.delete', (client, ...args) => client.sets.tags('a').delete(...args), 'x', {}],
  ['set.has', (client, value) => client.sets.tags('a').has(value), 'x'],
  ['set.subscribe', (client, ...args) => client.sets.tags('a').subscribe(...args), () => {}, {}],
  ['counters', (client, name) => client.counters.votes(name).get(), 'a'],
  ['counter.add', (client, ...args) => client.counters.votes('a').add(...args), 1, {}],
  ['topic.publish', (client, value) => client.topics.news.publish(value), 'x'],
  ['topic.subscribe', (client, ...args) => client.topics.news.subscribe(...args), () => {}, {}],
  ['topic.stream', (client, options) => client.topics.news.stream(options).return(), {}],
  ['topic.stream buffer', (client, buffer) => client.topics.news.stream({ buffer }).return(), 5],
  ['rooms.join', (client, ...args) => client.rooms.board.join(...args), 'b1', { presence: { name: 'Ada' } }],
  ['rooms.join presence', (client, presence) => client.rooms.board.join('b2', { presence }), { name: 'Ada' }],
  [
    'room.self.update',
    (client, changes) => client.rooms.board.join('b3', { presence: { name: 'Ada' } }).self.update(changes),
    {},
  ],
  ['lock', (client, ...args) => client.lock(...args), 'l', { ttlMs: 100, waitMs: 0 }],
  ['lock ttlMs', (client, ttlMs) => client.lock('l', { ttlMs, waitMs: 0 }), 100],
  ['lock waitMs', (client, waitMs) => client.lock('l', { ttlMs: 100, waitMs }), 0],
  ['lock signal', (client, signal) => client.lock('l', { ttlMs: 100, waitMs: 0, signal }), undefined],
  ['pending.discard', (client, id) => client.pending.discard(id), 'x'],
  ['pending.subscribe', (client, ...args) => client.pending.subscribe(...args), () => {}, {}],
  ['status.subscribe', (client, ...args) => client.status.subscribe(...args), () => {}, {}],
  ['client.on', (client, ...args) => client.on(...args), 'error', () => {}],
  ['auth.signOut', (client, options) => client.auth.signOut(options), {}],
  ['client.close', (client, options) => client.close(options), {}],
  ['client.close flushMs', (client, flushMs) => client.close({ flushMs }), 0],
]

/** A refusal in words, by one of the client's errors; not one of the engine that a check let through. */
const isInWords = (error: unknown): boolean =>
  error instanceof SynclineError && !/Cannot |is not a function|is not iterable|of undefined/.test(error.message)

test('what is called with something else than types allow is taken or refused in words', async () => {
  await preload()
  const bad: string[] = []
  for (const [name, call, ...good] of calls) {
    for (let at = 0; at < Math.max(1, good.length); at++) {
      for (const wrong of WRONG) {
        const args = good.map((value, i) => (i === at ? wrong : value))
        const note = (error: unknown): void => {
          if (!isInWords(error)) bad.push(`${name}(${inspect(args)}): ${String(error)}`)
        }
        const { client, world } = await scene({ contract, url: undefined as never })
        client.on('error', ({ error }) => note(error))
        client.on('rejected', ({ error }) => note(error))
        ;(client as Client<typeof contract>).maps.todos.set('a', { text: 'x' })
        try {
          const result = call(client, ...args)
          if (result instanceof Promise) result.catch(note)
          await world.advance(200)
          client.map('todos').set('a', { text: 'y' })
          await world.advance(200)
        } catch (error) {
          note(error)
        }
        await client.close().catch(note)
      }
    }
  }
  expect(bad).toEqual([])
})

test('options of a client that are something else are taken or refused in words', async () => {
  for (const name of ['url', 'signal', 'storage'])
    for (const wrong of WRONG) {
      try {
        const client = createClient({ [name]: wrong, env: new Tab(new World(), 'tab').env() })
        client.on('error', ({ error }) => expect(error).toSatisfy(isInWords))
        await client.close()
      } catch (error) {
        expect(error).toSatisfy(isInWords)
        expect(error).toMatchObject({ code: 'VALIDATION_ERROR' })
      }
    }
  await createClient(null as never).close()
})

test('what is often got wrong is refused by its code', async () => {
  const { client } = await scene({ contract })
  const { todos } = (client as Client<typeof contract>).maps
  todos.set('a', { text: 'x' })
  expect(todos.query({ select: 'text' as never }).get()).toMatchObject({
    status: 'error',
    error: { code: 'BAD_QUERY' },
  })
  expect(todos.search('x', { fields: 'text' as never }).get()).toMatchObject({ error: { code: 'BAD_QUERY' } })
  await expect(client.lock('l', undefined as never)).rejects.toMatchObject({ code: 'VALIDATION_ERROR' })
  expect(() => todos.update('a', 'x' as never)).toThrow(expect.objectContaining({ code: 'VALIDATION_ERROR' }))
  expect(() => client.status.subscribe(undefined as never)).toThrow(
    expect.objectContaining({ code: 'VALIDATION_ERROR' }),
  )
  expect(() => client.on('error', {} as never)).toThrow(expect.objectContaining({ code: 'VALIDATION_ERROR' }))
  // Options that are null are as those that are left out.
  todos.set('b', { text: 'y' }, null as never)
  expect(await todos.query(null as never).once(null as never)).toHaveLength(2)
})
