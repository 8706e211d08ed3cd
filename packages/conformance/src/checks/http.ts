import { encodeValueJson, encodeValueMsgpack, decodeValueJson, decodeValueMsgpack } from '@syncline/protocol'
import type { CheckGroup } from '../check.ts'
import { Failure, expectSame, expectShape, expectThat, shown } from '../failure.ts'
import { NO_ROLE, type Trial } from '../trial.ts'
import { vectorsOf, type Vector } from '../vectors.ts'
import type { Encoding, Payload } from '../wire.ts'
import { named } from './frames.ts'

interface Reply {
  readonly status: number
  readonly contentType: string
  readonly body: Payload
}

/** Sends a body as it is. */
async function post(
  trial: Trial,
  body: string | Uint8Array | undefined,
  headers: Readonly<Record<string, string>>,
  method = 'POST',
): Promise<Reply> {
  const response = await fetch(trial.httpUrl('/sync'), {
    method,
    headers,
    ...(body === undefined ? {} : { body: body as never }),
  })
  const contentType = response.headers.get('content-type') ?? ''
  const bytes = new Uint8Array(await response.arrayBuffer())
  const decoded = contentType.includes('json')
    ? decodeValueJson(Buffer.from(bytes).toString())
    : decodeValueMsgpack(bytes)
  return { status: response.status, contentType, body: decoded.ok ? (decoded.value as Payload) : {} }
}

const encoded = (body: unknown, encoding: Encoding): string | Uint8Array =>
  encoding === 'json' ? encodeValueJson(body as never) : encodeValueMsgpack(body as never)

const headersOf = (trial: Trial, encoding: Encoding = trial.encoding): Readonly<Record<string, string>> => ({
  'content-type': encoding === 'json' ? 'application/json' : 'application/x-msgpack',
  ...(trial.facts.isOpen ? {} : { authorization: `Bearer ${trial.token()}` }),
})

/** A value from the text that the vectors have it in. */
function untagged(json: string): unknown {
  const decoded = decodeValueJson(json)
  return decoded.ok ? decoded.value : undefined
}

/** Members whose values are the server's own. */
const OWN = new Set(['serverHlc', 'serverSyncTimestamp', 'latencyMs', 'seq', 'error', 'message', 'nextCursor'])

/** A body in which of the server's own members only their presence counts. */
function withoutOwn(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  if (Array.isArray(value)) return value.map(withoutOwn)
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, OWN.has(name) ? typeof member : withoutOwn(member)]),
  )
}

/** Sends a request in an encoding, with the right to do everything. */
async function sync(trial: Trial, members: object, encoding: Encoding = trial.encoding): Promise<Reply> {
  const request = { clientId: 'conformance', clientHlc: trial.stamp(), ...members }
  const reply = await post(trial, encoded(request, encoding), headersOf(trial, encoding))
  if (reply.status === 404) trial.skip(`the server has no ${new URL(trial.httpUrl('/sync')).pathname}`)
  return reply
}

function operation(trial: Trial, mapName: string, key: string, value: unknown): object {
  trial.willRemove(mapName, [key])
  return { id: `op-${key}`, mapName, key, opType: 'PUT', record: { value, timestamp: trial.stamp() } }
}

