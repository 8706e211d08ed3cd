import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { anyValue, value, valueOrNull } from '../../test/arbitraries.ts'
import { LAW, RUNS, same } from '../../test/property.ts'
import { valuesEqual, type Value } from '../value/value.ts'
import { compileQuery } from './evaluate.ts'
import { MAX_QUERY_DEPTH, MAX_QUERY_NODES, type PredicateNode, type QuerySpec, type Where } from './predicate.ts'

function matches(spec: QuerySpec, candidate: Value): boolean {
  const compiled = compileQuery(spec)
  if (!compiled.ok) throw new Error(compiled.error.message)
  return compiled.value(candidate)
}

const whereMatches = (where: Where, candidate: Value): boolean => matches({ where }, candidate)

const predicateMatches = (predicate: PredicateNode, candidate: Value): boolean => matches({ predicate }, candidate)

function faultOf(spec: QuerySpec): string | undefined {
  const compiled = compileQuery(spec)
  return compiled.ok ? undefined : `${compiled.error.code}: ${compiled.error.message}`
}

const bytes = (...items: number[]): Uint8Array => new Uint8Array(items)

describe('what a query matches', () => {
  it('[QY1] without conditions everything, else only maps', () => {
    for (const empty of [{}, { where: {} }, { sort: { a: 'asc' as const }, limit: 5 }]) {
      for (const candidate of [null, 1, 'a', [], {}, bytes()]) expect(matches(empty, candidate)).toBe(true)
    }
    const always: QuerySpec[] = [
      { where: { $and: [] } },
      { predicate: { op: 'and', children: [] } },
      { where: { a: { $exists: false } } },
      { predicate: { op: 'isNull', attribute: 'a' } },
    ]
    for (const spec of always) {
      expect(matches(spec, {})).toBe(true)
      for (const candidate of [null, 1, 'a', [], bytes()]) expect(matches(spec, candidate)).toBe(false)
    }
  })

  it('[QY1] where and predicate must both hold', () => {
    const spec: QuerySpec = { where: { a: 1 }, predicate: { op: 'gt', attribute: 'b', value: 1 } }
    expect(matches(spec, { a: 1, b: 2 })).toBe(true)
    expect(matches(spec, { a: 2, b: 2 })).toBe(false)
    expect(matches(spec, { a: 1, b: 1 })).toBe(false)
  })

  it('[QY2] a path follows own fields of maps, and a field whose name holds the dot wins', () => {
    expect(whereMatches({ 'a.b.c': 1 }, { a: { b: { c: 1 } } })).toBe(true)
    expect(whereMatches({ 'a.b.c': 1 }, { a: { 'b.c': 1, b: { c: 2 } } })).toBe(true)
    expect(whereMatches({ 'a.b': 1 }, { 'a.b': 2, a: { b: 1 } })).toBe(false)
    expect(whereMatches({ 'a.b': { $exists: true } }, { 'a.b': null })).toBe(true)
    expect(whereMatches({ 'a.b': { $exists: true } }, { a: 'text' })).toBe(false)
    expect(whereMatches({ 'a.0': { $exists: true } }, { a: [1] })).toBe(false)
    expect(whereMatches({ 'a.length': { $exists: true } }, { a: bytes(1) })).toBe(false)
    for (const inherited of ['toString', 'constructor', '__proto__', 'a.toString', 'a.__proto__.x']) {
      expect(whereMatches({ [inherited]: { $exists: true } }, { a: {} })).toBe(false)
    }
    expect(whereMatches({ '': 1 }, { '': 1 })).toBe(true)
    expect(whereMatches({ '.': 1 }, { '': { '': 1 } })).toBe(true)
  })

  it('[QY3] names combine, and $and, $or and $not stand at any level', () => {
    expect(whereMatches({ a: 1, b: 2 }, { a: 1, b: 3 })).toBe(false)
    expect(whereMatches({ a: 1, $or: [{ b: 1 }, { b: 2 }] }, { a: 1, b: 2 })).toBe(true)
    expect(whereMatches({ $or: [] }, {})).toBe(false)
    expect(whereMatches({ $and: [] }, {})).toBe(true)
    expect(whereMatches({ $not: {} }, {})).toBe(false)
    expect(whereMatches({ $not: { $or: [{ a: 1 }, { $and: [{ b: 1 }, { c: 1 }] }] } }, { b: 1, c: 2 })).toBe(true)
    expect(whereMatches({ $not: { $or: [{ a: 1 }, { $and: [{ b: 1 }, { c: 1 }] }] } }, { b: 1, c: 1 })).toBe(false)
  })

  it('[QY4] operators of one field combine, and an object without them is a value', () => {
    expect(whereMatches({ a: { $gt: 1, $lt: 5 } }, { a: 3 })).toBe(true)
    expect(whereMatches({ a: { $gt: 1, $lt: 5 } }, { a: 5 })).toBe(false)
    expect(whereMatches({ a: { $not: { $gt: 1 } } }, { a: 'x' })).toBe(true)
    expect(whereMatches({ a: { $or: [{ $lt: 1 }, { $gt: 5 }, 3] } }, { a: 3 })).toBe(true)
    expect(whereMatches({ a: { $and: [{ $gt: 1 }, { $lt: 5 }] } }, { a: 6 })).toBe(false)
    expect(whereMatches({ a: { x: 1, y: [2] } }, { a: { y: [2], x: 1 } })).toBe(true)
    expect(whereMatches({ a: { x: 1 } }, { a: { x: 1, y: 2 } })).toBe(false)
    expect(whereMatches({ a: {} }, { a: {} })).toBe(true)
    expect(whereMatches({ a: [1, 2] }, { a: [1, 2] })).toBe(true)
    expect(whereMatches({ a: bytes(1) }, { a: bytes(1) })).toBe(true)
  })

  it('[QY5] absent equals nothing, and only values of one ordered type are compared', () => {
    expect(whereMatches({ a: null }, {})).toBe(false)
    expect(whereMatches({ a: null }, { a: null })).toBe(true)
    expect(whereMatches({ a: 0 }, { a: -0 })).toBe(true)
    expect(whereMatches({ a: 1 }, { a: '1' })).toBe(false)
    const ascending: Value[] = [false, true, -1, 0, 1.5, '', 'B', 'a', '😀', '\uff61', bytes(), bytes(1, 2), bytes(2)]
    const type = (candidate: Value): string => (candidate instanceof Uint8Array ? 'bytes' : typeof candidate)
    for (const [i, a] of ascending.entries()) {
      for (const [j, b] of ascending.entries()) {
        const isComparable = type(a) === type(b)
        expect(whereMatches({ a: { $gt: b } }, { a })).toBe(isComparable && i > j)
        expect(whereMatches({ a: { $gte: b } }, { a })).toBe(isComparable && i >= j)
        expect(whereMatches({ a: { $lt: b } }, { a })).toBe(isComparable && i < j)
        expect(whereMatches({ a: { $lte: b } }, { a })).toBe(isComparable && i <= j)
      }
      for (const a2 of [null, [], {}]) expect(whereMatches({ a: { $gte: a } }, { a: a2 })).toBe(false)
      expect(whereMatches({ a: { $lte: a } }, {})).toBe(false)
    }
  })

  it('[QY6] the other operators', () => {
    const holds = (condition: unknown, field?: Value): boolean =>
      whereMatches({ a: condition }, field === undefined ? {} : { a: field })
    expect(holds({ $eq: { $x: 1 } }, { $x: 1 })).toBe(true)
    for (const name of ['$ne', '$neq']) {
      expect(holds({ [name]: 1 }, 1)).toBe(false)
      expect(holds({ [name]: 1 }, 2)).toBe(true)
      expect(holds({ [name]: 1 })).toBe(true)
    }
    const list = [1, 'x', null, { b: 1 }, [2], bytes(3)]
    for (const member of list) {
      expect(holds({ $in: list }, member)).toBe(true)
      expect(holds({ $nin: list }, member)).toBe(false)
    }
    expect(holds({ $in: list }, '1')).toBe(false)
    expect(holds({ $in: list })).toBe(false)
    expect(holds({ $nin: list })).toBe(true)
    expect(holds({ $in: [] }, 1)).toBe(false)
    expect(holds({ $exists: true }, null)).toBe(true)
    expect(holds({ $exists: false }, null)).toBe(false)
    expect(holds({ $exists: false })).toBe(true)
    expect(holds({ $contains: 'b' }, 'abc')).toBe(true)
    expect(holds({ $contains: 'B' }, 'abc')).toBe(false)
    expect(holds({ $contains: 1 }, '1')).toBe(false)
    expect(holds({ $contains: { x: [1] } }, [0, { x: [1] }])).toBe(true)
    expect(holds({ $contains: 1 }, { x: 1 })).toBe(false)
    expect(holds({ $contains: 1 }, bytes(1))).toBe(false)
  })

  it('[QY7] predicates', () => {
    const holds = (op: string, operand: Value | undefined, field?: Value): boolean =>
      predicateMatches(
        { op, attribute: 'a', ...(operand === undefined ? {} : { value: operand }) },
        field === undefined ? {} : { a: field },
      )
    expect([holds('eq', 1, 1), holds('eq', 1, 2), holds('neq', 1, 2), holds('neq', 1)]).toEqual([
      true,
      false,
      true,
      true,
    ])
    expect([holds('gt', 1, 2), holds('gte', 1, 1), holds('lt', 1, 1), holds('lte', 1, 1)]).toEqual([
      true,
      true,
      false,
      true,
    ])
    expect([holds('in', [1, 2], 2), holds('in', [1, 2], 3), holds('contains', 'b', 'abc')]).toEqual([true, false, true])
    expect([0, 1, 2, 3, 4].map((field) => holds('between', [1, 3], field))).toEqual([false, true, true, true, false])
    expect(holds('between', ['a', 'c'], 2)).toBe(false)
    expect([holds('isNull', undefined), holds('isNull', undefined, null), holds('isNull', undefined, 0)]).toEqual([
      true,
      true,
      false,
    ])
    expect([
      holds('isNotNull', undefined),
      holds('isNotNull', undefined, null),
      holds('isNotNull', undefined, 0),
    ]).toEqual([false, false, true])
    const one: PredicateNode = { op: 'eq', attribute: 'a', value: 1 }
    const two: PredicateNode = { op: 'eq', attribute: 'a', value: 2 }
    expect(predicateMatches({ op: 'and', children: [] }, {})).toBe(true)
    expect(predicateMatches({ op: 'and', children: [one, two] }, { a: 1 })).toBe(false)
    expect(predicateMatches({ op: 'or' }, {})).toBe(false)
    expect(predicateMatches({ op: 'or', children: [one, two] }, { a: 2 })).toBe(true)
    expect(predicateMatches({ op: 'not' }, {})).toBe(true)
    expect(predicateMatches({ op: 'not', children: [one] }, { a: 1 })).toBe(false)
    expect(predicateMatches({ op: 'eq', attribute: 'a.b', value: 1 }, { a: { b: 1 } })).toBe(true)
  })

  it('[QY7] like', () => {
    const holds = (pattern: string, text: Value): boolean =>
      predicateMatches({ op: 'like', attribute: 'a', value: pattern }, { a: text })
    for (const [pattern, text] of [
      ['abc', 'ABC'],
      ['a%', 'a'],
      ['%', ''],
      ['%b%', 'abc'],
      ['a_c', 'abc'],
      ['_', '😀'],
      ['%É%', 'café'],
      ['a%b%c', 'aXbXbXc'],
      ['a.c', 'a.c'],
      ['a%%b', 'ab'],
      ['%_', 'x'],
      ['%a\nb', 'x\na\nb'],
      ['ab'.repeat(60), 'ab'.repeat(60)],
      [`%${'ab_'.repeat(60)}%`, `x${'abc'.repeat(60)}y`],
      ['_'.repeat(32), 'a'.repeat(32)],
      [`${'_'.repeat(31)}%`, 'a'.repeat(31)],
    ] as const) {
      expect([pattern, holds(pattern, text)]).toEqual([pattern, true])
    }
    for (const [pattern, text] of [
      ['abc', 'abcd'],
      ['abc', 'xabc'],
      ['', 'a'],
      ['a_c', 'ac'],
      ['_', ''],
      ['__', '😀'],
      ['a.c', 'abc'],
      ['a%b%c', 'acb'],
      ['%a', 'ab'],
      ['ab'.repeat(60), `${'ab'.repeat(59)}aa`],
      ['_'.repeat(33), 'a'.repeat(32)],
      ['_'.repeat(64), 'a'.repeat(65)],
      ['%', 1],
      ['%', null],
    ] as const) {
      expect([pattern, holds(pattern, text)]).toEqual([pattern, false])
    }
  })
})

