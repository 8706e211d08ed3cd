import type { Stamp } from '../clock/hlc.ts'
import type { FieldState, LwwRecord } from '../crdt/record.ts'
import { CanonicalWriter } from '../value/canonical.ts'
import { sortedNames } from '../value/compare.ts'
import { isMap } from '../value/value.ts'

const FNV_OFFSET = 0x811c9dc5
const FNV_PRIME = 0x01000193

/**
 * FNV-1a, 32 bits, over the UTF-16 code units of a text. `seed` continues an earlier hash.
 * Source: Fowler, Noll, Vo; draft-eastlake-fnv. Existing clients feed code units, not bytes.
 */
export function fnv1a(text: string, seed: number = FNV_OFFSET): number {
  let hash = seed
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), FNV_PRIME)
  return hash >>> 0
}

/** The finalizer of MurmurHash3, which spreads every input bit over all output bits. Source: Appleby, MurmurHash3. */
export function fmix32(hash: number): number {
  let h = hash
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** MurmurHash3, x86, 32 bits, over bytes. Source: Appleby, MurmurHash3. */
export function murmur3(bytes: Uint8Array, seed: number = 0): number {
  const length = bytes.length
  const end = length & ~3
  let hash = seed
  for (let i = 0; i < end; i += 4) {
    const word =
      (bytes[i] as number) |
      ((bytes[i + 1] as number) << 8) |
      ((bytes[i + 2] as number) << 16) |
      ((bytes[i + 3] as number) << 24)
    hash = mixWord(hash, word)
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0
  }
  let tail = 0
  for (let i = length - 1; i >= end; i--) tail = (tail << 8) | (bytes[i] as number)
  if (end < length) hash = mixWord(hash, tail)
  return fmix32(hash ^ length)
}

function mixWord(hash: number, word: number): number {
  const k = Math.imul(word, 0xcc9e2d51)
  return hash ^ Math.imul((k << 15) | (k >>> 17), 0x1b873593)
}

/**
 * Lane 0 of a record's digest: FNV-1a of `key:millis:counter:nodeId`, what existing clients compute.
 * `keyHash` is `fnv1a(key)`, which callers have at hand.
 */
export function stampDigest(keyHash: number, stamp: Stamp): number {
  let hash = Math.imul(keyHash ^ COLON, FNV_PRIME)
  hash = Math.imul(fnvDecimal(hash, stamp.millis) ^ COLON, FNV_PRIME)
  hash = Math.imul(fnvDecimal(hash, stamp.counter) ^ COLON, FNV_PRIME)
  return fnv1a(stamp.nodeId, hash)
}

const COLON = 0x3a
const DIGIT_ZERO = 0x30

/**
 * Continues a hash with the decimal digits of a whole number, in a sixth of the time that writing it out takes: four
 * digits at a time, in numbers of 32 bits, divided by constants.
 */
function fnvDecimal(seed: number, number: number): number {
  if (number < 1e8) return fnvSmallDecimal(seed, number | 0)
  const upper = Math.floor(number / 1e8)
  const lower = (number - upper * 1e8) | 0
  const middle = (lower / 10_000) | 0
  return fnvFourDigits(fnvFourDigits(fnvSmallDecimal(seed, upper), middle), lower - middle * 10_000)
}

function fnvSmallDecimal(seed: number, number: number): number {
  if (number >= 10_000) {
    const upper = (number / 10_000) | 0
    return fnvFourDigits(fnvSmallDecimal(seed, upper), number - upper * 10_000)
  }
  if (number >= 1_000) return fnvFourDigits(seed, number)
  const hundreds = (number / 100) | 0
  const tens = (number / 10) | 0
  let hash = seed
  if (number >= 100) hash = fnvDigit(hash, hundreds)
  if (number >= 10) hash = fnvDigit(hash, tens - hundreds * 10)
  return fnvDigit(hash, number - tens * 10)
}

function fnvFourDigits(seed: number, number: number): number {
  const thousands = (number / 1_000) | 0
  const hundreds = (number / 100) | 0
  const tens = (number / 10) | 0
  const hash = fnvDigit(fnvDigit(seed, thousands), hundreds - thousands * 10)
  return fnvDigit(fnvDigit(hash, tens - hundreds * 10), number - tens * 10)
}

function fnvDigit(hash: number, digit: number): number {
  return Math.imul(hash ^ (DIGIT_ZERO + digit), FNV_PRIME)
}

const writer = /* @__PURE__ */ new CanonicalWriter()

/**
 * Lane 1 of a record's digest: MurmurHash3 of the record's canonical bytes, which cover key, value, time to live,
 * base stamp and every field stamp, hidden and unset ones included (SPEC [MK4]).
 */
export function stateDigest(key: string, record: LwwRecord): number {
  return murmur3(canonicalRecord(key, record))
}

/** The canonical bytes of a record. The view is valid until the next call. */
export function canonicalRecord(key: string, record: LwwRecord): Uint8Array {
  writer.reset()
  writer.text(key)
  writer.value(record.value)
  writeStamp(record.base)
  writer.float64(record.ttlMs ?? -1)
  const names = record.fields === undefined ? [] : sortedNames(record.fields)
  writer.uint32(names.length)
  const isShown = isMap(record.value)
  for (const name of names) {
    const state = (record.fields as Record<string, FieldState>)[name] as FieldState
    writer.text(name)
    writeStamp(state.stamp)
    writer.byte(state.unset === true ? 0 : isShown ? 1 : 2)
    if (state.unset !== true && !isShown) writer.value(state.value ?? null)
  }
  return writer.bytes()
}

function writeStamp(stamp: Stamp): void {
  writer.float64(stamp.millis)
  writer.uint32(stamp.counter)
  writer.text(stamp.nodeId)
}

/** Writes both lanes as 16 hexadecimal digits: what Syncline peers compare. */
export function formatDigest(stampLane: number, stateLane: number): string {
  return stampLane.toString(16).padStart(8, '0') + stateLane.toString(16).padStart(8, '0')
}
