import { ZERO_STAMP, type LwwRecord, type Stamp } from '@syncline/core'
import { MerkleTrie, fnv1a, stampDigest, stateDigest } from '@syncline/core/merkle'
import type { StoredRecord } from '@syncline/storage'
import { SeqLog } from './seq-log.ts'

/** Records from which on a map keeps its trie. Below that the trie outweighs them, and is made again when it is asked for. */
const KEPT_TRIE_RECORDS = 1_000

/** A key of a map and all that the server knows of it. */
export interface Entry {
  readonly map: MapState
  readonly key: string
  readonly keyHash: number
  record: LwwRecord
  seq: number
  arrival: Stamp
  version: number
  /** Digests of `record`, and those under which the entry stands in the trie. They lag until the trie is asked for. */
  stampLane: number
  stateLane: number
  isDigestDue: boolean
  isInTrie: boolean
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
  /** Entries by the hash of their key, once they have been asked for; in order but for the latest ones. */
  #byHash: Entry[] | undefined
  #isSorted = false

  constructor(name: string) {
    this.name = name
  }

  /** Adds an entry as it was stored. */
  restore(stored: StoredRecord): void {
    const entry = newEntry(this, stored.key, stored.record, stored.seq, stored.arrival, stored.version)
    this.#add(entry)
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
    if (isNew) this.#add(entry)
    if (this.#trie !== undefined && (isNew || !entry.isDigestDue)) this.#digestDue.push(entry)
    entry.isDigestDue = true
  }

  /** A blank entry for a key that the map lacks; it becomes part of the map when it advances. */
  blank(key: string, record: LwwRecord, arrival: Stamp): Entry {
    return newEntry(this, key, record, 0, arrival, 0)
  }

  /** The map's trie as it is now. It is made when it is asked for, as many maps never are. */
  trie(): MerkleTrie {
    if (this.#trie !== undefined) {
      for (const entry of this.#digestDue) {
        if (entry.isInTrie) this.#trie.remove(entry.keyHash, entry.stampLane, entry.stateLane)
        addTo(this.#trie, entry)
      }
      this.#digestDue = []
      return this.#trie
    }
    const trie = new MerkleTrie()
    for (const entry of this.entriesByKey.values()) addTo(trie, entry)
    if (this.entriesByKey.size >= KEPT_TRIE_RECORDS) this.#trie = trie
    return trie
  }

  /** The entries whose key's hash begins with a path of up to 8 hexadecimal digits, by key, their digests up to date. */
  under(path: string): Entry[] {
    this.#byHash ??= [...this.entriesByKey.values()]
    if (!this.#isSorted) this.#byHash.sort((a, b) => a.keyHash - b.keyHash)
    this.#isSorted = true
    const width = 2 ** (32 - 4 * path.length)
    const from = path === '' ? 0 : Number.parseInt(path, 16) * width
    const found = this.#byHash.slice(firstFrom(this.#byHash, from), firstFrom(this.#byHash, from + width))
    // Digests that stand in a trie are brought up to date with it.
    if (this.#trie !== undefined) this.trie()
    else for (const entry of found) refreshDigest(entry)
    return found.sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  #add(entry: Entry): void {
    this.entriesByKey.set(entry.key, entry)
    this.#byHash?.push(entry)
    this.#isSorted = false
  }
}

function addTo(trie: MerkleTrie, entry: Entry): void {
  refreshDigest(entry)
  entry.isInTrie = true
  trie.add(entry.keyHash, entry.stampLane, entry.stateLane)
}

/** Computes the digests of an entry's record anew, if the record has changed since. */
function refreshDigest(entry: Entry): void {
  if (!entry.isDigestDue) return
  entry.stampLane = stampDigest(entry.keyHash, entry.record.timestamp)
  entry.stateLane = stateDigest(entry.key, entry.record)
  entry.isDigestDue = false
}

/** Where the hashes begin that are no less than one, in a list that is sorted by them. */
function firstFrom(byHash: readonly Entry[], hash: number): number {
  let [from, to] = [0, byHash.length]
  while (from < to) {
    const middle = (from + to) >>> 1
    if ((byHash[middle] as Entry).keyHash < hash) from = middle + 1
    else to = middle
  }
  return from
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
    isDigestDue: true,
    isInTrie: false,
    unstoredBytes: 0,
  }
}
