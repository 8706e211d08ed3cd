import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { Postings, type Run } from './postings.ts'

/** What postings hold of a range of ids, in their order. */
function read(postings: Postings, from: number, to: number): [number, number][] {
  const run: Run = { places: new Int32Array(to - from), frequencies: new Int32Array(to - from) }
  const count = postings.read(from, to, run)
  return Array.from({ length: count }, (_, i) => [from + (run.places[i] as number), run.frequencies[i] as number])
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
      const added = [postings.addTo(sums, 0, at), postings.addTo(sums, at, 40_000), postings.addTo(sums, 0, 40_000)]
      expect(added).toEqual([expected.size - read(postings, at, 40_000).length, read(postings, at, 40_000).length, 0])
      for (const [id, frequency] of inOrder) expect(sums[id]).toBe(2 * frequency)
    }),
    { numRuns: 60 },
  )
})
