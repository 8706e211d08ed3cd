import type { Value } from '@syncline/core'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  ONCE_RETENTION_MS,
  StorageError,
  type StorageAdapter,
  type StoredRecord,
  type WriteBatch,
  type WriteResult,
} from '../adapter.ts'
import { StorageModel, compareBytes } from './model.ts'
import { MAPS, Random, randomBatch } from './random-batches.ts'
import { LARGE_VALUES, SAMPLE_KEYS, SAMPLE_MAP_NAMES, SAMPLE_RECORDS, SAMPLE_VALUES, storedRecord } from './samples.ts'

/** How the suite gets at the storages it tests. */
export interface StorageContractOptions {
  /** Makes a storage over a new, empty database, and does not open it. */
  create(): StorageAdapter | Promise<StorageAdapter>
  /** Makes another storage over the database of one that was closed. Without it the closed one is opened again. */
  reopen?(closed: StorageAdapter): StorageAdapter | Promise<StorageAdapter>
  /** Makes an open storage fail for good, as a broken disk does. Left out where nothing can fail. */
  breakDown?(storage: StorageAdapter): unknown
  /** Removes the database of a storage that was closed. */
  destroy?(closed: StorageAdapter): void | Promise<void>
  /** Seeds of the random batches. */
  readonly seeds?: readonly number[]
}

