interface Place<T> {
  readonly dueMs: number
  readonly item: T
}

/** Places that no longer count are dropped when they outnumber the others, and are more than this. */
const STALE_KEPT = 1_024

/**
 * Items by the time at which they are to be looked at. An item that is due later than it was keeps its place and is given a
 * new one when it is looked at; so a record that is written again and again costs one place.
 */
export class DueHeap<T> {
  readonly #dueByItem = new Map<T, number>()
  #places: Place<T>[] = []

  /** Items that wait. */
  get size(): number {
    return this.#dueByItem.size
  }

  /** The item is to be looked at by then. */
  add(item: T, dueMs: number): void {
    if (dueMs >= (this.#dueByItem.get(item) ?? Infinity)) return
    this.#dueByItem.set(item, dueMs)
    this.#push({ dueMs, item })
    if (this.#places.length > STALE_KEPT + 2 * this.#dueByItem.size) this.#compact()
  }

  /** An item is due before a time. */
  isDue(beforeMs: number): boolean {
    const first = this.#places[0]
    return first !== undefined && first.dueMs < beforeMs
  }

  /** Takes out the item that is due first, if it is due before a time. */
  take(beforeMs: number): T | undefined {
    for (let first = this.#places[0]; first !== undefined && first.dueMs < beforeMs; first = this.#places[0]) {
      this.#pop()
      if (this.#dueByItem.get(first.item) !== first.dueMs) continue
      this.#dueByItem.delete(first.item)
      return first.item
    }
    return undefined
  }

  #compact(): void {
    const standing = this.#places.filter(({ item, dueMs }) => this.#dueByItem.get(item) === dueMs)
    // A sorted list is a heap.
    this.#places = standing.sort((a, b) => a.dueMs - b.dueMs)
  }

  #push(place: Place<T>): void {
    const places = this.#places
    let at = places.length
    places.push(place)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if ((places[parent] as Place<T>).dueMs <= place.dueMs) break
      places[at] = places[parent] as Place<T>
      at = parent
    }
    places[at] = place
  }

  #pop(): void {
    const places = this.#places
    const last = places.pop() as Place<T>
    if (places.length === 0) return
    let at = 0
    for (let child = 1; child < places.length; child = 2 * at + 1) {
      if (child + 1 < places.length && (places[child + 1] as Place<T>).dueMs < (places[child] as Place<T>).dueMs)
        child++
      if ((places[child] as Place<T>).dueMs >= last.dueMs) break
      places[at] = places[child] as Place<T>
      at = child
    }
    places[at] = last
  }
}
