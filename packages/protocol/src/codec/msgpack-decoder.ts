// Decodes MessagePack in one pass that checks everything a hostile frame can do: announce more than it holds, nest for
// ever, name a member twice, or hold what the other encoding cannot express. Every write is decoded, so it is written by
// hand: it takes half the time of a scan for these things before a general decoder, and reads what no general one does.

import type { ErrorCode } from '../errors.ts'

/** Thrown by `decodeBytes`: why bytes could not be decoded. */
export class DecodeFault extends Error {
  readonly errorCode: ErrorCode
  constructor(errorCode: ErrorCode, message: string) {
    super(message)
    this.errorCode = errorCode
  }
}

// Made once, so that a flood of bad frames does not pay for stack traces.
/** The bytes end early, go on after the value, or hold the byte 0xc1. */
const BROKEN = new DecodeFault('PARSE_ERROR', 'The frame is not one MessagePack value.')
const TOO_DEEP = new DecodeFault('TOO_DEEP', 'The frame nests too deep.')
const BAD_VALUE = new DecodeFault(
  'BAD_VALUE',
  'The frame holds an extension, a number that is neither finite nor safe, or a text that is not UTF-8.',
)
const BAD_KEY = new DecodeFault(
  'BAD_KEY',
  'A map in the frame has a key that is no text, not UTF-8, reserved, or there twice.',
)

const RESERVED: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

/** Longer texts hardly ever come again. */
const MAX_CACHED_LENGTH = 24
const CACHE_SIZE = 1024
/** Lists up to here are made in their length. Longer ones grow: a length may be a lie. */
const SHORT_LIST = 16
// The same names, types, ids and short values come again and again: a cached text costs a comparison and no memory,
// and the engine compares and looks up a text that it has interned by identity.
const keys: string[] = Array.from({ length: CACHE_SIZE }, () => '')
const texts: string[] = Array.from({ length: CACHE_SIZE }, () => '')

const encodedKey = (name: string): readonly number[] => [0xa0 | name.length, ...new TextEncoder().encode(name)]

/** The keys of the maps that every write has, as they are sent. */
const KEYS = {
  type: encodedKey('type'),
  payload: encodedKey('payload'),
  id: encodedKey('id'),
  mapName: encodedKey('mapName'),
  key: encodedKey('key'),
  opType: encodedKey('opType'),
  record: encodedKey('record'),
  value: encodedKey('value'),
  timestamp: encodedKey('timestamp'),
  millis: encodedKey('millis'),
  counter: encodedKey('counter'),
  nodeId: encodedKey('nodeId'),
}

/** For each length, a list to hand that many code units to `String.fromCharCode`. */
const units: readonly number[][] = Array.from({ length: MAX_CACHED_LENGTH + 1 }, (_, length) =>
  Array.from({ length }, () => 0),
)
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const numberBytes = new Uint8Array(8)
const numberView = new DataView(numberBytes.buffer)

/** Bytes, which in Node are mostly a Buffer. */
type Bytes = Uint8Array & { latin1Slice?(start: number, end: number): string }

// One frame is decoded at a time, from start to end, so its state is shared by the functions below.
let data: Bytes = numberBytes
let at = 0
let end = 0

/** Decodes one value that takes up all the bytes. Throws `DecodeFault`. */
export function decodeBytes(bytes: Uint8Array, maxDepth: number): unknown {
  data = bytes
  at = 0
  end = bytes.length
  try {
    const value = readValue(maxDepth)
    if (at !== end) throw BROKEN
    return value
  } finally {
    data = numberBytes
  }
}

function readValue(depthLeft: number): unknown {
  if (at >= end) throw BROKEN
  const head = data[at++] as number
  if (head < 0x80) return head
  if (head < 0x90) return readMap(head & 0x0f, depthLeft)
  if (head < 0xa0) return readArray(head & 0x0f, depthLeft)
  if (head < 0xc0) return readText(head & 0x1f)
  if (head >= 0xe0) return head - 0x100
  switch (head) {
    case 0xc0:
      return null
    case 0xc2:
      return false
    case 0xc3:
      return true
    case 0xc4:
      return readBytes(readUint8())
    case 0xc5:
      return readBytes(readUint16())
    case 0xc6:
      return readBytes(readUint32())
    case 0xca:
      return checkedNumber(readIntoView(4).getFloat32(0))
    case 0xcb:
      return checkedNumber(readIntoView(8).getFloat64(0))
    case 0xcc:
      return readUint8()
    case 0xcd:
      return readUint16()
    case 0xce:
      return readUint32()
    case 0xcf:
      return checkedInteger(readUint32() * 0x1_0000_0000 + readUint32())
    case 0xd0:
      return (readUint8() << 24) >> 24
    case 0xd1:
      return (readUint16() << 16) >> 16
    case 0xd2:
      return readUint32() | 0
    case 0xd3:
      return checkedInteger((readUint32() | 0) * 0x1_0000_0000 + readUint32())
    case 0xd9:
      return readText(readUint8())
    case 0xda:
      return readText(readUint16())
    case 0xdb:
      return readText(readUint32())
    case 0xdc:
      return readArray(readUint16(), depthLeft)
    case 0xdd:
      return readArray(readUint32(), depthLeft)
    case 0xde:
      return readMap(readUint16(), depthLeft)
    case 0xdf:
      return readMap(readUint32(), depthLeft)
    default:
      // 0xc1 is never used; the rest are extension types.
      throw head === 0xc1 ? BROKEN : BAD_VALUE
  }
}

