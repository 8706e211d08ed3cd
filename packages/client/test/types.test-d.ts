// Compiled by `typecheck`, never run: what an application may write, and what the compiler must refuse.
import * as v from 'valibot'
import {
  counter,
  createClient,
  defineContract,
  indexedDB,
  map,
  room,
  set,
  topic,
  type Client,
  type ConflictEvent,
  type PendingWrite,
  type Readable,
  type Row,
  type Status,
  type SyncCounter,
  type SyncMap,
  type SyncSet,
  type Write,
  type WriteLevel,
} from '../src/index.ts'

export const contract = defineContract({
  version: 1,
  maps: {
    todos: map({
      schema: v.object({
        text: v.string(),
        done: v.optional(v.boolean(), false),
        listId: v.string(),
        createdAt: v.number(),
        tags: v.optional(v.array(v.string())),
      }),
      indexes: ['listId', 'done'],
      search: ['text'],
    }),
    numbers: map({ schema: v.number() }),
  },
  sets: { tags: set({ schema: v.string() }), points: set({ schema: v.object({ x: v.optional(v.number(), 0) }) }) },
  counters: { votes: counter() },
  topics: { announcements: topic(v.object({ text: v.string(), loud: v.optional(v.boolean(), false) })) },
  rooms: {
    board: room({
      presence: v.object({ name: v.string(), cursor: v.nullable(v.object({ x: v.number(), y: v.number() })) }),
      topics: { emoji: v.object({ char: v.string() }) },
    }),
    lobby: room({ presence: v.object({ name: v.string() }) }),
  },
})

declare const getToken: () => Promise<string>

export async function main(render: (shown: unknown) => void): Promise<unknown> {
  await using db = createClient({
    contract,
    url: 'wss://api.example.com',
    storage: indexedDB('app'),
    auth: ({ reason }) => (reason === 'rejected' ? null : getToken()),
  })

  const write: Write = db.maps.todos.set('t1', { text: 'Buy milk', listId: 'home', createdAt: 1 })
  db.maps.todos.update('t1', (todo) => {
    todo.done = !todo.done
  })
  db.maps.todos.update('t1', (todo) => ({ ...todo, done: true }))
  const done: boolean | undefined = db.maps.todos.get('t1')?.done
  const reached: { level: WriteLevel; latencyMs: number } = await write.wait('persisted', { timeoutMs: 5_000 })
  const undone: Write = write.undo()
  db.maps.todos.onConflict(({ key, fields, winner }) => render([key, fields, winner?.text]))
  for (const [key, value] of db.maps.todos) render([key, value.text])

  const open = db.maps.todos.query({
    where: { done: false, createdAt: { $gt: 0 }, tags: { $contains: 'x' } },
    orderBy: [['createdAt', 'desc']],
    limit: 50,
  })
  db.maps.todos.query({ where: { $or: [{ done: true }, { $not: { listId: { $in: ['a', 'b'] } } }] } })
  using _open = open.subscribe((state) =>
    render({ rows: state.rows, complete: state.complete, pending: state.rows.filter((row) => row.sync === 'pending') }),
  )
  for await (const state of open) if (state.status === 'live') break
  const rows: readonly Row<{ text: string; done: boolean }>[] = await open.once({
    from: 'server',
    signal: AbortSignal.timeout(3_000),
  })
  await open.loadMore()

  db.topics.announcements.publish({ text: 'hi' })
  using _heard = db.topics.announcements.subscribe(({ data, from, at, missed }) =>
    render([data.loud, data.text, from, at, missed]),
  )
  for await (const { data } of db.topics.announcements.stream({ buffer: 10 })) if (data.loud) break
  using board = db.rooms.board.join('b1', { presence: { name: 'Ada', cursor: null } })
  board.self.update({ cursor: { x: 1, y: 2 } })
  board.others.subscribe((others) => render(others.map(({ presence, state }) => [presence.cursor?.x, state])))
  board.topics.emoji.publish({ char: '!' })
  db.sets.tags('t1').add('urgent')
  const points: SyncSet<{ x?: number | undefined }, { x: number }> = db.sets.points()
  points.delete({}).undo()
  using _points = points.subscribe((values: ReadonlySet<{ x: number }>) => render(values.size))
  const votes: SyncCounter = db.counters.votes('t1')
  await votes.add(1).wait('persisted')
  render([votes.get() + 1, points.has({ x: 1 })])

  const watched: Readable<{ text: string } | undefined> = db.maps.todos.watch('t1')
  const status: Readable<Status> = db.status
  const pending: Readable<readonly PendingWrite[]> = db.pending
  db.status.subscribe(({ connection, pending: count, queue }) => render({ connection, count, queue }))
  db.on('rejected', ({ error, write: refused }) => render([error.code, refused.id]))
  db.on('conflict', ({ mapName, conflict }) => render([mapName, conflict.key]))
  await using lock = await db.lock('invoice:42', { ttlMs: 10_000, waitMs: 2_000, signal: AbortSignal.timeout(3_000) })
  const held: [string, number, AbortSignal] = [lock.name, lock.fencingToken, lock.signal]
  await lock.renew()
  await lock.renew(5_000)
  db.maps.todos.set('t2', { text: 'Pay', listId: 'home', createdAt: 0 }, { fence: lock, concern: 'persisted' })
  db.maps.todos.update('t2', (todo) => void (todo.done = true), { fence: { name: 'invoice:42', fencingToken: 7 } })
  db.maps.todos.delete('t2', { fence: lock })
  await lock.release()
  render(held)
  const untyped: SyncMap<{ a: number }, { a: number }> = db.map<{ a: number }>('anything')
  const without: Client<{}> = createClient()
  return { done, reached, undone, rows, watched, status, pending, untyped, without }
}

