import { ZERO_STAMP, type LwwRecord, type Stamp } from '@syncline/core'
import { MerkleTrie, fnv1a, isUnderPath, stampDigest, stateDigest } from '@syncline/core/merkle'
import type { StoredRecord } from '@syncline/storage'
import type { Entry, MapState } from './map-state.ts'
import { SeqLog } from './seq-log.ts'

/** Records from which on a map keeps its trie. Below that the trie outweighs them, and is made again when it is asked for. */
const KEPT_TRIE_RECORDS = 1_000
/** Hexadecimal digits of a hash that name a leaf of the trie. */
const LEAF_DIGITS = 3

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
  previous: Map<Entry, LwwRecord> | undefined
  #trie: MerkleTrie | undefined
  #digestDue: WritableEntry[] = []
  /** Entries by leaf, once those of one have been asked for: each is found again at once, however many are added. */
  #byLeaf: Map<number, WritableEntry[]> | undefined

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
    if (this.previous !== undefined && !isNew && entry.seq <= this.announcedSeq) this.previous.set(entry, entry.record)
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
    const entries = path.length < LEAF_DIGITS ? this.entriesByKey.values() : this.#leaf(path)
    const found = [...entries].filter(({ keyHash }) => isUnderPath(keyHash, path))
    // Digests that stand in a trie are brought up to date with it.
    if (this.#trie !== undefined) this.trie()
    else for (const entry of found) refreshDigest(entry)
    return found.sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  #leaf(path: string): readonly WritableEntry[] {
    if (this.#byLeaf === undefined) {
      this.#byLeaf = new Map()
      for (const entry of this.entriesByKey.values()) addToLeaf(this.#byLeaf, entry)
    }
    return this.#byLeaf.get(Number.parseInt(path.slice(0, LEAF_DIGITS), 16)) ?? []
  }

  #add(entry: WritableEntry): void {
    this.entriesByKey.set(entry.key, entry)
    if (this.#byLeaf !== undefined) addToLeaf(this.#byLeaf, entry)
  }
}

function addToLeaf(byLeaf: Map<number, WritableEntry[]>, entry: WritableEntry): void {
  const leaf = entry.keyHash >>> (32 - 4 * LEAF_DIGITS)
  const entries = byLeaf.get(leaf)
  if (entries === undefined) byLeaf.set(leaf, [entry])
  else entries.push(entry)
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
