import type { PackedBatch, UnpackableBatch } from './messages.ts'

/**
 * Records of a batch on their way to the worker, in one buffer that is handed over and not copied:
 *
 *     count × float64    seq
 *     count × 4 uint32   index in `mapNames`, bytes of key, bytes of state, bytes of value + 1 (0 for a tombstone)
 *     UTF-8              key, state and value of each record, one after the other
 */
export interface PackedRecords {
  readonly count: number
  readonly mapNames: readonly string[]
  /** Every byte of the text is ASCII: it can be read as one string and cut, which is twice as fast. */
  readonly isAscii: boolean
  readonly buffer: ArrayBuffer
}

/** Takes one record. `value` is `null` for a tombstone. */
export type RecordVisitor = (mapIndex: number, key: string, seq: number, state: string, value: string | null) => void

/** Bytes of one record's seq. */
export const BYTES_OF_SEQ = 8
/** `uint32` numbers of one record. */
export const NUMBERS_PER_RECORD = 4
/** Bytes of one record before the text. */
export const HEAD_BYTES = BYTES_OF_SEQ + NUMBERS_PER_RECORD * 4

/** Unpacks the records of a batch, in order. */
export function unpackRecords({ count, isAscii, buffer }: PackedRecords, visit: RecordVisitor): void {
  const seqs = new Float64Array(buffer, 0, count)
  const numbers = new Uint32Array(buffer, count * BYTES_OF_SEQ, count * NUMBERS_PER_RECORD)
  const text = Buffer.from(buffer, count * HEAD_BYTES)
  const whole = isAscii ? text.toString('latin1') : ''
  let end = 0
  const take = (bytes: number): string => {
    const start = end
    end += bytes
    return isAscii ? whole.substring(start, end) : text.toString('utf8', start, end)
  }
  for (let i = 0, at = 0; i < count; i++, at += NUMBERS_PER_RECORD) {
    const key = take(numbers[at + 1] as number)
    const state = take(numbers[at + 2] as number)
    const valueBytes = numbers[at + 3] as number
    const value = valueBytes === 0 ? null : take(valueBytes - 1)
    visit(numbers[at] as number, key, seqs[i] as number, state, value)
  }
}

/** The memory of a packed batch, which is handed over with it. */
export function buffersOf(packed: PackedBatch | UnpackableBatch): ArrayBuffer[] {
  return 'unpackable' in packed ? [] : packed.records.map(({ buffer }) => buffer)
}
