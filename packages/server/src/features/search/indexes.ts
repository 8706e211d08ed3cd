import { err, ok, type Env, type Result } from '@syncline/core'
import type { WireError } from '@syncline/protocol'
import type { ReadView } from '../../inbound/authorize.ts'
import type { SlicedWork } from '../../sliced-work.ts'
import type { MapState } from '../../store/map-state.ts'
import { rowCount } from '../../store/rows.ts'
import type { Limits } from '../../telemetry/limits.ts'
import { MapIndex, type DocumentChange } from './map-index.ts'

/** When a search may be made again that there was no room for. */
const RETRY_MS = 5_000

/** Whom an index tells of what happens to it. */
export interface IndexOwner {
  onChanges(index: MapIndex, changes: readonly DocumentChange[]): void
  /** Live searches follow it. */
  isUsed(index: MapIndex): boolean
  /** It cannot follow its map any more, and is gone. */
  onFailure(index: MapIndex, error: unknown): void
}

/** How much indexes may hold, and for how long one is kept that nobody asks. */
export interface IndexSettings {
  readonly maxIndexedRecords: number
  readonly idleMs: number
}

/** The indexes that there are: one for each map, redaction class and set of columns that is searched. */
export class Indexes {
  readonly #env: Env
  readonly #limits: Limits
  readonly #work: SlicedWork
  readonly #settings: IndexSettings
  readonly #owner: IndexOwner
  readonly #byMap = new Map<MapState, Map<string, MapIndex>>()
  readonly #building = new Map<MapIndex, Promise<void>>()
  /** Those whose changes are being looked at. */
  readonly #catchingUp = new Set<MapIndex>()
  #isIdleCheckDue = false

  constructor(
    host: { readonly env: Env; readonly limits: Limits; readonly work: SlicedWork },
    settings: IndexSettings,
    owner: IndexOwner,
  ) {
    this.#env = host.env
    this.#limits = host.limits
    this.#work = host.work
    this.#settings = settings
    this.#owner = owner
  }

  /** A map has an index. */
  has(map: MapState): boolean {
    return this.#byMap.has(map)
  }

  /** All indexes. */
  *all(): Generator<MapIndex> {
    for (const indexes of this.#byMap.values()) yield* indexes.values()
  }

  /** A map has changed: its indexes follow, a few milliseconds a turn. */
  follow(map: MapState): void {
    for (const index of this.#byMap.get(map)?.values() ?? []) {
      index.learn()
      this.catchUp(index)
    }
  }

  /** Brings an index up to date in the background. */
  catchUp(index: MapIndex): void {
    if (!index.isBuilt || !index.isBehind || this.#catchingUp.has(index)) return
    this.#catchingUp.add(index)
    const end = (): void => {
      this.#catchingUp.delete(index)
      // What has changed meanwhile was not waited for.
      if (this.#isKept(index)) this.catchUp(index)
    }
    const fail = (error: unknown): void => {
      this.#catchingUp.delete(index)
      this.#drop(index)
      this.#owner.onFailure(index, error)
    }
    this.#work.run(index, index.catchUp(), () => this.#isKept(index), end)?.catch(fail)
  }

  /** The index, if there is one. */
  find(map: MapState, view: ReadView, columns: readonly (readonly string[])[]): MapIndex | undefined {
    return this.#byMap.get(map)?.get(indexKey(view, columns))
  }

  /** The index, which is made if there is none. `building` settles when every record has been looked at. */
  ready(
    map: MapState,
    view: ReadView,
    columns: readonly (readonly string[])[],
  ): Result<{ readonly index: MapIndex; readonly building: Promise<void> | undefined }, WireError> {
    let index = this.find(map, view, columns)
    if (index === undefined) {
      if (!this.#hasRoomFor(rowCount(map))) return err(this.#full())
      index = new MapIndex(map, view, columns, this.#env, (changed, changes) => this.#owner.onChanges(changed, changes))
      this.#keep(index)
      this.#build(index)
    }
    index.usedAtMs = this.#env.monotonic()
    return ok({ index, building: this.#building.get(index) })
  }

  inspect(): { indexes: number; indexedRecords: number; waitingRecords: number } {
    let [indexes, indexedRecords, waitingRecords] = [0, 0, 0]
    for (const index of this.all()) {
      indexes++
      indexedRecords += index.size
      waitingRecords += index.pendingCount
    }
    return { indexes, indexedRecords, waitingRecords }
  }

  #keep(index: MapIndex): void {
    const key = indexKey(index.view, index.columns)
    const indexes = this.#byMap.get(index.map)
    if (indexes === undefined) this.#byMap.set(index.map, new Map([[key, index]]))
    else indexes.set(key, index)
    this.#scheduleIdleCheck()
  }

  #build(index: MapIndex): void {
    const forget = (error: unknown): never => {
      this.#building.delete(index)
      this.#drop(index)
      throw error
    }
    const done = (): void => {
      this.#building.delete(index)
      index.learn()
      this.catchUp(index)
    }
    // It is made also where nobody waits for it any more: whoever asks again would wait as long.
    const building = this.#work.run(index, index.build(), () => true, done)?.catch(forget)
    if (building !== undefined) this.#building.set(index, building)
  }

  #isKept(index: MapIndex): boolean {
    return this.#byMap.get(index.map)?.get(indexKey(index.view, index.columns)) === index
  }

  #drop(index: MapIndex): void {
    if (!this.#isKept(index)) return
    const indexes = this.#byMap.get(index.map)
    indexes?.delete(indexKey(index.view, index.columns))
    if (indexes?.size === 0) this.#byMap.delete(index.map)
  }

  /** Indexes that no live search follows give way to one that is asked for, those first that were asked longest ago. */
  #hasRoomFor(records: number): boolean {
    const { maxIndexedRecords } = this.#settings
    let indexed = this.inspect().indexedRecords
    const unused = [...this.all()].filter((index) => this.#isUnused(index)).sort((a, b) => a.usedAtMs - b.usedAtMs)
    for (const index of unused) {
      if (indexed + records <= maxIndexedRecords) break
      this.#drop(index)
      indexed -= index.size
    }
    // A map that is larger than the bound is indexed where it is the only one.
    return indexed === 0 || indexed + records <= maxIndexedRecords
  }

  #isUnused(index: MapIndex): boolean {
    return !this.#building.has(index) && !this.#owner.isUsed(index)
  }

  #full(): WireError {
    return this.#limits.refusal('search.maxIndexedRecords', this.#settings.maxIndexedRecords, {
      code: 'OVERLOADED',
      message: 'The search indexes of this server hold as many records as they may; search again later.',
      retryAfterMs: RETRY_MS,
    })
  }

  #scheduleIdleCheck(): void {
    if (this.#isIdleCheckDue) return
    this.#isIdleCheckDue = true
    const { idleMs } = this.#settings
    this.#env.after(idleMs, () => {
      this.#isIdleCheckDue = false
      const nowMs = this.#env.monotonic()
      const idle = [...this.all()].filter((index) => this.#isUnused(index) && nowMs - index.usedAtMs >= idleMs)
      for (const index of idle) this.#drop(index)
      if (this.#byMap.size > 0) this.#scheduleIdleCheck()
    })
  }
}

function indexKey(view: ReadView, columns: readonly (readonly string[])[]): string {
  return JSON.stringify([view.redactionClass, columns])
}
