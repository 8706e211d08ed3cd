import { compileOrder, fieldReader, type QuerySpec, type Value } from '@syncline/core'
import { decodeServerJson, encodeValueJson } from '@syncline/protocol/codec'
import { SynclineError } from '../../errors.ts'

/** Names the place after a row in the order of a query: by its key and what it is sorted by. */
export function placeAfter({ sort = {} }: QuerySpec, key: string, value: Value): string {
  const paths = Object.keys(sort)
  return encodeValueJson([key, ...paths.map((path) => fieldReader(path)(value) ?? null)])
}

/** Says whether a row comes after a place. Throws INVALID_CURSOR where the text names none in the order of the query. */
export function comesAfter({ sort = {} }: QuerySpec, place: string): (key: string, value: Value) => boolean {
  const paths = Object.keys(sort)
  const decoded = decodeServerJson(place)
  const parts = decoded.ok ? decoded.value : undefined
  if (!Array.isArray(parts) || parts.length !== paths.length + 1 || typeof parts[0] !== 'string') {
    throw new SynclineError('INVALID_CURSOR', 'after is a nextCursor of a query with the same orderBy.')
  }
  const [key, ...values] = parts as [string, ...Value[]]
  // A field whose whole name is the path is found before one that lies deeper.
  const row = Object.fromEntries(paths.map((path, i) => [path, values[i] as Value]))
  const order = compileOrder(sort)
  return (otherKey, value) => order(otherKey, value, key, row) > 0
}
