import { formatStamp, type Value } from '@syncline/core'
import { inverseDocumentFrequency, queryTerms, searchTerms, searchedText, termSaturation } from '@syncline/core/search'
import type {
  ClientMessage,
  Encoding,
  SearchOptions,
  SearchResp,
  SearchUpdate,
  ServerMessage,
} from '@syncline/protocol'
import { LIMITS } from '@syncline/protocol'
import { memoryStorage } from '@syncline/storage'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ServerOptions } from '../../features.ts'
import { FakeSocket } from '../../testing/fake-socket.ts'
import {
  add,
  MovableEnv,
  SECRET,
  clientOp,
  opBatch,
  patch,
  put,
  remove,
  removeItem,
  stampAt,
  tokenOf,
  until,
} from '../../testing/harness.ts'
import { startTestServer, type TestClient } from '../../testing/test-server.ts'
import { searchedMaps } from './contract.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']
const notes: ServerOptions = { search: { maps: { notes: { fields: ['title', 'body'] } } } }
const boosted: ServerOptions = { search: { maps: { notes: { fields: ['title', 'body'], boost: { title: 2 } } } } }

let lastId = 0

function searchFor(query: string, options?: SearchOptions, mapName = 'notes'): ClientMessage & { type: 'SEARCH' } {
  const payload = { requestId: `r${++lastId}`, mapName, query }
  return { type: 'SEARCH', payload: options === undefined ? payload : { ...payload, options } }
}

/** Searches and gives the whole answer. */
async function found(client: TestClient, query: string, options?: SearchOptions, mapName?: string) {
  const message = searchFor(query, options, mapName)
  client.send(message)
  const results: SearchResp['payload']['results'][number][] = []
  for (;;) {
    const { payload } = await client.take('SEARCH_RESP', (each) => each.payload.requestId === message.payload.requestId)
    results.push(...payload.results)
    if (payload.more !== true) return { ...payload, results }
  }
}

async function write(client: TestClient, ...ops: Parameters<typeof opBatch>[0]): Promise<number> {
  client.send(opBatch(ops))
  const { payload } = await client.take('OP_ACK')
  for (const result of payload.results) expect(result).toMatchObject({ success: true })
  return Math.max(...payload.results.map(({ seq }) => seq ?? 0))
}

const scores = ({ results }: { readonly results: SearchResp['payload']['results'] }): Record<string, number> =>
  Object.fromEntries(results.map(({ key, score }) => [key, score]))

const machines = [
  put('notes', 'd1', { title: 'Machine learning basics', body: 'learning machines learn' }),
  put('notes', 'd2', { title: 'Deep learning', body: 'neural networks' }),
  put('notes', 'd3', { title: 'Cooking', body: 'pasta' }),
]

describe.each(encodings)('a search in %s', (encoding) => {
  test('[FT3] scores all fields as one text, the best first, with the terms that matched', async () => {
    await using server = await startTestServer(notes)
    const client = await server.connect({ encoding })
    const seq = await write(
      client,
      put('notes', 'a1', { title: 'Quick foxes', body: 'jumping over dogs' }),
      put('notes', 'a2', { title: 'Slow dogs', body: 'dogs sleeping dogs' }),
    )
    const answer = await found(client, 'dog')
    expect(answer.results.map(({ key }) => key)).toEqual(['a2', 'a1'])
    expect(answer.results[0]?.score).toBeCloseTo(0.2798423894976978, 12)
    expect(answer.results[1]?.score).toBeCloseTo(0.19100353568890485, 12)
    expect(answer).toMatchObject({ totalCount: 2, version: seq })
    expect((await found(client, 'Slow FOXES and the dogs')).results.map(({ matchedTerms }) => matchedTerms)).toEqual([
      ['slow', 'dog'],
      ['fox', 'dog'],
    ])
  })

  test('[FT2] scores each field by itself where there is a boost, of the search or of the map, or fields are named', async () => {
    await using server = await startTestServer(notes)
    const client = await server.connect({ encoding })
    await write(client, ...machines)
    const whole = scores(await found(client, 'learning machine'))
    expect(whole['d1']).toBeCloseTo(1.8494714358609334, 12)
    expect(whole['d2']).toBeCloseTo(0.4700036292457356, 12)
    const byBoost = scores(await found(client, 'learning', { boost: { title: 2 } }))
    expect(byBoost['d1']).toBeCloseTo(1.9627528948879034, 12)
    expect(byBoost['d2']).toBeCloseTo(0.9400072584914712, 12)
    await using other = await startTestServer(boosted)
    const reader = await other.connect({ encoding })
    await write(reader, ...machines)
    expect(scores(await found(reader, 'learning'))).toEqual(byBoost)
    const inTitle = scores(await found(reader, 'learning', { fields: ['title'] }))
    expect(inTitle['d2']).toBeCloseTo(0.9400072584914712, 12)
    expect(inTitle['d1']).toBeLessThan(byBoost['d1'] as number)
    expect(scores(await found(client, 'learning', { fields: ['body'] }))).toHaveProperty('d1')
    expect(Object.keys(scores(await found(client, 'learning', { fields: ['body'] })))).toEqual(['d1'])
  })
})

