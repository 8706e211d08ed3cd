import { err, measureValue, ok, type QuerySpec, type Result } from '@syncline/core'
import { isTriePath } from '@syncline/core/merkle'
import type { WireError } from '../errors.ts'
import { LIMITS } from '../limits.ts'
import type { ReceivedClientMessage } from '../message.ts'
import type { MapKind } from '../messages/maps.ts'
import {
  isCount,
  isFields,
  isFiniteNumber,
  isId,
  mustBeId,
  readId,
  readList,
  readMapName,
  readName,
  readNumber,
  readStamp,
  readText,
  type Fields,
} from './fields.ts'
import { readLockRelease, readLockRequest } from './locks.ts'
import { readJournalRead, readJournalSubscribe, readJournalUnsubscribe } from './journal.ts'
import { readCounterRequest, readCounterSync } from './counters.ts'
import { readOrMapDiffRequest, readOrMapMerkleReqBucket, readOrMapPushDiff, readOrMapSyncInit } from './sets.ts'
import { isTimeout, isWriteConcern, mustBeTimeout, mustBeWriteConcern, readOp } from './op.ts'
import { readMoment } from './http-sync.ts'
import { readRecord } from './record.ts'
import { Refusal, fieldError, refuse } from './refusal.ts'
import { readSearch, readSearchSub, readSearchUnsub } from './search.ts'
import { readRoomJoin, readRoomLeave, readRoomUpdate } from './rooms.ts'
import { readTopicPub, readTopicSub, readTopicUnsub } from './topics.ts'

/** Why a message cannot be read, and what is known of it all the same. */
export interface MessageFault extends WireError {
  /** The message's type, where it could be read. */
  readonly about?: string
  /** The message's request id, where it could be read. */
  readonly requestId?: string
}

/** Reads the fields of one type of message, which are flat or in its payload. */
type Reader = (fields: Fields, requestId: string | undefined) => ReceivedClientMessage

/**
 * Reads what a client sent, decoded from either encoding (SPEC [FR11] to [FR14]): fields may stand beside `type` or in
 * `payload`, unknown ones are ignored. An op or pushed record that cannot be read is marked in its place.
 */
export function readClientMessage(input: unknown): Result<ReceivedClientMessage, MessageFault> {
  if (!isFields(input)) return err({ errorCode: 'INVALID_REQUEST', message: 'A message must be a map.' })
  const { type, payload, requestId } = input
  if (typeof type !== 'string') {
    return err(withContext(fieldError('INVALID_REQUEST', 'type', 'must be a text'), undefined, requestId))
  }
  if (requestId !== undefined && !isId(requestId)) {
    return err(withContext(fieldError('INVALID_REQUEST', 'requestId', mustBeId()), type, undefined))
  }
  if (payload !== undefined && !isFields(payload)) {
    return err(withContext(fieldError('VALIDATION_ERROR', 'payload', 'must be a map'), type, requestId))
  }
  if (type === 'CLIENT_OP') {
    const op = readOp(payload ?? input)
    return ok({ type, payload: op, ...(requestId === undefined ? {} : { requestId }) })
  }
  const read = Object.hasOwn(READERS, type) ? READERS[type] : undefined
  if (read === undefined) {
    const error = { errorCode: 'UNKNOWN_OPERATION', message: 'No message has this type.' } as const
    return err(withContext(error, type, requestId ?? payload?.['requestId']))
  }
  try {
    const message = read(payload ?? input, requestId)
    return ok(requestId === undefined ? message : { ...message, requestId })
  } catch (error) {
    if (error instanceof Refusal) return err(withContext(error.error, type, requestId ?? payload?.['requestId']))
    throw error
  }
}

/** The types that `readClientMessage` knows. */
export function clientMessageTypes(): readonly string[] {
  return ['CLIENT_OP', ...Object.keys(READERS)]
}

function withContext(error: WireError, about: string | undefined, requestId: unknown): MessageFault {
  return {
    ...error,
    ...(about === undefined ? {} : { about: about.slice(0, LIMITS.idLength) }),
    ...(isId(requestId) ? { requestId } : {}),
  }
}

