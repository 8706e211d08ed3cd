import { wholeWrite, type Value } from '@syncline/core'
import type { ReceivedOp, WriteConcern } from '@syncline/protocol'
import { describe, expect, test } from 'vitest'
import { Authorizer, type Action, type MapRights, type PushGrant, type WriteGrant } from '../inbound/authorize.ts'
import { Limits } from '../telemetry/limits.ts'
import { Metrics } from '../telemetry/metrics.ts'
import { MovableEnv, patch, put, remove, stampAt } from '../testing/harness.ts'
import type { CommitOutcome, PushedRecord } from './commit-request.ts'
import type { Entry, MapState } from './map-state.ts'
import { Store } from './store.ts'

const openStore = (): Promise<Store> =>
  Store.open({
    env: new MovableEnv(),
    storage: undefined,
    nodeId: 'n',
    maxClockDriftMs: 60_000,
    maxUnstoredBytes: 1e9,
    limits: new Limits(new Metrics()),
    metrics: new Metrics(),
    retention: { gcIntervalMs: 60_000, tombstoneRetentionDays: 30 },
    onChange: () => {},
    onFatal: () => {},
  })

function rightsTo(actions: readonly Action[], allowedFields?: readonly string[]): MapRights {
  const policy = { role: 'R', mapNamePattern: 'm', actions, ...(allowedFields === undefined ? {} : { allowedFields }) }
  return new Authorizer([policy], false).rights({ userId: 'u', roles: ['R'] }, 'm')
}

const all = rightsTo(['ALL'])
const grant = all.write as WriteGrant
const push = all.push as PushGrant
const level: WriteConcern = 'MEMORY'
const pushed = (key: string, value: Value): PushedRecord => ({ key, record: wholeWrite(value, stampAt()) })
const codesOf = (outcomes: readonly CommitOutcome[]): string[] =>
  outcomes.map((outcome) => (outcome.ok ? 'ok' : outcome.error.errorCode))
const valueOf = (store: Store, key: string): Value | undefined =>
  store.residency.resident('m')?.entriesByKey.get(key)?.record.value

describe('a commit', () => {
  test('INV-21: changes data under a grant of the authorizer, or does not compile', async () => {
    const { committer } = await openStore()
    const forged = { mapName: 'm', canPut: true, canRemove: true, fields: undefined }
    const ops = [put('m', 'k', 1) as ReceivedOp]
    const records = [pushed('k', 1)]
    const neverCalled = (): void => {
      // @ts-expect-error A grant is made by the authorizer alone.
      committer.commit({ grant: forged, ops, level })
      // @ts-expect-error A grant is made by the authorizer alone.
      committer.commit({ grant: forged, records, level })
      // @ts-expect-error Nothing is changed without one.
      committer.commit({ ops, level })
      // @ts-expect-error Who may write may not push for that.
      committer.commit({ grant, records, level })
      // @ts-expect-error A right to push is none to send ops.
      committer.commit({ grant: push, ops, level })
      // @ts-expect-error A right to read is none to write.
      committer.commit({ grant: all.view, ops, level })
    }
    expect(neverCalled).toBeTypeOf('function')
    expect(codesOf(committer.commit({ grant, ops, level }))).toEqual(['ok'])
  })

  test('INV-21: is the only way to change a map that is in memory: any other does not compile', async () => {
    const store = await openStore()
    store.committer.commit({ grant, ops: [put('m', 'k', 1) as ReceivedOp], level })
    const map = store.residency.resident('m') as MapState
    const entry = map.entriesByKey.get('k') as Entry
    const neverCalled = (): void => {
      // @ts-expect-error A map is read-only outside the store.
      map.advance(entry, entry.record, 1, entry.arrival)
      // @ts-expect-error So are its entries,
      entry.record = wholeWrite(2, stampAt())
      // @ts-expect-error and which of them there are,
      map.entriesByKey.delete('k')
      // @ts-expect-error and their order.
      map.log.append(entry, 2, false)
      // @ts-expect-error Nobody else keeps maps, or makes ones that could be kept.
      store.residency.keep(map)
    }
    expect(neverCalled).toBeTypeOf('function')
    expect(entry.record.value).toBe(1)
  })

  test('INV-21: is of the map that its grant names, whatever the op says', async () => {
    const store = await openStore()
    store.committer.commit({ grant, ops: [put('other', 'k', 1) as ReceivedOp], level })
    expect(valueOf(store, 'k')).toBe(1)
    expect(store.residency.resident('other')?.entriesByKey.size).toBe(0)
  })

  test('takes or refuses each op by itself, and answers in their order', async () => {
    const store = await openStore()
    const ops = [put('m', 'a', 1), patch('m', 'none', { x: 1 }), put('m', 'b', { x: 1 }), patch('m', 'b', { y: 2 })]
    ops.push(put('m', 'c', 1, { stamp: stampAt(Date.now() + 120_000) }), remove('m', 'a'))
    const outcomes = store.committer.commit({ grant, ops: ops as ReceivedOp[], level })
    expect(codesOf(outcomes)).toEqual(['ok', 'NOT_FOUND', 'ok', 'ok', 'CLOCK_SKEW', 'ok'])
    expect([valueOf(store, 'a'), valueOf(store, 'b'), valueOf(store, 'c')]).toEqual([null, { x: 1, y: 2 }, undefined])
    const seqs = outcomes.flatMap((outcome) => (outcome.ok ? [outcome.seq] : []))
    expect(seqs).toEqual(seqs.toSorted((a, b) => a - b))
  })

  test('is refused whole, and changes nothing, at a level that the server cannot give', async () => {
    const store = await openStore()
    const ops = [put('m', 'a', 1), put('m', 'b', 1)] as ReceivedOp[]
    const before = store.sequencer.seq
    expect(codesOf(store.committer.commit({ grant, ops, level: 'PERSISTED' }))).toEqual([
      'WRITE_CONCERN_UNAVAILABLE',
      'WRITE_CONCERN_UNAVAILABLE',
    ])
    expect(store.sequencer.seq).toBe(before)
    expect(valueOf(store, 'a')).toBeUndefined()
  })

  test('INV-21: only who reads and writes the whole map has a grant to push, and tombstones need REMOVE', async () => {
    const others: Action[][] = [['READ'], ['PUT'], ['READ', 'REMOVE'], ['PUT', 'REMOVE']]
    expect(others.map((actions) => rightsTo(actions).push)).toEqual(others.map(() => undefined))
    expect(rightsTo(['ALL'], ['a']).push).toBeUndefined()
    const store = await openStore()
    const withoutRemove = rightsTo(['READ', 'PUT']).push as PushGrant
    const records = [pushed('a', 1), pushed('b', null)]
    expect(codesOf(store.committer.commit({ grant: withoutRemove, records, level }))).toEqual(['ok', 'FORBIDDEN'])
    expect(codesOf(store.committer.commit({ grant: push, records, level }))).toEqual(['ok', 'ok'])
  })
})
