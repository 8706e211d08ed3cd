import { MerkleTrie, fnv1a, stampDigest, stateDigest } from '@syncline/core/merkle'
import type { Base } from '../../offline/base.ts'

/** Both lanes of one record's digest, and its key's hash. */
interface Lanes {
  readonly hash: number
  readonly stamps: number
  readonly state: number
}

/** The digests of one map's base, as of the last `refresh`: they are brought up to date before they are looked at. */
export class BaseDigests {
  readonly #base: Base
  readonly #trie = new MerkleTrie()
  readonly #lanesByKey = new Map<string, Lanes>()

  constructor(base: Base) {
    this.#base = base
    base.undigested = new Set(base.rows.keys())
  }

  /** Both lanes of the root. */
  root(): string {
    return this.#trie.digest()
  }

  /** The leaves that differ from the server's, given as 4,096 pairs of unsigned 32-bit big-endian numbers. */
  differingLeaves(leaves: Uint8Array): number[] {
    const view = new DataView(leaves.buffer, leaves.byteOffset)
    const differing: number[] = []
    for (let leaf = 0; leaf * 8 < leaves.byteLength; leaf++) {
      const { stamps, state } = this.#trie.node(leaf.toString(16).padStart(3, '0'))
      if (view.getUint32(leaf * 8) !== stamps || view.getUint32(leaf * 8 + 4) !== state) differing.push(leaf)
    }
    return differing
  }

  /** Of the keys that the server has in some leaves: those whose records differ from ours. */
  differingKeys(keys: readonly string[], digests: Uint8Array): string[] {
    const view = new DataView(digests.buffer, digests.byteOffset)
    return keys.filter((key, i) => {
      const lanes = this.#lanesByKey.get(key)
      return lanes?.stamps !== view.getUint32(i * 8) || lanes.state !== view.getUint32(i * 8 + 4)
    })
  }

  /** Our keys in some leaves. */
  keysIn(leaves: readonly number[]): string[] {
    const wanted = new Set(leaves)
    return Array.from(this.#lanesByKey).flatMap(([key, { hash }]) => (wanted.has(hash >>> 20) ? [key] : []))
  }

  /** Looks at up to `most` of the records that changed since. Says whether that was all of them. */
  refresh(most: number): boolean {
    const { rows, undigested = new Set() } = this.#base
    let left = most
    for (const key of undigested) {
      if (left-- <= 0) return false
      undigested.delete(key)
      const before = this.#lanesByKey.get(key)
      if (before !== undefined) this.#trie.remove(before.hash, before.stamps, before.state)
      const record = rows.get(key)?.record
      if (record === undefined) {
        this.#lanesByKey.delete(key)
        continue
      }
      const hash = before?.hash ?? fnv1a(key)
      const lanes = { hash, stamps: stampDigest(hash, record.timestamp), state: stateDigest(key, record) }
      this.#trie.add(lanes.hash, lanes.stamps, lanes.state)
      this.#lanesByKey.set(key, lanes)
    }
    return true
  }
}
