import { compareForOrder, type Value } from '@syncline/core'

/** A range of values of one type. Without an end it has none on that side. */
export interface Range {
  readonly min?: Value
  readonly max?: Value
}

interface Item<T> {
  readonly range: Range
  readonly item: T
}

interface Block<T> {
  readonly items: Item<T>[]
  /** The greatest `max` of its items; undefined where one has no end. */
  max: Value | undefined
}

/** Items of one block. */
const BLOCK = 64

/**
 * Things that each stand for a range, found by a value that lies in it: in blocks by the ranges' beginnings, each with its
 * greatest end, so that blocks which end before the value are skipped whole.
 */
export class RangeList<T> {
  readonly #blocks: Block<T>[] = []

  add(range: Range, item: T): void {
    const at = this.#blockOf(range)
    let block = this.#blocks[at]
    if (block === undefined) this.#blocks.push((block = { items: [], max: range.max }))
    block.items.splice(placeIn(block, range), 0, { range, item })
    if (block.items.length > 2 * BLOCK) this.#blocks.splice(at + 1, 0, blockOf(block.items.splice(BLOCK)))
    block.max = maxOf(block.items)
  }

  remove(range: Range, item: T): void {
    for (let at = this.#blockOf(range); at < this.#blocks.length; at++) {
      const block = this.#blocks[at] as Block<T>
      const place = block.items.findIndex((each) => each.item === item && each.range === range)
      if (place < 0) continue
      block.items.splice(place, 1)
      if (block.items.length === 0) this.#blocks.splice(at, 1)
      else block.max = maxOf(block.items)
      return
    }
  }

  get isEmpty(): boolean {
    return this.#blocks.length === 0
  }

  /** Calls `visit` for what stands for a range with the value in it. */
  visit(value: Value, visit: (item: T) => void): void {
    for (const { items, max } of this.#blocks) {
      if (isAfter((items[0] as Item<T>).range, value)) return
      if (max !== undefined && compareForOrder(max, value) < 0) continue
      for (const { range, item } of items) {
        if (isAfter(range, value)) return
        if (range.max === undefined || compareForOrder(range.max, value) >= 0) visit(item)
      }
    }
  }

  /** The first block that may hold a range: the last one that begins before it. */
  #blockOf(range: Range): number {
    let [low, high] = [0, this.#blocks.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (compareMin(((this.#blocks[middle] as Block<T>).items[0] as Item<T>).range, range) < 0) low = middle
      else high = middle - 1
    }
    return low
  }
}

function placeIn<T>({ items }: Block<T>, range: Range): number {
  let [low, high] = [0, items.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareMin((items[middle] as Item<T>).range, range) < 0) low = middle + 1
    else high = middle
  }
  return low
}

/** A range without a beginning comes before all others. */
function compareMin(a: Range, b: Range): number {
  if (a.min === undefined || b.min === undefined) return Number(a.min !== undefined) - Number(b.min !== undefined)
  return compareForOrder(a.min, b.min)
}

function isAfter({ min }: Range, value: Value): boolean {
  return min !== undefined && compareForOrder(min, value) > 0
}

function blockOf<T>(items: Item<T>[]): Block<T> {
  return { items, max: maxOf(items) }
}

function maxOf<T>(items: readonly Item<T>[]): Value | undefined {
  let greatest: Value | undefined
  for (const { range } of items) {
    if (range.max === undefined) return undefined
    if (greatest === undefined || compareForOrder(range.max, greatest) > 0) greatest = range.max
  }
  return greatest
}