const READERS: Readonly<Record<string, Reader>> = {
  OP_BATCH: readOpBatch,
  AUTH: readAuth,
  PING: (fields) => ({ type: 'PING', timestamp: readNumber(fields, 'timestamp') }),
  SYNC_INIT: readSyncInit,
  SYNC_STOP: (fields) => ({ type: 'SYNC_STOP', mapName: readMapName(fields) }),
  SYNC_PUSH: readSyncPush,
  SYNC_TRIE: (fields) => ({ type: 'SYNC_TRIE', payload: { mapName: readMapName(fields) } }),
  SYNC_LEAVES: readSyncLeaves,
  SYNC_FETCH: readSyncFetch,
  MERKLE_REQ_BUCKET: readMerkleReqBucket,
  SYNC_DELTA: readSyncDelta,
  QUERY_SUB: readQuerySub,
  LOCK_REQUEST: readLockRequest,
  LOCK_RELEASE: readLockRelease,
  PARTITION_MAP_REQUEST: readPartitionMapRequest,
  ORMAP_SYNC_INIT: readOrMapSyncInit,
  ORMAP_MERKLE_REQ_BUCKET: readOrMapMerkleReqBucket,
  ORMAP_DIFF_REQUEST: readOrMapDiffRequest,
  ORMAP_PUSH_DIFF: readOrMapPushDiff,
  COUNTER_REQUEST: readCounterRequest,
  COUNTER_SYNC: readCounterSync,
  QUERY_UNSUB: (fields) => ({ type: 'QUERY_UNSUB', payload: { queryId: readId(fields, 'queryId') } }),
  SEARCH: readSearch,
  SEARCH_SUB: readSearchSub,
  SEARCH_UNSUB: readSearchUnsub,
  JOURNAL_SUBSCRIBE: readJournalSubscribe,
  JOURNAL_UNSUBSCRIBE: readJournalUnsubscribe,
  JOURNAL_READ: readJournalRead,
  TOPIC_SUB: readTopicSub,
  TOPIC_UNSUB: readTopicUnsub,
  TOPIC_PUB: readTopicPub,
  ROOM_JOIN: readRoomJoin,
  ROOM_UPDATE: readRoomUpdate,
  ROOM_LEAVE: readRoomLeave,
}

function readAuth(fields: Fields): ReceivedClientMessage {
  const token = readText(fields, 'token')
  const { protocolVersion } = fields
  if (protocolVersion === undefined) return { type: 'AUTH', token }
  if (!isCount(protocolVersion)) refuse('VALIDATION_ERROR', 'protocolVersion', 'must be a whole number')
  return { type: 'AUTH', token, protocolVersion }
}

/** What a batch could ask for that is not built: to ignore it would acknowledge what did not happen. */
const CONDITIONS = ['atomic', 'expect', 'transactionId'] as const

function readOpBatch(fields: Fields): ReceivedClientMessage {
  const { writeConcern, timeout } = fields
  for (const name of CONDITIONS) {
    if (fields[name] !== undefined) refuse('UNKNOWN_OPERATION', name, 'is not supported by this server')
  }
  const ops = readList(fields, 'ops', LIMITS.batchOps, 'batchOps')
  if (writeConcern !== undefined && !isWriteConcern(writeConcern)) {
    refuse('VALIDATION_ERROR', 'writeConcern', mustBeWriteConcern())
  }
  if (timeout !== undefined && !isTimeout(timeout)) {
    refuse('VALIDATION_ERROR', 'timeout', mustBeTimeout())
  }
  return {
    type: 'OP_BATCH',
    payload: {
      ops: ops.map(readOp),
      ...(writeConcern === undefined ? {} : { writeConcern }),
      ...(timeout === undefined ? {} : { timeout }),
    },
  }
}

function readSyncInit(fields: Fields): ReceivedClientMessage {
  const mapName = readMapName(fields)
  const { cursor, lastSyncTimestamp } = fields
  const kind = readKind(fields)
  if (cursor !== undefined && cursor !== null && (typeof cursor !== 'string' || cursor.length > LIMITS.cursorLength)) {
    refuse('VALIDATION_ERROR', 'cursor', `must be null or a text of at most ${LIMITS.cursorLength} characters`)
  }
  return {
    type: 'SYNC_INIT',
    mapName,
    ...(cursor === undefined ? {} : { cursor }),
    ...(kind === undefined ? {} : { kind }),
    ...(lastSyncTimestamp === undefined
      ? {}
      : {
          lastSyncTimestamp: isFiniteNumber(lastSyncTimestamp)
            ? lastSyncTimestamp
            : readStamp(lastSyncTimestamp, 'lastSyncTimestamp'),
        }),
  }
}

function readSyncPush(fields: Fields): ReceivedClientMessage {
  const mapName = readMapName(fields)
  const kind = readKind(fields)
  const records = readList(fields, 'records', LIMITS.batchOps, 'batchOps').map((item, i) => {
    const path = `records[${i}]`
    if (!isFields(item)) refuse('VALIDATION_ERROR', path, 'must be a map')
    // Without a usable key nothing can be said about the record, so the message as a whole is refused.
    const key = readName(item['key'], `${path}.key`, LIMITS.keyBytes)
    const read = readRecord(item['record'])
    return 'refused' in read ? { key, refused: read.refused } : { key, record: read.record }
  })
  return { type: 'SYNC_PUSH', payload: { mapName, ...(kind === undefined ? {} : { kind }), records } }
}

function readKind({ kind }: Fields): MapKind | undefined {
  if (kind === undefined || kind === 'lww' || kind === 'or' || kind === 'pn') return kind
  return refuse('VALIDATION_ERROR', 'kind', 'must be lww, or or pn')
}

