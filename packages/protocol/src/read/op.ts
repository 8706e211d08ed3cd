import { ZERO_STAMP, isFieldName, isMap, isStamp, itemKey, utf8Length, type Value } from '@syncline/core'
import { LIMITS } from '../limits.ts'
import { isFields, isId, mustBeId, mustBeName, nameBytes } from './fields.ts'
import { isToken, mustBeToken } from './locks.ts'
import {
  WRITE_CONCERNS,
  type ItemOp,
  type OpRecord,
  type ReceivedOp,
  type RefusedOp,
  type WriteConcern,
} from '../messages/maps.ts'
import { readItem, tagError } from './item.ts'
import { fieldError } from './refusal.ts'
import { isTtl, valueError } from './value.ts'
import type { ErrorCode, WireError } from '../errors.ts'

/** Where the parts of an op lie, before any of them has been looked at. */
interface RawOp {
  readonly id?: unknown
  readonly mapName?: unknown
  readonly key?: unknown
  readonly opType?: unknown
  readonly record?: unknown
  readonly writeConcern?: unknown
  readonly timeout?: unknown
  readonly fence?: unknown
  readonly orRecord?: unknown
  readonly orTag?: unknown
  /** Of an OR_REMOVE. */
  readonly timestamp?: unknown
}

interface RawOpRecord {
  readonly value?: unknown
  readonly timestamp?: unknown
  readonly ttlMs?: unknown
  readonly unset?: unknown
}

/** Says whether an op of a received message is one that could not be read. */
export function isRefusedOp(op: ReceivedOp | RefusedOp): op is RefusedOp {
  return 'refused' in op
}

/**
 * Reads one op (SPEC [OP1] to [OP9]). It is on the way of every write, so it is written by hand, returns the op itself
 * where that has its normal form already, and makes errors only where there are any.
 */
export function readOp(input: unknown): ReceivedOp | RefusedOp {
  if (typeof input !== 'object' || input === null) {
    return { refused: { errorCode: 'VALIDATION_ERROR', message: 'An op must be a map.' } }
  }
  const { id, mapName, key, opType, record, writeConcern, timeout, fence } = input as RawOp
  if (id !== undefined && !isId(id)) return refusedOp(input, 'VALIDATION_ERROR', 'id', mustBeId())
  if (typeof mapName !== 'string') return refusedOp(input, 'VALIDATION_ERROR', 'mapName', 'must be a text')
  if (nameBytes(mapName, LIMITS.mapNameBytes) === 0)
    return refusedOp(input, 'BAD_KEY', 'mapName', mustBeName(LIMITS.mapNameBytes))
  if (typeof key !== 'string') return refusedOp(input, 'VALIDATION_ERROR', 'key', 'must be a text')
  if (nameBytes(key, LIMITS.keyBytes) === 0) return refusedOp(input, 'BAD_KEY', 'key', mustBeName(LIMITS.keyBytes))
  if (writeConcern !== undefined && !isWriteConcern(writeConcern)) {
    return refusedOp(input, 'VALIDATION_ERROR', 'writeConcern', mustBeWriteConcern())
  }
  if (timeout !== undefined && !isTimeout(timeout))
    return refusedOp(input, 'VALIDATION_ERROR', 'timeout', mustBeTimeout())
  const fenceFault = fence === undefined ? undefined : fenceError(fence)
  if (fenceFault !== undefined) return refusedBy(input, fenceFault)
  if (opType === 'OR_ADD' || opType === 'OR_REMOVE') return readItemOp(input as ItemOp)
  if (typeof record !== 'object' || record === null)
    return refusedOp(input, 'VALIDATION_ERROR', 'record', 'must be a map')
  const { value, timestamp, ttlMs, unset } = record as RawOpRecord
  if (!isStamp(timestamp))
    return refusedOp(input, 'VALIDATION_ERROR', 'record.timestamp', 'must be a stamp {millis, counter, nodeId}')

  switch (opType) {
    case 'PUT':
    case undefined: {
      if (value === null) return normalOp(input as ReceivedOp, 'REMOVE', { value, timestamp })
      if (unset !== undefined) return refusedOp(input, 'VALIDATION_ERROR', 'record.unset', 'is for PATCH only')
      if (ttlMs !== undefined && !isTtl(ttlMs))
        return refusedOp(input, 'VALIDATION_ERROR', 'record.ttlMs', 'must be a positive number of milliseconds')
      const fault = valueError(value)
      if (fault !== undefined) return refusedBy(input, fault)
      if (opType === 'PUT' && !Object.is(value, -0)) return input as ReceivedOp
      return normalOp(input as ReceivedOp, 'PUT', {
        ...(record as OpRecord),
        value: value === 0 ? 0 : (value as Value),
      })
    }
    case 'REMOVE':
      if (value === null && ttlMs === undefined && unset === undefined) return input as ReceivedOp
      return normalOp(input as ReceivedOp, 'REMOVE', { value: null, timestamp })
    case 'PATCH': {
      const fault = patchError(record)
      if (fault !== undefined) return refusedBy(input, fault)
      if (isMap(value as Value)) return input as ReceivedOp
      return normalOp(input as ReceivedOp, 'PATCH', { value: {}, timestamp, unset: unset as readonly string[] })
    }
    default:
      if (typeof opType !== 'string') return refusedOp(input, 'VALIDATION_ERROR', 'opType', 'must be a text')
      return refusedOp(input, 'UNKNOWN_OPERATION', 'opType', 'must be PUT, REMOVE, PATCH, OR_ADD or OR_REMOVE')
  }
}

