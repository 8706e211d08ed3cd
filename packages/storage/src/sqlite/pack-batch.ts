import type { Value } from '@syncline/core'
import { canonicalBytes } from '@syncline/core/merkle'
import type { StoredRecord, WriteBatch, WriteResult } from '../adapter.ts'
import { parseValue, writeState, writeValue } from '../sql/body.ts'
import { JsonWriter } from '../sql/json-writer.ts'
import { BYTES_OF_SEQ, HEAD_BYTES, NUMBERS_PER_RECORD, type PackedRecords } from './batch-layout.ts'
import type { PackedBatch, PackedRest, PackedResult } from './messages.ts'

const writer = new JsonWriter()

/** Packs the records of a batch. */
export function packRecords(records: readonly StoredRecord[]): PackedRecords {
  const count = records.length
  const heads = new ArrayBuffer(count * HEAD_BYTES)
  const seqs = new Float64Array(heads, 0, count)
  const numbers = new Uint32Array(heads, count * BYTES_OF_SEQ)
  const mapNames: string[] = []
  let mapIndex = -1
  writer.reset()
  for (let i = 0, at = 0; i < count; i++, at += NUMBERS_PER_RECORD) {
    const stored = records[i] as StoredRecord
    const { mapName, key, record } = stored
    if (mapNames[mapIndex] !== mapName) {
      mapIndex = mapNames.indexOf(mapName)
      if (mapIndex < 0) mapIndex = mapNames.push(mapName) - 1
    }
    seqs[i] = stored.seq
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
  const buffer = new ArrayBuffer(heads.byteLength + writer.length)
  const bytes = new Uint8Array(buffer)
  bytes.set(new Uint8Array(heads))
  bytes.set(writer.bytes(), heads.byteLength)
  return { count, mapNames, isAscii: writer.isAscii, buffer }
}

/** Packs a batch for the worker. */
export function packBatch(batch: WriteBatch): PackedBatch {
  const { records, seq, expect, unique, once, fence, values, forget } = batch
  const isPlain = !expect && !unique && !once && !fence && !values && !forget
  return { records: packRecords(records), seq, rest: isPlain ? undefined : packRest(batch) }
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
