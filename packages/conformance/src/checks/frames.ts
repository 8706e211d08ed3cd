import { encodeValueMsgpack } from '@syncline/protocol'
import type { CheckGroup } from '../check.ts'
import { Failure, expectSame, expectShape, expectThat, shown } from '../failure.ts'
import type { Trial } from '../trial.ts'
import { vectorsIn, vectorsOf, type Vector } from '../vectors.ts'
import { encode, type Encoding, type Peer } from '../wire.ts'

const ping = { type: 'PING', timestamp: 7 }
const bytes = (hex: string): Uint8Array => Buffer.from(hex, 'hex')
const other = (encoding: Encoding): Encoding => (encoding === 'json' ? 'msgpack' : 'json')

/** What was written is read in both encodings as it was. */
async function roundTrip(trial: Trial, values: readonly unknown[]): Promise<void> {
  const mapName = trial.name()
  const writer = await trial.signedIn()
  const readers = [await trial.signedIn(trial.encoding), await trial.signedIn(other(trial.encoding))]
  for (const [i, value] of values.entries()) {
    expectShape(await trial.write(writer, trial.put(mapName, `k${i}`, { value })), { success: true }, 'an OP_ACK with')
  }
  for (const reader of readers) {
    const { payload } = await reader.ask({ type: 'SYNC_INIT', mapName, cursor: null }, 'SYNC_DIFF')
    for (const [i, value] of values.entries()) {
      const found = (payload['records'] as Vector[]).find(({ key }) => key === `k${i}`)
      expectSame(found?.['record'].value.value, value, `in ${reader.encoding} the value`)
    }
  }
}

/** Frames that must be refused, after which the connection still works. */
async function refuses(trial: Trial, rules: readonly string[]): Promise<void> {
  const peer = await trial.signedIn()
  const cases = vectorsOf('refused-frames').filter((vector) => rules.includes(vector['rules'] as string))
  for (const { json, msgpack, errorCode, name } of cases) {
    if ((json === undefined) === (trial.encoding === 'json')) continue
    peer.sendFrame(json === undefined ? bytes(msgpack as string) : (json as string))
    await named(name as string, () => peer.takeError(errorCode as string))
  }
  peer.send(ping)
  await peer.take('PONG')
}

/** Messages that must be refused, after which the connection still works. */
export async function refusesMessages(trial: Trial, rule: string): Promise<void> {
  const peer = await trial.signedIn()
  const cases = vectorsIn('refused-messages').filter((vector) => (vector['rules'] as string).split(' ')[0] === rule)
  for (const vector of cases) {
    const { json, msgpack, errorCode, name } = vector
    if (trial.encoding === 'msgpack' && msgpack === undefined) continue
    peer.sendFrame(trial.encoding === 'json' ? (json as string) : bytes(msgpack as string))
    await named(name as string, () => takeRefusal(peer, vector, errorCode as string))
  }
  peer.send(ping)
  await peer.take('PONG')
}

/** A message is refused by ERROR, an op in its OP_ACK, a lock by LOCK_RELEASED. */
async function takeRefusal(peer: Peer, { json }: Vector, errorCode: string): Promise<void> {
  const { type } = (JSON.parse(json as string) ?? {}) as { readonly type?: unknown }
  if (type === 'CLIENT_OP') {
    const { payload } = await peer.take('OP_ACK')
    expectShape(payload['results'], [{ success: false, errorCode }], 'an OP_ACK with the result')
  } else {
    const { payload } = await peer.takeRefusal()
    expectShape(payload, { errorCode }, 'a refusal with')
  }
}

export async function named(name: string, look: () => Promise<unknown>): Promise<void> {
  try {
    await look()
  } catch (error) {
    throw error instanceof Failure ? new Failure(`${error.expected} for ${name}`, error.seen) : error
  }
}

/** [FR16] [FR17] Messages joined in one frame. */
export function batchOf(messages: readonly object[], isCounted: boolean): Uint8Array {
  const parts = messages.map((message) => Buffer.from(encodeValueMsgpack(message as never)))
  const number = (value: number): Buffer => {
    const buffer = Buffer.alloc(4)
    if (isCounted) buffer.writeUInt32LE(value)
    else buffer.writeUInt32BE(value)
    return buffer
  }
  const data = Buffer.concat([
    ...(isCounted ? [number(parts.length)] : []),
    ...parts.flatMap((part) => [number(part.length), part]),
  ])
  return encodeValueMsgpack({ type: 'BATCH', count: parts.length, data: new Uint8Array(data) })
}

