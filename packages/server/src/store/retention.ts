import { isExpired, type Cancel, type Env } from '@syncline/core'
import { errorText } from '../env.ts'
import type { Metrics, Series } from '../telemetry/metrics.ts'
import type { Committer } from './commit.ts'
import { DueHeap } from './due-heap.ts'
import type { WritableEntry, WritableMap } from './writable-map.ts'

/** Records that are looked at in one turn. */
const SLICE_RECORDS = 500
/** Milliseconds between two slices, in which everyone else has their turn. */
const SLICE_PAUSE_MS = 5
const DAY_MS = 86_400_000

/** How often and how late. */
export interface RetentionOptions {
  readonly gcIntervalMs: number
  readonly tombstoneRetentionDays: number
}

/**
 * Puts tombstones in the place of records whose time to live has passed, and forgets tombstones that arrived long ago,
 * in small slices. It looks at maps in memory: the others wait until somebody uses them (docs/decisions/0018).
 */
export class Retention {
  readonly #env: Env
  readonly #committer: Committer
  readonly #maps: () => Iterable<WritableMap>
  readonly #intervalMs: number
  readonly #retentionMs: number
  /** Records with a time to live, by its end. */
  readonly #expiring = new DueHeap<WritableEntry>()
  #cancel: Cancel = () => {}
  #isStopped = false
  readonly #expired: Series
  readonly #pruned: Series

  constructor(
    env: Env,
    committer: Committer,
    maps: () => Iterable<WritableMap>,
    metrics: Metrics,
    options: RetentionOptions,
  ) {
    this.#env = env
    this.#expired = metrics.counter('syncline_expired_records_total', 'Records removed because their time had passed.')
    this.#pruned = metrics.counter('syncline_pruned_tombstones_total', 'Deletions forgotten because of their age.')
    metrics.gauge('syncline_expiring_records', 'Records in memory with a time to live.', () => this.#expiring.size)
    this.#committer = committer
    this.#maps = maps
    this.#intervalMs = options.gcIntervalMs
    this.#retentionMs = options.tombstoneRetentionDays * DAY_MS
  }

  start(): void {
    this.#cancel = this.#env.after(this.#intervalMs, () => void this.#run())
  }

  stop(): void {
    this.#isStopped = true
    this.#cancel()
  }

  /** The entry has a record, which may have a time to live. */
  note(entry: WritableEntry): void {
    const { ttlMs, base } = entry.record
    if (ttlMs !== undefined) this.#expiring.add(entry, base.millis + ttlMs)
  }

  /** One look at all that is due. What cannot be done now is done at the next one. */
  async #run(): Promise<void> {
    try {
      while (this.#isGoing && !this.#expireSlice()) await this.#pause()
      let looks = 0
      for (const map of this.#isGoing ? [...this.#maps()] : []) {
        if (++looks % SLICE_RECORDS === 0) await this.#pause()
        await this.#prune(map)
      }
    } catch (error) {
      this.#env.log('error', 'Expired and removed records could not be cleared away', { error: errorText(error) })
    }
    if (!this.#isStopped) this.start()
  }

  get #isGoing(): boolean {
    return !this.#isStopped && this.#committer.hasRoom
  }

  /** Ends what is due, as much as one turn takes. Says whether that was all. */
  #expireSlice(): boolean {
    const nowMs = this.#env.now()
    for (let left = SLICE_RECORDS; left > 0; left--) {
      const entry = this.#expiring.take(nowMs)
      if (entry === undefined) return true
      // Forgotten meanwhile.
      if (entry.seq === 0) continue
      if (isExpired(entry.record, nowMs)) {
        this.#committer.expire(entry)
        this.#expired.add()
      } else this.note(entry)
    }
    return false
  }

  /** Forgets the old tombstones of a map. */
  async #prune(map: WritableMap): Promise<void> {
    while (this.#isGoing) {
      const arrivedBeforeMs = this.#env.now() - this.#retentionMs
      const tombstones = map.tombstones(this.#committer.settledSeq(map), arrivedBeforeMs, SLICE_RECORDS)
      if (tombstones.length === 0) return
      this.#pruned.add(await this.#committer.prune(map, tombstones))
      if (tombstones.length < SLICE_RECORDS) return
      await this.#pause()
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#cancel = this.#env.after(SLICE_PAUSE_MS, resolve)
    })
  }
}
