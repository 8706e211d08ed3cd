import { measureValue, type ValueFault } from '@syncline/core'
import type { WireError } from '../errors.ts'
import { LIMITS } from '../limits.ts'
import { valueFault } from './fields.ts'
import { fieldError } from './refusal.ts'

/** Says whether something is a time to live, in milliseconds. */
export function isTtl(value: unknown): value is number {
  return typeof value === 'number' && value > 0 && value < Infinity
}

/** Why a value cannot be stored under a key; `undefined` where it can. Replaces minus zero in it by zero. */
export function valueError(value: unknown, path: string = 'record.value'): WireError | undefined {
  if (value === undefined) return fieldError('VALIDATION_ERROR', path, 'must be given')
  const size = measureValue(value)
  if (typeof size !== 'number') return valueFaultError(size, path)
  return size > LIMITS.valueBytes ? valueTooLarge(path) : undefined
}

/** The error for what `measureValue` found. */
export function valueFaultError(fault: ValueFault, path: string = 'record.value'): WireError {
  const { errorCode, must } = valueFault(fault)
  return fieldError(errorCode, path, must)
}

/** The error for a value over its limit. */
export function valueTooLarge(path: string = 'record.value'): WireError {
  return fieldError('TOO_LARGE', path, `must have at most ${LIMITS.valueBytes} bytes`, 'valueBytes')
}
