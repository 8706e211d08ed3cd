import type * as z from 'zod'
import { lockGrantedSchema, lockReleasedSchema, lockReleaseSchema, lockRequestSchema } from './messages/locks.schema.ts'
import {
  journalEventSchema,
  journalReadResponseSchema,
  journalReadSchema,
  journalSubscribeSchema,
  journalUnsubscribeSchema,
} from './messages/journal.schema.ts'
import {
  httpSyncRequestSchema,
  httpSyncResponseSchema,
  syncDeltaRespSchema,
  syncDeltaSchema,
} from './messages/http-sync.schema.ts'
import type { ClientMessage, ItemEventMessage, ItemOpMessage, ServerMessage } from './message.ts'
import { clientOpMessageSchema, opAckSchema, opBatchSchema, opRejectedSchema } from './messages/maps.schema.ts'
import { serverBatchEventSchema, serverEventSchema } from './messages/maps.schema.ts'
import {
  merkleReqBucketSchema,
  syncDiffSchema,
  syncFetchSchema,
  syncInitSchema,
  syncLeavesRespSchema,
  syncLeavesSchema,
  syncPushRespSchema,
  syncPushSchema,
  syncRecordsSchema,
  syncResetRequiredSchema,
  syncRespBucketsSchema,
  syncRespLeafSchema,
  syncRespRootSchema,
  syncStopSchema,
  syncTrieRespSchema,
  syncTrieSchema,
} from './messages/merkle-sync.schema.ts'
import { partitionMapRequestSchema, partitionMapSchema } from './messages/partitions.schema.ts'
import {
  counterRequestSchema,
  counterResponseSchema,
  counterSyncSchema,
  counterUpdateSchema,
} from './messages/counters.schema.ts'
import {
  orMapDiffRequestSchema,
  orMapDiffResponseSchema,
  orMapMerkleReqBucketSchema,
  orMapPushDiffSchema,
  orMapSyncInitSchema,
  orMapSyncRespBucketsSchema,
  orMapSyncRespLeafSchema,
  orMapSyncRespRootSchema,
} from './messages/sets.schema.ts'
import { queryRespSchema, querySubSchema, queryUnsubSchema, queryUpdateSchema } from './messages/queries.schema.ts'
import { roomJoinSchema, roomLeaveSchema, roomStateSchema, roomUpdateSchema } from './messages/rooms.schema.ts'
import {
  searchRespSchema,
  searchSchema,
  searchSubSchema,
  searchUnsubSchema,
  searchUpdateSchema,
} from './messages/search.schema.ts'
import {
  authAckSchema,
  authFailSchema,
  authRequiredSchema,
  authSchema,
  errorSchema,
  pingSchema,
  pongSchema,
  shutdownPendingSchema,
} from './messages/sessions.schema.ts'
import {
  topicDroppedSchema,
  topicMessageSchema,
  topicPubSchema,
  topicSubSchema,
  topicUnsubSchema,
} from './messages/topics.schema.ts'

/** A schema for each type of message, no more and no fewer. */
type SchemasOf<M extends { readonly type: string }> = {
  readonly [T in M['type']]: z.ZodType<Extract<M, { readonly type: T }>>
}

