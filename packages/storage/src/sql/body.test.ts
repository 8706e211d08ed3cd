import type { Value } from '@syncline/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { packRecords } from '../sqlite/pack-batch.ts'
import { unpackRecords, type PackedRecords } from '../sqlite/batch-layout.ts'
import { LARGE_VALUES, SAMPLE_RECORDS, SAMPLE_TEXTS, SAMPLE_VALUES, storedRecord } from '../testing/samples.ts'
import { parseRecord, parseValue, writeValue } from './body.ts'
import { JsonWriter } from './json-writer.ts'

const writer = new JsonWriter()

function textOf(write: (writer: JsonWriter) => void): string {
  writer.reset()
  write(writer)
  const text = Buffer.from(writer.bytes()).toString()
  expect(writer.isAscii).toBe(writer.length === text.length)
  return text
}

const jsonOf = (value: Value): string => textOf((to) => writeValue(to, value))

const text = fc.string({ unit: 'binary' }).map((any) => any.replaceAll('\0', '0'))
const name = fc.oneof(text, fc.constantFrom('$bytes', '$$bytes', '$', '2')).filter((any) => any !== '__proto__')
const { value: anyValue } = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => number || 0),
    fc.maxSafeInteger(),
    text,
    fc.uint8Array().map((bytes) => new Uint8Array(bytes)),
    fc.array(tie('value')),
    fc.dictionary(name, tie('value'), { noNullPrototype: true }),
  ),
}))

describe('JSON form of values', () => {
  it('gives every value back', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        expect(parseValue(jsonOf(value))).toStrictEqual(value)
      }),
    )
    for (const value of [...SAMPLE_VALUES, ...LARGE_VALUES]) expect(parseValue(jsonOf(value))).toStrictEqual(value)
  })

  it('is what JSON.stringify writes, where JSON has the value', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        const plain = JSON.parse(JSON.stringify(value)) as Value
        expect(jsonOf(plain)).toBe(JSON.stringify(plain))
      }),
    )
  })

  it('writes every kind of number as JSON.stringify does', () => {
    const around = [0, 9, 10, 99_999_999, 1e8, 1e15, 1e16, 2 ** 31, 2 ** 32, 2 ** 53]
    const numbers = around.flatMap((number) => [number - 1, number, number + 1, -number, number / 7])
    fc.assert(
      fc.property(
        fc.oneof(fc.constantFrom(...numbers), fc.maxSafeInteger(), fc.double({ noNaN: true, noDefaultInfinity: true })),
        (number) => {
          expect(jsonOf(number)).toBe(JSON.stringify(number))
        },
      ),
    )
  })

  it('tags bytes, and escapes maps that look like tagged bytes', () => {
    expect(jsonOf(new Uint8Array([1, 2]))).toBe('{"$bytes":"AQI="}')
    expect(jsonOf({ $bytes: 'AQI=' })).toBe('{"$$bytes":"AQI="}')
    expect(jsonOf({ $$bytes: 1 })).toBe('{"$$$bytes":1}')
    expect(jsonOf({ $bytes: 1, b: 2 })).toBe('{"$bytes":1,"b":2}')
  })
})

describe('packed records', () => {
  it('come out as they went in', () => {
    const record = fc.tuple(
      fc.constantFrom('m', 'ü', ''),
      text,
      fc.nat({ max: 2 ** 52 }),
      anyValue,
      fc.constantFrom(...SAMPLE_RECORDS),
    )
    fc.assert(
      fc.property(fc.array(record), (drawn) => {
        const records = drawn.map(([mapName, key, seq, value, sample], i) => {
          return storedRecord(
            mapName,
            key,
            seq,
            value,
            i % 2 === 0 ? { record: sample } : { record: { ...sample, value } },
          )
        })
        expect(unpackAll(packRecords(records))).toStrictEqual(records)
      }),
    )
  })

  const unpackAll = (packed: readonly PackedRecords[]): unknown[] => {
    const unpacked: unknown[] = []
    for (const part of packed) {
      unpackRecords(part, (mapIndex, key, seq, state, value) => {
        unpacked.push(parseRecord(part.mapNames[mapIndex] as string, key, seq, state, value))
      })
    }
    return unpacked
  }

  it('take as many buffers as they need: none is much larger than 2 MiB, however large the batch', () => {
    const large = Array.from({ length: 100 }, (_, i) => storedRecord(`m${i % 3}`, `k${i}`, i + 1, 'x'.repeat(250_000)))
    const many = Array.from({ length: 40_000 }, (_, i) => storedRecord('m', `k${i}`, i + 1, i))
    const records = [...large, ...many]
    const packed = packRecords(records)
    expect(packed.length).toBeGreaterThan(10)
    for (const { buffer } of packed) expect(buffer.byteLength).toBeLessThan(3 * 1024 * 1024)
    expect(unpackAll(packed)).toEqual(records)
  })

  it('do not depend on the size of the batch before', () => {
    const large = [storedRecord('m', 'k', 1, 'x'.repeat(5_000_000))]
    const small = SAMPLE_TEXTS.map((key, i) => storedRecord('m', key, i + 1, key))
    const before = packRecords(small)
    packRecords(large)
    expect(packRecords(small)).toEqual(before)
  })
})
