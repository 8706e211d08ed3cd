import type { LwwRecord, Value } from '@syncline/core'

/** What a record costs beside what its texts, numbers and bytes take, stamps included. */
const RECORD_BYTES = 64

/**
 * Roughly the bytes of a record under its key. Told from the lengths of its parts, a character counting as one byte, so
 * that it can be asked for at every write.
 */
export function weightOf(key: string, { value, fields }: LwwRecord): number {
  let bytes = RECORD_BYTES + key.length + weightOfValue(value)
  if (fields === undefined) return bytes
  for (const name in fields) {
    const hidden = fields[name]?.value
    bytes += RECORD_BYTES + name.length + (hidden === undefined ? 0 : weightOfValue(hidden))
  }
  return bytes
}

function weightOfValue(value: Value): number {
  if (typeof value === 'string') return value.length
  if (typeof value !== 'object' || value === null) return 8
  if (value instanceof Uint8Array) return value.byteLength
  let bytes = 8
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) bytes += weightOfValue(value[i] as Value)
    return bytes
  }
  const map = value as Readonly<Record<string, Value>>
  for (const name in map) bytes += name.length + weightOfValue(map[name] as Value)
  return bytes
}
