import { fnv1a } from '@syncline/core/merkle'
import type { ClientMessage, Encoding } from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import { SECRET, clientOp, opBatch, patch, put, remove, stampAt, tokenOf } from '../testing/harness.ts'
import { startTestServer, type TestClient, type TestServer } from '../testing/test-server.ts'
import { Session } from '../sessions/session.ts'
import { Authorizer, type PermissionPolicy, type Principal } from './authorize.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']

const CANARY = 'CANARY-value-5d1f'
const CANARY_KEY = 'CANARY-key-77aa'
const HIDDEN_FIELD = 'CANARY-field-0c3e'

const policies: PermissionPolicy[] = [
  { role: 'PUBLIC', mapNamePattern: 'public', actions: ['ALL'] },
  { role: 'FIELDS', mapNamePattern: 'vault', actions: ['READ'], allowedFields: ['name'] },
  { role: 'OWN', mapNamePattern: 'users/{userId}', actions: ['ALL'] },
  { role: 'OWN_PREFIX', mapNamePattern: '{userId}/*', actions: ['ALL'] },
  { role: 'OWN_BARE', mapNamePattern: '{userId}', actions: ['ALL'] },
  { role: 'EVERYTHING', mapNamePattern: '*', actions: ['ALL'] },
  { role: 'BLIND', mapNamePattern: '*', actions: ['PUT', 'REMOVE'] },
  { role: 'EDITOR', mapNamePattern: 'vault', actions: ['READ', 'PUT', 'REMOVE'], allowedFields: ['name'] },
]

/** Everything that a client can ask of a map that answers with data, or goes on to. */
function questionsAbout(mapName: string, hiddenField: string): ClientMessage[] {
  const leaf = fnv1a(CANARY_KEY).toString(16).padStart(8, '0')
  const paths = ['', leaf.slice(0, 1), leaf.slice(0, 2), leaf.slice(0, 3), leaf.slice(0, 5), leaf]
  const everywhere = Array.from({ length: 4096 }, (_, i) => i)
  const sub = (queryId: string, query: object): ClientMessage => ({
    type: 'QUERY_SUB',
    payload: { queryId, mapName, query },
  })
  return [
    { type: 'SYNC_INIT', mapName },
    { type: 'SYNC_INIT', mapName, lastSyncTimestamp: 0 },
    { type: 'SYNC_INIT', mapName, cursor: '1.0.*.memory' },
    { type: 'SYNC_INIT', mapName, cursor: null },
    ...paths.map((path): ClientMessage => ({ type: 'MERKLE_REQ_BUCKET', payload: { mapName, path } })),
    { type: 'SYNC_TRIE', payload: { mapName } },
    { type: 'SYNC_LEAVES', payload: { mapName, leaves: everywhere } },
    { type: 'SYNC_FETCH', payload: { mapName, keys: [CANARY_KEY, 'k'] } },
    { type: 'SYNC_PUSH', payload: { mapName, records: [{ key: 'k', record: { value: 1, timestamp: stampAt(1) } }] } },
    {
      type: 'SYNC_PUSH',
      payload: { mapName, records: [{ key: CANARY_KEY, record: { value: null, timestamp: stampAt(1) } }] },
    },
    sub('all', {}),
    sub('where', { where: { [hiddenField]: { $exists: true } } }),
    sub('predicate', { predicate: { op: 'like', attribute: hiddenField, value: 'CANARY%' } }),
    sub('sort', { sort: { [hiddenField]: 'desc' }, limit: 1 }),
    clientOp(put(mapName, 'k', { probe: 1 }, { stamp: stampAt(2) })),
    clientOp(patch(mapName, 'k', { probe: 1 }, { stamp: stampAt(2) })),
    clientOp(patch(mapName, 'k', { [hiddenField]: 1 }, { stamp: stampAt(2) })),
    clientOp(remove(mapName, 'k', { stamp: stampAt(2) })),
    opBatch([put(mapName, CANARY_KEY, { probe: 1 }, { stamp: stampAt(2) })]),
  ]
}