function fenceError(fence: unknown): WireError | undefined {
  if (!isFields(fence)) return fieldError('VALIDATION_ERROR', 'fence', 'must be a map {name, token}')
  const { name, token } = fence
  if (typeof name !== 'string') return fieldError('VALIDATION_ERROR', 'fence.name', 'must be a text')
  if (nameBytes(name, LIMITS.lockNameBytes) === 0)
    return fieldError('BAD_KEY', 'fence.name', mustBeName(LIMITS.lockNameBytes))
  return isToken(token) ? undefined : fieldError('VALIDATION_ERROR', 'fence.token', mustBeToken())
}

/** Reads an op on an OR-map, whose other parts have been read, as the write of the item's record (SPEC [OM1] to [OM4]). */
function readItemOp(op: ItemOp): ReceivedOp | RefusedOp {
  const { id, mapName, key, opType, writeConcern, timeout, fence } = op
  const rest = {
    mapName,
    ...(id === undefined ? {} : { id }),
    ...(writeConcern === undefined ? {} : { writeConcern }),
    ...(timeout === undefined ? {} : { timeout }),
    ...(fence === undefined ? {} : { fence }),
  }
  if (opType === 'OR_REMOVE') {
    const { orTag, timestamp } = op
    const fault = tagError(orTag, key, 'orTag')
    if (fault !== undefined) return refusedBy(op, fault)
    // Existing clients need not say when they removed it; what is no stamp is one member more that means nothing.
    const record = { value: null, timestamp: isStamp(timestamp) ? timestamp : ZERO_STAMP }
    return { ...rest, opType, key: itemKey(orTag, key), record }
  }
  const item = readItem(op.orRecord, key)
  if ('refused' in item) return refusedBy(op, item.refused)
  const { tag, ...record } = item
  return { ...rest, opType, key: itemKey(tag, key), record }
}

/** Says whether something is one of the five levels. */
export function isWriteConcern(value: unknown): value is WriteConcern {
  return WRITE_CONCERNS.includes(value as WriteConcern)
}

/** Says whether something is a wait that a client may ask for, in milliseconds. */
export function isTimeout(value: unknown): value is number {
  return typeof value === 'number' && value > 0 && value <= LIMITS.writeTimeoutMsMax
}

function patchError({ value, ttlMs, unset }: RawOpRecord): WireError | undefined {
  if (ttlMs !== undefined) return fieldError('VALIDATION_ERROR', 'record.ttlMs', 'is for PUT only')
  if (unset !== undefined && !Array.isArray(unset))
    return fieldError('VALIDATION_ERROR', 'record.unset', 'must be a list')
  const removed: readonly unknown[] = unset ?? []
  const set = value ?? {}
  if (!isMap(set as Value)) return fieldError('VALIDATION_ERROR', 'record.value', 'must be a map')
  const fault = valueError(set)
  if (fault !== undefined) return fault
  const names = Object.keys(set)
  const count = names.length + removed.length
  if (count === 0) return fieldError('VALIDATION_ERROR', 'record', 'must set or unset a field')
  if (count > LIMITS.recordFields) {
    return fieldError('TOO_LARGE', 'record', `must name at most ${LIMITS.recordFields} fields`, 'recordFields')
  }
  for (const name of names) {
    if (!isPatchable(name)) return fieldError('BAD_KEY', 'record.value', mustBeFieldNames())
  }
  const seen = new Set<unknown>()
  for (const name of removed) {
    if (typeof name !== 'string') return fieldError('VALIDATION_ERROR', 'record.unset', 'must be a list of texts')
    if (!isPatchable(name)) return fieldError('BAD_KEY', 'record.unset', mustBeFieldNames())
    if (Object.hasOwn(set, name) || seen.size === seen.add(name).size) {
      return fieldError('VALIDATION_ERROR', 'record.unset', 'must not name a field twice or one that is set')
    }
  }
  return undefined
}

/** Says whether a field may have a stamp of its own: its name is stored beside the stamp. */
export function isPatchable(name: string): boolean {
  return name.length <= LIMITS.fieldNameBytes && isFieldName(name) && utf8Length(name) <= LIMITS.fieldNameBytes
}

function normalOp(op: ReceivedOp, opType: ReceivedOp['opType'], record: OpRecord): ReceivedOp {
  return { ...op, opType, record }
}

function refusedOp(input: object, errorCode: ErrorCode, path: string, must: string): RefusedOp {
  return refusedBy(input, fieldError(errorCode, path, must))
}

function refusedBy(input: object, refused: WireError): RefusedOp {
  const { id, writeConcern } = input as RawOp
  return {
    ...(isId(id) ? { id } : {}),
    ...(isWriteConcern(writeConcern) ? { writeConcern } : {}),
    refused,
  }
}

/** What a wait must be. */
export function mustBeTimeout(): string {
  return `must be a number of milliseconds above 0 and up to ${LIMITS.writeTimeoutMsMax}`
}

/** What a level must be. */
export function mustBeWriteConcern(): string {
  return `must be one of ${WRITE_CONCERNS.join(', ')}`
}

function mustBeFieldNames(): string {
  return `must have well-formed, unreserved field names of at most ${LIMITS.fieldNameBytes} bytes`
}
