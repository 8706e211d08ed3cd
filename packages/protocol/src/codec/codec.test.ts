import { valuesEqual, type Value } from '@syncline/core'
import * as fc from 'fast-check'
import { Packr, Unpackr } from 'msgpackr'
import { describe, expect, it } from 'vitest'
import { finite, value } from '../../test/arbitraries.ts'
import { LIMITS } from '../limits.ts'
import type { ClientMessage } from '../message.ts'
import { decodeFrame, encodeFrame } from './frame.ts'
import { decodeJson, decodeServerJson, decodeValueJson, encodeJson, encodeValueJson } from './json.ts'
import { decodeMsgpack, decodeValueMsgpack, encodeMsgpack, encodeValueMsgpack } from './msgpack.ts'
import { writeMsgpack } from './msgpack-writer.ts'

const packr = new Packr({ useRecords: false, variableMapSize: true })
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'number' })

const bytesOf = (...bytes: (number | string)[]): Uint8Array =>
  Uint8Array.from(bytes.flatMap((part) => (typeof part === 'string' ? [...new TextEncoder().encode(part)] : [part])))
const codeOf = (result: ReturnType<typeof decodeJson>): string | undefined =>
  result.ok ? undefined : result.error.errorCode
const decoded = (result: ReturnType<typeof decodeJson>): unknown => {
  if (!result.ok) throw new Error(result.error.message)
  return result.value
}