/** Every byte that the server sent a client, in both of its encodings readable as Latin-1. */
function recordFrames(client: TestClient): () => string {
  const seen: string[] = []
  client.onMessage = (_, frame) => seen.push(typeof frame === 'string' ? frame : Buffer.from(frame).toString('latin1'))
  return () => seen.join('\n')
}

async function startWithSecrets(): Promise<{ server: TestServer; admin: TestClient; mapNames: string[] }> {
  const server = await startTestServer({
    mode: 'production',
    auth: 'jwt',
    jwtSecret: SECRET,
    securityPolicies: policies,
    maxClockDriftMs: 60_000,
  })
  const admin = await server.connect({ token: tokenOf('root', 'ADMIN') })
  const mapNames = ['vault', 'users/ann', 'ann/notes', 'ann', '$sys/stats']
  for (const mapName of mapNames) await writeSecrets(admin, mapName, 0)
  return { server, admin, mapNames }
}

async function writeSecrets(admin: TestClient, mapName: string, round: number): Promise<void> {
  const secret = `${CANARY}-${round}`
  admin.send(
    opBatch([
      put(mapName, 'k', { name: `shown ${round}`, [HIDDEN_FIELD]: secret, salary: round }),
      put(mapName, CANARY_KEY, { name: 'shown', deep: { er: [secret] }, [HIDDEN_FIELD]: secret }),
      patch(mapName, 'k', { [HIDDEN_FIELD]: `${secret}-patched`, list: [secret] }),
      put(mapName, 'text', secret),
      put(mapName, 'list', [secret]),
      put(mapName, 'bytes', new TextEncoder().encode(secret)),
      put(mapName, 'removed', { [HIDDEN_FIELD]: secret }),
      remove(mapName, 'removed'),
      patch(mapName, 'removed', { [HIDDEN_FIELD]: secret, name: secret }),
    ]),
  )
  const { results } = (await admin.take('OP_ACK')).payload
  expect(results.filter(({ success }) => !success)).toEqual([])
}

const without: readonly (readonly [
  who: string,
  userId: string,
  roles: readonly string[],
  mapNames: readonly string[] | 'all',
])[] = [
  ['no policy names its role', 'eve', ['STRANGER'], 'all'],
  ['no role at all', 'eve', [], 'all'],
  ['rights on another map only', 'eve', ['PUBLIC'], 'all'],
  ['rights on its own map only', 'eve', ['OWN'], 'all'],
  ['rights on its own maps by prefix only', 'eve', ['OWN_PREFIX'], 'all'],
  ['rights on the map of its name only', 'eve', ['OWN_BARE'], 'all'],
  ['a star as user id', '*', ['OWN', 'OWN_BARE', 'OWN_PREFIX'], 'all'],
  ['a user id that ends in a star', 'a*', ['OWN', 'OWN_BARE', 'OWN_PREFIX'], 'all'],
  ['a user id that looks like a pattern', '{userId}', ['OWN', 'OWN_BARE', 'OWN_PREFIX'], 'all'],
  ['a user id that is a path', 'x/../ann', ['OWN', 'OWN_BARE', 'OWN_PREFIX'], 'all'],
  ['a user id that looks like a replacement', '$&', ['OWN', 'OWN_BARE', 'OWN_PREFIX'], 'all'],
  ['the right to write only', 'eve', ['BLIND'], 'all'],
  ['every right, but not on maps of the system', 'eve', ['EVERYTHING'], ['$sys/stats']],
  ['a user id that names maps of the system', '$sys', ['OWN_PREFIX', 'EVERYTHING'], ['$sys/stats']],
  [
    'a role that resembles ADMIN',
    'eve',
    ['ADMIN ', 'ADMINISTRATOR', 'admın', 'ADMİN', 'ＡＤＭＩＮ', 'ADMIN\u0000'],
    'all',
  ],
  ['a role in another case', 'eve', ['everything', 'Everything'], 'all'],
]

