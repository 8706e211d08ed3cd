import type { Frame } from '@syncline/protocol'

const TEXT = 0x81
const BINARY = 0x82

let latest: Frame | readonly Frame[] | undefined
let latestBytes: Buffer = Buffer.alloc(0)

/**
 * Frames as a server sends them over WebSocket (RFC 6455, section 5.2), one after the other: whole, unmasked and not
 * compressed. What one turn sends to many sockets is the same frame or list each time, so the bytes of the latest are
 * kept.
 */
export function framed(frames: readonly Frame[]): Buffer {
  const same = frames.length === 1 ? frames[0] : frames
  if (same !== latest) {
    latestBytes = build(frames)
    latest = same
  }
  return latestBytes
}

function build(frames: readonly Frame[]): Buffer {
  let total = 0
  for (const frame of frames) {
    const length = byteLength(frame)
    total += headLength(length) + length
  }
  const bytes = Buffer.allocUnsafe(total)
  let at = 0
  for (const frame of frames) at = write(bytes, at, frame)
  return bytes
}

function write(bytes: Buffer, start: number, frame: Frame): number {
  const length = byteLength(frame)
  let at = start
  bytes[at++] = typeof frame === 'string' ? TEXT : BINARY
  if (length < 126) bytes[at++] = length
  else if (length < 0x1_0000) {
    bytes[at++] = 126
    at = bytes.writeUInt16BE(length, at)
  } else {
    bytes[at++] = 127
    at = bytes.writeUInt32BE(Math.floor(length / 0x1_0000_0000), at)
    at = bytes.writeUInt32BE(length >>> 0, at)
  }
  if (typeof frame === 'string') bytes.write(frame, at)
  else bytes.set(frame, at)
  return at + length
}

function byteLength(frame: Frame): number {
  return typeof frame === 'string' ? Buffer.byteLength(frame) : frame.length
}

function headLength(payloadLength: number): number {
  return payloadLength < 126 ? 2 : payloadLength < 0x1_0000 ? 4 : 10
}
