import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LAW, RUNS } from '../../test/property.ts'
import type { Stamp } from '../clock/hlc.ts'
import { fmix32, fnv1a, stampDigest } from './digest.ts'
import { MerkleTrie, childrenBelowLeaf, isTriePath, isUnderPath, type TrieEntry } from './trie.ts'

type Item = readonly [key: string, millis: number, counter: number, nodeId: string]

const V1: Item[] = [['t1', 1706000000000, 1, 'client-1']]
const V2: Item[] = [...V1, ['t2', 1706000000500, 0, 'client-2']]
const V3: Item[] = [
  ['user:1', 1678900000000, 0, 'client-1'],
  ['user:2', 1678900000000, 1, 'client-1'],
  ['user:3', 1678900000001, 0, 'node-b'],
]
const V4: Item[] = [
  ['ключ', 1, 2, 'n'],
  ['😀', 3, 4, 'm'],
]
const V5: Item[] = Array.from({ length: 100 }, (_, i) => [`key-${i}`, 1700000000000 + i, i % 3, `node-${i % 4}`])

const itemDigest = ([key, millis, counter, nodeId]: Item): number =>
  stampDigest(fnv1a(key), { millis, counter, nodeId } satisfies Stamp)

function trieOf(items: readonly Item[]): MerkleTrie {
  const trie = new MerkleTrie()
  for (const item of items) trie.add(fnv1a(item[0]), itemDigest(item), 0)
  return trie
}

const lane0 = (children: Record<string, { stamps: number }>): Record<string, number> =>
  Object.fromEntries(Object.entries(children).map(([digit, node]) => [digit, node.stamps]))

/** The plain sum that older clients compute, of the items whose path begins so. */
const plainSum = (items: readonly Item[], path = ''): number =>
  items
    .filter((item) => fnv1a(item[0]).toString(16).padStart(8, '0').startsWith(path))
    .reduce((sum, item) => (sum + itemDigest(item)) >>> 0, 0)

describe('vectors of existing clients', () => {
  it.each([
    ['V1', V1, 2999742890, 627195050],
    ['V2', V2, 3580043486, 3333465492],
    ['V3', V3, 1510978198, 2241810790],
    ['V4', V4, 3215631832, 1797215653],
    ['V5', V5, 2140201363, 499161845],
  ])('[MK2] %s: the plain sum proves the items, the mixed one is the root hash', (_, items, plain, mixed) => {
    expect(plainSum(items)).toBe(plain)
    const trie = trieOf(items)
    expect(trie.rootHash()).toBe(mixed)
    expect(trie.node('').stamps).toBe(mixed)
    expect(trie.digest()).toBe(`${mixed.toString(16).padStart(8, '0')}00000000`)
  })

  it('[MK2] V2 to V5 in every level', () => {
    const trie = trieOf(V2)
    expect(lane0(trie.children(''))).toEqual({ 0: 273111667 })
    expect(lane0(trie.children('0'))).toEqual({ 7: 754532552, 8: 1157703966 })
    expect(lane0(trie.children('08'))).toEqual({ 4: 1409898598 })
    expect(lane0(trie.children('07'))).toEqual({ 4: fmix32(itemDigest(V2[1]!)) })
    expect(plainSum(V2, '0')).toBe(3580043486)
    expect(Object.keys(trieOf(V3).children(''))).toEqual(['6'])
    expect(Object.keys(trieOf(V4).children(''))).toEqual(['3', 'c'])
    expect(plainSum(V4, '3')).toBe(3447684916)
    expect(plainSum(V4, 'c')).toBe(4062914212)
    expect(Object.keys(trieOf(V5).children('')).sort()).toEqual(['3', '4', '5', '6', 'c', 'd'])
  })

  it('[MK1] [MK2] V6 and V7, whose items are sets of tagged values', () => {
    const v6 = fnv1a('key:tags|1700000000000:0:a:x:1700000000000:0:a')
    expect(v6).toBe(4234210183)
    const v7 = fnv1a(
      'key:tags|1700000000000:0:a:x:1700000000000:0:a|1700000000001:0:b:{"a":1,"b":2}:1700000000001:0:b:ttl=5000',
    )
    expect(v7).toBe(3629463949)
    const trie = new MerkleTrie()
    trie.add(fnv1a('tags'), v7, 0)
    expect(trie.rootHash()).toBe(1551747406)
  })
})

