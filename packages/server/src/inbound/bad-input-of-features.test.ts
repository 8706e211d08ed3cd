import type { ClientMessage, Encoding, ErrorCode, ItemOpMessage } from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import { add, clientOp, opBatch, patch, put, remove, removeItem, stampAt } from '../testing/harness.ts'
import { startTestServer, type TestClient } from '../testing/test-server.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']

type Sent = ClientMessage | ItemOpMessage

const query = (asked: object): ClientMessage => ({
  type: 'QUERY_SUB',
  payload: { queryId: 'q', mapName: 'notes', query: asked },
})
const regex = (value: string): ClientMessage => query({ predicate: { op: 'regex', attribute: 'text', value } })
const lock = (fields: object): ClientMessage => ({
  type: 'LOCK_REQUEST',
  payload: { requestId: 'r', name: 'free', ...fields },
})
const raise = (p: number): ClientMessage => ({
  type: 'COUNTER_SYNC',
  payload: { name: 'votes', state: { p: { mine: p }, n: {} } },
})

/** What is wrong with a message, the message, and the code that answers it. */
const wrong: readonly (readonly [what: string, message: Sent, code: ErrorCode])[] = [
  ['a record for an OR-map', clientOp(put('tags', 'k', 1)), 'WRONG_MAP_KIND'],
  ['a record for a counter', clientOp(add('counter:votes', 'k', 1)), 'WRONG_MAP_KIND'],
  ['an item for a map of records', clientOp(add('notes', 'k', 1)), 'WRONG_MAP_KIND'],
  ['a removal of an item of a map of records', clientOp(removeItem('notes', 'k', '1:0:a')), 'WRONG_MAP_KIND'],
  [
    'an OR-map followed as records',
    { type: 'SYNC_INIT', mapName: 'tags', cursor: null, kind: 'lww' },
    'WRONG_MAP_KIND',
  ],
  ['a map of records compared as an OR-map', { type: 'ORMAP_SYNC_INIT', mapName: 'notes' }, 'WRONG_MAP_KIND'],
  ['a poll of an OR-map', { type: 'SYNC_DELTA', payload: { mapName: 'tags' } }, 'WRONG_MAP_KIND'],
  ['a path of no digits', { type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'notes', path: 'xy' } }, 'VALIDATION_ERROR'],
  [
    'a path of too many digits',
    { type: 'ORMAP_MERKLE_REQ_BUCKET', payload: { mapName: 'tags', path: '012345678' } },
    'VALIDATION_ERROR',
  ],
  ['the cursor of a query that nobody gave', query({ limit: 1, cursor: 'made up' }), 'INVALID_CURSOR'],
  [
    'a sequence of the journal that was never handed out',
    { type: 'JOURNAL_READ', requestId: 'j', fromSequence: '9007199254740991' },
    'INVALID_CURSOR',
  ],
  ['a pattern with a reference back', regex('(x)\\1'), 'BAD_QUERY'],
  ['a pattern that repeats without end', regex(`${'('.repeat(20)}x${'+)'.repeat(20)}{1000}`), 'BAD_QUERY'],
  ['an operator that nobody knows', query({ where: { text: { $like: 'x' } } }), 'BAD_QUERY'],
  [
    'the release of a lock that another holds',
    { type: 'LOCK_RELEASE', payload: { requestId: 'r', name: 'held', fencingToken: 1 } },
    'STALE_TOKEN',
  ],
  [
    'the release of a lock that another waits for',
    { type: 'LOCK_RELEASE', payload: { requestId: 'theirs', name: 'held' } },
    'NOT_FOUND',
  ],
  ['a lease of no time', lock({ ttl: 0 }), 'VALIDATION_ERROR'],
  ['a lease that ended before', lock({ ttl: -5_000 }), 'VALIDATION_ERROR'],
  ['a time to live of nothing', clientOp(put('notes', 'k', 1, { ttlMs: 0 })), 'VALIDATION_ERROR'],
  ['a time to live that is negative', clientOp(put('notes', 'k', 1, { ttlMs: -1 })), 'VALIDATION_ERROR'],
  ['a tag that stands for another value', clientOp(add('tags', 'k', 'other', { tag: '1:0:a' })), 'ALREADY_EXISTS'],
  ['a count that passes what is safe', raise(Number.MAX_SAFE_INTEGER), 'TOO_LARGE'],
  [
    'a poll from the future',
    { type: 'SYNC_DELTA', payload: { mapName: 'notes', lastSyncTimestamp: Date.now() + 3_600_000 } },
    'INVALID_CURSOR',
  ],
]

