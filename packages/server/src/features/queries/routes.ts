import { fieldReader, isMap, orderRank, type FieldBound, type FieldReader, type Value } from '@syncline/core'
import { RangeList } from './range-list.ts'

/** What all values that equal no scalar are looked up by. */
const COMPOUND = Symbol('compound')

/** What is asked of one field. */
interface Field<T> {
  readonly read: FieldReader
  readonly equals: Map<unknown, Set<T>>
  /** By the type of the values in the range. */
  readonly ranges: Map<number, RangeList<T>>
}

/**
 * Which of many things a changed value concerns: each is known by the bounds of which a value that concerns it meets
 * one, and is found by looking the value's fields up. What has no bounds is concerned by every value.
 */
export class Routes<T> {
  /** What every value concerns. */
  readonly unbounded = new Set<T>()
  readonly #bounded = new Map<T, readonly FieldBound[]>()
  readonly #plain = new Map<string, Field<T>>()
  /** Fields whose path has dots: they may lie deeper. */
  readonly #nested = new Map<string, Field<T>>()

  get hasBounded(): boolean {
    return this.#bounded.size > 0
  }

  add(item: T, bounds: readonly FieldBound[] | undefined): void {
    if (bounds === undefined) {
      this.unbounded.add(item)
      return
    }
    this.#bounded.set(item, bounds)
    for (const bound of bounds) {
      const fields = this.#fieldsFor(bound.path)
      let field = fields.get(bound.path)
      if (field === undefined) {
        fields.set(bound.path, (field = { read: fieldReader(bound.path), equals: new Map(), ranges: new Map() }))
      }
      if ('equals' in bound) {
        const bucket = bucketOf(bound.equals)
        const items = field.equals.get(bucket)
        if (items === undefined) field.equals.set(bucket, new Set([item]))
        else items.add(item)
      } else {
        const rank = orderRank(bound.min ?? bound.max)
        let ranges = field.ranges.get(rank)
        if (ranges === undefined) field.ranges.set(rank, (ranges = new RangeList()))
        ranges.add(bound, item)
      }
    }
  }

  remove(item: T): void {
    this.unbounded.delete(item)
    for (const bound of this.#bounded.get(item) ?? []) {
      const fields = this.#fieldsFor(bound.path)
      const field = fields.get(bound.path)
      // Two bounds may have been one.
      if (field === undefined) continue
      if ('equals' in bound) {
        const bucket = bucketOf(bound.equals)
        const items = field.equals.get(bucket)
        items?.delete(item)
        if (items?.size === 0) field.equals.delete(bucket)
      } else {
        const rank = orderRank(bound.min ?? bound.max)
        const ranges = field.ranges.get(rank)
        ranges?.remove(bound, item)
        if (ranges?.isEmpty === true) field.ranges.delete(rank)
      }
      if (field.equals.size === 0 && field.ranges.size === 0) fields.delete(bound.path)
    }
    this.#bounded.delete(item)
  }

  /** Calls `visit`, maybe more than once, for everything with bounds that a value meets. */
  visit(value: Value, visit: (item: T) => void): void {
    if (!isMap(value)) return
    const names = this.#plain.size > 8 ? Object.keys(value) : undefined
    if (names === undefined || names.length > this.#plain.size) {
      for (const field of this.#plain.values()) visitField(field, field.read(value), visit)
    } else {
      for (const name of names) {
        const field = this.#plain.get(name)
        if (field !== undefined) visitField(field, value[name], visit)
      }
    }
    for (const field of this.#nested.values()) visitField(field, field.read(value), visit)
  }

  #fieldsFor(path: string): Map<string, Field<T>> {
    return path.includes('.') ? this.#nested : this.#plain
  }
}

function visitField<T>({ equals, ranges }: Field<T>, found: Value | undefined, visit: (item: T) => void): void {
  if (found === undefined) return
  const items = equals.get(bucketOf(found))
  if (items !== undefined) for (const item of items) visit(item)
  if (ranges.size > 0) ranges.get(orderRank(found))?.visit(found, visit)
}

/** Two values that are equal have the same bucket; scalars that differ do not. */
function bucketOf(value: Value): unknown {
  return typeof value === 'object' && value !== null ? COMPOUND : value
}
