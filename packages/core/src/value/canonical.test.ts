import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { anyValue, value } from '../../test/arbitraries.ts'
import { LAW, RUNS, same } from '../../test/property.ts'
import { canonicalBytes } from './canonical.ts'
import { compareBytes, compareCanonical } from './compare.ts'
import { isMap, type Value } from './value.ts'

const hex = (any: Value): string => Buffer.from(canonicalBytes(any)).toString('hex')

describe('canonical bytes', () => {
  it.each<[Value, string]>([
    [null, '00'],
    [false, '01'],
    [true, '02'],
    [0, '030000000000000000'],
    [-0, '030000000000000000'],
    [1, '033ff0000000000000'],
    [-1.5, '03bff8000000000000'],
    ['', '0400000000'],
    ['aé', '040000000361c3a9'],
    ['😀', '0400000004f09f9880'],
    [new Uint8Array([1, 255]), '050000000201ff'],
    [[], '0600000000'],
    [[null, [true]], '060000000200060000000102'],
    [{}, '0700000000'],
    [{ b: 1, a: null }, '070000000200000001610000000001' + '62' + '033ff0000000000000'],
  ])('[CV2] %j is written as %s', (any, expected) => {
    expect(hex(any)).toBe(expected)
  })

  it('[CV2] names are in the order of code units, in which a pair of surrogates is before U+FF61', () => {
    expect(hex({ '\uff61': null, '😀': null, Z: null, a: null })).toBe(
      '0700000004' + '000000015a00' + '000000016100' + '00000004f09f988000' + '00000003efbda100',
    )
  })

  it('[CV2] long text and many members do not disturb what was written before', () => {
    const long = 'é'.repeat(5_000)
    const bytes = canonicalBytes([long, long, new Uint8Array(9_000).fill(7)])
    expect(bytes.length).toBe(5 + 2 * (5 + 10_000) + 5 + 9_000)
    expect(Buffer.from(bytes.subarray(10, 10_010)).toString()).toBe(long)
    expect(Buffer.from(bytes.subarray(10_015, 20_015)).toString()).toBe(long)
    expect(bytes.subarray(-9_000).every((byte) => byte === 7)).toBe(true)
  })

  it('[CV3] a value can be read back from its bytes, so no two values share them', LAW, () => {
    fc.assert(
      fc.property(anyValue, (any) => {
        const bytes = canonicalBytes(any)
        const [read, end] = readBack(Buffer.from(bytes), 0)
        same(end, bytes.length)
        expect(read).toEqual(any)
      }),
      { numRuns: RUNS / 4 },
    )
  })

  it('[CV3] the order in which fields were written does not count', LAW, () => {
    const reversed = (any: Value): Value =>
      Array.isArray(any)
        ? any.map(reversed)
        : isMap(any)
          ? Object.fromEntries(
              Object.entries(any)
                .reverse()
                .map(([name, item]) => [name, reversed(item)]),
            )
          : any
    fc.assert(
      fc.property(anyValue, (any) => {
        same(hex(reversed(any)), hex(any))
      }),
      { numRuns: RUNS / 4 },
    )
  })

  it('[CV4] the canonical order is that of the bytes as unsigned numbers', LAW, () => {
    // Values that differ late, or only in the order that their bytes have and their parts have not.
    const text = fc.array(fc.constantFrom('a', 'b', '\u00e9', '\ue000', '\uffee', '\u{10000}', '\u{1f600}'), {
      maxLength: 4,
    })
    const close = fc.oneof(
      text.map((units) => units.join('')),
      fc.constantFrom<Value>(0, 1, 2, -1, -2, 0.5, -0.5, 1e308, -1e308, 5e-324, -5e-324, true, false, null),
      fc.uint8Array({ maxLength: 2, max: 2 }),
    )
    const nested = fc.oneof(
      close,
      fc.array(close, { maxLength: 2 }),
      fc.dictionary(text.map(String), close, { maxKeys: 2 }),
    )
    const either = fc.oneof(value, anyValue, nested, nested, nested)
    fc.assert(
      fc.property(either, either, (a, b) => {
        const expected = Buffer.compare(canonicalBytes(a), canonicalBytes(b))
        same(Math.sign(compareCanonical(a, b)), expected)
        same(Math.sign(compareBytes(canonicalBytes(a), canonicalBytes(b))), expected)
      }),
      { numRuns: RUNS / 2 },
    )
  })
})

/** A reader of canonical bytes, written from SPEC [CV2] alone. */
function readBack(bytes: Buffer, at: number): [value: Value, end: number] {
  const count = (): number => bytes.readUInt32BE(at + 1)
  switch (bytes[at]) {
    case 0:
      return [null, at + 1]
    case 1:
      return [false, at + 1]
    case 2:
      return [true, at + 1]
    case 3:
      return [bytes.readDoubleBE(at + 1), at + 9]
    case 4:
      return [bytes.toString('utf8', at + 5, at + 5 + count()), at + 5 + count()]
    case 5:
      return [new Uint8Array(bytes.subarray(at + 5, at + 5 + count())), at + 5 + count()]
    case 6: {
      const items: Value[] = []
      let end = at + 5
      for (let left = count(); left > 0; left--) {
        const [item, next] = readBack(bytes, end)
        items.push(item)
        end = next
      }
      return [items, end]
    }
    case 7: {
      const map: Record<string, Value> = {}
      let end = at + 5
      for (let left = count(); left > 0; left--) {
        const length = bytes.readUInt32BE(end)
        const [item, next] = readBack(bytes, end + 4 + length)
        map[bytes.toString('utf8', end + 4, end + 4 + length)] = item
        end = next
      }
      return [map, end]
    }
    default:
      throw new Error(`no tag at ${at}`)
  }
}
