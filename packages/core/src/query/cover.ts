import { isMap, type Value } from '../value/value.ts'
import { compareForOrder, orderRank } from './order.ts'
import type { PredicateNode, QuerySpec, Where } from './predicate.ts'

/** One thing that an index can look up: the values that equal one, or those of one type between two, both included. */
export type FieldBound =
  | { readonly path: string; readonly equals: Value }
  | { readonly path: string; readonly min?: Value; readonly max?: Value }

/** Bounds of which a value meets one; undefined where it need not meet any. */
type Cover = readonly FieldBound[] | undefined

/**
 * Finds bounds of fields of which every value that matches a query meets at least one, so that only such values need to be
 * looked at: of conditions that must all hold the cheapest, of alternatives all. `undefined` where the conditions
 * leave no field bounded, or only such as cost Infinity; an empty list where nothing can match. The query must have
 * compiled.
 */
export function coverOf({ where, predicate }: QuerySpec, costOf: (bound: FieldBound) => number): Cover {
  function cheapest(unmerged: readonly Cover[]): Cover {
    const covers = mergeRanges(unmerged)
    let [best, bestCost]: [Cover, number] = [undefined, Infinity]
    for (const cover of covers) {
      const cost = cover?.reduce((sum, bound) => sum + costOf(bound), 0) ?? Infinity
      if (cost < bestCost) [best, bestCost] = [cover, cost]
    }
    return best
  }

  function union(covers: readonly Cover[]): Cover {
    const bounds: FieldBound[] = []
    for (const cover of covers) {
      if (cover === undefined) return undefined
      bounds.push(...cover)
    }
    return bounds
  }

  function ofWhere(each: Where): Cover {
    return cheapest(
      Object.entries(each).map(([name, condition]) => {
        if (name === '$and') return cheapest((condition as Where[]).map(ofWhere))
        if (name === '$or') return union((condition as Where[]).map(ofWhere))
        return name === '$not' ? undefined : ofCondition(name, condition)
      }),
    )
  }

  function ofCondition(path: string, condition: unknown): Cover {
    const isOperators = isMap(condition as Value) && Object.keys(condition as object).some((name) => name[0] === '$')
    if (!isOperators) return [{ path, equals: condition as Value }]
    return cheapest(
      Object.entries(condition as object).map(([name, operand]: [string, unknown]) => {
        if (name === '$and') return cheapest((operand as unknown[]).map((inner) => ofCondition(path, inner)))
        if (name === '$or') return union((operand as unknown[]).map((inner) => ofCondition(path, inner)))
        return ofComparison(path, name.slice(1), operand as Value)
      }),
    )
  }

  function ofPredicate({ op, attribute = '', value = null, children = [] }: PredicateNode): Cover {
    if (op === 'and') return cheapest(children.map(ofPredicate))
    return op === 'or' ? union(children.map(ofPredicate)) : ofComparison(attribute, op, value)
  }

  const covers: Cover[] = []
  if (where !== undefined) covers.push(ofWhere(where))
  if (predicate !== undefined) covers.push(ofPredicate(predicate))
  return cheapest(covers)
}

function ofComparison(path: string, op: string, operand: Value): Cover {
  switch (op) {
    case 'eq':
      return [{ path, equals: operand }]
    case 'in':
      return (operand as readonly Value[]).map((equals) => ({ path, equals }))
    case 'gt':
    case 'gte':
      return [{ path, min: operand }]
    case 'lt':
    case 'lte':
      return [{ path, max: operand }]
    case 'between':
      return [{ path, min: (operand as readonly Value[])[0] as Value, max: (operand as readonly Value[])[1] as Value }]
    default:
      return undefined
  }
}

/** Ranges of one field that must all hold are one range. */
function mergeRanges(covers: readonly Cover[]): readonly Cover[] {
  if (covers.length < 2) return covers
  const others: Cover[] = []
  const ranges = new Map<string, { path: string; min?: Value; max?: Value }>()
  for (const cover of covers) {
    const [bound] = cover ?? []
    if (cover?.length !== 1 || bound === undefined || 'equals' in bound) {
      others.push(cover)
      continue
    }
    const range = ranges.get(bound.path)
    if (range === undefined) ranges.set(bound.path, { ...bound })
    else if (orderRank(range.min ?? range.max) !== orderRank(bound.min ?? bound.max)) return [[]]
    else {
      if (bound.min !== undefined && (range.min === undefined || compareForOrder(bound.min, range.min) > 0))
        range.min = bound.min
      if (bound.max !== undefined && (range.max === undefined || compareForOrder(bound.max, range.max) < 0))
        range.max = bound.max
    }
  }
  return [...others, ...[...ranges.values()].map((range) => [range])]
}