describe('a search', () => {
  test('[FT2] limit, minScore, where and prefix choose rows and leave their scores alone; totalCount counts what matches', async () => {
    await using server = await startTestServer(notes)
    const client = await server.connect()
    const words = ['milk', 'milk milk', 'milk and bread', 'milkshake', 'bread']
    await write(client, ...words.map((body, i) => put('notes', `k${i}`, { body, n: i })))
    const all = await found(client, 'milk')
    expect(all.results.map(({ key }) => key)).toEqual(['k1', 'k0', 'k2'])
    const [first, second, third] = all.results.map(({ score }) => score)
    expect(await found(client, 'milk', { limit: 2 })).toMatchObject({ results: all.results.slice(0, 2), totalCount: 3 })
    expect(await found(client, 'milk', { limit: 0 })).toEqual({ ...all, requestId: expect.anything() as string })
    const above = await found(client, 'milk', { minScore: second as number })
    expect(above).toMatchObject({ results: all.results.slice(0, 2), totalCount: 2 })
    expect(first).toBeGreaterThan(third as number)
    const where = await found(client, 'milk', { where: { n: { $gte: 1 } } })
    expect(where.results).toEqual(all.results.filter(({ key }) => key !== 'k0'))
    const begun = await found(client, 'bread mil', { prefix: true })
    expect(begun.results.map(({ key, matchedTerms }) => [key, matchedTerms])).toEqual([
      ['k4', ['bread']],
      ['k2', ['bread', 'mil']],
      ['k1', ['mil']],
      ['k0', ['mil']],
      ['k3', ['mil']],
    ])
    for (const nothing of ['', 'the', '!', 'absent', 'm'])
      expect(await found(client, nothing)).toMatchObject({ results: [], totalCount: 0 })
  })

  test('[FT3] gives the best 1,000 and no more, in pages, and equal scores by key', async () => {
    await using server = await startTestServer(notes)
    const client = await server.connect()
    const ops = Array.from({ length: 1_100 }, (_, i) => put('notes', `k${i}`, { body: 'milk' }))
    await write(client, ...ops.slice(0, 600))
    await write(client, ...ops.slice(600))
    for (const options of [{}, { limit: 5_000 }, { limit: 0 }]) {
      const { results, totalCount } = await found(client, 'milk', options)
      expect(totalCount).toBe(1_100)
      const keys = ops.map(({ key }) => key).sort()
      expect(results.map(({ key }) => key)).toEqual(keys.slice(0, LIMITS.searchLimit))
    }
  })

  test('INV-4: finds what was written before it on the same connection, removals and field writes too', async () => {
    await using server = await startTestServer(notes)
    const client = await server.connect({ encoding: 'msgpack' })
    const keysNow = async (query: string): Promise<string[]> =>
      (await found(client, query)).results.map(({ key }) => key)
    expect(await keysNow('milk')).toEqual([])
    for (let i = 0; i < 20; i++) {
      client.send(clientOp(put('notes', 'a', { title: `milk${i}` })))
      expect(await keysNow(`milk${i}`)).toEqual(['a'])
      client.send(clientOp(patch('notes', 'a', { title: 'bread' })))
      expect(await keysNow(`milk${i}`)).toEqual([])
      expect(await keysNow('bread')).toEqual(['a'])
      client.send(clientOp(remove('notes', 'a')))
      expect(await keysNow('bread')).toEqual([])
    }
  })

  test('[FT4] a map that is not searched, one that may not be read, unknown fields and too many terms are refused by their codes', async () => {
    await using server = await startTestServer({
      ...notes,
      jwtSecret: SECRET,
      securityPolicies: [{ role: 'USER', mapNamePattern: 'open*', actions: ['ALL'] }],
    })
    const client = await server.connect({ token: tokenOf('ada', 'USER') })
    const admin = await server.connect({ token: tokenOf('root', 'ADMIN') })
    const codeOf = async (who: TestClient, query: string, options?: SearchOptions, mapName?: string) => {
      const answer = await found(who, query, options, mapName)
      expect(answer).toMatchObject({ results: [], totalCount: 0 })
      expect(answer.error).toMatch(/\.$/)
      who.send({
        type: 'SEARCH_SUB',
        payload: {
          subscriptionId: 's',
          mapName: mapName ?? 'notes',
          query,
          ...(options === undefined ? {} : { options }),
        },
      })
      const { payload } = await who.take('SEARCH_RESP', (each) => each.payload.requestId === 's')
      expect(payload.errorCode).toBe(answer.errorCode)
      return answer.errorCode
    }
    expect(await codeOf(client, 'milk')).toBe('FORBIDDEN')
    expect(await codeOf(client, 'milk', {}, 'open')).toBe('NOT_ENABLED')
    expect(await codeOf(admin, 'milk', {}, 'toString')).toBe('NOT_ENABLED')
    expect(await codeOf(admin, 'milk', { fields: ['secret'] })).toBe('BAD_QUERY')
    expect(await codeOf(admin, 'milk', { boost: { title: 1, secret: 2 } })).toBe('BAD_QUERY')
    expect(await codeOf(admin, 'milk', { where: { a: { $near: 1 } } })).toBe('BAD_QUERY')
    const words = Array.from({ length: LIMITS.searchTerms + 1 }, (_, i) => `word${i}`)
    expect(await codeOf(admin, words.join(' '))).toBe('BAD_QUERY')
    expect(await found(admin, words.slice(1).join(' '))).toMatchObject({ totalCount: 0 })
    const refusals = server.server.metrics().find(({ name }) => name === 'syncline_limit_refusals_total')
    expect(refusals?.values).toContainEqual({ labels: { limit: 'searchTerms' }, value: 2 })
    expect(server.server.inspect()['search']).toMatchObject({ searches: 0, subscriptions: 0 })
  })

  test('INV-21: fields and maps that may not be read neither match, nor count, nor touch a score', async () => {
    const policies = [
      { role: 'TITLES', mapNamePattern: 'notes', actions: ['READ' as const], allowedFields: ['title', 'n'] },
      { role: 'NUMBERS', mapNamePattern: 'notes', actions: ['READ' as const], allowedFields: ['n'] },
      { role: 'USER', mapNamePattern: 'notes', actions: ['ALL' as const] },
    ]
    const answers: unknown[] = []
    for (const secret of ['', 'canary canary bird milk milk milk and a long text that nobody may weigh']) {
      await using server = await startTestServer({ ...notes, jwtSecret: SECRET, securityPolicies: policies })
      const writer = await server.connect({ token: tokenOf('ada', 'USER') })
      const reader = await server.connect({ token: tokenOf('bob', 'TITLES') })
      const blind = await server.connect({ token: tokenOf('eve', 'NUMBERS') })
      await write(
        writer,
        put('notes', 'a', { title: 'milk', body: secret, n: 1 }),
        put('notes', 'b', { title: 'milk and bread', body: secret, n: 2 }),
        put('notes', 'c', { title: 'bread', body: '', n: 3 }),
        put('notes', 'd', `canary milk ${secret}`),
      )
      reader.send({ type: 'SEARCH_SUB', payload: { subscriptionId: 's', mapName: 'notes', query: 'milk canary' } })
      const first = await reader.take('SEARCH_RESP')
      await write(writer, patch('notes', 'c', { body: `milk ${secret}` }), patch('notes', 'a', { body: `x ${secret}` }))
      await write(writer, patch('notes', 'c', { title: 'milk' }))
      const update = await reader.take('SEARCH_UPDATE', ({ payload }) => payload.key === 'c')
      expect(update.payload).toMatchObject({ key: 'c', value: { title: 'milk', n: 3 } })
      answers.push([
        first.payload.results,
        [update, ...reader.inbox.filter(({ type }) => type === 'SEARCH_UPDATE')].map((each) => ({
          ...(each as { payload: object }).payload,
          version: 0,
        })),
        (await found(reader, 'milk bread canary')).results,
        (await found(reader, 'milk', { where: { body: { $exists: true } } })).results,
        (await found(reader, 'milk', { boost: { title: 2 } })).results,
        (await found(reader, 'milk', { fields: ['body'] })).errorCode,
        (await found(blind, 'milk')).results,
      ])
      expect(JSON.stringify([answers, reader.inbox, blind.inbox])).not.toMatch(/canary(?!")|bird|body/)
    }
    expect(answers[1]).toEqual(answers[0])
    expect(answers[0]).toMatchObject([
      [{ key: 'a' }, { key: 'b' }],
      expect.any(Array),
      expect.any(Array),
      [],
      expect.any(Array),
      'BAD_QUERY',
      [],
    ])
  })

  test('INV-21: readers who may see the same searched fields, and different others, see each their own', async () => {
    await using server = await startTestServer({
      search: { maps: { notes: { fields: ['title'] } } },
      jwtSecret: SECRET,
      securityPolicies: [
        { role: 'USER', mapNamePattern: 'notes', actions: ['ALL'] },
        { role: 'TITLES', mapNamePattern: 'notes', actions: ['READ'], allowedFields: ['title'] },
      ],
    })
    const writer = await server.connect({ token: tokenOf('ada', 'USER') })
    const reader = await server.connect({ token: tokenOf('bob', 'TITLES') })
    const sub: ClientMessage = { type: 'SEARCH_SUB', payload: { subscriptionId: 's', mapName: 'notes', query: 'milk' } }
    for (const client of [writer, reader]) {
      client.send(sub)
      await client.take('SEARCH_RESP')
    }
    await write(writer, put('notes', 'a', { title: 'milk', secret: 'canary' }))
    const whole = { title: 'milk', secret: 'canary' }
    expect((await writer.take('SEARCH_UPDATE')).payload.value).toEqual(whole)
    expect((await reader.take('SEARCH_UPDATE')).payload.value).toEqual({ title: 'milk' })
    expect((await found(writer, 'milk')).results).toMatchObject([{ value: whole }])
    expect((await found(reader, 'milk')).results.map(({ value }) => value)).toEqual([{ title: 'milk' }])
    expect(await found(reader, 'milk', { where: { secret: 'canary' } })).toMatchObject({ totalCount: 0 })
  })

  test('records whose time to live has passed are found no more, and leave live results', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ ...notes, env })
    const client = await server.connect()
    await write(
      client,
      put('notes', 'a', { title: 'milk' }, { stamp: { millis: env.now(), counter: 0, nodeId: 't' }, ttlMs: 50_000 }),
    )
    await write(client, put('notes', 'b', { title: 'milk' }))
    client.send({ type: 'SEARCH_SUB', payload: { subscriptionId: 's', mapName: 'notes', query: 'milk' } })
    expect((await client.take('SEARCH_RESP')).payload).toMatchObject({ totalCount: 2 })
    env.advance(51_000)
    expect((await found(client, 'milk')).results).toMatchObject([{ key: 'b' }])
    expect((await client.take('SEARCH_UPDATE', ({ payload }) => payload.changeType === 'LEAVE')).payload).toMatchObject(
      { key: 'a', value: null, score: 0, matchedTerms: [] },
    )
    await write(
      client,
      put('notes', 'c', { title: 'milk' }, { stamp: { millis: env.now(), counter: 0, nodeId: 't' }, ttlMs: 10_000 }),
    )
    await client.take('SEARCH_UPDATE', ({ payload }) => payload.key === 'c' && payload.changeType === 'ENTER')
    env.advance(9_000)
    env.advance(2_000)
    await client.take('SEARCH_UPDATE', ({ payload }) => payload.key === 'c' && payload.changeType === 'LEAVE')
  })

  test('[FT3] a key of an OR-map is found by any of its values, and shows the list of them', async () => {
    await using server = await startTestServer(notes)
    const client = await server.connect()
    client.send({ type: 'SEARCH_SUB', payload: { subscriptionId: 's', mapName: 'notes', query: 'milk' } })
    await client.take('SEARCH_RESP')
    const stamp = stampAt()
    await write(
      client,
      add('notes', 'a', { title: 'bread' }),
      add('notes', 'a', { title: 'milk' }, { stamp }),
      add('notes', 'b', 'milk'),
    )
    const value = [{ title: 'milk' }, { title: 'bread' }]
    expect((await client.take('SEARCH_UPDATE')).payload).toMatchObject({ key: 'a', value, changeType: 'ENTER' })
    expect((await found(client, 'bread milk')).results).toMatchObject([{ key: 'a', value }])
    await write(client, removeItem('notes', 'a', formatStamp(stamp)))
    expect((await client.take('SEARCH_UPDATE')).payload).toMatchObject({ key: 'a', changeType: 'LEAVE' })
    expect((await found(client, 'bread')).results).toMatchObject([{ key: 'a', value: [{ title: 'bread' }] }])
  })

  test('an index is made from what is stored when it is first asked for after a restart', async () => {
    const storage = memoryStorage()
    {
      await using server = await startTestServer({ ...notes, storage })
      const client = await server.connect()
      await write(client, ...machines)
      expect(Object.keys(scores(await found(client, 'learning')))).toEqual(['d1', 'd2'])
    }
    await using server = await startTestServer({ ...notes, storage })
    expect(server.server.inspect()['search']).toMatchObject({ indexes: 0 })
    const client = await server.connect()
    const answer = scores(await found(client, 'learning machine'))
    expect(answer['d1']).toBeCloseTo(1.8494714358609334, 12)
    expect(server.server.inspect()['search']).toMatchObject({ indexes: 1, indexedRecords: 3 })
  })

  test('while a large map is indexed others are served, and so is the session that asked', async () => {
    await using server = await startTestServer({ search: { maps: { big: { fields: ['body'] } } } })
    const writer = await server.connect({ encoding: 'msgpack' })
    const text = (i: number): string =>
      Array.from({ length: 40 }, (_, j) => `w${(i * 7919 + j * 104_729) % 5_000}`).join(' ')
    for (let i = 0; i < 8_000; i += 1_000) {
      await write(writer, ...Array.from({ length: 1_000 }, (_, j) => put('big', `k${i + j}`, { body: text(i + j) })))
    }
    writer.send(searchFor('w17', {}, 'big'))
    let pongs = 0
    while (!writer.inbox.some(({ type }) => type === 'SEARCH_RESP')) {
      await writer.settle()
      if (++pongs > 100_000) throw new Error('The search was never answered')
    }
    expect(pongs).toBeGreaterThan(5)
    const { payload } = await writer.take('SEARCH_RESP')
    expect(payload.totalCount).toBeGreaterThan(0)
  })
})

