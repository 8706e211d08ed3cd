import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { frequencyOf, idOf, Postings } from './postings.ts'

/** What postings hold of a range of ids, in their order. */
function read(postings: Postings, from: number, to: number): [number, number][] {
  const found: [number, number][] = []
  for (const { block, start, end } of postings.spans(from, to)) {
    for (const posting of block.slice(start, end)) found.push([idOf(posting), frequencyOf(posting, idOf(posting))])
  }
  return found
}

test('postings are those of a map in the order of ids, whatever comes and goes', () => {
  const run = fc.record({
    from: fc.nat(20_000),
    count: fc.nat(5_000),
    stride: fc.integer({ min: 1, max: 3 }),
    frequency: fc.constantFrom(0, 1, 2, 70_000),
  })
  fc.assert(
    fc.property(fc.array(run, { maxLength: 8 }), fc.nat(30_000), fc.nat(9_000), (runs, at, length) => {
      const postings = new Postings()
      const expected = new Map<number, number>()
      for (const { from, count, stride, frequency } of runs) {
        for (let i = 0, id = from; i < count; i++, id += stride) {
          if (frequency === 0) {
            postings.delete(id)
            expected.delete(id)
          } else {
            postings.set(id, frequency)
            expected.set(id, frequency)
          }
        }
      }
      const inOrder = [...expected].toSorted(([a], [b]) => a - b)
      expect(postings.size).toBe(expected.size)
      expect(read(postings, 0, 100_000)).toEqual(inOrder)
      expect(read(postings, at, at + length)).toEqual(inOrder.filter(([id]) => id >= at && id < at + length))
      for (let id = at; id < at + 100; id++) expect(postings.get(id)).toBe(expected.get(id))
      const sums = new Uint32Array(40_000)
      postings.addTo(sums)
      for (const [id, frequency] of inOrder) expect(sums[id]).toBe(frequency)
    }),
    { numRuns: 60 },
  )
})
