import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LAW, RUNS } from '../../test/property.ts'
import { valuesEqual, type Value } from '../value/value.ts'
import { coverOf, type FieldBound } from './cover.ts'
import { compileQuery } from './evaluate.ts'
import { compareForOrder, orderRank } from './order.ts'
import { fieldReader, type PredicateNode, type QuerySpec, type Where } from './predicate.ts'

/** Equality is cheap, an open range dear, and field d has no index. */
const costOf = (bound: FieldBound): number =>
  bound.path === 'd' ? Infinity : 'equals' in bound ? 1 : bound.min !== undefined && bound.max !== undefined ? 5 : 10

const cover = (spec: QuerySpec): readonly FieldBound[] | undefined => coverOf(spec, costOf)

function meets(bound: FieldBound, value: Value): boolean {
  const field = fieldReader(bound.path)(value)
  if ('equals' in bound) return field !== undefined && valuesEqual(field, bound.equals)
  const { min, max } = bound
  if (orderRank(field) !== orderRank(min ?? max)) return false
  return (
    (min === undefined || compareForOrder(field, min) >= 0) && (max === undefined || compareForOrder(field, max) <= 0)
  )
}

describe('the cover of a query', () => {
  it.each<[string, QuerySpec, readonly FieldBound[] | undefined]>([
    ['no condition', {}, undefined],
    ['a value', { where: { a: 1 } }, [{ path: 'a', equals: 1 }]],
    ['the cheapest of several', { where: { a: { $gt: 1 }, b: 'x' } }, [{ path: 'b', equals: 'x' }]],
    [
      'a list',
      { where: { a: { $in: [1, 'x'] } } },
      [
        { path: 'a', equals: 1 },
        { path: 'a', equals: 'x' },
      ],
    ],
    ['an empty list', { where: { a: { $in: [] } } }, []],
    ['both ends of a range', { where: { a: { $gte: 1, $lt: 5 } } }, [{ path: 'a', min: 1, max: 5 }]],
    [
      'the narrowest range, wherever it is said',
      {
        where: { $and: [{ a: { $gt: 1 } }, { a: { $lt: 9 } }] },
        predicate: { op: 'between', attribute: 'a', value: [3, 20] },
      },
      [{ path: 'a', min: 3, max: 9 }],
    ],
    ['ranges of two types', { where: { a: { $gt: 1, $lt: 'x' } } }, []],
    [
      'alternatives',
      { where: { $or: [{ a: 1 }, { b: 2, c: { $ne: 3 } }] } },
      [
        { path: 'a', equals: 1 },
        { path: 'b', equals: 2 },
      ],
    ],
    ['an alternative that bounds nothing', { where: { $or: [{ a: 1 }, { b: { $ne: 2 } }] } }, undefined],
    ['what must not hold', { where: { $not: { a: 1 }, b: { $not: { $eq: 1 } } } }, undefined],
    ['a field without an index', { where: { d: 1 } }, undefined],
    [
      'a tree',
      {
        predicate: {
          op: 'and',
          children: [
            { op: 'like', attribute: 'b', value: '%' },
            { op: 'eq', attribute: 'a', value: 1 },
          ],
        },
      },
      [{ path: 'a', equals: 1 }],
    ],
  ])('is found for %s', (_, spec, expected) => {
    expect(cover(spec)).toEqual(expected)
  })

  it('every value that matches meets one of its bounds', LAW, () => {
    const scalar = fc.constantFrom<Value>(0, 1, 2, 3, 'a', 'b', true, null, [1])
    const ordered = fc.constantFrom<Value>(0, 1, 2, 3, 'a', 'b', true)
    const field = fc.constantFrom('a', 'b', 'c', 'd', 'a.b')
    const operators = fc.record(
      {
        $gt: ordered,
        $gte: ordered,
        $lt: ordered,
        $lte: ordered,
        $eq: scalar,
        $ne: scalar,
        $in: fc.array(scalar, { maxLength: 3 }),
      },
      { requiredKeys: [] },
    )
    const condition = fc.oneof(
      scalar,
      operators,
      fc.record({ $or: fc.array(operators, { minLength: 1, maxLength: 2 }) }),
      fc.record({ $not: operators }),
    )
    const where = fc.letrec<{ where: Where }>((tie) => ({
      where: fc.oneof(
        { maxDepth: 2, withCrossShrink: true },
        fc.dictionary(field, condition, { maxKeys: 3, noNullPrototype: true }) as fc.Arbitrary<Where>,
        fc.record({ $and: fc.array(tie('where'), { maxLength: 3 }) }) as fc.Arbitrary<Where>,
        fc.record({ $or: fc.array(tie('where'), { maxLength: 3 }) }) as fc.Arbitrary<Where>,
        fc.record({ $not: tie('where') }) as fc.Arbitrary<Where>,
      ),
    })).where
    const leaf = fc.oneof(
      fc.record({ op: fc.constantFrom('eq', 'neq'), attribute: field, value: scalar }),
      fc.record({ op: fc.constantFrom('gt', 'gte', 'lt', 'lte'), attribute: field, value: ordered }),
      fc.record({ op: fc.constant('between'), attribute: field, value: fc.tuple(ordered, ordered) }),
      fc.record({ op: fc.constant('isNull'), attribute: field }),
    )
    const predicate = fc.letrec<{ node: PredicateNode }>((tie) => ({
      node: fc.oneof(
        { maxDepth: 2, withCrossShrink: true },
        leaf as fc.Arbitrary<PredicateNode>,
        fc.record({ op: fc.constantFrom('and', 'or'), children: fc.array(tie('node'), { maxLength: 3 }) }),
        fc.record({ op: fc.constant('not'), children: fc.array(tie('node'), { maxLength: 1 }) }),
      ) as fc.Arbitrary<PredicateNode>,
    })).node
    const value = fc.dictionary(
      fc.constantFrom('a', 'b', 'c', 'd', 'a.b'),
      fc.oneof(scalar, fc.record({ b: scalar })),
      { noNullPrototype: true },
    ) as fc.Arbitrary<Value>
    fc.assert(
      fc.property(
        fc.record({ where, predicate }, { requiredKeys: [] }),
        fc.array(value, { maxLength: 8 }),
        (spec, values) => {
          const compiled = compileQuery(spec)
          if (!compiled.ok) return
          const bounds = cover(spec)
          if (bounds === undefined) return
          for (const each of values) {
            if (compiled.value(each)) expect(bounds.some((bound) => meets(bound, each))).toBe(true)
          }
        },
      ),
      { numRuns: RUNS },
    )
  })
})
