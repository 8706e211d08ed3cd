import { TAG_ARRAY, TAG_BYTES, TAG_MAP, TAG_NUMBER, TAG_STRING, sortedNames, tagOf } from './compare.ts'
import type { Value, ValueMap } from './value.ts'

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
    const tag = tagOf(value)
    this.byte(tag)
    switch (tag) {
      case TAG_NUMBER:
        return this.float64(value === 0 ? 0 : (value as number))
      case TAG_STRING:
        return this.text(value as string)
      case TAG_BYTES: {
        const bytes = value as Uint8Array
        this.uint32(bytes.length)
        this.#reserve(bytes.length)
        this.#buffer.set(bytes, this.#length)
        this.#length += bytes.length
        return
      }
      case TAG_ARRAY: {
        const items = value as readonly Value[]
        this.uint32(items.length)
        for (const item of items) this.value(item)
        return
      }
      case TAG_MAP: {
        const names = sortedNames(value as ValueMap)
        this.uint32(names.length)
        for (const name of names) {
          this.text(name)
          this.value((value as ValueMap)[name] as Value)
        }
      }
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

const writer = /* @__PURE__ */ new CanonicalWriter()

/** The canonical bytes of a value, in an array of their own. */
export function canonicalBytes(value: Value): Uint8Array {
  writer.reset()
  writer.value(value)
  return writer.bytes().slice()
}