describe('what a query refuses', () => {
  it.each<[string, unknown]>([
    ['a where that is no object', [1]],
    ['a where that is text', 'a'],
    ['an operator that is not known', { a: { $gtx: 1 } }],
    ['a name of Object.prototype as operator', { a: { $constructor: 1 } }],
    ['an operator of predicates', { a: { $like: 'x' } }],
    ['operators mixed with names', { a: { $gt: 1, b: 2 } }],
    ['a combination that is not known', { $nor: [] }],
    ['$and that is no list', { $and: {} }],
    ['$or of what is no where', { $or: [1] }],
    ['$not of a list', { $not: [] }],
    ['$in that is no list', { a: { $in: 1 } }],
    ['$in of what is no value', { a: { $in: [new Date(0)] } }],
    ['$exists that is not true or false', { a: { $exists: 1 } }],
    ['an order on null', { a: { $gt: null } }],
    ['an order on a map', { a: { $gt: {} } }],
    ['an order on an array', { a: { $lte: [] } }],
    ['equality with undefined', { a: undefined }],
    ['equality with a date', { a: new Date(0) }],
    ['equality with NaN', { a: Number.NaN }],
    ['equality with an object of forbidden names', { a: { b: JSON.parse('{"__proto__":1}') } }],
    ['a path of 33 names', { [Array.from({ length: 33 }, () => 'a').join('.')]: 1 }],
  ])('[QY1] %s', (_, where) => {
    expect(faultOf({ where: where as Where })).toMatch(/^BAD_QUERY: .+\.$/)
  })

  it.each<[string, unknown]>([
    ['a predicate that is no object', 'x'],
    ['a predicate without op', { attribute: 'a', value: 1 }],
    ['an op that is not known', { op: 'near', attribute: 'a', value: 1 }],
    ['an op of where', { op: '$eq', attribute: 'a', value: 1 }],
    ['an op of where by its name', { op: 'exists', attribute: 'a', value: true }],
    ['a comparison without attribute', { op: 'eq', value: 1 }],
    ['a comparison without value', { op: 'eq', attribute: 'a' }],
    ['between without two values', { op: 'between', attribute: 'a', value: [1] }],
    ['between of what has no order', { op: 'between', attribute: 'a', value: [1, null] }],
    ['like without text', { op: 'like', attribute: 'a', value: 1 }],
    ['like with a pattern of 257 characters', { op: 'like', attribute: 'a', value: 'a'.repeat(257) }],
    ['children that are no list', { op: 'and', children: {} }],
    ['a child that is no predicate', { op: 'or', children: [null] }],
    ['not of two', { op: 'not', children: [{ op: 'and' }, { op: 'and' }] }],
  ])('[QY7] %s', (_, predicate) => {
    expect(faultOf({ predicate: predicate as PredicateNode })).toMatch(/^BAD_QUERY: .+\.$/)
  })

  it('[QY12] a pattern that cannot be compiled, and the message says why', () => {
    expect(faultOf({ predicate: { op: 'regex', attribute: 'a', value: '(a' } })).toBe(
      'BAD_QUERY: The pattern of regex does not close a group.',
    )
    expect(faultOf({ predicate: { op: 'regex', attribute: 'a', value: 1 } })).toContain('needs a string')
    expect(faultOf({ where: { a: { $regex: 'x' } } })).toBe('BAD_QUERY: The operator $regex is not known.')
    const patterns = (count: number): PredicateNode => ({
      op: 'or',
      children: Array.from({ length: count }, () => ({ op: 'regex', attribute: 'a', value: 'x'.repeat(30) })),
    })
    expect(faultOf({ predicate: patterns(2) })).toBeUndefined()
    expect(faultOf({ predicate: patterns(3) })).toContain('conditions')
  })

  it('[QY12] long texts that a pattern goes through are counted', () => {
    const work = { looked: 0 }
    const compiled = compileQuery({ predicate: { op: 'regex', attribute: 'a', value: '(x+x+)+y' } }, work)
    if (compiled.ok) compiled.value({ a: 'x'.repeat(6_400) })
    expect(work.looked).toBeGreaterThan(100)
    expect(work.looked).toBeLessThan(400)
  })

  it('[QY11] 16 levels and 256 conditions, and no more', () => {
    const deepWhere = (depth: number): Where => (depth === 1 ? { a: 1 } : { $not: deepWhere(depth - 1) })
    const deepCondition = (depth: number): unknown => (depth === 1 ? 1 : { $not: deepCondition(depth - 1) })
    const deepPredicate = (depth: number): PredicateNode => {
      let node: PredicateNode = { op: 'and' }
      for (let i = 1; i < depth; i++) node = { op: 'and', children: [node] }
      return node
    }
    const [most, over] = [MAX_QUERY_DEPTH, MAX_QUERY_DEPTH + 1]
    expect(faultOf({ where: deepWhere(most) })).toBeUndefined()
    expect(faultOf({ where: deepWhere(over) })).toContain('levels')
    expect(faultOf({ where: { a: deepCondition(most) } })).toBeUndefined()
    expect(faultOf({ where: { a: deepCondition(over) } })).toContain('levels')
    expect(faultOf({ predicate: deepPredicate(most) })).toBeUndefined()
    expect(faultOf({ predicate: deepPredicate(over) })).toContain('levels')
    expect(faultOf({ predicate: deepPredicate(100_000) })).toContain('levels')

    const wide = (fields: number): Where => Object.fromEntries(Array.from({ length: fields }, (_, i) => [`f${i}`, i]))
    expect(faultOf({ where: wide(MAX_QUERY_NODES - 1) })).toBeUndefined()
    expect(faultOf({ where: wide(MAX_QUERY_NODES) })).toContain('conditions')
    const leaf: PredicateNode = { op: 'isNull', attribute: 'a' }
    const branches = (count: number): PredicateNode => ({
      op: 'or',
      children: Array.from({ length: count }, () => leaf),
    })
    expect(faultOf({ predicate: branches(MAX_QUERY_NODES - 1) })).toBeUndefined()
    expect(faultOf({ predicate: branches(MAX_QUERY_NODES) })).toContain('conditions')
    expect(faultOf({ where: wide(200), predicate: branches(100) })).toContain('conditions')
    const likes = (count: number): PredicateNode => ({
      op: 'or',
      children: Array.from({ length: count }, () => ({ op: 'like', attribute: 'a', value: '%x%' })),
    })
    expect(faultOf({ predicate: likes(15) })).toBeUndefined()
    expect(faultOf({ predicate: likes(16) })).toContain('conditions')
    const list = (count: number): Where => ({ a: { $in: Array.from({ length: count }, (_, i) => [i]) } })
    expect(faultOf({ where: list(MAX_QUERY_NODES - 3) })).toBeUndefined()
    expect(faultOf({ where: list(MAX_QUERY_NODES - 2) })).toContain('conditions')
    expect(faultOf({ where: { a: { $in: Array.from({ length: 5_000 }, (_, i) => i) } } })).toBeUndefined()
  })

  it('[QY1] a matcher does not change with the query that it came from', () => {
    const operand = [{ x: 1 }]
    const compiled = compileQuery({ where: { a: { $in: operand } } })
    operand[0]!.x = 2
    expect(compiled.ok && compiled.value({ a: { x: 1 } })).toBe(true)
  })

  it('[QY7] like takes time linear in the text, whatever the pattern', () => {
    const compiled = compileQuery({ predicate: { op: 'like', attribute: 'a', value: `${'%a_'.repeat(60)}%b` } })
    const text = 'a'.repeat(200_000)
    expect(compiled.ok && compiled.value({ a: text })).toBe(false)
  })
})