describe('the trie', () => {
  // Few leaves, so that records share them.
  const keyHash = fc.oneof(
    fc.constantFrom(0, 0xffffffff, 0x00100000, 0x001fffff, 0x80000000),
    fc.nat({ max: 0xffffffff }),
  )
  const uint32 = fc.oneof(fc.constantFrom(0, 1, 0xffffffff), fc.nat({ max: 0xffffffff }))
  const entry: fc.Arbitrary<TrieEntry> = fc.record({ keyHash, stamps: uint32, state: uint32 })

  function rebuilt(entries: readonly TrieEntry[]): MerkleTrie {
    const trie = new MerkleTrie()
    for (const { keyHash: hash, stamps, state } of entries) trie.add(hash, stamps, state)
    return trie
  }

  /** The definition: a node from the entries alone. */
  function nodeOf(entries: readonly TrieEntry[], path: string, lane: 'stamps' | 'state'): number {
    const own = entries.filter((each) => each.keyHash.toString(16).padStart(8, '0').startsWith(path))
    const parts =
      path.length >= 3
        ? own.map((each) => each[lane])
        : Array.from('0123456789abcdef').map((digit) => nodeOf(own, path + digit, lane))
    return parts.reduce((sum, part) => (sum + fmix32(part)) >>> 0, 0)
  }

  it('[MK2] both lanes of every node are what the definition says', LAW, () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 6 }), (entries) => {
        const trie = rebuilt(entries)
        const walk = (path: string): void => {
          const node = { stamps: nodeOf(entries, path, 'stamps'), state: nodeOf(entries, path, 'state') }
          expect(trie.node(path)).toEqual(node)
          const children = trie.children(path)
          const own = entries.filter((each) => isUnderPath(each.keyHash, path))
          const digits = own.map((each) => each.keyHash.toString(16).padStart(8, '0').charAt(path.length))
          expect(Object.keys(children).sort()).toEqual(path.length === 3 ? [] : [...new Set(digits)].sort())
          for (const [digit, child] of Object.entries(children)) {
            expect(child).toEqual(trie.node(path + digit))
            walk(path + digit)
          }
        }
        walk('')
      }),
      { numRuns: RUNS / 100 },
    )
  })

  it('[MK2] adding and removing leaves what a rebuilt trie holds, in any order', LAW, () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 8 }), fc.array(entry, { maxLength: 8 }), (stay, leave) => {
        const trie = rebuilt([...leave, ...stay])
        for (const { keyHash: hash, stamps, state } of leave) trie.remove(hash, stamps, state)
        const expected = rebuilt([...stay].reverse())
        expect(trie.digest()).toBe(expected.digest())
        expect(trie.children('')).toEqual(expected.children(''))
        if (stay.length === 0) expect(trie.digest()).toBe('0000000000000000')
      }),
      { numRuns: RUNS / 20 },
    )
  })

  it('[MK2] a record whose digests are 0 still shows in the children', () => {
    const trie = rebuilt([{ keyHash: 0x12345678, stamps: 0, state: 0 }])
    expect(trie.children('')).toEqual({ 1: { stamps: 0, state: 0 } })
    expect(trie.children('12')).toEqual({ 3: { stamps: 0, state: 0 } })
  })

  it('[MK5] nodes below the leaves come from their records', () => {
    const entries: TrieEntry[] = [
      { keyHash: 0xabc12345, stamps: 1, state: 2 },
      { keyHash: 0xabc1f345, stamps: 0xffffffff, state: 3 },
      { keyHash: 0xabcf0000, stamps: 4, state: 5 },
      { keyHash: 0xabd00000, stamps: 6, state: 7 },
    ]
    const add = (a: number, b: number): number => (fmix32(a) + fmix32(b)) >>> 0
    expect(childrenBelowLeaf('abc', entries)).toEqual({
      1: { stamps: add(1, 0xffffffff), state: add(2, 3) },
      f: { stamps: fmix32(4), state: fmix32(5) },
    })
    expect(childrenBelowLeaf('abc1', entries)).toEqual({
      2: { stamps: fmix32(1), state: fmix32(2) },
      f: { stamps: fmix32(0xffffffff), state: fmix32(3) },
    })
    expect(Object.keys(childrenBelowLeaf('abc1234', entries))).toEqual(['5'])
    expect(() => rebuilt(entries).node('abc1')).toThrow('below its leaves')
  })

  it('[MK1] paths are up to 8 lower-case hexadecimal digits of a key hash', () => {
    for (const path of ['', '0', 'abc', '0123cdef']) expect(isTriePath(path)).toBe(true)
    for (const path of ['A', 'g', '012345678', ' ', '0x', 'é']) expect(isTriePath(path)).toBe(false)
    for (const hash of [0, 0xffffffff, 0x0442a7f3, 0x80000000]) {
      const digits = hash.toString(16).padStart(8, '0')
      for (let length = 0; length <= 8; length++) {
        expect(isUnderPath(hash, digits.slice(0, length))).toBe(true)
        if (length > 0) expect(isUnderPath(hash ^ 0x80000000, digits.slice(0, length))).toBe(false)
      }
    }
  })
})
