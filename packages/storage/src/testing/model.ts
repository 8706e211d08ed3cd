import { valuesEqual, type Value } from '@syncline/core'
import type { StoredRecord, UniqueClaim, WriteBatch, WriteResult } from '../adapter.ts'

/** The contract in its plainest form: lists, searched from end to end. What a storage answers is compared with it. */
export class StorageModel {
  records: StoredRecord[] = []
  values: { key: string; value: Value }[] = []
  claims: { mapName: string; field: string; value: Value; key: string }[] = []
  marks: { clientId: string; id: string; outcome: Value }[] = []
  fences: { name: string; token: number }[] = []
  durableSeq = 0

  write(batch: WriteBatch): WriteResult {
    const refusal = this.#refusal(batch)
    if (refusal !== undefined) return refusal
    for (const next of batch.records) {
      const current = this.#record(next.mapName, next.key)
      if (current !== undefined && current.seq > next.seq) continue
      this.records = this.records.filter((record) => record !== current)
      this.records.push(next)
    }
    for (const { mapName, key, seq } of batch.forget ?? []) {
      this.records = this.records.filter((at) => at.mapName !== mapName || at.key !== key || at.seq > seq)
    }
    for (const [key, value] of Object.entries(batch.values ?? {})) {
      this.values = this.values.filter((at) => at.key !== key)
      if (value !== null) this.values.push({ key, value })
    }
    for (const { name, token } of batch.fence ?? []) this.fences.push({ name, token })
    this.claims = this.#claimsAfter(batch.unique ?? []).claims
    if (batch.once !== undefined) this.marks.push(batch.once)
    this.durableSeq = Math.max(this.durableSeq, batch.seq)
    return { ok: true, seq: this.durableSeq }
  }

  /** A map's records by seq and then key. */
  load(mapName: string): StoredRecord[] {
    const records = this.records.filter((record) => record.mapName === mapName)
    return records.sort((a, b) => a.seq - b.seq || compareBytes(a.key, b.key))
  }

  changesSince(mapName: string, seq: number, limit: number): StoredRecord[] {
    const later = this.load(mapName).filter((record) => record.seq > seq)
    const last = limit > 0 ? later[limit - 1] : undefined
    return later.filter((record, i) => i < limit || record.seq === last?.seq)
  }

  get(key: string): Value {
    return this.values.find((at) => at.key === key)?.value ?? null
  }

  list(prefix: string): [string, Value][] {
    const found = this.values.filter(({ key }) => key.startsWith(prefix))
    return found.sort((a, b) => compareBytes(a.key, b.key)).map(({ key, value }) => [key, value])
  }

  mapNames(): string[] {
    return [...new Set(this.records.map(({ mapName }) => mapName))].sort(compareBytes)
  }

  #refusal(batch: WriteBatch): WriteResult | undefined {
    const { once } = batch
    const mark = this.marks.find(({ clientId, id }) => clientId === once?.clientId && id === once.id)
    if (mark !== undefined) return { ok: false, reason: 'once', outcome: mark.outcome }
    for (const failed of batch.fence ?? []) {
      const token = Math.max(0, ...this.fences.filter(({ name }) => name === failed.name).map((fence) => fence.token))
      if (token > failed.token) return { ok: false, reason: 'fence', failed, token }
    }
    for (const failed of batch.expect ?? []) {
      const version = this.#record(failed.mapName, failed.key)?.version ?? 0
      if (version !== failed.version) return { ok: false, reason: 'expect', failed, version }
    }
    const { failed, holder } = this.#claimsAfter(batch.unique ?? [])
    return failed === undefined ? undefined : { ok: false, reason: 'unique', failed, holder: holder as string }
  }

  #claimsAfter(unique: readonly UniqueClaim[]): {
    claims: StorageModel['claims']
    failed?: UniqueClaim
    holder?: string
  } {
    let claims = [...this.claims]
    for (const claim of unique) {
      if (claim.release) claims = claims.filter((held) => !(isSame(held, claim) && held.key === claim.key))
    }
    for (const claim of unique) {
      if (claim.release) continue
      const holder = claims.find((held) => isSame(held, claim))?.key
      if (holder !== undefined && holder !== claim.key) return { claims, failed: claim, holder }
      if (holder === undefined) claims.push(claim)
    }
    return { claims }
  }

  #record(mapName: string, key: string): StoredRecord | undefined {
    return this.records.find((record) => record.mapName === mapName && record.key === key)
  }
}

function isSame(a: Omit<UniqueClaim, 'release'>, b: UniqueClaim): boolean {
  return a.mapName === b.mapName && a.field === b.field && valuesEqual(a.value, b.value)
}

/** Orders text by its UTF-8 bytes. */
export function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