describe.each(encodings)('INV-21: the leak matrix in %s', (encoding) => {
  test.each(without)(
    'INV-21: whoever has %s never gets a byte of what is not theirs',
    async (_, userId, roles, names) => {
      const { server, admin, mapNames } = await startWithSecrets()
      await using _server = server
      const client = await server.connect({ encoding })
      const seen = recordFrames(client)
      client.send({ type: 'AUTH', token: tokenOf(userId, ...(roles.length === 0 ? ['NONE'] : roles)) })
      await client.take('AUTH_ACK')
      const targets = names === 'all' ? mapNames : names
      const isBlind = roles.includes('BLIND')
      for (const mapName of targets) {
        for (const question of questionsAbout(mapName, 'salary')) {
          // Whoever may write blindly does; that is no leak.
          if (isBlind && (question.type === 'CLIENT_OP' || question.type === 'OP_BATCH')) continue
          client.send(question)
        }
      }
      await client.settle()
      for (const mapName of targets) await writeSecrets(admin, mapName, 1)
      await client.settle()
      await client.settle()
      // The keys that it sent itself may come back in refusals of its own pushes and writes.
      expect(seen()).not.toContain(CANARY)
      expect(seen()).not.toContain(HIDDEN_FIELD)
      const answers = new Set(client.inbox.map(({ type }) => type))
      for (const type of answers) expect(['AUTH_REQUIRED', 'ERROR', 'OP_ACK', 'OP_REJECTED']).toContain(type)
      for (const message of client.inbox) {
        if (message.type === 'ERROR') expect(message.payload.errorCode).toBe('FORBIDDEN')
        if (message.type === 'OP_ACK')
          for (const { errorCode } of message.payload.results) expect(errorCode).toBe('FORBIDDEN')
      }
      // Nothing of it was applied either.
      for (const mapName of targets) {
        admin.send({ type: 'SYNC_FETCH', payload: { mapName, keys: ['k'] } })
        const { records } = (await admin.take('SYNC_RECORDS')).payload
        expect(records[0]?.record.value).toMatchObject({ name: 'shown 1' })
      }
    },
  )

  test('INV-21: whoever may write blindly learns nothing from what becomes of the writes', async () => {
    const { server } = await startWithSecrets()
    await using _server = server
    const client = await server.connect({ encoding, token: tokenOf('eve', 'BLIND') })
    const seen = recordFrames(client)
    for (const question of questionsAbout('vault', 'salary')) client.send(question)
    await client.settle()
    await client.settle()
    expect(seen()).not.toContain(CANARY)
    expect(seen()).not.toContain(HIDDEN_FIELD)
  })

  test.each(['FIELDS', 'EDITOR'])(
    'INV-21: a reader of some fields (%s) never gets a byte of another field',
    async (role) => {
      const { server, admin } = await startWithSecrets()
      await using _server = server
      const client = await server.connect({ encoding })
      const seen = recordFrames(client)
      client.send({ type: 'AUTH', token: tokenOf('eve', role) })
      await client.take('AUTH_ACK')
      for (const question of questionsAbout('vault', 'salary')) if (question.type !== 'OP_BATCH') client.send(question)
      await client.settle()
      for (let round = 1; round < 4; round++) await writeSecrets(admin, 'vault', round)
      await client.settle()
      await client.settle()
      expect(seen()).not.toContain(CANARY)
      expect(seen()).not.toContain(HIDDEN_FIELD)
      expect(seen()).toContain('shown 0')
      // Digests cover what it may not see: they would tell whether a guess is right.
      const refused = client.inbox.flatMap((message) => (message.type === 'ERROR' ? [message.payload.about] : []))
      expect(refused).toEqual(expect.arrayContaining(['SYNC_TRIE', 'SYNC_LEAVES']))
      expect(seen()).not.toContain('digest')
      // It follows from a cursor on, and so on another connection.
      const diff = client.inbox.findLast((message) => message.type === 'SYNC_DIFF')
      const cursor = diff?.type === 'SYNC_DIFF' ? diff.payload.cursor : ''
      const again = await server.connect({ encoding })
      const seenAgain = recordFrames(again)
      again.send({ type: 'AUTH', token: tokenOf('eve', role) })
      await again.take('AUTH_ACK')
      again.send({ type: 'SYNC_INIT', mapName: 'vault', cursor })
      again.send({ type: 'SYNC_INIT', mapName: 'vault', cursor: cursor.replace(/\.[0-9a-f]{16}\./, '.*.') })
      await again.settle()
      await again.settle()
      expect(seenAgain()).not.toContain(CANARY)
      expect(seenAgain()).not.toContain(HIDDEN_FIELD)
      expect(again.inbox.map(({ type }) => type)).toContain('SYNC_RESET_REQUIRED')
    },
  )
})

