import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stamp, value, wholeValue } from '../../test/arbitraries.ts'
import { LAW, RUNS } from '../../test/property.ts'
import { compareStamps, type Stamp } from '../clock/hlc.ts'
import { formatStamp } from '../clock/stamp-text.ts'
import { fnv1a } from '../merkle/digest.ts'
import { itemsDigest } from '../merkle/item-digest.ts'
import { MerkleTrie } from '../merkle/trie.ts'
import type { Value } from '../value/value.ts'
import { mergeRecords, recordsEqual } from './merge.ts'
import { OrMap, compareTags, isTag, itemKey, mergeItems, parseItemKey, visibleItems } from './or-map.ts'
import { wholeWrite, type LwwRecord } from './record.ts'

/** Any state of an item: the record of an add or of a removal, under any stamps. */
const item: fc.Arbitrary<LwwRecord> = fc
  .record({ value: wholeValue, base: stamp, raised: stamp, ttlMs: fc.constantFrom(undefined, 1, 5) })
  .map(({ value, base, raised, ttlMs }) => {
    const whole = wholeWrite(value, base, ttlMs)
    return compareStamps(raised, base) > 0 ? { ...whole, timestamp: raised } : whole
  })

const merged = (...records: LwwRecord[]): LwwRecord => records.reduce(mergeItems)

describe('the merge of items', () => {
  it('[OR3] INV-10 is commutative, associative and idempotent', LAW, () => {
    fc.assert(
      fc.property(item, item, item, (a, b, c) => {
        expect(recordsEqual(merged(a, b), merged(b, a))).toBe(true)
        expect(recordsEqual(merged(merged(a, b), c), merged(a, merged(b, c)))).toBe(true)
        expect(mergeItems(a, a)).toBe(a)
        expect(mergeItems(merged(a, b), b)).toEqual(merged(a, b))
      }),
      { numRuns: RUNS },
    )
  })

  it('[OR3] what is removed stays removed, also under the plain merge with any add that it has met', LAW, () => {
    fc.assert(
      fc.property(item, item, item, (a, b, c) => {
        const all = merged(a, b, c)
        expect(all.value === null).toBe([a, b, c].some((each) => each.value === null))
        if (all.value !== null) return
        for (const each of [a, b, c]) expect(mergeRecords(each, all).value).toBe(null)
      }),
      { numRuns: RUNS },
    )
  })
})

type Op =
  | { readonly kind: 'add'; readonly key: string; readonly tag: string; readonly value: Value; readonly stamp: Stamp }
  | { readonly kind: 'remove'; readonly key: string; readonly tag: string; readonly stamp: Stamp }

const key = fc.constantFrom('k', 'k:2', '')
const tag = stamp.map(formatStamp)
// The value is that of the tag, as every add has a tag of its own.
const op: fc.Arbitrary<Op> = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), key, tag, stamp }).map((add) => ({ ...add, value: { of: add.tag } })),
  fc.record({ kind: fc.constant('remove' as const), key, tag, stamp }),
)

function apply(map: OrMap, ops: readonly Op[]): OrMap {
  for (const each of ops) {
    if (each.kind === 'add') map.add(each.key, each.tag, each.value, each.stamp)
    else map.remove(each.key, each.tag, each.stamp)
  }
  return map
}

const stateOf = (map: OrMap): unknown =>
  [...map.keys()].sort().map((each) => [each, [...map.items(each)].sort((a, b) => compareTags(a.tag, b.tag))])

describe('OrMap', () => {
  it('[OR4] INV-10 holds the same items whatever the order and number of adds and removals', LAW, () => {
    fc.assert(
      fc.property(fc.array(op, { maxLength: 12 }), fc.infiniteStream(fc.nat()), (ops, chance) => {
        const shuffled = [...ops, ...ops]
          .map((each) => ({ each, at: chance.next().value as number }))
          .sort((a, b) => a.at - b.at)
          .map(({ each }) => each)
        expect(stateOf(apply(new OrMap(), shuffled))).toEqual(stateOf(apply(new OrMap(), ops)))
      }),
      { numRuns: RUNS },
    )
  })

  it('[OR4] INV-10 holds the same items whichever replica merged which', LAW, () => {
    const merge = (into: OrMap, from: OrMap): OrMap => {
      for (const each of from.keys()) {
        for (const { tag: under, record } of from.items(each)) into.merge(each, under, record)
      }
      return into
    }
    const some = fc.array(op, { maxLength: 6 })
    fc.assert(
      fc.property(some, some, some, (a, b, c) => {
        const all = stateOf(apply(new OrMap(), [...a, ...b, ...c]))
        const [left, right] = [apply(new OrMap(), a), apply(new OrMap(), b)]
        expect(stateOf(merge(merge(left, right), apply(new OrMap(), c)))).toEqual(all)
        expect(stateOf(merge(merge(apply(new OrMap(), c), apply(new OrMap(), b)), apply(new OrMap(), a)))).toEqual(all)
      }),
      { numRuns: RUNS },
    )
  })

  it('[OR2] a removal takes what it has seen: what is added apart from it stays', () => {
    const map = new OrMap()
    const at = (millis: number, nodeId: string): Stamp => ({ millis, counter: 0, nodeId })
    map.add('tags', '1:0:a', { urgent: true }, at(1, 'a'))
    map.add('tags', '2:0:b', { urgent: true }, at(2, 'b'))
    expect(map.remove('tags', '1:0:a', at(3, 'a'))).toMatchObject({ changed: true })
    expect(map.values('tags', 10)).toEqual([{ urgent: true }])
    expect(map.values('others', 10)).toEqual([])
    expect(map.itemCount).toBe(2)
    // The add comes again, even later than the removal.
    expect(map.add('tags', '1:0:a', { urgent: true }, at(9, 'a')).record.value).toBe(null)
    expect(map.values('tags', 10)).toEqual([{ urgent: true }])
  })

  it('[OR5] values come in the order of their tags, without those whose time has passed', () => {
    const map = new OrMap()
    for (const millis of [10, 9, 100]) map.add('k', `${millis}:0:a`, millis, { millis, counter: 0, nodeId: 'a' })
    map.add('k', '5:0:a', 5, { millis: 5, counter: 0, nodeId: 'a' }, 50)
    expect(map.values('k', 55)).toEqual([5, 9, 10, 100])
    expect(map.values('k', 56)).toEqual([9, 10, 100])
    expect(visibleItems(map.items('k'), 56).map(({ tag: each }) => each)).toEqual(['9:0:a', '10:0:a', '100:0:a'])
  })
})

