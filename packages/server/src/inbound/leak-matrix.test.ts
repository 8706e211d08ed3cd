import { clientMessageSchemas, type ClientMessage, type Encoding, type ItemOpMessage } from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import { SECRET, add, clientOp, opBatch, patch, put, removeItem, stampAt, tokenOf } from '../testing/harness.ts'
import { startTestServer, type TestClient, type TestServer } from '../testing/test-server.ts'
import type { PermissionPolicy } from './authorize.ts'

// Beside the matrix of maps (authorize.test.ts): every message that answers with data, or goes on to, of every feature.

const encodings: readonly Encoding[] = ['json', 'msgpack']

const CANARY = 'CANARYvalue5d1f'
const HIDDEN = 'CANARYfield0c3e'
const COUNTER_NODE = 'CANARYnode77aa'

const policies: PermissionPolicy[] = [
  { role: 'OTHER', mapNamePattern: 'public*', actions: ['ALL'] },
  { role: 'TENANT', mapNamePattern: '{userId}/*', actions: ['ALL'] },
  { role: 'BLIND', mapNamePattern: '*', actions: ['PUT', 'REMOVE'] },
  { role: 'FIELDS', mapNamePattern: '*', actions: ['READ'], allowedFields: ['name'] },
  { role: 'EVERYTHING', mapNamePattern: '*', actions: ['ALL'] },
]

const MAPS = ['acme/vault', 'acme/tags'] as const
const [VAULT, TAGS] = MAPS
const NAME = 'acme/vault'

/** What of a client's messages asks for data, for each type of which there is one. */
function questions(): (ClientMessage | ItemOpMessage)[] {
  const ofMaps = MAPS.flatMap((mapName, i): (ClientMessage | ItemOpMessage)[] => {
    const entries = [{ key: 'k', records: [], tombstones: ['1:0:a'] }]
    return [
      { type: 'SYNC_INIT', mapName },
      { type: 'SYNC_INIT', mapName, cursor: null },
      { type: 'SYNC_INIT', mapName, cursor: null, kind: 'or' },
      { type: 'MERKLE_REQ_BUCKET', payload: { mapName, path: '' } },
      { type: 'SYNC_TRIE', payload: { mapName } },
      { type: 'SYNC_LEAVES', payload: { mapName, leaves: Array.from({ length: 4_096 }, (_, leaf) => leaf) } },
      { type: 'SYNC_FETCH', payload: { mapName, keys: ['k', 'text', '1:0:a:k'] } },
      { type: 'SYNC_PUSH', payload: { mapName, records: [{ key: 'k', record: { value: 1, timestamp: stampAt(1) } }] } },
      { type: 'SYNC_DELTA', payload: { mapName } },
      { type: 'ORMAP_SYNC_INIT', mapName },
      ...['', '0', '00'].map((path): ClientMessage => ({
        type: 'ORMAP_MERKLE_REQ_BUCKET',
        payload: { mapName, path },
      })),
      ...Array.from({ length: 16 }, (_, digit): ClientMessage => {
        return { type: 'ORMAP_MERKLE_REQ_BUCKET', payload: { mapName, path: `00${digit.toString(16)}` } }
      }),
      { type: 'ORMAP_DIFF_REQUEST', payload: { mapName, keys: ['k', 'text'] } },
      { type: 'ORMAP_PUSH_DIFF', payload: { mapName, entries } },
      { type: 'QUERY_SUB', payload: { queryId: `all${i}`, mapName, query: {} } },
      {
        type: 'QUERY_SUB',
        payload: { queryId: `where${i}`, mapName, query: { where: { [HIDDEN]: { $exists: true } } } },
      },
      { type: 'QUERY_SUB', payload: { queryId: `sort${i}`, mapName, query: { sort: { secret: 'desc' }, limit: 1 } } },
      { type: 'SEARCH', payload: { requestId: `once${i}`, mapName, query: 'shown' } },
      { type: 'SEARCH', payload: { requestId: `hidden${i}`, mapName, query: CANARY.toLowerCase() } },
      { type: 'SEARCH_SUB', payload: { subscriptionId: `live${i}`, mapName, query: 'shown' } },
      { type: 'JOURNAL_SUBSCRIBE', requestId: `j${i}`, mapName, fromSequence: '0' },
      { type: 'JOURNAL_READ', requestId: `r${i}`, mapName, fromSequence: '0' },
      { type: 'JOURNAL_READ', requestId: `n${i}`, mapName, fromSequence: '0', newestFirst: true, key: 'k' },
    ]
  })
  return [
    ...ofMaps,
    clientOp(patch(VAULT, 'k', { probe: 1 }, { stamp: stampAt(2) })),
    opBatch([put(VAULT, 'k', 1, { stamp: stampAt(2) }), removeItem(TAGS, 'k', '1:0:unknown')]),
    { type: 'JOURNAL_SUBSCRIBE', requestId: 'j', fromSequence: '0' },
    { type: 'JOURNAL_READ', requestId: 'r', fromSequence: '0' },
    { type: 'COUNTER_REQUEST', payload: { name: NAME } },
    { type: 'COUNTER_SYNC', payload: { name: NAME, state: { p: { [COUNTER_NODE]: 1 }, n: {} } } },
    { type: 'SYNC_INIT', mapName: `counter:${NAME}`, cursor: null },
    { type: 'QUERY_SUB', payload: { queryId: 'counts', mapName: `counter:${NAME}`, query: {} } },
    { type: 'TOPIC_SUB', payload: { topic: NAME } },
    { type: 'TOPIC_SUB', payload: { topic: `room:${NAME}:emoji` } },
    { type: 'TOPIC_PUB', payload: { topic: NAME, data: 1 } },
    { type: 'ROOM_JOIN', payload: { room: NAME, presence: {} } },
    { type: 'ROOM_UPDATE', payload: { room: NAME, presence: { n: 1 } } },
    { type: 'LOCK_REQUEST', payload: { requestId: 'l', name: NAME, waitMs: 0 } },
  ]
}

