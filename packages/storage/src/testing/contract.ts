import type { Value } from '@syncline/core'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { StorageError, type StorageAdapter } from '../adapter.ts'
import { describeConditions } from './contract-conditions.ts'
import { describeReads } from './contract-reads.ts'
import { describeRecords } from './contract-records.ts'
import { StorageModel, compareBytes } from './model.ts'
import { MAPS, Random, randomBatch } from './random-batches.ts'
import { storedRecord } from './samples.ts'
import { keysOf, StorageUnderTest, todo, type StorageContractOptions } from './under-test.ts'

export type { StorageContractOptions } from './under-test.ts'

/** Describes the contract of `StorageAdapter` to vitest: every adapter passes every test of it. */
export function describeStorageContract(name: string, options: StorageContractOptions): void {
  describe(`${name}: storage contract`, () => {
    const subject = new StorageUnderTest(options)
    const { reopen, write, load } = subject

    beforeEach(() => subject.create())
    afterEach(() => subject.destroy())

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
        const read = subject.storage.get('nothing')
        await subject.storage.close()
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

    describeRecords(subject)
    describeConditions(subject)
    describeReads(subject)

    describe('order', () => {
      it('carries out writes in the order of the calls, however many are under way', async () => {
        const writes = Array.from({ length: 60 }, (_, i) => {
          const chain = i === 0 || i % 5 === 4 ? {} : { expect: [{ mapName: 'todos', key: 'a', version: i }] }
          return write({ seq: i + 1, records: [todo('a', i + 1, i + 1)], values: { last: i }, ...chain })
        })
        expect(await Promise.all(writes)).toEqual(writes.map((_, i) => ({ ok: true, seq: i + 1 })))
        expect(await load('todos')).toStrictEqual([todo('a', 60, 60)])
        expect(await subject.storage.get('last')).toBe(59)
      })

      it('lets a read see every write that was called before it, and none after it', async () => {
        const answers: Promise<unknown>[] = []
        for (let i = 1; i <= 20; i++) {
          void write({ seq: i, records: [todo('a', i)], values: { v: i } })
          answers.push(subject.storage.get('v'), subject.storage.list('v'), subject.storage.changesSince('todos', 0, 9))
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

    it.each(options.seeds ?? [1, 2, 3, 4])(
      'does what a plain model does with random batches (seed %i)',
      async (seed) => {
        const random = new Random(seed)
        const model = new StorageModel()
        for (let round = 0, seq = 1; round < 40; round++) {
          const batches = Array.from({ length: 1 + random.below(8) }, () => {
            const batch = randomBatch(random, (seq += random.below(3)), model)
            return { batch, expected: model.write(batch), result: subject.storage.write(batch) }
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
          expect(await subject.storage.changesSince(mapName, since, limit)).toStrictEqual(
            model.changesSince(mapName, since, limit),
          )
          const prefix = random.pick(['', 'x', 'x/', 'y%'])
          expect(await subject.storage.list(prefix)).toStrictEqual(model.list(prefix))
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
