import { measureValue, wholeWrite, type LwwRecord, type Value } from '@syncline/core'
import { expect, test } from 'vitest'
import { stampAt } from '../testing/harness.ts'
import { weightOf } from './weight.ts'

const recordOf = (value: Value, more: Partial<LwwRecord> = {}): LwwRecord => ({
  ...wholeWrite(value, stampAt()),
  ...more,
})

test('a weight is near the canonical size, whatever the value is made of', () => {
  const values: Value[] = [
    'x'.repeat(10_000),
    new Uint8Array(10_000),
    Array.from({ length: 1_000 }, (_, i) => i),
    Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`name ${i}`, { text: 'y'.repeat(20), is: true }])),
    [[['deep'.repeat(1_000)]]],
  ]
  for (const value of values) {
    const size = measureValue(value) as number
    const weight = weightOf('key', recordOf(value))
    expect(weight).toBeGreaterThan(size * 0.7)
    expect(weight).toBeLessThan(size * 1.3 + 100)
  }
})

test('keys, field stamps and hidden values weigh as well, and no record weighs nothing', () => {
  const bare = weightOf('', recordOf(null))
  expect(bare).toBeGreaterThan(0)
  expect(weightOf('k'.repeat(500), recordOf(null))).toBe(bare + 500)
  const fields = { hidden: { stamp: stampAt(), value: 'x'.repeat(1_000) }, gone: { stamp: stampAt(), unset: true } }
  expect(weightOf('', recordOf(null, { fields: fields as LwwRecord['fields'] & object }))).toBeGreaterThan(bare + 1_100)
})