/** The schemas of what a client may send, by type. */
export const clientMessageSchemas: SchemasOf<ClientMessage | ItemOpMessage> = {
  AUTH: authSchema,
  PING: pingSchema,
  CLIENT_OP: clientOpMessageSchema,
  OP_BATCH: opBatchSchema,
  SYNC_INIT: syncInitSchema,
  SYNC_STOP: syncStopSchema,
  SYNC_PUSH: syncPushSchema,
  SYNC_TRIE: syncTrieSchema,
  SYNC_LEAVES: syncLeavesSchema,
  SYNC_FETCH: syncFetchSchema,
  MERKLE_REQ_BUCKET: merkleReqBucketSchema,
  SYNC_DELTA: syncDeltaSchema,
  QUERY_SUB: querySubSchema,
  QUERY_UNSUB: queryUnsubSchema,
  LOCK_REQUEST: lockRequestSchema,
  LOCK_RELEASE: lockReleaseSchema,
  PARTITION_MAP_REQUEST: partitionMapRequestSchema,
  SEARCH: searchSchema,
  SEARCH_SUB: searchSubSchema,
  SEARCH_UNSUB: searchUnsubSchema,
  JOURNAL_SUBSCRIBE: journalSubscribeSchema,
  JOURNAL_UNSUBSCRIBE: journalUnsubscribeSchema,
  JOURNAL_READ: journalReadSchema,
  TOPIC_SUB: topicSubSchema,
  TOPIC_UNSUB: topicUnsubSchema,
  TOPIC_PUB: topicPubSchema,
  ROOM_JOIN: roomJoinSchema,
  ROOM_UPDATE: roomUpdateSchema,
  ROOM_LEAVE: roomLeaveSchema,
  ORMAP_SYNC_INIT: orMapSyncInitSchema,
  ORMAP_MERKLE_REQ_BUCKET: orMapMerkleReqBucketSchema,
  ORMAP_DIFF_REQUEST: orMapDiffRequestSchema,
  ORMAP_PUSH_DIFF: orMapPushDiffSchema,
  COUNTER_REQUEST: counterRequestSchema,
  COUNTER_SYNC: counterSyncSchema,
}

/** The schemas of what a server may send, by type. */
export const serverMessageSchemas: SchemasOf<ServerMessage | ItemEventMessage> = {
  AUTH_REQUIRED: authRequiredSchema,
  AUTH_ACK: authAckSchema,
  AUTH_FAIL: authFailSchema,
  PONG: pongSchema,
  ERROR: errorSchema,
  SHUTDOWN_PENDING: shutdownPendingSchema,
  OP_ACK: opAckSchema,
  OP_REJECTED: opRejectedSchema,
  SERVER_EVENT: serverEventSchema,
  SERVER_BATCH_EVENT: serverBatchEventSchema,
  SYNC_DIFF: syncDiffSchema,
  SYNC_RESET_REQUIRED: syncResetRequiredSchema,
  SYNC_PUSH_RESP: syncPushRespSchema,
  SYNC_RESP_ROOT: syncRespRootSchema,
  SYNC_RESP_BUCKETS: syncRespBucketsSchema,
  SYNC_RESP_LEAF: syncRespLeafSchema,
  SYNC_TRIE_RESP: syncTrieRespSchema,
  SYNC_LEAVES_RESP: syncLeavesRespSchema,
  SYNC_RECORDS: syncRecordsSchema,
  SYNC_DELTA_RESP: syncDeltaRespSchema,
  QUERY_RESP: queryRespSchema,
  QUERY_UPDATE: queryUpdateSchema,
  LOCK_GRANTED: lockGrantedSchema,
  LOCK_RELEASED: lockReleasedSchema,
  PARTITION_MAP: partitionMapSchema,
  SEARCH_RESP: searchRespSchema,
  SEARCH_UPDATE: searchUpdateSchema,
  JOURNAL_EVENT: journalEventSchema,
  JOURNAL_READ_RESPONSE: journalReadResponseSchema,
  TOPIC_MESSAGE: topicMessageSchema,
  TOPIC_DROPPED: topicDroppedSchema,
  ROOM_STATE: roomStateSchema,
  ORMAP_SYNC_RESP_ROOT: orMapSyncRespRootSchema,
  ORMAP_SYNC_RESP_BUCKETS: orMapSyncRespBucketsSchema,
  ORMAP_SYNC_RESP_LEAF: orMapSyncRespLeafSchema,
  ORMAP_DIFF_RESPONSE: orMapDiffResponseSchema,
  COUNTER_RESPONSE: counterResponseSchema,
  COUNTER_UPDATE: counterUpdateSchema,
}

/** The schemas of the bodies of a `POST /sync`, by name. */
export const httpBodySchemas: {
  readonly HttpSyncRequest: typeof httpSyncRequestSchema
  readonly HttpSyncResponse: typeof httpSyncResponseSchema
} = { HttpSyncRequest: httpSyncRequestSchema, HttpSyncResponse: httpSyncResponseSchema }
