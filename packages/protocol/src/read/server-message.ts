import { err, isStamp, normalizeRecord, ok, type RawRecord, type Result } from '@syncline/core'
import type { ItemEventMessage, ReceivedServerMessage } from '../message.ts'
import type { ReceivedRecord } from '../messages/maps.ts'
import type { MessageFault } from './client-message.ts'
import { isFields, isFiniteNumber, type Fields } from './fields.ts'
import { journalShapes } from './shapes/journal.ts'
import { lockShapes } from './shapes/locks.ts'
import { reconciliationShapes } from './shapes/reconciliation.ts'
import { queryShapes } from './shapes/queries.ts'
import { searchShapes } from './shapes/search.ts'
import { topicShapes } from './shapes/topics.ts'
import { roomShapes } from './shapes/rooms.ts'

/** Reads a message, or says why it is none. Takes over its input: records in it are replaced by their normal form. */
export type ServerMessageReader<M = ReceivedServerMessage> = (input: unknown) => Result<M, MessageFault>

/** The same; it also knows the messages that `more` describes. */
export type FollowerMessageReader = (
  input: unknown,
  more?: readonly Shapes[],
) => Result<ReceivedServerMessage, MessageFault>

/**
 * The members of messages by type, as `name:k` with a `?` where one may be absent, written short because they travel in
 * bundles. `[name:k,name:k]` is a list of maps. `flat` messages have them beside their type, the others in a payload.
 */
export interface Shapes {
  readonly flat: Readonly<Record<string, string>>
  readonly payload: Readonly<Record<string, string>>
}

/** Takes what is of its kind, a record in normal form; `undefined` for anything else. */
type Kind = (value: unknown) => unknown

const typed =
  (type: string): Kind =>
  (value) =>
    typeof value === type ? value : undefined

const isA =
  (is: (value: unknown) => boolean): Kind =>
  (value) =>
    is(value) ? value : undefined

const listOf =
  (kind: Kind): Kind =>
  (list) => {
    if (!Array.isArray(list)) return undefined
    for (let i = 0; i < list.length; i++) {
      const item = kind(list[i])
      if (item === undefined) return undefined
      list[i] = item
    }
    return list
  }

/** A map with some members. It is changed in place: whoever decoded it has no other use for it. */
const mapOf = (members: string): Kind => {
  const parts = members.split(' ').map((member) => {
    const [name = ''] = member.split(':', 1)
    const kind = member.slice(name.length + 1)
    const read =
      kind[0] === '['
        ? listOfMaps(kind.slice(1, kind.indexOf(']')).replaceAll(',', ' '))
        : (KINDS[kind[0] as string] as Kind)
    return { name, kind: read, isOptional: kind.endsWith('?') }
  })
  return (map) => {
    if (!isFields(map)) return undefined
    for (const { name, kind, isOptional } of parts) {
      const value = map[name]
      if (value === undefined && isOptional) continue
      const read = kind(value)
      if (read === undefined) return undefined
      if (read !== value) (map as Record<string, unknown>)[name] = read
    }
    return map
  }
}

/** A map in a list of such: its members are looked up when there is one, and only once. */
const listOfMaps = (members: string): Kind => {
  let item: Kind | undefined
  return (list) => listOf((item ??= mapOf(members)))(list)
}

const KINDS: Readonly<Record<string, Kind>> = {
  s: typed('string'),
  b: typed('boolean'),
  n: isA(isFiniteNumber),
  y: isA((value) => value instanceof Uint8Array),
  m: isA(isFields),
  t: isA(isStamp),
  r: readRecord,
  v: (value) => value,
  // Lists: of ranges, texts, keyed records, maps.
  l: listOf(listOf(isA(isFiniteNumber))),
  S: listOf(typed('string')),
  K: listOfMaps('key:s record:r seq:n?'),
  M: listOf(isA(isFields)),
}

/** What a client relies on that follows maps by cursor. */
const FOLLOWER: Shapes = {
  flat: {
    AUTH_REQUIRED: 'serverTime:n protocolVersion:n optional:b?',
    AUTH_ACK: 'protocolVersion:n userId:s serverTime:n databaseId:s',
    AUTH_FAIL: 'error:s code:n errorCode:s',
    PONG: 'timestamp:n serverTime:n',
    SHUTDOWN_PENDING: 'retryAfter:n',
  },
  payload: {
    ERROR: 'code:n errorCode:s message:s details:m? about:s?',
    OP_ACK:
      'lastId:s achievedLevel:s? ' +
      'results:[opId:s,success:b,achievedLevel:s,latencyMs:n,seq:n?,superseded:b?,error:s?,errorCode:s?,details:m?]',
    SERVER_EVENT: 'mapName:s eventType:s key:s record:r seq:n cursor:s?',
    SERVER_BATCH_EVENT:
      'mapName:s cursor:s? seq:n? prunedThroughSeq:n? events:[mapName:s,eventType:s,key:s,record:r,seq:n]',
    SYNC_DIFF: 'mapName:s cursor:s seq:n more:b lost:l? prunedThroughSeq:n? digest:s? rootHash:n? records:K',
    SYNC_RESET_REQUIRED: 'mapName:s reason:s readable:b?',
  },
}

