import { compareForOrder, compareKeys, fieldReader, orderRank, type FieldBound, type Value } from '@syncline/core'
import type { Entry, MapState } from '../../store/map-state.ts'
import { indexedValue, rowCount, rowOf, rowsOf, type Row } from '../../store/rows.ts'
import { sortInSteps } from '../../sliced-work.ts'

/** A row in an index, with the value that it stands under. */
interface Item {
  readonly value: Value | undefined
  readonly row: Row
}

interface Position {
  readonly block: number
  readonly at: number
}

/** Items of a new block; one of twice as many is cut in two. */
const BLOCK = 256
/** Rows that are put in between two looks at the clock while an index is made. */
const ROWS_PER_STEP = 1_024

/**
 * The rows of a map in the order of one field, and of their keys where the field is equal; of their keys alone where there
 * is no field. It is made of what the records hold, whoever reads them: what it finds is to be read and judged.
 */
export class FieldIndex {
  readonly path: string | undefined
  /** Live queries that rely on it. */
  users = 0
  /** When it was asked for last. */
  usedAtMs = 0
  readonly #map: MapState
  readonly #read: (value: Value) => Value | undefined
  readonly #itemsByKey = new Map<string, Item>()
  #blocks: Item[][] = []
  /** The work that is left until it can be used. */
  #building: Generator<void, void> | undefined
  /** What changed up to here is in it. */
  #through = 0

  constructor(map: MapState, path: string | undefined) {
    this.path = path
    this.#map = map
    this.#read = path === undefined ? () => undefined : fieldReader(path)
    this.#building = this.#build()
  }

  /** Rows in it. */
  get size(): number {
    return this.isReady ? this.#itemsByKey.size : rowCount(this.#map)
  }

  /** It has all rows of its map. */
  get isReady(): boolean {
    return this.#building === undefined
  }

  /** Does some of the work that is left until it can be used. Whoever waits for it may. */
  step(): void {
    if (this.#building?.next().done === true) this.#building = undefined
  }

  *#build(): Generator<void, void> {
    let through = this.#map.log.head
    const items: Item[] = []
    let count = 0
    for (const row of rowsOf(this.#map)) {
      const value = indexedValue(row)
      if (value !== undefined) items.push({ value: this.#read(value), row })
      if (++count % ROWS_PER_STEP === 0) yield
    }
    const sorted = yield* sortInSteps(items, compareItems)
    for (let from = 0; from < sorted.length; from += BLOCK) {
      const block = sorted.slice(from, from + BLOCK)
      for (const item of block) this.#itemsByKey.set(item.row.key, item)
      this.#blocks.push(block)
      yield
    }
    // What changed meanwhile, a step's worth at a time.
    for (;;) {
      let taken = 0
      this.#map.log.since(through, (entry) => {
        this.#put(rowOf(entry))
        through = entry.seq
        return ++taken < ROWS_PER_STEP
      })
      if (taken < ROWS_PER_STEP) break
      yield
    }
    this.#through = this.#map.log.head
  }

  /** Takes in what has changed since. */
  refresh(): void {
    if (!this.isReady || this.#through === this.#map.log.head) return
    this.#map.log.since(this.#through, (entry: Entry) => {
      this.#put(rowOf(entry))
      return true
    })
    this.#through = this.#map.log.head
  }

