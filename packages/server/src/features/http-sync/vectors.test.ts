import exchanges from '@syncline/protocol/vectors/http-exchanges.json' with { type: 'json' }
import refusedBodies from '@syncline/protocol/vectors/refused-http-bodies.json' with { type: 'json' }
import { decodeValueJson, decodeValueMsgpack, ERRORS, type ErrorCode } from '@syncline/protocol'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestServer, type TestServer } from '../../testing/test-server.ts'

const TYPES = { json: 'application/json', msgpack: 'application/x-msgpack' } as const

/** Members that are the server's own: any value of the same kind. */
const OWN = new Set(['serverHlc', 'serverSyncTimestamp', 'latencyMs', 'seq', 'error', 'message', 'nextCursor'])

/** What a reply must look like, where members that the vectors do not name may stand too. */
function like(expected: unknown, name = ''): unknown {
  if (OWN.has(name)) return expect.any(Object(expected).constructor as typeof Object)
  if (expected instanceof Uint8Array || typeof expected !== 'object' || expected === null) return expected
  if (Array.isArray(expected)) return expected.map((each) => like(each))
  return expect.objectContaining(
    Object.fromEntries(Object.entries(expected).map(([key, each]) => [key, like(each, key)])),
  )
}

function decoded(encoding: 'json' | 'msgpack', bytes: Uint8Array): unknown {
  const result = encoding === 'json' ? decodeValueJson(new TextDecoder().decode(bytes)) : decodeValueMsgpack(bytes)
  if (!result.ok) throw new Error(result.error.message)
  return result.value
}

describe.each(['json', 'msgpack'] as const)('the vectors of POST /sync, in %s', (encoding) => {
  let server: TestServer
  beforeAll(async () => {
    server = await startTestServer({ auth: 'none' })
  })
  afterAll(() => server[Symbol.asyncDispose]())

  const bytesOf = (frame: { readonly json: string; readonly msgpack?: string }): Uint8Array<ArrayBuffer> =>
    new Uint8Array(encoding === 'json' ? Buffer.from(frame.json) : Buffer.from(frame.msgpack ?? '', 'hex'))
  const post = (frame: { readonly json: string; readonly msgpack?: string }): Promise<Response> =>
    fetch(`${server.url.replace('ws:', 'http:')}/sync`, {
      method: 'POST',
      headers: { 'content-type': TYPES[encoding] },
      body: bytesOf(frame),
    })

  test('[HS1] [HS2] [HS3] [HS4] [HS5] are answered, one request after the other, as the conversation shows', async () => {
    for (const { name, request, status, response } of exchanges) {
      const reply = await post(request)
      expect({ name, status: reply.status }).toEqual({ name, status })
      expect(reply.headers.get('content-type')).toContain(TYPES[encoding])
      const body = decoded(encoding, new Uint8Array(await reply.arrayBuffer()))
      expect({ name, body }).toEqual({ name, body: like(decoded(encoding, bytesOf(response))) })
    }
  })

  const sendable = refusedBodies.filter((body) => encoding === 'json' || 'msgpack' in body)
  test.each(sendable)('[$rules] a body with $name is refused', async (body) => {
    const reply = await post(body)
    const { errorCode } = body as { readonly errorCode: ErrorCode }
    expect(reply.status).toBe(ERRORS[errorCode].status)
    expect(await reply.json()).toMatchObject({ errorCode, code: ERRORS[errorCode].status, error: expect.any(String) })
  })
})