/** Types of messages that ask for nothing of anybody's: they end something, or say who speaks and what is where. */
const ASKING_NOTHING = [
  'AUTH',
  'PING',
  'PARTITION_MAP_REQUEST',
  'SYNC_STOP',
  'QUERY_UNSUB',
  'SEARCH_UNSUB',
  'JOURNAL_UNSUBSCRIBE',
  'TOPIC_UNSUB',
  'ROOM_LEAVE',
  'LOCK_RELEASE',
]

test('INV-21: the matrix has every type of message that asks for data', () => {
  const types = [...new Set<string>([...questions().map(({ type }) => type), ...ASKING_NOTHING])]
  expect(types.toSorted()).toEqual(Object.keys(clientMessageSchemas).toSorted())
})

/** Every byte that the server sent a client from now on, in both of its encodings readable as Latin-1. */
function recordFrames(client: TestClient): () => string {
  const seen: string[] = []
  client.onMessage = (_, frame) => seen.push(typeof frame === 'string' ? frame : Buffer.from(frame).toString('latin1'))
  return () => seen.join('\n')
}

/** The first answers to those questions that go on. */
const ANSWERS = [
  'SYNC_DIFF',
  'ORMAP_SYNC_RESP_LEAF',
  'ORMAP_DIFF_RESPONSE',
  'QUERY_RESP',
  'SEARCH_RESP',
  'JOURNAL_EVENT',
]
/** What comes later, by itself. */
const LIVE = ['SERVER_BATCH_EVENT', 'QUERY_UPDATE', 'SEARCH_UPDATE', 'JOURNAL_EVENT']

const typesTold = (client: TestClient): ReadonlySet<string> => new Set(client.inbox.map(({ type }) => type))

/** Waits until a client was sent messages of some types. */
async function told(client: TestClient, types: readonly string[]): Promise<void> {
  await client.until(() => types.every((type) => typesTold(client).has(type)))
  await client.settle()
}

interface Scene extends AsyncDisposable {
  readonly server: TestServer
  /** Writes, counts, shows and publishes what nobody else may see. */
  tell(round: number): Promise<void>
  connect(encoding: Encoding, userId: string, ...roles: string[]): Promise<TestClient>
  post(userId: string, role: string): Promise<string>
}

