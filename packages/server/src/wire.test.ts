import { readFileSync, readdirSync } from 'node:fs'
import {
  SUBPROTOCOLS,
  clientMessageSchemas,
  encodeJson,
  encodeMsgpack,
  type ClientMessage,
  type Encoding,
} from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import { SECRET, clientOp, makeToken, patch, put, remove, tokenOf } from './testing/harness.ts'
import { startTestServer, type TestClient } from './testing/test-server.ts'

// What holds for every type of message, whatever feature it is of.

const encodings: readonly Encoding[] = ['json', 'msgpack']
const vectors = new URL('../../protocol/vectors/messages/', import.meta.url)

/** One whole and valid message of each type that a client may send, from the vectors of the protocol. */
const examples = new Map<string, ClientMessage>()
for (const file of readdirSync(vectors)) {
  for (const { json } of JSON.parse(readFileSync(new URL(file, vectors), 'utf8')) as { json: string }[]) {
    const message = JSON.parse(json) as ClientMessage
    if (message.type in clientMessageSchemas && !examples.has(message.type)) examples.set(message.type, message)
  }
}

/** What is not answered where all is well: what comes of it are events, or nothing. */
const UNANSWERED: ReadonlySet<string> = new Set([
  'SYNC_STOP',
  'QUERY_UNSUB',
  'SEARCH_UNSUB',
  'TOPIC_SUB',
  'TOPIC_UNSUB',
  'TOPIC_PUB',
  'ROOM_UPDATE',
  'ROOM_LEAVE',
  'JOURNAL_SUBSCRIBE',
  'JOURNAL_UNSUBSCRIBE',
  'ORMAP_PUSH_DIFF',
])

const send = (client: TestClient, message: object): void =>
  client.sendRaw(client.encoding === 'json' ? encodeJson(message as never) : encodeMsgpack(message as never))

/** The same message with its fields on the other side: beside its type, or in a payload. */
function inOtherShape({ type, payload, requestId, ...flat }: Record<string, unknown>): object {
  return payload === undefined ? { type, requestId, payload: flat } : { ...(payload as object), type, requestId }
}

test('[FR14] the vectors have a message of every type that a client may send', () => {
  expect([...examples.keys()].toSorted()).toEqual(Object.keys(clientMessageSchemas).toSorted())
})

describe.each(encodings)('every type of message in %s', (encoding) => {
  test.each([...examples])(
    '[FR12] [FR13] %s is read flat and wrapped, and its answer repeats the requestId',
    async (type, example) => {
      // With everything switched on, so that what is asked is answered and not refused.
      const search = { maps: { todos: { fields: ['text'] } } }
      await using server = await startTestServer({ search, journal: { enabled: true } })
      for (const shape of [(message: object) => message, inOtherShape]) {
        const client = await server.connect({ encoding })
        const message = shape({ ...example, requestId: `id-${type}` })
        send(client, message)
        await client.settle()
        const answers = client.inbox.filter((answer) => answer.requestId === `id-${type}`)
        const [error] = client.inbox.flatMap((answer) => (answer.type === 'ERROR' ? [answer.payload] : []))
        // A refusal by what the server holds is an answer; one by the shape would say that the shape is not read.
        expect(error?.details?.['path']).toBeUndefined()
        if (!UNANSWERED.has(type)) expect(answers).not.toEqual([])
        client.end()
      }
    },
  )

  test.each([...examples])(
    '[FR13] [ER3] %s repeats the requestId where it is refused for want of AUTH too',
    async (type, example) => {
      await using server = await startTestServer({ jwtSecret: SECRET })
      const client = await server.connect({ encoding })
      send(client, { ...example, requestId: 'early' })
      if (type === 'AUTH') await client.untilClosed()
      else await client.settle()
      expect(client.inbox.filter(({ requestId }) => requestId === 'early')).not.toEqual([])
    },
  )
})

