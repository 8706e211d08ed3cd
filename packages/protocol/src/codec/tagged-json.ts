import type { Value } from '@syncline/core'

/** A map with exactly one member of such a name is escaped in JSON, because `$bytes` alone stands for bytes. */
const TAG = /^\$+bytes$/

/** Bytes are turned into characters in pieces, because a call takes a bounded number of arguments. */
const PIECE = 0x8000

/** Thrown only from `fromTagged` to its callers: the text says `$bytes` and is no base64. */
export class BadBytes extends Error {}

/** The JSON text of a message or of part of one. */
export function stringify(part: unknown): string {
  return JSON.stringify(typeof part === 'object' && part !== null && needsTags(part) ? toTagged(part) : part)
}

/** Says whether something holds bytes, or a map that looks as if it stood for bytes. */
function needsTags(value: object): boolean {
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const item: unknown = value[i]
      if (typeof item === 'object' && item !== null && needsTags(item)) return true
    }
    return false
  }
  if (ArrayBuffer.isView(value)) return true
  for (const name in value) {
    if (name.charCodeAt(0) === 36 && TAG.test(name)) return true
    const item = (value as Record<string, unknown>)[name]
    if (typeof item === 'object' && item !== null && needsTags(item)) return true
  }
  return false
}

/** A copy that JSON can express: bytes tagged, maps that look like tagged bytes escaped (SPEC [FR4], [FR5]). */
function toTagged(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Uint8Array) return { $bytes: bytesToBase64(value) }
  if (Array.isArray(value)) return value.map(toTagged)
  const names = Object.keys(value)
  const map: Record<string, unknown> = {}
  for (const name of names) {
    const escaped = names.length === 1 && TAG.test(name) ? `$${name}` : name
    setOwn(map, escaped, toTagged((value as Record<string, unknown>)[name]))
  }
  return map
}

/**
 * What a text of a trusted writer stands for. It is not asked how deep it nests, or for anything that `JSON.stringify`
 * does not write: minus zero, and escaped letters. Throws `SyntaxError` or `BadBytes`.
 */
export function parseTrusted(text: string): unknown {
  const parsed: unknown = JSON.parse(text)
  return text.includes('$bytes"') ? fromTagged(parsed) : parsed
}

/** What a parsed text stands for. Changes maps and arrays in place. Throws `BadBytes`. */
export function fromTagged(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value === 0 ? 0 : value
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) value[i] = fromTagged(value[i])
    return value
  }
  const map = value as Record<string, unknown>
  const names = Object.keys(map)
  const [first] = names
  if (names.length === 1 && first !== undefined && TAG.test(first)) {
    if (first === '$bytes') return base64ToBytes(map[first])
    return { [first.slice(1)]: fromTagged(map[first]) }
  }
  for (const name of names) map[name] = fromTagged(map[name])
  return map
}

/** The base64 of bytes, with padding (RFC 4648, section 4). */
function bytesToBase64(bytes: Uint8Array): string {
  let binary = ''
  for (let i = 0; i < bytes.length; i += PIECE) {
    binary += String.fromCharCode.apply(null, bytes.subarray(i, i + PIECE) as unknown as number[])
  }
  return btoa(binary)
}

/** The bytes of a base64 text in its one canonical form. Throws `BadBytes`. */
function base64ToBytes(text: unknown): Value {
  try {
    const binary = atob(text as string)
    // `atob` also takes spaces, missing padding and stray bits; each bytes value has one text only.
    if (btoa(binary) !== text) throw new BadBytes()
    return Uint8Array.from(binary, (unit) => unit.charCodeAt(0))
  } catch {
    throw new BadBytes()
  }
}

/** A plain assignment to `__proto__` would set the prototype and hide the name from the checks that follow. */
function setOwn(map: Record<string, unknown>, name: string, value: unknown): void {
  if (name !== '__proto__') map[name] = value
  else Object.defineProperty(map, name, { value, enumerable: true, configurable: true, writable: true })
}
