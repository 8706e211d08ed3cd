// Ops that are encoded and masked once: what differs from op to op is written into their bytes.
import { encodeFrame, type ClientOp, type WriteConcern } from '@syncline/protocol'
import { MASK, headBytes, maskedFrame } from './raw-client.ts'

/** Keys that writers write in turn. */
export const KEYS = 10_000
const ID_DIGITS = 10
const KEY_DIGITS = 5

/** The map that writers write to. */
export const MAP = 'bench'

/** About 100 bytes in MessagePack. */
export const VALUE = {
  title: 'Buy three litres of milk and a loaf of bread',
  done: false,
  priority: 3,
  list: 'groceries',
  tags: ['home', 'today'],
}

/** The key of a number below `KEYS`. */
export function keyOf(index: number): string {
  return `todo:${String(index).padStart(KEY_DIGITS, '0')}`
}

interface Places {
  readonly id: number
  readonly key: number
  readonly millis: number
  readonly counter: number
}

/** Frames of one writer: a CLIENT_OP, or an OP_BATCH of several. */
export class OpTemplate {
  /** The frame, masked. */
  readonly frame: Buffer
  readonly #places: readonly Places[]

  constructor(nodeId: string, opsPerFrame: number, level: WriteConcern | undefined) {
    const concern = level === undefined ? {} : { writeConcern: level }
    const op = (i: number): ClientOp => ({
      id: idOf(i),
      mapName: MAP,
      key: keyOf(i),
      opType: 'PUT',
      record: { value: VALUE, timestamp: { millis: Date.now(), counter: 0, nodeId } },
    })
    const ops = Array.from({ length: opsPerFrame }, (_, i) => op(i))
    const payload = encodeFrame(
      'msgpack',
      opsPerFrame === 1
        ? { type: 'CLIENT_OP', payload: { ...(ops[0] as ClientOp), ...concern } }
        : { type: 'OP_BATCH', payload: { ops, ...concern } },
    ) as Uint8Array
    const bytes = Buffer.from(payload)
    const head = headBytes(bytes.length)
    let at = 0
    const after = (text: string): number => {
      at = bytes.indexOf(text, at)
      if (at < 0) throw new Error(`The template has no '${text}'`)
      at += text.length
      return at
    }
    this.#places = ops.map((_, i) => ({
      id: after(idOf(i)) - ID_DIGITS,
      key: after(keyOf(i)) - KEY_DIGITS,
      millis: after('millis') + 1,
      counter: after('counter'),
    }))
    if (bytes[(this.#places[0] as Places).millis - 1] !== 0xcb) throw new Error('The template has no float64 millis')
    this.frame = maskedFrame(bytes)
    this.#head = head
  }

  readonly #head: number

  /** Writes ids, keys and stamps into a copy of the frame that lies at `frameAt`. Numbers count up from `first`. */
  patch(target: Buffer, frameAt: number, first: number, firstKey: number, millis: Uint8Array, counter: number): void {
    const payloadAt = frameAt + this.#head
    const places = this.#places
    for (let i = 0; i < places.length; i++) {
      const { id, key, millis: millisAt, counter: counterAt } = places[i] as Places
      digits(target, payloadAt, id, ID_DIGITS, first + i)
      digits(target, payloadAt, key, KEY_DIGITS, (firstKey + i) % KEYS)
      for (let b = 0; b < 8; b++) {
        const at = millisAt + b
        target[payloadAt + at] = (millis[b] as number) ^ (MASK[at & 3] as number)
      }
      target[payloadAt + counterAt] = (counter + i) ^ (MASK[counterAt & 3] as number)
    }
  }
}

function digits(target: Buffer, payloadAt: number, from: number, count: number, value: number): void {
  let left = value
  for (let at = from + count - 1; at >= from; at--) {
    const rest = (left / 10) | 0
    target[payloadAt + at] = (48 + left - rest * 10) ^ (MASK[at & 3] as number)
    left = rest
  }
}

function idOf(index: number): string {
  return `op${String(index).padStart(ID_DIGITS, '0')}`
}
