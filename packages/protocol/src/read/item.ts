import { isStamp, isTag, itemKey, type Stamp, type Value } from '@syncline/core'
import { LIMITS } from '../limits.ts'
import type { OrRecord } from '../messages/maps.ts'
import type { RefusedItem } from '../messages/sets.ts'
import { isFields, nameBytes } from './fields.ts'
import { isTtl, valueError } from './value.ts'
import { fieldError } from './refusal.ts'

/** Reads an item of a key of an OR-map (SPEC [OM1] and [OM2]), or says why it is none. */
export function readItem(input: unknown, key: string): OrRecord | RefusedItem {
  if (!isFields(input)) return { refused: fieldError('VALIDATION_ERROR', 'orRecord', 'must be a map') }
  const { value, timestamp, tag, ttlMs } = input
  if (!isStamp(timestamp)) {
    return {
      refused: fieldError('VALIDATION_ERROR', 'orRecord.timestamp', 'must be a stamp {millis, counter, nodeId}'),
    }
  }
  const fault = tagError(tag, key, 'orRecord.tag') ?? itemValueError(value)
  if (fault !== undefined) return { refused: fault }
  if (ttlMs !== undefined && !isTtl(ttlMs)) {
    return { refused: fieldError('VALIDATION_ERROR', 'orRecord.ttlMs', 'must be a positive number of milliseconds') }
  }
  return itemOf(value as Value, timestamp, tag as string, ttlMs)
}

/** Why a text cannot be the tag of an item under a key. */
export function tagError(tag: unknown, key: string, path: string): RefusedItem['refused'] | undefined {
  if (typeof tag !== 'string' || !isTag(tag)) {
    return fieldError('VALIDATION_ERROR', path, 'must be a stamp as text, millis:counter:nodeId')
  }
  if (nameBytes(itemKey(tag, key), LIMITS.keyBytes) > 0) return undefined
  return fieldError('BAD_KEY', path, `must have at most ${LIMITS.keyBytes} bytes together with the key`, 'keyBytes')
}

function itemValueError(value: unknown): RefusedItem['refused'] | undefined {
  if (value === null) return fieldError('BAD_VALUE', 'orRecord.value', 'must not be null: remove the item by its tag')
  return valueError(value, 'orRecord.value')
}

function itemOf(value: Value, timestamp: Stamp, tag: string, ttlMs: number | undefined): OrRecord {
  const item = { value: value === 0 ? 0 : value, timestamp, tag }
  return ttlMs === undefined ? item : { ...item, ttlMs }
}
