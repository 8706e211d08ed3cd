import { err, ok, type Result } from '../result.ts'
import { copyValue, isMap, valuesEqual, type Value } from '../value/value.ts'
import { compareForOrder, orderRank } from './order.ts'
import { MAX_QUERY_DEPTH, MAX_QUERY_NODES, fieldReader, type QueryFault, type Where } from './predicate.ts'

/** Says whether a record's value belongs to a query's result. */
export type Matcher = (value: Value) => boolean

/** Says whether one field of a record, `undefined` where it is absent, meets a condition. */
export type Test = (field: Value | undefined) => boolean

/** Makes the test of an operator, from the operator's name and what it compares with. */
export type Operator = (name: string, raw: unknown, budget: Budget) => Test

/** Most names in the path of a field: deeper values do not exist. */
const MAX_PATH_LENGTH = 32

/**
 * Compiles a `where` to a function. A value that is no map matches only one without conditions. The matcher shares
 * nothing with it. Refuses what it does not know instead of matching nothing (SPEC [QY1] to [QY6]).
 */
export function compileWhere(where: Where): Result<Matcher, QueryFault> {
  return compileConditions((budget) => (namesOf(where).length === 0 ? [] : [whereMatcher(where, budget, 1)]))
}

/** Compiles conditions that must all hold. What refuses one of them is the fault of the query. */
export function compileConditions(
  compile: (budget: Budget) => Matcher[],
  work?: QueryWork,
): Result<Matcher, QueryFault> {
  try {
    const matchers = compile({ nodes: MAX_QUERY_NODES, work })
    const matches = all(matchers)
    return ok(matchers.length === 0 ? matches : (value) => isMap(value) && matches(value))
  } catch (error) {
    if (error instanceof BadQuery) return err({ code: 'BAD_QUERY', message: error.message })
    throw error
  }
}

// Caught only above, so that each of the many places that can refuse stays one line.
class BadQuery extends Error {}

/** Refuses the query that is being compiled. */
export function refuse(message: string): never {
  throw new BadQuery(message)
}

/** Refuses an operator. */
export function unknown(name: string): never {
  refuse(`The operator ${name} is not known.`)
}

/** How many conditions a query may still have. */
export interface Budget {
  nodes: number
  /** Where long texts that are looked at are counted. */
  readonly work?: QueryWork | undefined
}

/** Counts what a query looks at, in records of usual length. */
export interface QueryWork {
  looked: number
}

/** Counts a condition. */
export function spend(budget: Budget, depth: number): void {
  if (depth > MAX_QUERY_DEPTH) refuse(`A query has at most ${MAX_QUERY_DEPTH} levels of conditions.`)
  if (--budget.nodes < 0) refuse(`A query has at most ${MAX_QUERY_NODES} conditions.`)
}

/** Compiles a `where` that has conditions. */
export function whereMatcher(where: Where, budget: Budget, depth: number): Matcher {
  spend(budget, depth)
  return all(
    namesOf(where).map((name) => {
      const condition = where[name]
      if (name.startsWith('$')) {
        return combine(name, condition, (inner) => whereMatcher(inner as Where, budget, depth + 1)) ?? unknown(name)
      }
      return onField(name, compileCondition(condition, budget, depth))
    }),
  )
}

/** A condition on one field: an object of operators, or a value that the field equals. */
function compileCondition(condition: unknown, budget: Budget, depth: number): Test {
  spend(budget, depth)
  if (!isMap(condition as Value) || !Object.keys(condition as object).some((name) => name.startsWith('$'))) {
    return eq('eq', condition)
  }
  return all(
    Object.entries(condition as object).map(([name, operand]) => {
      const combined = combine(name, operand, (inner) => compileCondition(inner, budget, depth + 1))
      if (combined !== undefined) return combined
      spend(budget, depth)
      return (OPERATORS.get(name) ?? unknown(name))(name, operand, budget)
    }),
  )
}

