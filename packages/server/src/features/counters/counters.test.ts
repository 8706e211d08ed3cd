import type { ClientMessage, CounterState, Encoding, FullCounterState } from '@syncline/protocol'
import { LIMITS } from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import type { PermissionPolicy } from '../../inbound/authorize.ts'
import { SECRET, clientOp, count, opBatch, tokenOf, until } from '../../testing/harness.ts'
import { Replica } from '../../testing/replica.ts'
import { startTestServer, type TestClient } from '../../testing/test-server.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']
const request = (name: string): ClientMessage => ({ type: 'COUNTER_REQUEST', payload: { name } })
const sync = (name: string, state: CounterState): ClientMessage => ({ type: 'COUNTER_SYNC', payload: { name, state } })

/** A counter as an existing client keeps it: of each count the greatest that it was ever sent. */
class Copy {
  readonly p: Record<string, number> = {}
  readonly n: Record<string, number> = {}

  merge({ p, n, positive, negative }: FullCounterState): void {
    if (JSON.stringify([positive, negative]) !== JSON.stringify([p, n])) throw new Error('The shapes differ.')
    for (const [own, sent] of [
      [this.p, p],
      [this.n, n],
    ] as const)
      for (const [node, value] of Object.entries(sent)) own[node] = Math.max(own[node] ?? 0, value)
  }

  get value(): number {
    const sum = (counts: Record<string, number>): number => Object.values(counts).reduce((a, b) => a + b, 0)
    return sum(this.p) - sum(this.n)
  }
}

/** Follows a counter as an existing client does. */
async function copyOf(client: TestClient, name: string): Promise<Copy> {
  const copy = new Copy()
  const before = client.onMessage
  client.onMessage = (message, frame) => {
    before?.(message, frame)
    if (message.type !== 'COUNTER_RESPONSE' && message.type !== 'COUNTER_UPDATE') return
    if (message.payload.name === name) copy.merge(message.payload.state)
  }
  client.send(request(name))
  await client.take('COUNTER_RESPONSE', ({ payload }) => payload.name === name && payload.more !== true)
  return copy
}