describe('INV-21: hidden fields', () => {
  const startWithPay = async (): Promise<{ server: TestServer; admin: TestClient; reader: TestClient }> => {
    const { server, admin } = await startWithSecrets()
    const rows = ['c', 'a', 'b', 'd'].map((key, salary) => put('vault', key, { name: key, salary, sick: key === 'b' }))
    admin.send(opBatch([...['k', CANARY_KEY, 'text', 'list', 'bytes'].map((key) => remove('vault', key)), ...rows]))
    await admin.take('OP_ACK')
    return { server, admin, reader: await server.connect({ token: tokenOf('eve', 'FIELDS') }) }
  }
  const ask = async (client: TestClient, query: object): Promise<string[]> => {
    const queryId = `q${Math.random()}`
    client.send({ type: 'QUERY_SUB', payload: { queryId, mapName: 'vault', query } })
    const { payload } = await client.take('QUERY_RESP', (response) => response.payload.queryId === queryId)
    return payload.results.map(({ key }) => key)
  }

  test('INV-21: are as if they were absent in where, predicate and sort', async () => {
    const { server, reader } = await startWithPay()
    await using _server = server
    const all = ['a', 'b', 'c', 'd']
    expect(await ask(reader, {})).toEqual(all)
    expect(await ask(reader, { where: { sick: true } })).toEqual([])
    expect(await ask(reader, { where: { salary: { $gte: 0 } } })).toEqual([])
    expect(await ask(reader, { where: { salary: { $exists: true } } })).toEqual([])
    expect(await ask(reader, { where: { salary: { $exists: false } } })).toEqual(all)
    expect(await ask(reader, { where: { $not: { sick: true } } })).toEqual(all)
    expect(await ask(reader, { where: { $or: [{ sick: true }, { name: 'a' }] } })).toEqual(['a'])
    expect(await ask(reader, { predicate: { op: 'eq', attribute: 'sick', value: true } })).toEqual([])
    expect(await ask(reader, { sort: { salary: 'desc' } })).toEqual(all)
    expect(await ask(reader, { sort: { salary: 'asc' }, limit: 2 })).toEqual(['a', 'b'])
    expect(await ask(reader, { where: { name: 'b' } })).toEqual(['b'])
  })

  test('INV-21: a change of them is no change of a live result', async () => {
    const { server, admin, reader } = await startWithPay()
    await using _server = server
    await ask(reader, {})
    await ask(reader, { sort: { salary: 'desc' }, limit: 2 })
    admin.send(clientOp(patch('vault', 'a', { salary: 99, sick: true })))
    await admin.take('OP_ACK')
    await admin.settle()
    await reader.settle()
    expect(reader.inbox.filter(({ type }) => type === 'QUERY_UPDATE')).toEqual([])
    admin.send(clientOp(patch('vault', 'a', { name: 'new' })))
    expect((await reader.take('QUERY_UPDATE')).payload.value).toEqual({ name: 'new' })
  })

  test('INV-13: a commit that a reader may not see still advances its cursor', async () => {
    const { server, admin, reader } = await startWithPay()
    await using _server = server
    reader.send({ type: 'SYNC_INIT', mapName: 'vault', cursor: null })
    const { seq } = (await reader.take('SYNC_DIFF')).payload
    admin.send(clientOp(patch('vault', 'a', { salary: 100 })))
    await admin.take('OP_ACK')
    const event = await reader.take('SERVER_EVENT')
    expect(event.payload.seq).toBeGreaterThan(seq)
    expect(event.payload.cursor).toBeDefined()
    expect(event.payload.record.value).toEqual({ name: 'a' })
  })
})

