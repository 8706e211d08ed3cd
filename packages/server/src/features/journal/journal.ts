import { parseItemKey, valuesEqual, type Env, type LwwRecord, type Stamp, type Value } from '@syncline/core'
import type { Entry } from '../../store/map-state.ts'
import { weightOf } from '../../store/weight.ts'

/** Dropped changes that may lie in the order of all before it is made anew. */
const MAX_DROPPED = 1_024

/** One change of what a record shows. */
export interface Change {
  readonly seq: number
  readonly mapName: string
  readonly key: string
  /** What the key held before and holds since; undefined where it reads as absent. */
  readonly before: Value | undefined
  readonly after: Value | undefined
  /** The record's `timestamp` since then. */
  readonly timestamp: Stamp
  readonly userId: string
  readonly atMs: number
  readonly bytes: number
}

/** How much a journal keeps. */
export interface JournalLimits {
  /** Changes of one map. */
  readonly capacity: number
  /** Milliseconds after which a change is forgotten. 0: never for its age. */
  readonly ttlMs: number
  /** About how many bytes all changes may hold. */
  readonly maxBytes: number
}

/** Changes in the order of commits, oldest first. */
class Ring {
  #changes: Change[] = []
  #first = 0

  get length(): number {
    return this.#changes.length - this.#first
  }

  get oldest(): Change | undefined {
    return this.#changes[this.#first]
  }

  at(index: number): Change {
    return this.#changes[this.#first + index] as Change
  }

  push(change: Change): void {
    this.#changes.push(change)
  }

  dropOldest(): void {
    this.#changes[this.#first++] = undefined as unknown as Change
    if (this.#first < 1_024 || this.#first < this.#changes.length / 2) return
    this.#changes = this.#changes.slice(this.#first)
    this.#first = 0
  }

  /** Where the first change at or after a seq stands. */
  indexOf(seq: number): number {
    let [low, high] = [0, this.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.at(middle).seq < seq) low = middle + 1
      else high = middle
    }
    return low
  }
}

interface MapJournal {
  readonly changes: Ring
  /** Seq of the latest change that is not kept any more. */
  forgottenThrough: number
}

/** The latest changes of maps, in memory: a bounded number for each map, and a bounded number of bytes in all. */
export class Journal {
  readonly #env: Pick<Env, 'now'>
  readonly #limits: JournalLimits
  /** Changes up to here were made before this journal began. */
  readonly #startSeq: number
  readonly #byMap = new Map<string, MapJournal>()
  /** All changes. Those that their map has dropped already are not in `#kept`. */
  #all = new Ring()
  readonly #kept = new Set<Change>()
  #bytes = 0
  #forgottenThrough: number

  constructor(env: Pick<Env, 'now'>, limits: JournalLimits, startSeq: number) {
    this.#env = env
    this.#limits = limits
    this.#startSeq = startSeq
    this.#forgottenThrough = startSeq
  }

  /** Nothing is missing of any map from the seq after this one on. */
  get forgottenThrough(): number {
    this.#forget()
    return this.#forgottenThrough
  }

  /** Changes that are kept. */
  get size(): number {
    return this.#kept.size
  }

  /** About how many bytes they hold. */
  get bytes(): number {
    return this.#bytes
  }

  /** Notes a change of an entry, if it changes what the entry shows. */
  note(entry: Entry, before: LwwRecord | undefined, userId: string): boolean {
    const { record, seq } = entry
    // A record of an OR-map is one value of a key: what it tells is of the key.
    const key = (entry.map.kind === 'or' ? parseItemKey(entry.key)?.key : undefined) ?? entry.key
    const atMs = this.#env.now()
    // Whatever their time to live: what ends is an event when it is removed.
    const [old, now] = [before?.value ?? undefined, record.value ?? undefined]
    if (old === now || valuesEqual(old, now)) return false
    const bytes = weightOf(key, record) + (before === undefined ? 0 : weightOf(key, before))
    const mapName = entry.map.name
    const change: Change = {
      seq,
      mapName,
      key,
      before: old,
      after: now,
      timestamp: record.timestamp,
      userId,
      atMs,
      bytes,
    }
    let journal = this.#byMap.get(mapName)
    if (journal === undefined) {
      journal = { changes: new Ring(), forgottenThrough: this.#startSeq }
      this.#byMap.set(mapName, journal)
    }
    journal.changes.push(change)
    this.#all.push(change)
    this.#kept.add(change)
    this.#bytes += bytes
    if (journal.changes.length > this.#limits.capacity) this.#dropOldest(journal)
    this.#forget()
    return true
  }

  /** The oldest sequence from which on nothing of a map, or of any of several, is missing. */
  oldestSeq(mapNames: Iterable<string>): number {
    this.#forget()
    let through = this.#startSeq
    for (const name of mapNames) through = Math.max(through, this.#byMap.get(name)?.forgottenThrough ?? 0)
    return through + 1
  }

  /** The maps of which changes are kept, or were. */
  mapNames(): Iterable<string> {
    return this.#byMap.keys()
  }

  /** How many changes of a map are kept, or of all. */
  count(mapName: string | undefined): number {
    return mapName === undefined ? this.#kept.size : (this.#byMap.get(mapName)?.changes.length ?? 0)
  }

  /** Changes of a map, or of all, at or after a seq, oldest first. */
  *from(seq: number, mapName: string | undefined): Generator<Change> {
    const ring = this.#ringOf(mapName)
    if (ring === undefined) return
    for (let i = ring.indexOf(seq); i < ring.length; i++) if (this.#kept.has(ring.at(i))) yield ring.at(i)
  }

  /** Changes of a map, or of all, at or before a seq, newest first. */
  *downFrom(seq: number, mapName: string | undefined): Generator<Change> {
    const ring = this.#ringOf(mapName)
    if (ring === undefined) return
    for (let i = ring.indexOf(seq + 1) - 1; i >= 0; i--) if (this.#kept.has(ring.at(i))) yield ring.at(i)
  }

  #ringOf(mapName: string | undefined): Ring | undefined {
    this.#forget()
    return mapName === undefined ? this.#all : this.#byMap.get(mapName)?.changes
  }

  /** Forgets what is too old or too much. */
  #forget(): void {
    const { ttlMs, maxBytes } = this.#limits
    const beginsMs = ttlMs === 0 ? -Infinity : this.#env.now() - ttlMs
    for (let oldest = this.#all.oldest; oldest !== undefined; oldest = this.#all.oldest) {
      if (this.#kept.has(oldest)) {
        if (oldest.atMs >= beginsMs && this.#bytes <= maxBytes) break
        this.#dropOldest(this.#byMap.get(oldest.mapName) as MapJournal)
      }
      this.#all.dropOldest()
    }
    if (this.#all.length - this.#kept.size > Math.max(MAX_DROPPED, this.#kept.size)) this.#compact()
  }

  #dropOldest(journal: MapJournal): void {
    const oldest = journal.changes.oldest
    if (oldest === undefined) return
    journal.changes.dropOldest()
    journal.forgottenThrough = oldest.seq
    this.#forgottenThrough = Math.max(this.#forgottenThrough, oldest.seq)
    this.#kept.delete(oldest)
    this.#bytes -= oldest.bytes
  }

  #compact(): void {
    const all = new Ring()
    for (let i = 0; i < this.#all.length; i++) if (this.#kept.has(this.#all.at(i))) all.push(this.#all.at(i))
    this.#all = all
  }
}
