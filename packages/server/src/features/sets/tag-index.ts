import { isTombstone } from '@syncline/core'
import { tagOf } from '../../store/item-index.ts'
import type { Entry } from '../../store/map-state.ts'
import { Derived } from './derived.ts'

const NONE: ReadonlySet<Entry> = new Set()

/** The items of an OR-map that are not removed, by tag: existing clients push removals without naming their keys. */
export class TagIndex extends Derived<Entry> {
  readonly #entriesByTag = new Map<string, Set<Entry>>()

  /** Tags of items that are not removed. */
  get size(): number {
    return this.#entriesByTag.size
  }

  /** The items that have a tag: one, unless somebody has given it to items of several keys. */
  at(tag: string): ReadonlySet<Entry> {
    return this.#entriesByTag.get(tag) ?? NONE
  }

  protected parts(): Iterable<Entry> {
    return this.map.entriesByKey.values()
  }

  protected partOf(entry: Entry): Entry {
    return entry
  }

  protected clear(): void {
    this.#entriesByTag.clear()
  }

  protected put(entry: Entry): void {
    const tag = tagOf(entry, this.map.items().of(entry).key)
    const entries = this.#entriesByTag.get(tag)
    if (!isTombstone(entry.record)) {
      if (entries === undefined) this.#entriesByTag.set(tag, new Set([entry]))
      else entries.add(entry)
    } else if (entries?.delete(entry) === true && entries.size === 0) this.#entriesByTag.delete(tag)
  }
}
