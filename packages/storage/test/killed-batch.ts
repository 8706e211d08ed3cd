import type { WriteBatch } from '../src/adapter.ts'
import { SAMPLE_VALUES, storedRecord } from '../src/testing/samples.ts'

/** The batch of a seq: what it holds follows from the seq, so that another process can tell whether it is whole. */
export function batchOf(seq: number): WriteBatch {
  const records = Array.from({ length: recordsOf(seq) }, (_, i) => {
    return storedRecord('killed', `${seq}/${i}`, seq, SAMPLE_VALUES[(seq + i) % SAMPLE_VALUES.length] ?? null)
  })
  return {
    seq,
    records: [...records, storedRecord('shared', 'latest', seq, seq, { version: seq })],
    values: { latest: seq, [`value/${seq}`]: 'x'.repeat(seq % 500) },
    unique: [{ mapName: 'killed', field: 'seq', value: seq, key: String(seq) }],
  }
}

/** Records in the map `killed` of the batch of a seq. */
export function recordsOf(seq: number): number {
  return seq % 17 === 0 ? 400 : seq % 12
}
