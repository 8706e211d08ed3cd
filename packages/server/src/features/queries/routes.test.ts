import { compileWhere, coverOf, type FieldBound, type Value, type Where } from '@syncline/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RangeList, type Range } from './range-list.ts'
import { Routes } from './routes.ts'

const scalar = fc.oneof(fc.integer({ min: -3, max: 9 }), fc.constantFrom<Value>('a', 'b', 'bb', true, null))
const ordered = fc.oneof(fc.integer({ min: -3, max: 9 }), fc.constantFrom('a', 'b', 'bb'))

describe('routes', () => {
  test('INV-15: everything that a value matches is found by it, whatever came and went before', () => {
    const where = fc.oneof(
      fc.record({ a: scalar }),
      fc.record(
        { a: fc.record({ $gte: ordered, $lt: ordered }, { requiredKeys: [] }), b: scalar },
        { requiredKeys: ['a'] },
      ),
      fc.record({ $or: fc.array(fc.oneof(fc.record({ a: scalar }), fc.record({ 'c.d': scalar })), { maxLength: 3 }) }),
      fc.record({ 'c.d': fc.record({ $in: fc.array(scalar, { maxLength: 3 }) }) }),
      ...Array.from('efghijklm', (name) => fc.record({ [name]: scalar })),
    ) as fc.Arbitrary<Where>
    const value = fc.record(
      { a: scalar, b: scalar, c: fc.record({ d: scalar }), 'c.d': scalar, e: scalar, k: scalar },
      { requiredKeys: [] },
    ) as fc.Arbitrary<Value>
    const step = fc.oneof(
      fc.record({ add: where }),
      fc.record({ remove: fc.nat() }),
      fc.record({ visit: value }),
    ) as fc.Arbitrary<{ add?: Where; remove?: number; visit?: Value }>
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => {
        const routes = new Routes<{ where: Where }>()
        const items: { where: Where }[] = []
        for (const { add, remove, visit } of steps) {
          if (add !== undefined) {
            const item = { where: add }
            items.push(item)
            routes.add(
              item,
              coverOf(item, () => 1),
            )
          }
          if (remove !== undefined && items.length > 0) routes.remove(items.splice(remove % items.length, 1)[0]!)
          if (visit === undefined) continue
          const found = new Set(routes.unbounded)
          routes.visit(visit, (item) => void found.add(item))
          for (const item of items) {
            const compiled = compileWhere(item.where)
            if (compiled.ok && compiled.value(visit)) expect(found).toContain(item)
          }
          for (const item of found) expect(items).toContain(item)
        }
        for (const item of items) routes.remove(item)
        expect(routes.hasBounded).toBe(false)
        expect(routes.unbounded.size).toBe(0)
      }),
      { numRuns: 300 },
    )
  })

  test('a value visits only what it may concern, among many', () => {
    const routes = new Routes<number>()
    for (let i = 0; i < 10_000; i++) {
      const bound: FieldBound = i % 2 === 0 ? { path: 'a', equals: i } : { path: 'a', min: i, max: i }
      routes.add(i, [bound])
    }
    const visited: number[] = []
    routes.visit({ a: 5_000, b: 5_001 }, (item) => visited.push(item))
    routes.visit({ a: 5_001 }, (item) => visited.push(item))
    expect(visited).toEqual([5_000, 5_001])
  })
})

test('a list of ranges finds those that hold a value, whatever was added and removed', () => {
  const range = fc.record({ min: ordered, max: ordered }, { requiredKeys: [] }) as fc.Arbitrary<Range>
  fc.assert(
    fc.property(
      fc.array(range, { maxLength: 400 }),
      fc.array(fc.nat(), { maxLength: 100 }),
      ordered,
      (all, gone, value) => {
        const list = new RangeList<Range>()
        const ranges = all.filter(
          ({ min, max }) => typeof (min ?? max) === typeof value && typeof (max ?? min) === typeof value,
        )
        for (const each of ranges) list.add(each, each)
        for (const at of gone) {
          if (ranges.length === 0) break
          const [removed] = ranges.splice(at % ranges.length, 1)
          list.remove(removed!, removed!)
        }
        const found: Range[] = []
        list.visit(value, (each) => found.push(each))
        const holds = ({ min = value, max = value }: Range): boolean =>
          (min as number) <= (value as number) && (value as number) <= (max as number)
        expect(new Set(found)).toEqual(new Set(ranges.filter(holds)))
        expect(found.length).toBe(ranges.filter(holds).length)
      },
    ),
    { numRuns: 300 },
  )
})