  /** How many rows may meet a bound. */
  count(bound: FieldBound): number {
    const [from, to] = this.#span(bound)
    if (to.block < from.block) return 0
    if (from.block === to.block) return Math.max(0, to.at - from.at)
    let count = (this.#blocks[from.block] as Item[]).length - from.at + to.at
    for (let block = from.block + 1; block < to.block; block++) count += (this.#blocks[block] as Item[]).length
    return count
  }

  /** Adds the rows that may meet a bound to a set. */
  collect(bound: FieldBound, into: Set<Row>): void {
    const [from, to] = this.#span(bound)
    for (const item of this.#between(from, to)) into.add(item.row)
  }

  /**
   * The rows in the order of the field, or in its reverse with keys ascending as ever, from a value and key on, or from the
   * beginning. The index must not change meanwhile.
   */
  *walk(sign: number, from?: { readonly value: Value | undefined; readonly key: string }): Generator<Item, void> {
    const end: Position = { block: this.#blocks.length, at: 0 }
    if (sign > 0) {
      const start = from === undefined ? { block: 0, at: 0 } : this.#first((item) => compareTo(item, from) >= 0)
      yield* this.#between(start, end)
      return
    }
    let to = end
    if (from !== undefined) {
      const afterRun = this.#first((item) => compareForOrder(item.value, from.value) > 0)
      yield* this.#between(
        this.#first((item) => compareTo(item, from) >= 0),
        afterRun,
      )
      to = this.#first((item) => compareForOrder(item.value, from.value) >= 0)
    }
    for (let last = this.#before(to); last !== undefined; last = this.#before(to)) {
      const { value } = this.#item(last)
      const previous = this.#before(last)
      const isAlone = previous === undefined || compareForOrder(this.#item(previous).value, value) !== 0
      const start = isAlone ? last : this.#first((item) => compareForOrder(item.value, value) >= 0)
      yield* this.#between(start, to)
      to = start
    }
  }

  #put(row: Row): void {
    const before = this.#itemsByKey.get(row.key)
    const held = indexedValue(row)
    const value = held === undefined ? undefined : this.#read(held)
    if (before !== undefined) {
      if (held !== undefined && before.row === row && compareForOrder(before.value, value) === 0) return
      this.#remove(before)
    }
    if (held === undefined) this.#itemsByKey.delete(row.key)
    else {
      const item = { value, row }
      this.#itemsByKey.set(row.key, item)
      this.#insert(item)
    }
  }

  #insert(item: Item): void {
    const found = this.#first((each) => compareItems(each, item) >= 0)
    // At the beginning of a block, or past the last one, it goes to the end of the block before.
    const isEnd = found.at === 0 && found.block > 0
    const index = isEnd ? found.block - 1 : found.block
    const block = this.#blocks[index]
    if (block === undefined) {
      this.#blocks.push([item])
      return
    }
    block.splice(isEnd ? block.length : found.at, 0, item)
    if (block.length > 2 * BLOCK) this.#blocks.splice(index + 1, 0, block.splice(BLOCK))
  }

  #remove(item: Item): void {
    const { block, at } = this.#first((each) => compareItems(each, item) >= 0)
    const items = this.#blocks[block]
    if (items?.[at] !== item) throw new Error('An index has lost a row')
    items.splice(at, 1)
    if (items.length === 0) this.#blocks.splice(block, 1)
  }

  #span(bound: FieldBound): [from: Position, to: Position] {
    if ('equals' in bound) {
      const { equals } = bound
      return [
        this.#first(({ value }) => compareForOrder(value, equals) >= 0),
        this.#first(({ value }) => compareForOrder(value, equals) > 0),
      ]
    }
    const { min, max } = bound
    const rank = orderRank(min ?? max)
    return [
      this.#first(({ value }) => (min === undefined ? orderRank(value) >= rank : compareForOrder(value, min) >= 0)),
      this.#first(({ value }) => (max === undefined ? orderRank(value) > rank : compareForOrder(value, max) > 0)),
    ]
  }

  *#between(from: Position, to: Position): Generator<Item, void> {
    for (let { block, at } = from; block < to.block || (block === to.block && at < to.at); block++, at = 0) {
      const items = this.#blocks[block] as Item[]
      const end = block === to.block ? to.at : items.length
      for (; at < end; at++) yield items[at] as Item
    }
  }

  #item({ block, at }: Position): Item {
    return (this.#blocks[block] as Item[])[at] as Item
  }

  #before({ block, at }: Position): Position | undefined {
    if (at > 0) return { block, at: at - 1 }
    return block === 0 ? undefined : { block: block - 1, at: (this.#blocks[block - 1] as Item[]).length - 1 }
  }

  /** The first item for which a test holds that holds for all after it. */
  #first(holds: (item: Item) => boolean): Position {
    let [low, high] = [0, this.#blocks.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (holds((this.#blocks[middle] as Item[]).at(-1) as Item)) high = middle
      else low = middle + 1
    }
    const items = this.#blocks[low]
    if (items === undefined) return { block: low, at: 0 }
    let [from, to] = [0, items.length]
    while (from < to) {
      const middle = (from + to) >>> 1
      if (holds(items[middle] as Item)) to = middle
      else from = middle + 1
    }
    return { block: low, at: from }
  }
}

function compareItems(a: Item, b: Item): number {
  return compareForOrder(a.value, b.value) || compareKeys(a.row.key, b.row.key)
}

function compareTo({ value, row }: Item, from: { readonly value: Value | undefined; readonly key: string }): number {
  return compareForOrder(value, from.value) || compareKeys(row.key, from.key)
}