/** What is sent of OR-maps to clients that follow them without a cursor. */
const ITEM_EVENTS: Shapes = {
  flat: {},
  payload: {
    SERVER_EVENT: 'mapName:s eventType:s key:s seq:n orRecord:m? orTag:s?',
    SERVER_BATCH_EVENT: 'mapName:s events:[mapName:s,eventType:s,key:s,seq:n,orRecord:m?,orTag:s?]',
  },
}

/** What clients rely on that do not follow by cursor. What features rely on that clients load late is in `shapes/`. */
const OTHERS: Shapes = {
  flat: {},
  payload: {
    SYNC_RESP_ROOT: 'mapName:s rootHash:n timestamp:t digest:s?',
    SYNC_RESP_BUCKETS: 'mapName:s path:s buckets:m digests:m?',
    SYNC_RESP_LEAF: 'mapName:s path:s more:b? records:K',
    SYNC_DELTA_RESP: 'mapName:s serverSyncTimestamp:t more:b? reset:b? records:[key:s,record:r,eventType:s]',
    QUERY_UPDATE: 'queryId:s key:s value:v changeType:s version:n?',
    PARTITION_MAP: 'version:n partitionCount:n nodes:M partitions:M generatedAt:n',
    ORMAP_SYNC_RESP_ROOT: 'mapName:s rootHash:n timestamp:t',
    ORMAP_SYNC_RESP_BUCKETS: 'mapName:s path:s buckets:m',
    ORMAP_SYNC_RESP_LEAF: 'mapName:s path:s more:b? entries:[key:s,records:M,tombstones:S]',
    ORMAP_DIFF_RESPONSE: 'mapName:s more:b? entries:[key:s,records:M,tombstones:S]',
    COUNTER_RESPONSE: 'name:s more:b? state:m',
    COUNTER_UPDATE: 'name:s state:m',
  },
}

/**
 * Reads what a server sent, decoded from either encoding (SPEC [FR15]). It trusts the server for what values hold, and
 * answers garbage by a fault, never by an exception. Records are brought into normal form, in place.
 */
export const readServerMessage: ServerMessageReader = /* @__PURE__ */ readerOf(
  FOLLOWER,
  OTHERS,
  reconciliationShapes,
  queryShapes,
  topicShapes,
  roomShapes,
  lockShapes,
  searchShapes,
  journalShapes,
)

/** Reads an event of an OR-map that is sent to clients without a cursor. `readServerMessage` takes all that is not one. */
export const readItemEvent: ServerMessageReader<ItemEventMessage> = /* @__PURE__ */ readerOf(ITEM_EVENTS)

/** The same for a client that follows maps by cursor: it knows no messages but these, and those of `more`. */
export const readFollowerMessage: FollowerMessageReader = /* @__PURE__ */ readerOf(FOLLOWER)

// It is given names alone: of a call with `a.b` in it, bundlers keep what nobody uses.
/* @__NO_SIDE_EFFECTS__ */
function readerOf<M>(
  ...shapes: readonly Shapes[]
): (input: unknown, more?: readonly Shapes[]) => Result<M, MessageFault> {
  const kindsByType = new Map<string, Kind>()
  return (input, more = []) => {
    if (!isFields(input) || typeof input['type'] !== 'string') {
      return err({ errorCode: 'INVALID_REQUEST', message: 'A message must be a map with a type.' })
    }
    const about = input['type']
    let kind = kindsByType.get(about)
    if (kind === undefined) {
      for (const { flat, payload } of [...shapes, ...more]) {
        if (Object.hasOwn(flat, about)) kind = mapOf(flat[about] as string)
        else if (Object.hasOwn(payload, about)) kind = inPayload(mapOf(payload[about] as string))
      }
      if (kind === undefined) {
        return err({ errorCode: 'UNKNOWN_OPERATION', message: 'No message has this type.', about })
      }
      kindsByType.set(about, kind)
    }
    if (kind(input) !== undefined) return ok(input as M)
    return err({ errorCode: 'VALIDATION_ERROR', message: `This is no ${about}.`, about })
  }
}

const inPayload =
  (kind: Kind): Kind =>
  (message) =>
    kind((message as Fields)['payload'])

function readRecord(input: unknown): ReceivedRecord | undefined {
  if (!isFields(input)) return undefined
  const { value, timestamp, base, fields, ttlMs, version } = input
  if (value === undefined || !isStamp(timestamp) || (base !== undefined && !isStamp(base))) return undefined
  if (ttlMs !== undefined && typeof ttlMs !== 'number') return undefined
  if (fields !== undefined && !(isFields(fields) && Object.values(fields).every(isFieldState))) return undefined
  const record = normalizeRecord(input as unknown as RawRecord)
  return typeof version === 'number' && record !== (input as unknown) ? { ...record, version } : record
}

function isFieldState(state: unknown): boolean {
  return isFields(state) && isStamp(state['stamp'])
}