describe('INV-21: writers', () => {
  test('INV-21: with allowedFields only PATCH those fields of records that exist', async () => {
    const { server, admin } = await startWithSecrets()
    await using _server = server
    const client = await server.connect({ token: tokenOf('ed', 'EDITOR') })
    client.send(
      opBatch([
        put('vault', 'k', { name: 'whole' }),
        put('vault', 'new', { name: 'whole' }),
        patch('vault', 'new', { name: 'partial' }),
        patch('vault', 'k', { name: 'partial', salary: 1 }),
        patch('vault', 'k', {}, { unset: ['salary'] }),
        remove('vault', 'k'),
        patch('vault', 'k', { name: 'partial' }),
        patch('vault', 'k', {}, { unset: ['name'] }),
      ]),
    )
    const { results } = (await client.take('OP_ACK')).payload
    expect(results.map(({ errorCode }) => errorCode)).toEqual([
      'FORBIDDEN',
      'FORBIDDEN',
      'NOT_FOUND',
      'FORBIDDEN',
      'FORBIDDEN',
      'FORBIDDEN',
      undefined,
      undefined,
    ])
    admin.send({ type: 'SYNC_FETCH', payload: { mapName: 'vault', keys: ['k', 'new'] } })
    const { records, absent } = (await admin.take('SYNC_RECORDS')).payload
    expect(records[0]?.record.value).toMatchObject({ salary: 0, [HIDDEN_FIELD]: `${CANARY}-0-patched` })
    expect(absent).toEqual(['new'])
  })

  test.each<[readonly ('READ' | 'PUT' | 'REMOVE' | 'ALL')[], readonly boolean[]]>([
    [['READ'], [false, false, false]],
    [['PUT'], [true, true, false]],
    [['REMOVE'], [false, false, true]],
    [
      ['PUT', 'REMOVE'],
      [true, true, true],
    ],
    [['ALL'], [true, true, true]],
  ])('INV-21: with %j may PUT, PATCH and REMOVE: %j', async (actions, allowed) => {
    await using server = await startTestServer({
      jwtSecret: SECRET,
      securityPolicies: [{ role: 'USER', mapNamePattern: 'm*', actions: [...actions] }],
    })
    const admin = await server.connect({ token: tokenOf('root', 'admin') })
    admin.send(opBatch([put('maps', 'a', {}), put('maps', 'b', {}), put('maps', 'c', {})]))
    await admin.take('OP_ACK')
    const client = await server.connect({ token: tokenOf('ann') })
    // A PUT of null is a REMOVE.
    client.send(
      opBatch([put('maps', 'a', 1), patch('maps', 'b', { x: 1 }), remove('maps', 'c'), put('maps', 'b', null)]),
    )
    const { results } = (await client.take('OP_ACK')).payload
    expect(results.map(({ success }) => success)).toEqual([...allowed, allowed[2]])
    client.send(clientOp(put('other', 'a', 1)))
    expect((await client.take('OP_ACK')).payload.results).toMatchObject([{ errorCode: 'FORBIDDEN' }])
  })
})

