import type { LwwRecord, Stamp } from '@syncline/core'
import { MerkleTrie, fnv1a, isUnderPath, stampDigest, stateDigest } from '@syncline/core/merkle'
import type { MapKind } from '@syncline/protocol'
import type { StoredRecord } from '@syncline/storage'
import { ItemIndex } from './item-index.ts'
import { kindOfName } from './kinds.ts'
import type { Entry, MapState } from './map-state.ts'
import { NOTHING_PRUNED, type PrunedMark } from './pruned-mark.ts'
import { SeqLog } from './seq-log.ts'

/** Records from which on a map keeps its trie. Below that the trie outweighs them, and is made again when it is asked for. */
const KEPT_TRIE_RECORDS = 1_000
/** Hexadecimal digits of a hash that name a leaf of the trie. */
const LEAF_DIGITS = 3

/** An entry in the hands of the store. */
export type WritableEntry = { -readonly [Name in Exclude<keyof Entry, 'map'>]: Entry[Name] } & {
  readonly map: WritableMap
}

/** A map in the hands of the store, which gives it to nobody else as such. */
export class WritableMap implements MapState {
  readonly name: string
  kind: MapKind | undefined
  readonly entriesByKey = new Map<string, WritableEntry>()
  readonly log = new SeqLog()
  pruned: PrunedMark
  announcedSeq = 0
  previous: Map<Entry, LwwRecord> | undefined
  /** The tombstones, in the order in which they came. */
  readonly #tombstones = new SeqLog()
  #trie: MerkleTrie | undefined
  #items: ItemIndex | undefined
  #digestDue: WritableEntry[] = []
  /** Entries by leaf, once those of one have been asked for: each is found again at once, however many are added. */
  #byLeaf: Map<number, WritableEntry[]> | undefined

  constructor(name: string, pruned: PrunedMark = NOTHING_PRUNED, kind: MapKind | undefined = kindOfName(name)) {
    this.name = name
    this.kind = kind
    this.pruned = pruned
  }

  /** Adds an entry as it was stored. */
  restore(stored: StoredRecord): void {
    const entry = newEntry(this, stored.key, stored.record, stored.seq, stored.arrival, stored.version)
    this.#add(entry)
    this.log.append(entry, stored.seq, true)
    if (stored.record.value === null) this.#tombstones.append(entry, stored.seq, true)
    this.announcedSeq = stored.seq
  }

  /** Gives an entry a new record at the end of the map's order. */
  advance(entry: WritableEntry, record: LwwRecord, seq: number, arrival: Stamp): void {
    const isNew = entry.seq === 0
    if (this.previous !== undefined && !isNew && entry.seq <= this.announcedSeq) this.previous.set(entry, entry.record)
    const wasTombstone = !isNew && entry.record.value === null
    entry.record = record
    entry.seq = seq
    entry.arrival = arrival
    this.log.append(entry, seq, isNew)
    if (record.value === null) this.#tombstones.append(entry, seq, !wasTombstone)
    else if (wasTombstone) this.#tombstones.leave()
    if (isNew) this.#add(entry)
    if (this.#trie !== undefined && (isNew || !entry.isDigestDue)) this.#digestDue.push(entry)
    entry.isDigestDue = true
  }

  /** A blank entry for a key that the map lacks; it becomes part of the map when it advances. */
  blank(key: string, record: LwwRecord, arrival: Stamp): WritableEntry {
    return newEntry(this, key, record, 0, arrival, this.pruned.version)
  }

  /** The first tombstones up to a position that arrived before a time, at most so many. */
  tombstones(throughSeq: number, arrivedBeforeMs: number, most: number): Entry[] {
    const found: Entry[] = []
    if (most <= 0) return found
    this.#tombstones.since(0, (entry) => {
      if (entry.seq > throughSeq || entry.arrival.millis >= arrivedBeforeMs) return false
      found.push(entry)
      return found.length < most
    })
    return found
  }

  /** Forgets a tombstone. Whoever still holds the entry sees that it is at no position any more. */
  forget(entry: WritableEntry): void {
    if (entry.isInTrie) this.#trie?.remove(entry.keyHash, entry.stampLane, entry.stateLane)
    entry.isInTrie = false
    entry.seq = 0
    this.entriesByKey.delete(entry.key)
    this.#items?.remove(entry)
    const leaf = this.#byLeaf?.get(leafOf(entry))
    leaf?.splice(leaf.indexOf(entry), 1)
    this.log.leave()
    this.#tombstones.leave()
  }

  items(): ItemIndex {
    return (this.#items ??= new ItemIndex(this))
  }

  trie(): MerkleTrie {
    if (this.#trie !== undefined) {
      for (const entry of this.#digestDue) {
        if (entry.seq === 0) continue
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
    if (this.kind === 'or') this.items().add(entry)
  }
}

function addToLeaf(byLeaf: Map<number, WritableEntry[]>, entry: WritableEntry): void {
  const leaf = leafOf(entry)
  const entries = byLeaf.get(leaf)
  if (entries === undefined) byLeaf.set(leaf, [entry])
  else entries.push(entry)
}

function leafOf({ keyHash }: Entry): number {
  return keyHash >>> (32 - 4 * LEAF_DIGITS)
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
  map: WritableMap,
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
