import { err, ok, type Result } from '../result.ts'
import { copyValue, isMap, valuesEqual, type Value } from '../value/value.ts'
import { MAX_PATTERN_LENGTH, likeMatcher } from './like.ts'
import { compareForOrder, orderRank } from './order.ts'
import {
  MAX_QUERY_DEPTH,
  MAX_QUERY_NODES,
  fieldReader,
  type FieldReader,
  type QueryFault,
  type QuerySpec,
} from './predicate.ts'

/** Says whether a record's value belongs to a query's result. */
export type Matcher = (value: Value) => boolean

/** The operators of a `where`, by the name of their test. */
const WHERE_OPERATORS: ReadonlyMap<string, string> = new Map([
  ['$eq', 'eq'],
  ['$ne', 'neq'],
  ['$neq', 'neq'],
  ['$gt', 'gt'],
  ['$gte', 'gte'],
  ['$lt', 'lt'],
  ['$lte', 'lte'],
  ['$in', 'in'],
  ['$nin', 'nin'],
  ['$exists', 'exists'],
  ['$contains', 'contains'],
])

/** The comparisons of a predicate. */
const PREDICATE_OPERATORS: ReadonlySet<string> = new Set([
  'eq',
  'neq',
  'gt',
  'gte',
  'lt',
  'lte',
  'like',
  'in',
  'between',
  'isNull',
  'isNotNull',
  'contains',
])

/** Says whether one field of a record, `undefined` where it is absent, meets a condition. */
type Test = (field: Value | undefined) => boolean

/** Most names in the path of a field: deeper values do not exist. */
const MAX_PATH_LENGTH = 32

/**
 * Compiles a query's conditions to a function. A value that is no map matches only a query without conditions. The
 * matcher shares nothing with the query. Refuses what it does not know instead of matching nothing (SPEC [QY1] to [QY7]).
 */
export function compileQuery(spec: QuerySpec): Result<Matcher, QueryFault> {
  const { where, predicate } = spec
  try {
    const budget = { nodes: MAX_QUERY_NODES }
    const matchers: Matcher[] = []
    if (where !== undefined && namesOf(where).length > 0) matchers.push(compileWhere(where, budget, 1))
    if (predicate !== undefined) matchers.push(compilePredicate(predicate, budget, 1))
    const matches = all(matchers)
    return ok(matchers.length === 0 ? matches : (value) => isMap(value) && matches(value))
  } catch (error) {
    if (error instanceof BadQuery) return err({ code: 'BAD_QUERY', message: error.message })
    throw error
  }
}

// Thrown only inside this file, so that each of the many places that can refuse stays one line.
class BadQuery extends Error {}

function refuse(message: string): never {
  throw new BadQuery(message)
}

interface Budget {
  nodes: number
}

function spend(budget: Budget, depth: number): void {
  if (depth > MAX_QUERY_DEPTH) refuse(`A query has at most ${MAX_QUERY_DEPTH} levels of conditions.`)
  if (--budget.nodes < 0) refuse(`A query has at most ${MAX_QUERY_NODES} conditions.`)
}

function compileWhere(where: unknown, budget: Budget, depth: number): Matcher {
  spend(budget, depth)
  return all(
    namesOf(where).map((name) => {
      const condition = (where as Record<string, unknown>)[name]
      if (name.startsWith('$')) {
        return combine(name, condition, (inner) => compileWhere(inner, budget, depth + 1)) ?? unknown(name)
      }
      return onField(name, compileCondition(condition, budget, depth))
    }),
  )
}

/** A condition on one field: an object of operators, or a value that the field equals. */
function compileCondition(condition: unknown, budget: Budget, depth: number): Test {
  spend(budget, depth)
  if (!isMap(condition as Value) || !Object.keys(condition as object).some((name) => name.startsWith('$'))) {
    return compileTest('eq', condition, budget)
  }
  return all(
    Object.entries(condition as object).map(([name, operand]) => {
      const combined = combine(name, operand, (inner) => compileCondition(inner, budget, depth + 1))
      if (combined !== undefined) return combined
      spend(budget, depth)
      return compileTest(WHERE_OPERATORS.get(name) ?? unknown(name), operand, budget, name)
    }),
  )
}

function compilePredicate(node: unknown, budget: Budget, depth: number): Matcher {
  spend(budget, depth)
  if (!isMap(node as Value)) refuse('A predicate is an object with an op.')
  const { op, attribute, value, children = [] } = node as { readonly [name: string]: unknown }
  if (typeof op !== 'string') refuse('A predicate is an object with an op.')
  if (op === 'and' || op === 'or' || op === 'not') {
    if (!Array.isArray(children)) refuse(`The children of ${op} are a list.`)
    const tests = children.map((child: unknown) => compilePredicate(child, budget, depth + 1))
    if (op === 'and') return all(tests)
    if (op === 'or') return any(tests)
    if (tests.length > 1) refuse('not has one child.')
    const [test] = tests
    return test === undefined ? () => true : (field) => !test(field)
  }
  if (typeof attribute !== 'string') refuse(`${op} needs an attribute.`)
  if (!PREDICATE_OPERATORS.has(op)) unknown(op)
  return onField(attribute, compileTest(op, value, budget))
}

