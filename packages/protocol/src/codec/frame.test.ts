import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { record, value } from '../../test/arbitraries.ts'
import type { ServerMessage } from '../message.ts'
import type { MapEvent, OpResult } from '../messages/maps.ts'
import { toWireRecord } from '../read/wire-record.ts'
import { isBatch, joinBatch, splitBatch, type Batch } from './batch.ts'
import type { Encoding } from './fault.ts'
import {
  decodeFrame,
  diffPageFrame,
  encodeEventBody,
  encodeFrame,
  encodeKeyedRecord,
  encodeRowBody,
  eventFrame,
  opAckFrame,
  queryUpdateFrame,
  type EventHead,
  type Frame,
} from './frame.ts'
import { decodeMsgpack, encodeMsgpack, encodeValueMsgpack } from './msgpack.ts'

const encodings: readonly Encoding[] = ['json', 'msgpack']
const key = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter((name) => !name.includes('\0'))
const seq = fc.maxSafeInteger().map(Math.abs)
const optional = <T>(given: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(given, { nil: undefined })
const compact = <T extends object>(map: T): T =>
  Object.fromEntries(Object.entries(map).filter(([, member]) => member !== undefined)) as T

/** A frame says what the plain message says: both decode to the same. */
const expectSame = (encoding: Encoding, frame: Frame, message: ServerMessage): void => {
  const decoded = decodeFrame(frame)
  expect(decoded).toEqual(decodeFrame(encodeFrame(encoding, message)))
  expect(decoded.ok && decoded.value.encoding).toBe(encoding)
}

const event: fc.Arbitrary<MapEvent> = fc
  .tuple(key, record, seq, optional(fc.nat()))
  .map(([name, held, at, version]) => ({
    mapName: 'todos',
    eventType: held.value === null ? 'REMOVE' : 'PUT',
    key: name,
    record: toWireRecord(held, version),
    seq: at,
  }))

describe.each(encodings)('frames joined from parts in %s', (encoding) => {
  it('[EV1] [EV2] an event frame is the SERVER_EVENT or SERVER_BATCH_EVENT of its bodies', () => {
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 20 }),
        optional(key),
        optional(seq),
        optional(seq),
        (events, cursor, at, pruned) => {
          const bodies = events.map((one) => encodeEventBody(encoding, one))
          const head = compact({ mapName: 'todos', cursor, seq: at, prunedThroughSeq: pruned }) as EventHead
          const frame = eventFrame(encoding, head, bodies)
          const [first] = events
          const isSingle = first !== undefined && events.length === 1 && pruned === undefined
          const payload = isSingle ? compact({ ...first, cursor }) : { ...head, events }
          const type = isSingle ? 'SERVER_EVENT' : 'SERVER_BATCH_EVENT'
          expectSame(encoding, frame, { type, payload } as ServerMessage)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('[EV1] more events than a short list holds are joined too', () => {
    const body = encodeEventBody(encoding, fc.sample(event, { numRuns: 1, seed: 1 })[0] as MapEvent)
    for (const length of [15, 16, 70_000]) {
      const decoded = decodeFrame(eventFrame(encoding, { mapName: 'm' }, Array<typeof body>(length).fill(body)))
      expect(decoded.ok && (decoded.value.message as { payload: { events: unknown[] } }).payload.events.length).toBe(
        length,
      )
    }
  })

  it('[QU3] [QU4] a query update is the row that is encoded once, under each query id and version', () => {
    const change = fc.constantFrom('ENTER', 'UPDATE', 'LEAVE')
    fc.assert(
      fc.property(key, key, value, change, optional(seq), (queryId, name, shown, changeType, version) => {
        const row = { key: name, value: shown, changeType }
        const frame = queryUpdateFrame(encoding, queryId, encodeRowBody(encoding, row), version)
        expectSame(encoding, frame, {
          type: 'QUERY_UPDATE',
          payload: { queryId, ...(version === undefined ? {} : { version }), ...row },
        })
      }),
      { numRuns: 300 },
    )
  })

  it('[SY9] a page of a diff is joined from records that are encoded already', () => {
    const head = fc
      .record({
        mapName: key,
        cursor: key,
        seq,
        more: fc.boolean(),
        lost: optional(fc.array(fc.tuple(seq, seq), { maxLength: 3 })),
        prunedThroughSeq: optional(seq),
        digest: optional(fc.constant('0123456789abcdef')),
        rootHash: optional(fc.nat()),
      })
      .map(compact)
    fc.assert(
      fc.property(head, fc.array(event, { maxLength: 5 }), optional(key), (given, events, requestId) => {
        const records = events.map(({ key: name, record: held, seq: at }) => ({ key: name, record: held, seq: at }))
        const page = given as Parameters<typeof diffPageFrame>[1]
        const bodies = records.map((one) => encodeKeyedRecord(encoding, one))
        const frame = diffPageFrame(encoding, page, bodies, requestId)
        expectSame(
          encoding,
          frame,
          compact({ type: 'SYNC_DIFF', requestId, payload: { ...page, records } }) as ServerMessage,
        )
      }),
      { numRuns: 300 },
    )
  })

  it('[OP11] an OP_ACK by hand is the plain OP_ACK', () => {
    const result: fc.Arbitrary<OpResult> = fc
      .record({
        opId: fc.oneof(key, fc.constantFrom('1', 'op-17', '"', '\\', 'é')),
        success: fc.boolean(),
        achievedLevel: fc.constantFrom('MEMORY', 'APPLIED', 'PERSISTED'),
        latencyMs: fc.oneof(fc.nat(), fc.constantFrom(0.25, 1e21, 1e-7)),
        seq: optional(seq),
        superseded: optional(fc.constant(true as const)),
        error: optional(key),
        errorCode: optional(fc.constantFrom('STALE', 'TOO_LARGE')),
        details: optional(fc.dictionary(fc.constantFrom('a', 'limit'), value, { noNullPrototype: true })),
      })
      .map((given) => compact(given) as OpResult)
    fc.assert(
      fc.property(
        key,
        optional(fc.constant('APPLIED' as const)),
        fc.array(result, { maxLength: 20 }),
        optional(key),
        (lastId, level, results, requestId) => {
          const payload = compact({ lastId, achievedLevel: level, results }) as Parameters<typeof opAckFrame>[1]
          expectSame(
            encoding,
            opAckFrame(encoding, payload, requestId),
            compact({ type: 'OP_ACK', requestId, payload }) as ServerMessage,
          )
        },
      ),
      { numRuns: 500 },
    )
  })
})

describe('batches', () => {
  const frames = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 40 })
  const decodeBatch = (frame: Uint8Array): Batch => {
    const decoded = decodeMsgpack(frame)
    if (!decoded.ok || !isBatch(decoded.value)) throw new Error('This is no BATCH.')
    return decoded.value
  }

  it('[FR16] messages are joined as they are and come apart again', () => {
    fc.assert(
      fc.property(frames, (given) => {
        const batch = decodeBatch(joinBatch(given))
        expect(batch).toMatchObject({ type: 'BATCH', count: given.length })
        expect(splitBatch(batch)).toEqual({ ok: true, value: given })
      }),
    )
  })

  it('[FR16] the layout is the one that existing clients read', () => {
    const ping = encodeMsgpack({ type: 'PING', timestamp: 1 })
    const data = Uint8Array.of(1, 0, 0, 0, ping.length, 0, 0, 0, ...ping)
    expect(decodeBatch(joinBatch([ping]))).toEqual({ type: 'BATCH', count: 1, data })
  })

  it('[FR17] the layout without a count and with big-endian lengths is read too', () => {
    fc.assert(
      fc.property(
        frames.filter((given) => given.length > 0),
        (given) => {
          const data = given.flatMap((frame) => [0, 0, frame.length >> 8, frame.length & 0xff, ...frame])
          const batch = decodeBatch(encodeValueMsgpack({ type: 'BATCH', data: Uint8Array.from(data) }))
          expect(splitBatch(batch)).toEqual({ ok: true, value: given })
        },
      ),
    )
  })

  it.each([
    [[1]],
    [[1, 0, 0, 0]],
    [[1, 0, 0, 0, 9, 0, 0, 0, 1]],
    [[255, 255, 255, 255, 1]],
    [[0, 0, 0, 0, 1, 0, 0, 0]],
  ])('[FR16] data %j is refused', (data) => {
    expect(splitBatch({ type: 'BATCH', data: Uint8Array.from(data) })).toMatchObject({
      error: { errorCode: 'PARSE_ERROR' },
    })
    expect(splitBatch({ type: 'BATCH', data: data as unknown as Uint8Array }).ok).toBe(false)
  })
})
