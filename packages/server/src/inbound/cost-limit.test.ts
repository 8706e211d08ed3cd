import type { ClientMessage, ServerMessage } from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import { MovableEnv, SECRET, clientOp, opBatch, put, tokenOf } from '../testing/harness.ts'
import { startTestServer, type TestClient } from '../testing/test-server.ts'

const RECORDS = 4_096 * 2

async function fill(client: TestClient): Promise<void> {
  for (let from = 0; from < RECORDS; from += 1_000) {
    const count = Math.min(1_000, RECORDS - from)
    client.send(opBatch(Array.from({ length: count }, (_, i) => put('m', `k${from + i}`, 1))))
    await client.take('OP_ACK')
  }
}

const query = (queryId: string): ClientMessage => ({
  type: 'QUERY_SUB',
  payload: { queryId, mapName: 'm', query: { where: { a: { $ne: queryId } } } },
  requestId: queryId,
})

describe('messages that cost', () => {
  test('INV-22 [ER4]: a connection that asks for more than it may is refused RATE_LIMITED until it no longer owes anything', async () => {
    const env = new MovableEnv()
    await using server = await startTestServer({
      env,
      connections: { idleTimeout: 1e9 },
      rateLimiting: { maxCostPerSecond: RECORDS, maxCostAtOnce: 2 * RECORDS },
    })
    const [client, other] = [await server.connect(), await server.connect()]
    await fill(client)
    // The third one still is taken: what it costs is owed.
    for (const queryId of ['a', 'b', 'c']) {
      client.send(query(queryId))
      await client.take('QUERY_RESP')
    }
    client.send(query('d'))
    const { payload, requestId } = await client.take('ERROR')
    expect(payload).toMatchObject({ code: 429, errorCode: 'RATE_LIMITED', about: 'QUERY_SUB' })
    expect(requestId).toBe('d')
    const { retryAfterMs } = payload.details as { retryAfterMs: number }
    expect(retryAfterMs).toBeGreaterThan(500)
    expect(retryAfterMs).toBeLessThan(1_100)
    // Writes and pings cost nothing, and another connection owes nothing.
    client.send(clientOp(put('m', 'k', 1)))
    expect((await client.take('OP_ACK')).payload.results).toMatchObject([{ success: true }])
    other.send(query('e'))
    await other.take('QUERY_RESP')
    env.advance(retryAfterMs + 1)
    client.send(query('d'))
    await client.take('QUERY_RESP')
  })

  const leaves = Array.from({ length: 4_096 }, (_, i) => i)
  const keys = Array.from({ length: 4_000 }, (_, i) => `k${i}`)
  const records = keys.slice(0, 1_000).map((key) => ({
    key,
    record: { value: 1, timestamp: { millis: 1, counter: 0, nodeId: 'n' } },
  }))
  test.each<[ClientMessage, ServerMessage['type'], number]>([
    [{ type: 'SYNC_INIT', mapName: 'm', cursor: null }, 'SYNC_DIFF', 500],
    [{ type: 'SYNC_INIT', mapName: 'm' }, 'SYNC_RESP_ROOT', 500],
    [{ type: 'SYNC_TRIE', payload: { mapName: 'm' } }, 'SYNC_TRIE_RESP', 4_096],
    [{ type: 'SYNC_LEAVES', payload: { mapName: 'm', leaves } }, 'SYNC_LEAVES_RESP', 3 * 4_096],
    [{ type: 'SYNC_FETCH', payload: { mapName: 'm', keys } }, 'SYNC_RECORDS', 4_000],
    [{ type: 'SYNC_PUSH', payload: { mapName: 'm', records } }, 'SYNC_PUSH_RESP', 1_000],
    [{ type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'm', path: '123' } }, 'SYNC_RESP_LEAF', 18],
  ])('%j costs what it looks at', async (message, reply, cost) => {
    await using server = await startTestServer({
      connections: { idleTimeout: 1e9 },
      rateLimiting: { maxCostPerSecond: 1, maxCostAtOnce: 3 * cost - 1 },
    })
    await fill(await server.connect())
    const client = await server.connect()
    for (let i = 0; i < 3; i++) {
      client.send(message)
      await client.take(reply)
    }
    client.send(message)
    expect((await client.take('ERROR')).payload).toMatchObject({ errorCode: 'RATE_LIMITED', about: message.type })
  })

  test('INV-21: the cost of a map is not told to who may not read it', async () => {
    await using server = await startTestServer({
      jwtSecret: SECRET,
      auth: 'jwt',
      securityPolicies: [{ role: 'WRITER', mapNamePattern: '*', actions: ['ALL'] }],
      rateLimiting: { maxCostPerSecond: 1, maxCostAtOnce: 100 },
    })
    await fill(await server.connect({ token: tokenOf('w', 'WRITER') }))
    const client = await server.connect({ token: tokenOf('nobody') })
    for (let i = 0; i < 20; i++) {
      client.send(query(`q${i}`))
      expect((await client.take('ERROR')).payload.errorCode).toBe('FORBIDDEN')
    }
  })

  test('without rateLimiting nothing is counted', async () => {
    await using server = await startTestServer({
      rateLimiting: { enabled: false, maxCostPerSecond: 1, maxCostAtOnce: 1 },
    })
    const client = await server.connect()
    for (let i = 0; i < 10; i++) {
      client.send(query(`q${i}`))
      await client.take('QUERY_RESP')
    }
  })
})