/** FR: frames. */
export const frames: CheckGroup = {
  name: 'Frames',
  checks: [
    {
      rule: 'FR1',
      title: 'the first frame is AUTH_REQUIRED as JSON text, whatever the subprotocol',
      encodings: ['json'],
      async run(trial) {
        for (const subprotocols of [[], ['syncline.v1.json'], ['syncline.v1.msgpack']]) {
          const peer = await trial.connect({ subprotocols })
          await peer.take('AUTH_REQUIRED')
          const [first] = peer.received
          expectThat(first?.encoding === 'json', 'a text frame', 'a binary frame')
        }
      },
    },
    {
      rule: 'FR1',
      title: 'the server answers in the encoding of the latest frame',
      encodings: ['json'],
      async run(trial) {
        const peer = await trial.signedIn()
        for (const encoding of ['msgpack', 'json', 'msgpack'] as const) {
          peer.sendFrame(encode(encoding, ping))
          await peer.take('PONG')
          const answer = peer.received.at(-1)
          expectThat(answer?.encoding === encoding, `PONG in ${encoding}`, `PONG in ${answer?.encoding}`)
        }
      },
    },
    {
      rule: 'FR1',
      title: 'a subprotocol is confirmed, and fixes the encoding of the answers',
      async run(trial) {
        const subprotocol = `syncline.v1.${trial.encoding}`
        const peer = await trial.connect({ subprotocols: [subprotocol], encoding: other(trial.encoding) })
        expectThat(peer.subprotocol === subprotocol, `the subprotocol ${subprotocol}`, `"${peer.subprotocol}"`)
        peer.send(ping)
        await peer.take('PONG')
        const answer = peer.received.at(-1)
        expectThat(answer?.encoding === trial.encoding, `PONG in ${trial.encoding}`, `PONG in ${answer?.encoding}`)
      },
    },
    {
      rule: 'FR2',
      title: 'every form of MessagePack is read, whole numbers of 64 bits included',
      encodings: ['msgpack'],
      async run(trial) {
        const peer = await trial.signedIn()
        const head = '82a474797065a450494e47a974696d657374616d70'
        for (const [form, timestamp] of [
          ['cf0000000000000005', 5],
          ['cf001fffffffffffff', Number.MAX_SAFE_INTEGER],
          ['d3ffffffffffffffff', -1],
          ['cd0005', 5],
          ['ca3fc00000', 1.5],
          ['cb3ff8000000000000', 1.5],
        ] as const) {
          peer.sendFrame(bytes(head + form))
          expectSame((await peer.take('PONG'))['timestamp'], timestamp, `for ${form} the timestamp`)
        }
      },
    },
    {
      rule: 'FR3',
      title: 'a binary frame that begins with { is JSON',
      encodings: ['json'],
      async run(trial) {
        const peer = await trial.signedIn()
        peer.sendFrame(Buffer.from(JSON.stringify(ping)))
        await peer.take('PONG')
        expectThat(peer.received.at(-1)?.encoding === 'json', 'PONG in JSON', 'PONG in MessagePack')
      },
    },
    {
      rule: 'FR4',
      title: 'bytes are the same in both encodings',
      run: (trial) =>
        roundTrip(trial, [
          new Uint8Array(),
          Uint8Array.of(0),
          Uint8Array.of(255, 254),
          Uint8Array.of(1, 2, 3),
          new Uint8Array(300),
        ]),
    },
    {
      rule: 'FR5',
      title: 'maps that look like bytes come back as the maps they are',
      run: (trial) =>
        roundTrip(trial, [
          { $bytes: 'AQ==' },
          { $$bytes: 5 },
          { $bytes: { $bytes: 'x' } },
          { $bytes: 1, a: 2 },
          { $bytes: Uint8Array.of(1) },
        ]),
    },
    { rule: 'FR6', title: 'a frame that is too deep is refused TOO_DEEP', run: (trial) => refuses(trial, ['FR6']) },
    { rule: 'FR7', title: 'what is not one value is refused PARSE_ERROR', run: (trial) => refuses(trial, ['FR7']) },
    { rule: 'FR8', title: 'what no value holds is refused BAD_VALUE', run: (trial) => refuses(trial, ['FR8']) },
    {
      rule: 'FR9',
      title: 'bad names of members are refused BAD_KEY',
      encodings: ['msgpack'],
      run: (trial) => refuses(trial, ['FR9']),
    },
    {
      rule: 'FR10',
      title: 'minus zero is zero',
      async run(trial) {
        const peer = await trial.signedIn()
        const frame =
          trial.encoding === 'json'
            ? '{"type":"PING","timestamp":-0}'
            : bytes('82a474797065a450494e47a974696d657374616d70cb8000000000000000')
        peer.sendFrame(frame)
        const { timestamp } = await peer.take('PONG')
        expectThat(Object.is(timestamp, 0), '0', Object.is(timestamp, -0) ? '-0' : shown(timestamp))
      },
    },
    {
      rule: 'FR11',
      title: 'what is no message is refused INVALID_REQUEST',
      run: (trial) => refusesMessages(trial, 'FR11'),
    },
    {
      rule: 'FR12',
      title: 'fields beside type or in payload, and unknown members, mean the same',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        peer.send({ type: 'PING', payload: { timestamp: 1, more: [1] }, more: {} })
        expectSame((await peer.take('PONG'))['timestamp'], 1, 'the timestamp')
        const { payload } = trial.put(mapName, 'k', 1) as { readonly payload: object }
        expectShape(await trial.write(peer, { type: 'CLIENT_OP', ...payload }), { success: true }, 'an OP_ACK with')
        peer.send({ type: 'SYNC_INIT', payload: { mapName, cursor: null } })
        await peer.take('SYNC_DIFF')
        peer.send({ type: 'QUERY_SUB', queryId: 'q', mapName, query: {} })
        await peer.take('QUERY_RESP')
      },
    },
    { rule: 'FR12', title: 'a payload that is no map is refused', run: (trial) => refusesMessages(trial, 'FR12') },
    {
      rule: 'FR13',
      title: 'the reply and the refusal repeat the requestId',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        const requestId = 'r'.repeat(128)
        for (const [message, reply] of [
          [ping, 'PONG'],
          [trial.put(mapName, 'k', 1), 'OP_ACK'],
          [{ type: 'SYNC_FETCH', payload: { mapName, keys: ['k'] } }, 'SYNC_RECORDS'],
          [{ type: 'NOPE' }, 'ERROR'],
        ] as const) {
          expectSame(
            (await peer.ask({ ...message, requestId }, reply)).requestId,
            requestId,
            `in ${reply} the requestId`,
          )
        }
      },
    },
    {
      rule: 'FR13',
      title: 'a bad requestId is refused INVALID_REQUEST',
      run: (trial) => refusesMessages(trial, 'FR13'),
    },
    {
      rule: 'FR14',
      title: 'types that are not known are refused UNKNOWN_OPERATION, those of existing clients too',
      async run(trial) {
        await refusesMessages(trial, 'FR14')
        const peer = await trial.signedIn()
        for (const type of [
          'ENTRY_PROCESS',
          'REGISTER_RESOLVER',
          'HYBRID_QUERY_SUBSCRIBE',
          'VECTOR_SEARCH',
          'SQL_QUERY',
          'DEVICE_HELLO',
        ]) {
          peer.send({ type, requestId: 'r' })
          await peer.takeError('UNKNOWN_OPERATION', type)
        }
        await peer.settle()
      },
    },
    {
      rule: 'ER3',
      title: 'an ERROR names the type that was refused and repeats its requestId',
      async run(trial) {
        const peer = await trial.signedIn()
        for (const [type, errorCode] of [
          ['NOPE', 'UNKNOWN_OPERATION'],
          ['PING', 'VALIDATION_ERROR'],
          ['SYNC_FETCH', 'VALIDATION_ERROR'],
        ] as const) {
          peer.send({ type, requestId: `of ${type}` })
          const error = await peer.takeError(errorCode, type)
          expectSame(error.requestId, `of ${type}`, 'the requestId')
        }
      },
    },
    {
      rule: 'ER5',
      title: 'what is refused because of a limit names it, and how large it is',
      async run(trial) {
        const peer = await trial.signedIn()
        const op = { key: 'k', record: { value: 1, timestamp: trial.stamp() }, mapName: trial.name() }
        peer.send({ type: 'OP_BATCH', payload: { ops: Array.from({ length: 1_001 }, () => op) } })
        const { payload } = await peer.takeError('TOO_LARGE', 'OP_BATCH')
        expectShape(payload['details'], { limit: 'batchOps' }, 'details with')
      },
    },
    {
      rule: 'FR16',
      title: 'a BATCH is taken for the messages in it',
      encodings: ['msgpack'],
      async run(trial) {
        const peer = await trial.signedIn()
        peer.sendFrame(
          batchOf(
            [1, 2, 3].map((timestamp) => ({ type: 'PING', timestamp })),
            true,
          ),
        )
        for (const timestamp of [1, 2, 3]) expectSame((await peer.take('PONG'))['timestamp'], timestamp, 'PONG to')
      },
    },
    {
      rule: 'FR16',
      title: 'a BATCH that does not come out even is refused PARSE_ERROR',
      encodings: ['msgpack'],
      async run(trial) {
        const peer = await trial.signedIn()
        const data = Uint8Array.of(2, 0, 0, 0, 9, 9, 9)
        peer.sendFrame(encodeValueMsgpack({ type: 'BATCH', count: 2, data }))
        await peer.takeError('PARSE_ERROR')
        await peer.settle()
      },
    },
    {
      rule: 'FR17',
      title: 'a BATCH without a number and with big-endian lengths is taken too',
      encodings: ['msgpack'],
      async run(trial) {
        const peer = await trial.signedIn()
        peer.sendFrame(
          batchOf(
            [4, 5].map((timestamp) => ({ type: 'PING', timestamp })),
            false,
          ),
        )
        for (const timestamp of [4, 5]) expectSame((await peer.take('PONG'))['timestamp'], timestamp, 'PONG to')
      },
    },
  ],
}