describe('one value grammar', () => {
  it('[FR1] [FR2] [FR4] [FR5] every value comes back from both encodings as it was', () => {
    fc.assert(
      fc.property(value, (given) => {
        const fromJson = decoded(decodeValueJson(encodeValueJson(given)))
        const fromMsgpack = decoded(decodeValueMsgpack(encodeValueMsgpack(given)))
        expect(valuesEqual(fromJson as Value, given)).toBe(true)
        expect(valuesEqual(fromMsgpack as Value, given)).toBe(true)
        expect(encodeValueJson(fromMsgpack as Value)).toBe(encodeValueJson(fromJson as Value))
      }),
      { numRuns: 3_000 },
    )
  })

  it('[FR4] [FR5] a client reads what a server encodes as anyone does, and answers garbage by a fault', () => {
    fc.assert(
      fc.property(value, (given) => {
        const text = encodeValueJson(given)
        expect(decoded(decodeServerJson(text))).toEqual(decoded(decodeValueJson(text)))
      }),
      { numRuns: 1_000 },
    )
    expect(codeOf(decodeServerJson('{'))).toBe('PARSE_ERROR')
    expect(codeOf(decodeServerJson('{"$bytes":"?"}'))).toBe('BAD_VALUE')
  })

  it('[FR2] MessagePack is written byte for byte as by another implementation, and read from it', () => {
    fc.assert(
      fc.property(value, (given) => {
        const theirs = new Uint8Array(packr.pack(given))
        expect(encodeValueMsgpack(given)).toEqual(theirs)
        expect(valuesEqual(decoded(decodeValueMsgpack(theirs)) as Value, given)).toBe(true)
        expect(valuesEqual(unpackr.unpack(encodeValueMsgpack(given)) as Value, given)).toBe(true)
      }),
      { numRuns: 3_000 },
    )
  })

  it('[FR2] [FR9] maps of writes are read whatever the order of their keys, and a key that comes twice is refused', () => {
    const names = ['type', 'payload', 'id', 'mapName', 'key', 'opType', 'record', 'value', 'timestamp', 'millis']
    const name = fc.constantFrom(...names, 'counter', 'nodeId', 'ttlMs', 'typ', 'types')
    // Starts as a write does, so that what follows is reached, and then goes on in any way.
    const start = fc.constantFrom(
      ['type', 'payload'],
      ['id', 'mapName', 'key', 'opType', 'record'],
      ['value', 'timestamp'],
      ['millis', 'counter', 'nodeId'],
      [],
    )
    const list = fc
      .tuple(start, fc.nat(5), fc.array(name, { maxLength: 6 }))
      .map(([first, length, rest]) => [...first.slice(0, length), ...rest].slice(0, 15))
    fc.assert(
      fc.property(list, fc.boolean(), (keys, isBuffer) => {
        const members = keys.flatMap((key, i): (number | string)[] => [0xa0 | key.length, key, i])
        const bytes = bytesOf(0x80 | keys.length, ...members)
        const read = decodeMsgpack(isBuffer ? Buffer.from(bytes) : bytes)
        if (new Set(keys).size < keys.length) expect(codeOf(read)).toBe('BAD_KEY')
        else
          expect(JSON.stringify(decoded(read))).toBe(JSON.stringify(Object.fromEntries(keys.map((key, i) => [key, i]))))
        for (let end = 1; end < bytes.length; end++)
          expect(codeOf(decodeMsgpack(bytes.subarray(0, end)))).toMatch(/PARSE_ERROR|BAD_KEY/)
      }),
      { numRuns: 5_000 },
    )
  })

  it('[FR2] texts of any length and language are read from a Buffer as from any bytes', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', 'z', '~', 'é', '語', '\u{1f600}'), maxLength: 60 }),
        (text) => {
          const bytes = encodeValueMsgpack(text)
          expect(decoded(decodeValueMsgpack(Buffer.from(bytes)))).toBe(text)
          expect(decoded(decodeValueMsgpack(new Uint8Array(bytes)))).toBe(text)
        },
      ),
    )
  })

  it('[FR2] every form of a number is read', () => {
    const forms: readonly [Uint8Array, number][] = [
      [bytesOf(0x7f), 127],
      [bytesOf(0xe0), -32],
      [bytesOf(0xff), -1],
      [bytesOf(0xcc, 0xff), 255],
      [bytesOf(0xcd, 0xff, 0xfe), 65_534],
      [bytesOf(0xce, 0xff, 0xff, 0xff, 0xff), 4_294_967_295],
      [bytesOf(0xcf, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), Number.MAX_SAFE_INTEGER],
      [bytesOf(0xd0, 0x80), -128],
      [bytesOf(0xd1, 0x80, 0), -32_768],
      [bytesOf(0xd2, 0x80, 0, 0, 0), -2_147_483_648],
      [bytesOf(0xd3, 0xff, 0xe0, 0, 0, 0, 0, 0, 1), Number.MIN_SAFE_INTEGER],
      [bytesOf(0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), -1],
      [bytesOf(0xca, 0x3f, 0xc0, 0, 0), 1.5],
      [bytesOf(0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0), 1.5],
    ]
    for (const [form, number] of forms) expect(decoded(decodeMsgpack(form))).toBe(number)
  })

  it('[FR2] large maps, lists, texts and bytes are written and read', () => {
    const large: Value = {
      ...Object.fromEntries(Array.from({ length: 70_000 }, (_, i) => [`name ${i}`, i])),
      list: Array.from({ length: 70_000 }, (_, i) => i % 3),
      text: 'é'.repeat(70_000),
      bytes: new Uint8Array(70_000).fill(7),
      middle: Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`m${i}`, { i }])),
    }
    expect(valuesEqual(decoded(decodeValueMsgpack(encodeValueMsgpack(large))) as Value, large)).toBe(true)
    expect(Buffer.compare(encodeValueMsgpack(large), packr.pack(large))).toBe(0)
    expect(valuesEqual(decoded(decodeValueJson(encodeValueJson(large))) as Value, large)).toBe(true)
  })

  it('[FR2] members that are undefined are left out, such items of lists are null', () => {
    const message = { type: 'PING', timestamp: 1, more: undefined, list: [undefined, 1] } as unknown as ClientMessage
    const expected = { type: 'PING', timestamp: 1, list: [null, 1] }
    expect(decoded(decodeMsgpack(encodeMsgpack(message)))).toEqual(expected)
    expect(decoded(decodeJson(encodeJson(message)))).toEqual(expected)
  })

  it('[FR2] what MessagePack cannot hold is not written, and spoils nothing that is written after it', () => {
    for (const bad of [NaN, Infinity, 1n, () => 1, Symbol('x')]) {
      expect(() => writeMsgpack((writer) => writer.value({ a: 'left behind', bad }))).toThrow(TypeError)
      expect(decoded(decodeMsgpack(encodeValueMsgpack('next')))).toBe('next')
    }
  })

  it('[FR2] encoded bytes are not written to again', () => {
    const frames = Array.from({ length: 5_000 }, (_, i) => encodeValueMsgpack({ i, text: 'x'.repeat(i % 50) }))
    frames.forEach((frame, i) => expect((decoded(decodeMsgpack(frame)) as { i: number }).i).toBe(i))
  })

  it('[FR2] a map of more than 15 members is written right wherever its frame begins', () => {
    const map = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`name ${i}`, { i }]))
    for (let i = 0; i < 100; i++)
      expect(decoded(decodeMsgpack(encodeValueMsgpack([map, i, map])))).toEqual([map, i, map])
  })

  it('[FR4] bytes come back as a plain Uint8Array of their own', () => {
    const frame = Buffer.from(encodeValueMsgpack({ b: Uint8Array.of(1, 2, 3) }))
    const { b } = decoded(decodeMsgpack(frame)) as { b: Uint8Array }
    expect(b.constructor).toBe(Uint8Array)
    frame.fill(0)
    expect([...b]).toEqual([1, 2, 3])
    expect((decoded(decodeJson('{"$bytes":"AQID"}')) as object).constructor).toBe(Uint8Array)
  })

  it('[FR4] [FR5] JSON tags bytes, and escapes what looks like a tag', () => {
    expect(encodeValueJson(Uint8Array.of(1, 2, 255))).toBe('{"$bytes":"AQL/"}')
    expect(encodeValueJson({ $bytes: 'AQL/' })).toBe('{"$$bytes":"AQL/"}')
    expect(encodeValueJson({ $$bytes: 1 })).toBe('{"$$$bytes":1}')
    expect(encodeValueJson({ $bytes: 1, b: 2 })).toBe('{"$bytes":1,"b":2}')
    expect(decoded(decodeJson('{"$$bytes":"AQL/"}'))).toEqual({ $bytes: 'AQL/' })
    expect(decoded(decodeJson('{"$bytes":1,"b":2}'))).toEqual({ $bytes: 1, b: 2 })
    expect(encodeJson({ type: 'PING', timestamp: 1, $bytes: 1 } as unknown as ClientMessage)).toContain('"$bytes":1')
  })

  it('[FR4] a tag is seen however its letters are written', () => {
    expect(decoded(decodeJson('{"\\u0024bytes":"QQ=="}'))).toEqual(Uint8Array.of(65))
    expect(decoded(decodeJson('{"$byte\\u0073":"QQ=="}'))).toEqual(Uint8Array.of(65))
    expect(decoded(decodeJson('{ "$bytes" : "QQ\\u003d=" }'))).toEqual(Uint8Array.of(65))
  })

  it.each(['"QR=="', '"QQ="', '"QQ"', '"Q Q="', '"QQ==\\n"', '"-_8="', '"é"', '1', 'null', '[]', '{}', 'true'])(
    '[FR8] $bytes of %s is a bad value',
    (content) => {
      expect(codeOf(decodeJson(`{"a":{"$bytes":${content}}}`))).toBe('BAD_VALUE')
    },
  )

  it('[FR10] minus zero is read as zero from both encodings', () => {
    const texts = [
      '-0',
      '[-0]',
      '{"a":-0}',
      '[-0.0]',
      '[ -0 ]',
      '[-0e5]',
      '[-0E5]',
      '[1,-0,2]',
      '[-1e-400]',
      '[-12.5E-999]',
    ]
    for (const text of texts) {
      const [first = 0] = JSON.stringify(decoded(decodeJson(text))).match(/-?\d+/) ?? []
      expect(first).not.toBe('-0')
      const flat = [decoded(decodeJson(text))]
        .flat()
        .flatMap((x) => (typeof x === 'object' ? Object.values(x as object) : x))
      expect(flat.every((x) => !Object.is(x, -0))).toBe(true)
    }
    expect(decoded(decodeJson('["2024-01-05",-0.5,-1e-3]'))).toEqual(['2024-01-05', -0.5, -0.001])
    expect(decoded(decodeMsgpack(bytesOf(0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0)))).toBe(0)
    expect(decoded(decodeMsgpack(bytesOf(0xca, 0x80, 0, 0, 0)))).toBe(0)
    expect(encodeValueMsgpack(-0)).toEqual(bytesOf(0))
    expect(encodeValueJson([-0])).toBe('[0]')
  })

  it('[FR10] no number becomes another one', () => {
    fc.assert(
      fc.property(fc.array(finite), (numbers) => {
        expect(decoded(decodeJson(JSON.stringify(numbers)))).toEqual(numbers)
        expect(decoded(decodeMsgpack(new Uint8Array(packr.pack(numbers))))).toEqual(numbers)
      }),
    )
  })
})