/** Describes the contract of `StorageAdapter` to vitest: every adapter passes every test of it. */
export function describeStorageContract(name: string, options: StorageContractOptions): void {
  describe(`${name}: storage contract`, () => {
    let storage: StorageAdapter

    beforeEach(async () => {
      storage = await options.create()
      await storage.open('first-id')
    })

    afterEach(async () => {
      await storage.close()
      await options.destroy?.(storage)
    })

    const reopen = async (newDatabaseId = 'other-id') => {
      await storage.close()
      storage = (await options.reopen?.(storage)) ?? storage
      return storage.open(newDatabaseId)
    }
    const write = (batch: Partial<WriteBatch> & { seq: number }): Promise<WriteResult> =>
      storage.write({ records: [], ...batch })
    const load = async (mapName: string): Promise<StoredRecord[]> => {
      const records: StoredRecord[] = []
      for await (const page of storage.load(mapName)) records.push(...page)
      return records
    }
    const todo = (key: string, seq: number, version = 1) => storedRecord('todos', key, seq, `at ${seq}`, { version })
    const keysOf = (records: readonly StoredRecord[]): string[] => records.map(({ key }) => key)
    /** Everything that can be seen of the database without closing it. */
    const everything = async () => {
      const mapNames = ['todos', 'people', 'new map', 'no map']
      const durableSeq = await write({ seq: 0 })
      return { durableSeq, records: await Promise.all(mapNames.map(load)), values: await storage.list('') }
    }

    describe('opening and closing', () => {
      it('names a new database as it is told, with nothing in it', async () => {
        const fresh = await options.create()
        expect(await fresh.open('its-name')).toEqual({ databaseId: 'its-name', durableSeq: 0, mapNames: [] })
        await fresh.close()
        await options.destroy?.(fresh)
      })

      it('keeps the name, the durable seq and the map names of a database', async () => {
        await write({ seq: 7, records: [todo('a', 5), storedRecord('people', 'b', 7, 1)] })
        const state = await reopen('another-name')
        expect(state).toMatchObject({ databaseId: 'first-id', durableSeq: 7 })
        expect([...state.mapNames].sort()).toEqual(['people', 'todos'])
      })

      it('counts a batch without records into the durable seq, and never goes back', async () => {
        expect(await write({ seq: 2 ** 40 })).toEqual({ ok: true, seq: 2 ** 40 })
        expect(await write({ seq: 3, records: [todo('late', 3)] })).toEqual({ ok: true, seq: 2 ** 40 })
        expect((await reopen()).durableSeq).toBe(2 ** 40)
      })

      it('names only maps that hold records', async () => {
        await write({
          seq: 1,
          records: [todo('a', 1), storedRecord('gone', 'b', 1, 1), storedRecord('dead', 'c', 1, null)],
        })
        await write({ seq: 2, forget: [{ mapName: 'gone', key: 'b', seq: 1 }] })
        expect([...(await reopen()).mapNames].sort()).toEqual(['dead', 'todos'])
      })

      it('keeps no trace of a refused batch', async () => {
        const refused = {
          records: [storedRecord('new map', 'a', 9, 1)],
          expect: [{ mapName: 'm', key: 'k', version: 1 }],
        }
        expect(await write({ seq: 9, ...refused })).toMatchObject({ ok: false })
        expect(await reopen()).toEqual({ databaseId: 'first-id', durableSeq: 0, mapNames: [] })
      })

      it('finishes what was handed over before it closes', async () => {
        const writes = Array.from({ length: 30 }, (_, i) => write({ seq: i + 1, records: [todo(`k${i}`, i + 1)] }))
        const read = storage.get('nothing')
        await storage.close()
        expect(await Promise.all(writes)).toEqual(writes.map((_, i) => ({ ok: true, seq: i + 1 })))
        expect(await read).toBeNull()
        expect((await reopen()).durableSeq).toBe(30)
        expect(await load('todos')).toHaveLength(30)
      })

      it('rejects every call before open and after close, and closes twice without complaint', async () => {
        const fresh = await options.create()
        await expectAllToReject(fresh)
        await fresh.open('id')
        await expect(fresh.open('id')).rejects.toBeInstanceOf(StorageError)
        await fresh.close()
        await fresh.close()
        await expectAllToReject(fresh)
        await options.destroy?.(fresh)
      })
    })

    describe('failing for good', () => {
      const keptOpen = async () => {
        const fatal: StorageError[] = []
        const fresh = await options.create()
        await fresh.open('id', (error) => fatal.push(error))
        return { fresh, fatal }
      }

      it('calls onFatal for no refusal, no batch that cannot be written and no close', async () => {
        const { fresh, fatal } = await keptOpen()
        const expected = { mapName: 'todos', key: 'a', version: 1 }
        expect(await fresh.write({ seq: 1, records: [todo('a', 1)], expect: [expected] })).toMatchObject({ ok: false })
        await fresh.write({ seq: 1, records: [storedRecord('todos', 'deep', 1, endless())] }).catch(() => {})
        await fresh.close()
        await expectAllToReject(fresh)
        await options.destroy?.(fresh)
        expect(fatal).toEqual([])
      })

      it.skipIf(options.breakDown === undefined)(
        'INV-8: calls onFatal once, as soon as it is known and without being asked; every call rejects with `io`',
        async () => {
          const { fresh, fatal } = await keptOpen()
          await fresh.write({ seq: 1, records: [todo('a', 1)] })
          await options.breakDown?.(fresh)
          await vi.waitFor(() => expect(fatal).toMatchObject([{ fault: 'io' }]), 10_000)
          expect(fatal[0]).toBeInstanceOf(StorageError)
          const calls = [
            fresh.write({ seq: 2, records: [] }),
            fresh.load('todos')[Symbol.asyncIterator]().next(),
            fresh.changesSince('todos', 0, 1),
            fresh.get('a'),
            fresh.list(''),
            fresh.close(),
          ]
          for (const call of await Promise.allSettled(calls)) {
            expect(call).toMatchObject({ status: 'rejected', reason: { fault: 'io' } })
          }
          expect(fatal).toHaveLength(1)
          await options.destroy?.(fresh)
        },
      )
    })

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
        expect(await storage.get('v')).toBe(1)
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
        expect(Object.fromEntries(await storage.list('k'))).toStrictEqual(values)
        for (const [key, value] of Object.entries(values)) expect(await storage.get(key)).toStrictEqual(value)
      })

      it('keeps the keys of stored values unchanged and apart', async () => {
        const values = Object.fromEntries(SAMPLE_KEYS.map((key, i) => [key, i]))
        await write({ seq: 1, values })
        for (const [key, value] of Object.entries(values)) expect(await storage.get(key)).toBe(value)
        expect(await storage.list('')).toHaveLength(SAMPLE_KEYS.length)
      })
    })

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
            expect(await storage.list('')).toEqual([
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

    describe('order', () => {
      it('carries out writes in the order of the calls, however many are under way', async () => {
        const writes = Array.from({ length: 60 }, (_, i) => {
          const chain = i === 0 || i % 5 === 4 ? {} : { expect: [{ mapName: 'todos', key: 'a', version: i }] }
          return write({ seq: i + 1, records: [todo('a', i + 1, i + 1)], values: { last: i }, ...chain })
        })
        expect(await Promise.all(writes)).toEqual(writes.map((_, i) => ({ ok: true, seq: i + 1 })))
        expect(await load('todos')).toStrictEqual([todo('a', 60, 60)])
        expect(await storage.get('last')).toBe(59)
      })

      it('lets a read see every write that was called before it, and none after it', async () => {
        const answers: Promise<unknown>[] = []
        for (let i = 1; i <= 20; i++) {
          void write({ seq: i, records: [todo('a', i)], values: { v: i } })
          answers.push(storage.get('v'), storage.list('v'), storage.changesSince('todos', 0, 9))
        }
        const expected = Array.from({ length: 20 }, (_, i) => [i + 1, [['v', i + 1]], [todo('a', i + 1)]])
        expect(await Promise.all(answers)).toEqual(expected.flat())
      })

      it('refuses one of several batches under way and writes the others', async () => {
        const absent = [{ mapName: 'todos', key: 'a', version: 0 }]
        const results = [1, 2, 3].map((seq) =>
          write({ seq, records: [todo('a', seq), todo(`b${seq}`, seq)], expect: absent }),
        )
        results.push(write({ seq: 4, records: [todo('c', 4)] }))
        expect((await Promise.all(results)).map(({ ok }) => ok)).toEqual([true, false, false, true])
        expect(keysOf(await load('todos'))).toEqual(['a', 'b1', 'c'])
      })
    })

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
        expect((await storage.list('')).map(([key]) => key)).toEqual([...keys].sort(compareBytes))
      })

      it('loads a map whole while it is written to', async () => {
        await write({ seq: last, records })
        const changes: StoredRecord[] = [inOrder[0] as StoredRecord, inOrder.at(-1) as StoredRecord].map(({ key }) =>
          todo(key, last + 1, 2),
        )
        const loaded = new Map<string, StoredRecord>()
        let written: Promise<WriteResult> | undefined
        for await (const page of storage.load('todos')) {
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
            expect(await storage.changesSince('todos', seq, limit)).toStrictEqual(
              model.changesSince('todos', seq, limit),
            )
          }
        }
        expect(await storage.changesSince('nothing', 0, 10)).toEqual([])
      })

      it('lets a reader walk through all changes by the last seq it was given', async () => {
        await write({ seq: last, records })
        const walked: StoredRecord[] = []
        for (let page = await storage.changesSince('todos', 0, 100); ;) {
          walked.push(...page)
          if (page.length < 100) break
          page = await storage.changesSince('todos', walked.at(-1)?.seq as number, 100)
        }
        expect(walked).toStrictEqual(inOrder)
      })
    })

    describe('values', () => {
      it('gives null where there is none, and deletes by null', async () => {
        await write({ seq: 1, values: { a: 1, b: 2, c: false } })
        await write({ seq: 2, values: { a: null, b: 3, missing: null } })
        expect(await storage.get('a')).toBeNull()
        expect(await storage.list('')).toEqual([
          ['b', 3],
          ['c', false],
        ])
      })

      it('lists by prefix, taking every character of it literally', async () => {
        const keys = [
          'p',
          'p%',
          'p%1',
          'p_',
          'p_1',
          'pp',
          'P',
          'p/a',
          'p/b',
          'p/😀',
          'p/\uffff',
          'p0',
          'q',
          'p[a]',
          'p*',
        ]
        await write({ seq: 1, values: Object.fromEntries(keys.map((key) => [key, key])) })
        for (const prefix of ['', 'p', 'p%', 'p_', 'p/', 'p/😀', 'p*', 'p[', 'r', 'P']) {
          const expected = keys.filter((key) => key.startsWith(prefix)).sort(compareBytes)
          expect(await storage.list(prefix)).toEqual(expected.map((key) => [key, key]))
        }
      })
    })

    it.each(options.seeds ?? [1, 2, 3, 4])(
      'does what a plain model does with random batches (seed %i)',
      async (seed) => {
        const random = new Random(seed)
        const model = new StorageModel()
        for (let round = 0, seq = 1; round < 40; round++) {
          const batches = Array.from({ length: 1 + random.below(8) }, () => {
            const batch = randomBatch(random, (seq += random.below(3)), model)
            return { batch, expected: model.write(batch), result: storage.write(batch) }
          })
          for (const { batch, expected, result } of batches)
            expect({ batch, result: await result }).toEqual({ batch, result: expected })
          if (random.chance(8)) {
            const { databaseId, durableSeq, mapNames } = await reopen()
            const found = { databaseId, durableSeq, mapNames: [...mapNames].sort(compareBytes) }
            expect(found).toEqual({ databaseId: 'first-id', durableSeq: model.durableSeq, mapNames: model.mapNames() })
          }
          const [mapName, since, limit] = [random.pick(MAPS), random.below(seq + 1), random.below(8)]
          expect(await load(mapName)).toStrictEqual(model.load(mapName))
          expect(await storage.changesSince(mapName, since, limit)).toStrictEqual(
            model.changesSince(mapName, since, limit),
          )
          const prefix = random.pick(['', 'x', 'x/', 'y%'])
          expect(await storage.list(prefix)).toStrictEqual(model.list(prefix))
        }
      },
    )
  })
}

/** A value that nests too deep for whoever walks it. */
function endless(): Value {
  let value: Value = 1
  for (let depth = 0; depth < 200_000; depth++) value = [value]
  return value
}

async function expectAllToReject(storage: StorageAdapter): Promise<void> {
  const calls = [
    storage.write({ records: [], seq: 1 }),
    storage.load('todos')[Symbol.asyncIterator]().next(),
    storage.changesSince('todos', 0, 1),
    storage.get('a'),
    storage.list(''),
  ]
  for (const call of await Promise.allSettled(calls)) {
    expect(call).toMatchObject({ status: 'rejected' })
    if (call.status === 'rejected') expect(call.reason).toBeInstanceOf(StorageError)
  }
}
