import { startTestServer } from '@syncline/server/testing'
import { expect, test } from 'vitest'
import { createClient, type Client, type Lock } from '../src/index.ts'

const untilAborted = (signal: AbortSignal): Promise<unknown> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason)
    else signal.addEventListener('abort', () => resolve(signal.reason))
  })

/** What became of a write: acked, or its error code. */
async function outcome(client: Client, value: number, fence: Lock): Promise<string> {
  try {
    await client.map('m').set('k', { value }, { fence }).wait('memory', { timeoutMs: 5_000 })
    return 'acked'
  } catch (error) {
    return (error as { code: string }).code
  }
}

test('INV-19 [LK3] [LK9]: clients of a real server hold a lock one after the other, and who has lost it writes nothing more', async () => {
  await using server = await startTestServer()
  const url = `${server.url}/ws`
  await using a = createClient({ url })
  await using b = createClient({ url })
  let inside = 0
  let most = 0
  const tokens: number[] = []
  const work = async (client: Client): Promise<void> => {
    for (let i = 0; i < 10; i++) {
      await using lock = await client.lock('counter', { ttlMs: 10_000, waitMs: 10_000 })
      most = Math.max(most, ++inside)
      tokens.push(lock.fencingToken)
      expect(await outcome(client, lock.fencingToken, lock)).toBe('acked')
      inside--
    }
  }
  await Promise.all([work(a), work(a), work(b)])
  expect(most).toBe(1)
  expect(tokens).toEqual(tokens.toSorted((x, y) => x - y))
  expect(new Set(tokens).size).toBe(30)
  expect(server.server.inspect()['locks']).toMatchObject({ held: 0, waiting: 0, owners: 0 })

  const lost = await a.lock('counter', { ttlMs: 10_000 })
  const waiting = b.lock('counter', { ttlMs: 10_000, waitMs: 10_000 })
  a.disconnect()
  expect(await untilAborted(lost.signal)).toMatchObject({ code: 'OFFLINE' })
  const next = await waiting
  expect(next.fencingToken).toBeGreaterThan(lost.fencingToken)
  a.connect()
  expect(await outcome(a, -1, lost)).toBe('STALE_TOKEN')
  expect(await outcome(b, 1, next)).toBe('acked')
  expect(b.map('m').get('k')).toEqual({ value: 1 })
})

test('INV-19: the signal of a short lease is aborted before another client has the lock', async () => {
  await using server = await startTestServer()
  const url = `${server.url}/ws`
  await using a = createClient({ url })
  await using b = createClient({ url })
  const order: string[] = []
  const lock = await a.lock('n', { ttlMs: 150 })
  void untilAborted(lock.signal).then(() => order.push('lost'))
  const next = await b.lock('n', { ttlMs: 1_000, waitMs: 10_000 })
  order.push('granted')
  expect(order).toEqual(['lost', 'granted'])
  await next.release()
})
