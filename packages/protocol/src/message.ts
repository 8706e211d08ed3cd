import type { LockGranted, LockRelease, LockReleased, LockRequest } from './messages/locks.ts'
import type {
  JournalEventMessage,
  JournalRead,
  JournalReadResponse,
  JournalSubscribe,
  JournalUnsubscribe,
} from './messages/journal.ts'
import type {
  ClientOp,
  ClientOpMessage,
  ItemOp,
  OpAck,
  OpBatchMessage,
  OpRejected,
  ReceivedOp,
  OrRecord,
  ReceivedRecord,
  RefusedOp,
  ServerBatchEvent,
  ServerBatchItemEvent,
  ServerEvent,
  ServerItemEvent,
  WireRecord,
} from './messages/maps.ts'
import type { SyncDelta, SyncDeltaResp } from './messages/http-sync.ts'
import type {
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
import type { PartitionMap, PartitionMapRequest } from './messages/partitions.ts'
import type { CounterCounts, CounterRequest, CounterResponse, CounterSync, CounterUpdate } from './messages/counters.ts'
import type {
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
import type { QueryResp, QuerySub, QueryUnsub, QueryUpdate } from './messages/queries.ts'
import type { Search, SearchResp, SearchSub, SearchUnsub, SearchUpdate } from './messages/search.ts'
import type { RoomJoin, RoomLeave, RoomState, RoomUpdate } from './messages/rooms.ts'
import type {
  Auth,
  AuthAck,
  AuthFail,
  AuthRequired,
  ErrorMessage,
  Ping,
  Pong,
  ShutdownPending,
} from './messages/sessions.ts'
import type { TopicDropped, TopicMessage, TopicPub, TopicSub, TopicUnsub } from './messages/topics.ts'

/** A message that may carry the id of a request, which the reply to it repeats. */
type Enveloped<M> = { readonly requestId?: string } & M

/** What a client may send, in the one shape that it is sent in. */
export type ClientMessage = Enveloped<
  ClientOpMessage | OpBatchMessage | SyncPush | OrMapPushDiff | CounterSync | OtherClientMessage
>

/** What `readClientMessage` makes of it: ops and pushed records that cannot be read are marked in their place. */
export type ReceivedClientMessage = Enveloped<
  | ClientOpMessage<ReceivedOp | RefusedOp>
  | OpBatchMessage<ReceivedOp | RefusedOp>
  | SyncPush<KeyedRecord<ReceivedRecord> | RefusedRecord>
  | OrMapPushDiff<OrRecord | RefusedItem>
  | CounterSync<CounterCounts>
  | OtherClientMessage
>

type OtherClientMessage =
  | Auth
  | Ping
  | SyncInit
  | SyncStop
  | SyncTrie
  | SyncLeaves
  | SyncFetch
  | MerkleReqBucket
  | SyncDelta
  | QuerySub
  | QueryUnsub
  | LockRequest
  | LockRelease
  | PartitionMapRequest
  | Search
  | SearchSub
  | SearchUnsub
  | JournalSubscribe
  | JournalUnsubscribe
  | JournalRead
  | TopicSub
  | TopicUnsub
  | TopicPub
  | RoomJoin
  | RoomUpdate
  | RoomLeave
  | OrMapSyncInit
  | OrMapMerkleReqBucket
  | OrMapDiffRequest
  | CounterRequest

/** What a server may send. `R` is the form of the records in it. */
export type ServerMessage<R = WireRecord> = Enveloped<
  | AuthRequired
  | AuthAck
  | AuthFail
  | Pong
  | ErrorMessage
  | ShutdownPending
  | OpAck
  | OpRejected
  | ServerEvent<R>
  | ServerBatchEvent<R>
  | SyncDiff<R>
  | SyncResetRequired
  | SyncPushResp<R>
  | SyncRespRoot
  | SyncRespBuckets
  | SyncRespLeaf<R>
  | SyncTrieResp
  | SyncLeavesResp
  | SyncRecords<R>
  | SyncDeltaResp<R>
  | QueryResp
  | QueryUpdate
  | LockGranted
  | LockReleased
  | PartitionMap
  | SearchResp
  | SearchUpdate
  | JournalEventMessage
  | JournalReadResponse
  | TopicMessage
  | TopicDropped
  | RoomState
  | OrMapSyncRespRoot
  | OrMapSyncRespBuckets
  | OrMapSyncRespLeaf
  | OrMapDiffResponse
  | CounterResponse
  | CounterUpdate
>

/** What `readServerMessage` makes of it: every record is in normal form. */
export type ReceivedServerMessage = ServerMessage<ReceivedRecord>

/** Writes to OR-maps, by themselves or among others. */
export type ItemOpMessage = Enveloped<ClientOpMessage<ClientOp | ItemOp> | OpBatchMessage<ClientOp | ItemOp>>

/** What a server sends of OR-maps to clients that follow them without a cursor. All others see the items' records. */
export type ItemEventMessage = Enveloped<ServerItemEvent | ServerBatchItemEvent>

/** Whatever may be in a frame. */
export type Message = ClientMessage | ItemOpMessage | ServerMessage | ItemEventMessage
