import { describe, expect, it } from 'vitest'
import type { StoredRecord, WriteResult } from '../adapter.ts'
import { StorageModel, compareBytes } from './model.ts'
import { storedRecord } from './samples.ts'
import { keysOf, type StorageUnderTest, todo } from './under-test.ts'

/** Maps and values are read whole, in order and by what has changed. */
export function describeReads(subject: StorageUnderTest): void {
  const { write, load } = subject
  describe('reading maps', () => {
    const many = 2500
    // Three records to a commit, in an order that is neither that of seq nor of key.
    const records = Array.from({ length: many }, (_, i) => todo(`k${(i * 7919) % many}`, Math.floor(i / 3) + 1))
    const inOrder = [...records].sort((a, b) => a.seq - b.seq || compareBytes(a.key, b.key))
    const last = inOrder.at(-1)?.seq as number

    it('loads all records in pages, by seq and then key', async () => {
      const shuffled = [...records].sort((a, b) => compareBytes(a.key, b.key))
      await write({ seq: last, records: shuffled })
      await write({ seq: last, records: [storedRecord('others', 'x', 2, 1)] })
      expect(await load('todos')).toStrictEqual(inOrder)
    })

    it('orders keys of one commit by their UTF-8 bytes', async () => {
      const keys = [
        '\u{1f600}',
        '\ufffd',
        'b',
        'B',
        'a',
        '',
        'aa',
        '\u00e9',
        'e\u0301',
        '\u07ff',
        '\u0800',
        '\ue000',
        '\ud7ff',
      ]
      await write({
        seq: 1,
        records: keys.map((key) => todo(key, 1)),
        values: Object.fromEntries(keys.map((key) => [key, 1])),
      })
      expect(keysOf(await load('todos'))).toEqual([...keys].sort(compareBytes))
      expect((await subject.storage.list('')).map(([key]) => key)).toEqual([...keys].sort(compareBytes))
    })

    it('loads a map whole while it is written to', async () => {
      await write({ seq: last, records })
      const changes: StoredRecord[] = [inOrder[0] as StoredRecord, inOrder.at(-1) as StoredRecord].map(({ key }) =>
        todo(key, last + 1, 2),
      )
      const loaded = new Map<string, StoredRecord>()
      let written: Promise<WriteResult> | undefined
      for await (const page of subject.storage.load('todos')) {
        for (const record of page) {
          expect(loaded.get(record.key)?.seq ?? 0).toBeLessThan(record.seq)
          loaded.set(record.key, record)
        }
        written ??= write({ seq: last + 1, records: [...changes, todo('new', last + 1)] })
      }
      await written
      for (const record of records) {
        const changed = changes.find(({ key }) => key === record.key)
        expect([record, changed]).toContainEqual(loaded.get(record.key))
      }
    })

    it('gives changes after a seq, never cutting a commit', async () => {
      await write({ seq: last, records })
      for (const limit of [0, 1, 2, 3, 4, 299, 300, 301, many, many + 1]) {
        const model = new StorageModel()
        model.records = records
        for (const seq of [0, 1, 400, last - 1, last]) {
          expect(await subject.storage.changesSince('todos', seq, limit)).toStrictEqual(
            model.changesSince('todos', seq, limit),
          )
        }
      }
      expect(await subject.storage.changesSince('nothing', 0, 10)).toEqual([])
    })

    it('lets a reader walk through all changes by the last seq it was given', async () => {
      await write({ seq: last, records })
      const walked: StoredRecord[] = []
      for (let page = await subject.storage.changesSince('todos', 0, 100); ;) {
        walked.push(...page)
        if (page.length < 100) break
        page = await subject.storage.changesSince('todos', walked.at(-1)?.seq as number, 100)
      }
      expect(walked).toStrictEqual(inOrder)
    })
  })

  describe('values', () => {
    it('gives null where there is none, and deletes by null', async () => {
      await write({ seq: 1, values: { a: 1, b: 2, c: false } })
      await write({ seq: 2, values: { a: null, b: 3, missing: null } })
      expect(await subject.storage.get('a')).toBeNull()
      expect(await subject.storage.list('')).toEqual([
        ['b', 3],
        ['c', false],
      ])
    })

    it('lists by prefix, taking every character of it literally', async () => {
      const keys = ['p', 'p%', 'p%1', 'p_', 'p_1', 'pp', 'P', 'p/a', 'p/b', 'p/😀', 'p/\uffff', 'p0', 'q', 'p[a]', 'p*']
      await write({ seq: 1, values: Object.fromEntries(keys.map((key) => [key, key])) })
      for (const prefix of ['', 'p', 'p%', 'p_', 'p/', 'p/😀', 'p*', 'p[', 'r', 'P']) {
        const expected = keys.filter((key) => key.startsWith(prefix)).sort(compareBytes)
        expect(await subject.storage.list(prefix)).toEqual(expected.map((key) => [key, key]))
      }
    })
  })
}
