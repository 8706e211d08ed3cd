import { LIMITS, type WireRecord } from '@syncline/protocol'
import { measureValue, type Value } from '@syncline/core'

/** Records nest a value a few levels deeper than it is. */
const MAX_DEPTH = 64

/**
 * Pieces of a list that each fit into one message, and whether another follows. A piece has at most `maxItems` items
 * (`pageRecords`), and ends where it reaches `pageBytes`. An empty list is one empty piece. Items are made when their
 * piece is asked for.
 */
export function* pages<T, Item>(
  list: readonly T[],
  itemOf: (member: T) => Item,
  bytesOf: (item: Item) => number,
  maxItems: number = LIMITS.pageRecords,
): IterableIterator<readonly [piece: readonly Item[], more: boolean]> {
  let piece: Item[] = []
  let bytes = 0
  for (const [i, member] of list.entries()) {
    const item = itemOf(member)
    piece.push(item)
    bytes += bytesOf(item)
    if (i === list.length - 1) break
    if (piece.length < maxItems && bytes < LIMITS.pageBytes) continue
    yield [piece, true]
    piece = []
    bytes = 0
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