/** `$and`, `$or` and `$not` over conditions of one kind; `undefined` for any other name. */
function combine<T>(
  name: string,
  operand: unknown,
  compile: (inner: unknown) => (value: T) => boolean,
): ((value: T) => boolean) | undefined {
  if (name === '$not') return not(compile(operand))
  if (name !== '$and' && name !== '$or') return undefined
  if (!Array.isArray(operand)) refuse(`${name} needs a list of conditions.`)
  const tests = operand.map(compile)
  return name === '$and' ? all(tests) : any(tests)
}

/** The field equals a value. */
export function eq(name: string, raw: unknown): Test {
  const operand = operandOf(name, raw)
  return (field) => valuesEqual(field, operand)
}

/** An order comparison, which holds only between two values of one ordered type. */
export function comparison(holds: (order: number) => boolean): Operator {
  return (name, raw) => {
    const operand = operandOf(name, raw)
    const rank = orderRank(operand)
    if (rank === 0 || rank > 4) refuse(`${name} needs a boolean, number, string or bytes.`)
    return (field) => orderRank(field) === rank && holds(compareForOrder(field, operand))
  }
}

/** The field is one of a list. Scalars are looked up in a set; the others, compared one by one, count as conditions. */
export function member(name: string, raw: unknown, budget: Budget): Test {
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

/** The field is a text that holds a text, or a list that holds a value. */
export function contains(name: string, raw: unknown): Test {
  const operand = operandOf(name, raw)
  return (field) =>
    typeof field === 'string'
      ? typeof operand === 'string' && field.includes(operand)
      : Array.isArray(field) && field.some((item: Value) => valuesEqual(item, operand))
}

function exists(name: string, raw: unknown): Test {
  if (typeof raw !== 'boolean') refuse(`${name} needs true or false.`)
  return (field) => (field !== undefined) === raw
}

/** The operator that holds where another does not. */
export function negated(operator: Operator): Operator {
  return (name, raw, budget) => not(operator(name, raw, budget))
}

const OPERATORS: ReadonlyMap<string, Operator> = /* @__PURE__ */ new Map<string, Operator>([
  ['$eq', eq],
  ['$ne', /* @__PURE__ */ negated(eq)],
  ['$neq', /* @__PURE__ */ negated(eq)],
  ['$gt', /* @__PURE__ */ comparison((order) => order > 0)],
  ['$gte', /* @__PURE__ */ comparison((order) => order >= 0)],
  ['$lt', /* @__PURE__ */ comparison((order) => order < 0)],
  ['$lte', /* @__PURE__ */ comparison((order) => order <= 0)],
  ['$in', member],
  ['$nin', /* @__PURE__ */ negated(member)],
  ['$exists', exists],
  ['$contains', contains],
])

function operandOf(name: string, raw: unknown): Value {
  const copy = copyValue(raw)
  return 'value' in copy ? copy.value : refuse(`${name} needs a value that a record can hold.`)
}

/** A test of one field, as a test of the whole value. */
export function onField(path: string, test: Test): Matcher {
  if (path.split('.', MAX_PATH_LENGTH + 1).length > MAX_PATH_LENGTH) refuse('The path of a field is too long.')
  const read = fieldReader(path)
  return (value) => test(read(value))
}

/** All tests hold. */
export function all<T>(tests: readonly ((value: T) => boolean)[]): (value: T) => boolean {
  const [first, second] = tests
  if (first === undefined) return () => true
  if (second === undefined) return first
  return (value) => tests.every((test) => test(value))
}

/** One of the tests holds. */
export function any<T>(tests: readonly ((value: T) => boolean)[]): (value: T) => boolean {
  return (value) => tests.some((test) => test(value))
}

/** The test does not hold. */
export function not<T>(test: (value: T) => boolean): (value: T) => boolean {
  return (value) => !test(value)
}

/** The names in a `where`. */
export function namesOf(where: unknown): readonly string[] {
  return isMap(where as Value) ? Object.keys(where as object) : refuse('A where is an object.')
}
