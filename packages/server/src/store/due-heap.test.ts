import { wholeWrite } from '@syncline/core'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { DueHeap } from './due-heap.ts'
import { WritableMap, type WritableEntry } from './writable-map.ts'

const stamp = { millis: 1, counter: 0, nodeId: 'n' }
const map = new WritableMap('m')
const entries = Array.from({ length: 20 }, (_, i) => map.blank(`k${i}`, wholeWrite(i, stamp), stamp))

test('gives each entry at its earliest time, in order, and once', () => {
  const step = fc.oneof(
    fc.record({ at: fc.integer({ min: 0, max: 19 }), dueMs: fc.integer({ min: 0, max: 100 }) }),
    fc.record({ beforeMs: fc.integer({ min: 0, max: 110 }) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const heap = new DueHeap<WritableEntry>()
      const model = new Map<WritableEntry, number>()
      for (const taken of steps) {
        if ('at' in taken) {
          const entry = entries[taken.at] as WritableEntry
          heap.add(entry, taken.dueMs)
          model.set(entry, Math.min(taken.dueMs, model.get(entry) ?? Infinity))
        } else {
          const first = Math.min(...model.values())
          const entry = heap.take(taken.beforeMs)
          if (first >= taken.beforeMs) expect(entry).toBeUndefined()
          else {
            expect(model.get(entry as WritableEntry)).toBe(first)
            model.delete(entry as WritableEntry)
          }
        }
        expect(heap.size).toBe(model.size)
      }
    }),
    { numRuns: 300 },
  )
})

test('INV-22: an entry that is due sooner again and again does not make it grow', () => {
  const heap = new DueHeap<WritableEntry>()
  const [entry] = entries as [WritableEntry]
  const before = process.memoryUsage().heapUsed
  for (let dueMs = 3_000_000; dueMs > 0; dueMs--) heap.add(entry, dueMs)
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(60_000_000)
  expect(heap.take(Infinity)).toBe(entry)
  expect(heap.take(Infinity)).toBeUndefined()
})
