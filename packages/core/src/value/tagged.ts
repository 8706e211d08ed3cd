import type { Value } from './value.ts'

/** A map with exactly one member of such a name is escaped in JSON, because `$bytes` alone stands for bytes. */
const TAG = /^\$+bytes$/

/** Bytes are turned into characters in pieces, because a call takes a bounded number of arguments. */
const PIECE = 0x8000

/** Thrown only from `fromTagged` to its callers: the text says `$bytes` and is no base64. */
export class BadBytes extends Error {}

/** The name under which JSON shows a member of a map, `isOnly` if the map has no other. */
export function taggedName(name: string, isOnly: boolean): string {
  return isOnly && TAG.test(name) ? `$${name}` : name
}

/** Says whether something holds bytes, or a map that looks as if it stood for bytes. */
export function needsTags(value: object): boolean {
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

/** A copy that JSON can express: bytes as `{"$bytes": "<base64>"}`, maps that look like tagged bytes escaped. */
export function toTagged(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Uint8Array) return { $bytes: bytesToBase64(value) }
  if (Array.isArray(value)) return value.map(toTagged)
  const names = Object.keys(value)
  const map: Record<string, unknown> = {}
  for (const name of names) {
    setOwn(map, taggedName(name, names.length === 1), toTagged((value as Record<string, unknown>)[name]))
  }
  return map
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
    const bytes = new Uint8Array(binary.length)
    for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i)
    return bytes
  } catch {
    throw new BadBytes()
  }
}

/** A plain assignment to `__proto__` would set the prototype and hide the name from the checks that follow. */
function setOwn(map: Record<string, unknown>, name: string, value: unknown): void {
  if (name !== '__proto__') map[name] = value
  else Object.defineProperty(map, name, { value, enumerable: true, configurable: true, writable: true })
}
