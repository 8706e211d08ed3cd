import type { Env } from '@syncline/core'
import type { ReadView } from '../../inbound/authorize.ts'
import type { SlicedWork } from '../../sliced-work.ts'
import type { MapState } from '../../store/map-state.ts'
import { rowCount } from '../../store/rows.ts'
import type { Derived } from './derived.ts'
import { KeyTrie } from './key-trie.ts'
import { TagIndex } from './tag-index.ts'

/** Redaction classes whose tries a map keeps. There are as many as policies make, which is few. */
const MAX_TRIES = 8
/** After how long what nobody has asked for is given up. It is made again when it is asked for. */
const IDLE_MS = 600_000

/** What is made of one OR-map for those who compare it by keys. */
interface OfMap {
  readonly triesByClass: Map<string, KeyTrie>
  tags: TagIndex | undefined
  usedAtMs: number
}

/** What is made of OR-maps for existing clients: kept while somebody asks, and brought up to date a few milliseconds a turn. */
export class SetIndexes {
  readonly #env: Env
  readonly #work: SlicedWork
  readonly #byMap = new Map<MapState, OfMap>()
  #isIdleCheckDue = false

  constructor(env: Env, work: SlicedWork) {
    this.#env = env
    this.#work = work
  }

  /** The trie that readers of a view compare with theirs, up to date. A promise where that takes longer than a turn may. */
  trie(map: MapState, view: ReadView): KeyTrie | Promise<KeyTrie> {
    // Names that clients make up must leave nothing here.
    if (rowCount(map) === 0) return this.#upToDate(map, new KeyTrie(map, view))
    const { triesByClass } = this.#of(map)
    let trie = triesByClass.get(view.redactionClass)
    if (trie === undefined) {
      const [oldest] = triesByClass.keys()
      if (triesByClass.size >= MAX_TRIES && oldest !== undefined) triesByClass.delete(oldest)
      triesByClass.set(view.redactionClass, (trie = new KeyTrie(map, view)))
    }
    return this.#upToDate(map, trie)
  }

  /** The items by tag, up to date. A promise where that takes longer than a turn may. */
  tags(map: MapState): TagIndex | Promise<TagIndex> {
    if (rowCount(map) === 0) return this.#upToDate(map, new TagIndex(map))
    const ofMap = this.#of(map)
    return this.#upToDate(map, (ofMap.tags ??= new TagIndex(map)))
  }

  /** About how many keys must be looked at to have the trie. */
  trieWork(map: MapState, view: ReadView): number {
    return (this.#byMap.get(map)?.triesByClass.get(view.redactionClass) ?? new KeyTrie(map, view)).work
  }

  /** About how many keys must be looked at to have the items by tag. */
  tagsWork(map: MapState): number {
    return (this.#byMap.get(map)?.tags ?? new TagIndex(map)).work
  }

  /** For the operator: for how many maps something is kept, and how many keys and tags. */
  inspect(): { readonly indexedMaps: number; readonly indexedKeys: number } {
    let indexedKeys = 0
    for (const { triesByClass, tags } of this.#byMap.values()) {
      for (const { size } of triesByClass.values()) indexedKeys += size
      indexedKeys += tags?.size ?? 0
    }
    return { indexedMaps: this.#byMap.size, indexedKeys }
  }

  #of(map: MapState): OfMap {
    let ofMap = this.#byMap.get(map)
    if (ofMap === undefined) {
      ofMap = { triesByClass: new Map(), tags: undefined, usedAtMs: 0 }
      this.#byMap.set(map, ofMap)
      this.#scheduleIdleCheck()
    }
    ofMap.usedAtMs = this.#env.monotonic()
    return ofMap
  }

  #upToDate<D extends Derived<unknown>>(map: MapState, derived: D): D | Promise<D> {
    if (derived.working === undefined) {
      const done = (): void => {
        derived.working = undefined
      }
      derived.working = this.#work
        .run(map, derived.catchUp(), () => true, done)
        ?.catch((error: unknown) => {
          // Nobody knows how far it came: the next who asks has another one.
          this.#byMap.delete(map)
          throw error
        })
    }
    // Whoever waited finds a little more to take in, or nothing.
    return derived.working?.then(() => this.#upToDate(map, derived)) ?? derived
  }

  #scheduleIdleCheck(): void {
    if (this.#isIdleCheckDue) return
    this.#isIdleCheckDue = true
    this.#env.after(IDLE_MS, () => {
      this.#isIdleCheckDue = false
      const sinceMs = this.#env.monotonic() - IDLE_MS
      for (const [map, { usedAtMs }] of this.#byMap) if (usedAtMs <= sinceMs) this.#byMap.delete(map)
      if (this.#byMap.size > 0) this.#scheduleIdleCheck()
    })
  }
}
