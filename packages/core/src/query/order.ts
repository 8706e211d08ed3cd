import { compareBytes, compareCanonical } from '../value/compare.ts'
import type { Value } from '../value/value.ts'
import { fieldReader, type FieldReader, type QuerySpec } from './predicate.ts'

/** Orders two rows of a query. Negative, zero or positive; zero only for equal keys. */
export type RowOrder = (keyA: string, valueA: Value, keyB: string, valueB: Value) => number

/** One field of a sort, compiled: how to read it, and 1 for ascending or -1 for descending. */
export interface SortField {
  readonly read: FieldReader
  readonly sign: number
}

/**
 * A total order of all values: absent and null, then boolean, number, string, bytes, array, map. Strings by code unit,
 * bytes as unsigned numbers, arrays and maps by their canonical bytes (SPEC [QY8]).
 */
export function compareForOrder(a: Value | undefined, b: Value | undefined): number {
  if (a === b) return 0
  const rank = orderRank(a)
  const difference = rank - orderRank(b)
  if (difference !== 0) return difference
  switch (rank) {
    case 0:
      return 0
    case 4:
      return compareBytes(a as Uint8Array, b as Uint8Array)
    case 5:
    case 6:
      return compareCanonical(a as Value, b as Value)
    default:
      return (a as number) < (b as number) ? -1 : (a as number) > (b as number) ? 1 : 0
  }
}

/** The place of a value's type in the order of all values. */
export function orderRank(value: Value | undefined): number {
  switch (typeof value) {
    case 'boolean':
      return 1
    case 'number':
      return 2
    case 'string':
      return 3
    case 'object':
      if (value === null) return 0
      return value instanceof Uint8Array ? 4 : Array.isArray(value) ? 5 : 6
    default:
      return 0
  }
}

/** Compiles the fields of a sort. */
export function sortFields(sort: QuerySpec['sort']): readonly SortField[] {
  return Object.entries(sort ?? {}).map(([path, direction]) => ({
    read: fieldReader(path),
    sign: direction === 'desc' ? -1 : 1,
  }))
}

/** Compiles the order of a query's rows: by its sort, then by key ascending in code units (SPEC [QY9]). */
export function compileOrder(sort?: QuerySpec['sort']): RowOrder {
  const fields = sortFields(sort)
  return (keyA, valueA, keyB, valueB) => {
    for (const { read, sign } of fields) {
      const order = compareForOrder(read(valueA), read(valueB))
      if (order !== 0) return order * sign
    }
    return compareKeys(keyA, keyB)
  }
}

/** Orders keys by code unit. */
export function compareKeys(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