// The oracle: the rules read off a query each time, with another idea of how to match a pattern.

type Condition = [op: string, operand: Value]

const field = fc.constantFrom('x', 'y', 'x.y', 'z')
const scalar = fc.constantFrom<Value>(false, true, 0, 1, 2, 'a', 'ab', 'b', bytes(1), bytes(1, 2))
const condition: fc.Arbitrary<Condition> = fc.oneof(
  fc.tuple(fc.constantFrom('eq', 'neq'), valueOrNull),
  fc.tuple(fc.constantFrom('gt', 'gte', 'lt', 'lte'), scalar),
  fc.tuple(fc.constantFrom('in'), fc.array(valueOrNull, { maxLength: 3 })),
  fc.tuple(fc.constant('contains'), fc.oneof(scalar, value)),
)

type Tree = { all: Tree[] } | { any: Tree[] } | { none: Tree } | { path: string; test: Condition }

const tree: fc.Arbitrary<Tree> = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.record({ path: field, test: condition }),
    fc.record({ all: fc.array(tie('tree'), { maxLength: 3 }) }),
    fc.record({ any: fc.array(tie('tree'), { maxLength: 3 }) }),
    fc.record({ none: tie('tree') }),
  ),
})).tree

function toWhere(node: Tree): Where {
  if ('all' in node) return { $and: node.all.map(toWhere) }
  if ('any' in node) return { $or: node.any.map(toWhere) }
  if ('none' in node) return { $not: toWhere(node.none) }
  return { [node.path]: { [`$${node.test[0]}`]: node.test[1] } }
}

