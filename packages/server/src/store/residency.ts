import type { StorageAdapter } from '@syncline/storage'
import { MapState } from './map-state.ts'

/** Holds the maps that are in memory and loads the others when they are first used. */
export class Residency {
  readonly #storage: StorageAdapter | undefined
  readonly #stored: Set<string>
  readonly #mapsByName = new Map<string, MapState>()
  readonly #loading = new Map<string, Promise<void>>()

  constructor(storage: StorageAdapter | undefined, storedMapNames: readonly string[]) {
    this.#storage = storage
    this.#stored = new Set(storedMapNames)
  }

  /** The map, if it is in memory or has never been stored. */
  resident(name: string): MapState | undefined {
    const map = this.#mapsByName.get(name)
    if (map !== undefined || this.#stored.has(name)) return map
    const fresh = new MapState(name)
    this.#mapsByName.set(name, fresh)
    return fresh
  }

  /** All maps in memory. */
  maps(): IterableIterator<MapState> {
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
    const map = new MapState(name)
    if (this.#storage !== undefined) {
      for await (const page of this.#storage.load(name)) for (const stored of page) map.restore(stored)
    }
    this.#mapsByName.set(name, map)
    this.#stored.delete(name)
  }
}
