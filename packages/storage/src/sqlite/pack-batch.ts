import type { Value } from '@syncline/core'
import { canonicalBytes } from '@syncline/core/merkle'
import type { StoredRecord, WriteBatch, WriteResult } from '../adapter.ts'
import { parseValue, writeState, writeValue } from '../sql/body.ts'
import { JsonWriter } from '../sql/json-writer.ts'
import { BYTES_OF_SEQ, HEAD_BYTES, NUMBERS_PER_RECORD, type PackedRecords } from './batch-layout.ts'
import type { PackedBatch, PackedRest, PackedResult, UnpackableBatch } from './messages.ts'

/**
 * Text in one buffer, in bytes, and records in it. So the writer's memory is used again, and no batch needs much in one
 * piece, or a longer string than there can be.
 */
const BUFFER_BYTES = 2 * 1024 * 1024
const BUFFER_RECORDS = 16_384

const writer = new JsonWriter()

/** Packs the records of a batch, into several buffers where one would be too large. */
export function packRecords(records: readonly StoredRecord[]): PackedRecords[] {
  const packed: PackedRecords[] = []
  for (let from = 0; from < records.length; from += (packed.at(-1) as PackedRecords).count) {
    packed.push(packFrom(records, from))
  }
  return packed
}

/** Packs as many records as make one buffer. */
function packFrom(records: readonly StoredRecord[], from: number): PackedRecords {
  const most = Math.min(records.length - from, BUFFER_RECORDS)
  const seqs = new Float64Array(most)
  const numbers = new Uint32Array(most * NUMBERS_PER_RECORD)
  const mapNames: string[] = []
  let mapIndex = -1
  let count = 0
  writer.reset()
  for (let at = 0; count < most && writer.length < BUFFER_BYTES; count++, at += NUMBERS_PER_RECORD) {
    const stored = records[from + count] as StoredRecord
    const { mapName, key, record } = stored
    if (mapNames[mapIndex] !== mapName) {
      mapIndex = mapNames.indexOf(mapName)
      if (mapIndex < 0) mapIndex = mapNames.push(mapName) - 1
    }
    seqs[count] = stored.seq
    numbers[at] = mapIndex
    const keyStart = writer.length
    writer.raw(key)
    const stateStart = writer.length
    writeState(writer, stored)
    const valueStart = writer.length
    if (record.value !== null) writeValue(writer, record.value)
    numbers[at + 1] = stateStart - keyStart
    numbers[at + 2] = valueStart - stateStart
    numbers[at + 3] = record.value === null ? 0 : writer.length - valueStart + 1
  }
  const buffer = new ArrayBuffer(count * HEAD_BYTES + writer.length)
  new Float64Array(buffer, 0, count).set(seqs.subarray(0, count))
  new Uint32Array(buffer, count * BYTES_OF_SEQ, count * NUMBERS_PER_RECORD).set(
    numbers.subarray(0, count * NUMBERS_PER_RECORD),
  )
  new Uint8Array(buffer, count * HEAD_BYTES).set(writer.bytes())
  return { count, mapNames, isAscii: writer.isAscii, buffer }
}

/** Packs a batch for the worker. One that cannot be packed is sent on as such. */
export function packBatch(batch: WriteBatch): PackedBatch | UnpackableBatch {
  const { records, seq, expect, unique, once, fence, values, forget } = batch
  const isPlain = !expect && !unique && !once && !fence && !values && !forget
  try {
    return { records: packRecords(records), seq, rest: isPlain ? undefined : packRest(batch) }
  } catch (error) {
    return { unpackable: String(error) }
  }
}

function packRest({ expect, unique, once, fence, values, forget }: WriteBatch): PackedRest {
  return {
    once: once && { clientId: once.clientId, id: once.id, outcome: toJson(once.outcome), atMs: once.atMs },
    fence: (fence ?? []).map(({ name, token }) => ({ name, token })),
    expect: (expect ?? []).map(({ mapName, key, version }) => ({ mapName, key, version })),
    unique: (unique ?? []).map(({ mapName, field, value, key, release }) => {
      return { mapName, field, value: canonicalBytes(value), key, release: release === true }
    }),
    values: Object.entries(values ?? {}).map(([key, value]) => [key, value === null ? null : toJson(value)] as const),
    forget: (forget ?? []).map(({ mapName, key, seq }) => ({ mapName, key, seq })),
  }
}

/** Says what the worker's answer means for the batch it was asked to write. Throws where stored JSON is none. */
export function unpackResult(result: PackedResult, batch: WriteBatch): WriteResult {
  if (result.ok) return result
  switch (result.reason) {
    case 'once':
      return { ok: false, reason: 'once', outcome: parseValue(result.outcome) }
    case 'fence':
      return { ok: false, reason: 'fence', failed: itemAt(batch.fence, result.index), token: result.token }
    case 'expect':
      return { ok: false, reason: 'expect', failed: itemAt(batch.expect, result.index), version: result.version }
    default:
      return { ok: false, reason: 'unique', failed: itemAt(batch.unique, result.index), holder: result.holder }
  }
}

function toJson(value: Value): string {
  writer.reset()
  writeValue(writer, value)
  return Buffer.from(writer.bytes()).toString()
}

function itemAt<Item>(items: readonly Item[] | undefined, index: number): Item {
  return items?.[index] as Item
}
