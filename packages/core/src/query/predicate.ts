import { isMap, type Value, type ValueMap } from '../value/value.ts'

/**
 * What a record must look like, by field: a value it equals, or an object of operators (`$gt`, `$in`, …). `$and`, `$or`
 * and `$not` combine conditions at any level (SPEC [QY3] to [QY6]). A name with dots reaches into nested maps.
 */
export type Where = { readonly [field: string]: unknown }

/** A condition as a tree: the other way to write a `Where` (SPEC [QY7]). */
export interface PredicateNode {
  /** eq neq gt gte lt lte like regex in between isNull isNotNull contains, or and or not. */
  readonly op: string
  /** The field that a comparison looks at. */
  readonly attribute?: string
  /** What it is compared with. */
  readonly value?: Value
  /** What and, or and not combine. */
  readonly children?: readonly PredicateNode[]
}

/** A query over one map. `where` and `predicate` must both hold. */
export interface QuerySpec {
  /** Conditions by field; all must hold ([QY3] to [QY6]). */
  readonly where?: Where
  /** Conditions as a tree of operators ([QY7]). */
  readonly predicate?: PredicateNode
  /** Fields to sort by, the most significant first. Ties, and queries without it, are in key order. */
  readonly sort?: Readonly<Record<string, 'asc' | 'desc'>>
  /** Most rows of one page. Without it, or with 0, all of them. */
  readonly limit?: number
  /** Where the page starts, from the page before it. */
  readonly cursor?: string
}

/** Why a query cannot be run, in one sentence. */
export interface QueryFault {
  readonly code: 'BAD_QUERY'
  readonly message: string
}

/** Deepest nesting of conditions in one query. A condition at the top has depth 1. */
export const MAX_QUERY_DEPTH = 16

/** Most conditions in one query, combining ones included. */
export const MAX_QUERY_NODES = 256

/** Reads one field of a value; `undefined` where it is absent. */
export type FieldReader = (value: Value) => Value | undefined

/**
 * Compiles the path of a field. In each map the field named by the whole rest of the path wins; without one, the part
 * before the first dot is followed (SPEC [QY2]). Only own fields of maps are reached.
 */
export function fieldReader(path: string): FieldReader {
  const dot = path.indexOf('.')
  if (dot < 0) return (value) => (isMap(value) ? ownField(value, path) : undefined)
  const head = path.slice(0, dot)
  const readRest = fieldReader(path.slice(dot + 1))
  return (value) => {
    if (!isMap(value)) return undefined
    if (Object.hasOwn(value, path)) return value[path]
    const inner = ownField(value, head)
    return inner === undefined ? undefined : readRest(inner)
  }
}

function ownField(map: ValueMap, name: string): Value | undefined {
  return Object.hasOwn(map, name) ? map[name] : undefined
}
