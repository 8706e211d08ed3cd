import { isMap, type Value } from './value.ts'

const TAG_NULL = 0
const TAG_FALSE = 1
const TAG_TRUE = 2
const TAG_NUMBER = 3
const TAG_STRING = 4
const TAG_BYTES = 5
const TAG_ARRAY = 6
const TAG_MAP = 7

const encoder = /* @__PURE__ */ new TextEncoder()

/**
 * Writes canonical bytes: the one byte form of a value that ties and digests are decided on (SPEC [CV1] to [CV4]).
 * A writer is reused; `bytes()` is a view that the next `reset()` overwrites.
 */
export class CanonicalWriter {
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array(1024)
  #view: DataView = new DataView(this.#buffer.buffer)
  #length = 0

  reset(): void {
    this.#length = 0
  }

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length)
  }

  byte(value: number): void {
    this.#reserve(1)
    this.#buffer[this.#length++] = value
  }

  uint32(value: number): void {
    this.#reserve(4)
    this.#view.setUint32(this.#length, value)
    this.#length += 4
  }

  float64(value: number): void {
    this.#reserve(8)
    this.#view.setFloat64(this.#length, value)
    this.#length += 8
  }

  text(value: string): void {
    this.#reserve(4 + value.length * 3)
    const start = this.#length + 4
    let at = start
    const buffer = this.#buffer
    // Most names and stamps are short ASCII, for which a loop beats the encoder's call.
    for (let i = 0; i < value.length; i++) {
      const unit = value.charCodeAt(i)
      if (unit > 0x7f) {
        at = start + encoder.encodeInto(value, buffer.subarray(start)).written
        break
      }
      buffer[at++] = unit
    }
    this.#view.setUint32(this.#length, at - start)
    this.#length = at
  }

  value(value: Value): void {
    if (value === null) return this.byte(TAG_NULL)
    if (typeof value === 'boolean') return this.byte(value ? TAG_TRUE : TAG_FALSE)
    if (typeof value === 'number') {
      this.byte(TAG_NUMBER)
      return this.float64(value === 0 ? 0 : value)
    }
    if (typeof value === 'string') {
      this.byte(TAG_STRING)
      return this.text(value)
    }
    if (value instanceof Uint8Array) {
      this.byte(TAG_BYTES)
      this.uint32(value.length)
      this.#reserve(value.length)
      this.#buffer.set(value, this.#length)
      this.#length += value.length
      return
    }
    if (!isMap(value)) {
      this.byte(TAG_ARRAY)
      this.uint32(value.length)
      for (const item of value) this.value(item)
      return
    }
    const names = sortedNames(value)
    this.byte(TAG_MAP)
    this.uint32(names.length)
    for (const name of names) {
      this.text(name)
      this.value(value[name] as Value)
    }
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes
    if (needed <= this.#buffer.length) return
    const grown = new Uint8Array(Math.max(needed, this.#buffer.length * 2))
    grown.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = grown
    this.#view = new DataView(grown.buffer)
  }
}

const left = /* @__PURE__ */ new CanonicalWriter()
const right = /* @__PURE__ */ new CanonicalWriter()

/** The names of an object in the order of code units. For the few that most have, insertion beats the built-in sort. */
export function sortedNames(object: object): readonly string[] {
  const names = Object.keys(object)
  if (names.length > 16) return names.sort()
  for (let i = 1; i < names.length; i++) {
    const name = names[i] as string
    let at = i
    for (; at > 0 && (names[at - 1] as string) > name; at--) names[at] = names[at - 1] as string
    names[at] = name
  }
  return names
}

/** The canonical bytes of a value, in an array of their own. */
export function canonicalBytes(value: Value): Uint8Array {
  left.reset()
  left.value(value)
  return left.bytes().slice()
}

/** Compares two values by their canonical bytes, as unsigned numbers. Negative, zero or positive. */
export function compareCanonical(a: Value, b: Value): number {
  if (a === b) return 0
  left.reset()
  left.value(a)
  right.reset()
  right.value(b)
  return compareBytes(left.bytes(), right.bytes())
}

/** Orders bytes as unsigned numbers, a shorter beginning of the other first. Negative, zero or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] as number) - (b[i] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}
