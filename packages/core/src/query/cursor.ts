import { formatDigest, murmur3 } from '../merkle/digest.ts'
import { err, ok, type Result } from '../result.ts'
import { canonicalBytes } from '../value/canonical.ts'
import { copyValue, measureValue, type Value } from '../value/value.ts'
import { compareForOrder, compareKeys, sortFields } from './order.ts'
import type { QuerySpec } from './predicate.ts'

/** The last row of a page: its key and its values of the fields that the query sorts by. */
export interface QueryCursor {
  readonly key: string
  readonly sortValues: readonly (Value | undefined)[]
}

/** Deeper than any query that compiles. */
const MAX_HASHED_DEPTH = 128

/**
 * A hash of what a query selects and how it sorts: `where`, `predicate` and `sort`, whatever the order of their names
 * but that of the sort. Not of `limit` and `cursor`, which may change from page to page.
 */
export function queryHash(spec: QuerySpec): string {
  const { where = {}, predicate = null, sort = {} } = spec
  const copy = copyValue([where, predicate, Object.entries(sort)], MAX_HASHED_DEPTH)
  const bytes = canonicalBytes('value' in copy ? copy.value : null)
  return formatDigest(murmur3(bytes), murmur3(bytes, 1))
}

/** Makes the cursor of the page that starts after a row (SPEC [QY10]). It is opaque: base64url of JSON. */
export function encodeQueryCursor(spec: QuerySpec, key: string, value: Value): string {
  const sortValues = sortFields(spec.sort).map(({ read }) => wrap(read(value) ?? null))
  return bytesToBase64url(new TextEncoder().encode(JSON.stringify([queryHash(spec), key, ...sortValues])))
}

/** Reads a cursor back: `INVALID` where it is none, `MISMATCH` where it belongs to another query. */
export function decodeQueryCursor(spec: QuerySpec, text: string): Result<QueryCursor, 'INVALID' | 'MISMATCH'> {
  try {
    const parts: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(base64urlToBytes(text)))
    if (!Array.isArray(parts)) return err('INVALID')
    const [hash, key, ...wrapped] = parts as unknown[]
    if (typeof hash !== 'string' || typeof key !== 'string') return err('INVALID')
    if (hash !== queryHash(spec)) return err('MISMATCH')
    const sortValues = unwrap(wrapped) as Value[]
    if (sortValues.length !== sortFields(spec.sort).length) return err('INVALID')
    return typeof measureValue(sortValues, MAX_HASHED_DEPTH) === 'number' ? ok({ key, sortValues }) : err('INVALID')
  } catch {
    return err('INVALID')
  }
}

/** Compiles the test whether a row comes after a cursor in the order of its query. */
export function isAfterCursor(spec: QuerySpec, cursor: QueryCursor): (key: string, value: Value) => boolean {
  const fields = sortFields(spec.sort)
  return (key, value) => {
    for (const [i, { read, sign }] of fields.entries()) {
      const order = compareForOrder(read(value), cursor.sortValues[i]) * sign
      if (order !== 0) return order > 0
    }
    return compareKeys(key, cursor.key) > 0
  }
}

/** Marks bytes in JSON. No field has this name, because names hold no U+0000. */
const BYTES_MARK = '\u0000'

function wrap(value: Value): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Uint8Array) return { [BYTES_MARK]: bytesToBase64url(value) }
  if (Array.isArray(value)) return value.map(wrap)
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, wrap(item)]))
}

function unwrap(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(unwrap)
  const bytes = (value as Record<string, unknown>)[BYTES_MARK]
  if (typeof bytes === 'string') return base64urlToBytes(bytes)
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, unwrap(item)]))
}

function bytesToBase64url(bytes: Uint8Array): string {
  let binary = ''
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

function base64urlToBytes(text: string): Uint8Array {
  if (!/^[\w-]*$/.test(text)) throw new Error('not base64url')
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (unit) => unit.charCodeAt(0))
}
