import { ZERO_STAMP, type LwwRecord, type Stamp } from '@syncline/core'
import { MerkleTrie, fnv1a, stampDigest, stateDigest } from '@syncline/core/merkle'
import type { StoredRecord } from '@syncline/storage'
import type { Entry, MapState } from './map-state.ts'
import { SeqLog } from './seq-log.ts'

/** Records from which on a map keeps its trie. Below that the trie outweighs them, and is made again when it is asked for. */
const KEPT_TRIE_RECORDS = 1_000

/** An entry in the hands of the store. */
export type WritableEntry = { -readonly [Name in keyof Entry]: Entry[Name] }

/** A map in the hands of the store, which gives it to nobody else as such. */
export class WritableMap implements MapState {
  readonly name: string
  readonly entriesByKey = new Map<string, WritableEntry>()
  readonly log = new SeqLog()
  prunedThroughSeq = 0
  prunedThroughStamp: Stamp = ZERO_STAMP
  announcedSeq = 0
  #trie: MerkleTrie | undefined
  #digestDue: WritableEntry[] = []
  /** Entries by the hash of their key, once they have been asked for; in order but for the latest ones. */
  #byHash: WritableEntry[] | undefined
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
  advance(entry: WritableEntry, record: LwwRecord, seq: number, arrival: Stamp): void {
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
  blank(key: string, record: LwwRecord, arrival: Stamp): WritableEntry {
    return newEntry(this, key, record, 0, arrival, 0)
  }

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

  #add(entry: WritableEntry): void {
    this.entriesByKey.set(entry.key, entry)
    this.#byHash?.push(entry)
    this.#isSorted = false
  }
}

function addTo(trie: MerkleTrie, entry: WritableEntry): void {
  refreshDigest(entry)
  entry.isInTrie = true
  trie.add(entry.keyHash, entry.stampLane, entry.stateLane)
}

/** Computes the digests of an entry's record anew, if the record has changed since. */
function refreshDigest(entry: WritableEntry): void {
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

function newEntry(
  map: MapState,
  key: string,
  record: LwwRecord,
  seq: number,
  arrival: Stamp,
  version: number,
): WritableEntry {
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
