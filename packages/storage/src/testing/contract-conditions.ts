import type { Value } from '@syncline/core'
import { describe, expect, it } from 'vitest'
import { ONCE_RETENTION_MS } from '../adapter.ts'
import { storedRecord } from './samples.ts'
import { keysOf, type StorageUnderTest, todo } from './under-test.ts'

/** A batch is written under conditions, or leaves no trace. */
export function describeConditions(subject: StorageUnderTest): void {
  const { reopen, write, load, everything } = subject
  describe('expectations', () => {
    it('writes where every version is as expected', async () => {
      await write({ seq: 1, records: [todo('a', 1, 3)] })
      const expected = [
        { mapName: 'todos', key: 'a', version: 3 },
        { mapName: 'todos', key: 'b', version: 0 },
      ]
      expect(await write({ seq: 2, records: [todo('a', 2, 4)], expect: expected })).toEqual({ ok: true, seq: 2 })
    })

    it.each([
      ['another version', 'a', 2, 3],
      ['no record', 'a', 0, 3],
      ['a record', 'b', 1, 0],
      ['a record of a map that is not there', 'c', 1, 0],
    ])('refuses where it expects %s', async (_, key, version, found) => {
      await write({ seq: 1, records: [todo('a', 1, 3)] })
      const failed = { mapName: key === 'c' ? 'no map' : 'todos', key, version }
      const before = await everything()
      const holds = { mapName: 'todos', key: 'a', version: 3 }
      const result = await write({ seq: 2, records: [todo('b', 2)], expect: [holds, failed] })
      expect(result).toEqual({ ok: false, reason: 'expect', failed, version: found })
      expect(await everything()).toStrictEqual(before)
    })

    it('counts a tombstone as a record', async () => {
      await write({ seq: 1, records: [storedRecord('todos', 'a', 1, null, { version: 2 })] })
      const [no, yes] = [0, 2].map((version) => write({ seq: 2, expect: [{ mapName: 'todos', key: 'a', version }] }))
      expect(await no).toMatchObject({ ok: false, version: 2 })
      expect(await yes).toEqual({ ok: true, seq: 2 })
    })
  })

  describe('unique claims', () => {
    const email = (value: Value, key: string) => ({ mapName: 'people', field: 'email', value, key })
    const release = (value: Value, key: string) => ({ ...email(value, key), release: true as const })

    it('lets one record hold a value, and that one claim it again', async () => {
      expect(await write({ seq: 1, unique: [email('x', 'ann')] })).toEqual({ ok: true, seq: 1 })
      expect(await write({ seq: 2, unique: [email('x', 'ann')] })).toEqual({ ok: true, seq: 2 })
      await reopen()
      const failed = email('x', 'bob')
      const result = await write({ seq: 3, unique: [email('y', 'bob'), failed] })
      expect(result).toEqual({ ok: false, reason: 'unique', failed, holder: 'ann' })
      expect(await write({ seq: 4, unique: [email('y', 'carl')] })).toEqual({ ok: true, seq: 4 })
    })

    it('tells fields, maps and kinds of values apart', async () => {
      const claims = [
        email('1', 'a'),
        email(1, 'b'),
        email(new Uint8Array([49]), 'c'),
        email(['1'], 'd'),
        email({ '1': null }, 'e'),
        email(true, 'f'),
        email('', 'g'),
        email(null, 'h'),
        { ...email('1', 'i'), field: 'name' },
        { ...email('1', 'j'), mapName: 'others' },
        email('e\u0301', 'k'),
        email('\u00e9', 'l'),
        email('x'.repeat(300_000), 'm'),
      ]
      expect(await write({ seq: 1, unique: claims })).toEqual({ ok: true, seq: 1 })
      for (const claim of claims) {
        expect(await write({ seq: 2, unique: [{ ...claim, key: 'z' }] })).toMatchObject({
          ok: false,
          holder: claim.key,
        })
      }
    })

    it('takes a value that was released, but not by a record that did not hold it', async () => {
      await write({ seq: 1, unique: [email('x', 'ann')] })
      expect(await write({ seq: 2, unique: [release('x', 'bob'), release('free', 'bob')] })).toEqual({
        ok: true,
        seq: 2,
      })
      expect(await write({ seq: 3, unique: [email('x', 'bob')] })).toMatchObject({ holder: 'ann' })
      await write({ seq: 4, unique: [release('x', 'ann')] })
      expect(await write({ seq: 5, unique: [email('x', 'bob')] })).toEqual({ ok: true, seq: 5 })
    })

    it('releases before it claims, wherever they stand in the batch', async () => {
      await write({ seq: 1, unique: [email('x', 'ann'), email('y', 'bob')] })
      const swap = [email('x', 'bob'), release('x', 'ann'), email('y', 'ann'), release('y', 'bob')]
      expect(await write({ seq: 2, unique: swap })).toEqual({ ok: true, seq: 2 })
      expect(await write({ seq: 3, unique: [email('x', 'z')] })).toMatchObject({ holder: 'bob' })
      expect(await write({ seq: 3, unique: [email('y', 'z')] })).toMatchObject({ holder: 'ann' })
    })

    it('refuses two records that claim one value in one batch', async () => {
      const result = await write({ seq: 1, unique: [email('x', 'ann'), email('x', 'bob')] })
      expect(result).toEqual({ ok: false, reason: 'unique', failed: email('x', 'bob'), holder: 'ann' })
      expect(await write({ seq: 2, unique: [email('x', 'carl')] })).toEqual({ ok: true, seq: 2 })
    })

    it('keeps what a refused batch would have released', async () => {
      await write({ seq: 1, unique: [email('x', 'ann'), email('y', 'bob')] })
      await write({ seq: 2, unique: [release('x', 'ann'), email('y', 'ann')] })
      expect(await write({ seq: 3, unique: [email('x', 'carl')] })).toMatchObject({ ok: false, holder: 'ann' })
    })
  })

  describe('once', () => {
    const mark = (id: string, outcome: Value, clientId = 'client', atMs = 1000) => ({ clientId, id, outcome, atMs })

    it('writes a batch once and answers a repetition with the first outcome', async () => {
      const outcome = { rows: [1, 'ü', new Uint8Array([1])] }
      expect(await write({ seq: 1, records: [todo('a', 1)], once: mark('i', outcome) })).toEqual({ ok: true, seq: 1 })
      const before = await everything()
      const result = await write({ seq: 2, records: [todo('b', 2)], once: mark('i', 'second') })
      expect(result).toStrictEqual({ ok: false, reason: 'once', outcome })
      expect(await everything()).toStrictEqual(before)
    })

    it('tells clients and ids apart', async () => {
      for (const [client, id] of [
        ['a', 'bc'],
        ['ab', 'c'],
        ['', 'abc'],
        ['A', 'bc'],
        ['ä', '😀'],
      ] as const) {
        expect(await write({ seq: 1, once: mark(id, null, client) })).toEqual({ ok: true, seq: 1 })
        expect(await write({ seq: 1, once: mark(id, 1, client) })).toMatchObject({ reason: 'once', outcome: null })
      }
    })

    it('remembers for 24 hours, and not for ever', async () => {
      await write({ seq: 1, once: mark('old', 'first', 'client', 5000) })
      await write({ seq: 2, once: mark('day', null, 'client', 5000 + ONCE_RETENTION_MS) })
      expect(await write({ seq: 3, once: mark('old', 'second') })).toMatchObject({ reason: 'once', outcome: 'first' })
      const later = 5001 + ONCE_RETENTION_MS
      for (let i = 0; i < 5; i++) await write({ seq: 4, once: mark(`later ${i}`, null, 'client', later) })
      expect(await write({ seq: 5, once: mark('old', 'second', 'client', later) })).toEqual({ ok: true, seq: 5 })
    })
  })

  describe('fences', () => {
    it('refuses a token below the greatest that was used for the lock', async () => {
      for (const token of [5, 5, 9, 2 ** 52])
        expect(await write({ seq: 1, fence: [{ name: 'l', token }] })).toMatchObject({ ok: true })
      await reopen()
      const failed = { name: 'l', token: 9 }
      const before = await everything()
      const result = await write({ seq: 2, records: [todo('a', 2)], fence: [{ name: 'other', token: 1 }, failed] })
      expect(result).toEqual({ ok: false, reason: 'fence', failed, token: 2 ** 52 })
      expect(await everything()).toStrictEqual(before)
      expect(await write({ seq: 3, fence: [{ name: 'other', token: 0 }] })).toEqual({ ok: true, seq: 3 })
    })

    it('keeps the greater of two tokens of one lock', async () => {
      const fence = [9, 5].map((token) => ({ name: 'l', token }))
      expect(await write({ seq: 1, fence })).toEqual({ ok: true, seq: 1 })
      expect(await write({ seq: 2, fence: [{ name: 'l', token: 8 }] })).toMatchObject({ ok: false, token: 9 })
    })
  })

  describe('conditions together', () => {
    const conditions = {
      once: [
        { clientId: 'c', id: 'new', outcome: 2, atMs: 1 },
        { clientId: 'c', id: 'used', outcome: 2, atMs: 1 },
      ],
      fence: [[{ name: 'l', token: 6 }], [{ name: 'l', token: 4 }]],
      expect: [[{ mapName: 'todos', key: 'a', version: 1 }], [{ mapName: 'todos', key: 'a', version: 9 }]],
      unique: [
        [{ mapName: 'todos', field: 'f', value: 'v', key: 'a' }],
        [{ mapName: 'todos', field: 'f', value: 'v', key: 'b' }],
      ],
    } as const
    const order = ['once', 'fence', 'expect', 'unique'] as const
    const every = Array.from({ length: 16 }, (_, bits) => order.filter((_name, i) => (bits & (1 << i)) !== 0))

    it.each(every.map((failing) => [failing.join(', ') || 'none', failing] as const))(
      'answers the first that fails, in the order once, fence, expect, unique, and leaves no trace: %s',
      async (_, failing) => {
        await write({
          seq: 1,
          records: [todo('a', 1), todo('old', 1)],
          values: { kept: 'kept', changed: 'before' },
          once: { clientId: 'c', id: 'used', outcome: 'first', atMs: 1 },
          fence: [{ name: 'l', token: 5 }],
          unique: [{ mapName: 'todos', field: 'f', value: 'v', key: 'a' }],
        })
        const before = await everything()
        const result = await write({
          seq: 2,
          records: [todo('a', 2, 2), storedRecord('new map', 'x', 2, 1)],
          values: { changed: 'after', kept: null, added: 1 },
          forget: [{ mapName: 'todos', key: 'old', seq: 1 }],
          once: conditions.once[failing.includes('once') ? 1 : 0],
          fence: [{ name: 'l2', token: 3 }, ...conditions.fence[failing.includes('fence') ? 1 : 0]],
          expect: conditions.expect[failing.includes('expect') ? 1 : 0],
          unique: [
            { mapName: 'todos', field: 'f', value: 'w', key: 'x' },
            ...conditions.unique[failing.includes('unique') ? 1 : 0],
          ],
        })
        const [first] = failing
        if (first === undefined) {
          expect(result).toEqual({ ok: true, seq: 2 })
          expect(await load('new map')).toHaveLength(1)
          expect(keysOf(await load('todos'))).toEqual(['a'])
          expect(await subject.storage.list('')).toEqual([
            ['added', 1],
            ['changed', 'after'],
          ])
          return
        }
        expect(result).toMatchObject({ ok: false, reason: first })
        expect(await everything()).toStrictEqual(before)
        const untouched = await write({
          seq: 3,
          once: { clientId: 'c', id: 'new', outcome: 3, atMs: 1 },
          fence: [
            { name: 'l2', token: 0 },
            { name: 'l', token: 5 },
          ],
          unique: [{ mapName: 'todos', field: 'f', value: 'w', key: 'z' }],
        })
        expect(untouched).toEqual({ ok: true, seq: 3 })
      },
    )
  })
}
