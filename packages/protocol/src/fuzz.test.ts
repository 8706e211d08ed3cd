import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { value } from '../test/arbitraries.ts'
import { isBatch, splitBatch } from './codec/batch.ts'
import { decodeFrame, encodeFrame } from './codec/frame.ts'
import { encodeValueJson } from './codec/json.ts'
import { encodeValueMsgpack } from './codec/msgpack.ts'
import type { ClientMessage, ServerMessage } from './message.ts'
import { readClientMessage } from './read/client-message.ts'
import { readServerMessage } from './read/server-message.ts'

const stamp = { millis: 1_706_000_000_000, counter: 1, nodeId: 'client-1' }
const record = { value: { text: 'é', done: false, bytes: Uint8Array.of(1, 2), list: [1, null] }, timestamp: stamp }
const fields = { done: { stamp: { ...stamp, millis: stamp.millis + 5 } } }
const op = { id: '17', mapName: 'todos', key: 'k', opType: 'PUT', record, writeConcern: 'APPLIED', timeout: 5 } as const
const event = { mapName: 'todos', eventType: 'PUT', key: 'k', record, seq: 5 } as const
const samples: readonly (ClientMessage | ServerMessage)[] = [
  { type: 'AUTH', token: 'token', protocolVersion: 1 },
  { type: 'PING', timestamp: 5 },
  { type: 'CLIENT_OP', payload: op, requestId: 'r' },
  {
    type: 'OP_BATCH',
    payload: { ops: [op, { ...op, opType: 'PATCH' }, { ...op, opType: 'REMOVE' }], writeConcern: 'MEMORY' },
  },
  { type: 'SYNC_INIT', mapName: 'todos', cursor: null, lastSyncTimestamp: stamp },
  {
    type: 'SYNC_PUSH',
    payload: { mapName: 'todos', records: [{ key: 'k', record: { ...record, base: stamp, fields, ttlMs: 5 } }] },
  },
  {
    type: 'QUERY_SUB',
    payload: { queryId: 'q', mapName: 'todos', query: { where: { a: { $gt: 1 } }, sort: { a: 'asc' }, limit: 5 } },
  },
  {
    type: 'SEARCH_SUB',
    payload: { subscriptionId: 's', mapName: 'todos', query: 'milk', options: { boost: { a: 2 }, fields: ['a'] } },
  },
  { type: 'JOURNAL_READ', requestId: 'r', fromSequence: '5', mapName: 'todos', key: 'k', limit: 5 },
  { type: 'SYNC_FETCH', payload: { mapName: 'todos', keys: ['a', 'b'] } },
  { type: 'SERVER_EVENT', payload: { ...event, cursor: 'c' } },
  { type: 'SERVER_BATCH_EVENT', payload: { mapName: 'todos', cursor: 'c', seq: 5, events: [event, event] } },
  {
    type: 'SYNC_DIFF',
    payload: { mapName: 'todos', records: [{ key: 'k', record }], cursor: 'c', seq: 5, more: false, lost: [[1, 2]] },
  },
  {
    type: 'OP_ACK',
    payload: { lastId: '1', results: [{ opId: '1', success: true, achievedLevel: 'APPLIED', latencyMs: 1, seq: 5 }] },
  },
]

/** What a receiver does with a frame. It may refuse it in any way but by an exception, and never slowly. */
function receive(frame: string | Uint8Array): boolean {
  const decoded = decodeFrame(frame)
  if (!decoded.ok) {
    expect(decoded.error.message).toMatch(/\.$/)
    return false
  }
  const { message } = decoded.value
  if (isBatch(message)) splitBatch(message)
  const fromClient = readClientMessage(message)
  const fromServer = readServerMessage(message)
  return fromClient.ok || fromServer.ok
}

it('[FR7] [FR12] [FR15] 50,000 random and mutated frames are read or refused, without an exception and in bounded time', () => {
  const sources = samples.flatMap((message) => [encodeFrame('json', message), encodeFrame('msgpack', message)])
  for (const source of sources) expect(receive(source)).toBe(true)
  const interesting = [
    0x00, 0x7b, 0x7f, 0x80, 0x8f, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc4, 0xc6, 0xc7, 0xcb, 0xcf, 0xd3, 0xd4, 0xdb, 0xdd,
    0xdf, 0xe0, 0xff,
  ]
  const cut = (frame: Uint8Array, at: number): number => at % (frame.length + 1)
  const mutation = fc.record({
    kind: fc.constantFrom('flip', 'set', 'cut', 'insert', 'repeat', 'splice'),
    at: fc.nat(2_000),
    to: fc.nat(2_000),
    byte: fc.oneof(fc.nat(255), fc.constantFrom(...interesting)),
  })
  const mutate = (
    bytes: Uint8Array,
    steps: readonly { kind: string; at: number; to: number; byte: number }[],
  ): Uint8Array => {
    let frame = Uint8Array.from(bytes)
    for (const { kind, at, to, byte } of steps) {
      const [from, end] = [cut(frame, Math.min(at, to)), cut(frame, Math.max(at, to))].sort((a, b) => a - b) as [
        number,
        number,
      ]
      const head = frame.subarray(0, from)
      const tail = frame.subarray(end)
      if (kind === 'flip' && from < frame.length) frame[from] = (frame[from] as number) ^ (1 << (byte & 7))
      else if (kind === 'set' && from < frame.length) frame[from] = byte
      else if (kind === 'cut') frame = Uint8Array.of(...head, ...tail)
      else if (kind === 'insert') frame = Uint8Array.of(...head, byte, ...frame.subarray(from))
      else if (kind === 'repeat') frame = Uint8Array.of(...frame.subarray(0, end), ...frame.subarray(from))
      else if (kind === 'splice') frame = Uint8Array.of(...head, ...bytes.subarray(cut(bytes, to)))
    }
    return frame
  }
  let readable = 0
  let slowest = 0
  const timed = (frame: string | Uint8Array): void => {
    const start = process.threadCpuUsage()
    if (receive(frame)) readable++
    const { user, system } = process.threadCpuUsage(start)
    slowest = Math.max(slowest, (user + system) / 1_000)
  }
  fc.assert(
    fc.property(fc.nat(sources.length - 1), fc.array(mutation, { minLength: 1, maxLength: 3 }), (pick, steps) => {
      const source = sources[pick] as string | Uint8Array
      if (typeof source === 'string') timed(new TextDecoder().decode(mutate(new TextEncoder().encode(source), steps)))
      else timed(mutate(source, steps))
    }),
    { numRuns: 40_000 },
  )
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), timed), { numRuns: 4_000 })
  fc.assert(fc.property(fc.json({ depthSize: 'medium' }), timed), { numRuns: 3_000 })
  fc.assert(
    fc.property(value, fc.constantFrom('CLIENT_OP', 'SYNC_DIFF', 'OP_BATCH', 'SYNC_PUSH'), (payload, type) => {
      timed(encodeValueJson({ type, payload }))
      timed(encodeValueMsgpack({ type, payload }))
    }),
    { numRuns: 1_500 },
  )
  // Mutations must not only break frames, or the readers behind the decoders would go untested.
  expect(readable).toBeGreaterThan(2_000)
  expect(slowest).toBeLessThan(500)
}, 60_000)
