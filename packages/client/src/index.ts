export { createClient } from './client.ts'
export type { Client } from './client-api.ts'
export type { ClientEnv, LockPort, TabMemory } from './env.ts'
export { SynclineError, type ErrorCode } from './errors.ts'
export type { ClientEvents } from './events.ts'
export type { CountersOf, SyncCounter } from './features/counters/handle.ts'
export type { ConflictEvent, SyncMap } from './features/maps/handle.ts'
export type { HistoryEntry, HistoryOptions } from './features/journal/index.ts'
export type { Lock, LockOptions } from './features/locks/handle.ts'
export type { FenceSource, WriteOptions } from './offline/op-writer.ts'
export type { Query, QuerySpec, QueryState, Where } from './features/queries/handle.ts'
export type { JoinOptions, Member, Room, RoomsOf } from './features/rooms/handle.ts'
export type { SearchSpec } from './features/search/handle.ts'
export type { Topic, TopicMessage } from './features/topics/handle.ts'
export type { Row } from './features/queries/state.ts'
export type { SetsOf, SyncSet } from './features/sets/handle.ts'
export type { SyncState } from './offline/replica.ts'
export type { Write, WriteLevel, WriteStatus } from './offline/write.ts'
export type { ClientOptions } from './options.ts'
export type { Readable, Unsubscribe, WaitOptions } from './readable.ts'
export type { PendingWrite, PendingWrites, Status } from './status.ts'
export { preload } from './preload.ts'
export { indexedDB } from './storage/indexeddb.ts'
export { memory } from './storage/memory.ts'
export type { OpenStorage, RowKey, StorageAdapter, StorageTransaction, StoreName } from './storage/storage.ts'
export type { AuthCallback, AuthContext, ConnectionState } from './transport/connection.ts'
export type { ClientSocket } from './transport/socket.ts'
export {
  counter,
  defineContract,
  map,
  room,
  set,
  topic,
  type AnyMapDef,
  type AnyRoomDef,
  type AnySetDef,
  type AnyTopicDef,
  type Contract,
  type CounterDef,
  type FieldName,
  type In,
  type MapDef,
  type Out,
  type RoomDef,
  type SetDef,
  type TopicDef,
  type StandardSchema,
  type ValidationIssue,
  type ValidationResult,
} from '@syncline/protocol/contract'
export type { Cancel, Env, LogLevel, Value, ValueMap } from '@syncline/core'
