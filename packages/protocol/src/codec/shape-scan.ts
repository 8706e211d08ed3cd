// Reads the shape of a MessagePack frame without building anything from it, so that a hostile frame costs no more than
// its length: a few bytes can announce gigabytes, nest for ever or rename what a map holds.

/** The frame is one value that both encodings can express. */
export const SCAN_OK = 0
/** The frame ends early, goes on after its value, or holds the byte 0xc1. */
export const SCAN_BROKEN = -1
/** Nested deeper than allowed. */
export const SCAN_TOO_DEEP = -2
/** An extension type, a number that is no finite double or safe integer, or a string that is not UTF-8. */
export const SCAN_BAD_VALUE = -3
/** A map key that is no string, occurs twice, or is a reserved name. */
export const SCAN_BAD_KEY = -4

/** Bits of a scan's positive result: what the frame holds that the decoder must be told about. */
export const HAS_BYTES = 1
export const HAS_MINUS_ZERO = 2
export const HAS_BYTE_ORDER_MARK = 4

const MAX_DEPTH = 64

/** Keys of a map up to this size are compared with one another; in a larger one they are put in a set. */
const SMALL_MAP = 16

const ARRAY = 0
const SMALL = 1
const LARGE = 2

// One scan runs at a time, from start to end, so these are shared by all.
const leftAt = new Int32Array(MAX_DEPTH + 1)
const kindAt = new Uint8Array(MAX_DEPTH + 1)
const firstKeyAt = new Int32Array(MAX_DEPTH + 1)
const setAt: (Set<string> | undefined)[] = Array.from({ length: MAX_DEPTH + 1 }, () => undefined)
const keyStarts = new Int32Array((MAX_DEPTH + 1) * SMALL_MAP)
const keyLengths = new Int32Array((MAX_DEPTH + 1) * SMALL_MAP)
const keyHashes = new Int32Array((MAX_DEPTH + 1) * SMALL_MAP)

const keyDecoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** Result of the last call of `scanText` and `scanKey`, beside their return value. */
let flags = 0

