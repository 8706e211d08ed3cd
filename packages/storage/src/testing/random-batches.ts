import type { Value } from '@syncline/core'
import type { StoredRecord, WriteBatch } from '../adapter.ts'
import { SAMPLE_RECORDS, SAMPLE_VALUES, storedRecord } from './samples.ts'
import type { StorageModel } from './model.ts'

export const MAPS: readonly string[] = ['todos', 'Ⓜ️', '']
const KEYS = ['', 'a', 'b', 'ä', '\ufffd', '😀'] as const
const VALUE_KEYS = ['x', 'x/1', 'x/2', 'x/😀', 'x/\ufffd', 'y%', 'y_'] as const
const HELD = ['ann@example.org', 'bob@example.org', 7, new Uint8Array([1])] as const

/** Random numbers from a seed (mulberry32), so that a failure can be repeated. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  /** A whole number from 0 up to `below`. */
  below(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)] as Item
  }

  some<Item>(atMost: number, make: () => Item): Item[] {
    return Array.from({ length: this.below(atMost + 1) }, make)
  }
}

/** A batch of few keys and names, so that batches meet; conditions are mostly such as hold in the model. */
export function randomBatch(random: Random, seq: number, model: StorageModel): WriteBatch {
  const value = (): Value => random.pick(SAMPLE_VALUES)
  const version = (mapName: string, key: string): number =>
    random.chance(4)
      ? random.below(4)
      : (model.records.find((record) => record.mapName === mapName && record.key === key)?.version ?? 0)
  const recordsById = new Map<string, StoredRecord>()
  for (let i = random.below(6); i > 0; i--) {
    const [mapName, key] = [random.pick(MAPS), random.pick(KEYS)]
    // Now and then an old commit comes again.
    const at = random.chance(6) ? Math.max(1, seq - random.below(10)) : seq
    const record = random.chance(3) ? { record: random.pick(SAMPLE_RECORDS) } : {}
    recordsById.set(`${mapName}\n${key}`, storedRecord(mapName, key, at, value(), { version: at, ...record }))
  }
  return {
    records: [...recordsById.values()],
    seq: seq + random.below(2),
    ...(random.chance(3) && {
      expect: random.some(2, () => {
        const [mapName, key] = [random.pick(MAPS), random.pick(KEYS)]
        return { mapName, key, version: version(mapName, key) }
      }),
    }),
    ...(random.chance(3) && {
      unique: random.some(3, () => {
        const claim = { mapName: random.pick(MAPS), field: random.pick(['email', 'é']), value: random.pick(HELD) }
        return { ...claim, key: random.pick(KEYS), ...(random.chance(2) && { release: true as const }) }
      }),
    }),
    ...(random.chance(5) && {
      once: { clientId: random.pick(['c', 'd']), id: String(random.below(30)), outcome: value(), atMs: seq },
    }),
    ...(random.chance(5) && {
      fence: random.some(2, () => ({ name: random.pick(['lock', '🔒']), token: seq - random.below(5) })),
    }),
    ...(random.chance(3) && {
      values: Object.fromEntries(random.some(3, () => [random.pick(VALUE_KEYS), random.chance(3) ? null : value()])),
    }),
    ...(random.chance(5) && {
      forget: random.some(3, () => ({
        mapName: random.pick(MAPS),
        key: random.pick(KEYS),
        seq: seq - random.below(9),
      })),
    }),
  }
}