test('[CO2] the maps of a contract are searched in the fields that it lists', async () => {
  const schema = { '~standard': { version: 1 as const, vendor: 'test', validate: (value: unknown) => ({ value }) } }
  const contract = {
    maps: { notes: { kind: 'map' as const, schema, search: ['title'] }, others: { kind: 'map' as const, schema } },
  }
  expect(searchedMaps(contract)).toEqual({ notes: { fields: ['title'] } })
  expect(searchedMaps({})).toEqual({})
  await using server = await startTestServer({ search: { maps: searchedMaps(contract) } })
  const client = await server.connect()
  await write(client, put('notes', 'a', { title: 'milk', body: 'bread' }))
  expect(await found(client, 'milk bread')).toMatchObject({ results: [{ key: 'a', matchedTerms: ['milk'] }] })
  expect(await found(client, 'milk', {}, 'others')).toMatchObject({ errorCode: 'NOT_ENABLED' })
})

test('options that cannot be used are told by their path', async () => {
  for (const maps of [
    { notes: { fields: [] } },
    { notes: { fields: ['a'], boost: { b: 2 } } },
    { notes: { fields: ['a'], boost: { a: 0 } } },
    { notes: { fields: ['a'], stemmer: 'x' } },
  ]) {
    await expect(startTestServer({ search: { maps } })).rejects.toThrow('search.maps.notes')
  }
})