describe.each(encodings)('counters in %s', (encoding) => {
  test('[CN4] [CN5] [CN6] either shape is taken and both are sent, to the sender and to everyone who follows', async () => {
    await using server = await startTestServer()
    const [a, b] = [await server.connect({ encoding }), await server.connect({ encoding })]
    const [copyA, copyB] = [await copyOf(a, 'votes'), await copyOf(b, 'votes')]
    a.send({ ...sync('votes', { positive: { a: 5 }, negative: { a: 2 } }), requestId: 'r' })
    expect(await a.take('COUNTER_UPDATE')).toEqual({
      type: 'COUNTER_UPDATE',
      payload: { name: 'votes', state: { p: { a: 5 }, n: { a: 2 }, positive: { a: 5 }, negative: { a: 2 } } },
      requestId: 'r',
    })
    await b.take('COUNTER_UPDATE')
    b.send(sync('votes', { p: { a: 4, b: 1 }, n: {} }))
    const { payload } = await b.take('COUNTER_UPDATE')
    expect(payload.state.p).toEqual({ a: 5, b: 1 })
    await a.take('COUNTER_UPDATE', ({ payload: { state } }) => state.p['b'] === 1)
    expect([copyA.value, copyB.value]).toEqual([4, 4])
    await a.settle()
    expect(a.inbox.filter(({ type }) => type.startsWith('COUNTER_'))).toEqual([])
  })

  test('INV-7 [CN2]: what is replayed counts once, whatever its order, and tells nobody anything', async () => {
    await using server = await startTestServer()
    const [a, b] = [await server.connect({ encoding }), await server.connect({ encoding })]
    const copy = await copyOf(b, 'votes')
    const states = [1, 2, 3, 4].map((p) => sync('votes', { p: { a: p }, n: {} }))
    for (const state of [...states, ...states.toReversed(), ...states]) a.send(state)
    for (let i = 0; i < 12; i++) await a.take('COUNTER_UPDATE')
    expect((await copyOf(a, 'votes')).value).toBe(4)
    await until(() => copy.value === 4, 'the updates')
    await b.settle()
    expect(b.inbox.filter(({ type }) => type === 'COUNTER_UPDATE').length).toBeLessThanOrEqual(4)
  })

  test('[CN1] [CN6] INV-10: who follows the map by cursor and who follows the counter see the same rows', async () => {
    await using server = await startTestServer()
    const [old, follower, writer] = [
      await server.connect({ encoding }),
      await server.connect({ encoding }),
      await server.connect({ encoding }),
    ]
    const copy = await copyOf(old, 'votes')
    const replica = new Replica('counter:votes')
    replica.attach(follower)
    await until(() => replica.isLive, 'the closing page')
    writer.send(opBatch([count('votes', 'w', 3), count('votes', 'w', 3, 1), count('votes', 'v', 2)]))
    old.send(sync('votes', { p: { o: 7 }, n: {} }))
    const rows = { w: { p: 3, n: 1 }, v: { p: 2, n: 0 }, o: { p: 7, n: 0 } }
    await until(() => copy.value === 11 && Object.keys(replica.content()).length === 3, 'both')
    expect(replica.content()).toEqual(rows)
    expect([copy.p, copy.n]).toEqual([{ w: 3, v: 2, o: 7 }, { w: 1 }])
    expect(replica.breaches).toEqual([])
  })

  test('[CN4] a long state comes in parts, and what changes meanwhile is not missed', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    const nodes = Array.from({ length: 3 * LIMITS.pageRecords }, (_, i) => count('votes', `node-${i}`, 1))
    for (let from = 0; from < nodes.length; from += LIMITS.batchOps)
      client.send(opBatch(nodes.slice(from, from + LIMITS.batchOps)))
    await client.settle()
    const reader = await server.connect({ encoding })
    const following = copyOf(reader, 'votes')
    client.send(clientOp(count('votes', 'node-0', 5)))
    const copy = await following
    await until(() => copy.value === nodes.length + 4, 'all rows')
    expect(reader.inbox.filter(({ type }) => type === 'COUNTER_RESPONSE').length).toBeGreaterThan(1)
  })

  test('[CN5] [CN7] rows that cannot be merged are refused by one error that counts them, and the others are merged', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    const max = Number.MAX_SAFE_INTEGER
    client.send(sync('votes', { p: { a: max - 1 }, n: {} }))
    await client.take('COUNTER_UPDATE')
    client.send({ ...sync('votes', { p: { a: max - 1, b: 9, c: 8, d: 1 }, n: { b: 1 } }), requestId: 'r' })
    expect(await client.take('ERROR')).toMatchObject({
      payload: { errorCode: 'TOO_LARGE', about: 'COUNTER_SYNC', details: { limit: 'counterTotal', max, refused: 2 } },
      requestId: 'r',
    })
    expect((await client.take('COUNTER_UPDATE')).payload.state.p).toEqual({ a: max - 1, d: 1 })
    const bad: readonly (readonly [string, unknown])[] = [
      ['VALIDATION_ERROR', { p: { a: -1 }, n: {} }],
      ['VALIDATION_ERROR', { p: { a: 0.5 }, n: {} }],
      ['VALIDATION_ERROR', { increments: {} }],
      ['TOO_LARGE', { p: Object.fromEntries(nodes(LIMITS.counterRows + 1)), n: {} }],
    ]
    for (const [errorCode, state] of bad) {
      client.send(sync('votes', state as CounterState))
      expect((await client.take('ERROR')).payload).toMatchObject({ errorCode, about: 'COUNTER_SYNC' })
    }
  })
})

function nodes(length: number): [string, number][] {
  return Array.from({ length }, (_, i) => [`n${i}`, 1])
}

const policies: PermissionPolicy[] = [
  { role: 'USER', mapNamePattern: 'counter:*', actions: ['READ', 'PUT'] },
  { role: 'READER', mapNamePattern: 'counter:open', actions: ['READ'] },
  { role: 'WRITER', mapNamePattern: 'counter:*', actions: ['PUT'] },
  { role: 'HALF', mapNamePattern: '*', actions: ['ALL'], allowedFields: ['p'] },
  { role: 'BOTH', mapNamePattern: '*', actions: ['READ'], allowedFields: ['p', 'n'] },
]

