import { ZERO_STAMP, compareStamps, type Stamp } from '../clock/hlc.ts'
import type { Value } from '../value/value.ts'
import { mergeRecords, patchRecord } from './merge.ts'
import { visibleValue, wholeWrite, type FieldWrite, type LwwRecord } from './record.ts'

/** What a write did to a map. */
export interface WriteOutcome {
  /** The key's record after the write. */
  readonly record: LwwRecord
  /** The record before it, if there was one. */
  readonly previous: LwwRecord | undefined
  /** The write changed the record. */
  readonly changed: boolean
}

/**
 * A map of records in which the last write of each field wins. It holds tombstones, reads no clock and sends nothing:
 * stamps and time are handed in. Replicas that have merged the same writes hold the same records.
 */
export class LwwMap {
  readonly #recordsByKey = new Map<string, LwwRecord>()

  /** Number of records, tombstones and expired ones included. */
  get recordCount(): number {
    return this.#recordsByKey.size
  }

  /** The value that a reader sees, or `undefined` where the key is absent. */
  get(key: string, nowMs: number): Value | undefined {
    return visibleValue(this.#recordsByKey.get(key), nowMs)
  }

  /** The record behind a key, tombstones included. */
  record(key: string): LwwRecord | undefined {
    return this.#recordsByKey.get(key)
  }

  /** All records, tombstones included, in the order in which their keys were first written. */
  records(): IterableIterator<[string, LwwRecord]> {
    return this.#recordsByKey.entries()
  }

  /** Writes a whole record (PUT). A value of `null` removes the key. */
  put(key: string, value: Value, stamp: Stamp, ttlMs?: number): WriteOutcome {
    return this.merge(key, wholeWrite(value, stamp, ttlMs))
  }

  /** Removes a key (REMOVE), leaving a tombstone. */
  remove(key: string, stamp: Stamp): WriteOutcome {
    return this.merge(key, wholeWrite(null, stamp))
  }

  /** Writes some fields (PATCH). `undefined` where the map has never had the key: there is nothing to change. */
  patch(key: string, write: FieldWrite): WriteOutcome | undefined {
    const previous = this.#recordsByKey.get(key)
    if (previous === undefined) return undefined
    return this.#store(key, previous, patchRecord(previous, write))
  }

  /** Merges another replica's record. */
  merge(key: string, incoming: LwwRecord): WriteOutcome {
    const previous = this.#recordsByKey.get(key)
    return this.#store(key, previous, previous === undefined ? incoming : mergeRecords(previous, incoming))
  }

  /** Forgets tombstones whose latest stamp is older than `before`. Returns how many. */
  prune(before: Stamp): number {
    let pruned = 0
    for (const [key, record] of this.#recordsByKey) {
      if (record.value !== null || compareStamps(record.timestamp, before) >= 0) continue
      this.#recordsByKey.delete(key)
      pruned++
    }
    return pruned
  }

  /** The greatest `timestamp` in the map, or the zero stamp where it is empty. */
  latest(): Stamp {
    let latest = ZERO_STAMP
    for (const record of this.#recordsByKey.values()) {
      if (compareStamps(record.timestamp, latest) > 0) latest = record.timestamp
    }
    return latest
  }

  #store(key: string, previous: LwwRecord | undefined, record: LwwRecord): WriteOutcome {
    if (record !== previous) this.#recordsByKey.set(key, record)
    return { record, previous, changed: record !== previous }
  }
}
