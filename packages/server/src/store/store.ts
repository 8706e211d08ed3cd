import type { Env } from '@syncline/core'
import type { MapKind } from '@syncline/protocol'
import type { StorageAdapter } from '@syncline/storage'
import { Committer } from './commit.ts'
import { Fences } from './fences.ts'
import type { MapState } from './map-state.ts'
import { Persister } from './persister.ts'
import { loadKinds } from './kinds.ts'
import { loadMarks, type PrunedMark } from './pruned-mark.ts'
import { Reservations, type LostRange } from './reservations.ts'
import { Residency, type Maps } from './residency.ts'
import type { Limits } from '../telemetry/limits.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { Retention, type RetentionOptions } from './retention.ts'
import { secretOf } from './secret.ts'
import { Sequencer } from './sequencer.ts'

/** What the store is built with. */
export interface StoreOptions {
  readonly env: Env
  readonly storage: StorageAdapter | undefined
  readonly nodeId: string
  readonly maxClockDriftMs: number
  /** Bytes of changes that may wait to be stored. Past that, writes are refused. */
  readonly maxUnstoredBytes: number
  readonly limits: Limits
  readonly metrics: Metrics
  readonly retention: RetentionOptions
  /** A map changed in this turn. */
  readonly onChange: (map: MapState) => void
  /** Storage failed in a way after which the process must end. */
  readonly onFatal: (error: Error) => void
}

/** The server's data: maps in memory, their order, and what is stored of them. */
export class Store {
  readonly databaseId: string
  /** What only the servers of this database know: with it they recognise what they have given to clients. */
  readonly secret: string
  readonly residency: Maps
  readonly committer: Committer
  /** The latest fencing token of each lock. */
  readonly fences: Fences
  readonly lostRanges: readonly LostRange[]
  readonly sequencer: Sequencer
  readonly #retention: Retention
  readonly #storage: StorageAdapter | undefined
  readonly #persister: Persister | undefined

  private constructor(
    options: StoreOptions,
    databaseId: string,
    secret: string,
    storedMapNames: readonly string[],
    marks: ReadonlyMap<string, PrunedMark>,
    kinds: ReadonlyMap<string, MapKind>,
    reservations: Reservations,
    sequencer: Sequencer,
  ) {
    const { env, storage } = options
    this.databaseId = databaseId
    this.secret = secret
    this.lostRanges = reservations.lostRanges
    this.sequencer = sequencer
    this.#storage = storage
    this.#persister = storage === undefined ? undefined : new Persister(options, storage, sequencer, reservations)
    const residency = new Residency(storage, storedMapNames, marks, kinds, (map) => {
      for (const entry of map.entriesByKey.values()) this.#retention.note(entry)
    })
    this.residency = residency
    this.fences = new Fences(sequencer, this.#persister)
    const committer = new Committer(
      env,
      residency,
      sequencer,
      this.fences,
      this.#persister,
      options.maxClockDriftMs,
      (map) => {
        residency.keep(map)
        options.onChange(map)
      },
      (entry) => this.#retention.note(entry),
    )
    this.committer = committer
    this.#retention = new Retention(env, committer, () => residency.maps(), options.metrics, options.retention)
    this.#retention.start()
  }

  /** Opens storage, learns what the last run left, and sets aside what this run will hand out. */
  static async open(options: StoreOptions): Promise<Store> {
    const { env, storage } = options
    let onFatal = options.onFatal
    const state = await storage?.open(env.uniqueId(), (error) => onFatal(error))
    const reservations = new Reservations(storage, options.maxClockDriftMs)
    const start = await reservations.start(env, state)
    const sequencer = new Sequencer(env, reservations, start, options.nodeId)
    const { databaseId = 'memory', mapNames = [] } = state ?? {}
    const secret = await secretOf(env, storage, state)
    const [marks, kinds] = [await loadMarks(storage), await loadKinds(storage)]
    const store = new Store(options, databaseId, secret, mapNames, marks, kinds, reservations, sequencer)
    onFatal = (error) => store.#persister?.die(error)
    return store
  }

  /** Entries that wait to be stored. */
  get dirtyCount(): number {
    return this.#persister?.dirtyCount ?? 0
  }

  /** Stores what is left, within a time if one is given, and closes storage. Rejects where it is not stored. */
  async close(timeoutMs?: number): Promise<void> {
    this.#retention.stop()
    try {
      await this.#persister?.stop(timeoutMs)
    } finally {
      await this.#storage?.close()
    }
  }
}
