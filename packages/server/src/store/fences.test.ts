import { memoryStorage, StorageError } from '@syncline/storage'
import { describe, expect, test } from 'vitest'
import { nodeEnv } from '../env.ts'
import { GatedStorage, until } from '../testing/harness.ts'
import { Limits } from '../telemetry/limits.ts'
import { Metrics } from '../telemetry/metrics.ts'
import { Store } from './store.ts'

/** Tokens set aside at once. */
const BLOCK = 1_000_000

function open(storage: GatedStorage): Promise<Store> {
  const metrics = new Metrics()
  return Store.open({
    env: nodeEnv('error', () => {}),
    storage,
    nodeId: 'n',
    maxClockDriftMs: 60_000,
    maxUnstoredBytes: 1_000_000,
    limits: new Limits(metrics),
    metrics,
    retention: { gcIntervalMs: 60_000, tombstoneRetentionDays: 30 },
    onChange: () => {},
    onFatal: () => {},
  })
}

/** Takes a lock and gives it back, so often. Answers the latest token, undefined where there was none. */
function grant(store: Store, times: number): number | undefined {
  let token: number | undefined
  for (let i = 0; i < times; i++) {
    token = store.fences.grant('n')
    store.fences.free('n')
  }
  return token
}

describe('tokens that are set aside', () => {
  test('INV-19 [LK8]: are renewed though nothing else is written, and none is granted that storage has not set aside', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    const store = await open(storage)
    const first = grant(store, 1) as number
    storage.hold()
    expect(grant(store, BLOCK - 1)).toBe(first + BLOCK - 1)
    expect(grant(store, 10)).toBeUndefined()
    await until(() => storage.heldCount === 1, 'the renewal')
    storage.release()
    await until(() => store.fences.grant('n') !== undefined, 'more tokens')
    expect(grant(store, 1)).toBe(first + BLOCK + 1)
    await store.close()
  })

  test('INV-19 [LK8] [LK11]: are asked for again where storage refused', async () => {
    const storage = new GatedStorage(memoryStorage(), true)
    const store = await open(storage)
    storage.fault = () => new StorageError('unavailable', 'Gone.')
    const last = grant(store, BLOCK) as number
    await until(() => store.committer.refusal()?.errorCode === 'STORAGE_UNAVAILABLE', 'the refusal')
    storage.fault = undefined
    await until(() => store.committer.refusal() === undefined, 'storage to work again')
    expect(store.fences.grant('n')).toBe(last + 1)
    await store.close()
  })

  test('INV-19 [LK8]: are not granted again after a stop while they were being renewed, clean or not', async () => {
    for (const isClean of [true, false]) {
      const inner = memoryStorage()
      const storage = new GatedStorage(inner, true)
      const store = await open(storage)
      const last = grant(store, BLOCK / 2 + 10) as number
      if (isClean) await store.close()
      else await inner.close()
      const next = await open(new GatedStorage(inner, true))
      expect(grant(next, 1)).toBeGreaterThan(last)
      await next.close()
    }
  })
})

test('INV-22 [LK9]: the latest tokens of free locks are remembered in a bounded number, those of held ones all', async () => {
  const store = await open(new GatedStorage(memoryStorage(), true))
  const { fences } = store
  const held = fences.grant('held') as number
  const forgotten = fences.grant('forgotten') as number
  fences.free('forgotten')
  const kept = fences.grant('kept') as number
  fences.free('kept')
  for (let i = 0; i < 99_999; i++) {
    fences.grant(`n${i}`)
    fences.free(`n${i}`)
  }
  expect(fences.refusal({ name: 'held', token: held })).toBeUndefined()
  expect(fences.refusal({ name: 'kept', token: kept })).toBeUndefined()
  expect(fences.refusal({ name: 'forgotten', token: forgotten })?.errorCode).toBe('STALE_TOKEN')
  await store.close()
})
