import { readFileSync, readdirSync } from 'node:fs'
import { LIMITS, encodeMsgpack, joinBatch, type Encoding, type Frame } from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { SECRET, clientOp, opBatch, put, stampAt, tokenOf } from '../testing/harness.ts'
import { startTestServer, type TestClient } from '../testing/test-server.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']
const vectors = new URL('../../../protocol/vectors/', import.meta.url)
const vector = (name: string): readonly unknown[] =>
  JSON.parse(readFileSync(new URL(`${name}.json`, vectors), 'utf8')) as unknown[]
/** The vectors of all features, which have a file each. */
const vectorsOf = (folder: string): readonly unknown[] =>
  readdirSync(new URL(folder, vectors)).flatMap((file) => vector(`${folder}/${file.replace('.json', '')}`))

interface RefusedFrame {
  readonly name: string
  readonly msgpack?: string
  readonly json?: string
  readonly errorCode: string
}
interface RefusedMessage {
  readonly name: string
  readonly json: string
  readonly errorCode: string
}
interface MessageVector {
  readonly name: string
  readonly json: string
  readonly msgpack: string
}

const stamp = stampAt(1_000)
const jsonOp = (record: string, key = '"k"'): string =>
  `{"type":"CLIENT_OP","payload":{"id":"1","mapName":"m","key":${key},"opType":"PUT","record":${record}}}`
const jsonValue = (value: string): string =>
  jsonOp(`{"value":${value},"timestamp":{"millis":1000,"counter":0,"nodeId":"n"}}`)
const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)
const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'))
/** A CLIENT_OP whose value is given in MessagePack bytes. */
const msgpackValue = (value: Uint8Array): Uint8Array => {
  const marker = 'VALUE-GOES-HERE'
  const whole = Buffer.from(encodeMsgpack(clientOp(put('m', 'k', marker, { id: '1', stamp }))))
  const at = whole.indexOf(marker) - 1
  return Buffer.concat([whole.subarray(0, at), value, whole.subarray(at + 1 + marker.length)])
}

