import type { Env } from '@syncline/core'
import { errorText } from '../../env.ts'
import type { MapState } from '../../store/map-state.ts'
import { rowCount } from '../../store/rows.ts'
import { FieldIndex } from './field-index.ts'

/** How indexes are made. */
export interface IndexOptions {
  /** By map, fields whose index is made however small the map is, and is kept. */
  readonly declared: Readonly<Record<string, readonly string[]>>
  /** Rows that all indexes together may have; past that, those that nobody uses are dropped and no more are made. */
  readonly maxRows: number
  /** Rows from which on a map gets indexes that nobody declared: fewer are looked at as fast. Default 1,000. */
  readonly minRows?: number
  /** Rows that a window holds beside twice its limit. Default 50. */
  readonly spareRows?: number
}

/** Most indexes of one map that nobody declared. */
const MAX_UNDECLARED = 16

/** The indexes of all maps: those that are declared, and those that queries have made a use for. */
export class Indexes {
  readonly #env: Pick<Env, 'monotonic' | 'log'>
  readonly #options: IndexOptions
  readonly #byMap = new Map<MapState, Map<string | undefined, FieldIndex>>()

  constructor(env: Pick<Env, 'monotonic' | 'log'>, options: IndexOptions) {
    this.#env = env
    this.#options = options
  }

  /** Rows that a window over an index holds when it has taken some. */
  rowsToKeep(limit: number): number {
    return 2 * limit + (this.#options.spareRows ?? 50)
  }

  /** Rows that are looked at for them at most. */
  rowsToLookAt(limit: number): number {
    return 4 * this.rowsToKeep(limit) + 20 * (this.#options.spareRows ?? 50)
  }

  /** There are indexes of the map, which are to be told of its changes. */
  has(map: MapState): boolean {
    return this.#byMap.has(map)
  }

  /** Takes in what has changed in a map. */
  changed(map: MapState): void {
    for (const index of this.#byMap.get(map)?.values() ?? []) {
      try {
        index.refresh()
      } catch (error) {
        this.#byMap.get(map)?.delete(index.path)
        this.#env.log('error', 'An index failed and is dropped', { map: map.name, error: errorText(error) })
      }
    }
  }

  /** The index of a field, or of keys, as it is or begun; undefined where there is to be none. */
  get(map: MapState, path: string | undefined): FieldIndex | undefined {
    const existing = this.#byMap.get(map)?.get(path)
    const index = existing ?? this.#make(map, path)
    if (index === undefined) return undefined
    index.usedAtMs = this.#env.monotonic()
    index.refresh()
    return index
  }

  /** The index of a field, up to date, if there is one that can be used at once. */
  existing(map: MapState, path: string): FieldIndex | undefined {
    const index = this.#byMap.get(map)?.get(path)
    if (index?.isReady !== true) return undefined
    index.refresh()
    return index
  }

  inspect(): { indexes: number; indexedRows: number } {
    let [indexes, indexedRows] = [0, 0]
    for (const ofMap of this.#byMap.values()) {
      for (const { size } of ofMap.values()) {
        indexes++
        indexedRows += size
      }
    }
    return { indexes, indexedRows }
  }

  #make(map: MapState, path: string | undefined): FieldIndex | undefined {
    const rows = rowCount(map)
    const ofMap = this.#byMap.get(map)
    if (rows === 0) return undefined
    if (!this.#isDeclared(map, path)) {
      if (rows < (this.#options.minRows ?? 1_000)) return undefined
      const undeclared = [...(ofMap?.keys() ?? [])].filter((each) => !this.#isDeclared(map, each))
      if (undeclared.length >= MAX_UNDECLARED && !this.#dropIdle(map)) return undefined
    }
    while (this.inspect().indexedRows + rows > this.#options.maxRows) if (!this.#dropIdle()) return undefined
    const index = new FieldIndex(map, path)
    const indexes = this.#byMap.get(map)
    if (indexes === undefined) this.#byMap.set(map, new Map([[path, index]]))
    else indexes.set(path, index)
    return index
  }

  #isDeclared(map: MapState, path: string | undefined): boolean {
    const { declared } = this.#options
    return path !== undefined && Object.hasOwn(declared, map.name) && declared[map.name]?.includes(path) === true
  }

  /** Drops the index that has not been used for longest, of those that no live query relies on. False if there is none. */
  #dropIdle(only?: MapState): boolean {
    let idle: { map: MapState; index: FieldIndex } | undefined
    for (const [map, ofMap] of this.#byMap) {
      if (only !== undefined && map !== only) continue
      for (const index of ofMap.values()) {
        if (index.users > 0 || this.#isDeclared(map, index.path)) continue
        if (idle === undefined || index.usedAtMs < idle.index.usedAtMs) idle = { map, index }
      }
    }
    if (idle === undefined) return false
    const ofMap = this.#byMap.get(idle.map)
    ofMap?.delete(idle.index.path)
    if (ofMap?.size === 0) this.#byMap.delete(idle.map)
    return true
  }
}