describe('a live search', () => {
  const subscribe = (query: string, options?: SearchOptions, id = 's'): ClientMessage => ({
    type: 'SEARCH_SUB',
    payload: { subscriptionId: id, mapName: 'notes', query, ...(options === undefined ? {} : { options }) },
  })

  test('[FT1] [FT5] rows enter, change and leave; SEARCH_UNSUB ends it, and a new one under its id takes it over', async () => {
    await using server = await startTestServer(notes)
    const client = await server.connect()
    const next = async (): Promise<SearchUpdate['payload']> => (await client.take('SEARCH_UPDATE')).payload
    client.send(subscribe('milk'))
    expect((await client.take('SEARCH_RESP')).payload).toMatchObject({ requestId: 's', results: [], totalCount: 0 })
    const seq = await write(client, put('notes', 'a', { title: 'milk' }))
    expect(await next()).toMatchObject({
      subscriptionId: 's',
      key: 'a',
      value: { title: 'milk' },
      changeType: 'ENTER',
      matchedTerms: ['milk'],
      totalCount: 1,
      version: seq,
    })
    await write(client, put('notes', 'a', { title: 'milk milk', n: 1 }))
    expect(await next()).toMatchObject({ key: 'a', value: { n: 1 }, changeType: 'UPDATE' })
    await write(client, patch('notes', 'a', { n: 2 }))
    expect(await next()).toMatchObject({ key: 'a', value: { n: 2 }, changeType: 'UPDATE' })
    await write(client, remove('notes', 'a'))
    expect(await next()).toMatchObject({ key: 'a', value: null, changeType: 'LEAVE', totalCount: 0 })
    client.send(subscribe('bread'))
    await client.take('SEARCH_RESP')
    await write(client, put('notes', 'b', { title: 'bread' }), put('notes', 'm', { title: 'milk' }))
    expect(await next()).toMatchObject({ key: 'b', changeType: 'ENTER' })
    client.send({ type: 'SEARCH_UNSUB', payload: { subscriptionId: 's' } })
    await write(client, remove('notes', 'b'))
    await client.settle()
    expect(client.inbox.filter(({ type }) => type.startsWith('SEARCH'))).toEqual([])
    expect(server.server.inspect()['search']).toMatchObject({ searches: 0, subscriptions: 0 })
  })

  test('[FT4] it ends with the rights to it, and with its session', async () => {
    const policies = [{ role: 'USER', mapNamePattern: 'notes', actions: ['READ' as const, 'PUT' as const] }]
    await using server = await startTestServer({ ...notes, jwtSecret: SECRET, securityPolicies: policies })
    const client = await server.connect({ token: tokenOf('ada', 'USER') })
    client.send(subscribe('milk'))
    await client.take('SEARCH_RESP')
    client.send({ type: 'AUTH', token: tokenOf('ada', 'GUEST') })
    expect((await client.take('SEARCH_RESP')).payload).toMatchObject({ requestId: 's', errorCode: 'FORBIDDEN' })
    const writer = await server.connect({ token: tokenOf('bob', 'USER') })
    writer.send(subscribe('milk'))
    await writer.take('SEARCH_RESP')
    await write(writer, put('notes', 'a', { title: 'milk' }))
    await writer.take('SEARCH_UPDATE')
    await client.settle()
    expect(client.inbox.filter(({ type }) => type.startsWith('SEARCH'))).toEqual([])
    writer.end()
    await until(() => server.server.inspect()['search']?.['subscriptions'] === 0, 'the end of the search')
  })

  test('[FT4] a connection has at most 100, those under way included, and is told so', async () => {
    await using server = await startTestServer(notes)
    const client = await server.connect()
    for (let i = 0; i < LIMITS.searchesPerConnection; i++)
      client.send(subscribe('milk', { limit: 1 + (i % 3) }, `s${i}`))
    for (let i = 0; i < LIMITS.searchesPerConnection; i++) await client.take('SEARCH_RESP')
    expect(server.server.inspect()['search']).toMatchObject({ searches: 3, subscriptions: 100 })
    client.send(subscribe('bread', {}, 'more'))
    const details = { limit: 'searchesPerConnection', max: 100 }
    expect((await client.take('SEARCH_RESP')).payload).toMatchObject({ errorCode: 'LIMIT_EXCEEDED', details })
    expect(await found(client, 'bread')).toMatchObject({ errorCode: 'LIMIT_EXCEEDED' })
    client.send(subscribe('bread', {}, 's5'))
    expect((await client.take('SEARCH_RESP')).payload.errorCode).toBeUndefined()
    const metrics = server.server.metrics().find(({ name }) => name === 'syncline_limit_refusals_total')
    expect(metrics?.values).toContainEqual({ labels: { limit: 'searchesPerConnection' }, value: 2 })
  })

  test('INV-22: indexes and live results hold no more than the options allow', async () => {
    const options = {
      search: {
        maps: { notes: { fields: ['title'] }, other: { fields: ['title'] } },
        maxIndexedRecords: 5,
        maxLiveMatches: 3,
      },
    }
    await using server = await startTestServer(options)
    const client = await server.connect()
    for (const map of ['notes', 'other'])
      await write(client, ...[1, 2, 3].map((i) => put(map, `k${i}`, { title: 'milk' })))
    client.send(subscribe('milk'))
    await client.take('SEARCH_RESP')
    client.send(subscribe('bread', {}, 't'))
    const refused = (await client.take('SEARCH_RESP')).payload
    expect(refused).toMatchObject({ errorCode: 'OVERLOADED', details: { limit: 'search.maxLiveMatches', max: 3 } })
    const other = await found(client, 'milk', {}, 'other')
    expect(other).toMatchObject({ errorCode: 'OVERLOADED', details: { limit: 'search.maxIndexedRecords', max: 5 } })
    client.send({ type: 'SEARCH_UNSUB', payload: { subscriptionId: 's' } })
    expect(await found(client, 'milk', {}, 'other')).toMatchObject({ totalCount: 3 })
    expect(server.server.inspect()['search']).toMatchObject({ indexes: 1, indexedRecords: 3 })
  })

  test('INV-22: the matches of live searches are counted as they come and go', async () => {
    await using server = await startTestServer({ search: { ...notes.search, maxLiveMatches: 40 } })
    const client = await server.connect()
    const expectMatches = async (count: number): Promise<void> => {
      await client.settle()
      expect(server.server.inspect()['search']).toMatchObject({ matches: count })
    }
    const follow = async (query: string, id: string): Promise<string | undefined> => {
      client.send(subscribe(query, {}, id))
      return (await client.take('SEARCH_RESP', ({ payload }) => payload.requestId === id)).payload.errorCode
    }
    // So many that one change more or less is no reason to score them anew.
    await write(
      client,
      ...Array.from({ length: 200 }, (_, i) => put('notes', `k${i}`, { title: i < 40 ? 'milk' : 'bread' })),
    )
    expect(await follow('milk', 's')).toBeUndefined()
    await expectMatches(40)
    expect(await follow('tea', 't')).toBe('OVERLOADED')
    await write(client, put('notes', 'k0', { title: 'bread' }))
    await expectMatches(39)
    expect(await follow('tea', 't')).toBeUndefined()
    client.send({ type: 'SEARCH_UNSUB', payload: { subscriptionId: 's' } })
    await expectMatches(0)
    await write(client, put('notes', 'k0', { title: 'tea' }))
    await expectMatches(1)
    client.send({ type: 'SEARCH_UNSUB', payload: { subscriptionId: 't' } })
    await expectMatches(0)
  })

  test('an index that nobody asks is given up after a while, and made again', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({ ...notes, env, connections: { idleTimeout: 10_000_000 } })
    const client = await server.connect()
    await write(client, ...machines)
    client.send(subscribe('learning'))
    await client.take('SEARCH_RESP')
    env.advance(601_000)
    expect(server.server.inspect()['search']).toMatchObject({ indexes: 1 })
    client.send({ type: 'SEARCH_UNSUB', payload: { subscriptionId: 's' } })
    await client.settle()
    env.advance(601_000)
    expect(server.server.inspect()['search']).toMatchObject({ indexes: 0 })
    expect(await found(client, 'learning')).toMatchObject({ totalCount: 2 })
  })

  test('INV-22: a slow subscriber is told net of what came and went, and keeps nobody else waiting', async () => {
    await using server = await startTestServer(notes)
    const socket = new FakeSocket(server.server)
    socket.receive(subscribe('milk', { limit: 3 }))
    await until(() => socket.written.some(({ type }) => type === 'SEARCH_RESP'), 'the first result')
    const fast = await server.connect()
    fast.send(subscribe('milk', { limit: 3 }))
    await fast.take('SEARCH_RESP')
    socket.isStuck = true
    const filler = 'x '.repeat(40_000)
    await write(fast, put('notes', 'a', { title: 'milk', filler }))
    await write(fast, put('notes', 'b', { title: 'milk', filler }))
    await write(fast, put('notes', 'c', { title: 'milk' }))
    await write(fast, remove('notes', 'c'), remove('notes', 'b'))
    for (let i = 0; i < 30; i++) {
      await write(fast, put('notes', `t${i}`, { title: 'milk' }))
      await write(fast, remove('notes', `t${i}`))
    }
    await fast.take('SEARCH_UPDATE', ({ payload }) => payload.key === 't29' && payload.changeType === 'LEAVE')
    socket.drain()
    await until(() => rowsOf(socket).size === 1, 'the net change')
    expect([...rowsOf(socket).keys()]).toEqual(['a'])
    expect(socket.written.length).toBeLessThan(20)
  })

  test('a subscriber keeps the best rows as rows come, go and change, at a cost that does not grow with the others', async () => {
    await using server = await startTestServer(notes)
    const client = await server.connect()
    client.send(subscribe('milk', { limit: 2 }))
    await client.take('SEARCH_RESP')
    const rows = new Map<string, Value>()
    client.onMessage = (message) => take(rows, 's', message)
    const expectRows = async (...keys: string[]): Promise<void> => {
      await client.settle()
      expect([...rows.keys()].sort()).toEqual(keys)
    }
    await write(client, put('notes', 'a', { title: 'milk and bread and butter' }))
    await write(client, put('notes', 'b', { title: 'milk' }), put('notes', 'c', { title: 'milk and bread' }))
    await expectRows('b', 'c')
    await write(client, remove('notes', 'b'))
    await expectRows('a', 'c')
    await write(client, put('notes', 'a', { title: 'butter' }))
    await expectRows('c')
  })
})

