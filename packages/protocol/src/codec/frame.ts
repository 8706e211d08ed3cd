import { ok, err, type Result } from '@syncline/core'
import type { Message } from '../message.ts'
import type { ItemEvent, MapEvent, OpAck } from '../messages/maps.ts'
import type { KeyedRecord, SyncDiff } from '../messages/merkle-sync.ts'
import type { JournalEntry } from '../messages/journal.ts'
import type { QueryUpdate } from '../messages/queries.ts'
import type { SearchUpdate } from '../messages/search.ts'
import type { RoomMember, RoomState } from '../messages/rooms.ts'
import { ackToJson, writeAck } from './ack.ts'
import type { CodecFault, Encoding } from './fault.ts'
import { decodeJson, encodeJson } from './json.ts'
import { decodeMsgpack, encodeMsgpack } from './msgpack.ts'
import { writeMsgpack, type MsgpackWriter } from './msgpack-writer.ts'
import { stringify } from './tagged-json.ts'

/** A frame, ready to be sent: a text in JSON, bytes in MessagePack. */
export type Frame = string | Uint8Array

/** Part of a message, encoded once for all who receive it: the text or the bytes of one map. */
export type EncodedBody = string | Uint8Array

/** Encodes a message as one frame. */
export function encodeFrame(encoding: Encoding, message: Message): Frame {
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
export function encodeEventBody(encoding: Encoding, event: MapEvent | ItemEvent): EncodedBody {
  return encodeBody(encoding, event)
}

/** Encodes a record under its key, for the pages of a diff. */
export function encodeKeyedRecord(encoding: Encoding, record: KeyedRecord): EncodedBody {
  return encodeBody(encoding, record)
}

/** Encodes the change of a row once for all queries in whose result it changed in the same way. */
export function encodeRowBody(
  encoding: Encoding,
  row: Omit<QueryUpdate['payload'], 'queryId' | 'version'>,
): EncodedBody {
  return encodeBody(encoding, row)
}

/** What an event frame says beside its events. */
export interface EventHead {
  readonly mapName: string
  readonly cursor?: string
  /** The seq that the cursor stands for. A single event carries its own. */
  readonly seq?: number
  /** Tombstones up to here were pruned. A single event cannot say so: with it the frame is a batch. */
  readonly prunedThroughSeq?: number
}

/** A SERVER_EVENT of exactly one body, or a SERVER_BATCH_EVENT, joined from what is encoded already. */
export function eventFrame(encoding: Encoding, head: EventHead, bodies: readonly EncodedBody[]): Frame {
  const { mapName, cursor, seq, prunedThroughSeq } = head
  const [body] = bodies
  if (body !== undefined && bodies.length === 1 && prunedThroughSeq === undefined) {
    return spliceFrame(encoding, 'SERVER_EVENT', cursor === undefined ? {} : { cursor }, body)
  }
  const members = {
    mapName,
    ...(cursor === undefined ? {} : { cursor }),
    ...(seq === undefined ? {} : { seq }),
    ...(prunedThroughSeq === undefined ? {} : { prunedThroughSeq }),
  }
  return listFrame(encoding, { type: 'SERVER_BATCH_EVENT', requestId: undefined, members, name: 'events' }, bodies)
}

/** A QUERY_UPDATE for one query from the row's change, which is encoded already. */
export function queryUpdateFrame(encoding: Encoding, queryId: string, rowBody: EncodedBody, version?: number): Frame {
  return spliceFrame(encoding, 'QUERY_UPDATE', version === undefined ? { queryId } : { queryId, version }, rowBody)
}

/** Encodes the change of a found row once for all who make the same search. */
export function encodeFoundRowBody(
  encoding: Encoding,
  row: Omit<SearchUpdate['payload'], 'subscriptionId' | 'version' | 'totalCount'>,
): EncodedBody {
  return encodeBody(encoding, row)
}

/** A SEARCH_UPDATE for one subscription from the row's change, which is encoded already. */
export function searchUpdateFrame(
  encoding: Encoding,
  head: Pick<SearchUpdate['payload'], 'subscriptionId' | 'version' | 'totalCount'>,
  rowBody: EncodedBody,
): Frame {
  return spliceFrame(encoding, 'SEARCH_UPDATE', head, rowBody)
}

/** Encodes an event of the journal once for all who may see it in the same way. */
export function encodeJournalEntry(encoding: Encoding, entry: JournalEntry): EncodedBody {
  return encodeBody(encoding, entry)
}

/** A JOURNAL_EVENT from an event that is encoded already. */
export function journalEventFrame(
  encoding: Encoding,
  epoch: string,
  subscriptionIds: readonly string[],
  entry: EncodedBody,
): Frame {
  if (encoding === 'json') {
    const head = JSON.stringify({ type: 'JOURNAL_EVENT', epoch, subscriptionIds }).slice(0, -1)
    return `${head},"event":${entry as string}}`
  }
  return writeMsgpack((writer) => {
    writer.mapHead(4)
    writeMembers(writer, { type: 'JOURNAL_EVENT', epoch, subscriptionIds })
    writer.text('event')
    writer.raw(entry as Uint8Array)
  })
}

/** A page of a diff from records that are encoded already. No member of the head may be undefined. */
export function diffPageFrame(
  encoding: Encoding,
  head: Omit<SyncDiff['payload'], 'records'>,
  records: readonly EncodedBody[],
  requestId?: string,
): Frame {
  return listFrame(encoding, { type: 'SYNC_DIFF', requestId, members: head, name: 'records' }, records)
}

/** Encodes a member of a room once for all who see it. */
export function encodeMember(encoding: Encoding, member: RoomMember): EncodedBody {
  return encodeBody(encoding, member)
}

/** A ROOM_STATE of members that are encoded already. No member of the head may be undefined. */
export function roomStateFrame(
  encoding: Encoding,
  head: Omit<RoomState['payload'], 'members'>,
  members: readonly EncodedBody[],
  requestId?: string,
): Frame {
  return listFrame(encoding, { type: 'ROOM_STATE', requestId, members: head, name: 'members' }, members)
}

/** An OP_ACK, put together by hand because every write is answered by one. */
export function opAckFrame(encoding: Encoding, ack: OpAck['payload'], requestId?: string): Frame {
  if (encoding === 'json') {
    const id = requestId === undefined ? '' : `"requestId":${JSON.stringify(requestId)},`
    return `{"type":"OP_ACK",${id}"payload":${ackToJson(ack)}}`
  }
  return writeMsgpack((writer) => {
    if (requestId === undefined) writer.raw(ACK_HEAD)
    else writeHead(writer, 'OP_ACK', requestId)
    writeAck(writer, ack)
  })
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function withEncoding(
  encoding: Encoding,
  decoded: Result<unknown, CodecFault>,
): Result<{ readonly encoding: Encoding; readonly message: unknown }, CodecFault> {
  return decoded.ok ? ok({ encoding, message: decoded.value }) : decoded
}

function encodeBody(encoding: Encoding, body: object): EncodedBody {
  return encoding === 'json' ? stringify(body) : writeMsgpack((writer) => writer.value(body))
}

/** `{type, payload}` where the payload is a body with some members put in front. */
function spliceFrame(encoding: Encoding, type: string, members: object, body: EncodedBody): Frame {
  if (encoding === 'json') {
    const front = JSON.stringify(members).slice(1, -1)
    return `{"type":"${type}","payload":{${front}${front === '' ? '' : ','}${(body as string).slice(1)}}`
  }
  const bytes = body as Uint8Array
  return writeMsgpack((writer) => {
    writeHead(writer, type)
    // A body is a map of fewer than 16 members, whose head is one byte that holds their number.
    writer.mapHead((bytes[0] as number) - 0x80 + Object.keys(members).length)
    writeMembers(writer, members)
    writer.raw(bytes.subarray(1))
  })
}

/** `{type, payload}` where the payload is a map whose last member is a list of bodies. */
function listFrame(encoding: Encoding, head: ListHead, bodies: readonly EncodedBody[]): Frame {
  const { type, requestId, members, name } = head
  if (encoding === 'json') {
    const id = requestId === undefined ? '' : `"requestId":${JSON.stringify(requestId)},`
    const front = JSON.stringify(members).slice(0, -1)
    return `{"type":"${type}",${id}"payload":${front},"${name}":[${bodies.join(',')}]}}`
  }
  return writeMsgpack((writer) => {
    writeHead(writer, type, requestId)
    writer.mapHead(Object.keys(members).length + 1)
    writeMembers(writer, members)
    writer.text(name)
    writer.listHead(bodies.length)
    for (const body of bodies) writer.raw(body as Uint8Array)
  })
}

interface ListHead {
  readonly type: string
  readonly requestId: string | undefined
  /** The payload's members before the list, none of them undefined. */
  readonly members: object
  /** The list's name. */
  readonly name: string
}

/** The message's map up to where its payload begins. */
function writeHead(writer: MsgpackWriter, type: string, requestId?: string): void {
  writer.mapHead(requestId === undefined ? 2 : 3)
  writer.text('type')
  writer.text(type)
  if (requestId !== undefined) {
    writer.text('requestId')
    writer.text(requestId)
  }
  writer.text('payload')
}

function writeMembers(writer: MsgpackWriter, members: object): void {
  for (const [name, value] of Object.entries(members)) {
    writer.text(name)
    writer.value(value)
  }
}

/** What every OP_ACK begins with that answers no request. */
const ACK_HEAD = writeMsgpack((writer) => writeHead(writer, 'OP_ACK'))