/** Scans one frame. Returns a fault (negative) or the sum of what it holds (`HAS_…`). */
export function scanShape(data: Uint8Array, maxDepth: number): number {
  const end = data.length
  let at = 0
  let depth = 0
  let kind = ARRAY
  let left = 1
  let keyCount = 0
  flags = 0
  for (;;) {
    while (left === 0) {
      if (depth === 0) return at === end ? flags : SCAN_BROKEN
      if (kind === SMALL) keyCount = firstKeyAt[depth] as number
      depth--
      left = leftAt[depth] as number
      kind = kindAt[depth] as number
    }
    if (at >= end) return SCAN_BROKEN
    let head = data[at++] as number
    left--
    let length = -1
    if (kind !== ARRAY && (left & 1) === 1) {
      if (head >= 0xa0 && head < 0xc0) length = head & 0x1f
      else if (head === 0xd9 && at < end) length = data[at++] as number
      else if (head === 0xda && at + 1 < end) {
        length = ((data[at] as number) << 8) | (data[at + 1] as number)
        at += 2
      } else if (head === 0xdb && at + 3 < end) {
        length = readUint32(data, at)
        at += 4
      } else return head >= 0xd9 && head <= 0xdb ? SCAN_BROKEN : SCAN_BAD_KEY
      if (length > end - at) return SCAN_BROKEN
      const last = at + length
      let hash = length
      let i = at
      for (; i < last; i++) {
        const byte = data[i] as number
        if (byte > 0x7f) break
        hash = (Math.imul(hash, 31) + byte) | 0
      }
      if (i < last) {
        if (!isUtf8(data, i, last)) return SCAN_BAD_KEY
        for (; i < last; i++) hash = (Math.imul(hash, 31) + (data[i] as number)) | 0
      }
      if (isReserved(data, at, length)) return SCAN_BAD_KEY
      if (kind === SMALL) {
        for (let k = firstKeyAt[depth] as number; k < keyCount; k++) {
          if (
            keyHashes[k] === hash &&
            keyLengths[k] === length &&
            equalBytes(data, keyStarts[k] as number, at, length)
          ) {
            return SCAN_BAD_KEY
          }
        }
        keyStarts[keyCount] = at
        keyLengths[keyCount] = length
        keyHashes[keyCount++] = hash
      } else {
        const known = setAt[depth] as Set<string>
        const size = known.size
        if (known.add(keyDecoder.decode(data.subarray(at, last))).size === size) return SCAN_BAD_KEY
      }
      at = last
      continue
    }
    if (head < 0x80 || head >= 0xe0) continue
    if (head < 0xc0) {
      if (head >= 0xa0) length = head & 0x1f
      else {
        // A small map or array.
        length = head & 0x0f
        head = head < 0x90 ? 0xde : 0xdc
        if (length > end - at) return SCAN_BROKEN
        if (depth === maxDepth) return SCAN_TOO_DEEP
        leftAt[depth] = left
        kindAt[depth] = kind
        depth++
        if (head === 0xdc) {
          kind = ARRAY
          left = length
        } else {
          kind = SMALL
          firstKeyAt[depth] = keyCount
          left = length * 2
        }
        continue
      }
    } else {
      switch (head) {
        case 0xc0:
        case 0xc2:
        case 0xc3:
          continue
        case 0xc4:
          if (at >= end) return SCAN_BROKEN
          flags |= HAS_BYTES
          at += 1 + (data[at] as number)
          break
        case 0xc5:
          if (at + 1 >= end) return SCAN_BROKEN
          flags |= HAS_BYTES
          at += 2 + readUint16(data, at)
          break
        case 0xc6:
          if (at + 3 >= end) return SCAN_BROKEN
          flags |= HAS_BYTES
          at += 4 + readUint32(data, at)
          break
        case 0xca:
          if (at + 3 >= end) return SCAN_BROKEN
          if (((data[at] as number) & 0x7f) === 0x7f && (data[at + 1] as number) >= 0x80) return SCAN_BAD_VALUE
          if (data[at] === 0x80 && isZero(data, at + 1, at + 4)) flags |= HAS_MINUS_ZERO
          at += 4
          break
        case 0xcb:
          if (at + 7 >= end) return SCAN_BROKEN
          if (((data[at] as number) & 0x7f) === 0x7f && (data[at + 1] as number) >= 0xf0) return SCAN_BAD_VALUE
          if (data[at] === 0x80 && isZero(data, at + 1, at + 8)) flags |= HAS_MINUS_ZERO
          at += 8
          break
        case 0xcc:
        case 0xd0:
          at += 1
          break
        case 0xcd:
        case 0xd1:
          at += 2
          break
        case 0xce:
        case 0xd2:
          at += 4
          break
        case 0xcf:
        case 0xd3: {
          if (at + 7 >= end) return SCAN_BROKEN
          if (!isSafeInteger(data, at, head === 0xd3)) return SCAN_BAD_VALUE
          at += 8
          break
        }
        case 0xd9:
          if (at >= end) return SCAN_BROKEN
          length = data[at++] as number
          break
        case 0xda:
          if (at + 1 >= end) return SCAN_BROKEN
          length = readUint16(data, at)
          at += 2
          break
        case 0xdb:
          if (at + 3 >= end) return SCAN_BROKEN
          length = readUint32(data, at)
          at += 4
          break
        case 0xdc:
        case 0xdd:
        case 0xde:
        case 0xdf: {
          const width = (head & 1) === 0 ? 2 : 4
          if (at + width > end) return SCAN_BROKEN
          length = width === 2 ? readUint16(data, at) : readUint32(data, at)
          at += width
          const isArray = head <= 0xdd
          // Every element takes a byte at least, so a length beyond the frame's end is no frame.
          if ((isArray ? length : length * 2) > end - at) return SCAN_BROKEN
          if (depth === maxDepth) return SCAN_TOO_DEEP
          leftAt[depth] = left
          kindAt[depth] = kind
          depth++
          if (isArray) {
            kind = ARRAY
            left = length
          } else {
            left = length * 2
            if (length <= SMALL_MAP) {
              kind = SMALL
              firstKeyAt[depth] = keyCount
            } else {
              kind = LARGE
              setAt[depth] = new Set()
            }
          }
          continue
        }
        default:
          // 0xc1 is never used; the rest are extension types.
          return head === 0xc1 ? SCAN_BROKEN : SCAN_BAD_VALUE
      }
      if (at > end) return SCAN_BROKEN
      if (length < 0) continue
    }
    if (length > end - at) return SCAN_BROKEN
    const last = at + length
    if (length > 2 && data[at] === 0xef && data[at + 1] === 0xbb && data[at + 2] === 0xbf) flags |= HAS_BYTE_ORDER_MARK
    while (at < last && (data[at] as number) < 0x80) at++
    if (at < last && !isUtf8(data, at, last)) return SCAN_BAD_VALUE
    at = last
  }
}

function readUint16(data: Uint8Array, at: number): number {
  return ((data[at] as number) << 8) | (data[at + 1] as number)
}

function readUint32(data: Uint8Array, at: number): number {
  return ((readUint16(data, at) << 16) >>> 0) + readUint16(data, at + 2)
}

function isZero(data: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (data[i] !== 0) return false
  return true
}

function isSafeInteger(data: Uint8Array, at: number, isSigned: boolean): boolean {
  const high = readUint32(data, at)
  if (high <= 0x1fffff) return true
  if (!isSigned || high < 0xffe00000) return false
  return high > 0xffe00000 || readUint32(data, at + 4) > 0
}

function equalBytes(data: Uint8Array, a: number, b: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (data[a + i] !== data[b + i]) return false
  return true
}

const RESERVED: readonly Uint8Array[] = ['__proto__', 'constructor', 'prototype'].map((name) =>
  new TextEncoder().encode(name),
)

function isReserved(data: Uint8Array, at: number, length: number): boolean {
  if (length !== 9 && length !== 11) return false
  return RESERVED.some((name) => name.length === length && name.every((byte, i) => data[at + i] === byte))
}

/** Says whether bytes are well-formed UTF-8 (RFC 3629): shortest forms, no surrogates, nothing above U+10FFFF. */
export function isUtf8(data: Uint8Array, from: number, to: number): boolean {
  let at = from
  while (at < to) {
    const lead = data[at++] as number
    if (lead < 0x80) continue
    if (lead < 0xc2 || lead > 0xf4) return false
    const following = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3
    if (at + following > to) return false
    const second = data[at] as number
    const lowest = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
    const highest = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
    if (second < lowest || second > highest) return false
    for (let i = 1; i < following; i++) if (((data[at + i] as number) & 0xc0) !== 0x80) return false
    at += following
  }
  return true
}
