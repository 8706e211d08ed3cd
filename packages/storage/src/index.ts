export {
  ONCE_RETENTION_MS,
  StorageError,
  faultOf,
  type Expectation,
  type FenceToken,
  type OnceMark,
  type StorageAdapter,
  type StorageFault,
  type StorageState,
  type StoredRecord,
  type UniqueClaim,
  type WriteBatch,
  type WriteResult,
} from './adapter.ts'
export { memoryStorage } from './memory/memory-adapter.ts'