function readArray(length: number, depthLeft: number): unknown[] {
  if (depthLeft === 0) throw TOO_DEEP
  // Every item takes a byte at least.
  if (length > end - at) throw BROKEN
  if (length > SHORT_LIST) {
    const list: unknown[] = []
    for (let i = 0; i < length; i++) list.push(readValue(depthLeft - 1))
    return list
  }
  // One that grows has room for seventeen from its first item on, and what a record holds is kept.
  // oxlint-disable-next-line unicorn/no-new-array -- `Array.from` takes ten times as long
  const list = new Array<unknown>(length)
  for (let i = 0; i < length; i++) list[i] = readValue(depthLeft - 1)
  return list
}

function readMap(size: number, depthLeft: number): unknown {
  if (depthLeft === 0) throw TOO_DEEP
  if (size * 2 > end - at) throw BROKEN
  if (size >= 2) {
    if (isKey(KEYS.type)) return readMessage(size, depthLeft)
    if (isKey(KEYS.value)) return readRecord(size, depthLeft)
    if (size >= 3 && isKey(KEYS.millis)) return readStamp(size, depthLeft)
    if (size >= 5 && isKey(KEYS.id)) return readOp(size, depthLeft)
    if (size >= 3 && isKey(KEYS.mapName)) return readUnnamedOp(size, depthLeft)
  }
  return readMembers({}, 0, size, depthLeft)
}

/** The members of a map from one on, where there are more. */
function readMore(map: Record<string, unknown>, from: number, size: number, depthLeft: number): unknown {
  return from === size ? map : readMembers(map, from, size, depthLeft)
}

/** The members of a map from one on. */
function readMembers(map: Record<string, unknown>, from: number, size: number, depthLeft: number): unknown {
  for (let i = from; i < size; i++) {
    const key = readKey()
    map[key] = readValue(depthLeft - 1)
  }
  // A key that came twice left one member.
  let members = 0
  for (const _ in map) members++
  if (members !== size) throw BAD_KEY
  return map
}

// Every write has these maps, and hardly any client writes their keys in another order. Made as a whole they cost half
// of what they do member by member. Each is called after its first key, and goes on as for any map where another follows.

function readMessage(size: number, depthLeft: number): unknown {
  const type = readValue(depthLeft - 1)
  if (!isKey(KEYS.payload)) return readMembers({ type }, 1, size, depthLeft)
  return readMore({ type, payload: readValue(depthLeft - 1) }, 2, size, depthLeft)
}

function readOp(size: number, depthLeft: number): unknown {
  const id = readValue(depthLeft - 1)
  if (!isKey(KEYS.mapName)) return readMembers({ id }, 1, size, depthLeft)
  const mapName = readValue(depthLeft - 1)
  if (!isKey(KEYS.key)) return readMembers({ id, mapName }, 2, size, depthLeft)
  const key = readValue(depthLeft - 1)
  if (!isKey(KEYS.opType)) return readMembers({ id, mapName, key }, 3, size, depthLeft)
  const opType = readValue(depthLeft - 1)
  if (!isKey(KEYS.record)) return readMembers({ id, mapName, key, opType }, 4, size, depthLeft)
  return readMore({ id, mapName, key, opType, record: readValue(depthLeft - 1) }, 5, size, depthLeft)
}

/** Those of a poller have no id, and no type where they are a PUT. */
function readUnnamedOp(size: number, depthLeft: number): unknown {
  const mapName = readValue(depthLeft - 1)
  if (!isKey(KEYS.key)) return readMembers({ mapName }, 1, size, depthLeft)
  const key = readValue(depthLeft - 1)
  if (!isKey(KEYS.record)) return readMembers({ mapName, key }, 2, size, depthLeft)
  return readMore({ mapName, key, record: readValue(depthLeft - 1) }, 3, size, depthLeft)
}

