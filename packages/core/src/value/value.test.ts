import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { anyValue, value } from '../../test/arbitraries.ts'
import { LAW, RUNS, same } from '../../test/property.ts'
import { canonicalBytes } from './canonical.ts'
import { MAX_VALUE_DEPTH, copyValue, isFieldName, measureValue, utf8Length, valuesEqual } from './value.ts'

/** `leaf` inside so many arrays. */
function nested(depth: number, leaf: unknown = 1): unknown {
  let whole = leaf
  for (let i = 0; i < depth; i++) whole = [whole]
  return whole
}

function nestedMaps(depth: number): unknown {
  let whole: unknown = 1
  for (let i = 0; i < depth; i++) whole = { a: whole }
  return whole
}

class Point {
  x = 1
}

const cycle: { self?: unknown; again?: unknown } = {}
cycle.self = cycle
cycle.again = cycle
const ring: unknown[] = []
ring.push(ring, ring)

const bad: [string, unknown, string][] = [
  ['undefined', undefined, 'BAD_VALUE'],
  ['NaN', Number.NaN, 'BAD_VALUE'],
  ['infinity', { a: [Number.NEGATIVE_INFINITY] }, 'BAD_VALUE'],
  ['a bigint', 1n, 'BAD_VALUE'],
  ['a symbol', Symbol('s'), 'BAD_VALUE'],
  ['a function', () => 1, 'BAD_VALUE'],
  ['a function in a map', { run: () => 1 }, 'BAD_VALUE'],
  ['a date', new Date(0), 'BAD_VALUE'],
  ['a class instance', { at: new Point() }, 'BAD_VALUE'],
  ['a Map', new Map([['a', 1]]), 'BAD_VALUE'],
  ['a boxed string', Object('a'), 'BAD_VALUE'],
  ['an object that inherits fields', Object.create({ a: 1 }), 'BAD_VALUE'],
  ['an array buffer', new ArrayBuffer(1), 'BAD_VALUE'],
  ['another typed array', new Uint16Array(1), 'BAD_VALUE'],
  ['a lone high surrogate', 'a\ud800', 'BAD_VALUE'],
  ['a lone high surrogate before a letter', '\ud800a', 'BAD_VALUE'],
  ['a lone low surrogate', '\udc00', 'BAD_VALUE'],
  ['U+0000', 'a\u0000', 'BAD_VALUE'],
  ['a hole in an array', [1, , 3], 'BAD_VALUE'], // oxlint-disable-line no-sparse-arrays
  ['a huge array of holes', new Array(4_000_000_000), 'BAD_VALUE'], // oxlint-disable-line unicorn/no-new-array
  ['undefined in an array', [undefined], 'BAD_VALUE'],
  ['an own __proto__', JSON.parse('{"__proto__": 1}'), 'BAD_KEY'],
  ['an own constructor', JSON.parse('{"a": {"constructor": 1}}'), 'BAD_KEY'],
  ['an own prototype', { prototype: null }, 'BAD_KEY'],
  ['a name with a lone surrogate', { '\ud800': 1 }, 'BAD_KEY'],
  ['a name with U+0000', { '\u0000': 1 }, 'BAD_KEY'],
  ['too deep arrays', nested(MAX_VALUE_DEPTH + 1), 'TOO_DEEP'],
  ['too deep maps', nestedMaps(MAX_VALUE_DEPTH + 1), 'TOO_DEEP'],
  ['a too deep empty array', nested(MAX_VALUE_DEPTH, []), 'TOO_DEEP'],
  ['a map that contains itself twice', cycle, 'TOO_DEEP'],
  ['an array that contains itself twice', ring, 'TOO_DEEP'],
]

