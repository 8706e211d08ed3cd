import { wholeWrite, type Value } from '@syncline/core'
import { describe, expect, test } from 'vitest'
import { Authorizer, type ReadView } from '../inbound/authorize.ts'
import type { Entry } from '../store/map-state.ts'
import { WritableMap } from '../store/writable-map.ts'
import { stampAt } from '../testing/harness.ts'
import { eventOf, keyedRecordBody, SharedEvents } from './encode-once.ts'
import { redact, redactValue, type OutgoingRecord, type OutgoingValue } from './redact.ts'

const authorizer = new Authorizer(
  [
    { role: 'ALL', mapNamePattern: 'm', actions: ['READ'] },
    { role: 'FIELDS', mapNamePattern: 'm', actions: ['READ'], allowedFields: ['a', 'b'] },
  ],
  false,
)
const viewOf = (role: string): ReadView => authorizer.rights({ userId: 'u', roles: [role] }, 'm').view as ReadView

function entryOf(value: Value, more: object = {}): Entry {
  const entry = new WritableMap('m').blank('k', { ...wholeWrite(value, stampAt(1)), ...more }, stampAt(1))
  entry.seq = 1
  return entry
}

describe('INV-21: what leaves the server', () => {
  test('INV-21: is built from a ReadView, or does not compile', () => {
    const raw = entryOf({ a: 1, secret: 2 })
    const neverCalled = (): void => {
      const forged = { mapName: 'm', fields: undefined, redactionClass: '*' }
      // @ts-expect-error A view is made by the authorizer alone.
      redact(forged, raw)
      // @ts-expect-error A view is made by the authorizer alone.
      redactValue(forged, raw, 0)
      // @ts-expect-error A view is made by the authorizer alone.
      eventOf(forged, raw)
      // @ts-expect-error A view is made by the authorizer alone.
      keyedRecordBody('json', forged, raw)
      // @ts-expect-error A view is made by the authorizer alone.
      void new SharedEvents(forged, 'm', [raw], () => '')
      // @ts-expect-error An event needs a view, not an entry alone.
      eventOf(raw)
      // @ts-expect-error The stored record is not one that may leave.
      const record: OutgoingRecord = raw.record
      // @ts-expect-error Nor is a value of it.
      const value: OutgoingValue = raw.record.value
      void [record, value]
      // @ts-expect-error A write grant is no right to read.
      redact(authorizer.rights({ userId: 'u', roles: ['ALL'] }, 'm').write, raw)
    }
    expect(neverCalled).toBeTypeOf('function')
    expect(redact(viewOf('ALL'), raw).value).toEqual({ a: 1, secret: 2 })
  })

  test('INV-21: [RI2] shows a reader of some fields those fields, their stamps, and no others', () => {
    const fields = {
      a: { stamp: stampAt(2) },
      secret: { stamp: stampAt(3) },
      b: { stamp: stampAt(4), unset: true as const },
    }
    const entry = entryOf({ a: 1, secret: 2, other: 3 }, { fields, timestamp: stampAt(4), ttlMs: 10 })
    expect(redact(viewOf('FIELDS'), entry)).toEqual({
      value: { a: 1 },
      timestamp: stampAt(4),
      base: stampAt(1),
      ttlMs: 10,
      fields: { a: fields.a, b: fields.b },
      version: 0,
    })
    expect(redactValue(viewOf('FIELDS'), entry, 0)).toEqual({ a: 1 })
    expect(Object.keys(redact(viewOf('ALL'), entry).fields ?? {})).toEqual(['a', 'secret', 'b'])
  })

  test.each<[string, Value]>([
    ['a text', 'secret'],
    ['a number', 7],
    ['a list', [{ a: 'secret' }]],
    ['bytes', new Uint8Array([1])],
    ['nothing', null],
  ])('INV-21: shows a reader of some fields nothing of %s, hidden field writes included', (_, value) => {
    const entry = entryOf(value, { fields: { a: { stamp: stampAt(2), value: 'secret' } }, timestamp: stampAt(2) })
    const record = redact(viewOf('FIELDS'), entry)
    expect(record.value).toBeNull()
    expect(JSON.stringify(record)).not.toContain('secret')
    expect(redactValue(viewOf('FIELDS'), entry, 0)).toBeUndefined()
  })

  test('INV-21: readers of different fields are in different classes, readers of the same fields in one', () => {
    const classes = new Set<string>()
    for (let i = 0; i < 500; i++) {
      for (const allowedFields of [[`f${i}`], [`f${i}`, 'x'], [`f${i}x`]]) {
        const policies = [{ role: 'R', mapNamePattern: 'm', actions: ['READ' as const], allowedFields }]
        const { view } = new Authorizer(policies, false).rights({ userId: 'u', roles: ['R'] }, 'm')
        classes.add((view as ReadView).redactionClass)
      }
    }
    expect(classes.size).toBe(1_500)
    const swapped = new Authorizer(
      [{ role: 'FIELDS', mapNamePattern: 'm', actions: ['READ'], allowedFields: ['b', 'a'] }],
      false,
    ).rights({ userId: 'u', roles: ['FIELDS'] }, 'm').view
    expect(swapped?.redactionClass).toBe(viewOf('FIELDS').redactionClass)
    expect(viewOf('ALL').redactionClass).toBe('*')
  })
})
