import type { LwwRecord, Stamp } from '@syncline/core'
import type { MerkleTrie } from '@syncline/core/merkle'
import type { MapKind } from '@syncline/protocol'
import type { ItemIndex } from './item-index.ts'
import type { PrunedMark } from './pruned-mark.ts'
import type { SeqLog } from './seq-log.ts'

/** A key of a map and all that the server knows of it. Only a commit changes it. */
export interface Entry {
  readonly map: MapState
  readonly key: string
  readonly keyHash: number
  readonly record: LwwRecord
  readonly seq: number
  readonly arrival: Stamp
  readonly version: number
  /** Digests of `record`, and those under which the entry stands in the trie. They lag until the trie is asked for. */
  readonly stampLane: number
  readonly stateLane: number
  readonly isDigestDue: boolean
  readonly isInTrie: boolean
  /** What the entry weighs that waits to be stored; 0 where it does not wait. */
  readonly unstoredBytes: number
}

/** One map in memory: its records by key and by seq, and its trie. Only a commit changes it. */
export interface MapState {
  readonly name: string
  /** What it holds: given by its name or its first write; undefined until then. */
  readonly kind: MapKind | undefined
  readonly entriesByKey: ReadonlyMap<string, Entry>
  readonly log: Pick<SeqLog, 'head' | 'since' | 'seqBefore' | 'countAfter'>
  /** What was forgotten of deletions. */
  readonly pruned: PrunedMark
  /** Up to here the change feed has told followers. */
  announcedSeq: number
  /**
   * What entries that changed since then were before; kept only while someone wants to know. An entry that is new is not
   * in it.
   */
  previous: Map<Entry, LwwRecord> | undefined
  /** Of an OR-map: its items by key, entry by entry as they become part of the map. */
  items(): ItemIndex
  /** The map's trie as it is now. It is made when it is asked for, as many maps never are. */
  trie(): MerkleTrie
  /** The entries whose key's hash begins with a path of up to 8 hexadecimal digits, by key, their digests up to date. */
  under(path: string): Entry[]
}
