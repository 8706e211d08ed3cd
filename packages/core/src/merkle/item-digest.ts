import { formatStamp } from '../clock/stamp-text.ts'
import type { Item } from '../crdt/or-map.ts'
import type { Value } from '../value/value.ts'
import { fnv1a } from './digest.ts'

/**
 * The digest of a key of an OR-map, as existing clients compute it from the key's items, removed ones left out
 * (SPEC [MK6]). It does not tell apart what their text of a value does not.
 */
export function itemsDigest(key: string, items: Iterable<Item>): number {
  const parts: string[] = []
  // Their order is that of the texts, not of the stamps.
  for (const { tag, record } of [...items].sort((a, b) => (a.tag < b.tag ? -1 : 1))) {
    const ttl = record.ttlMs === undefined ? '' : `:ttl=${record.ttlMs}`
    parts.push(`|${tag}:${valueText(record.value)}:${formatStamp(record.timestamp)}${ttl}`)
  }
  return fnv1a(`key:${key}${parts.join('')}`)
}

/** Of maps, names inside of them count only where they are also names of the outermost one: so do existing clients. */
function valueText(value: Value): string {
  if (typeof value !== 'object' || value === null) return String(value)
  return JSON.stringify(value, Object.keys(value).sort())
}