/** Frames that are wrong, and by what they are answered: the code of an ERROR, or of the op's result. */
const wrong: readonly (readonly [what: string, frame: Frame, code: string])[] = [
  ['an empty text', '', 'PARSE_ERROR'],
  ['no JSON', 'hello', 'PARSE_ERROR'],
  ['half a JSON text', '{"type":"PING"', 'PARSE_ERROR'],
  ['a number', '5', 'INVALID_REQUEST'],
  ['null', 'null', 'INVALID_REQUEST'],
  ['a list', '[{"type":"PING"}]', 'INVALID_REQUEST'],
  ['a type that is a number', '{"type":5}', 'INVALID_REQUEST'],
  ['no bytes', new Uint8Array(), 'PARSE_ERROR'],
  ['the byte that is never used', hex('c1'), 'PARSE_ERROR'],
  ['bytes that announce four billion items', hex('dd ff ff ff ff'), 'PARSE_ERROR'],
  ['bytes that announce a text of four gigabytes', hex('db ff ff ff ff'), 'PARSE_ERROR'],
  [
    'JSON in bytes that are not UTF-8',
    Buffer.concat([Buffer.from('{"type":"'), hex('ff fe'), Buffer.from('"}')]),
    'PARSE_ERROR',
  ],
  ['JSON that is too deep', `{"type":"PING","x":${nested(200_000)}}`, 'TOO_DEEP'],
  ['MessagePack that is too deep', hex('91'.repeat(20_000) + 'c0'), 'TOO_DEEP'],
  ['a value that is too deep', jsonValue(nested(33)), 'TOO_DEEP'],
  ['a value that is too large', jsonValue(`"${'x'.repeat(LIMITS.valueBytes)}"`), 'TOO_LARGE'],
  [
    'a batch that is too long',
    JSON.stringify(opBatch(Array.from({ length: 1_001 }, () => put('m', 'k', 1)))),
    'TOO_LARGE',
  ],
  ['an extension', msgpackValue(hex('d6 ff 00 00 00 00')), 'BAD_VALUE'],
  ['an extension that stands for a class', msgpackValue(hex('c7 01 72 00')), 'BAD_VALUE'],
  ['NaN', msgpackValue(hex('cb 7f f8 00 00 00 00 00 00')), 'BAD_VALUE'],
  ['infinity', msgpackValue(hex('cb 7f f0 00 00 00 00 00 00')), 'BAD_VALUE'],
  ['a big integer', msgpackValue(hex('cf 00 20 00 00 00 00 00 00')), 'BAD_VALUE'],
  ['the greatest integer', msgpackValue(hex('cf ff ff ff ff ff ff ff ff')), 'BAD_VALUE'],
  ['an integer below all safe ones', msgpackValue(hex('d3 80 00 00 00 00 00 00 00')), 'BAD_VALUE'],
  ['a number in JSON that is infinite', jsonValue('1e999'), 'BAD_VALUE'],
  ['half a surrogate pair in MessagePack', msgpackValue(hex('a3 ed a0 80')), 'BAD_VALUE'],
  ['half a surrogate pair in JSON', jsonValue('"\\ud800"'), 'BAD_VALUE'],
  ['U+0000', jsonValue('"\\u0000"'), 'BAD_VALUE'],
  [
    'half a surrogate pair as key',
    jsonOp('{"value":1,"timestamp":{"millis":1,"counter":0,"nodeId":"n"}}', '"\\ud800"'),
    'BAD_KEY',
  ],
  ['a field __proto__', jsonValue('{"__proto__":{"admin":true}}'), 'BAD_KEY'],
  ['a field constructor', jsonValue('{"a":{"constructor":{"prototype":{"x":1}}}}'), 'BAD_KEY'],
  ['a field prototype', msgpackValue(hex('81 a9 70726f746f74797065 01')), 'BAD_KEY'],
  ['a field __proto__ in MessagePack', msgpackValue(hex('81 a9 5f5f70726f746f5f5f 80')), 'BAD_KEY'],
  ['a key that comes twice', msgpackValue(hex('82 a1 61 01 a1 61 02')), 'BAD_KEY'],
  ['a key that is a number', msgpackValue(hex('81 01 01')), 'BAD_KEY'],
  ['a message __proto__', '{"__proto__":{"type":"PING","timestamp":1}}', 'INVALID_REQUEST'],
  ['a type of the prototype', '{"type":"__proto__"}', 'UNKNOWN_OPERATION'],
  ['a type of every object', '{"type":"toString"}', 'UNKNOWN_OPERATION'],
  ['bytes in JSON that are no base64', jsonValue('{"$bytes":"%%%"}'), 'BAD_VALUE'],
  ['an op that is a text', '{"type":"OP_BATCH","payload":{"ops":["x"]}}', 'VALIDATION_ERROR'],
  ['ops that are no list', '{"type":"OP_BATCH","payload":{"ops":{"length":3}}}', 'VALIDATION_ERROR'],
  ['a server message', '{"type":"AUTH_ACK","userId":"root"}', 'UNKNOWN_OPERATION'],
  [
    'a batch that does not come out even',
    encodeMsgpack({ type: 'BATCH', data: new Uint8Array([1, 2, 3]) } as never),
    'PARSE_ERROR',
  ],
  ['a batch whose data are a map', encodeMsgpack({ type: 'BATCH', data: { 0: 1 } } as never), 'PARSE_ERROR'],
  ['a batch in a batch', joinBatch([joinBatch([encodeMsgpack({ type: 'PING', timestamp: 1 })])]), 'UNKNOWN_OPERATION'],
  [
    'a batch of too many',
    joinBatch(Array.from({ length: 1_001 }, () => encodeMsgpack({ type: 'PING', timestamp: 1 }))),
    'TOO_LARGE',
  ],
]

/** The code by which the server answers a frame. */
async function codeOf(client: TestClient, frame: Frame): Promise<string | undefined> {
  client.inbox.length = 0
  client.sendRaw(frame)
  await client.until(() => client.inbox.some(({ type }) => type === 'ERROR' || type === 'OP_ACK'))
  const answer = client.inbox.find(({ type }) => type === 'ERROR' || type === 'OP_ACK')
  if (answer?.type === 'ERROR') {
    expect(answer.payload.code).toBeGreaterThanOrEqual(400)
    expect(answer.payload.message).not.toBe('')
    return answer.payload.errorCode
  }
  return answer?.type === 'OP_ACK' ? answer.payload.results[0]?.errorCode : undefined
}

describe.each(encodings)('to a client that spoke %s', (encoding) => {
  test('[FR7] [FR8] [FR9] [FR11] [ER3] every bad frame is answered by its code, and the connection survives', async () => {
    await using server = await startTestServer()
    const client = await server.connect({ encoding })
    const codes: unknown[] = []
    for (const [what, frame] of wrong) codes.push([what, await codeOf(client, frame)])
    expect(codes).toEqual(wrong.map(([what, , code]) => [what, code]))
    client.send(clientOp(put('m', 'fine', 1)))
    expect((await client.take('OP_ACK')).payload.results).toMatchObject([{ success: true }])
    expect(Object.prototype).not.toHaveProperty('admin')
    client.send({ type: 'SYNC_INIT', mapName: 'm', cursor: null })
    expect((await client.take('SYNC_DIFF')).payload.records.map(({ key }) => key)).toEqual(['fine'])
  })
})