describe('rights', () => {
  const someone = (userId: string, ...roles: string[]): Principal => ({ userId, roles })
  const authorizer = new Authorizer(policies, false)

  test.each(['ADMIN', 'admin', 'Admin', 'aDmIn'])(
    'the role %s may do everything, on maps of the system too',
    (role) => {
      for (const mapName of ['vault', '$sys/stats']) {
        const { view, write } = authorizer.rights(someone('root', role), mapName)
        expect(view?.fields).toBeUndefined()
        expect(view).toBeDefined()
        expect(write).toMatchObject({ canPut: true, canRemove: true, fields: undefined })
      }
    },
  )

  test.each([
    ['users/{userId}', 'ann', 'users/ann', true],
    ['users/{userId}', 'ann', 'users/annie', false],
    ['{userId}/{userId}', 'ann', 'ann/ann', true],
    ['{userId}/*', 'ann', 'ann/x', true],
    ['{userId}/*', 'ann', 'annie/x', false],
    ['{userId}', '*', 'anything', false],
    ['{userId}', '*', '*', true],
    ['users/{userId}', 'a*', 'users/ann', false],
    ['users/{userId}', '$&', 'users/$&', true],
    ['users/{userId}', "$'", 'users/{userId}', false],
    ['*', 'x', 'anything', true],
    ['a*', 'x', 'a', true],
    ['a*', 'x', 'b', false],
    ['exact', 'x', 'exact', true],
    ['exact', 'x', 'exactly', false],
    ['a*b', 'x', 'axb', false],
  ])('the pattern %s for user %s on map %s: %s', (mapNamePattern, userId, mapName, isAllowed) => {
    const one = new Authorizer([{ role: 'R', mapNamePattern, actions: ['READ'] }], false)
    expect(one.rights(someone(userId, 'R'), mapName).view !== undefined).toBe(isAllowed)
  })

  test('without policies everyone may do everything where the server is open, and administrators only where not', () => {
    expect(new Authorizer(undefined, true).rights(someone('u', 'R'), 'm').write?.canPut).toBe(true)
    expect(new Authorizer(undefined, false).rights(someone('u', 'R'), 'm')).toEqual({
      view: undefined,
      write: undefined,
    })
    expect(new Authorizer([], true).rights(someone('u', 'R'), 'm')).toEqual({ view: undefined, write: undefined })
    expect(new Authorizer(undefined, true).rights(someone('u', 'R'), '$sys/x').view).toBeUndefined()
  })

  test('policies of several roles add up; one without fields opens all of them', () => {
    const both = new Authorizer(
      [
        { role: 'A', mapNamePattern: 'm', actions: ['READ'], allowedFields: ['a'] },
        { role: 'B', mapNamePattern: 'm', actions: ['READ'], allowedFields: ['b'] },
        { role: 'STAR', mapNamePattern: 'm', actions: ['READ'], allowedFields: ['*'] },
        { role: 'W', mapNamePattern: 'm', actions: ['ALL'], allowedFields: ['c'] },
      ],
      false,
    )
    expect([...(both.rights(someone('u', 'A', 'B'), 'm').view?.fields ?? [])].toSorted()).toEqual(['a', 'b'])
    expect(both.rights(someone('u', 'A', 'STAR'), 'm').view?.fields).toBeUndefined()
    expect(both.rights(someone('u', 'W'), 'm').write).toMatchObject({ canPut: true, canRemove: false })
  })

  describe('that were found out', () => {
    /** Counts what is found out anew. */
    class Counting extends Authorizer {
      calls = 0
      override rights(...of: Parameters<Authorizer['rights']>): ReturnType<Authorizer['rights']> {
        this.calls++
        return super.rights(...of)
      }
    }
    const sessionOf = (principal: Principal): Session => {
      const session = new Session('s', undefined as never, undefined as never)
      session.become(principal)
      return session
    }
    const ask = (session: Session, of: Authorizer, count: number): void => {
      for (let i = 0; i < count; i++) session.rights(of, `map-${i}`)
    }

    test('are those of all sessions of a principal, and of no other', () => {
      const counting = new Counting(policies, false)
      const ann = someone('ann', 'EVERYTHING')
      ask(sessionOf(ann), counting, 500)
      ask(sessionOf(ann), counting, 500)
      expect(counting.calls).toBe(500)
      const bob = sessionOf(someone('bob', 'EVERYTHING'))
      expect(bob.rights(counting, 'map-0').write?.userId).toBe('bob')
      expect(counting.calls).toBe(501)
      bob.become(someone('bob', 'NOBODY'))
      expect(bob.rights(counting, 'map-0').view).toBeUndefined()
    })

    test('INV-22: are kept for so many maps, however many a session names', () => {
      const counting = new Counting(policies, false)
      const session = sessionOf(someone('ann', 'EVERYTHING'))
      ask(session, counting, 100_000)
      counting.calls = 0
      ask(session, counting, 100_000)
      // Had it kept them all, the second time would have asked for none.
      expect(counting.calls).toBeGreaterThan(50_000)
    })

    test('INV-22: are kept for so many principals, and forgotten of those who are gone', () => {
      const counting = new Counting(policies, false)
      const first = someone('ann', 'EVERYTHING')
      ask(sessionOf(first), counting, 500)
      for (let i = 0; i < 300; i++) ask(sessionOf(someone(`user-${i}`, 'EVERYTHING')), counting, 500)
      counting.calls = 0
      ask(sessionOf(first), counting, 500)
      expect(counting.calls).toBe(500)
    })
  })
})
