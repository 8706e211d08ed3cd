/** A map of field names to values. Field names are never `__proto__`, `constructor` or `prototype`. */
export interface ValueMap {
  readonly [name: string]: Value
}

/**
 * Everything a record can hold: null, boolean, finite number, well-formed string without U+0000, bytes, array, map.
 * The set is the same in memory, in storage and in both wire encodings. Minus zero is stored as zero.
 */
export type Value = null | boolean | number | string | Uint8Array | readonly Value[] | ValueMap

/** Why a value cannot be stored. */
export type ValueFault = 'BAD_VALUE' | 'BAD_KEY' | 'TOO_DEEP'

/** Deepest nesting of arrays and maps in one value. A scalar has depth 0. */
export const MAX_VALUE_DEPTH = 32

/** Three names that are something else than data in JavaScript. */
function isForbidden(name: string): boolean {
  return name === '__proto__' || name === 'constructor' || name === 'prototype'
}

/** Says whether a value is a map: neither scalar, array nor bytes. */
export function isMap(value: Value | undefined): value is ValueMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
}

/** Says whether a field name may be used in a map. */
export function isFieldName(name: string): boolean {
  return utf8Length(name) >= 0 && !isForbidden(name)
}

/**
 * Length of a string in UTF-8 bytes, or -1 if it holds a lone surrogate or U+0000.
 * One pass, because every string on the way in needs both answers.
 */
export function utf8Length(text: string): number {
  const length = text.length
  let bytes = length
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x80) {
      if (unit === 0) return -1
    } else if (unit < 0x800) bytes += 1
    else if (unit < 0xd800 || unit > 0xdfff) bytes += 2
    else {
      if (unit > 0xdbff || i + 1 === length) return -1
      const next = text.charCodeAt(++i)
      if (next < 0xdc00 || next > 0xdfff) return -1
      bytes += 2
    }
  }
  return bytes
}

const BAD_VALUE = -1
const BAD_KEY = -2
const TOO_DEEP = -3
const FAULTS: readonly ValueFault[] = ['BAD_VALUE', 'BAD_KEY', 'TOO_DEEP']

/**
 * Size in bytes of a value in canonical encoding (SPEC [CV2]), or the fault that keeps it from being stored.
 * Replaces minus zero inside arrays and maps by zero, in place: pass only values that you own. `maxDepth` is for
 * what is no record's value.
 */
export function measureValue(value: unknown, maxDepth: number = MAX_VALUE_DEPTH): number | ValueFault {
  const size = measure(value, maxDepth)
  return size >= 0 ? size : (FAULTS[-size - 1] as ValueFault)
}

function measure(value: unknown, depthLeft: number): number {
  switch (typeof value) {
    case 'string': {
      const bytes = utf8Length(value)
      return bytes < 0 ? BAD_VALUE : 5 + bytes
    }
    case 'number':
      return Number.isFinite(value) ? 9 : BAD_VALUE
    case 'boolean':
      return 1
    case 'object':
      break
    default:
      return BAD_VALUE
  }
  if (value === null) return 1
  if (value instanceof Uint8Array) return 5 + value.byteLength
  if (depthLeft === 0) return TOO_DEEP
  let size = 5
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const item: unknown = value[i]
      if (Object.is(item, -0)) value[i] = 0
      const itemSize = measure(item, depthLeft - 1)
      if (itemSize < 0) return itemSize
      size += itemSize
    }
    return size
  }
  if (!isPlain(value)) return BAD_VALUE
  const map = value as Record<string, unknown>
  for (const name of Object.keys(map)) {
    const nameBytes = utf8Length(name)
    if (nameBytes < 0 || isForbidden(name)) return BAD_KEY
    const item = map[name]
    if (Object.is(item, -0)) map[name] = 0
    const itemSize = measure(item, depthLeft - 1)
    if (itemSize < 0) return itemSize
    size += 4 + nameBytes + itemSize
  }
  return size
}

/**
 * A copy of a value that an application handed over, so that later changes to the original do not reach the record.
 * Members that are `undefined` are left out and minus zero becomes zero; anything else that is no Value is a fault.
 */
export function copyValue(
  value: unknown,
  maxDepth: number = MAX_VALUE_DEPTH,
): { readonly value: Value } | { readonly fault: ValueFault } {
  const copy = copyTo(maxDepth, value)
  if (copy === CUT) return { fault: 'TOO_DEEP' }
  const size = measureValue(copy, maxDepth)
  return typeof size === 'number' ? { value: copy as Value } : { fault: size }
}

/** What a copy is that reached its depth. It ends at once, because a cycle with branches would go on for ever. */
const CUT = Symbol('too deep')

function copyTo(depthLeft: number, value: unknown): unknown {
  if (value === 0) return 0
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Uint8Array) return new Uint8Array(value)
  const isArray = Array.isArray(value)
  if (!isArray && !isPlain(value)) return value
  if (depthLeft === 0) return CUT
  if (isArray) {
    const items: unknown[] = []
    // Not `map`: a hole must become a member that is refused, and a subclass an array.
    for (let i = 0; i < value.length; i++) {
      const item = copyTo(depthLeft - 1, value[i])
      if (item === CUT) return CUT
      items.push(item)
      if (item === undefined) break
    }
    return items
  }
  const map: Record<string, unknown> = {}
  for (const name of Object.keys(value)) {
    const item = copyTo(depthLeft - 1, (value as Record<string, unknown>)[name])
    if (item === CUT) return CUT
    // A plain assignment to `__proto__` would set the prototype and hide the name from the check that follows.
    if (isForbidden(name)) Object.defineProperty(map, name, { value: null, enumerable: true })
    else if (item !== undefined) map[name] = item
  }
  return map
}

/** Says whether an object is no instance of a class. Another realm's plain object has a prototype of its own. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null || Object.getPrototypeOf(prototype) === null
}

/** Says whether two values are the same, field order aside. */
export function valuesEqual(a: Value | undefined, b: Value | undefined): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (a instanceof Uint8Array || b instanceof Uint8Array) {
    if (!(a instanceof Uint8Array && b instanceof Uint8Array) || a.length !== b.length) return false
    return a.every((byte, i) => byte === b[i])
  }
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!(Array.isArray(a) && Array.isArray(b)) || a.length !== b.length) return false
    return a.every((item, i) => valuesEqual(item as Value, b[i] as Value))
  }
  const [mapA, mapB] = [a as ValueMap, b as ValueMap]
  const names = Object.keys(mapA)
  if (names.length !== Object.keys(mapB).length) return false
  return names.every((name) => Object.hasOwn(mapB, name) && valuesEqual(mapA[name], mapB[name]))
}