describe('rights', () => {
  test('[CN3] INV-21: others may not raise a node, and a state that raises several gives none away', async () => {
    await using server = await startTestServer({ jwtSecret: SECRET, securityPolicies: policies })
    const [ada, ben] = [
      await server.connect({ token: tokenOf('ada', 'USER') }),
      await server.connect({ token: tokenOf('ben', 'USER') }),
    ]
    ada.send(sync('votes', { p: { phone: 3 }, n: {} }))
    await ada.take('COUNTER_UPDATE')
    ben.send(sync('votes', { p: { phone: 4, laptop: 1 }, n: {} }))
    expect((await ben.take('ERROR')).payload).toMatchObject({
      errorCode: 'FORBIDDEN',
      details: { nodeId: 'phone', refused: 1 },
    })
    expect((await ben.take('COUNTER_UPDATE')).payload.state.p).toEqual({ phone: 3, laptop: 1 })
    // After a crash, what others counted comes with whoever knew it: it stays theirs.
    ben.send(sync('likes', { p: { tablet: 5, laptop: 2 }, n: {} }))
    await ben.take('COUNTER_UPDATE')
    ada.send(sync('likes', { p: { tablet: 6 }, n: {} }))
    expect((await ada.take('COUNTER_UPDATE')).payload.state.p).toEqual({ tablet: 6 })
    ben.send(sync('likes', { p: { tablet: 7 }, n: {} }))
    expect((await ben.take('ERROR')).payload).toMatchObject({ errorCode: 'FORBIDDEN', details: { nodeId: 'tablet' } })
  })

  test('INV-21 [CN6]: READ to follow, PUT to count; who may not read is sent no row but its own', async () => {
    await using server = await startTestServer({ jwtSecret: SECRET, securityPolicies: policies })
    const user = await server.connect({ token: tokenOf('ada', 'USER') })
    user.send(sync('votes', { p: { CANARY: 77 }, n: {} }))
    await user.take('COUNTER_UPDATE')
    const frames: string[] = []
    const as = async (role: string): Promise<TestClient> => {
      const client = await server.connect({ token: tokenOf(role, role) })
      client.onMessage = (_, frame) => frames.push(String(frame))
      return client
    }
    for (const role of ['READER', 'WRITER', 'HALF', 'NOBODY']) {
      const client = await as(role)
      client.send(request('votes'))
      expect((await client.take('ERROR')).payload).toMatchObject({ errorCode: 'FORBIDDEN', about: 'COUNTER_REQUEST' })
    }
    for (const role of ['READER', 'HALF', 'NOBODY', 'BOTH']) {
      const client = await as(role)
      client.send(sync('votes', { p: { [role]: 1 }, n: {} }))
      expect((await client.take('ERROR')).payload).toMatchObject({ errorCode: 'FORBIDDEN', about: 'COUNTER_SYNC' })
    }
    const writer = await as('WRITER')
    // To name a node shows nothing of it.
    writer.send(sync('votes', { p: { own: 2, CANARY: 1 }, n: {} }))
    expect((await writer.take('COUNTER_UPDATE')).payload.state.p).toEqual({ own: 2 })
    user.send(sync('votes', { p: { CANARY: 78 }, n: {} }))
    await user.take('COUNTER_UPDATE')
    await writer.settle()
    expect(frames.filter((frame) => frame.includes('CANARY'))).toEqual([])
    const both = await server.connect({ token: tokenOf('x', 'BOTH') })
    expect((await copyOf(both, 'votes')).value).toBe(80)
  })

  test('INV-21: who signs in as another is sent nothing of counters that this one may not read', async () => {
    await using server = await startTestServer({ jwtSecret: SECRET, securityPolicies: policies })
    const user = await server.connect({ token: tokenOf('ada', 'USER') })
    const client = await server.connect({ token: tokenOf('ben', 'USER') })
    for (const name of ['votes', 'open']) await copyOf(client, name)
    client.send({ type: 'AUTH', token: tokenOf('eve', 'READER') })
    expect((await client.take('ERROR')).payload).toMatchObject({ errorCode: 'FORBIDDEN', about: 'COUNTER_REQUEST' })
    client.inbox.length = 0
    for (const name of ['votes', 'open']) user.send(sync(name, { p: { a: 1 }, n: {} }))
    expect((await client.take('COUNTER_UPDATE')).payload.name).toBe('open')
    await client.settle()
    expect(client.inbox.filter(({ type }) => type === 'COUNTER_UPDATE')).toEqual([])
  })
})

describe('bounds', () => {
  test('INV-22: a connection follows so many counters and no more, and the refusal is counted', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    for (let i = 0; i < LIMITS.countersPerConnection; i++) client.send(request(`c${i}`))
    await client.settle()
    client.send(request('one-more'))
    expect((await client.take('ERROR')).payload).toMatchObject({
      errorCode: 'LIMIT_EXCEEDED',
      details: { limit: 'countersPerConnection', max: LIMITS.countersPerConnection },
    })
    client.send(request('c0'))
    await client.take('COUNTER_RESPONSE', ({ payload }) => payload.name === 'c0')
    const metric = (name: string): readonly object[] =>
      server.server.metrics().find((each) => each.name === name)?.values ?? []
    expect(metric('syncline_counters_followed')).toEqual([{ labels: {}, value: LIMITS.countersPerConnection }])
    expect(metric('syncline_limit_refusals_total')).toContainEqual({
      labels: { limit: 'countersPerConnection' },
      value: 1,
    })
    expect(server.server.inspect()['counters']).toMatchObject({ following: LIMITS.countersPerConnection, behind: 0 })
  })
})
