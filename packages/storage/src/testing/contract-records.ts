import { describe, expect, it } from 'vitest'
import { LARGE_VALUES, SAMPLE_KEYS, SAMPLE_MAP_NAMES, SAMPLE_RECORDS, SAMPLE_VALUES, storedRecord } from './samples.ts'
import { keysOf, type StorageUnderTest, todo } from './under-test.ts'

/** What is written is given back unchanged, and replaced by what comes later. */
export function describeRecords(subject: StorageUnderTest): void {
  const { reopen, write, load, everything } = subject
  describe('records', () => {
    it('gives back what was written, and replaces it by what is written later', async () => {
      await write({ seq: 1, records: [todo('a', 1), todo('b', 1)] })
      await write({ seq: 2, records: [todo('a', 2, 2)] })
      expect(await load('todos')).toStrictEqual([todo('b', 1), todo('a', 2, 2)])
      expect(await load('nothing')).toEqual([])
    })

    it('leaves a record with a greater seq as it is, and writes the rest of the batch', async () => {
      await write({ seq: 9, records: [todo('a', 9)] })
      expect(await write({ seq: 10, records: [todo('a', 8), todo('b', 8)], values: { v: 1 } })).toEqual({
        ok: true,
        seq: 10,
      })
      expect(await load('todos')).toStrictEqual([todo('b', 8), todo('a', 9)])
      expect(await subject.storage.get('v')).toBe(1)
    })

    it('takes the same batch again without a change', async () => {
      const batch = { seq: 2, records: [todo('a', 1), todo('b', 2)], values: { v: 'w' } }
      await write(batch)
      const before = await everything()
      expect(await write(batch)).toEqual({ ok: true, seq: 2 })
      expect(await everything()).toStrictEqual(before)
    })

    it('replaces a record of the same seq', async () => {
      await write({ seq: 1, records: [todo('a', 1)] })
      await write({ seq: 1, records: [storedRecord('todos', 'a', 1, 'again')] })
      expect((await load('todos'))[0]?.record.value).toBe('again')
    })

    it('keeps maps and keys apart', async () => {
      const pairs = [
        ['a', 'bc'],
        ['ab', 'c'],
        ['', 'abc'],
        ['abc', ''],
        ['A', 'bc'],
        ['a', 'bc '],
      ] as const
      await write({
        seq: 1,
        records: pairs.map(([mapName, key]) => storedRecord(mapName, key, 1, `${mapName}|${key}`)),
      })
      for (const [mapName, key] of pairs) {
        expect((await load(mapName)).find((record) => record.key === key)?.record.value).toBe(`${mapName}|${key}`)
      }
    })

    it('forgets a record whose seq is not greater than given, and no other', async () => {
      await write({ seq: 3, records: [todo('below', 1), todo('at', 2), todo('above', 3)] })
      const forget = ['below', 'at', 'above', 'missing'].map((key) => ({ mapName: 'todos', key, seq: 2 }))
      await write({ seq: 4, forget: [...forget, { mapName: 'no map', key: 'at', seq: 9 }] })
      expect(keysOf(await load('todos'))).toEqual(['above'])
    })

    it('forgets after it has written the records of the batch', async () => {
      await write({ seq: 5, records: [todo('a', 5), todo('b', 4)], forget: [{ mapName: 'todos', key: 'b', seq: 4 }] })
      expect(keysOf(await load('todos'))).toEqual(['a'])
    })

    it('starts over with a record that was forgotten: its version counts as 0', async () => {
      await write({ seq: 1, records: [todo('a', 1, 6)] })
      await write({ seq: 2, forget: [{ mapName: 'todos', key: 'a', seq: 1 }] })
      const again = { seq: 3, records: [todo('a', 1, 1)], expect: [{ mapName: 'todos', key: 'a', version: 0 }] }
      expect(await write(again)).toEqual({ ok: true, seq: 3 })
      expect(await load('todos')).toStrictEqual([todo('a', 1, 1)])
    })
  })

  describe('round trips', () => {
    it.each([
      ['samples of every kind', SAMPLE_VALUES],
      ['values of 256 KiB, a byte less and a byte more', LARGE_VALUES],
    ])('keeps values unchanged: %s', async (_, values) => {
      const written = values.map((value, i) => storedRecord('todos', `k${i}`, i + 1, value))
      await write({ seq: written.length, records: written })
      await reopen()
      expect(await load('todos')).toStrictEqual(written)
    })

    it('keeps each value unchanged in a batch of its own', async () => {
      const written = SAMPLE_VALUES.map((value, i) => storedRecord('todos', 'k', i + 1, value))
      for (const stored of written) {
        await write({ seq: stored.seq, records: [stored] })
        expect(await load('todos')).toStrictEqual([stored])
      }
    })

    it('keeps tombstones, times to live, field stamps, unsets and hidden fields unchanged', async () => {
      const written = SAMPLE_RECORDS.map((record, i) => storedRecord('todos', `k${i}`, i + 1, null, { record }))
      await write({ seq: written.length, records: written })
      await reopen()
      expect(await load('todos')).toStrictEqual(written)
    })

    it('keeps keys unchanged and apart, up to their limit and beyond', async () => {
      const written = SAMPLE_KEYS.map((key, i) => storedRecord('todos', key, i + 1, i))
      await write({ seq: written.length, records: written })
      expect(await load('todos')).toStrictEqual(written)
    })

    it('keeps map names unchanged and apart, up to their limit and beyond', async () => {
      const written = SAMPLE_MAP_NAMES.map((mapName, i) => storedRecord(mapName, 'k', i + 1, i))
      await write({ seq: written.length, records: written })
      expect([...(await reopen()).mapNames].sort()).toEqual([...SAMPLE_MAP_NAMES].sort())
      for (const stored of written) expect(await load(stored.mapName)).toStrictEqual([stored])
    })

    it('keeps seq, version and arrival unchanged up to the greatest safe integer', async () => {
      const greatest = Number.MAX_SAFE_INTEGER
      const [{ record }] = [todo('a', 1)]
      const stored = {
        ...storedRecord('todos', 'a', greatest, 1, { record, version: greatest }),
        arrival: { millis: greatest, counter: 65_535, nodeId: 'é' },
      }
      expect(await write({ seq: greatest, records: [stored] })).toEqual({ ok: true, seq: greatest })
      expect((await reopen()).durableSeq).toBe(greatest)
      expect(await load('todos')).toStrictEqual([stored])
    })

    it('keeps stored values unchanged', async () => {
      const values = Object.fromEntries([...SAMPLE_VALUES, ...LARGE_VALUES].map((value, i) => [`k${i}`, value]))
      await write({ seq: 1, values })
      await reopen()
      expect(Object.fromEntries(await subject.storage.list('k'))).toStrictEqual(values)
      for (const [key, value] of Object.entries(values)) expect(await subject.storage.get(key)).toStrictEqual(value)
    })

    it('keeps the keys of stored values unchanged and apart', async () => {
      const values = Object.fromEntries(SAMPLE_KEYS.map((key, i) => [key, i]))
      await write({ seq: 1, values })
      for (const [key, value] of Object.entries(values)) expect(await subject.storage.get(key)).toBe(value)
      expect(await subject.storage.list('')).toHaveLength(SAMPLE_KEYS.length)
    })
  })
}
