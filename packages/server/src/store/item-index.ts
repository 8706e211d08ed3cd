import { compareTags } from '@syncline/core'
import { fnv1a } from '@syncline/core/merkle'
import { placeOf } from '../sorted.ts'
import type { Entry, MapState } from './map-state.ts'

/** A key of an OR-map and the entries of its items. The same object for as long as the key has any. */
export interface ItemSet {
  readonly map: MapState
  readonly key: string
  /** FNV-1a of the key, by which existing clients find it in a trie. */
  readonly keyHash: number
  /** Removed and expired ones included, in the order of their tags. */
  readonly entries: readonly Entry[]
}

interface WritableItemSet extends ItemSet {
  readonly entries: Entry[]
}

/** Hexadecimal digits of a key's hash that name a leaf. */
const LEAF_DIGITS = 3

/** The items of an OR-map by the keys that they belong to. */
export class ItemIndex {
  readonly #map: MapState
  readonly #setsByKey = new Map<string, WritableItemSet>()
  /** Keys by the first digits of their hashes. */
  readonly #byLeaf = new Map<number, Set<WritableItemSet>>()

  /** The index of a map that has no entry yet. */
  constructor(map: MapState) {
    this.#map = map
  }

  /** Number of keys, those that show nothing included. */
  get size(): number {
    return this.#setsByKey.size
  }

  /** All keys with their items, in no promised order. */
  sets(): IterableIterator<ItemSet> {
    return this.#setsByKey.values()
  }

  /** A key's items. */
  at(key: string): ItemSet | undefined {
    return this.#setsByKey.get(key)
  }

  /** The key that an entry of this map belongs to, and all its items. */
  of(entry: Entry): ItemSet {
    return this.#setsByKey.get(keyOf(entry)) as ItemSet
  }

  /** The keys whose hash begins with three hexadecimal digits. */
  leaf(path: string): Iterable<ItemSet> {
    return this.#byLeaf.get(Number.parseInt(path.slice(0, LEAF_DIGITS), 16)) ?? []
  }

  /** An entry is new in the map. */
  add(entry: Entry): void {
    const key = keyOf(entry)
    let set = this.#setsByKey.get(key)
    if (set === undefined) {
      set = { map: this.#map, key, keyHash: fnv1a(key), entries: [] }
      this.#setsByKey.set(key, set)
      this.#addToLeaf(set)
    }
    const { entries } = set
    const last = entries.at(-1)
    const byTag = byTagOf(key)
    // New tags are mostly the latest.
    if (last === undefined || byTag(last, entry) < 0) entries.push(entry)
    else entries.splice(placeOf(entries, byTag, entry), 0, entry)
  }

  /** An entry is no longer in the map. */
  remove(entry: Entry): void {
    const set = this.#setsByKey.get(keyOf(entry))
    if (set === undefined) return
    const at = placeOf(set.entries, byTagOf(set.key), entry)
    if (set.entries[at] !== entry) return
    set.entries.splice(at, 1)
    if (set.entries.length > 0) return
    this.#setsByKey.delete(set.key)
    const leaf = this.#byLeaf.get(leafOf(set))
    leaf?.delete(set)
    if (leaf?.size === 0) this.#byLeaf.delete(leafOf(set))
  }

  #addToLeaf(set: WritableItemSet): void {
    const sets = this.#byLeaf.get(leafOf(set))
    if (sets === undefined) this.#byLeaf.set(leafOf(set), new Set([set]))
    else sets.add(set)
  }
}

/** The order of a key's items. */
function byTagOf(key: string): (a: Entry, b: Entry) => number {
  return (a, b) => compareTags(tagOf(a, key), tagOf(b, key))
}

/** The tag of an item's entry. */
export function tagOf(entry: Entry, key: string): string {
  return entry.key.slice(0, -1 - key.length)
}

/** What follows the third colon: that it is an item key was checked when it was written. */
function keyOf({ key }: Entry): string {
  const counterAt = key.indexOf(':') + 1
  const nodeAt = key.indexOf(':', counterAt) + 1
  return key.slice(key.indexOf(':', nodeAt) + 1)
}

function leafOf({ keyHash }: ItemSet): number {
  return keyHash >>> (32 - 4 * LEAF_DIGITS)
}
