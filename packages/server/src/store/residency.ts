import type { StorageAdapter } from '@syncline/storage'
import type { MapKind } from '@syncline/protocol'
import { COUNTER_NODES } from './counter-rows.ts'
import { kindOfName } from './kinds.ts'
import type { MapState } from './map-state.ts'
import type { PrunedMark } from './pruned-mark.ts'
import { WritableMap } from './writable-map.ts'

/** The maps as everyone may see them. */
export interface Maps {
  /** The map, if it is in memory or has never been stored. */
  resident(name: string): MapState | undefined
  /** Brings a map into memory. Callers that ask while it loads share one load. */
  load(name: string): Promise<void>
  /** All maps in memory that have records. */
  maps(): IterableIterator<MapState>
}

/** Holds the maps that are in memory and loads the others when they are first used. */
export class Residency implements Maps {
  readonly #storage: StorageAdapter | undefined
  readonly #stored: Set<string>
  readonly #mapsByName = new Map<string, WritableMap>()
  /**
   * Maps without a record. Whoever follows or queries one keeps it alive; nobody else does, so that names which
   * clients make up cost nothing once they are gone.
   */
  readonly #emptyByName = new Map<string, WeakRef<WritableMap>>()
  readonly #collected: FinalizationRegistry<string>
  readonly #loading = new Map<string, Promise<void>>()
  /** What maps that are not in memory have forgotten, those without a record included. */
  readonly #marks: ReadonlyMap<string, PrunedMark>
  /** The kinds of maps that have one by their first write. */
  readonly #kinds: ReadonlyMap<string, MapKind>
  readonly #onLoaded: (map: WritableMap) => void

  constructor(
    storage: StorageAdapter | undefined,
    storedMapNames: readonly string[],
    marks: ReadonlyMap<string, PrunedMark>,
    kinds: ReadonlyMap<string, MapKind>,
    onLoaded: (map: WritableMap) => void,
  ) {
    this.#storage = storage
    this.#stored = new Set(storedMapNames)
    this.#marks = marks
    this.#kinds = kinds
    this.#onLoaded = onLoaded
    this.#collected = new FinalizationRegistry((name) => {
      if (this.#emptyByName.get(name)?.deref() === undefined) this.#emptyByName.delete(name)
    })
  }

  /** The map, if it is in memory or has never been stored. */
  resident(name: string): WritableMap | undefined {
    const map = this.#mapsByName.get(name)
    if (map !== undefined || this.#stored.has(name)) return map
    // Whose the nodes of a counter are must be known wherever one is written.
    if (this.#stored.has(COUNTER_NODES) && kindOfName(name) === 'pn') return undefined
    const empty = this.#emptyByName.get(name)?.deref()
    if (empty !== undefined) return empty
    const fresh = new WritableMap(name, this.#marks.get(name), this.#kinds.get(name))
    this.#emptyByName.set(name, new WeakRef(fresh))
    this.#collected.register(fresh, name)
    return fresh
  }

  /** Keeps a map that has records now. */
  keep(map: WritableMap): void {
    if (this.#mapsByName.get(map.name) === map) return
    this.#mapsByName.set(map.name, map)
    this.#emptyByName.delete(map.name)
  }

  /** All maps in memory that have records. */
  maps(): IterableIterator<WritableMap> {
    return this.#mapsByName.values()
  }

  /** Brings a map into memory. Callers that ask while it loads share one load. */
  load(name: string): Promise<void> {
    if (this.resident(name) !== undefined) return Promise.resolve()
    let loading = this.#loading.get(name)
    if (loading === undefined) {
      loading = this.#read(name).finally(() => this.#loading.delete(name))
      this.#loading.set(name, loading)
    }
    return loading
  }

  async #read(name: string): Promise<void> {
    const kind = kindOfName(name) ?? this.#kinds.get(name) ?? 'lww'
    if (kind === 'pn') await this.load(COUNTER_NODES)
    if (!this.#stored.has(name)) return
    const map = new WritableMap(name, this.#marks.get(name), kind)
    if (this.#storage !== undefined) {
      for await (const page of this.#storage.load(name)) for (const stored of page) map.restore(stored)
    }
    this.#mapsByName.set(name, map)
    this.#stored.delete(name)
    this.#onLoaded(map)
  }
}
