import type { Env } from '@syncline/core'
import type { StorageAdapter } from '@syncline/storage'
import { Committer } from './commit.ts'
import { Fences } from './fences.ts'
import type { MapState } from './map-state.ts'
import { Persister } from './persister.ts'
import { Reservations, type LostRange } from './reservations.ts'
import { Residency, type Maps } from './residency.ts'
import type { Limits } from '../telemetry/limits.ts'
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
  /** A map changed in this turn. */
  readonly onChange: (map: MapState) => void
  /** Storage failed in a way after which the process must end. */
  readonly onFatal: (error: Error) => void
}

/** The server's data: maps in memory, their order, and what is stored of them. */
export class Store {
  readonly databaseId: string
  readonly residency: Maps
  readonly committer: Committer
  /** The latest fencing token of each lock. */
  readonly fences: Fences
  readonly lostRanges: readonly LostRange[]
  readonly sequencer: Sequencer
  readonly #storage: StorageAdapter | undefined
  readonly #persister: Persister | undefined

  private constructor(
    options: StoreOptions,
    databaseId: string,
    storedMapNames: readonly string[],
    reservations: Reservations,
    sequencer: Sequencer,
  ) {
    const { env, storage } = options
    this.databaseId = databaseId
    this.lostRanges = reservations.lostRanges
    this.sequencer = sequencer
    this.#storage = storage
    this.#persister = storage === undefined ? undefined : new Persister(options, storage, sequencer, reservations)
    const residency = new Residency(storage, storedMapNames)
    this.residency = residency
    this.fences = new Fences(sequencer, this.#persister)
    this.committer = new Committer(
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
    )
  }

  /** Opens storage, learns what the last run left, and sets aside what this run will hand out. */
  static async open(options: StoreOptions): Promise<Store> {
    const { env, storage } = options
    let onFatal = options.onFatal
    const state = await storage?.open(env.uniqueId(), (error) => onFatal(error))
    const reservations = new Reservations(storage, options.maxClockDriftMs)
    const start = await reservations.start(env, state)
    const sequencer = new Sequencer(env, reservations, start, options.nodeId)
    const store = new Store(options, state?.databaseId ?? 'memory', state?.mapNames ?? [], reservations, sequencer)
    onFatal = (error) => store.#persister?.die(error)
    return store
  }

  /** Entries that wait to be stored. */
  get dirtyCount(): number {
    return this.#persister?.dirtyCount ?? 0
  }

  /** Stores what is left, within a time if one is given, and closes storage. Rejects where it is not stored. */
  async close(timeoutMs?: number): Promise<void> {
    try {
      await this.#persister?.stop(timeoutMs)
    } finally {
      await this.#storage?.close()
    }
  }
}
