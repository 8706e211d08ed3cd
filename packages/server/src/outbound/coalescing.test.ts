import { decodeFrame, encodeMsgpack, isBatch, splitBatch, type Frame } from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import { FakeSocket } from '../testing/fake-socket.ts'
import { MovableEnv } from '../testing/harness.ts'
import { startTestServer, type TestServer } from '../testing/test-server.ts'
import { Outbox, type OutboxLimits } from './outbox.ts'

const coalescing: OutboxLimits = {
  drainingBytes: 1_000,
  maxBytes: 1_000_000,
  isCoalescing: true,
  maxBatch: 100,
  maxBatchBytes: 1_000,
  maxDelayMs: 5,
}

/** The frames of one turn in which these were queued, write by write. */
function turnOf(frames: readonly Frame[], limits: Partial<OutboxLimits> = {}): (readonly Frame[])[] {
  const writes: (readonly Frame[])[] = []
  const socket = { bufferedBytes: 0, send: (each: readonly Frame[]) => void writes.push(each) }
  const fail = (): never => {
    throw new Error('It was to be written.')
  }
  const outbox = new Outbox(
    socket,
    { ...coalescing, ...limits },
    { schedule: () => {}, after: fail },
    { onOverflow: fail, onSourceFailure: fail },
  )
  for (const frame of frames) outbox.push(frame)
  outbox.endTurn()
  return writes
}

/** How many messages a frame holds. */
function countOf(frame: Frame): number {
  const decoded = decodeFrame(frame)
  if (!decoded.ok) throw new Error(decoded.error.message)
  if (!isBatch(decoded.value.message)) return 1
  const parts = splitBatch(decoded.value.message)
  if (!parts.ok) throw new Error(parts.error.message)
  return parts.value.length
}

const message = (size: number): Uint8Array => encodeMsgpack({ type: 'PING', timestamp: 1, requestId: 'x'.repeat(size) })

describe('what one turn sends to a socket', () => {
  test('leaves in one write, in BATCH frames of at most maxBatch messages', () => {
    const writes = turnOf(
      Array.from({ length: 25 }, () => message(1)),
      { maxBatch: 10 },
    )
    expect(writes.map((frames) => frames.map(countOf))).toEqual([[10, 10, 5]])
  })

  test('leaves in BATCH frames of at most maxBytes, unless one message is larger', () => {
    const writes = turnOf([message(250), message(250), message(250), message(250), message(5_000), message(1)])
    expect(writes.map((frames) => frames.map(countOf))).toEqual([[3, 1, 1, 1]])
  })

  test('is a frame and a write for each message where writeCoalescing is off', async () => {
    const writes = turnOf([message(1), '{"type":"PONG"}', message(1)], { isCoalescing: false })
    expect(writes.map((frames) => frames.map(countOf))).toEqual([[1], [1], [1]])
    await using server = await startTestServer({ writeCoalescing: { enabled: false } })
    const socket = new FakeSocket(server.server)
    await socket.settle()
    socket.writes.length = 0
    for (let i = 0; i < 5; i++) socket.receive({ type: 'PING', timestamp: i })
    await socket.settle()
    expect(socket.writes).toHaveLength(5)
  })
})

describe('a socket that is still draining', () => {
  const startSlow = async (
    writeCoalescing: object,
  ): Promise<{ server: TestServer; env: MovableEnv; slow: FakeSocket; pongs: () => number[] }> => {
    const env = new MovableEnv()
    const server = await startTestServer({ env, writeCoalescing, connections: { idleTimeout: 1e9 } })
    const slow = new FakeSocket(server.server)
    await slow.settle()
    slow.isStuck = true
    slow.bufferedBytes = 100_000
    slow.writes.length = 0
    const pongs = (): number[] => slow.written.flatMap((each) => (each.type === 'PONG' ? [each.timestamp] : []))
    return { server, env, slow, pongs }
  }
  const ping = async (slow: FakeSocket, ...timestamps: number[]): Promise<void> => {
    for (const timestamp of timestamps) {
      slow.receive({ type: 'PING', timestamp })
      await slow.settle()
    }
  }

  test('waits for more for at most maxDelayMs, and one that has drained does not wait', async () => {
    const { server, env, slow, pongs } = await startSlow({ maxDelayMs: 60_000 })
    await using _server = server
    await ping(slow, 1, 2)
    env.advance(59_000)
    await ping(slow, 3)
    expect(slow.writes).toHaveLength(0)
    env.advance(1_000)
    expect([slow.writes.length, pongs()]).toEqual([1, [1, 2, 3]])
    await ping(slow, 4)
    expect(slow.writes).toHaveLength(1)
    slow.drain()
    await slow.settle()
    expect([slow.writes.length, pongs()]).toEqual([2, [1, 2, 3, 4]])
    await ping(slow, 5)
    expect([slow.writes.length, pongs()]).toEqual([3, [1, 2, 3, 4, 5]])
    env.advance(120_000)
    await slow.settle()
    expect(slow.writes).toHaveLength(3)
  })

  test('waits no longer once maxBatch messages or maxBytes are queued', async () => {
    {
      const { server, slow } = await startSlow({ maxDelayMs: 60_000, maxBatch: 3 })
      await using _server = server
      await ping(slow, 1, 2)
      expect(slow.writes).toHaveLength(0)
      await ping(slow, 3)
      expect(slow.writes).toHaveLength(1)
    }
    const { server, slow, pongs } = await startSlow({ maxDelayMs: 60_000, maxBytes: 300 })
    await using _server = server
    for (let i = 0; slow.writes.length === 0; i++) await ping(slow, i)
    expect(slow.writes[0]).toBeGreaterThanOrEqual(300)
    expect(slow.writes[0]).toBeLessThan(400)
    expect(pongs().length).toBeGreaterThan(2)
  })

  test('does not wait with maxDelayMs: 0, and is sent what waits before it is closed', async () => {
    {
      const { server, slow } = await startSlow({ maxDelayMs: 0 })
      await using _server = server
      await ping(slow, 1)
      expect(slow.writes).toHaveLength(1)
    }
    const { server, slow, pongs } = await startSlow({ maxDelayMs: 60_000 })
    await ping(slow, 1)
    await server.server.shutdown()
    expect([pongs(), slow.closed?.code]).toEqual([[1], 1001])
  })
})
