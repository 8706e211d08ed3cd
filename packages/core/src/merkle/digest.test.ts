import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { record, stamp, valueOrNull } from '../../test/arbitraries.ts'
import { LAW, RUNS, same } from '../../test/property.ts'
import type { LwwRecord } from '../crdt/record.ts'
import { valuesEqual } from '../value/value.ts'
import { canonicalRecord, fmix32, fnv1a, formatDigest, murmur3, stampDigest, stateDigest } from './digest.ts'

const hex = (key: string, state: LwwRecord): string => Buffer.from(canonicalRecord(key, state)).toString('hex')

describe('hashes', () => {
  it.each([
    ['', 2166136261],
    ['a', 3826002220],
    ['hello', 1335831723],
    ['u1', 71477235],
    ['user:1', 1830439627],
    ['t1', 138734806],
    ['t2', 121957187],
    ['ключ', 866290361],
    ['😀', 3409036472],
    ['null', 1996966820],
    ['{}', 1415952421],
    ['{"status":"active"}', 17388171],
    ['{"a":[1,{"c":3,"d":2}],"b":1}', 1591471358],
    ['{"text":"asc"}', 4166655225],
  ])('[MK1] FNV-1a of %j', (text, hash) => {
    expect(fnv1a(text)).toBe(hash)
  })

  // Published vectors of MurmurHash3_x86_32.
  it.each([
    ['', 0, 0],
    ['', 1, 0x514e28b7],
    ['a', 0x9747b28c, 0x7fa09ea6],
    ['aa', 0x9747b28c, 0x5d211726],
    ['aaa', 0x9747b28c, 0x283e0130],
    ['aaaa', 0x9747b28c, 0x5a97808a],
    ['abc', 0, 0xb3dd93fa],
    ['hello', 0, 0x248bfa47],
    ['hello, world', 0, 0x149bbb7f],
    ['Hello, world!', 0x9747b28c, 0x24884cba],
    ['The quick brown fox jumps over the lazy dog', 0x9747b28c, 0x2fa826cd],
  ])('[MK4] MurmurHash3 of %j with seed %i', (text, seed, hash) => {
    expect(murmur3(new TextEncoder().encode(text), seed)).toBe(hash)
  })

  it('[MK4] MurmurHash3 takes bytes above 127 as unsigned', () => {
    expect(murmur3(new Uint8Array([0xff, 0xff, 0xff, 0xff]))).toBe(0x76293b50)
    expect(murmur3(new Uint8Array([0x21, 0x43, 0x65, 0x87]))).toBe(0xf55b516b)
    expect(murmur3(new Uint8Array([0x21, 0x43, 0x65]))).toBe(0x7e4a8634)
  })

  it('[MK2] fmix32 keeps nothing as nothing and its sum is what existing clients compute', () => {
    expect(fmix32(0)).toBe(0)
    expect([1, 2, 3].map(fmix32).reduce((a, b) => a + b) >>> 0).toBe(137600996)
  })

  it('[MK5] both lanes make 16 digits', () => {
    expect(formatDigest(0, 0)).toBe('0000000000000000')
    expect(formatDigest(0xb2cc71aa, 1)).toBe('b2cc71aa00000001')
  })
})

describe('lane 0', () => {
  it.each([
    ['t1', 1706000000000, 1, 'client-1', 2999742890],
    ['t2', 1706000000500, 0, 'client-2', 580300596],
    ['user:1', 1678900000000, 0, 'client-1', 1485572355],
    ['user:2', 1678900000000, 1, 'client-1', 2204996885],
    ['user:3', 1678900000001, 0, 'node-b', 2115376254],
    ['ключ', 1, 2, 'n', 3447684916],
    ['😀', 3, 4, 'm', 4062914212],
  ])('[MK3] %s at %i:%i:%s', (key, millis, counter, nodeId, digest) => {
    expect(stampDigest(fnv1a(key), { millis, counter, nodeId })).toBe(digest)
  })
})