declare const client: Client<typeof contract>
// @ts-expect-error wrong field type
client.maps.todos.set('x', { text: 1, listId: 'a', createdAt: 0 })
// @ts-expect-error missing field
client.maps.todos.set('x', { text: 'a' })
// @ts-expect-error wrong value type of a scalar map
client.maps.numbers.set('x', 'a')
// @ts-expect-error wrong type of a set's value
client.sets.tags('x').add(1)
// @ts-expect-error unknown set
void client.sets.nope
// @ts-expect-error unknown counter
void client.counters.nope
// @ts-expect-error a counter counts numbers
client.counters.votes('x').add('1')
// @ts-expect-error unknown map
void client.maps.nope
// @ts-expect-error unknown where field
client.maps.todos.query({ where: { nope: 1 } })
// @ts-expect-error wrong operand
client.maps.todos.query({ where: { createdAt: { $gt: 'a' } } })
// @ts-expect-error unknown operator
client.maps.todos.query({ where: { createdAt: { $nope: 1 } } })
// @ts-expect-error unknown field to sort by
client.maps.todos.query({ orderBy: [['nope', 'asc']] })
// @ts-expect-error the recipe's draft has the type of the value
client.maps.todos.update('x', (todo) => void (todo.done = 'yes'))
// @ts-expect-error an update cannot change the time to live
client.maps.todos.update('x', () => {}, { ttlMs: 1 })
// @ts-expect-error unknown index
map({ schema: v.object({ a: v.string() }), indexes: ['b'] })
// @ts-expect-error unknown level
void client.maps.numbers.delete('x').wait('done')
// @ts-expect-error 'local' is no level of the server
client.maps.numbers.set('x', 1, { concern: 'local' })
// @ts-expect-error a write is no promise
void client.maps.numbers.set('x', 1).then
// @ts-expect-error a conflict's winner may be absent
client.maps.todos.onConflict(({ winner }: ConflictEvent<{ text: string }>) => winner.text)
// @ts-expect-error a lock is a lease
void client.lock('n', {})
// @ts-expect-error a fence has a token
client.maps.numbers.set('x', 1, { fence: { name: 'n' } })
// @ts-expect-error unknown event
client.on('nope', () => {})
// @ts-expect-error wrong message
client.topics.announcements.publish({ text: 1 })
// @ts-expect-error unknown topic
void client.topics.nope
// @ts-expect-error a presence lacks a field
client.rooms.board.join('b1', { presence: { name: 'Ada' } })
// @ts-expect-error wrong change of a presence
client.rooms.lobby.join('l', { presence: { name: 'Ada' } }).self.update({ name: 5 })
// @ts-expect-error unknown topic of a room
void client.rooms.lobby.join('l', { presence: { name: 'Ada' } }).topics.emoji