/** HS: polling. */
export const http: CheckGroup = {
  name: 'POST /sync',
  checks: [
    {
      rule: 'HS1',
      title: 'the reply is in the encoding of the body',
      async run(trial) {
        const { status, contentType, body } = await sync(trial, {})
        expectThat(status === 200, '200', shown(status))
        expectThat(contentType.includes(trial.encoding), trial.encoding, contentType)
        expectShape(body, { deltas: [], queryResults: [], searchResults: [], errors: [] }, 'a body with')
      },
    },
    {
      rule: 'HS1',
      title: 'what cannot be decoded is 400, another method 405, without a token 401',
      async run(trial) {
        await sync(trial, {})
        const headers = { 'content-type': trial.encoding === 'json' ? 'application/json' : 'application/x-msgpack' }
        const authorized = trial.facts.isOpen ? headers : { ...headers, authorization: `Bearer ${trial.token()}` }
        const broken = trial.encoding === 'json' ? '{"clientId":' : Uint8Array.of(0xc1)
        expectShape(await post(trial, broken, authorized), { status: 400, body: { code: 400 } }, 'a reply with')
        expectShape(await post(trial, undefined, authorized, 'DELETE'), { status: 405 }, 'a reply with')
        if (!trial.facts.isOpen) {
          expectShape(
            await post(trial, '{}', headers),
            { status: 401, body: { errorCode: 'UNAUTHORIZED' } },
            'a reply with',
          )
        }
      },
    },
    {
      rule: 'HS2',
      title: 'a conversation goes as the vectors show it, and bodies beyond the bounds are refused as a whole',
      async run(trial) {
        const names = new Map<string, string>()
        // The maps of the vectors, by names that nobody else uses.
        const renamed = (json: string): Payload => {
          const text = json.replaceAll(/http-(?!op-)\w+/g, (name) => {
            const own = names.get(name) ?? trial.name()
            names.set(name, own)
            return own
          })
          return untagged(text) as Payload
        }
        for (const { name, request, status, response } of vectorsOf('http-exchanges')) {
          const reply = await sync(trial, renamed(request.json as string))
          await named(name as string, async () => {
            expectThat(reply.status === status, shown(status), shown(reply.status))
            expectShape(withoutOwn(reply.body), withoutOwn(renamed(response.json as string)), 'a body with')
          })
        }
        trial.willRemove(names.get('http-todos') ?? '', ['t1', 't2', 't3'])
        for (const { name, json, errorCode } of vectorsOf('refused-http-bodies')) {
          const body = untagged(json as string)
          const { status, body: refusal } = await post(trial, encoded(body, trial.encoding), headersOf(trial))
          await named(name as string, async () => expectShape(refusal, { errorCode, code: status }, 'a body with'))
        }
      },
    },
    {
      rule: 'HS6',
      title: 'where everything is forbidden the status is 403, with the whole body',
      async run(trial) {
        const token = trial.tokenAs({ roles: [NO_ROLE] })
        const mapName = trial.name()
        const body = {
          clientId: 'conformance',
          clientHlc: trial.stamp(),
          operations: [{ id: 'a', mapName, key: 'k', record: { value: 1, timestamp: trial.stamp() } }],
          syncMaps: [{ mapName }],
          queries: [{ queryId: 'q', mapName }],
        }
        const headers = { ...headersOf(trial), authorization: `Bearer ${token}` }
        const reply = await post(trial, encoded(body, trial.encoding), headers)
        const forbidden = (context: string): object => ({ context, errorCode: 'FORBIDDEN', code: 403 })
        expectShape(
          reply,
          {
            status: 403,
            body: {
              ack: { lastId: 'a', results: [{ opId: 'a', success: false, errorCode: 'FORBIDDEN' }] },
              deltas: [],
              queryResults: [],
              errors: [forbidden(`${mapName}/k`), forbidden(mapName), forbidden('q')],
            },
          },
          'a reply with',
        )
      },
    },
    {
      rule: 'HS4',
      title: 'a poller gets what has arrived since, late writes with old stamps too, and each once',
      async run(trial) {
        const mapName = trial.name()
        const poll = async (lastSyncTimestamp: unknown): Promise<Payload> => {
          const { body } = await sync(trial, {
            syncMaps: [{ mapName, ...(lastSyncTimestamp === undefined ? {} : { lastSyncTimestamp }) }],
          })
          const [delta] = body['deltas'] as Payload[]
          if (delta === undefined) throw new Failure('a delta', shown(body))
          return delta
        }
        const keysOf = (delta: Payload): readonly string[] =>
          (delta['records'] as Vector[]).map(({ key }) => key as string)
        const { body } = await sync(trial, { operations: [operation(trial, mapName, 'a', 1)] })
        expectShape(body['ack'], { lastId: 'op-a', results: [{ opId: 'op-a', success: true }] }, 'an ack with')
        const first = await poll(undefined)
        expectSame(keysOf(first), ['a'], 'first records of')
        const second = await poll(first['serverSyncTimestamp'])
        expectSame(keysOf(second), [], 'then records of')
        trial.willRemove(mapName, ['late'])
        const late = {
          id: 'late',
          mapName,
          key: 'late',
          record: { value: 1, timestamp: { millis: 5, counter: 0, nodeId: 'late' } },
        }
        await sync(trial, { operations: [late] })
        const third = await poll(second['serverSyncTimestamp'])
        expectSame(keysOf(third), ['late'], 'after a late write records of')
        expectSame(keysOf(await poll(third['serverSyncTimestamp'])), [], 'and then records of')
      },
    },
    {
      rule: 'HS3',
      title: 'a query is answered once, with limit, offset and whether more follows',
      async run(trial) {
        const mapName = trial.name()
        await sync(trial, { operations: ['a', 'b', 'c', 'd'].map((key, n) => operation(trial, mapName, key, { n })) })
        const query = { queryId: 'q', mapName, filter: { n: { $gte: 1 } }, sort: { n: 'desc' }, limit: 1, offset: 1 }
        const { body } = await sync(trial, { queries: [query] })
        expectShape(
          body['queryResults'],
          [{ queryId: 'q', results: [{ key: 'c', value: { n: 2 } }], hasMore: true }],
          'queryResults',
        )
      },
    },
    {
      rule: 'HS5',
      title: 'a part that is refused is named in errors and sinks no other',
      async run(trial) {
        const mapName = trial.name()
        const { status, body } = await sync(trial, {
          operations: [
            operation(trial, mapName, 'a', 1),
            { mapName, key: 'b', record: { value: 1, timestamp: 'now' } },
          ],
          queries: [{ queryId: 'q', mapName, filter: { n: { $near: 1 } } }],
        })
        expectThat(status === 200, '200', shown(status))
        expectShape(
          body['ack'],
          { results: [{ success: true }, { success: false, errorCode: 'VALIDATION_ERROR' }] },
          'an ack with',
        )
        expectShape(
          body['errors'],
          [
            { context: `${mapName}/b`, errorCode: 'VALIDATION_ERROR', code: 400 },
            { context: 'q', errorCode: 'BAD_QUERY' },
          ],
          'errors',
        )
      },
    },
    {
      rule: 'HS4',
      title: 'what is written over a WebSocket comes to a poller, and what it writes to followers',
      async run(trial) {
        const peer = await trial.signedIn()
        const mapName = trial.name()
        await trial.write(peer, trial.put(mapName, 'ws', 1))
        const { body } = await sync(trial, { syncMaps: [{ mapName }] })
        expectShape(body['deltas'], [{ mapName, records: [{ key: 'ws', record: { value: 1 } }] }], 'deltas')
        await peer.ask({ type: 'SYNC_INIT', mapName, cursor: null }, 'SYNC_DIFF')
        await sync(trial, { operations: [operation(trial, mapName, 'http', 2)] })
        const { payload } = await peer.take('SERVER_EVENT')
        expectShape(payload, { key: 'http', record: { value: 2 } }, 'SERVER_EVENT with')
      },
    },
  ],
}