describe('lane 0 of any stamp', () => {
  it('[MK3] is FNV-1a of the text of key and stamp', LAW, () => {
    const number = fc.oneof(
      fc.nat({ max: 99_999 }),
      fc.maxSafeNat(),
      fc.constantFrom(...Array.from({ length: 16 }, (_, i) => 10 ** i)),
    )
    fc.assert(
      fc.property(fc.string(), number, number, fc.string(), (key, millis, counter, nodeId) => {
        same(stampDigest(fnv1a(key), { millis, counter, nodeId }), fnv1a(`${key}:${millis}:${counter}:${nodeId}`))
      }),
      { numRuns: RUNS },
    )
  })
})

describe('lane 1', () => {
  const base = { millis: 1, counter: 2, nodeId: 'n' }
  const later = { millis: 3, counter: 0, nodeId: 'm' }

  it('[MK4] the canonical bytes of a record, field by field', () => {
    const stampHex = '3ff0000000000000' + '00000002' + '00000001' + '6e'
    const laterHex = '4008000000000000' + '00000000' + '00000001' + '6d'
    const none = 'bff0000000000000'
    expect(hex('k', { value: null, timestamp: later, base })).toBe('000000016b' + '00' + stampHex + none + '00000000')
    const fields = { b: { stamp: later }, a: { stamp: later, unset: true as const } }
    expect(hex('k', { value: { b: true }, timestamp: later, base, ttlMs: 2, fields })).toBe(
      '000000016b' +
        '0700000001' +
        '0000000162' +
        '02' +
        stampHex +
        '4000000000000000' +
        '00000002' +
        ('0000000161' + laterHex + '00') +
        ('0000000162' + laterHex + '01'),
    )
    expect(hex('', { value: true, timestamp: later, base, fields: { b: { stamp: later, value: false } } })).toBe(
      '00000000' + '02' + stampHex + none + '00000001' + ('0000000162' + laterHex + '02' + '01'),
    )
  })

  it('[MK4] does not see the timestamp', LAW, () => {
    fc.assert(
      fc.property(record, stamp, (state, timestamp) => {
        same(stateDigest('k', { ...state, timestamp }), stateDigest('k', state))
        same(stateDigest('k', state), murmur3(canonicalRecord('k', state)))
      }),
      { numRuns: RUNS / 4 },
    )
  })

  it(
    '[MK4] changes with anything else: key, value, time to live, base, and each stamp, mark and value of a field',
    LAW,
    () => {
      fc.assert(
        fc.property(record, valueOrNull, stamp, fc.nat({ max: 9 }), (state, value, other, ttlMs) => {
          const bytes = hex('k', state)
          const differs = (changed: LwwRecord, key = 'k'): void => {
            // The bytes and not their hash, which one time in 2^32 is the same.
            if (hex(key, changed) === bytes) throw new Error(JSON.stringify(changed))
          }
          differs(state, 'K')
          if (!valuesEqual(value, state.value)) differs({ ...state, value })
          if (ttlMs !== state.ttlMs) differs({ ...state, ttlMs })
          if (other !== state.base) differs({ ...state, base: other })
          if (state.fields?.['new'] === undefined) {
            differs({ ...state, fields: { ...state.fields, new: { stamp: other } } })
            differs({ ...state, fields: { ...state.fields, new: { stamp: other, unset: true } } })
          }
          for (const [name, field] of Object.entries(state.fields ?? {})) {
            const { [name]: _, ...rest } = state.fields ?? {}
            differs({ ...state, fields: rest })
            if (other !== field.stamp) differs({ ...state, fields: { ...rest, [name]: { ...field, stamp: other } } })
            if (field.unset === true) differs({ ...state, fields: { ...rest, [name]: { stamp: field.stamp, value } } })
            else differs({ ...state, fields: { ...rest, [name]: { stamp: field.stamp, unset: true } } })
            if (field.value !== undefined && !valuesEqual(field.value, value)) {
              differs({ ...state, fields: { ...rest, [name]: { stamp: field.stamp, value } } })
            }
          }
        }),
        { numRuns: RUNS / 4 },
      )
    },
  )
})