/** The code of the first refusal in what a client was sent, in whatever form. */
function codeIn(client: TestClient): string | undefined {
  for (const message of client.inbox) {
    if (message.type === 'ERROR') return message.payload.errorCode
    if (message.type === 'LOCK_RELEASED') return message.payload.errorCode
    if (message.type === 'OP_ACK') return message.payload.results[0]?.errorCode
  }
  return undefined
}

describe.each(encodings)('what features are asked for and cannot do, in %s', (encoding) => {
  test('INV-22 [ER2]: is refused by its code, changes nothing, and the connection goes on', async () => {
    await using server = await startTestServer({ journal: { enabled: true } })
    const [holder, client] = [await server.connect({ encoding }), await server.connect({ encoding })]
    holder.send(
      opBatch([put('notes', 'k', { text: 'milk' }), add('tags', 'k', 'one', { tag: '1:0:a' })], {
        writeConcern: 'APPLIED',
      }),
    )
    holder.send({ type: 'COUNTER_SYNC', payload: { name: 'votes', state: { p: { theirs: 5 }, n: {} } } })
    holder.send({ type: 'LOCK_REQUEST', payload: { requestId: 'theirs', name: 'held' } })
    await holder.settle()
    const codes: [string, string | undefined][] = []
    for (const [what, message] of wrong) {
      client.inbox.length = 0
      client.send(message)
      await client.until(() => codeIn(client) !== undefined)
      codes.push([what, codeIn(client)])
    }
    expect(codes).toEqual(wrong.map(([what, , code]) => [what, code]))
    client.send({ type: 'SYNC_FETCH', payload: { mapName: 'notes', keys: ['k'] } })
    expect((await client.take('SYNC_RECORDS')).payload.records).toMatchObject([{ record: { value: { text: 'milk' } } }])
    client.send({ type: 'ORMAP_DIFF_REQUEST', payload: { mapName: 'tags', keys: ['k'] } })
    expect((await client.take('ORMAP_DIFF_RESPONSE')).payload.entries).toMatchObject([{ records: [{ value: 'one' }] }])
    client.send({ type: 'COUNTER_REQUEST', payload: { name: 'votes' } })
    expect((await client.take('COUNTER_RESPONSE')).payload.state).toMatchObject({ p: { theirs: 5 }, n: {} })
    holder.send({ type: 'LOCK_RELEASE', payload: { requestId: 'theirs', name: 'held' } })
    expect((await holder.take('LOCK_RELEASED')).payload).toMatchObject({ success: true })
  })

  test('INV-22: a pattern that others take for ever over is answered, and what is only strange is no refusal', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    const text = 'x'.repeat(5_000)
    client.send(opBatch([put('notes', 'k', { text }), put('notes', 'l', { text: `${text}y` })]))
    client.send(regex('^(x+x+)+y$'))
    expect((await client.take('QUERY_RESP')).payload.results.map(({ key }) => key)).toEqual(['l'])
    // A tag that comes again with its value, and a path under which there is nothing.
    for (let i = 0; i < 2; i++) {
      client.send(clientOp(add('tags', 'k', 'one', { tag: '1:0:a' })))
      expect(
        (await client.take('OP_ACK', ({ payload }) => payload.results.length === 1)).payload.results,
      ).toMatchObject([{ success: true }])
    }
    for (const path of ['0', '01', '012', '01234567']) {
      client.send({ type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'nothing', path } })
      const answer = await (path.length < 3 ? client.take('SYNC_RESP_BUCKETS') : client.take('SYNC_RESP_LEAF'))
      expect(answer.payload).toMatchObject({
        path,
        ...('buckets' in answer.payload ? { buckets: {} } : { records: [] }),
      })
    }
    // The cursor of a map that is none begins anew.
    client.send({ type: 'SYNC_INIT', mapName: 'notes', cursor: 'made up' })
    expect((await client.take('SYNC_RESET_REQUIRED')).payload.mapName).toBe('notes')
    expect(client.inbox.filter(({ type }) => type === 'ERROR')).toEqual([])
  })
})

