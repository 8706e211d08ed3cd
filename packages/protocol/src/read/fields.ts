import { isStamp, measureValue, utf8Length, type Stamp, type Value, type ValueFault } from '@syncline/core'
import type { ErrorCode } from '../errors.ts'
import { LIMITS } from '../limits.ts'
import { refuse, type LimitName } from './refusal.ts'

/** A map whose members have not been looked at. */
export type Fields = Readonly<Record<string, unknown>>

/** Says whether something is a map, and neither a list nor bytes. */
export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)
}

/** The bytes of a name in UTF-8, or 0 where it is empty, too long or not well-formed. */
export function nameBytes(name: string, maxBytes: number): number {
  // Long texts are not worth counting: each code unit is a byte at least.
  if (name.length > maxBytes) return 0
  const bytes = utf8Length(name)
  return bytes > maxBytes || bytes < 0 ? 0 : bytes
}

/** A member that is a map's name. */
export function readMapName(fields: Fields): string {
  return readName(fields['mapName'], 'mapName', LIMITS.mapNameBytes)
}

/** A name or key of 1 to `maxBytes` bytes. */
export function readName(value: unknown, path: string, maxBytes: number): string {
  if (typeof value !== 'string') refuse('VALIDATION_ERROR', path, 'must be a text')
  if (nameBytes(value, maxBytes) === 0) refuse('BAD_KEY', path, mustBeName(maxBytes))
  return value
}

/** A text of any length that a frame can have. */
export function readText(fields: Fields, name: string): string {
  const value = fields[name]
  return typeof value === 'string' ? value : refuse('VALIDATION_ERROR', name, 'must be a text')
}

/** An id: a text of 1 to 128 UTF-16 code units. */
export function readId(fields: Fields, name: string): string {
  const value = fields[name]
  if (!isId(value)) refuse('VALIDATION_ERROR', name, mustBeId())
  return value
}

/** Says whether something can be the id of an op, query or request. */
export function isId(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= LIMITS.idLength
}

/** A finite number. */
export function readNumber(fields: Fields, name: string): number {
  const value = fields[name]
  return isFiniteNumber(value) ? value : refuse('VALIDATION_ERROR', name, 'must be a finite number')
}

/** Says whether something is a finite number. */
export function isFiniteNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value)
}

/** Says whether something is a whole number from 0 to `max`. */
export function isCount(value: unknown, max: number = Number.MAX_SAFE_INTEGER): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max
}

/** A stamp. */
export function readStamp(value: unknown, path: string): Stamp {
  return isStamp(value) ? value : refuse('VALIDATION_ERROR', path, 'must be a stamp {millis, counter, nodeId}')
}

/** A list with at most `max` items. */
export function readList(fields: Fields, name: string, max: number, limit: LimitName): readonly unknown[] {
  const value = fields[name]
  if (!Array.isArray(value)) refuse('VALIDATION_ERROR', name, 'must be a list')
  if (value.length > max) refuse('TOO_LARGE', name, `must have at most ${max} items`, limit)
  return value as readonly unknown[]
}

/** A value of at most so many bytes in canonical encoding. Replaces minus zero in it by zero. */
export function readValue(value: unknown, path: string, limit: 'valueBytes' | 'presenceBytes'): Value {
  if (value === undefined) refuse('VALIDATION_ERROR', path, 'must be given')
  const size = measureValue(value)
  if (typeof size !== 'number') {
    const { errorCode, must } = valueFault(size)
    refuse(errorCode, path, must)
  }
  if (size > LIMITS[limit]) refuse('TOO_LARGE', path, `must have at most ${LIMITS[limit]} bytes`, limit)
  return value === 0 ? 0 : (value as Value)
}

/** The error for what `measureValue` found, and what a value must be. */
export function valueFault(fault: ValueFault): { readonly errorCode: ErrorCode; readonly must: string } {
  const must =
    fault === 'TOO_DEEP'
      ? `must nest at most ${LIMITS.valueDepth} deep`
      : fault === 'BAD_KEY'
        ? 'must have well-formed field names that are not reserved'
        : 'must hold null, booleans, finite numbers, well-formed texts, bytes, lists and maps only'
  return { errorCode: fault, must }
}

/** What an id must be. */
export function mustBeId(): string {
  return `must be a text of 1 to ${LIMITS.idLength} characters`
}

/** What a key or name must be. */
export function mustBeName(maxBytes: number): string {
  return `must be a well-formed text of 1 to ${maxBytes} bytes`
}
