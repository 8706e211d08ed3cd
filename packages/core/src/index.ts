export { assert, unreachable } from './assert.ts'
export { MAX_CLOCK_DRIFT_MS, clockOffset, isAheadOfClock } from './clock/drift.ts'
export { HybridClock, MAX_COUNTER, ZERO_STAMP, compareStamps, isStamp, maxStamp, type Stamp } from './clock/hlc.ts'
export { formatStamp, parseStamp } from './clock/stamp-text.ts'
export { LwwMap, type WriteOutcome } from './crdt/lww-map.ts'
export { mergeRecords, patchRecord, recordsEqual } from './crdt/merge.ts'
export { normalizeRecord, type RawRecord } from './crdt/normalize.ts'
export { OrMap, compareTags, isTag, itemKey, mergeItems, parseItemKey, visibleItems, type Item } from './crdt/or-map.ts'
export {
  CounterOverflow,
  PnCounter,
  counterRecord,
  isCounterRow,
  mergeCounterRows,
  type CounterRow,
} from './crdt/pn-counter.ts'
export {
  fieldStamp,
  fieldStateOf,
  fieldWriteValue,
  isExpired,
  isTombstone,
  latestStamp,
  raiseTimestamp,
  visibleValue,
  wholeWrite,
  type FieldState,
  type FieldWrite,
  type LwwRecord,
} from './crdt/record.ts'
export type { Cancel, Env, LogLevel } from './env.ts'
export { PARTITION_COUNT, partitionOf } from './partition.ts'
export { coverOf, type FieldBound } from './query/cover.ts'
export { decodeQueryCursor, encodeQueryCursor, isAfterCursor, queryHash, type QueryCursor } from './query/cursor.ts'
export { compileQuery } from './query/evaluate.ts'
export { compileWhere, type Matcher, type QueryWork } from './query/where.ts'
export { compareForOrder, compareKeys, compileOrder, orderRank, type RowOrder } from './query/order.ts'
export {
  MAX_QUERY_DEPTH,
  MAX_QUERY_NODES,
  fieldReader,
  type FieldReader,
  type PredicateNode,
  type QueryFault,
  type QuerySpec,
  type Where,
} from './query/predicate.ts'
export { err, ok, type Result } from './result.ts'
export { compareBytes, compareCanonical, sortedNames } from './value/compare.ts'
export { BadBytes, fromTagged, needsTags, taggedName, toTagged } from './value/tagged.ts'
export {
  MAX_VALUE_DEPTH,
  copyValue,
  isFieldName,
  isMap,
  measureValue,
  utf8Length,
  valuesEqual,
  type Value,
  type ValueFault,
  type ValueMap,
} from './value/value.ts'