function readRecord(size: number, depthLeft: number): unknown {
  const value = readValue(depthLeft - 1)
  if (!isKey(KEYS.timestamp)) return readMembers({ value }, 1, size, depthLeft)
  return readMore({ value, timestamp: readValue(depthLeft - 1) }, 2, size, depthLeft)
}

function readStamp(size: number, depthLeft: number): unknown {
  const millis = readValue(depthLeft - 1)
  if (!isKey(KEYS.counter)) return readMembers({ millis }, 1, size, depthLeft)
  const counter = readValue(depthLeft - 1)
  if (!isKey(KEYS.nodeId)) return readMembers({ millis, counter }, 2, size, depthLeft)
  return readMore({ millis, counter, nodeId: readValue(depthLeft - 1) }, 3, size, depthLeft)
}

/** Reads a key if it is the next one, in its shortest form. */
function isKey(encoded: readonly number[]): boolean {
  const { length } = encoded
  if (length > end - at) return false
  for (let i = 0; i < length; i++) if (data[at + i] !== encoded[i]) return false
  at += length
  return true
}

function readKey(): string {
  if (at >= end) throw BROKEN
  const head = data[at++] as number
  let length
  if (head >= 0xa0 && head < 0xc0) length = head & 0x1f
  else if (head === 0xd9) length = readUint8()
  else if (head === 0xda) length = readUint16()
  else if (head === 0xdb) length = readUint32()
  else throw BAD_KEY
  if (length > end - at) throw BROKEN
  if (length === 0 || length > MAX_CACHED_LENGTH) return makeText(length, BAD_KEY)
  const slot = slotOf(length)
  const known = keys[slot] as string
  if (isNext(known, length)) return known
  const text = makeText(length, BAD_KEY)
  if (RESERVED.has(text)) throw BAD_KEY
  // Only ASCII is cached: there, a code unit is a byte. The name of a member is always interned.
  return text.length === length ? (keys[slot] = Object.keys({ [text]: 0 })[0] as string) : text
}

function readText(length: number): string {
  if (length > end - at) throw BROKEN
  if (length === 0 || length > MAX_CACHED_LENGTH) return makeText(length, BAD_VALUE)
  const slot = slotOf(length)
  const known = texts[slot] as string
  if (isNext(known, length)) return known
  const text = makeText(length, BAD_VALUE)
  if (text.length === length) texts[slot] = text
  return text
}

/** A text's place in a cache, from its length and three of its bytes. */
function slotOf(length: number): number {
  const first = data[at] as number
  const middle = data[at + (length >> 1)] as number
  const last = data[at + length - 1] as number
  return (length + first * 7 + middle * 61 + last * 509) & (CACHE_SIZE - 1)
}

/** Reads a cached text if the next bytes are that text. */
function isNext(known: string, length: number): boolean {
  if (known.length !== length) return false
  for (let i = 0; i < length; i++) if (known.charCodeAt(i) !== data[at + i]) return false
  at += length
  return true
}

function makeText(length: number, fault: DecodeFault): string {
  const start = at
  at += length
  let i = start
  while (i < at && (data[i] as number) < 0x80) i++
  if (i === at && length <= MAX_CACHED_LENGTH) {
    const list = units[length] as number[]
    for (let k = 0; k < length; k++) list[k] = data[start + k] as number
    return String.fromCharCode.apply(null, list)
  }
  // A Buffer of Node makes a text of bytes in a third of a decoder's time.
  if (i === at && data.latin1Slice !== undefined) return data.latin1Slice(start, at)
  try {
    return utf8.decode(data.subarray(start, at))
  } catch {
    throw fault
  }
}

function readBytes(length: number): Uint8Array {
  if (length > end - at) throw BROKEN
  // A copy, because the frame may lie in a buffer that is far larger or used again.
  const bytes = new Uint8Array(length)
  bytes.set(data.subarray(at, (at += length)))
  return bytes
}

function readUint8(): number {
  if (at >= end) throw BROKEN
  return data[at++] as number
}

function readUint16(): number {
  if (at + 2 > end) throw BROKEN
  return ((data[at++] as number) << 8) | (data[at++] as number)
}

function readUint32(): number {
  return readUint16() * 0x1_0000 + readUint16()
}

function readIntoView(length: number): DataView {
  if (at + length > end) throw BROKEN
  for (let i = 0; i < length; i++) numberBytes[i] = data[at++] as number
  return numberView
}

function checkedNumber(value: number): number {
  if (!Number.isFinite(value)) throw BAD_VALUE
  return value === 0 ? 0 : value
}

function checkedInteger(value: number): number {
  if (!Number.isSafeInteger(value)) throw BAD_VALUE
  return value
}
