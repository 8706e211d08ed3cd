import { maxStamp, type Stamp } from '../clock/hlc.ts'
import { parseStamp } from '../clock/stamp-text.ts'
import type { Value } from '../value/value.ts'
import { mergeRecords } from './merge.ts'
import { isTombstone, visibleValue, wholeWrite, type LwwRecord } from './record.ts'
import type { WriteOutcome } from './lww-map.ts'

/** One value of a key in an OR-map: the record of its add, or the tombstone of its removal, under the add's tag. */
export interface Item {
  readonly tag: string
  readonly record: LwwRecord
}

/** The key of an item's record: its tag, a colon, and the key that it belongs to (SPEC [OR1]). */
export function itemKey(tag: string, key: string): string {
  return `${tag}:${key}`
}

/** Takes the key of an item's record apart; undefined where it is none. */
export function parseItemKey(text: string): { readonly tag: string; readonly key: string } | undefined {
  const counterAt = text.indexOf(':') + 1
  const nodeAt = text.indexOf(':', counterAt) + 1
  const end = nodeAt === 0 ? -1 : text.indexOf(':', nodeAt)
  if (counterAt === 0 || end < 0 || end === text.length - 1) return undefined
  const tag = text.slice(0, end)
  return isTag(tag) ? { tag, key: text.slice(end + 1) } : undefined
}

/** Says whether a text is a tag: a stamp as text, whose node id holds no colon. */
export function isTag(text: string): boolean {
  return parseStamp(text) !== undefined
}

/** The order of tags, which is that of the stamps that they are the text of. */
export function compareTags(a: string, b: string): number {
  if (a === b) return 0
  const [endA, endB] = [a.indexOf(':'), b.indexOf(':')]
  const [nodeA, nodeB] = [a.indexOf(':', endA + 1), b.indexOf(':', endB + 1)]
  // Numbers have no leading zeros: the longer one is the greater, and of two of one length the text decides.
  if (endA !== endB) return endA - endB
  const [millisA, millisB] = [a.slice(0, endA), b.slice(0, endB)]
  if (millisA !== millisB) return millisA < millisB ? -1 : 1
  if (nodeA !== nodeB) return nodeA - nodeB
  // Equal so far, or decided within the counters, and otherwise by the node ids.
  return a < b ? -1 : 1
}

/**
 * Joins two states of one item (SPEC [OR3]). A removal wins, whatever the stamps: its tombstone takes the later base
 * stamp, at which it wins under `mergeRecords` too. Commutative, associative and idempotent for whole writes, which is
 * all that items have. Returns `a` itself where `b` adds nothing.
 */
export function mergeItems(a: LwwRecord, b: LwwRecord): LwwRecord {
  if (isTombstone(a) === isTombstone(b)) return mergeRecords(a, b)
  const [removed, added] = isTombstone(a) ? [a, b] : [b, a]
  const timestamp = maxStamp(removed.timestamp, added.timestamp)
  const base = maxStamp(removed.base, added.base)
  if (removed === a && timestamp === a.timestamp && base === a.base) return a
  return { value: null, timestamp, base }
}

/** The items as readers see them at a time, in the order of their tags: neither removed nor expired. */
export function visibleItems<I extends Item>(items: Iterable<I>, nowMs: number): I[] {
  const visible: I[] = []
  for (const item of items) if (visibleValue(item.record, nowMs) !== undefined) visible.push(item)
  return visible.length < 2 ? visible : visible.sort((a, b) => compareTags(a.tag, b.tag))
}

/**
 * A map in which each key has a set of values. Each add has a tag of its own and a removal names tags, so that of an add
 * and a removal made apart from each other the add stays. It reads no clock and sends nothing: tags, stamps and time are
 * handed in. Replicas that have merged the same adds and removals hold the same items.
 */
export class OrMap {
  readonly #itemsByKey = new Map<string, Map<string, LwwRecord>>()

  /** Number of items, removed and expired ones included. */
  get itemCount(): number {
    let count = 0
    for (const items of this.#itemsByKey.values()) count += items.size
    return count
  }

  /** The values of a key that a reader sees, in the order of their tags. */
  values(key: string, nowMs: number): Value[] {
    return visibleItems(this.items(key), nowMs).map(({ record }) => record.value)
  }

  /** All items of a key, removed ones included, in the order in which they came. */
  *items(key: string): IterableIterator<Item> {
    for (const [tag, record] of this.#itemsByKey.get(key) ?? []) yield { tag, record }
  }

  /** The keys that have or had items. */
  keys(): IterableIterator<string> {
    return this.#itemsByKey.keys()
  }

  /**
   * Adds a value, which is not null, under a tag that no other add has: `formatStamp` of the add's stamp.
   * Adding it again changes nothing, and neither does adding what was removed.
   */
  add(key: string, tag: string, value: Value, stamp: Stamp, ttlMs?: number): WriteOutcome {
    return this.merge(key, tag, wholeWrite(value, stamp, ttlMs))
  }

  /** Removes what was added under a tag, also where the add is yet to come. */
  remove(key: string, tag: string, stamp: Stamp): WriteOutcome {
    return this.merge(key, tag, wholeWrite(null, stamp))
  }

  /** Merges another replica's item. */
  merge(key: string, tag: string, incoming: LwwRecord): WriteOutcome {
    let items = this.#itemsByKey.get(key)
    if (items === undefined) this.#itemsByKey.set(key, (items = new Map()))
    const previous = items.get(tag)
    const record = previous === undefined ? incoming : mergeItems(previous, incoming)
    if (record !== previous) items.set(tag, record)
    return { record, previous, changed: record !== previous }
  }
}
