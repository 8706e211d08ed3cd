import { expect, test } from 'vitest'
import { z } from 'zod'
import { defineFeature, type FeatureDefinition } from '../feature.ts'
import { builtInFeatures } from '../features.ts'
import { FakeSocket } from '../testing/fake-socket.ts'
import { clientOp, put } from '../testing/harness.ts'
import { startTestServer } from '../testing/test-server.ts'

test('INV-22: what waits for all connections together is bounded: those that wait are not read, those that do not are', async () => {
  const releases: (() => void)[] = []
  const slow = defineFeature({
    name: 'slow',
    options: z.object({}),
    start: () => ({
      handlers: {
        SYNC_TRIE: {
          handle: async () => {
            await new Promise<void>((resolve) => releases.push(resolve))
            return undefined
          },
        },
      },
    }),
  }) as FeatureDefinition
  await using server = await startTestServer({
    connections: { maxInboundBytes: 500_000 },
    features: [...builtInFeatures, slow],
  })
  const sockets = Array.from({ length: 20 }, () => new FakeSocket(server.server))
  const [free, gone, next] = Array.from({ length: 3 }, () => new FakeSocket(server.server)) as [
    FakeSocket,
    FakeSocket,
    FakeSocket,
  ]
  const write = clientOp(put('m', 'k', 'x'.repeat(10_000)))
  for (const socket of [gone, next, ...sockets]) socket.receive({ type: 'SYNC_TRIE', payload: { mapName: 'm' } })
  while (!gone.isPaused) gone.receive(write)
  // What a connection that is gone held is free again.
  gone.end()
  next.receive(write)
  expect(next.isPaused).toBe(false)
  let taken = 0
  for (let round = 0; round < 100; round++) {
    for (const socket of sockets) {
      if (socket.isPaused) continue
      socket.receive(write)
      taken++
    }
  }
  expect(sockets.every(({ isPaused }) => isPaused)).toBe(true)
  // As much as is allowed, and a frame of each connection that did not know yet.
  expect(taken).toBeGreaterThan(40)
  expect(taken).toBeLessThan(50 + sockets.length)
  free.receive(write)
  await free.settle()
  expect(free.written.at(-1)?.type).toBe('OP_ACK')
  for (const release of releases) release()
  await free.settle()
  expect(sockets.some(({ isPaused }) => isPaused)).toBe(false)
  const acks = sockets.flatMap(({ written }) => written.filter(({ type }) => type === 'OP_ACK'))
  expect(acks).toHaveLength(taken)
})
