import type { LwwRecord, Stamp, Value } from '@syncline/core'
import * as fc from 'fast-check'

/** Names of fields, likely ones to collide with the tags of JSON among them. */
export const fieldName: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    '$bytes',
    '$$bytes',
    '$$$bytes',
    'bytes',
    '$byte',
    'a',
    'b',
    'text',
    '',
    'toJSON',
    'hasOwnProperty',
    '0',
    '7',
  ),
  fc
    .string({ unit: 'grapheme', maxLength: 12 })
    .filter((name) => !name.includes('\0') && !['__proto__', 'constructor', 'prototype'].includes(name)),
)

/** Numbers at the edges of MessagePack's forms, whole and broken ones. */
export const finite: fc.Arbitrary<number> = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => (x === 0 ? 0 : x)),
  fc.maxSafeInteger(),
  fc.constantFrom(...edges()),
)

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 40 }).filter((s) => !s.includes('\0')),
  fc.constantFrom(
    '',
    '$bytes',
    '{"$bytes":"QQ=="}',
    '\ufeffmark',
    `\ufeff${'x'.repeat(40)}`,
    'x'.repeat(300),
    'é'.repeat(20),
    '-0',
    '\\u00',
  ),
)

/** Any value of the grammar. */
export const value: fc.Arbitrary<Value> = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    finite,
    text,
    fc.uint8Array({ maxLength: 40 }),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(fieldName, tie('value'), { maxKeys: 5, noNullPrototype: true }),
  ),
})).value

/** A stamp. */
export const stamp: fc.Arbitrary<Stamp> = fc.record({
  millis: fc.oneof(fc.nat(), fc.constantFrom(0, 1_706_000_000_000, Number.MAX_SAFE_INTEGER)),
  counter: fc.nat(65_535),
  nodeId: fc.constantFrom('', 'a', 'client-1', 'ü', 'x'.repeat(128)),
})

/** A whole write, as a record. */
export const record: fc.Arbitrary<LwwRecord> = fc
  .tuple(value, stamp, fc.option(fc.integer({ min: 1, max: 1e6 }), { nil: undefined }))
  .map(([value, timestamp, ttlMs]) =>
    ttlMs === undefined || value === null
      ? { value, timestamp, base: timestamp }
      : { value, timestamp, base: timestamp, ttlMs },
  )

function edges(): number[] {
  const powers = [5, 7, 8, 15, 16, 31, 32, 33, 52, 53].map((bits) => 2 ** bits)
  return powers.flatMap((p) => [p - 1, p, p + 1, -p - 1, -p, 1 - p].filter((n) => Math.abs(n) <= 2 ** 53))
}