describe('the vectors of the protocol', () => {
  test('[VE3] every refused frame is refused with its code', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    const frames = vector('refused-frames') as readonly RefusedFrame[]
    expect(frames.length).toBeGreaterThan(10)
    for (const { name, json, msgpack, errorCode } of frames) {
      expect([name, await codeOf(client, json ?? hex(msgpack ?? ''))]).toEqual([name, errorCode])
    }
  })

  test('[VE3] every refused message is refused with its code', async () => {
    await using server = await startTestServer()
    const client = await server.connect()
    const messages = vectorsOf('refused-messages') as readonly RefusedMessage[]
    expect(messages.length).toBeGreaterThan(10)
    for (const { name, json, errorCode } of messages) {
      client.inbox.length = 0
      client.sendRaw(json)
      await client.settle()
      const codes = client.inbox.flatMap((each) => {
        if (each.type === 'ERROR') return [each.payload.errorCode]
        if (each.type === 'OP_ACK') return each.payload.results.map((result) => result.errorCode)
        return each.type === 'SYNC_PUSH_RESP' ? each.payload.refused.map((refused) => refused.errorCode) : []
      })
      expect([name, codes]).toEqual([name, expect.arrayContaining([errorCode])])
    }
  })

  test('[FR16] [FR17] several messages in one frame are taken in order, in both layouts', async () => {
    await using server = await startTestServer({ jwtSecret: SECRET, auth: 'jwt' })
    const bytes = (message: object): Uint8Array => encodeMsgpack(message as never)
    const messages = [
      bytes({ type: 'AUTH', token: tokenOf('ann') }),
      bytes(clientOp(put('m', 'a', 1, { id: '1' }))),
      bytes({ type: 'NOPE' }),
      bytes(clientOp(put('m', 'b', 1, { id: '2' }))),
    ]
    const bigEndian = Buffer.concat(
      messages.flatMap((message) => {
        const length = Buffer.alloc(4)
        length.writeUInt32BE(message.length)
        return [length, message]
      }),
    )
    for (const frame of [joinBatch(messages), bytes({ type: 'BATCH', data: new Uint8Array(bigEndian) })]) {
      const client = await server.connect({ encoding: 'msgpack' })
      client.sendRaw(frame)
      client.send({ type: 'PING', timestamp: 9 })
      await client.take('PONG')
      expect(client.inbox.map(({ type }) => type)).toEqual(['AUTH_REQUIRED', 'AUTH_ACK', 'OP_ACK', 'ERROR', 'OP_ACK'])
    }
  })
})

describe('frames against the protocol of WebSocket', () => {
  const openRaw = (url: string): Promise<{ socket: WebSocket; closed: Promise<number> }> =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`${url}/ws`)
      const closed = new Promise<number>((done) => socket.on('close', done))
      socket.on('error', reject)
      socket.on('open', () => resolve({ socket, closed }))
    })

  test('INV-22: a frame over maxPayload closes with 1009, a text that is not UTF-8 with 1007; others notice nothing', async () => {
    await using server = await startTestServer({ connections: { maxPayload: 100_000 } })
    const other = await server.connect()
    const large = await server.connect()
    await large.settle()
    large.sendRaw('x'.repeat(100_001))
    expect(await large.untilClosed()).toMatchObject({ code: 1009 })
    const { socket, closed } = await openRaw(server.url)
    // A text frame whose bytes are not UTF-8, written below the library.
    const tcp = (socket as unknown as { _socket: { write(bytes: Uint8Array): void } })._socket
    tcp.write(new Uint8Array([0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe]))
    expect(await closed).toBe(1007)
    const reserved = await openRaw(server.url)
    ;(reserved.socket as unknown as { _socket: { write(bytes: Uint8Array): void } })._socket.write(
      new Uint8Array([0xf1, 0x80, 0, 0, 0, 0]),
    )
    expect(await reserved.closed).toBe(1002)
    await other.settle()
  })
})

describe('what is sent again', () => {
  test('INV-7: frames that are replayed change nothing more', async () => {
    await using server = await startTestServer({ jwtSecret: SECRET, auth: 'jwt' })
    const client = await server.connect({ token: tokenOf('ann') })
    const frames = [
      clientOp(put('m', 'a', { n: 1 }, { id: '1' })),
      opBatch([put('m', 'b', 2, { id: '2' }), put('m', 'a', { n: 3 }, { id: '3' })]),
      { type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'm', query: {} } },
      {
        type: 'SYNC_PUSH',
        payload: { mapName: 'm', records: [{ key: 'c', record: { value: 1, timestamp: stampAt() } }] },
      },
    ] as const
    const state = async (): Promise<unknown> => {
      client.send({ type: 'SYNC_TRIE', payload: { mapName: 'm' } })
      return (await client.take('SYNC_TRIE_RESP')).payload.digest
    }
    for (const frame of frames) client.send(frame)
    await client.settle()
    const once = await state()
    const other = await server.connect({ token: tokenOf('mallory') })
    for (const [who, times] of [
      [client, 5],
      [other, 5],
    ] as const) {
      for (let i = 0; i < times; i++) for (const frame of frames) who.send(frame)
      await who.settle()
    }
    expect(await state()).toBe(once)
    // An AUTH that was overheard works as long as its token does: that is what TLS is for. It is not answered twice.
    expect(server.server.inspect()['queries']).toMatchObject({ subscriptions: 2 })
  })
})

