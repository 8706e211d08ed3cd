import type { Value } from '@syncline/core'
import { canonicalBytes } from '@syncline/core/merkle'
import {
  ONCE_RETENTION_MS,
  StorageError,
  type OnceMark,
  type StorageAdapter,
  type StorageState,
  type StoredRecord,
  type UniqueClaim,
  type WriteBatch,
  type WriteResult,
} from '../adapter.ts'
import { settleClaims, type ClaimOutcome } from '../unique-claims.ts'
import { compareText } from './text-order.ts'

const RECORDS_PER_PAGE = 1000

interface Database {
  readonly databaseId: string
  durableSeq: number
  readonly recordsByMap: Map<string, Map<string, StoredRecord>>
  readonly values: Map<string, Value>
  /** The keys that hold values of unique fields, by `claimName`. */
  readonly holders: Map<string, string>
  readonly onceMarks: Map<string, OnceMark>
  readonly fenceTokens: Map<string, number>
}

/** Keeps everything in this object's memory: for tests, development and servers whose data may go with the process. */
export function memoryStorage(): StorageAdapter {
  let database: Database | undefined
  let isOpen = false

  const opened = (): Database => {
    if (database === undefined || !isOpen) {
      throw new StorageError(
        'unavailable',
        'The memory storage is not open: call open() first, and nothing after close().',
      )
    }
    return database
  }

  return {
    name: 'memory',
    durable: false,
    async open(newDatabaseId): Promise<StorageState> {
      if (isOpen)
        throw new StorageError('unavailable', 'The memory storage is open already: one server uses it at a time.')
      isOpen = true
      database ??= emptyDatabase(newDatabaseId)
      const mapNames = [...database.recordsByMap].filter(([, records]) => records.size > 0).map(([mapName]) => mapName)
      return { databaseId: database.databaseId, durableSeq: database.durableSeq, mapNames }
    },
    async write(batch) {
      return writeBatch(opened(), batch)
    },
    async *load(mapName) {
      const records = sortedRecords(opened(), mapName, 0)
      for (let i = 0; i < records.length; i += RECORDS_PER_PAGE) yield records.slice(i, i + RECORDS_PER_PAGE)
    },
    async changesSince(mapName, seq, limit) {
      const records = sortedRecords(opened(), mapName, seq)
      let end = Math.min(limit, records.length)
      while (end > 0 && end < records.length && records[end]?.seq === records[end - 1]?.seq) end++
      return records.slice(0, end)
    },
    async get(key) {
      return opened().values.get(key) ?? null
    },
    async list(prefix) {
      const found = [...opened().values].filter(([key]) => key.startsWith(prefix))
      return found.sort(([a], [b]) => compareText(a, b))
    },
    async close() {
      isOpen = false
    },
  }
}

function emptyDatabase(databaseId: string): Database {
  return {
    databaseId,
    durableSeq: 0,
    recordsByMap: new Map(),
    values: new Map(),
    holders: new Map(),
    onceMarks: new Map(),
    fenceTokens: new Map(),
  }
}

function writeBatch(database: Database, batch: WriteBatch): WriteResult {
  const refusal = refusalOf(database, batch)
  if (refusal !== undefined) return refusal
  for (const stored of batch.records) {
    let records = database.recordsByMap.get(stored.mapName)
    if (records === undefined) database.recordsByMap.set(stored.mapName, (records = new Map()))
    const current = records.get(stored.key)
    if (current !== undefined && current.seq > stored.seq) continue
    // Deleted first so that the map stays nearly in seq order, which makes sorting it cheap.
    records.delete(stored.key)
    records.set(stored.key, stored)
  }
  for (const { mapName, key, seq } of batch.forget ?? []) {
    const records = database.recordsByMap.get(mapName)
    if ((records?.get(key)?.seq ?? Infinity) <= seq) records?.delete(key)
  }
  for (const [key, value] of Object.entries(batch.values ?? {})) {
    if (value === null) database.values.delete(key)
    else database.values.set(key, value)
  }
  for (const { name, token } of batch.fence ?? []) {
    database.fenceTokens.set(name, Math.max(token, database.fenceTokens.get(name) ?? token))
  }
  applyClaims(database, batch.unique ?? [])
  if (batch.once !== undefined) remember(database.onceMarks, batch.once)
  database.durableSeq = Math.max(database.durableSeq, batch.seq)
  return { ok: true, seq: database.durableSeq }
}

function refusalOf(database: Database, batch: WriteBatch): WriteResult | undefined {
  if (batch.once !== undefined) {
    const earlier = database.onceMarks.get(markName(batch.once))
    if (earlier !== undefined) return { ok: false, reason: 'once', outcome: earlier.outcome }
  }
  for (const failed of batch.fence ?? []) {
    const token = database.fenceTokens.get(failed.name) ?? 0
    if (token > failed.token) return { ok: false, reason: 'fence', failed, token }
  }
  for (const failed of batch.expect ?? []) {
    const version = database.recordsByMap.get(failed.mapName)?.get(failed.key)?.version ?? 0
    if (version !== failed.version) return { ok: false, reason: 'expect', failed, version }
  }
  const outcome = claimOutcome(database, batch.unique ?? [])
  if (!outcome.ok)
    return { ok: false, reason: 'unique', failed: at(batch.unique, outcome.index), holder: outcome.holder }
  return undefined
}

function claimOutcome(database: Database, claims: readonly UniqueClaim[]): ClaimOutcome {
  const named = claims.map((claim) => ({ name: claimName(claim), key: claim.key, release: claim.release === true }))
  return settleClaims(named, (index) => database.holders.get(at(named, index).name))
}

function applyClaims(database: Database, claims: readonly UniqueClaim[]): void {
  const outcome = claimOutcome(database, claims)
  for (const { index, holder } of outcome.ok ? outcome.changes : []) {
    if (holder === undefined) database.holders.delete(claimName(at(claims, index)))
    else database.holders.set(claimName(at(claims, index)), holder)
  }
}

function remember(marks: Map<string, OnceMark>, mark: OnceMark): void {
  marks.set(markName(mark), mark)
  for (const [name, { atMs }] of marks) {
    if (atMs >= mark.atMs - ONCE_RETENTION_MS) break
    marks.delete(name)
  }
}

/** Names cannot hold U+0000, so joining by it is unambiguous. */
function markName({ clientId, id }: OnceMark): string {
  return `${clientId}\0${id}`
}

function claimName({ mapName, field, value }: UniqueClaim): string {
  return `${mapName}\0${field}\0${Buffer.from(canonicalBytes(value)).toString('latin1')}`
}

function sortedRecords(database: Database, mapName: string, afterSeq: number): StoredRecord[] {
  const records = [...(database.recordsByMap.get(mapName)?.values() ?? [])]
  return records.filter(({ seq }) => seq > afterSeq).sort((a, b) => a.seq - b.seq || compareText(a.key, b.key))
}

function at<Item>(items: readonly Item[] | undefined, index: number): Item {
  return items?.[index] as Item
}
