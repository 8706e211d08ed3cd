import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BadBytes, fromTagged, needsTags, taggedName, toTagged } from './tagged.ts'

const name = fc.oneof(fc.string(), fc.constantFrom('$bytes', '$$bytes', '$$$bytes', 'bytes', '$'))
const { value: anyValue } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.string(),
    fc.uint8Array(),
    fc.array(tie('value')),
    fc.dictionary(name, tie('value'), { noNullPrototype: true }),
  ),
}))

describe('tagged values', () => {
  test('come back from JSON as they went in, bytes and what looks like them', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        const text = JSON.stringify(toTagged(value))
        expect(fromTagged(JSON.parse(text))).toEqual(value)
        if (typeof value === 'object' && value !== null && !needsTags(value)) expect(JSON.parse(text)).toEqual(value)
      }),
    )
  })

  test('show bytes as base64 with padding, and one more $ before the only name that looks like the tag', () => {
    expect(toTagged({ a: new Uint8Array([1, 2]), $bytes: 1 })).toEqual({ a: { $bytes: 'AQI=' }, $bytes: 1 })
    expect(toTagged([{ $bytes: 'AQI=' }, { $$bytes: 1 }])).toEqual([{ $$bytes: 'AQI=' }, { $$$bytes: 1 }])
    expect([taggedName('$bytes', true), taggedName('$bytes', false), taggedName('bytes', true)]).toEqual([
      '$$bytes',
      '$bytes',
      'bytes',
    ])
  })

  test('are asked for wherever they stand in a value, and only there', () => {
    expect(needsTags([{ a: [new Uint8Array(0)] }])).toBe(true)
    expect(needsTags({ a: { $$bytes: 1 } })).toBe(true)
    expect(needsTags({ bytes: '$bytes', $other: 1 })).toBe(false)
  })

  test('hold each bytes value in one text only', () => {
    for (const text of ['AQI', 'AQI= ', 'AQJ=', '!', 7, null, {}]) {
      expect(() => fromTagged({ $bytes: text })).toThrow(BadBytes)
    }
    const large = new Uint8Array(300_000).map((_, i) => i)
    expect(fromTagged(toTagged(large))).toEqual(large)
  })
})
