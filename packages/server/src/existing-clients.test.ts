import { pack } from 'msgpackr'
import { expect, describe, test } from 'vitest'
import { ExistingClient, NEWER, OLDER } from './testing/existing-client.ts'
import { SECRET, tokenOf, until } from './testing/harness.ts'
import { startTestServer } from './testing/test-server.ts'

// What clients of the systems that Syncline takes the place of need, message by message, in the bytes that they send.

const secured = {
  jwtSecret: SECRET,
  securityPolicies: [{ role: 'USER', mapNamePattern: '*', actions: ['ALL'] }],
} as const

describe.each([
  ['older', OLDER],
  ['newer', NEWER],
])('a client of the %s generation', (_, generation) => {
  test('signs in twice, writes, reads what is there and what comes, and acknowledges nothing too early', async () => {
    await using server = await startTestServer(secured as never)
    const url = `${server.url}/ws`
    const ada = new ExistingClient(generation, 'ada', tokenOf('ada', 'USER'))
    ada.mapOf('todos')
    for (let i = 1; i <= 12; i++) ada.write('todos', `t${i}`, { n: i, at: 1_700_000_000_000 + i, half: 0.5 })
    await ada.connect(url)
    await until(() => ada.pending.length === 0, 'twelve acknowledgements')
    expect(ada.received[0]).toMatchObject({ type: 'AUTH_REQUIRED' })
    expect(ada.received.filter(({ type }) => type === 'AUTH_ACK')).toHaveLength(1)
    expect(ada.frames.text).toBe(1)
    expect(await ada.took('OP_ACK')).toMatchObject({ payload: { lastId: '12' } })
    expect(await ada.took('PONG')).toMatchObject({ serverTime: expect.any(Number) })

    // Another one walks the trie, follows what comes, and asks a live query.
    const bob = new ExistingClient(generation, 'bob', tokenOf('bob', 'USER'))
    bob.mapOf('todos')
    bob.queries.set('todos', new Map())
    await bob.connect(url)
    await until(() => bob.mapOf('todos').size === 12, 'the walk of the trie')
    await bob.took('QUERY_RESP')
    expect(bob.valuesOf('todos')).toEqual(ada.valuesOf('todos'))
    ada.write('todos', 't13', 'new')
    ada.write('todos', 't1', null)
    await until(() => bob.mapOf('todos').get('t1')?.value === null && bob.mapOf('todos').has('t13'), 'both events')
    await until(() => bob.queries.get('todos')?.has('t1') === false, 'the query to lose the row')
    expect(bob.queries.get('todos')?.get('t13')).toBe('new')
    expect(bob.valuesOf('todos')).toEqual(ada.valuesOf('todos'))
    for (const client of [ada, bob]) client.end()
  })

  test('sends all that is unacknowledged again after a cut, and nothing happens twice', async () => {
    await using server = await startTestServer(secured as never)
    const ada = new ExistingClient(generation, 'ada', tokenOf('ada', 'USER'))
    ada.mapOf('todos')
    await ada.connect(`${server.url}/ws`)
    await ada.took('AUTH_ACK')
    for (let i = 0; i < 11; i++) ada.write('todos', `k${i % 3}`, i)
    ada.end()
    await until(() => ada.closed !== undefined, 'the cut')
    ada.write('todos', 'k0', 'while offline')
    await ada.connect(`${server.url}/ws`)
    await until(() => ada.pending.length === 0, 'acknowledgements of all')
    const values = ada.valuesOf('todos')
    const reader = new ExistingClient(generation, 'reader', tokenOf('bob', 'USER'))
    reader.mapOf('todos')
    await reader.connect(`${server.url}/ws`)
    await until(() => reader.mapOf('todos').size === 3, 'the walk of the trie')
    expect(reader.valuesOf('todos')).toEqual(values)
    expect(values).toEqual({ k0: 'while offline', k1: 10, k2: 8 })
    for (const client of [ada, reader]) client.end()
  })

  test('is told of an op that it may not make, gives that up, and keeps the rest', async () => {
    const securityPolicies = [{ role: 'USER', mapNamePattern: 'todos', actions: ['ALL'] }]
    await using server = await startTestServer({ ...secured, securityPolicies })
    const ada = new ExistingClient(generation, 'ada', tokenOf('ada', 'USER'))
    ada.write('todos', 'a', 1)
    const forbidden = ada.write('secret', 'b', 2)
    ada.write('todos', 'c', 3)
    await ada.connect(`${server.url}/ws`)
    await until(() => ada.pending.length === 0, 'answers to all')
    expect(ada.rejected).toEqual([forbidden])
    expect(ada.closed).toBeUndefined()
    ada.end()
  })

  test('takes a lock, waits for one, and gives it back by its token', async () => {
    await using server = await startTestServer(secured as never)
    const [ada, bob] = ['ada', 'bob'].map((name) => new ExistingClient(generation, name, tokenOf(name, 'USER')))
    if (ada === undefined || bob === undefined) throw new Error('No clients')
    for (const client of [ada, bob]) {
      await client.connect(`${server.url}/ws`)
      await client.took('AUTH_ACK')
    }
    const payload = { name: 'resource-A', ttl: 5_000 }
    ada.send({ type: 'LOCK_REQUEST', payload: { ...payload, requestId: 'r1' } })
    const granted = (await ada.took('LOCK_GRANTED'))['payload'] as { fencingToken: number }
    expect(granted).toMatchObject({ requestId: 'r1', name: 'resource-A' })
    expect(Number.isSafeInteger(granted.fencingToken)).toBe(true)
    bob.send({ type: 'LOCK_REQUEST', payload: { ...payload, requestId: 'r2' } })
    const { fencingToken } = granted
    bob.send({ type: 'LOCK_RELEASE', payload: { requestId: 'r3', name: 'resource-A', fencingToken } })
    expect((await bob.took('LOCK_RELEASED'))['payload']).toMatchObject({ requestId: 'r3', success: false })
    ada.send({ type: 'LOCK_RELEASE', payload: { requestId: 'r4', name: 'resource-A', fencingToken } })
    expect((await ada.took('LOCK_RELEASED'))['payload']).toEqual({ requestId: 'r4', name: 'resource-A', success: true })
    const next = (await bob.took('LOCK_GRANTED'))['payload'] as { fencingToken: number }
    expect(next.fencingToken).toBeGreaterThan(fencingToken)
    for (const client of [ada, bob]) client.end()
  })

  test('with a bad token it is told and closed with 4001', async () => {
    await using server = await startTestServer(secured as never)
    const eve = new ExistingClient(generation, 'eve', 'no.token.atall')
    await eve.connect(`${server.url}/ws`)
    await until(() => eve.closed !== undefined, 'the close')
    expect(eve.closed).toBe(4001)
    expect(await eve.took('AUTH_FAIL')).toMatchObject({ code: 401 })
  })
})

