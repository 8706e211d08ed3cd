import { LIMITS, type WireRecord } from '@syncline/protocol'
import { measureValue, type Value } from '@syncline/core'

/** Records nest a value a few levels deeper than it is. */
const MAX_DEPTH = 64

/**
 * Pieces of a list that each fit into one message, and whether another follows. A piece has at most `maxItems` items
 * (`pageRecords`), and ends where it reaches `pageBytes`. An empty list is one empty piece. Members are taken and items
 * made when their piece is asked for.
 */
export function* pages<T, Item>(
  list: Iterable<T>,
  itemOf: (member: T) => Item,
  bytesOf: (item: Item) => number,
  maxItems: number = LIMITS.pageRecords,
): IterableIterator<readonly [piece: readonly Item[], more: boolean]> {
  let piece: Item[] = []
  let bytes = 0
  for (const member of list) {
    if (piece.length >= maxItems || bytes >= LIMITS.pageBytes) {
      yield [piece, true]
      piece = []
      bytes = 0
    }
    const item = itemOf(member)
    piece.push(item)
    bytes += bytesOf(item)
  }
  yield [piece, false]
}

/** About how many bytes a value takes in a message. */
export function valueBytes(value: Value): number {
  const size = measureValue(value, MAX_DEPTH)
  return typeof size === 'number' ? size : LIMITS.valueBytes
}

/** About how many bytes a record takes in a message. */
export function recordBytes(record: WireRecord): number {
  return valueBytes(record as unknown as Value)
}
