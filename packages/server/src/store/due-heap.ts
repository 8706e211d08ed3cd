import type { WritableEntry } from './writable-map.ts'

interface Item {
  readonly dueMs: number
  readonly entry: WritableEntry
}

/** Places that no longer count are dropped when they outnumber the others, and are more than this. */
const STALE_KEPT = 1_024

/**
 * Entries by the time at which they are to be looked at. An entry that is due later than it was keeps its place and is
 * given a new one when it is looked at; so a record that is written again and again costs one place.
 */
export class DueHeap {
  readonly #dueByEntry = new Map<WritableEntry, number>()
  #items: Item[] = []

  /** Entries that wait. */
  get size(): number {
    return this.#dueByEntry.size
  }

  /** The entry is to be looked at by then. */
  add(entry: WritableEntry, dueMs: number): void {
    if (dueMs >= (this.#dueByEntry.get(entry) ?? Infinity)) return
    this.#dueByEntry.set(entry, dueMs)
    this.#push({ dueMs, entry })
    if (this.#items.length > STALE_KEPT + 2 * this.#dueByEntry.size) this.#compact()
  }

  /** Takes out the entry that is due first, if it is due before a time. */
  take(beforeMs: number): WritableEntry | undefined {
    for (let first = this.#items[0]; first !== undefined && first.dueMs < beforeMs; first = this.#items[0]) {
      this.#pop()
      if (this.#dueByEntry.get(first.entry) !== first.dueMs) continue
      this.#dueByEntry.delete(first.entry)
      return first.entry
    }
    return undefined
  }

  #compact(): void {
    const standing = this.#items.filter(({ entry, dueMs }) => this.#dueByEntry.get(entry) === dueMs)
    // A sorted list is a heap.
    this.#items = standing.sort((a, b) => a.dueMs - b.dueMs)
  }

  #push(item: Item): void {
    const items = this.#items
    let at = items.length
    items.push(item)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if ((items[parent] as Item).dueMs <= item.dueMs) break
      items[at] = items[parent] as Item
      at = parent
    }
    items[at] = item
  }

  #pop(): void {
    const items = this.#items
    const last = items.pop() as Item
    if (items.length === 0) return
    let at = 0
    for (let child = 1; child < items.length; child = 2 * at + 1) {
      if (child + 1 < items.length && (items[child + 1] as Item).dueMs < (items[child] as Item).dueMs) child++
      if ((items[child] as Item).dueMs >= last.dueMs) break
      items[at] = items[child] as Item
      at = child
    }
    items[at] = last
  }
}