function toPredicate(node: Tree): PredicateNode {
  if ('all' in node) return { op: 'and', children: node.all.map(toPredicate) }
  if ('any' in node) return { op: 'or', children: node.any.map(toPredicate) }
  if ('none' in node) return { op: 'not', children: [toPredicate(node.none)] }
  return { op: node.test[0], attribute: node.path, value: node.test[1] }
}

function oracle(node: Tree, candidate: Record<string, Value>): boolean {
  if ('all' in node) return node.all.every((each) => oracle(each, candidate))
  if ('any' in node) return node.any.some((each) => oracle(each, candidate))
  if ('none' in node) return !oracle(node.none, candidate)
  let found: unknown = candidate
  for (const name of node.path.split('.')) {
    const isReadable = found?.constructor === Object && Object.keys(found).includes(name)
    found = isReadable ? (found as Record<string, unknown>)[name] : undefined
  }
  return holds(node.test, found as Value | undefined)
}

function holds([op, operand]: Condition, found: Value | undefined): boolean {
  const equals = (a: Value | undefined, b: Value): boolean => a !== undefined && valuesEqual(a, b)
  const sign = signOf(found, operand)
  switch (op) {
    case 'eq':
      return equals(found, operand)
    case 'neq':
      return !equals(found, operand)
    case 'gt':
      return sign === 1
    case 'gte':
      return sign === 1 || sign === 0
    case 'lt':
      return sign === -1
    case 'lte':
      return sign === -1 || sign === 0
    case 'in':
      return (operand as Value[]).some((each) => equals(found, each))
    default:
      if (typeof found === 'string') return typeof operand === 'string' && found.indexOf(operand) >= 0 // oxlint-disable-line unicorn/prefer-includes
      return Array.isArray(found) && found.some((each: Value) => equals(each, operand))
  }
}

