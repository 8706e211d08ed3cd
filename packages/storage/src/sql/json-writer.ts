const QUOTE = 0x22
const BACKSLASH = 0x5c
const DIGIT_0 = 0x30
const KEPT_BYTES = 4 * 1024 * 1024

const encoder = new TextEncoder()

/**
 * Writes text and JSON as UTF-8 into one growing buffer, which is reused: a batch of hundreds of records costs no garbage
 * beyond the copy that is sent. Short ASCII, which most names and stamps are, is written by a loop: it beats the encoder.
 */
export class JsonWriter {
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array(64 * 1024)
  /** Bytes written. */
  length = 0
  /** Whether every byte so far is ASCII. */
  isAscii = true

  /** Starts afresh. What `bytes()` gave is void. */
  reset(): void {
    if (this.#buffer.length > KEPT_BYTES) this.#buffer = new Uint8Array(64 * 1024)
    this.length = 0
    this.isAscii = true
  }

  /** What has been written, as a view. */
  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.length)
  }

  /** Writes text as it is. */
  raw(text: string): void {
    this.#reserve(text.length * 3)
    const buffer = this.#buffer
    let at = this.length
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      if (unit > 0x7f) return this.#encode(text)
      buffer[at++] = unit
    }
    this.length = at
  }

  /** Writes a JSON string. */
  string(text: string): void {
    this.#reserve(text.length + 2)
    const buffer = this.#buffer
    let at = this.length
    buffer[at++] = QUOTE
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      if (unit < 0x20 || unit > 0x7f || unit === QUOTE || unit === BACKSLASH) {
        const json = JSON.stringify(text)
        this.#reserve(json.length * 3)
        return this.#encode(json)
      }
      buffer[at++] = unit
    }
    buffer[at++] = QUOTE
    this.length = at
  }

  /** Writes a JSON number. */
  number(value: number): void {
    if (value < 0 || value > Number.MAX_SAFE_INTEGER || !Number.isInteger(value)) return this.raw(String(value))
    this.#reserve(16)
    if (value < 1e8) return this.#digits(value, digitCount(value))
    // In two halves of 32 bits each, because arithmetic on them is several times faster than on doubles.
    const high = Math.floor(value / 1e8)
    if (high < 1e8) this.#digits(high, digitCount(high))
    else this.raw(String(high))
    this.#digits(value - high * 1e8, 8)
  }

  #digits(value: number, count: number): void {
    const buffer = this.#buffer
    let rest = value | 0
    for (let at = this.length + count - 1; at >= this.length; at--) {
      const quotient = (rest / 10) | 0
      buffer[at] = DIGIT_0 + rest - quotient * 10
      rest = quotient
    }
    this.length += count
  }

  #encode(text: string): void {
    const { written } = encoder.encodeInto(text, this.#buffer.subarray(this.length))
    if (written !== text.length) this.isAscii = false
    this.length += written
  }

  #reserve(bytes: number): void {
    const needed = this.length + bytes
    if (needed <= this.#buffer.length) return
    const grown = new Uint8Array(Math.max(needed, this.#buffer.length * 2))
    grown.set(this.#buffer.subarray(0, this.length))
    this.#buffer = grown
  }
}

function digitCount(value: number): number {
  let count = 1
  for (let bound = 10; value >= bound; bound *= 10) count++
  return count
}
