import { compareTags, itemKey } from '@syncline/core'
import { expect, test } from 'vitest'
import { ItemIndex, tagOf } from './item-index.ts'
import type { Entry } from './map-state.ts'
import { WritableMap } from './writable-map.ts'

const stamp = { millis: 1, counter: 0, nodeId: 'a' }

test('[KD5] the items of a key are in the order of their tags, however they come and go', () => {
  const map = new WritableMap('tags')
  const tags: string[] = []
  // One node id begins with another, and the next sign is less than the colon that ends the tag.
  for (const node of ['a', 'a0', 'ab', 'a-', 'z'])
    for (const counter of [0, 9, 10]) for (const millis of [9, 10, 1_700]) tags.push(`${millis}:${counter}:${node}`)
  const sorted = tags.toSorted(compareTags)
  const orders = [sorted, sorted.toReversed(), sorted.toSorted((a, b) => (a.length - b.length) * (a < b ? 1 : -1))]
  for (const order of orders) {
    const index = new ItemIndex(map)
    const shown = (): string[] | undefined => index.at('k')?.entries.map((entry) => tagOf(entry, 'k'))
    const entries = order.map((tag): Entry =>
      map.blank(itemKey(tag, 'k'), { value: 1, timestamp: stamp, base: stamp }, stamp),
    )
    for (const entry of entries) index.add(entry)
    expect(shown()).toEqual(sorted)
    for (const [i, entry] of entries.entries()) if (i % 3 === 0) index.remove(entry)
    expect(shown()).toEqual(order.filter((_, i) => i % 3 !== 0).toSorted(compareTags))
    for (const entry of entries) index.remove(entry)
    expect([shown(), index.size]).toEqual([undefined, 0])
  }
})