test('[FR13] AUTH repeats the requestId in its answers, good and bad', async () => {
  await using server = await startTestServer({ jwtSecret: SECRET })
  const client = await server.connect()
  client.send({ type: 'AUTH', token: tokenOf('ada'), requestId: 'a1' })
  expect((await client.take('AUTH_ACK')).requestId).toBe('a1')
  client.send({ type: 'AUTH', token: makeToken({ sub: 'ada', exp: 1 }), requestId: 'a2' })
  expect((await client.take('AUTH_FAIL')).requestId).toBe('a2')
})

describe('one map in both encodings', () => {
  const values = {
    nothing: null,
    flags: [true, false],
    numbers: [0, -1, 1.5, 4_294_967_296, Number.MAX_SAFE_INTEGER, 5e-324],
    texts: ['', 'ключ 😀', '\ufeff'],
    bytes: Uint8Array.of(0, 1, 254, 255),
    none: new Uint8Array(),
    likeBytes: { $bytes: 'AQ==', $$bytes: { a: 1 } },
    deep: { list: [{ list: [[]] }] },
  }

  test.each([
    ['by what is sent', undefined, undefined],
    ['by subprotocols', SUBPROTOCOLS.json, SUBPROTOCOLS.msgpack],
  ])('[FR1] [FR4] [FR5] chosen %s, all values reach the other side as they are', async (_, json, msgpack) => {
    await using server = await startTestServer()
    const clients = [
      await server.connect({ encoding: 'json', ...(json === undefined ? {} : { subprotocol: json }) }),
      await server.connect({ encoding: 'msgpack', ...(msgpack === undefined ? {} : { subprotocol: msgpack }) }),
    ] as const
    for (const client of clients) {
      client.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
      await client.take('SYNC_DIFF')
      client.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: {} } })
      await client.take('QUERY_RESP')
    }
    for (const [from, to] of [clients, clients.toReversed()] as const) {
      if (from === undefined || to === undefined) continue
      const key = `from ${from.encoding}`
      from.send(clientOp(put('m', key, { values, plain: 1 })))
      from.send(clientOp(patch('m', key, { plain: Uint8Array.of(7) })))
      await to.until(() => to.inbox.some(({ type }) => type === 'QUERY_UPDATE'))
      await from.settle()
      await to.settle()
      from.inbox.length = 0
      to.inbox.length = 0
      to.send({ type: 'SYNC_FETCH', payload: { mapName: 'm', keys: [key] } })
      const [row] = (await to.take('SYNC_RECORDS')).payload.records
      expect(row?.record.value).toEqual({ values, plain: Uint8Array.of(7) })
      from.send(clientOp(remove('m', key)))
      const { payload } = await to.take('QUERY_UPDATE')
      expect(payload).toMatchObject({ key, changeType: 'LEAVE', value: null })
      await from.settle()
      from.inbox.length = 0
    }
    const digests = []
    for (const client of clients) {
      client.send({ type: 'SYNC_TRIE', payload: { mapName: 'm' } })
      digests.push((await client.take('SYNC_TRIE_RESP')).payload)
    }
    expect(digests[0]).toEqual(digests[1])
  })

  test('[FR16] what a turn sends is a BATCH for who speaks MessagePack, and single frames for who speaks JSON', async () => {
    await using server = await startTestServer()
    for (const encoding of encodings) {
      const client = await server.connect({ encoding })
      await client.settle()
      const before = { frames: client.frames, messages: client.inbox.length }
      // What arrives in one frame is answered in one turn.
      const ops = Array.from({ length: 20 }, (_, i) => put('secret', `k${i}`, i, { writeConcern: 'PERSISTED' }))
      client.send({ type: 'OP_BATCH', payload: { ops } })
      await client.take('OP_ACK')
      const messages = client.inbox.length + 1 - before.messages
      expect(messages).toBe(21)
      const frames = client.frames - before.frames
      if (encoding === 'json') expect(frames).toBe(messages)
      else expect(frames).toBe(1)
    }
  })
})
