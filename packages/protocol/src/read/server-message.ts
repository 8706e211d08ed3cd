import {
  compareStamps,
  err,
  isStamp,
  normalizeRecord,
  ok,
  type LwwRecord,
  type RawRecord,
  type Result,
} from '@syncline/core'
import type { ReceivedServerMessage } from '../message.ts'
import type { ReceivedRecord, WireRecord } from '../messages/maps.ts'
import type { MessageFault } from './client-message.ts'
import { isFields, isFiniteNumber, type Fields } from './fields.ts'

/** The form in which a record travels: `base` only where it differs from `timestamp`, and the server's `version`. */
export function toWireRecord(record: LwwRecord, version?: number): WireRecord {
  const { value, timestamp, base, ttlMs, fields } = record
  return {
    value,
    timestamp,
    ...(compareStamps(base, timestamp) === 0 ? {} : { base }),
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(fields === undefined ? {} : { fields }),
    ...(version === undefined ? {} : { version }),
  }
}

/**
 * Reads what a server sent, decoded from either encoding (SPEC [FR15]). It trusts the server for what values hold, and
 * answers garbage by a fault, never by an exception. Records are brought into normal form.
 */
export function readServerMessage(input: unknown): Result<ReceivedServerMessage, MessageFault> {
  if (!isFields(input) || typeof input['type'] !== 'string') {
    return err({ errorCode: 'INVALID_REQUEST', message: 'A message must be a map with a type.' })
  }
  const about = input['type']
  const shape = Object.hasOwn(SHAPES, about) ? SHAPES[about] : undefined
  if (shape === undefined) return err({ errorCode: 'UNKNOWN_OPERATION', message: 'No message has this type.', about })
  const { isFlat = false, members, lists = {} } = shape
  const payload = isFlat ? input : input['payload']
  const message = isFields(payload) ? readPayload(payload, members, lists) : undefined
  if (message === undefined) return err({ errorCode: 'VALIDATION_ERROR', message: `This is no ${about}.`, about })
  return ok((isFlat ? message : { ...input, payload: message }) as unknown as ReceivedServerMessage)
}

/**
 * What a client relies on, written short because it travels in every bundle: `name:k` for each member, with a `?` where
 * it may be absent. Kinds: s(tring), n(umber), b(oolean), y (bytes), m(ap), t (stamp), r(ecord), v(alue), l (list of
 * ranges). A list has the members of its items, or one kind where these are scalars.
 */
interface Shape {
  readonly isFlat?: true
  readonly members: string
  readonly lists?: Readonly<Record<string, string>>
}

function readPayload(fields: Fields, members: string, lists: Readonly<Record<string, string>>): Fields | undefined {
  const read: Record<string, unknown> = { ...fields }
  for (const member of members.split(' ')) {
    const [name = '', kind = ''] = member.split(':')
    const value = fields[name]
    if (value === undefined && kind.endsWith('?')) continue
    read[name] = readMember(value, kind)
    if (read[name] === undefined) return undefined
  }
  for (const name of Object.keys(lists)) {
    const list = fields[name]
    if (!Array.isArray(list)) return undefined
    const item = lists[name] as string
    const items = list.map((value) =>
      item.length > 1 ? isFields(value) && readPayload(value, item, {}) : readMember(value, item),
    )
    if (!items.every(Boolean)) return undefined
    read[name] = items
  }
  return read
}

/** The member itself, a record in normal form, or `undefined` where it is not of its kind. */
function readMember(value: unknown, kind: string): unknown {
  switch (kind[0]) {
    case 's':
      return typeof value === 'string' ? value : undefined
    case 'n':
      return isFiniteNumber(value) ? value : undefined
    case 'b':
      return typeof value === 'boolean' ? value : undefined
    case 'y':
      return value instanceof Uint8Array ? value : undefined
    case 'm':
      return isFields(value) ? value : undefined
    case 't':
      return isStamp(value) ? value : undefined
    case 'r':
      return readRecord(value)
    case 'l':
      return Array.isArray(value) && value.every((range) => Array.isArray(range) && range.every(isFiniteNumber))
        ? value
        : undefined
    default:
      return value
  }
}

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

const EVENT = 'mapName:s eventType:s key:s record:r seq:n'
const KEYED = 'key:s record:r seq:n?'

const SHAPES: Readonly<Record<string, Shape>> = {
  AUTH_REQUIRED: { isFlat: true, members: 'serverTime:n protocolVersion:n optional:b?' },
  AUTH_ACK: { isFlat: true, members: 'protocolVersion:n userId:s serverTime:n databaseId:s' },
  AUTH_FAIL: { isFlat: true, members: 'error:s code:n errorCode:s' },
  PONG: { isFlat: true, members: 'timestamp:n serverTime:n' },
  SHUTDOWN_PENDING: { isFlat: true, members: 'retryAfter:n' },
  ERROR: { members: 'code:n errorCode:s message:s details:m? about:s?' },
  OP_ACK: {
    members: 'lastId:s achievedLevel:s?',
    lists: {
      results: 'opId:s success:b achievedLevel:s latencyMs:n seq:n? superseded:b? error:s? errorCode:s? details:m?',
    },
  },
  OP_REJECTED: { members: 'opId:s reason:s code:n errorCode:s' },
  SERVER_EVENT: { members: 'mapName:s eventType:s key:s record:r seq:n cursor:s?' },
  SERVER_BATCH_EVENT: { members: 'mapName:s cursor:s? seq:n?', lists: { events: EVENT } },
  SYNC_DIFF: {
    members: 'mapName:s cursor:s seq:n more:b lost:l? prunedThroughSeq:n? digest:s? rootHash:n?',
    lists: { records: KEYED },
  },
  SYNC_RESET_REQUIRED: { members: 'mapName:s reason:s' },
  SYNC_PUSH_RESP: {
    members: 'mapName:s accepted:n',
    lists: { refused: 'key:s errorCode:s message:s record:r? seq:n?' },
  },
  SYNC_RESP_ROOT: { members: 'mapName:s rootHash:n timestamp:t digest:s?' },
  SYNC_RESP_BUCKETS: { members: 'mapName:s path:s buckets:m digests:m?' },
  SYNC_RESP_LEAF: { members: 'mapName:s path:s more:b?', lists: { records: KEYED } },
  SYNC_TRIE_RESP: { members: 'mapName:s digest:s leaves:y' },
  SYNC_LEAVES_RESP: { members: 'mapName:s digests:y more:b', lists: { keys: 's' } },
  SYNC_RECORDS: { members: 'mapName:s more:b', lists: { records: KEYED, absent: 's' } },
  QUERY_RESP: {
    members: 'queryId:s hasMore:b? nextCursor:s? cursorStatus:s? more:b?',
    lists: { results: 'key:s value:v' },
  },
  QUERY_UPDATE: { members: 'queryId:s key:s value:v changeType:s' },
}
