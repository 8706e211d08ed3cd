import { BadBytes, err, fromTagged, ok, type Result, type Value } from '@syncline/core'
import { LIMITS } from '../limits.ts'
import type { Message } from '../message.ts'
import type { CodecFault } from './fault.ts'
import { parseTrusted, stringify } from './tagged-json.ts'

/** Numbers that `JSON.parse` may read as minus zero: `-0`, `-0.0…`, and negative ones that can underflow. */
const MINUS_ZERO = /-(?:0(?:[,\]}\s]|\.0|[eE]|$)|\d[\d.]*[eE]-)/

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPENING_BRACE = 0x7b
const CLOSING_BRACE = 0x7d
const OPENING_BRACKET = 0x5b
const CLOSING_BRACKET = 0x5d

/** Encodes a message as the text of one JSON frame (SPEC [FR1], [FR4], [FR5]). */
export function encodeJson(message: Message): string {
  return stringify(message)
}

/** Decodes the text of one JSON frame. What it holds is checked by `readClientMessage` or `readServerMessage`. */
export function decodeJson(text: string): Result<unknown, CodecFault> {
  return decode(text, LIMITS.frameDepth)
}

/** Decodes the text of one JSON frame of a server, which is trusted not to harm its clients. */
export function decodeServerJson(text: string): Result<unknown, CodecFault> {
  try {
    return ok(parseTrusted(text))
  } catch (error) {
    return unparsed(error)
  }
}

/** Encodes one value as JSON text. */
export function encodeValueJson(value: Value): string {
  return stringify(value)
}

/** Decodes one value from JSON text. `measureValue` says whether it can be stored. */
export function decodeValueJson(text: string): Result<unknown, CodecFault> {
  // Bytes are one level of nesting in JSON and none in the value.
  return decode(text, LIMITS.valueDepth + 1)
}

function decode(text: string, maxDepth: number): Result<unknown, CodecFault> {
  if (isDeeper(text, maxDepth)) {
    return err({ errorCode: 'TOO_DEEP', message: `The frame nests deeper than ${maxDepth} levels.` })
  }
  try {
    const parsed: unknown = JSON.parse(text)
    return ok(mayNeedWalk(text) ? fromTagged(parsed) : parsed)
  } catch (error) {
    return unparsed(error)
  }
}

function unparsed(error: unknown): Result<never, CodecFault> {
  return error instanceof BadBytes
    ? err({ errorCode: 'BAD_VALUE', message: 'A $bytes holds no canonical base64.' })
    : err({ errorCode: 'PARSE_ERROR', message: 'The frame is not one JSON text.' })
}

/** Says whether a text can hold tagged bytes or a minus zero. `\u00` can hide a letter of the tag. */
function mayNeedWalk(text: string): boolean {
  if (text.includes('bytes"') || text.includes('\\u00')) return true
  const mayHoldMinusZero = text.includes('-0') || text.includes('e-') || text.includes('E-')
  return mayHoldMinusZero && MINUS_ZERO.test(text)
}

/** Says whether a text nests deeper than a limit, before anything is built from it. */
function isDeeper(text: string, maxDepth: number): boolean {
  const { length } = text
  if (length <= maxDepth || countsAtMost(text, maxDepth)) return false
  let depth = 0
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i)
    if (unit === QUOTE) {
      for (i++; i < length; i++) {
        const inner = text.charCodeAt(i)
        if (inner === QUOTE) break
        if (inner === BACKSLASH) i++
      }
    } else if (unit === OPENING_BRACE || unit === OPENING_BRACKET) {
      if (++depth > maxDepth) return true
    } else if (unit === CLOSING_BRACE || unit === CLOSING_BRACKET) depth--
  }
  return false
}

/** A text with few opening brackets cannot be deep, and searching for them is faster than walking. */
function countsAtMost(text: string, max: number): boolean {
  let count = 0
  for (let at = text.indexOf('{'); at >= 0; at = text.indexOf('{', at + 1)) if (++count > max) return false
  for (let at = text.indexOf('['); at >= 0; at = text.indexOf('[', at + 1)) if (++count > max) return false
  return true
}

export type { CodecFault, Encoding } from './fault.ts'
export { CLOSE_CODES, ERRORS, wireError, type ErrorCode, type ErrorInfo, type WireError } from '../errors.ts'
export {
  BATCH_OPS,
  COUNTER_NAME_BYTES,
  KEY_BYTES,
  LIMITS,
  LOCK_NAME_BYTES,
  MAP_NAME_BYTES,
  VALUE_BYTES,
} from '../limits.ts'
export type {
  ClientMessage,
  ItemOpMessage,
  ReceivedClientMessage,
  ReceivedServerMessage,
  ServerMessage,
} from '../message.ts'
export type {
  JournalEntry,
  JournalEventMessage,
  JournalEventType,
  JournalFilter,
  JournalRead,
  JournalReadResponse,
  JournalSubscribe,
  JournalUnsubscribe,
} from '../messages/journal.ts'
export type { LockGranted, LockRelease, LockReleased, LockRequest } from '../messages/locks.ts'
export {
  WRITE_CONCERNS,
  type ClientOp,
  type ClientOpMessage,
  type Fence,
  type ItemOp,
  type MapEvent,
  type OpAck,
  type OpBatchMessage,
  type OpRecord,
  type OpRejected,
  type OpResult,
  type ReceivedOp,
  type ReceivedRecord,
  type RefusedOp,
  type ServerBatchEvent,
  type ServerEvent,
  type WireRecord,
  type WriteConcern,
} from '../messages/maps.ts'
export type {
  KeyedRecord,
  MerkleReqBucket,
  RefusedRecord,
  SyncDiff,
  SyncFetch,
  SyncInit,
  SyncLeaves,
  SyncLeavesResp,
  SyncPush,
  SyncPushResp,
  SyncRecords,
  SyncResetRequired,
  SyncRespBuckets,
  SyncRespLeaf,
  SyncRespRoot,
  SyncStop,
  SyncTrie,
  SyncTrieResp,
} from '../messages/merkle-sync.ts'
export type { QueryResp, QueryRow, QuerySub, QueryUnsub, QueryUpdate } from '../messages/queries.ts'
export { ROOM_NAME, type RoomMember, type RoomState } from '../messages/rooms.ts'
export type {
  Search,
  SearchOptions,
  SearchResp,
  SearchRow,
  SearchSub,
  SearchUnsub,
  SearchUpdate,
} from '../messages/search.ts'
export type {
  Auth,
  AuthAck,
  AuthFail,
  AuthRequired,
  ErrorMessage,
  Ping,
  Pong,
  ShutdownPending,
} from '../messages/sessions.ts'
export { readClientMessage, type MessageFault } from '../read/client-message.ts'
export { isRefusedOp } from '../read/op.ts'
export { readFollowerMessage, readServerMessage, type Shapes } from '../read/server-message.ts'
export { toWireRecord } from '../read/wire-record.ts'
export { journalShapes } from '../read/shapes/journal.ts'
export { lockShapes } from '../read/shapes/locks.ts'
export { reconciliationShapes } from '../read/shapes/reconciliation.ts'
export { queryShapes } from '../read/shapes/queries.ts'
export { roomShapes } from '../read/shapes/rooms.ts'
export { searchShapes } from '../read/shapes/search.ts'
export { topicShapes } from '../read/shapes/topics.ts'
export { OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION, SUBPROTOCOLS, VERSION_HISTORY } from '../version.ts'
