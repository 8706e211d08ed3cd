import { ok, err, type Result } from '@syncline/core'
import type { ClientMessage, ServerMessage } from '../message.ts'
import type { MapEvent, OpAck, OpResult } from '../messages/maps.ts'
import type { KeyedRecord, SyncDiff } from '../messages/merkle-sync.ts'
import type { QueryUpdate } from '../messages/queries.ts'
import type { CodecFault, Encoding } from './fault.ts'
import { decodeJson, encodeJson, encodeUnknownJson } from './json.ts'
import { decodeMsgpack, encodeMsgpack, encodeUnknownMsgpack } from './msgpack.ts'

/** A frame, ready to be sent: a text in JSON, bytes in MessagePack. */
export type Frame = string | Uint8Array

/** Part of a message, encoded once for all who receive it: the text or the bytes of one map. */
export type EncodedBody = string | Uint8Array

/** Encodes a message as one frame. */
export function encodeFrame(encoding: Encoding, message: ServerMessage | ClientMessage): Frame {
  return encoding === 'json' ? encodeJson(message) : encodeMsgpack(message)
}

/**
 * Decodes a frame and says which encoding it had. Bytes that begin with `{` are JSON text: no message begins with this
 * byte in MessagePack, where it is a number (SPEC [FR3]).
 */
export function decodeFrame(
  frame: Frame,
): Result<{ readonly encoding: Encoding; readonly message: unknown }, CodecFault> {
  if (typeof frame === 'string') return withEncoding('json', decodeJson(frame))
  if (frame[0] !== 0x7b) return withEncoding('msgpack', decodeMsgpack(frame))
  try {
    return withEncoding('json', decodeJson(utf8.decode(frame)))
  } catch {
    return err({ errorCode: 'PARSE_ERROR', message: 'The frame is not UTF-8.' })
  }
}

/** Encodes the change of a record once for all subscribers of one encoding and view. */
export function encodeEventBody(encoding: Encoding, event: MapEvent): EncodedBody {
  return encodeBody(encoding, event)
}

/** Encodes a record under its key, for the pages of a diff. */
export function encodeKeyedRecord(encoding: Encoding, record: KeyedRecord): EncodedBody {
  return encodeBody(encoding, record)
}

/** Encodes the change of a row once for all queries in whose result it changed in the same way. */
export function encodeRowBody(encoding: Encoding, row: Omit<QueryUpdate['payload'], 'queryId'>): EncodedBody {
  return encodeBody(encoding, row)
}

/** What an event frame says beside its events. */
export interface EventHead {
  readonly mapName: string
  readonly cursor?: string
  /** The seq that the cursor stands for. A single event carries its own. */
  readonly seq?: number
}

/** A SERVER_EVENT of exactly one body, or a SERVER_BATCH_EVENT, joined from what is encoded already. */
export function eventFrame(encoding: Encoding, head: EventHead, bodies: readonly EncodedBody[]): Frame {
  const { mapName, cursor, seq } = head
  const [body] = bodies
  if (body !== undefined && bodies.length === 1) {
    return spliceFrame(encoding, 'SERVER_EVENT', cursor === undefined ? {} : { cursor }, body)
  }
  const members = {
    mapName,
    ...(cursor === undefined ? {} : { cursor }),
    ...(seq === undefined ? {} : { seq }),
  }
  return listFrame(encoding, 'SERVER_BATCH_EVENT', members, 'events', bodies)
}

/** A QUERY_UPDATE for one query from the row's change, which is encoded already. */
export function queryUpdateFrame(encoding: Encoding, queryId: string, rowBody: EncodedBody): Frame {
  return spliceFrame(encoding, 'QUERY_UPDATE', { queryId }, rowBody)
}

/** A page of a diff from records that are encoded already. */
export function diffPageFrame(
  encoding: Encoding,
  head: Omit<SyncDiff['payload'], 'records'>,
  records: readonly EncodedBody[],
): Frame {
  return listFrame(encoding, 'SYNC_DIFF', head, 'records', records)
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function withEncoding(
  encoding: Encoding,
  decoded: Result<unknown, CodecFault>,
): Result<{ readonly encoding: Encoding; readonly message: unknown }, CodecFault> {
  return decoded.ok ? ok({ encoding, message: decoded.value }) : decoded
}

function encodeBody(encoding: Encoding, body: object): EncodedBody {
  return encoding === 'json' ? encodeUnknownJson(body) : encodeUnknownMsgpack(body)
}

/** `{type, payload}` where the payload is a body with some members put in front. */
function spliceFrame(encoding: Encoding, type: string, members: object, body: EncodedBody): Frame {
  const count = Object.keys(members).length
  if (encoding === 'json') {
    const text = body as string
    if (count === 0) return `{"type":"${type}","payload":${text}}`
    return `{"type":"${type}","payload":${JSON.stringify(members).slice(0, -1)},${text.slice(1)}}`
  }
  const bytes = body as Uint8Array
  const front = encodeUnknownMsgpack(members)
  // Both are maps of fewer than 16 members, whose head is one byte that holds their number.
  const size = Uint8Array.of((bytes[0] as number) + count)
  return concat([envelope(type), size, front.subarray(1), bytes.subarray(1)])
}

/** `{type, payload}` where the payload is a map whose last member is a list of bodies. */
function listFrame(
  encoding: Encoding,
  type: string,
  members: object,
  name: string,
  bodies: readonly EncodedBody[],
): Frame {
  if (encoding === 'json') {
    return `{"type":"${type}","payload":${JSON.stringify(members).slice(0, -1)},"${name}":[${bodies.join(',')}]}}`
  }
  const front = encodeUnknownMsgpack(members)
  const size = Uint8Array.of((front[0] as number) + 1)
  const list = encodeUnknownMsgpack(name)
  return concat([
    envelope(type),
    size,
    front.subarray(1),
    list,
    listHead(bodies.length),
    ...(bodies as readonly Uint8Array[]),
  ])
}

const envelopes = new Map<string, Uint8Array>()

/** The bytes of `{type, payload: …` up to the payload. */
function envelope(type: string): Uint8Array {
  let bytes = envelopes.get(type)
  if (bytes === undefined) {
    const whole = encodeUnknownMsgpack({ type, payload: 0 })
    bytes = whole.slice(0, -1)
    envelopes.set(type, bytes)
  }
  return bytes
}

function listHead(length: number): Uint8Array {
  if (length < 16) return Uint8Array.of(0x90 + length)
  if (length < 65_536) return Uint8Array.of(0xdc, length >> 8, length & 0xff)
  return Uint8Array.of(0xdd, length >>> 24, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff)
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const bytes = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

/** An OP_ACK, put together by hand because every write is answered by one. */
export function opAckFrame(encoding: Encoding, ack: OpAck['payload']): Frame {
  return encodeFrame(encoding, { type: 'OP_ACK', payload: ack })
}
export type { OpResult }
