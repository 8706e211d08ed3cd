import fc from 'fast-check'
import type { Stamp } from '../src/clock/hlc.ts'
import { normalizeRecord, type RawRecord } from '../src/crdt/normalize.ts'
import type { FieldState, FieldWrite, LwwRecord } from '../src/crdt/record.ts'
import type { Value, ValueMap } from '../src/value/value.ts'

// Small pools on purpose: equal stamps, equal values and equal names are where merging can go wrong.

/** One of six stamps, in order but for 'B', which is before 'a' by code unit and after it in a dictionary. */
export const stamp: fc.Arbitrary<Stamp> = fc.constantFrom(
  { millis: 1, counter: 0, nodeId: 'a' },
  { millis: 2, counter: 0, nodeId: 'a' },
  { millis: 2, counter: 0, nodeId: 'B' },
  { millis: 2, counter: 1, nodeId: 'B' },
  { millis: 3, counter: 0, nodeId: 'a' },
  { millis: 3, counter: 0, nodeId: 'B' },
)

/** Values of every kind, often equal. */
export const value: fc.Arbitrary<Value> = fc.constantFrom<Value>(
  false,
  true,
  0,
  1,
  -1.5,
  '',
  'a',
  'é',
  '😀',
  new Uint8Array(),
  new Uint8Array([1, 2]),
  [],
  [1, 'a'],
  {},
  { x: 1 },
  { x: null },
)

/** A value, or null. */
export const valueOrNull: fc.Arbitrary<Value> = fc.oneof({ weight: 6, arbitrary: value }, fc.constant(null))

const names = ['x', 'y', '', 'é']

/** Maps with few fields. */
export const map: fc.Arbitrary<ValueMap> = fc.dictionary(fc.constantFrom(...names), valueOrNull, {
  maxKeys: 3,
  noNullPrototype: true,
})

const ttlMs = fc.constantFrom(undefined, 1, 5)

/** What a whole write can hold. */
export const wholeValue: fc.Arbitrary<Value> = fc.oneof(
  { weight: 5, arbitrary: map },
  { weight: 1, arbitrary: fc.constant(null) },
  { weight: 1, arbitrary: value },
)

const fieldState: fc.Arbitrary<FieldState> = fc.oneof(
  fc.record({ stamp, value: valueOrNull }),
  fc.record({ stamp }),
  fc.record({ stamp, unset: fc.constant(true as const) }),
  fc.record({ stamp, unset: fc.constant(true as const), value: valueOrNull }),
)

function withoutUndefined<T extends object>(source: T): T {
  return Object.fromEntries(Object.entries(source).filter(([, item]) => item !== undefined)) as T
}

/** Records as they may arrive, in any form. */
export const rawRecord: fc.Arbitrary<RawRecord> = fc
  .record({
    value: wholeValue,
    timestamp: stamp,
    base: fc.option(stamp, { nil: undefined, freq: 8 }),
    ttlMs,
    fields: fc.option(fc.dictionary(fc.constantFrom(...names), fieldState, { maxKeys: 3, noNullPrototype: true }), {
      nil: undefined,
    }),
  })
  .map((raw) => withoutUndefined(raw) as RawRecord)

/** Any record in normal form. */
export const record: fc.Arbitrary<LwwRecord> = rawRecord.map(normalizeRecord)

/** A write to one key. */
export type Write =
  | { readonly kind: 'whole'; readonly value: Value; readonly stamp: Stamp; readonly ttlMs: number | undefined }
  | ({ readonly kind: 'fields' } & FieldWrite)

/** A PUT or REMOVE. */
export const wholeWriteOp: fc.Arbitrary<Write & { kind: 'whole' }> = fc.record({
  kind: fc.constant('whole' as const),
  value: wholeValue,
  stamp,
  ttlMs,
})

const fieldWriteOp: fc.Arbitrary<Write> = fc.record({
  kind: fc.constant('fields' as const),
  stamp,
  set: map,
  unset: fc.array(fc.constantFrom(...names), { maxLength: 2 }),
})

/** A PUT, REMOVE or PATCH. */
export const write: fc.Arbitrary<Write> = fc.oneof(wholeWriteOp, { weight: 2, arbitrary: fieldWriteOp })

/** Values of any shape, as deep as a record's may be. */
export const anyValue: fc.Arbitrary<Value> = fc.letrec<{ tree: Value }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4, depthIdentifier: 'value' },
    fc.oneof(
      fc.constantFrom<Value>(null, true, false),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (number === 0 ? 0 : number)),
      text(),
      fc.uint8Array({ maxLength: 6 }),
    ),
    fc.array(tie('tree'), { maxLength: 4, depthIdentifier: 'value' }),
    fc.dictionary(fieldName(), tie('tree'), { maxKeys: 4, depthIdentifier: 'value', noNullPrototype: true }),
  ),
})).tree

function text(): fc.Arbitrary<string> {
  return fc.string({ unit: 'binary', maxLength: 6 }).filter((candidate) => !candidate.includes('\u0000'))
}

function fieldName(): fc.Arbitrary<string> {
  return text().filter((name) => !['__proto__', 'constructor', 'prototype'].includes(name))
}
