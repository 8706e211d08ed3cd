import { compareStamps, formatStamp, type LwwRecord, type Stamp } from '@syncline/core'
import type { ClientOp } from '@syncline/protocol'
import type { StoredRecord } from '@syncline/storage'
import type { DiskWatcher } from './disk.ts'
import { covers } from './ledger.ts'
import type { Watch } from './watch.ts'

/** How long deletions are kept. */
const RETENTION_MS = 30 * 86_400_000
/** How far the server's clock may have been set since it decided. */
const CLOCK_SLACK_MS = 61_000

/** Sees on the server's disk what is deleted, forgotten and written again: nothing that was deleted comes back (INV-12). */
export class Deletions implements DiskWatcher {
  readonly #forgotten = new Map<string, LwwRecord[]>()
  /** The latest stamp of a map that was forgotten. */
  readonly #throughByMap = new Map<string, Stamp>()
  readonly #watch: Watch

  constructor(watch: Watch) {
    this.#watch = watch
  }

  stored({ mapName, key, record }: StoredRecord): void {
    const [latest] = this.#of(mapName, key).slice(-1)
    if (latest === undefined || compareStamps(record.base, latest.base) > 0) return
    if (record.value !== null)
      this.#watch.fail(
        'INV-12',
        `${mapName}/${key} came back: ${JSON.stringify(record)} is not later than its deletion at ${formatStamp(latest.base)}`,
      )
  }

  forgotten({ mapName, key, record, arrival }: StoredRecord): void {
    this.#watch.count('deletions forgotten')
    const place = `${mapName}/${key}`
    const through = this.#throughByMap.get(mapName)
    if (through === undefined || compareStamps(record.timestamp, through) > 0)
      this.#throughByMap.set(mapName, record.timestamp)
    this.#forgotten.set(place, [...(this.#forgotten.get(place) ?? []), record])
    if (record.value !== null)
      this.#watch.fail('INV-12', `${place} was forgotten, but not removed: ${JSON.stringify(record)}`)
    if (arrival.millis > this.#watch.serverNow() - RETENTION_MS + CLOCK_SLACK_MS)
      this.#watch.fail('INV-12', `The deletion of ${place} at ${formatStamp(record.base)} was forgotten too early`)
  }

  /** What was forgotten of a map is not later than this. */
  prunedThrough(mapName: string): Stamp | undefined {
    return this.#throughByMap.get(mapName)
  }

  /** A deletion that is forgotten is not earlier than a stamp. */
  isForgottenSince(mapName: string, key: string, stamp: Stamp): boolean {
    return this.#of(mapName, key).some(({ base }) => compareStamps(base, stamp) >= 0)
  }

  /** A deletion that is forgotten stood over a write. */
  covered(mapName: string, key: string, op: ClientOp): boolean {
    return this.#of(mapName, key).some((record) => covers(record, op))
  }

  #of(mapName: string, key: string): readonly LwwRecord[] {
    return this.#forgotten.get(`${mapName}/${key}`) ?? []
  }
}