function signOf(a: Value | undefined, b: Value): number | undefined {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b)
  if (typeof a !== typeof b || typeof a === 'object' || a === undefined) return undefined
  return a === b ? 0 : (a as number) > (b as number) ? 1 : -1
}

describe('against an oracle', () => {
  const inner = fc.oneof(
    valueOrNull,
    fc.dictionary(fc.constantFrom('x', 'y'), valueOrNull, { noNullPrototype: true }),
    scalar,
  )
  const candidate = fc.dictionary(fc.constantFrom('x', 'y', 'z'), inner, { noNullPrototype: true })

  it('[QY2] to [QY7] a where and a predicate select what the rules say', LAW, () => {
    fc.assert(
      fc.property(tree, candidate, (node, row) => {
        const expected = oracle(node, row)
        same(whereMatches(toWhere(node), row), expected)
        same(predicateMatches(toPredicate(node), row), expected)
      }),
      { numRuns: RUNS },
    )
  })

  it('[QY7] like matches what the same regular expression does', LAW, () => {
    const pattern = fc.string({ unit: fc.constantFrom('%', '_', 'a', 'B', '😀', '.'), maxLength: 40 })
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'A', '😀', '.'), maxLength: 40 })
    fc.assert(
      fc.property(pattern, text, (like, subject) => {
        const source = Array.from(like)
          .map((c) => (c === '%' ? '.*?' : c === '_' ? '.' : c === '.' ? '\\.' : c))
          .join('')
        const expected = new RegExp(`^${source.replaceAll(/(?:\.\*\?)+/g, '.*?')}$`, 'isu').test(subject)
        same(predicateMatches({ op: 'like', attribute: 'a', value: like }, { a: subject }), expected)
      }),
      { numRuns: RUNS / 4, interruptAfterTimeLimit: 20_000 },
    )
  })

  it('[QY1] whatever arrives as a query is compiled or refused, and never throws', LAW, () => {
    const junk = fc.oneof(
      fc.anything({ withDate: true, withMap: true, withBigInt: true, withNullPrototype: true, withSparseArray: true }),
      fc.dictionary(
        fc.constantFrom('x', '$and', '$or', '$not', '$in', '$gt', '$exists', 'op', 'children', 'attribute', 'value'),
        fc.anything(),
      ),
    )
    fc.assert(
      fc.property(junk, junk, anyValue, (where, predicate, row) => {
        const compiled = compileQuery({ where, predicate } as QuerySpec)
        if (compiled.ok) expect(compiled.value(row)).toBeTypeOf('boolean')
        else expect(compiled.error.code).toBe('BAD_QUERY')
      }),
      { numRuns: RUNS / 4 },
    )
  })
})
