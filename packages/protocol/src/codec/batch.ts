import { err, ok, type Result } from '@syncline/core'
import type { CodecFault } from './fault.ts'

/** A decoded BATCH message: several MessagePack messages in one frame. */
export interface Batch {
  readonly type: 'BATCH'
  readonly count?: number
  readonly data: Uint8Array
}

/** `{type: 'BATCH', count: <uint32>, data: <bin 32>}` up to the two numbers. */
const HEAD = Uint8Array.from([
  0x83, 0xa4, 0x74, 0x79, 0x70, 0x65, 0xa5, 0x42, 0x41, 0x54, 0x43, 0x48, 0xa5, 0x63, 0x6f, 0x75, 0x6e, 0x74, 0xce,
])
const DATA = Uint8Array.from([0xa4, 0x64, 0x61, 0x74, 0x61, 0xc6])
const COUNT_AT = HEAD.length
const DATA_AT = COUNT_AT + 4
const LENGTH_AT = DATA_AT + DATA.length
const BODY_AT = LENGTH_AT + 4

/**
 * Joins messages that are encoded already into one MessagePack frame, without encoding them again (SPEC [FR16]):
 * `data` is their count, then each one's length and bytes, with unsigned 32-bit little-endian numbers.
 */
export function joinBatch(frames: readonly Uint8Array[]): Uint8Array {
  let length = 4
  for (const frame of frames) length += 4 + frame.length
  const bytes = new Uint8Array(BODY_AT + length)
  const view = new DataView(bytes.buffer)
  bytes.set(HEAD)
  view.setUint32(COUNT_AT, frames.length)
  bytes.set(DATA, DATA_AT)
  view.setUint32(LENGTH_AT, length)
  view.setUint32(BODY_AT, frames.length, true)
  let at = BODY_AT + 4
  for (const frame of frames) {
    view.setUint32(at, frame.length, true)
    bytes.set(frame, at + 4)
    at += 4 + frame.length
  }
  return bytes
}

/** Says whether a decoded message is a BATCH. */
export function isBatch(message: unknown): message is Batch {
  return typeof message === 'object' && message !== null && (message as Batch).type === 'BATCH'
}

/**
 * The messages of a BATCH, still encoded; they share its bytes. Reads the layout of `joinBatch` and the one of
 * existing clients: no count, and big-endian lengths (SPEC [FR17]).
 */
export function splitBatch(batch: Batch): Result<readonly Uint8Array[], CodecFault> {
  const { data } = batch as { readonly data: unknown }
  if (data instanceof Uint8Array) {
    const frames = split(data, true) ?? split(data, false)
    if (frames !== undefined) return ok(frames)
  }
  return err({ errorCode: 'PARSE_ERROR', message: 'The data of the BATCH are not messages with their lengths.' })
}

/** The messages if the bytes have this layout to the last one; a count that does not fit tells them apart. */
function split(data: Uint8Array, hasCount: boolean): readonly Uint8Array[] | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  if (hasCount && data.length < 4) return undefined
  const count = hasCount ? view.getUint32(0, true) : -1
  const frames: Uint8Array[] = []
  let at = hasCount ? 4 : 0
  while (at < data.length) {
    if (at + 4 > data.length || frames.length === count) return undefined
    const length = view.getUint32(at, hasCount)
    at += 4
    if (length === 0 || length > data.length - at) return undefined
    frames.push(data.subarray(at, at + length))
    at += length
  }
  return hasCount && frames.length !== count ? undefined : frames
}