describe('hostile frames', () => {
  const nest = (depth: number): unknown => {
    let inner: unknown = 1
    for (let i = 0; i < depth; i++) inner = i % 2 === 0 ? [inner] : { a: inner }
    return inner
  }

  it('[FR6] a frame of the full depth is read, a deeper one is refused', () => {
    const max = LIMITS.frameDepth
    expect(codeOf(decodeJson(JSON.stringify(nest(max))))).toBeUndefined()
    expect(codeOf(decodeJson(JSON.stringify(nest(max + 1))))).toBe('TOO_DEEP')
    expect(codeOf(decodeMsgpack(packr.pack(nest(max))))).toBeUndefined()
    expect(codeOf(decodeMsgpack(packr.pack(nest(max + 1))))).toBe('TOO_DEEP')
    expect(codeOf(decodeValueJson(encodeValueJson(nest(32) as Value)))).toBeUndefined()
    expect(codeOf(decodeValueMsgpack(packr.pack(nest(33))))).toBe('TOO_DEEP')
  })

  it('[FR6] depth is not a matter of brackets in texts, of many siblings or of closed lists', () => {
    expect(codeOf(decodeJson(JSON.stringify(['['.repeat(100), '{"'.repeat(100), '\\"['.repeat(100)])))).toBeUndefined()
    expect(codeOf(decodeJson(JSON.stringify(Array.from({ length: 100 }, () => [{}]))))).toBeUndefined()
    expect(codeOf(decodeJson(`[${'"\\\\",['.repeat(41)}`))).toBe('TOO_DEEP')
  })

  it('[FR6] a million levels cost neither stack nor memory', () => {
    for (const text of ['['.repeat(1e6), '{"a":'.repeat(1e6), `${'['.repeat(1e6)}${']'.repeat(1e6)}`]) {
      expect(codeOf(decodeJson(text))).toBe('TOO_DEEP')
    }
    expect(codeOf(decodeMsgpack(new Uint8Array(1e6).fill(0x91)))).toBe('TOO_DEEP')
    const maps = new Uint8Array(3e5).map((_, i) => [0x81, 0xa1, 0x61][i % 3] as number)
    expect(codeOf(decodeMsgpack(maps))).toBe('TOO_DEEP')
  })

  const broken: readonly [string, Uint8Array][] = [
    ['no bytes', bytesOf()],
    ['a second value', bytesOf(1, 1)],
    ['the byte that is never used', bytesOf(0xc1)],
    ['a list that ends early', bytesOf(0x92, 1)],
    ['a map that ends early', bytesOf(0x81, 0xa1, 'a')],
    ['a map without its key', bytesOf(0x81)],
    ['a map that ends in a key', bytesOf(0x82, 0xa1, 'a', 1, 0xa5, 'b')],
    ['a key whose length is missing', bytesOf(0x81, 0xd9)],
    ['a text that ends early', bytesOf(0xa2, 'a')],
    ['a text without its length', bytesOf(0xda, 1)],
    ['bytes that end early', bytesOf(0xc4, 2, 1)],
    ['a number that ends early', bytesOf(0xcb, 1, 2, 3)],
    ['a short number that ends early', bytesOf(0xcd, 1)],
    ['a list of 4 billion', bytesOf(0xdd, 0xff, 0xff, 0xff, 0xff)],
    ['a map of 4 billion', bytesOf(0xdf, 0xff, 0xff, 0xff, 0xff, 1, 2, 3)],
    ['a text of 4 billion', bytesOf(0xdb, 0xff, 0xff, 0xff, 0xff, 'a')],
    ['bytes of 4 billion', bytesOf(0xc6, 0xff, 0xff, 0xff, 0xff, 1)],
    ['a key of 4 billion', bytesOf(0x81, 0xdb, 0xff, 0xff, 0xff, 0xff, 'a')],
  ]
  it.each(broken)('[FR7] %s is no MessagePack frame', (_, frame) => {
    expect(codeOf(decodeMsgpack(frame))).toBe('PARSE_ERROR')
  })

  it.each(['', ' ', '{', '{"a":1}x', "{'a':1}", '{"a":}', 'undefined', 'NaN', '[1,]', '"\\', '\ufeff{}'])(
    '[FR7] %j is no JSON frame',
    (text) => {
      expect(codeOf(decodeJson(text))).toBe('PARSE_ERROR')
    },
  )

  const badValues: readonly [string, Uint8Array][] = [
    ['an extension', bytesOf(0xd4, 0, 0)],
    ['the extension that points at itself', bytesOf(0xd6, 0x70, 0, 0, 0, 0)],
    ['a timestamp', bytesOf(0xd6, 0xff, 0, 0, 0, 0)],
    ['a large extension', bytesOf(0xc9, 0xff, 0xff, 0xff, 0xff, 1)],
    ['NaN', bytesOf(0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0)],
    ['infinity', bytesOf(0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0)],
    ['minus infinity in 32 bits', bytesOf(0xca, 0xff, 0x80, 0, 0)],
    ['a whole number above 2^53 - 1', bytesOf(0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0)],
    ['the greatest of 64 bits', bytesOf(0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)],
    ['a whole number below -(2^53 - 1)', bytesOf(0xd3, 0xff, 0xe0, 0, 0, 0, 0, 0, 0)],
    ['the least of 64 bits', bytesOf(0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0)],
    ['a byte that begins nothing', bytesOf(0xa1, 0xff)],
    ['half a character', bytesOf(0xa1, 0xc3)],
    ['an overlong character', bytesOf(0xa2, 0xc0, 0x80)],
    ['half a surrogate pair', bytesOf(0xa3, 0xed, 0xa0, 0x80)],
    ['a character above U+10FFFF', bytesOf(0xa4, 0xf4, 0x90, 0x80, 0x80)],
    ['a long text that is not UTF-8', bytesOf(0xd9, 41, 'x'.repeat(40), 0x80)],
  ]
  it.each(badValues)('[FR8] %s is a bad value', (_, frame) => {
    expect(codeOf(decodeMsgpack(frame))).toBe('BAD_VALUE')
    expect(codeOf(decodeMsgpack(bytesOf(0x81, 0xa1, 'a', ...frame)))).toBe('BAD_VALUE')
  })

  it('[FR8] what was read before never makes a bad text good', () => {
    // A cache of texts must not take the single byte e9 for the é that it knows from two.
    for (let i = 0; i < 2; i++) {
      for (let unit = 0x80; unit < 0x100; unit++) {
        expect(decoded(decodeMsgpack(packr.pack([String.fromCharCode(unit)])))).toEqual([String.fromCharCode(unit)])
        expect(decoded(decodeMsgpack(packr.pack({ [String.fromCharCode(unit)]: 1 })))).toEqual({
          [String.fromCharCode(unit)]: 1,
        })
        expect(codeOf(decodeMsgpack(bytesOf(0xa1, unit)))).toBe('BAD_VALUE')
        expect(codeOf(decodeMsgpack(bytesOf(0x81, 0xa1, unit, 1)))).toBe('BAD_KEY')
      }
    }
  })

  const badKeys: readonly [string, Uint8Array][] = [
    ['a number', bytesOf(0x81, 1, 1)],
    ['null', bytesOf(0x81, 0xc0, 1)],
    ['bytes', bytesOf(0x81, 0xc4, 1, 1, 1)],
    ['a list', bytesOf(0x81, 0x90, 1)],
    ['twice the same', bytesOf(0x82, 0xa1, 'a', 1, 0xa1, 'a', 2)],
    ['twice the same, written in two ways', bytesOf(0x82, 0xa1, 'a', 1, 0xd9, 1, 'a', 2)],
    ['twice the same number', bytesOf(0x82, 0xa1, '1', 1, 0xa1, '1', 2)],
    ['twice nothing', bytesOf(0x82, 0xa0, 1, 0xa0, 2)],
    ['not UTF-8', bytesOf(0x81, 0xa1, 0xff, 1)],
    ['__proto__', bytesOf(0x81, 0xa9, '__proto__', 0x80)],
    ['__proto__ in a long form', bytesOf(0x81, 0xda, 0, 9, '__proto__', 0x80)],
    ['constructor', bytesOf(0x81, 0xab, 'constructor', 1)],
    ['prototype', bytesOf(0x81, 0xa9, 'prototype', 1)],
  ]
  it.each(badKeys)('[FR9] a key that is %s is a bad key', (_, frame) => {
    expect(codeOf(decodeMsgpack(frame))).toBe('BAD_KEY')
    expect(codeOf(decodeMsgpack(bytesOf(0x91, ...frame)))).toBe('BAD_KEY')
  })

  it('[FR9] a key that comes twice in a large map is a bad key', () => {
    const entries = Array.from({ length: 100 }, (_, i) => [0xa4, `k${String(i).padStart(3, '0')}`, 1]).flat()
    expect(codeOf(decodeMsgpack(bytesOf(0xde, 0, 100, ...entries)))).toBeUndefined()
    expect(codeOf(decodeMsgpack(bytesOf(0xde, 0, 101, ...entries, 0xa4, 'k050', 1)))).toBe('BAD_KEY')
    const long = 'k'.repeat(30)
    expect(codeOf(decodeMsgpack(bytesOf(0x82, 0xbe, long, 1, 0xbe, long, 1)))).toBe('BAD_KEY')
  })

  it('[FR9] JSON never reaches a prototype', () => {
    const parsed = decoded(decodeJson('{"__proto__":{"polluted":{"$bytes":"QQ=="}},"a":{"$bytes":"QQ=="}}')) as object
    expect(Object.getPrototypeOf(parsed)).toBe(Object.prototype)
    expect(Object.keys(parsed)).toEqual(['__proto__', 'a'])
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
    expect(encodeValueJson(parsed as Value)).toBe('{"__proto__":{"polluted":{"$bytes":"QQ=="}},"a":{"$bytes":"QQ=="}}')
  })
})

describe('frames of either encoding', () => {
  it('[FR1] [FR3] a text is JSON, bytes are MessagePack unless they begin with {', () => {
    const ping = { type: 'PING', timestamp: 1 } as const
    expect(decoded(decodeFrame(encodeFrame('json', ping)))).toEqual({ encoding: 'json', message: ping })
    expect(decoded(decodeFrame(encodeFrame('msgpack', ping)))).toEqual({ encoding: 'msgpack', message: ping })
    expect(decoded(decodeFrame(bytesOf(JSON.stringify(ping))))).toEqual({ encoding: 'json', message: ping })
    expect(codeOf(decodeFrame(bytesOf('{', 0xff)))).toBe('PARSE_ERROR')
    expect(codeOf(decodeFrame(bytesOf('{"a":"', 0xc0, '"}')))).toBe('PARSE_ERROR')
  })
})
