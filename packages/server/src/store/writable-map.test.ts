import { wholeWrite, type Stamp } from '@syncline/core'
import { fnv1a, isUnderPath, MerkleTrie, stampDigest, stateDigest } from '@syncline/core/merkle'
import * as fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { WritableMap } from './writable-map.ts'

const stampAt = (millis: number): Stamp => ({ millis, counter: 0, nodeId: 'n' })

/** What the trie of the map's present records is, made from nothing. */
function digestOf(map: WritableMap): string {
  const trie = new MerkleTrie()
  for (const { key, record } of map.entriesByKey.values()) {
    const keyHash = fnv1a(key)
    trie.add(keyHash, stampDigest(keyHash, record.timestamp), stateDigest(key, record))
  }
  return trie.digest()
}

function write(map: WritableMap, key: string, seq: number): void {
  const record = wholeWrite(`value ${seq}`, stampAt(seq))
  const entry = map.entriesByKey.get(key) ?? map.blank(key, record, stampAt(seq))
  map.advance(entry, record, seq, stampAt(seq))
}

describe('the digests of a map in memory', () => {
  test('[MK3] are those of its records, whenever they are asked for while it grows and changes', () => {
    const steps = fc.array(
      fc.record({
        writes: fc.integer({ min: 0, max: 700 }),
        keys: fc.integer({ min: 1, max: 2_500 }),
        path: fc.stringMatching(/^[0-9a-f]{0,4}$/),
        isDigestAsked: fc.boolean(),
      }),
      { maxLength: 8 },
    )
    fc.assert(
      fc.property(steps, (taken) => {
        const map = new WritableMap('todos')
        let seq = 0
        for (const { writes, keys, path, isDigestAsked } of taken) {
          for (let i = 0; i < writes; i++) write(map, `key ${(Math.imul(++seq, 0x9e3779b1) >>> 0) % keys}`, seq)
          if (isDigestAsked) expect(map.trie().digest()).toBe(digestOf(map))
          const expected = [...map.entriesByKey.values()].filter(({ keyHash }) => isUnderPath(keyHash, path))
          const found = map.under(path)
          expect(found.map(({ key }) => key)).toEqual(expected.map(({ key }) => key).toSorted())
          for (const { key, keyHash, record, stampLane, stateLane } of found) {
            expect([stampLane, stateLane]).toEqual([stampDigest(keyHash, record.timestamp), stateDigest(key, record)])
          }
        }
        expect(map.trie().digest()).toBe(digestOf(map))
      }),
      { numRuns: 60 },
    )
  })

  test('INV-22: are kept only where a map has many records: a trie weighs 48 kB, and there may be a map for every user', () => {
    const map = new WritableMap('todos')
    for (let seq = 1; seq < 1_000; seq++) write(map, `key ${seq}`, seq)
    expect(map.trie()).not.toBe(map.trie())
    write(map, 'one more', 1_000)
    expect(map.trie()).toBe(map.trie())
  })

  test('INV-22: a leaf costs what it holds, though the map has grown since it was asked for', () => {
    const map = new WritableMap('todos')
    for (let seq = 1; seq <= 5_000; seq++) write(map, `key ${seq}`, seq)
    map.under('000')
    const values = vi.spyOn(map.entriesByKey, 'values')
    const sort = vi.spyOn(Array.prototype, 'sort')
    write(map, 'one more', 5_001)
    map.under('000')
    const sorted = sort.mock.contexts.map((list) => (list as unknown[]).length)
    sort.mockRestore()
    expect(values).not.toHaveBeenCalled()
    expect(Math.max(...sorted)).toBeLessThan(50)
  })
})