describe('what a record can hold', () => {
  it.each(bad)('[CV1] %s is refused when copied', (_, raw, fault) => {
    expect(copyValue(raw)).toEqual({ fault })
  })

  it.each(bad)('[CV1] %s is refused when measured', (_, raw, fault) => {
    expect(measureValue(raw)).toBe(fault)
  })

  it('[CV1] nesting 32 deep is allowed, and bytes and scalars have no depth', () => {
    for (const deepest of [
      nested(MAX_VALUE_DEPTH),
      nestedMaps(MAX_VALUE_DEPTH),
      nested(MAX_VALUE_DEPTH, new Uint8Array(1)),
    ]) {
      expect(copyValue(deepest)).toEqual({ value: deepest })
      expect(typeof measureValue(deepest)).toBe('number')
    }
  })

  it('[CV1] the empty name, names of digits and names of methods are names', () => {
    const odd = { '': 1, 7: 2, toString: 3, hasOwnProperty: 4 }
    expect(copyValue(odd)).toEqual({ value: odd })
    expect(isFieldName('')).toBe(true)
    expect(isFieldName('toString')).toBe(true)
    expect(isFieldName('constructor')).toBe(false)
    expect(isFieldName('\udc00')).toBe(false)
  })

  it('[CV1] undefined members of maps are left out and minus zero becomes zero', () => {
    const copy = copyValue({ a: undefined, b: -0, c: [-0, { d: -0 }] })
    expect(copy).toStrictEqual({ value: { b: 0, c: [0, { d: 0 }] } })
    expect(copyValue(-0)).toStrictEqual({ value: 0 })
    const owned = { b: -0, c: [-0, { d: -0 }] }
    measureValue(owned)
    expect(owned).toStrictEqual({ b: 0, c: [0, { d: 0 }] })
  })

  it('[CV1] a frozen value with zeros can be measured', () => {
    expect(measureValue(Object.freeze({ a: Object.freeze([0]) }))).toBeTypeOf('number')
  })

  it('[CV1] a copy shares nothing with what it was made from', () => {
    const bytes = new Uint8Array([1])
    const original = { list: [{ a: 1 }], bytes, buffer: Buffer.from([7]) }
    const copy = copyValue(original)
    original.list[0]!.a = 2
    bytes[0] = 9
    expect(copy).toEqual({ value: { list: [{ a: 1 }], bytes: new Uint8Array([1]), buffer: new Uint8Array([7]) } })
    expect('value' in copy && (copy.value as { buffer: unknown }).buffer).not.toBeInstanceOf(Buffer)
  })

  it('[CV1] a getter is read once and its value kept', () => {
    let reads = 0
    const sly = {
      get a(): unknown {
        return reads++ === 0 ? 1 : new Date(0)
      },
    }
    expect(copyValue(sly)).toStrictEqual({ value: { a: 1 } })
    expect(reads).toBe(1)
  })

  it('[CV1] an array of a subclass, a map without prototype and one of another realm become plain', () => {
    class List extends Array<unknown> {}
    const copy = copyValue(List.from([1]))
    expect('value' in copy && Object.getPrototypeOf(copy.value)).toBe(Array.prototype)
    expect(copyValue(Object.assign(Object.create(null), { a: 1 }))).toStrictEqual({ value: { a: 1 } })
    const elsewhere = Object.create(Object.assign(Object.create(null), { toString: () => '' })) as Record<
      string,
      unknown
    >
    elsewhere['a'] = 1
    expect(copyValue(elsewhere)).toStrictEqual({ value: { a: 1 } })
  })

  it('[CV2] the size of a value is the length of its canonical bytes', LAW, () => {
    fc.assert(
      fc.property(anyValue, (any) => {
        same(measureValue(any), canonicalBytes(any).length)
        expect(copyValue(any)).toEqual({ value: any })
      }),
      { numRuns: RUNS / 4 },
    )
  })

  it('[CV2] the length of text is that of its UTF-8', LAW, () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        same(utf8Length(text), text.includes('\u0000') ? -1 : new TextEncoder().encode(text).length)
      }),
      { numRuns: RUNS / 4 },
    )
  })

  it('[CV3] values are equal exactly if their canonical bytes are', LAW, () => {
    const either = fc.oneof(value, anyValue)
    fc.assert(
      fc.property(either, either, (a, b) => {
        same(valuesEqual(a, b), Buffer.compare(canonicalBytes(a), canonicalBytes(b)) === 0)
        same(valuesEqual(a, structuredClone(a)), true)
      }),
      { numRuns: RUNS / 2 },
    )
    expect(valuesEqual({ a: 1, b: 2 }, { b: 2, a: 1 })).toBe(true)
    expect(valuesEqual({ a: 1 }, { b: 1 })).toBe(false)
    expect(valuesEqual({ toString: 1 }, { b: 1 })).toBe(false)
    expect(valuesEqual(undefined, null)).toBe(false)
  })
})
