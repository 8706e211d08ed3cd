import { itemsDigest, MerkleTrie, type NodeDigest } from '@syncline/core/merkle'
import type { Item } from '@syncline/core'
import type { ReadView } from '../../inbound/authorize.ts'
import { redact } from '../../outbound/redact.ts'
import { tagOf, type ItemSet } from '../../store/item-index.ts'
import type { MapState } from '../../store/map-state.ts'

/** Keys whose digests are computed in one step. */
const KEYS_PER_STEP = 32

/**
 * The trie over the keys of an OR-map that existing clients compare with their own, as one redaction class sees it: the
 * digest of a key is made of its values, and would tell them to whoever may not see them. It is made when it is asked
 * for, a few milliseconds a turn, and from then on takes in what the map's log has had since.
 */
export class KeyTrie {
  readonly #map: MapState
  readonly #view: ReadView
  readonly #trie = new MerkleTrie()
  readonly #digestsByKey = new Map<string, number>()
  #through: number

  constructor(map: MapState, view: ReadView) {
    this.#map = map
    this.#view = view
    this.#through = map.log.head
  }

  /** Takes in what the map has, in steps. What changes meanwhile is taken in when the trie is asked for something. */
  *build(): Generator<void, void> {
    let count = 0
    for (const set of this.#map.items().sets()) {
      this.#put(set)
      if (++count % KEYS_PER_STEP === 0) yield
    }
  }

  /** The root, as it is now. */
  rootHash(): number {
    this.#refresh()
    return this.#trie.rootHash()
  }

  /** The children of a node of up to two digits. */
  children(path: string): Record<string, NodeDigest> {
    this.#refresh()
    return this.#trie.children(path)
  }

  #refresh(): void {
    if (this.#through === this.#map.log.head) return
    const changed = new Set<ItemSet>()
    this.#map.log.since(this.#through, (entry) => {
      changed.add(this.#map.items().of(entry))
      return true
    })
    this.#through = this.#map.log.head
    for (const set of changed) this.#put(set)
  }

  #put(set: ItemSet): void {
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