test('[HS4] INV-22: each bad part of a POST /sync is an error of its own, and the others are answered', async () => {
  await using server = await startTestServer()
  const response = await fetch(`${server.url.replace('ws:', 'http:')}/sync`, {
    method: 'POST',
    body: JSON.stringify({
      clientId: 'c',
      clientHlc: stampAt(1),
      operations: [put('notes', 'k', { text: 'milk' }), put('notes', 'l', 1, { ttlMs: -1 }), add('notes', 'k', 1)],
      syncMaps: [
        { mapName: 'notes', lastSyncTimestamp: { millis: Date.now() + 3_600_000, counter: 0, nodeId: 'n' } },
        { mapName: 'others' },
      ],
      queries: [
        { queryId: 'cursor', mapName: 'notes', cursor: 'made up', limit: 1 },
        { queryId: 'operator', mapName: 'notes', filter: { text: { $like: 'x' } } },
        { queryId: 'good', mapName: 'notes', filter: { text: 'milk' } },
      ],
      searches: [{ searchId: 'off', mapName: 'notes', query: 'milk' }],
    }),
  })
  expect(response.status).toBe(200)
  const { deltas, queryResults, errors } = (await response.json()) as Record<string, { errorCode?: string }[]>
  expect(deltas).toMatchObject([{ mapName: 'others' }])
  expect(queryResults).toMatchObject([{ queryId: 'good', results: [{ key: 'k' }] }])
  const codes = ['VALIDATION_ERROR', 'WRONG_MAP_KIND', 'INVALID_CURSOR', 'INVALID_CURSOR', 'BAD_QUERY', 'NOT_ENABLED']
  expect(errors?.map(({ errorCode }) => errorCode)).toEqual(codes)
})

test('INV-11: a stamp that is ahead of the server is refused on every way in, and its clock does not move', async () => {
  await using server = await startTestServer()
  const client = await server.connect()
  const ahead = { millis: Date.now() + 3_600_000, counter: 0, nodeId: 'ahead' }
  const now = stampAt()
  client.send(opBatch([put('notes', 'k', { a: 1 }, { stamp: now }), add('tags', 'k', 1, { tag: '1:0:a', stamp: now })]))
  await client.take('OP_ACK')
  const skewed = [
    put('notes', 'k', 2, { stamp: ahead }),
    patch('notes', 'k', { a: 2 }, { stamp: ahead }),
    remove('notes', 'k', { stamp: ahead }),
    add('tags', 'k', 2, { tag: '2:0:a', stamp: ahead }),
    removeItem('tags', 'k', '1:0:a', { stamp: ahead }),
  ]
  const results = async (): Promise<unknown[]> =>
    (await client.take('OP_ACK')).payload.results.map((each) => each.errorCode)
  client.send(opBatch(skewed))
  expect(await results()).toEqual(skewed.map(() => 'CLOCK_SKEW'))
  for (const op of skewed) {
    client.send(clientOp(op))
    expect(await results()).toEqual(['CLOCK_SKEW'])
  }
  const record = { value: { a: 2 }, timestamp: ahead }
  client.send({ type: 'SYNC_PUSH', payload: { mapName: 'notes', records: [{ key: 'k', record }] } })
  expect((await client.take('SYNC_PUSH_RESP')).payload.refused).toMatchObject([{ errorCode: 'CLOCK_SKEW' }])
  client.send({ type: 'SYNC_PUSH', payload: { mapName: 'tags', kind: 'or', records: [{ key: '2:0:a:k', record }] } })
  expect((await client.take('SYNC_PUSH_RESP')).payload.refused).toMatchObject([{ errorCode: 'CLOCK_SKEW' }])
  const entries = [{ key: 'k', records: [{ value: 2, timestamp: ahead, tag: '2:0:a' }], tombstones: [] }]
  client.send({ type: 'ORMAP_PUSH_DIFF', payload: { mapName: 'tags', entries } })
  expect((await client.take('ERROR')).payload).toMatchObject({ errorCode: 'CLOCK_SKEW', about: 'ORMAP_PUSH_DIFF' })
  const response = await fetch(`${server.url.replace('ws:', 'http:')}/sync`, {
    method: 'POST',
    body: JSON.stringify({ clientId: 'c', clientHlc: ahead, operations: skewed, syncMaps: [{ mapName: 'notes' }] }),
  })
  const answer = (await response.json()) as {
    serverHlc: { millis: number }
    errors: { errorCode: string }[]
    deltas: { records: unknown[] }[]
  }
  expect(answer.errors.map(({ errorCode }) => errorCode)).toEqual(skewed.map(() => 'CLOCK_SKEW'))
  expect(answer.deltas[0]?.records).toMatchObject([{ key: 'k', record: { value: { a: 1 } } }])
  expect(answer.serverHlc.millis).toBeLessThan(ahead.millis - 3_000_000)
})