/** `$and`, `$or` and `$not` over conditions of one kind; `undefined` for any other name. */
function combine<T>(
  name: string,
  operand: unknown,
  compile: (inner: unknown) => (value: T) => boolean,
): ((value: T) => boolean) | undefined {
  if (name === '$not') {
    const test = compile(operand)
    return (value) => !test(value)
  }
  if (name !== '$and' && name !== '$or') return undefined
  if (!Array.isArray(operand)) refuse(`${name} needs a list of conditions.`)
  const tests = operand.map(compile)
  return name === '$and' ? all(tests) : any(tests)
}

/** One comparison, by the name that it has in a predicate. */
function compileTest(op: string, raw: unknown, budget: Budget, name: string = op): Test {
  switch (op) {
    case 'eq':
    case 'neq': {
      const operand = operandOf(name, raw)
      return op === 'eq' ? (field) => valuesEqual(field, operand) : (field) => !valuesEqual(field, operand)
    }
    case 'gt':
      return comparison(name, raw, (order) => order > 0)
    case 'gte':
      return comparison(name, raw, (order) => order >= 0)
    case 'lt':
      return comparison(name, raw, (order) => order < 0)
    case 'lte':
      return comparison(name, raw, (order) => order <= 0)
    case 'between': {
      if (!Array.isArray(raw) || raw.length !== 2) refuse(`${name} needs a list of two values.`)
      return all([comparison(name, raw[0], (order) => order >= 0), comparison(name, raw[1], (order) => order <= 0)])
    }
    case 'in':
      return membership(name, raw, budget)
    case 'nin': {
      const isMember = membership(name, raw, budget)
      return (field) => !isMember(field)
    }
    case 'contains': {
      const operand = operandOf(name, raw)
      return (field) =>
        typeof field === 'string'
          ? typeof operand === 'string' && field.includes(operand)
          : Array.isArray(field) && field.some((item: Value) => valuesEqual(item, operand))
    }
    case 'exists':
      if (typeof raw !== 'boolean') refuse(`${name} needs true or false.`)
      return (field) => (field !== undefined) === raw
    case 'isNull':
      return (field) => field === undefined || field === null
    case 'isNotNull':
      return (field) => field !== undefined && field !== null
    case 'like': {
      if (typeof raw !== 'string') refuse(`${name} needs a string.`)
      const matches = likeMatcher(raw) ?? refuse(`${name} takes at most ${MAX_PATTERN_LENGTH} characters.`)
      return (field) => typeof field === 'string' && matches(field)
    }
    default:
      return unknown(name)
  }
}

function unknown(name: string): never {
  if (/^\$?regex$/.test(name)) refuse(`The operator ${name} is not offered yet.`)
  refuse(`The operator ${name} is not known.`)
}

function operandOf(name: string, raw: unknown): Value {
  const copy = copyValue(raw)
  return 'value' in copy ? copy.value : refuse(`${name} needs a value that a record can hold.`)
}

/** An order comparison, which holds only between two values of one ordered type. */
function comparison(name: string, raw: unknown, holds: (order: number) => boolean): Test {
  const operand = operandOf(name, raw)
  const rank = orderRank(operand)
  if (rank === 0 || rank > 4) refuse(`${name} needs a boolean, number, string or bytes.`)
  return (field) => orderRank(field) === rank && holds(compareForOrder(field, operand))
}

/** Scalars are looked up in a set. Arrays, maps and bytes are compared one by one, so each counts as a condition. */
function membership(name: string, raw: unknown, budget: Budget): Test {
  if (!Array.isArray(raw)) refuse(`${name} needs a list.`)
  const scalars = new Set<unknown>()
  const others: Value[] = []
  for (const item of operandOf(name, raw) as readonly Value[]) {
    if (typeof item !== 'object' || item === null) scalars.add(item)
    else {
      spend(budget, 1)
      others.push(item)
    }
  }
  return (field) => scalars.has(field) || others.some((item) => valuesEqual(item, field))
}

function onField(path: string, test: Test): Matcher {
  if (path.split('.', MAX_PATH_LENGTH + 1).length > MAX_PATH_LENGTH) refuse('The path of a field is too long.')
  const read: FieldReader = fieldReader(path)
  return (value) => test(read(value))
}

function all<T>(tests: readonly ((value: T) => boolean)[]): (value: T) => boolean {
  const [first, second] = tests
  if (first === undefined) return () => true
  if (second === undefined) return first
  return (value) => tests.every((test) => test(value))
}

function any<T>(tests: readonly ((value: T) => boolean)[]): (value: T) => boolean {
  return (value) => tests.some((test) => test(value))
}

function namesOf(where: unknown): readonly string[] {
  return isMap(where as Value) ? Object.keys(where as object) : refuse('A where is an object.')
}
