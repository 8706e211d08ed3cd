import { encodeJson, encodeMsgpack, joinBatch, LIMITS, type ClientMessage } from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import { FakeSocket } from '../testing/fake-socket.ts'
import { opBatch, put } from '../testing/harness.ts'
import { startTestServer } from '../testing/test-server.ts'

const DRAINING_BYTES = 65_536

/** One frame with a message many times over. */
function batchOf(count: number, message: ClientMessage): Uint8Array {
  return joinBatch(Array.from({ length: count }, () => encodeMsgpack(message)))
}

const trie = { type: 'SYNC_TRIE', payload: { mapName: 'm' } } as const
const refusedPush = {
  type: 'SYNC_PUSH',
  payload: {
    mapName: 'm',
    records: Array.from({ length: 20 }, (_, i) => ({
      key: `k${i}`,
      record: { value: 1, timestamp: { millis: 9e12, counter: 0, nodeId: 'ahead' } },
    })),
  },
} as const

describe('what one frame with many messages is answered', () => {
  test.each<[string, ClientMessage, string, number]>([
    ['large replies', trie, 'SYNC_TRIE_RESP', 50_000],
    ['pages', refusedPush, 'SYNC_PUSH_RESP', 2 * LIMITS.pageBytes],
    ['refusals', { type: 'NOPE' } as never, 'ERROR', 5_000],
    ['writes', opBatch([put('m', 'k', 1)]), 'OP_ACK', 5_000],
  ])(
    'INV-22: %s: a turn holds no more than the draining bytes and one of them, and none is left out',
    async (_, message, type, oneBytes) => {
      await using server = await startTestServer()
      const writer = await server.connect()
      writer.send(opBatch(Array.from({ length: 20 }, (_, i) => put('m', `k${i}`, 'x'.repeat(10_000)))))
      await writer.take('OP_ACK')
      const socket = new FakeSocket(server.server)
      await socket.settle()
      socket.written.length = 0
      socket.receiveFrame(batchOf(800, message))
      const answers = (): number => socket.written.filter((each) => each.type === type).length
      for (let turn = 0; turn < 200 && answers() < 800; turn++) await socket.settle()
      expect(answers()).toBe(800)
      expect(Math.max(...socket.writes)).toBeLessThan(DRAINING_BYTES + oneBytes)
      expect(socket.closed).toBeUndefined()
    },
  )

  test.each<[string, ClientMessage]>([
    ['large replies', trie],
    ['refusals', { type: 'NOPE', requestId: 'x'.repeat(128) } as never],
  ])('INV-22: %s to a client that does not read close it with 4008, within its bytes', async (_, message) => {
    await using server = await startTestServer()
    const socket = new FakeSocket(server.server)
    await socket.settle()
    socket.isStuck = true
    for (let i = 0; i < 20 && socket.closed === undefined; i++) {
      socket.receiveFrame(batchOf(1_000, message))
      for (let turn = 0; turn < 5; turn++) await socket.settle()
    }
    expect(socket.closed).toMatchObject({ code: 4008 })
    expect(socket.bufferedBytes).toBeLessThan(1_048_576 + DRAINING_BYTES + 50_000)
  })

  test('INV-22: what is behind the messages that wait is read no more, and later in order', async () => {
    await using server = await startTestServer({ connections: { inboxFrames: 10 } })
    const socket = new FakeSocket(server.server)
    await socket.settle()
    for (let i = 0; i < 200; i++) socket.receiveFrame(encodeJson(trie))
    expect(socket.isPaused).toBe(true)
    socket.receiveFrame(encodeJson({ type: 'PING', timestamp: 1 }))
    for (let turn = 0; turn < 50 && socket.written.at(-1)?.type !== 'PONG'; turn++) await socket.settle()
    expect(socket.isPaused).toBe(false)
    expect(socket.written.map(({ type }) => type)).toEqual([
      'AUTH_REQUIRED',
      ...Array.from({ length: 200 }, () => 'SYNC_TRIE_RESP'),
      'PONG',
    ])
  })
})