describe('a flood', () => {
  test('INV-22: 50,000 mutated frames crash nothing, cost bounded memory, and another client notices nothing', async () => {
    await using server = await startTestServer()
    const seed = 7
    let state = seed
    const random = (): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return state / 2 ** 32
    }
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T
    const corpus: Uint8Array[] = [
      ...(vectorsOf('messages') as readonly MessageVector[]).flatMap(({ json, msgpack }) => [
        Buffer.from(json),
        hex(msgpack),
      ]),
      ...wrong
        .map(([, frame]) => (typeof frame === 'string' ? Buffer.from(frame) : frame))
        .filter(({ length }) => length < 2_000),
      Buffer.from(encodeMsgpack(opBatch([put('m', 'a', { deep: { er: [1, 'two', null] } }), put('m', 'b', 2)]))),
      Buffer.from(
        encodeMsgpack({
          type: 'QUERY_SUB',
          payload: { queryId: 'q', mapName: 'm', query: { where: { a: { $gt: 1 } } } },
        }),
      ),
      Buffer.from(encodeMsgpack({ type: 'SYNC_FETCH', payload: { mapName: 'm', keys: ['a', 'b'] } })),
    ]
    const mutate = (source: Uint8Array): Uint8Array => {
      const bytes = new Uint8Array(source)
      const times = 1 + Math.floor(random() * 4)
      for (let i = 0; i < times && bytes.length > 0; i++) {
        const at = Math.floor(random() * bytes.length)
        const dice = random()
        if (dice < 0.6) bytes[at] = Math.floor(random() * 256)
        else if (dice < 0.8) bytes[at] = pick([0, 0xff, 0x7f, 0x80, 0xc1, 0xdd, 0x7b, 0x22])
        else if (dice < 0.9) return bytes.slice(0, at)
        else {
          const other = pick(corpus)
          return Buffer.concat([bytes.subarray(0, at), other.subarray(Math.floor(random() * other.length))])
        }
      }
      return bytes
    }
    const bystander = await server.connect({ encoding: 'msgpack' })
    bystander.send({ type: 'SYNC_INIT', mapName: 'quiet', cursor: null })
    await bystander.take('SYNC_DIFF')
    bystander.inbox.length = 0
    const latencies: number[] = []
    let isDone = false
    const watching = (async () => {
      while (!isDone) {
        const startedAt = performance.now()
        await bystander.settle()
        latencies.push(performance.now() - startedAt)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    })()
    ;(globalThis as { gc?: () => void }).gc?.()
    const before = process.memoryUsage().rss
    let sent = 0
    let connections = 0
    while (sent < 50_000) {
      const client = await server.connect({ encoding: random() < 0.5 ? 'json' : 'msgpack' })
      connections++
      client.onMessage = () => (client.inbox.length = 0)
      for (let burst = 0; burst < 50 && client.closed === undefined && sent < 50_000; burst++) {
        for (let i = 0; i < 50; i++) client.sendRaw(mutate(pick(corpus)))
        sent += 50
        await new Promise((resolve) => setImmediate(resolve))
      }
      if (client.closed === undefined) {
        // A last word that is well-formed: whoever is still there is served.
        client.send({ type: 'PING', timestamp: -1 })
        client.onMessage = undefined
        await client.take('PONG', ({ timestamp }) => timestamp === -1)
        client.end()
      }
    }
    isDone = true
    await watching
    expect(sent).toBe(50_000)
    expect(connections).toBeLessThan(2_000)
    expect(server.log.filter((line) => line.includes('error'))).toEqual([])
    expect(bystander.inbox).toEqual([])
    expect((process.memoryUsage().rss - before) / 1024 / 1024).toBeLessThan(400)
    latencies.sort((a, b) => a - b)
    expect(latencies[Math.floor(latencies.length * 0.99)]).toBeLessThan(2_000)
    bystander.send(clientOp(put('quiet', 'k', 1)))
    expect((await bystander.take('OP_ACK')).payload.results).toMatchObject([{ success: true }])
  }, 60_000)
})