describe('item keys', () => {
  it('[OR1] are taken apart as they were put together, whatever the key holds', () => {
    fc.assert(
      fc.property(tag, fc.string({ minLength: 1 }), (under, of) => {
        expect(parseItemKey(itemKey(under, of))).toEqual({ tag: under, key: of })
      }),
      { numRuns: RUNS / 10 },
    )
  })

  it.each(['', 'k', '1:0:a', '1:0:a:', '1:0', 'x:0:a:k', '01:0:a:k', '1:65536:a:k', '1:-1:a:k', ':::k', '1::a:k'])(
    '[OR1] %j is none',
    (text) => {
      expect(parseItemKey(text)).toBeUndefined()
    },
  )

  it('[OR1] tags are ordered as the stamps that they are the text of', () => {
    const small = fc.constantFrom(0, 1, 9, 10, 11, 99, 100, 65_535)
    const any = fc.record({ millis: small, counter: small, nodeId: fc.constantFrom('', 'a', 'B', 'ab', '0', 'ü') })
    fc.assert(
      fc.property(any, any, (a, b) => {
        expect(Math.sign(compareTags(formatStamp(a), formatStamp(b)))).toBe(Math.sign(compareStamps(a, b)))
      }),
      { numRuns: RUNS },
    )
  })

  it('[OR1] a tag is the text of a stamp, and tags are ordered as stamps', () => {
    expect(['1:0:a', '0:0:', '1:65535:ü'].every(isTag)).toBe(true)
    expect(['', '1', '1:0', '1:0:a:b', '1.5:0:a', '-1:0:a', '1:0:a\0'].some(isTag)).toBe(false)
    expect(['10:0:a', '9:10:a', '9:9:a'].sort(compareTags)).toEqual(['9:9:a', '9:10:a', '10:0:a'])
  })
})

describe('the digest of a key of an OR-map', () => {
  const first = {
    tag: '1700000000000:0:a',
    record: wholeWrite('x', { millis: 1700000000000, counter: 0, nodeId: 'a' }),
  }
  const second = {
    tag: '1700000000001:0:b',
    record: wholeWrite({ b: 2, a: 1 }, { millis: 1700000000001, counter: 0, nodeId: 'b' }, 5000),
  }

  it('[MK6] V6 and V7 are what existing clients compute, and so is the root', () => {
    expect(itemsDigest('tags', [first])).toBe(4234210183)
    expect(itemsDigest('tags', [second, first])).toBe(3629463949)
    const trie = new MerkleTrie()
    trie.add(fnv1a('tags'), itemsDigest('tags', [first, second]), 0)
    expect(trie.rootHash()).toBe(1551747406)
  })

  it('[MK6] texts stand bare, and of maps inside of maps only names of the outermost one are seen', () => {
    const digestOf = (of: Value): number => itemsDigest('k', [{ ...first, record: wholeWrite(of, first.record.base) }])
    expect(digestOf({ a: { a: 1, b: 2 } })).toBe(digestOf({ a: { a: 1, c: 3 } }))
    expect(digestOf({ a: { a: 1 } })).not.toBe(digestOf({ a: { a: 2 } }))
    expect(digestOf('{"a":1}')).toBe(digestOf({ a: 1 }))
    expect(digestOf(true)).toBe(digestOf('true'))
  })

  it('[MK6] does not depend on the order in which items are given', () => {
    fc.assert(
      fc.property(fc.uniqueArray(tag, { maxLength: 6 }), value, (tags, of) => {
        const items = tags.map((each) => ({ tag: each, record: wholeWrite(of, first.record.base) }))
        expect(itemsDigest('k', items)).toBe(itemsDigest('k', items.toReversed()))
      }),
      { numRuns: RUNS / 10 },
    )
  })
})
