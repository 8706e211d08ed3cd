import { ZERO_STAMP, type LwwRecord, type Stamp } from '@syncline/core'
import { MerkleTrie, fnv1a, isUnderPath, stampDigest, stateDigest } from '@syncline/core/merkle'
import type { StoredRecord } from '@syncline/storage'
import { SeqLog } from './seq-log.ts'

/** A key of a map and all that the server knows of it. */
export interface Entry {
  readonly map: MapState
  readonly key: string
  readonly keyHash: number
  record: LwwRecord
  seq: number
  arrival: Stamp
  version: number
  /** Digests under which the entry stands in the trie. They lag behind `record` until the trie is asked. */
  stampLane: number
  stateLane: number
  isInTrie: boolean
  isDigestDue: boolean
  /** What the entry weighs that waits to be stored; 0 where it does not wait. */
  unstoredBytes: number
}

/** One map in memory: its records by key and by seq, and its trie. Only `store/` changes it. */
export class MapState {
  readonly name: string
  readonly entriesByKey = new Map<string, Entry>()
  readonly log = new SeqLog()
  /** Tombstones at or below this seq were pruned. */
  prunedThroughSeq = 0
  /** The greatest `timestamp` that was pruned. */
  prunedThroughStamp: Stamp = ZERO_STAMP
  /** Up to here the change feed has told followers. */
  announcedSeq = 0
  #trie: MerkleTrie | undefined
  #digestDue: Entry[] = []
  #leaves: Set<Entry>[] | undefined

  constructor(name: string) {
    this.name = name
  }

  /** Adds an entry as it was stored. */
  restore(stored: StoredRecord): void {
    const entry = newEntry(this, stored.key, stored.record, stored.seq, stored.arrival, stored.version)
    this.entriesByKey.set(stored.key, entry)
    this.log.append(entry, stored.seq, true)
    this.announcedSeq = stored.seq
  }

  /** Gives an entry a new record at the end of the map's order. */
  advance(entry: Entry, record: LwwRecord, seq: number, arrival: Stamp): void {
    const isNew = entry.seq === 0
    entry.record = record
    entry.seq = seq
    entry.arrival = arrival
    this.log.append(entry, seq, isNew)
    if (isNew) this.entriesByKey.set(entry.key, entry)
    if (this.#trie !== undefined && !entry.isDigestDue) {
      entry.isDigestDue = true
      this.#digestDue.push(entry)
    }
  }

  /** A blank entry for a key that the map lacks; it becomes part of the map when it advances. */
  blank(key: string, record: LwwRecord, arrival: Stamp): Entry {
    return newEntry(this, key, record, 0, arrival, 0)
  }

  /** The map's trie, brought up to date. Built when it is first asked for: many maps never are. */
  trie(): MerkleTrie {
    if (this.#trie === undefined) {
      this.#trie = new MerkleTrie()
      for (const entry of this.entriesByKey.values()) this.#digest(this.#trie, entry)
      return this.#trie
    }
    for (const entry of this.#digestDue) this.#digest(this.#trie, entry)
    this.#digestDue = []
    return this.#trie
  }

  /** The entries whose key's hash begins with a path of hexadecimal digits, by key. */
  under(path: string): Entry[] {
    this.trie()
    this.#leaves ??= this.#buildLeaves()
    const found: Entry[] = []
    const depth = Math.min(path.length, 3)
    const width = 16 ** (3 - depth)
    const from = path === '' ? 0 : Number.parseInt(path.slice(0, 3), 16) * width
    for (let leaf = from; leaf < from + width; leaf++) {
      for (const entry of this.#leaves[leaf] as Set<Entry>) if (isUnderPath(entry.keyHash, path)) found.push(entry)
    }
    return found.sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  #buildLeaves(): Set<Entry>[] {
    const leaves = Array.from({ length: 4096 }, () => new Set<Entry>())
    for (const entry of this.entriesByKey.values()) (leaves[entry.keyHash >>> 20] as Set<Entry>).add(entry)
    return leaves
  }

  #digest(trie: MerkleTrie, entry: Entry): void {
    if (entry.isInTrie) trie.remove(entry.keyHash, entry.stampLane, entry.stateLane)
    entry.stampLane = stampDigest(entry.keyHash, entry.record.timestamp)
    entry.stateLane = stateDigest(entry.key, entry.record)
    entry.isInTrie = true
    entry.isDigestDue = false
    trie.add(entry.keyHash, entry.stampLane, entry.stateLane)
    this.#leaves?.[entry.keyHash >>> 20]?.add(entry)
  }
}

function newEntry(map: MapState, key: string, record: LwwRecord, seq: number, arrival: Stamp, version: number): Entry {
  return {
    map,
    key,
    keyHash: fnv1a(key),
    record,
    seq,
    arrival,
    version,
    stampLane: 0,
    stateLane: 0,
    isInTrie: false,
    isDigestDue: false,
    unstoredBytes: 0,
  }
}
