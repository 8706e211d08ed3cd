const utf8 = new TextEncoder()

/** Frames are cut from pieces of memory of this size, because memory of their own costs each more than its bytes. */
const CHUNK_BYTES = 16 * 1024

/** Above this, a piece of memory is for one frame. */
const MAX_SHARED_BYTES = 1024 * 1024

/** The longest name of a node and its like. Less than 256, as their head is written with one byte of length. */
const LOOPED_LENGTH = 64

/**
 * Writes MessagePack in the shortest form of each value (SPEC [FR2]), one frame after the other: writes, then `take`.
 */
export class MsgpackWriter {
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array(CHUNK_BYTES)
  #view: DataView = new DataView(this.#buffer.buffer)
  #start = 0
  #length = 0

  /** Forgets what was written since the last frame: after an exception it is only part of one. */
  reset(): void {
    this.#length = this.#start
  }

  /** What was written since the last frame. It is not written to again, but shares memory with its neighbours. */
  take(): Uint8Array {
    const frame = this.#buffer.subarray(this.#start, this.#length)
    this.#start = this.#length
    // What is left of the memory of a large frame would keep all of it for small ones.
    if (this.#buffer.length > MAX_SHARED_BYTES) this._begin(CHUNK_BYTES)
    return frame
  }

  /** The head of a map; its members follow, a text and a value each. */
  mapHead(size: number): void {
    this._head(size, 0x80, 0xde)
  }

  /** The head of a list; its items follow. */
  listHead(length: number): void {
    this._head(length, 0x90, 0xdc)
  }

  /** Bytes that are MessagePack already. */
  raw(encoded: Uint8Array): void {
    this._reserve(encoded.length)
    this.#buffer.set(encoded, this.#length)
    this.#length += encoded.length
  }

  boolean(value: boolean): void {
    this._reserve(1)
    this.#buffer[this.#length++] = value ? 0xc3 : 0xc2
  }

  text(value: string): void {
    const { length } = value
    this._reserve(5 + length * 3)
    // Most texts are short ASCII, for which a loop beats the encoder's call.
    if (length > LOOPED_LENGTH) return this._anyText(value)
    const buffer = this.#buffer
    const start = this.#length
    let at = start
    if (length < 32) buffer[at++] = 0xa0 | length
    else {
      buffer[at++] = 0xd9
      buffer[at++] = length
    }
    for (let i = 0; i < length; i++) {
      const unit = value.charCodeAt(i)
      if (unit > 0x7f) return this._anyText(value)
      buffer[at++] = unit
    }
    this.#length = at
  }

  number(value: number): void {
    this._reserve(9)
    const buffer = this.#buffer
    if (Number.isSafeInteger(value) && value >= -0x8000_0000 && value <= 0xffff_ffff) {
      if (value >= 0 && value < 0x80) buffer[this.#length++] = value
      else if (value >= -0x20 && value < 0) buffer[this.#length++] = value & 0xff
      else if (value >= 0) this._unsigned(value)
      else this._signed(value)
      return
    }
    // Whole numbers beyond 32 bits too: a double holds every safe integer in nine bytes.
    if (!Number.isFinite(value)) throw new TypeError('A number that is not finite cannot be sent.')
    buffer[this.#length] = 0xcb
    this.#view.setFloat64(this.#length + 1, value)
    this.#length += 9
  }

  /** Any value, or part of a message. Members that are undefined are left out, other such items are null. */
  value(value: unknown): void {
    switch (typeof value) {
      case 'string':
        return this.text(value)
      case 'number':
        return this.number(value)
      case 'boolean':
        return this.boolean(value)
      case 'object':
        if (value !== null) return this._object(value)
        break
      case 'undefined':
        break
      default:
        throw new TypeError(`A ${typeof value} cannot be sent.`)
    }
    this._reserve(1)
    this.#buffer[this.#length++] = 0xc0
  }

  private _object(value: object): void {
    if (Array.isArray(value)) {
      this.listHead(value.length)
      for (let i = 0; i < value.length; i++) this.value(value[i])
    } else if (value instanceof Uint8Array) this._bytes(value)
    else {
      const map = value as Record<string, unknown>
      // Counted from the start of the frame, because the buffer may be replaced meanwhile.
      const headAt = this.#length - this.#start
      this.mapHead(0)
      let size = 0
      for (const name in map) {
        const member = map[name]
        if (member === undefined) continue
        this.text(name)
        this.value(member)
        size++
      }
      this._setMapSize(headAt, size)
    }
  }

  /** How many members a map has is known when they are written; a large one is moved to make room for its head. */
  private _setMapSize(headAt: number, size: number): void {
    if (size < 16) {
      this.#buffer[this.#start + headAt] = 0x80 | size
      return
    }
    this._reserve(4)
    const at = this.#start + headAt
    const end = this.#length
    const headLength = size < 0x1_0000 ? 3 : 5
    this.#buffer.copyWithin(at + headLength, at + 1, end)
    this.#length = at
    this._wide(size, 0xde)
    this.#length = end + headLength - 1
  }

  private _bytes(value: Uint8Array): void {
    const { length } = value
    this._reserve(5 + length)
    if (length < 0x100) {
      this.#buffer[this.#length++] = 0xc4
      this.#buffer[this.#length++] = length
    } else this._wide(length, 0xc5)
    this.#buffer.set(value, this.#length)
    this.#length += length
  }

  private _anyText(value: string): void {
    const start = this.#length
    // The length of the head depends on that of the bytes, which is known afterwards: 5 bytes are left for it.
    const { written } = utf8.encodeInto(value, this.#buffer.subarray(start + 5))
    if (written < 32) this.#buffer[this.#length++] = 0xa0 | written
    else if (written < 0x100) {
      this.#buffer[this.#length++] = 0xd9
      this.#buffer[this.#length++] = written
    } else this._wide(written, 0xda)
    if (this.#length < start + 5) this.#buffer.copyWithin(this.#length, start + 5, start + 5 + written)
    this.#length += written
  }

  private _head(size: number, small: number, head16: number): void {
    this._reserve(5)
    if (size < 16) this.#buffer[this.#length++] = small | size
    else this._wide(size, head16)
  }

  /** A head with a length of 16 bits, or of 32 under the next code. */
  private _wide(length: number, head16: number): void {
    if (length < 0x1_0000) {
      this.#buffer[this.#length] = head16
      this.#view.setUint16(this.#length + 1, length)
      this.#length += 3
    } else {
      this.#buffer[this.#length] = head16 + 1
      this.#view.setUint32(this.#length + 1, length)
      this.#length += 5
    }
  }

  private _unsigned(value: number): void {
    if (value < 0x100) {
      this.#buffer[this.#length++] = 0xcc
      this.#buffer[this.#length++] = value
    } else this._wide(value, 0xcd)
  }

  private _signed(value: number): void {
    const at = this.#length
    if (value >= -0x80) {
      this.#buffer[at] = 0xd0
      this.#view.setInt8(at + 1, value)
      this.#length += 2
    } else if (value >= -0x8000) {
      this.#buffer[at] = 0xd1
      this.#view.setInt16(at + 1, value)
      this.#length += 3
    } else {
      this.#buffer[at] = 0xd2
      this.#view.setInt32(at + 1, value)
      this.#length += 5
    }
  }

  private _reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return
    const written = this.#buffer.subarray(this.#start, this.#length)
    this._begin(Math.max(CHUNK_BYTES, (written.length + bytes) * 2))
    this.#buffer.set(written)
    this.#length = written.length
  }

  private _begin(size: number): void {
    this.#buffer = new Uint8Array(size)
    this.#view = new DataView(this.#buffer.buffer)
    this.#start = 0
    this.#length = 0
  }
}

const writer = new MsgpackWriter()

/** The bytes of one frame, or part of one, that a function writes. */
export function writeMsgpack(write: (writer: MsgpackWriter) => void): Uint8Array {
  writer.reset()
  write(writer)
  return writer.take()
}

/** Texts one after the other, which many frames have. */
export function encodedTexts(...texts: readonly string[]): Uint8Array {
  return writeMsgpack((to) => {
    for (const text of texts) to.text(text)
  })
}
