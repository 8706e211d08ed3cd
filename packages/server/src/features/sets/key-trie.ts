import { itemsDigest, MerkleTrie, type NodeDigest } from '@syncline/core/merkle'
import type { Item } from '@syncline/core'
import type { ReadView } from '../../inbound/authorize.ts'
import { redact } from '../../outbound/redact.ts'
import { tagOf, type ItemSet } from '../../store/item-index.ts'
import type { Entry, MapState } from '../../store/map-state.ts'
import { Derived } from './derived.ts'

/**
 * The trie over the keys of an OR-map that existing clients compare with their own, as one redaction class sees it: the
 * digest of a key is made of its values, and would tell them to whoever may not see them.
 */
export class KeyTrie extends Derived<ItemSet> {
  readonly #view: ReadView
  #trie = new MerkleTrie()
  readonly #digestsByKey = new Map<string, number>()

  constructor(map: MapState, view: ReadView) {
    super(map)
    this.#view = view
  }

  /** Keys that show something. */
  get size(): number {
    return this.#digestsByKey.size
  }

  /** The root. */
  rootHash(): number {
    return this.#trie.rootHash()
  }

  /** The children of a node of up to two digits. */
  children(path: string): Record<string, NodeDigest> {
    return this.#trie.children(path)
  }

  protected parts(): Iterable<ItemSet> {
    return this.map.items().sets()
  }

  protected partOf(entry: Entry): ItemSet {
    return this.map.items().of(entry)
  }

  protected clear(): void {
    this.#trie = new MerkleTrie()
    this.#digestsByKey.clear()
  }

  protected put(set: ItemSet): void {
    const { key, keyHash } = set
    const before = this.#digestsByKey.get(key)
    const items = this.#itemsOf(set)
    const after = items.length === 0 ? undefined : itemsDigest(key, items)
    if (before === after) return
    if (before !== undefined) this.#trie.remove(keyHash, before, 0)
    if (after === undefined) this.#digestsByKey.delete(key)
    else {
      this.#trie.add(keyHash, after, 0)
      this.#digestsByKey.set(key, after)
    }
  }

  #itemsOf({ key, entries }: ItemSet): Item[] {
    const items: Item[] = []
    for (const entry of entries) {
      const { value, timestamp, ttlMs } = redact(this.#view, entry)
      if (value === null) continue
      const record = { value, timestamp, base: timestamp, ...(ttlMs === undefined ? {} : { ttlMs }) }
      items.push({ tag: tagOf(entry, key), record })
    }
    return items
  }
}
