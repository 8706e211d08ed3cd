import { maxStamp, ZERO_STAMP, type Stamp, type Value } from '@syncline/core'
import type { StorageAdapter } from '@syncline/storage'

/** What stays of the tombstones that a map has forgotten. */
export interface PrunedMark {
  /** Tombstones at or below this seq were pruned. */
  readonly seq: number
  /** The greatest `timestamp` among them: a write of an unknown key that is not later may be older than its deletion. */
  readonly stamp: Stamp
  /** When the latest of them had arrived, in milliseconds since 1970. */
  readonly arrivedMs: number
  /** The greatest version among them: a key that comes back goes on above it. */
  readonly version: number
}

/** Nothing was pruned. */
export const NOTHING_PRUNED: PrunedMark = { seq: 0, stamp: ZERO_STAMP, arrivedMs: 0, version: 0 }

/** Both marks in one. */
export function joinMarks(a: PrunedMark, b: PrunedMark): PrunedMark {
  return {
    seq: Math.max(a.seq, b.seq),
    stamp: maxStamp(a.stamp, b.stamp),
    arrivedMs: Math.max(a.arrivedMs, b.arrivedMs),
    version: Math.max(a.version, b.version),
  }
}

const PREFIX = 'syncline.pruned/'

/** The value of storage that keeps a map's mark: it is written with the batch that forgets the tombstones. */
export function markValues(mapName: string, { seq, stamp, arrivedMs, version }: PrunedMark): Record<string, Value> {
  return { [PREFIX + mapName]: { seq, stamp: { ...stamp }, arrivedMs, version } }
}

/** The marks that storage keeps, by map. */
export async function loadMarks(storage: StorageAdapter | undefined): Promise<Map<string, PrunedMark>> {
  const stored = (await storage?.list(PREFIX)) ?? []
  return new Map(stored.map(([key, value]) => [key.slice(PREFIX.length), value as unknown as PrunedMark]))
}

/** Numbers below this are seconds where a time is given: as milliseconds they would lie before 1973. */
const MILLIS_FROM = 100_000_000_000

/**
 * Whether a client that knows no cursor holds records of which nobody can tell it any more that they were deleted:
 * deletions that arrived after its last synchronization were forgotten. 0 is a client that holds nothing.
 */
export function isPrunedSince({ arrivedMs }: PrunedMark, lastSync: number | Stamp = 0): boolean {
  const given = typeof lastSync === 'number' ? lastSync : lastSync.millis
  // Milliseconds so small are those of 1970: it means seconds.
  const lastSyncMs = given < MILLIS_FROM ? given * 1_000 : given
  return lastSyncMs > 0 && lastSyncMs < arrivedMs
}
