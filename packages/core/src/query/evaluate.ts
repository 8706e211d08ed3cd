import type { Result } from '../result.ts'
import { isMap, type Value } from '../value/value.ts'
import { MAX_PATTERN_LENGTH, likeMatcher } from './like.ts'
import type { QueryFault, QuerySpec } from './predicate.ts'
import { BadPattern, compileRegex } from './regex.ts'
import {
  all,
  any,
  comparison,
  compileConditions,
  contains,
  eq,
  member,
  namesOf,
  negated,
  not,
  onField,
  refuse,
  spend,
  unknown,
  whereMatcher,
  type Budget,
  type Matcher,
  type Operator,
  type QueryWork,
  type Test,
} from './where.ts'

/**
 * Compiles a query's conditions, `where` and `predicate`, to a function. A value that is no map matches only a query
 * without conditions. The matcher shares nothing with the query. Refuses what it does not know instead of matching
 * nothing (SPEC [QY1] to [QY7] and [QY12]). The texts that `like` and `regex` go through are counted in `work`.
 */
export function compileQuery({ where, predicate }: QuerySpec, work?: QueryWork): Result<Matcher, QueryFault> {
  return compileConditions((budget) => {
    const matchers: Matcher[] = []
    if (where !== undefined && namesOf(where).length > 0) matchers.push(whereMatcher(where, budget, 1))
    if (predicate !== undefined) matchers.push(compilePredicate(predicate, budget, 1))
    return matchers
  }, work)
}

const atLeast = /* @__PURE__ */ comparison((order) => order >= 0)
const atMost = /* @__PURE__ */ comparison((order) => order <= 0)

const between: Operator = (name, raw, budget) => {
  if (!Array.isArray(raw) || raw.length !== 2) refuse(`${name} needs a list of two values.`)
  return all([atLeast(name, raw[0], budget), atMost(name, raw[1], budget)])
}

const isNull: Operator = () => (field) => field === undefined || field === null

/** As many conditions as one `like` counts: it follows every way to match a text that may be long. */
const LIKE_CONDITIONS = 16

const like: Operator = (name, raw, budget) => {
  for (let i = 1; i < LIKE_CONDITIONS; i++) spend(budget, 1)
  if (typeof raw !== 'string') refuse(`${name} needs a string.`)
  const matches = likeMatcher(raw) ?? refuse(`${name} takes at most ${MAX_PATTERN_LENGTH} characters.`)
  return onText(matches, 1 / TEXT_PER_RECORD, budget)
}

/** Characters of a text that take as long as a whole record does elsewhere. */
const TEXT_PER_RECORD = 64

function onText(test: (text: string) => boolean, costPerCharacter: number, { work }: Budget): Test {
  return (field) => {
    if (typeof field !== 'string') return false
    if (work !== undefined) work.looked += field.length * costPerCharacter
    return test(field)
  }
}

/** As many conditions as one step of a pattern counts: at worst it looks at each character of a text that may be long. */
const CONDITIONS_PER_STEP = 4

const regex: Operator = (name, raw, budget) => {
  if (typeof raw !== 'string') refuse(`${name} needs a string.`)
  try {
    const { size, isFoundIn } = compileRegex(raw)
    for (let i = 1; i < size * CONDITIONS_PER_STEP; i++) spend(budget, 1)
    return onText(isFoundIn, (1 + size / 16) / TEXT_PER_RECORD, budget)
  } catch (error) {
    if (error instanceof BadPattern) refuse(`The pattern of ${name} ${error.message}`)
    throw error
  }
}

/** The comparisons of a predicate. */
const COMPARISONS: ReadonlyMap<string, Operator> = /* @__PURE__ */ new Map<string, Operator>([
  ['eq', eq],
  ['neq', /* @__PURE__ */ negated(eq)],
  ['gt', /* @__PURE__ */ comparison((order) => order > 0)],
  ['gte', atLeast],
  ['lt', /* @__PURE__ */ comparison((order) => order < 0)],
  ['lte', atMost],
  ['like', like],
  ['regex', regex],
  ['in', member],
  ['between', between],
  ['isNull', isNull],
  ['isNotNull', /* @__PURE__ */ negated(isNull)],
  ['contains', contains],
])

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
    return test === undefined ? () => true : not(test)
  }
  if (typeof attribute !== 'string') refuse(`${op} needs an attribute.`)
  const compare = COMPARISONS.get(op) ?? unknown(op)
  return onField(attribute, compare(op, value, budget))
}