describe('the newer generation without a token', () => {
  test('says DEVICE_HELLO, which is no message here, and works all the same where no token is asked for', async () => {
    await using server = await startTestServer()
    const ada = new ExistingClient(NEWER, 'ada')
    ada.mapOf('todos')
    await ada.connect(server.url)
    expect(await ada.took('ERROR')).toMatchObject({ payload: { code: 400, errorCode: 'UNKNOWN_OPERATION' } })
    ada.write('todos', 'k', 1)
    ada.proceed()
    await until(() => ada.pending.length === 0, 'the acknowledgement')
    expect(ada.closed).toBeUndefined()
    ada.end()
  })

  test('says it before AUTH too, is asked for a token, and is not cut', async () => {
    await using server = await startTestServer(secured as never)
    const ada = new ExistingClient(NEWER, 'ada')
    await ada.connect(`${server.url}/ws`)
    await ada.took('AUTH_REQUIRED')
    await ada.took('ERROR')
    ada.send({ type: 'AUTH', token: tokenOf('ada', 'USER') })
    await ada.took('AUTH_ACK')
    expect(ada.closed).toBeUndefined()
    ada.end()
  })
})

/** What existing clients may send that Syncline does not serve, as they send it. */
const NOT_SERVED: readonly (Readonly<Record<string, unknown>> & { readonly type: string })[] = [
  { type: 'ENTRY_PROCESS', requestId: 'r', mapName: 'm', key: 'k', processor: { name: 'p', code: 'return 1' } },
  {
    type: 'ENTRY_PROCESS_BATCH',
    requestId: 'r',
    mapName: 'm',
    keys: ['k'],
    processor: { name: 'p', code: 'return 1' },
  },
  { type: 'REGISTER_RESOLVER', requestId: 'r', mapName: 'm', resolver: { name: 'x', code: 'return 1', priority: 1 } },
  { type: 'UNREGISTER_RESOLVER', requestId: 'r', mapName: 'm', resolverName: 'x' },
  { type: 'LIST_RESOLVERS', requestId: 'r' },
  { type: 'HYBRID_QUERY_SUBSCRIBE', payload: { subscriptionId: 's', mapName: 'm', predicate: { op: 'eq' } } },
  { type: 'HYBRID_QUERY_UNSUBSCRIBE', payload: { subscriptionId: 's' } },
  { type: 'HYBRID_SEARCH', payload: { requestId: 'r', mapName: 'm', query: 'x', methods: ['fullText'], k: 5 } },
  { type: 'HYBRID_SEARCH_SUB', payload: { subscriptionId: 's', mapName: 'm', query: 'x' } },
  { type: 'HYBRID_SEARCH_UNSUB', payload: { subscriptionId: 's' } },
  { type: 'VECTOR_SEARCH', payload: { requestId: 'r', mapName: 'm', vector: [0.5, 1], k: 5 } },
  { type: 'SQL_QUERY', payload: { requestId: 'r', sql: 'SELECT 1' } },
  { type: 'DEVICE_HELLO', deviceToken: 'd' },
  { type: 'QUERY_SYNC_INIT', payload: { queryId: 'q', rootHash: 4_294_967_295 } },
  { type: 'CLIENT_APPLY_ACK', cursor: 17 },
]

describe.each(['json', 'msgpack'] as const)('what is not served, in %s', (encoding) => {
  test.each(NOT_SERVED)(
    '[FR14] $type is refused UNKNOWN_OPERATION before and after AUTH, and the connection survives',
    async (message) => {
      await using server = await startTestServer(secured as never)
      const client = await server.connect({ encoding })
      const send = (): void => client.sendRaw(encoding === 'json' ? JSON.stringify(message) : pack(message))
      for (const token of [undefined, tokenOf('ada', 'USER')]) {
        if (token !== undefined) client.send({ type: 'AUTH', token })
        if (token !== undefined) await client.take('AUTH_ACK')
        send()
        const error = await client.take('ERROR')
        expect(error.payload).toMatchObject({ code: 400, errorCode: 'UNKNOWN_OPERATION', about: message.type })
        // As existing clients write it, in the payload of some types.
        const { requestId, payload } = message as { requestId?: string; payload?: { requestId?: string } }
        expect(error.requestId).toBe(requestId ?? payload?.requestId)
      }
      await client.settle()
      expect(client.closed).toBeUndefined()
    },
  )
})