function rowsOf(socket: FakeSocket): Map<string, Value> {
  const rows = new Map<string, Value>()
  for (const message of socket.written) take(rows, 's', message)
  return rows
}

/** Takes a message into a result that is kept from SEARCH_RESP and SEARCH_UPDATE alone. */
function take(rows: Map<string, Value>, id: string, message: ServerMessage): void {
  if (message.type === 'SEARCH_RESP' && message.payload.requestId === id) {
    rows.clear()
    for (const { key, value } of message.payload.results) rows.set(key, value)
  }
  if (message.type !== 'SEARCH_UPDATE' || message.payload.subscriptionId !== id) return
  const { key, value, changeType } = message.payload
  if (rows.has(key) === (changeType === 'ENTER')) throw new Error(`${changeType} of ${key}`)
  if (changeType === 'LEAVE') rows.delete(key)
  else rows.set(key, value)
}

/** The search made from nothing, as [SR2] of core says. */
function scoresOf(
  query: string,
  content: ReadonlyMap<string, Value>,
  columns: readonly (readonly string[])[],
  weights: readonly number[],
): Map<string, number> {
  const sums = new Map<string, number>()
  const documents = [...content].filter(
    ([, value]) => typeof value === 'object' && value !== null && !Array.isArray(value),
  )
  for (const [column, fields] of columns.entries()) {
    const texts = documents.map(([key, value]): [string, string[]] => [key, searchTerms(searchedText(value, fields))])
    const average = texts.reduce((sum, [, terms]) => sum + terms.length, 0) / texts.length
    for (const { term } of queryTerms(query)) {
      const holding = texts.filter(([, terms]) => terms.includes(term))
      const weight = inverseDocumentFrequency(texts.length, holding.length) * (weights[column] as number)
      for (const [key, terms] of holding) {
        const frequency = terms.filter((each) => each === term).length
        sums.set(key, (sums.get(key) ?? 0) + weight * termSaturation(frequency, terms.length, average))
      }
    }
  }
  return sums
}

