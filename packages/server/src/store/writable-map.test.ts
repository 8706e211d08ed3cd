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
        forgotten: fc.integer({ min: 0, max: 300 }),
        isDigestAsked: fc.boolean(),
      }),
      { maxLength: 8 },
    )
    fc.assert(
      fc.property(steps, (taken) => {
        const map = new WritableMap('todos')
        let seq = 0
        for (const { writes, keys, path, forgotten, isDigestAsked } of taken) {
          for (let i = 0; i < writes; i++) write(map, `key ${(Math.imul(++seq, 0x9e3779b1) >>> 0) % keys}`, seq)
          const doomed = [...map.entriesByKey.values()].filter((_, i) => i % 7 === 3).slice(0, forgotten)
          for (const entry of doomed) map.forget(entry)
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

  test('[SY9] tombstones are found in the order in which they came, as they are now', () => {
    const removed = (map: WritableMap, key: string, seq: number): void => {
      const record = wholeWrite(null, stampAt(seq))
      map.advance(map.entriesByKey.get(key) ?? map.blank(key, record, stampAt(seq)), record, seq, stampAt(seq))
    }
    const map = new WritableMap('todos')
    const found = (throughSeq: number, beforeMs: number, most = 10): string[] =>
      map.tombstones(throughSeq, beforeMs, most).map(({ key }) => key)
    for (const [i, key] of ['a', 'b', 'c', 'd'].entries()) removed(map, key, i + 1)
    write(map, 'b', 5)
    removed(map, 'a', 6)
    expect(found(6, 100)).toEqual(['c', 'd', 'a'])
    expect(found(5, 100)).toEqual(['c', 'd'])
    expect(found(6, 4)).toEqual(['c'])
    expect(found(6, 100, 2)).toEqual(['c', 'd'])
    expect(found(6, 100, 0)).toEqual([])
    for (const entry of map.tombstones(6, 100, 2)) map.forget(map.entriesByKey.get(entry.key) as never)
    expect(found(6, 100)).toEqual(['a'])
    const seqs: number[] = []
    map.log.since(0, ({ seq }) => seqs.push(seq) > 0)
    expect(seqs).toEqual([5, 6])
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

test('[KD5] the items of an OR-map are known by key as it is loaded, and its entries are never gone through at once', () => {
  const map = new WritableMap('tags', undefined, 'or')
  const walks = vi.spyOn(map.entriesByKey, 'values')
  for (let i = 1; i <= 3_000; i++) {
    const key = `${i}:0:n:k${i % 1_000}`
    map.restore({ key, record: wholeWrite(i, stampAt(i)), mapName: 'tags', seq: i, arrival: stampAt(i), version: 1 })
  }
  const record = wholeWrite('new', stampAt(4_000))
  map.advance(map.blank('4000:0:n:k7', record, stampAt(4_000)), record, 4_000, stampAt(4_000))
  const items = map.items()
  expect(items.size).toBe(1_000)
  expect(items.at('k7')?.entries.map(({ key }) => key)).toEqual(
    [7, 1_007, 2_007, 4_000].map((millis) => `${millis}:0:n:k7`),
  )
  const path = fnv1a('k7').toString(16).padStart(8, '0').slice(0, 3)
  expect([...items.leaf(path)].map(({ key }) => key)).toContain('k7')
  expect(walks).not.toHaveBeenCalled()
})
