export {
  decodeFrame,
  diffPageFrame,
  encodeEventBody,
  encodeFoundRowBody,
  encodeFrame,
  encodeJournalEntry,
  encodeKeyedRecord,
  encodeMember,
  encodeRowBody,
  eventFrame,
  journalEventFrame,
  opAckFrame,
  queryUpdateFrame,
  roomStateFrame,
  searchUpdateFrame,
  type EncodedBody,
  type EventHead,
  type Frame,
} from './codec/frame.ts'
export {
  EncodedList,
  httpSyncFrame,
  type EncodedDelta,
  type EncodedHttpSync,
  type EncodedQueryResult,
  type EncodedSearchResult,
} from './codec/http-sync.ts'
export { decodeJson, decodeValueJson, encodeJson, encodeValueJson } from './codec/json.ts'
export {
  decodeMsgpack,
  decodeValueMsgpack,
  encodeMsgpack,
  encodeValueMsgpack,
  isBatch,
  joinBatch,
  splitBatch,
} from './codec/msgpack.ts'
export type { CodecFault, Encoding } from './codec/fault.ts'
export { CLOSE_CODES, ERRORS, wireError, type ErrorCode, type ErrorInfo, type WireError } from './errors.ts'
export { LIMITS } from './limits.ts'
export type { LockGranted, LockRelease, LockReleased, LockRequest } from './messages/locks.ts'
export type {
  JournalEntry,
  JournalEventMessage,
  JournalEventType,
  JournalFilter,
  JournalRead,
  JournalReadResponse,
  JournalSubscribe,
  JournalUnsubscribe,
} from './messages/journal.ts'
export type {
  ClientMessage,
  ItemEventMessage,
  ItemOpMessage,
  Message,
  ReceivedClientMessage,
  ReceivedServerMessage,
  ServerMessage,
} from './message.ts'
export { COUNTER_MAP_PREFIX } from './messages/counters.ts'
export type {
  CounterRequest,
  CounterResponse,
  CounterCounts,
  CounterState,
  CounterSync,
  CounterUpdate,
  Counts,
  FullCounterState,
} from './messages/counters.ts'
export type {
  OrEntry,
  OrMapDiffRequest,
  OrMapDiffResponse,
  OrMapMerkleReqBucket,
  OrMapPushDiff,
  OrMapSyncInit,
  OrMapSyncRespBuckets,
  OrMapSyncRespLeaf,
  OrMapSyncRespRoot,
  RefusedItem,
} from './messages/sets.ts'
export {
  WRITE_CONCERNS,
  type ClientOp,
  type ClientOpMessage,
  type Fence,
  type ItemEvent,
  type ItemOp,
  type MapEvent,
  type MapKind,
  type OpAck,
  type OpBatchMessage,
  type OpRecord,
  type OpRejected,
  type OpResult,
  type OrRecord,
  type ReceivedOp,
  type ReceivedRecord,
  type RefusedOp,
  type ServerBatchEvent,
  type ServerBatchItemEvent,
  type ServerEvent,
  type ServerItemEvent,
  type WireRecord,
  type WriteConcern,
} from './messages/maps.ts'
export type {
  DeltaRecord,
  HttpQuery,
  HttpQueryResult,
  HttpSearch,
  HttpSearchResult,
  HttpSyncError,
  HttpSyncRequest,
  HttpSyncResponse,
  MapDelta,
  SyncDelta,
  SyncDeltaResp,
} from './messages/http-sync.ts'
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
} from './messages/merkle-sync.ts'
export type { Partition, PartitionMap, PartitionMapRequest, PartitionNode } from './messages/partitions.ts'
export type { QueryResp, QueryRow, QuerySub, QueryUnsub, QueryUpdate } from './messages/queries.ts'
export type { RoomJoin, RoomLeave, RoomMember, RoomSelf, RoomState, RoomUpdate } from './messages/rooms.ts'
export type {
  Search,
  SearchOptions,
  SearchResp,
  SearchRow,
  SearchSub,
  SearchUnsub,
  SearchUpdate,
} from './messages/search.ts'
export type {
  Auth,
  AuthAck,
  AuthFail,
  AuthRequired,
  ErrorMessage,
  Ping,
  Pong,
  ShutdownPending,
} from './messages/sessions.ts'
export type { TopicDropped, TopicMessage, TopicPub, TopicSub, TopicUnsub } from './messages/topics.ts'
export { readClientMessage, type MessageFault } from './read/client-message.ts'
export { readHttpSync, type ReceivedHttpSync } from './read/http-sync.ts'
export { isRefusedOp } from './read/op.ts'
export { readItemEvent, readServerMessage } from './read/server-message.ts'
export { toWireRecord } from './read/wire-record.ts'
export { OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION, SUBPROTOCOLS, VERSION_HISTORY } from './version.ts'
export { jsonSchemas, type JsonSchema } from './json-schema.ts'
export { clientMessageSchemas, httpBodySchemas, serverMessageSchemas } from './message.schema.ts'
export {
  clientOpSchema,
  itemEventSchema,
  itemOpSchema,
  mapEventSchema,
  orRecordSchema,
  pushedRecordSchema,
  wireRecordSchema,
} from './messages/maps.schema.ts'
export { querySpecSchema } from './messages/queries.schema.ts'
