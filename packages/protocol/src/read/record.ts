import {
  isStamp,
  measureValue,
  normalizeRecord,
  utf8Length,
  type FieldState,
  type Stamp,
  type Value,
} from '@syncline/core'
import type { WireError } from '../errors.ts'
import { LIMITS } from '../limits.ts'
import type { ReceivedRecord } from '../messages/maps.ts'
import { isFields } from './fields.ts'
import { isPatchable } from './op.ts'
import { fieldError } from './refusal.ts'
import { isTtl, valueFaultError, valueTooLarge } from './value.ts'

/** Reads a record that a client pushes: every part is checked, and the whole is brought into normal form. */
export function readRecord(input: unknown): { readonly record: ReceivedRecord } | { readonly refused: WireError } {
  if (!isFields(input)) return { refused: fieldError('VALIDATION_ERROR', 'record', 'must be a map') }
  const { value, timestamp, base, ttlMs, fields } = input
  if (!isStamp(timestamp)) return badStamp('record.timestamp')
  if (base !== undefined && !isStamp(base)) return badStamp('record.base')
  if (ttlMs !== undefined && !isTtl(ttlMs)) {
    return { refused: fieldError('VALIDATION_ERROR', 'record.ttlMs', 'must be a positive number of milliseconds') }
  }
  if (value === undefined) return { refused: fieldError('VALIDATION_ERROR', 'record.value', 'must be given') }
  const size = measureValue(value)
  if (typeof size !== 'number') return { refused: valueFaultError(size) }
  const fieldsSize = fields === undefined ? 0 : measureFields(fields)
  if (typeof fieldsSize !== 'number') return { refused: fieldsSize }
  if (size + fieldsSize > LIMITS.valueBytes) return { refused: valueTooLarge() }
  const record = normalizeRecord({
    value: value as Value,
    timestamp,
    base: base ?? timestamp,
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(fields === undefined ? {} : { fields: fields as Record<string, FieldState> }),
  })
  return { record }
}

/** The canonical size of all field stamps, unset markers and hidden values, or why they cannot be read. */
function measureFields(fields: unknown): number | WireError {
  if (!isFields(fields)) return fieldError('VALIDATION_ERROR', 'record.fields', 'must be a map')
  const names = Object.keys(fields)
  if (names.length > LIMITS.recordFields) {
    return fieldError('TOO_LARGE', 'record.fields', `must name at most ${LIMITS.recordFields} fields`, 'recordFields')
  }
  let total = 0
  for (const name of names) {
    if (!isPatchable(name)) {
      return fieldError('BAD_KEY', 'record.fields', 'must have well-formed, unreserved field names')
    }
    const state = fields[name]
    if (!isFields(state)) return fieldError('VALIDATION_ERROR', 'record.fields', 'must hold maps')
    const { stamp, unset, value } = state
    if (!isStamp(stamp)) return fieldError('VALIDATION_ERROR', 'record.fields', 'must have a stamp for each field')
    if (unset !== undefined && unset !== true) {
      return fieldError('VALIDATION_ERROR', 'record.fields', 'must have true or nothing as unset')
    }
    total += 4 + utf8Length(name) + stampSize(stamp) + 1
    if (value === undefined) continue
    const size = measureValue(value)
    if (typeof size !== 'number') return valueFaultError(size)
    total += size
  }
  return total
}

function stampSize(stamp: Stamp): number {
  return 8 + 4 + 4 + utf8Length(stamp.nodeId)
}

function badStamp(path: string): { readonly refused: WireError } {
  return { refused: fieldError('VALIDATION_ERROR', path, 'must be a stamp {millis, counter, nodeId}') }
}