function readSyncLeaves(fields: Fields): ReceivedClientMessage {
  const mapName = readMapName(fields)
  const leaves = readList(fields, 'leaves', LIMITS.fetchKeys, 'fetchKeys').map((leaf, i) =>
    isCount(leaf, 4095) ? leaf : refuse('VALIDATION_ERROR', `leaves[${i}]`, 'must be a whole number from 0 to 4095'),
  )
  return { type: 'SYNC_LEAVES', payload: { mapName, leaves } }
}

function readSyncFetch(fields: Fields): ReceivedClientMessage {
  const mapName = readMapName(fields)
  const keys = readList(fields, 'keys', LIMITS.fetchKeys, 'fetchKeys').map((key, i) =>
    readName(key, `keys[${i}]`, LIMITS.keyBytes),
  )
  return { type: 'SYNC_FETCH', payload: { mapName, keys } }
}

function readMerkleReqBucket(fields: Fields): ReceivedClientMessage {
  const mapName = readMapName(fields)
  const path = readText(fields, 'path')
  if (!isTriePath(path)) refuse('VALIDATION_ERROR', 'path', 'must be up to 8 hexadecimal digits in lower case')
  return { type: 'MERKLE_REQ_BUCKET', payload: { mapName, path } }
}

function readSyncDelta(fields: Fields): ReceivedClientMessage {
  const mapName = readMapName(fields)
  const since = readMoment(fields['lastSyncTimestamp'])
  return { type: 'SYNC_DELTA', payload: { mapName, ...(since === undefined ? {} : { lastSyncTimestamp: since }) } }
}

function readPartitionMapRequest(fields: Fields): ReceivedClientMessage {
  const { currentVersion } = fields
  if (currentVersion === undefined) return { type: 'PARTITION_MAP_REQUEST', payload: {} }
  return { type: 'PARTITION_MAP_REQUEST', payload: { currentVersion: readNumber(fields, 'currentVersion') } }
}

function readQuerySub(fields: Fields): ReceivedClientMessage {
  const queryId = readId(fields, 'queryId')
  const mapName = readMapName(fields)
  const { query, fields: shown } = fields
  if (!isFields(query)) refuse('VALIDATION_ERROR', 'query', 'must be a map')
  if (shown !== undefined) checkShown(shown)
  const payload = { queryId, mapName, query: readQuery(query) }
  return { type: 'QUERY_SUB', payload: shown === undefined ? payload : { ...payload, fields: shown as string[] } }
}

function checkShown(shown: unknown): void {
  if (!Array.isArray(shown) || !shown.every((name) => typeof name === 'string')) {
    refuse('VALIDATION_ERROR', 'fields', 'must be a list of names')
  }
  if (shown.length > LIMITS.queryFields) {
    refuse('TOO_LARGE', 'fields', `must have at most ${LIMITS.queryFields} names`, 'queryFields')
  }
}

/** The outline of a query; its conditions are judged by `compileQuery`. */
function readQuery(query: Fields): QuerySpec {
  const { where, predicate, sort, limit, cursor } = query
  if (where !== undefined && !isFields(where)) refuse('VALIDATION_ERROR', 'query.where', 'must be a map')
  if (predicate !== undefined && !isFields(predicate)) refuse('VALIDATION_ERROR', 'query.predicate', 'must be a map')
  if (sort !== undefined) checkSort(sort)
  if (limit !== undefined && !isCount(limit, LIMITS.queryLimit)) {
    refuse('VALIDATION_ERROR', 'query.limit', `must be a whole number from 0 to ${LIMITS.queryLimit}`)
  }
  if (cursor !== undefined && (typeof cursor !== 'string' || cursor.length > LIMITS.queryCursorLength)) {
    refuse('VALIDATION_ERROR', 'query.cursor', 'must be a text')
  }
  // What is no value at all is refused where the query is compiled.
  const bytes = measureValue([where ?? null, predicate ?? null, sort ?? null], LIMITS.frameDepth)
  if (typeof bytes === 'number' && bytes > LIMITS.queryBytes) {
    refuse('TOO_LARGE', 'query', `must have at most ${LIMITS.queryBytes} bytes of conditions`, 'queryBytes')
  }
  return {
    ...(where === undefined ? {} : { where }),
    ...(predicate === undefined ? {} : { predicate: predicate as unknown as NonNullable<QuerySpec['predicate']> }),
    ...(sort === undefined ? {} : { sort: sort as Record<string, 'asc' | 'desc'> }),
    ...(limit === undefined ? {} : { limit }),
    ...(cursor === undefined ? {} : { cursor }),
  }
}

function checkSort(sort: unknown): void {
  if (!isFields(sort)) refuse('VALIDATION_ERROR', 'query.sort', 'must be a map')
  const directions = Object.values(sort)
  if (directions.length > LIMITS.sortFields) {
    refuse('TOO_LARGE', 'query.sort', `must have at most ${LIMITS.sortFields} fields`, 'sortFields')
  }
  if (!directions.every((direction) => direction === 'asc' || direction === 'desc')) {
    refuse('VALIDATION_ERROR', 'query.sort', 'must say asc or desc for each field')
  }
}