async function scene(): Promise<Scene> {
  const fields = ['name', HIDDEN]
  const server = await startTestServer({
    mode: 'production',
    jwtSecret: SECRET,
    securityPolicies: policies,
    journal: { enabled: true },
    search: { maps: { [VAULT]: { fields }, [TAGS]: { fields } } },
  })
  const admin = await server.connect({ token: tokenOf('root', 'ADMIN') })
  admin.send({ type: 'ROOM_JOIN', payload: { room: NAME, presence: { secret: CANARY } } })
  const tell = async (round: number): Promise<void> => {
    const secret = `${CANARY} ${round}`
    const value = { name: `shown ${round}`, [HIDDEN]: secret, secret }
    admin.send(
      opBatch([
        put(VAULT, 'k', value),
        put(VAULT, 'k', { ...value, more: secret }),
        put(VAULT, 'text', secret),
        put(VAULT, 'removed', value),
        put(VAULT, 'removed', null),
        add(TAGS, 'k', value, { tag: `${round + 1}:0:a` }),
        add(TAGS, 'k', secret, { tag: `${round + 1}:0:b` }),
        add(TAGS, 'text', [secret], { tag: `${round + 1}:0:c` }),
        removeItem(TAGS, 'k', `${round}:0:b`),
      ]),
    )
    const { results } = (await admin.take('OP_ACK')).payload
    expect(results.filter(({ success }) => !success)).toEqual([])
    admin.send({ type: 'COUNTER_SYNC', payload: { name: NAME, state: { p: { [COUNTER_NODE]: round + 70 }, n: {} } } })
    admin.send({ type: 'ROOM_UPDATE', payload: { room: NAME, presence: { secret } } })
    admin.send({ type: 'TOPIC_PUB', payload: { topic: NAME, data: secret } })
    admin.send({ type: 'TOPIC_PUB', payload: { topic: `room:${NAME}:emoji`, data: secret } })
    await admin.settle()
  }
  await tell(0)
  return {
    server,
    tell,
    async connect(encoding, userId, ...roles) {
      const client = await server.connect({ encoding })
      client.send({ type: 'AUTH', token: tokenOf(userId, ...roles) })
      await client.take('AUTH_ACK')
      return client
    },
    async post(userId, role) {
      const response = await fetch(`${server.url.replace('ws:', 'http:')}/sync`, {
        method: 'POST',
        headers: { authorization: `Bearer ${tokenOf(userId, role)}` },
        body: JSON.stringify({
          clientId: 'c',
          clientHlc: stampAt(1),
          syncMaps: MAPS.map((mapName) => ({ mapName })),
          queries: MAPS.map((mapName) => ({ queryId: mapName, mapName, filter: {} })),
          searches: MAPS.map((mapName) => ({ searchId: mapName, mapName, query: 'shown' })),
        }),
      })
      return `${response.status} ${await response.text()}`
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

const without: readonly (readonly [who: string, userId: string, role: string])[] = [
  ['no rights', 'eve', 'STRANGER'],
  ['rights on other resources', 'eve', 'OTHER'],
  ['the rights of another tenant', 'globex', 'TENANT'],
  ['the rights of a tenant whose name begins like this one', 'acm', 'TENANT'],
  ['the right to write alone', 'eve', 'BLIND'],
]

describe.each(encodings)('INV-21: the leak matrix of all features in %s', (encoding) => {
  test.each(without)('INV-21: who has %s is told nothing, now or later', async (_, userId, role) => {
    await using self = await scene()
    const client = await self.connect(encoding, userId, role)
    const seen = recordFrames(client)
    const isBlind = role === 'BLIND'
    // Its own row comes back to who counts under a name that it has guessed.
    for (const question of questions()) if (!isBlind || question.type !== 'COUNTER_SYNC') client.send(question)
    await client.settle()
    for (let round = 1; round < 3; round++) await self.tell(round)
    await client.settle()
    await client.settle()
    expect(seen()).not.toContain('CANARY')
    expect(seen()).not.toContain('shown')
    const refusals = ['ERROR', 'OP_ACK', 'OP_REJECTED', 'SEARCH_RESP', 'LOCK_RELEASED', 'JOURNAL_READ_RESPONSE']
    // Who writes blindly is seen in a room, and told so.
    const own = isBlind ? ['ROOM_STATE', 'LOCK_GRANTED'] : []
    for (const type of typesTold(client)) expect(['AUTH_REQUIRED', ...refusals, ...own]).toContain(type)
    expect(await self.post(userId, role)).not.toMatch(/CANARY|shown/)
  })

  test('INV-21: a reader of some fields is shown these, by every message, and no byte of others', async () => {
    await using self = await scene()
    const client = await self.connect(encoding, 'eve', 'FIELDS')
    const seen = recordFrames(client)
    for (const question of questions()) client.send(question)
    await told(client, [...ANSWERS, 'SYNC_DELTA_RESP'])
    for (let round = 1; round < 3; round++) await self.tell(round)
    await told(client, LIVE)
    // Keys are shown to who may see some fields; of a counter they are nodes.
    expect(seen().replaceAll(COUNTER_NODE, '')).not.toContain('CANARY')
    for (const type of ['TOPIC_MESSAGE', 'ROOM_STATE', 'COUNTER_RESPONSE', 'COUNTER_UPDATE', 'LOCK_GRANTED'])
      expect(typesTold(client)).not.toContain(type)
    const posted = await self.post('eve', 'FIELDS')
    expect(posted).toMatch(/^200 .*shown/)
    expect(posted).not.toContain('CANARY')
  })

  test.each([
    ['another user who may read nothing', 'eve', 'STRANGER'],
    ['the same user who may read some fields', 'ann', 'FIELDS'],
  ])('INV-21: what followed for one who may read all does not follow for %s', async (_, userId, role) => {
    await using self = await scene()
    const client = await self.connect(encoding, 'ann', 'EVERYTHING')
    const writes = new Set(['CLIENT_OP', 'OP_BATCH', 'TOPIC_PUB', 'SYNC_PUSH', 'ORMAP_PUSH_DIFF', 'COUNTER_SYNC'])
    for (const question of questions()) if (!writes.has(question.type)) client.send(question)
    await told(client, ANSWERS)
    await self.tell(1)
    await told(client, [...LIVE, 'TOPIC_MESSAGE', 'ROOM_STATE', 'COUNTER_UPDATE'])
    client.send({ type: 'AUTH', token: tokenOf(userId, role), requestId: 'again' })
    await client.take('AUTH_ACK', ({ requestId }) => requestId === 'again')
    const seen = recordFrames(client)
    for (let round = 2; round < 4; round++) await self.tell(round)
    await client.settle()
    await client.settle()
    expect(seen().replaceAll(COUNTER_NODE, '')).not.toContain('CANARY')
  })
})