const word = fc.constantFrom('milk', 'bread', 'milks', 'butter', 'the', 'running', 'run')
const text = fc.array(word, { maxLength: 6 }).map((words) => words.join(' '))
const note: fc.Arbitrary<Value> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ title: text, body: text, n: fc.nat(2) }, { requiredKeys: [] }) as fc.Arbitrary<Value>,
  },
  { weight: 1, arbitrary: fc.constantFrom<Value>('milk', ['milk'], 5, { title: 5, body: ['milk'] }) },
)
const key = fc.nat(9).map((i) => `k${i}`)
const step = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(fc.constant('put' as const), key, note) },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.constant('patch' as const), key, fc.record({ title: text }) as fc.Arbitrary<Value>),
  },
  { weight: 2, arbitrary: fc.tuple(fc.constant('remove' as const), key, fc.constant(null as Value)) },
)
const asked = fc.record({
  query: fc.constantFrom('milk', 'bread run', 'butter milk the', 'absent', 'run'),
  isBoosted: fc.boolean(),
})

test(
  '[FT3] [FT5] after every change a live search shows what the search gives then, scores within the drift, and a new search exactly that',
  { timeout: 120_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(step, { minLength: 1, maxLength: 5 }), { maxLength: 12 }),
        asked,
        async (batches, { query, isBoosted }) => {
          await using server = await startTestServer(notes)
          const client = await server.connect({ encoding: 'msgpack' })
          const breaches: string[] = []
          const weights = isBoosted ? [3, 1] : [1]
          const columns = isBoosted ? [['title'], ['body']] : [['title', 'body']]
          const options: SearchOptions = isBoosted ? { boost: { title: 3 } } : {}
          const content = new Map<string, Value>()
          client.send({ type: 'SEARCH_SUB', payload: { subscriptionId: 's', mapName: 'notes', query, options } })
          await client.take('SEARCH_RESP')
          const live = new Map<string, number>()
          client.onMessage = (message) => {
            if (message.type !== 'SEARCH_UPDATE') return
            const { key: changed, score, changeType } = message.payload
            if (live.has(changed) === (changeType === 'ENTER')) breaches.push(`${changeType} of ${changed}`)
            if (changeType === 'LEAVE') live.delete(changed)
            else live.set(changed, score)
          }
          for (const batch of batches) {
            const ops = batch.flatMap(([kind, name, value]) => {
              const at = name
              const old = content.get(at)
              if (kind === 'put') content.set(at, value)
              else if (kind === 'remove') content.delete(at)
              else if (old === undefined) return []
              else if (typeof old === 'object' && old !== null && !Array.isArray(old))
                content.set(at, { ...(old as object), ...(value as object) })
              return [
                kind === 'put'
                  ? put('notes', at, value)
                  : kind === 'patch'
                    ? patch('notes', at, value)
                    : remove('notes', at),
              ]
            })
            if (ops.length === 0) continue
            await write(client, ...ops)
            const expected = scoresOf(query, content, columns, weights)
            const now = scores(await found(client, query, options))
            expect(Object.keys(now).sort()).toEqual([...expected.keys()].sort())
            for (const [each, score] of expected) expect(now[each]).toBeCloseTo(score, 9)
            expect([...live.keys()].sort()).toEqual([...expected.keys()].sort())
            for (const [each, score] of expected) {
              expect(Math.abs((live.get(each) as number) - score)).toBeLessThanOrEqual(0.15 * score)
            }
          }
          expect(breaches).toEqual([])
        },
      ),
      { numRuns: Number(process.env['SYNCLINE_TEST_RUNS'] ?? 60) },
    )
  },
)
