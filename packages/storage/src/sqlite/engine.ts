import type { Database, Statement } from 'better-sqlite3'
import { ONCE_RETENTION_MS, type StorageState } from '../adapter.ts'
import { settleClaims, type ClaimChange } from '../unique-claims.ts'
import { unpackRecords, type PackedRecords } from './batch-layout.ts'
import type { PackedBatch, PackedRest, PackedResult, PagePosition, RecordRow } from './messages.ts'

/** Rows of one statement, most first: one call for many rows is twice as fast as a call for each. */
const ROWS_PER_STATEMENT = [20, 5, 1] as const
const COLUMNS = 5

const PAGE_RECORDS = 1000
const PAGE_BYTES = 2 * 1024 * 1024
/** Marks forgotten with each new one, at most, so that no write pays for a long backlog. */
const FORGET_MARKS = 10

/** Pages in the log from which an idle worker copies them into the database. */
const CHECKPOINT_PAGES = 1000
/** Pages in the log from which a busy worker does. */
const CHECKPOINT_PAGES_BUSY = 8000

/** The database's reads and writes, for the worker. Throws what SQLite throws. */
export class Engine {
  readonly #db: Database
  readonly #statements: ReturnType<typeof prepareStatements>
  readonly #mapIds = new Map<string, number>()
  #durableSeq = 0

  constructor(db: Database) {
    this.#db = db
    this.#statements = prepareStatements(db)
  }

  /** What the database says of itself; names it first if it is new. */
  start(newDatabaseId: string): StorageState {
    this.#db.prepare('insert or ignore into meta values (1, ?, 0)').run(newDatabaseId)
    const [databaseId, durableSeq] = this.#db.prepare('select database_id, durable_seq from meta').raw().get() as [
      string,
      number,
    ]
    this.#durableSeq = durableSeq
    const maps = this.#db.prepare('select name, id from maps').raw().all() as [string, number][]
    for (const [name, id] of maps) this.#mapIds.set(name, id)
    const held = this.#db.prepare(
      'select name from maps where exists (select 1 from records where map_id = maps.id) order by name',
    )
    return { databaseId, durableSeq, mapNames: held.pluck().all() as string[] }
  }

  /** Writes batches in one transaction, in order. A refused one leaves no trace; an error leaves none of any. */
  writeGroup(batches: readonly PackedBatch[]): PackedResult[] {
    const before = this.#durableSeq
    this.#db.exec('begin immediate')
    try {
      const results = batches.map((batch) => this.#write(batch))
      if (this.#durableSeq !== before) this.#statements.setDurableSeq.run(this.#durableSeq)
      this.#db.exec('commit')
      return results
    } catch (error) {
      this.#durableSeq = before
      // Ids given in the transaction are gone with it.
      this.#mapIds.clear()
      if (this.#db.inTransaction) this.#db.exec('rollback')
      throw error
    }
  }

  /** Records after a position, as many as make a page. None means that there are no more. */
  page(mapName: string, { seq, key }: PagePosition): RecordRow[] {
    const mapId = this.#mapId(mapName)
    const rows: RecordRow[] = []
    let bytes = 0
    if (mapId === undefined) return rows
    for (const row of this.#statements.pageAfter.iterate(mapId, seq, seq, key) as IterableIterator<RecordRow>) {
      rows.push(row)
      bytes += row[2].length + (row[3]?.length ?? 0)
      if (rows.length === PAGE_RECORDS || bytes > PAGE_BYTES) break
    }
    return rows
  }

  /** `limit` records after `seq`, and the rest of the last one's commit. */
  changes(mapName: string, seq: number, limit: number): RecordRow[] {
    const mapId = this.#mapId(mapName)
    if (mapId === undefined || limit <= 0) return []
    const rows = this.#statements.changesAfter.all(mapId, seq, limit) as RecordRow[]
    const last = rows.at(-1)
    if (last === undefined || rows.length < limit) return rows
    const rest = this.#statements.restOfCommit.all(mapId, last[1], last[0]) as RecordRow[]
    return rows.concat(rest)
  }

  get(key: string): string | undefined {
    return this.#statements.getValue.get(key) as string | undefined
  }

  list(prefix: string): [key: string, json: string][] {
    const found: [string, string][] = []
    for (const row of this.#statements.valuesFrom.iterate(prefix) as IterableIterator<[string, string]>) {
      if (!row[0].startsWith(prefix)) break
      found.push(row)
    }
    return found
  }

  /** Copies the log into the database if it is long enough to be worth it; sooner if nobody waits. */
  checkpoint(isIdle: boolean): void {
    if (this.#logPages('noop') < (isIdle ? CHECKPOINT_PAGES : CHECKPOINT_PAGES_BUSY)) return
    try {
      this.#logPages('passive')
    } catch (error) {
      // The database cannot grow, but nothing is lost: the log still holds everything.
      if ((error as { code?: string }).code !== 'SQLITE_FULL') throw error
    }
  }

  #logPages(mode: 'noop' | 'passive'): number {
    const statement = mode === 'noop' ? this.#statements.lookAtLog : this.#statements.copyLog
    const [, pages, copied] = statement.get() as [busy: number, pages: number, copied: number]
    return pages - copied
  }

  #write({ records, seq, rest }: PackedBatch): PackedResult {
    let claims: readonly ClaimChange[] = []
    if (rest !== undefined) {
      const checked = this.#check(rest)
      if ('ok' in checked) return checked
      claims = checked.claims
    }
    for (const part of records) this.#writeRecords(part)
    if (rest !== undefined) this.#writeRest(rest, claims)
    this.#durableSeq = Math.max(this.#durableSeq, seq)
    return { ok: true, seq: this.#durableSeq }
  }

  #check({ once, fence, expect, unique }: PackedRest): PackedResult | { claims: readonly ClaimChange[] } {
    const statements = this.#statements
    if (once !== undefined) {
      const outcome = statements.getMark.get(once.clientId, once.id) as string | undefined
      if (outcome !== undefined) return { ok: false, reason: 'once', outcome }
    }
    for (const [index, { name, token: mine }] of fence.entries()) {
      const token = (statements.getFence.get(name) ?? 0) as number
      if (token > mine) return { ok: false, reason: 'fence', index, token }
    }
    for (const [index, { mapName, key, version: mine }] of expect.entries()) {
      const version = (statements.getVersion.get(this.#mapId(mapName), key) ?? 0) as number
      if (version !== mine) return { ok: false, reason: 'expect', index, version }
    }
    if (unique.length === 0) return { claims: [] }
    const named = unique.map(({ mapName, field, value, key, release }) => ({
      name: `${mapName}\0${field}\0${Buffer.from(value).toString('latin1')}`,
      key,
      release,
    }))
    const outcome = settleClaims(named, (index) => {
      const { mapName, field, value } = unique[index] as PackedRest['unique'][number]
      return statements.getHolder.get(this.#mapId(mapName), field, value) as string | undefined
    })
    if (outcome.ok) return { claims: outcome.changes }
    return { ok: false, reason: 'unique', index: outcome.index, holder: outcome.holder }
  }

  #writeRecords(records: PackedRecords): void {
    const mapIds = records.mapNames.map((name) => this.#internMap(name))
    let left = records.count
    let tier = 0
    let parameters: (number | string | null)[] = []
    let at = 0
    unpackRecords(records, (mapIndex, key, seq, state, value) => {
      if (at === 0) {
        while (left < (ROWS_PER_STATEMENT[tier] as number)) tier++
        parameters = this.#statements.putParameters[tier] as typeof parameters
      }
      parameters[at] = mapIds[mapIndex] as number
      parameters[at + 1] = key
      parameters[at + 2] = seq
      parameters[at + 3] = state
      parameters[at + 4] = value
      at += COLUMNS
      if (at < parameters.length) return
      this.#statements.putRecords[tier]?.run(parameters)
      left -= at / COLUMNS
      at = 0
    })
  }

  #writeRest({ once, fence, unique, values, forget }: PackedRest, claims: readonly ClaimChange[]): void {
    const statements = this.#statements
    for (const { mapName, key, seq } of forget) statements.forgetRecord.run(this.#mapId(mapName), key, seq)
    for (const [key, json] of values) {
      if (json === null) statements.deleteValue.run(key)
      else statements.putValue.run(key, json)
    }
    for (const { name, token } of fence) statements.putFence.run(name, token)
    for (const { index, holder } of claims) {
      const { mapName, field, value } = unique[index] as PackedRest['unique'][number]
      if (holder === undefined) statements.deleteHolder.run(this.#mapId(mapName), field, value)
      else statements.putHolder.run(this.#internMap(mapName), field, value, holder)
    }
    if (once !== undefined) {
      statements.forgetMarks.run(once.atMs - ONCE_RETENTION_MS, FORGET_MARKS)
      statements.putMark.run(once.clientId, once.id, once.outcome, once.atMs)
    }
  }

  #mapId(name: string): number | undefined {
    const known = this.#mapIds.get(name)
    if (known !== undefined) return known
    const id = this.#statements.getMapId.get(name) as number | undefined
    if (id !== undefined) this.#mapIds.set(name, id)
    return id
  }

  #internMap(name: string): number {
    const known = this.#mapId(name)
    if (known !== undefined) return known
    const id = Number(this.#statements.addMap.run(name).lastInsertRowid)
    this.#mapIds.set(name, id)
    return id
  }
}

function prepareStatements(db: Database) {
  const get = (sql: string): Statement => db.prepare(sql).pluck()
  const rows = (where: string): Statement =>
    db.prepare(`select key, seq, state, value from records where ${where}`).raw()
  const putRecords = (count: number): Statement =>
    db.prepare(`insert into records (map_id, key, seq, state, value)
      values ${Array<string>(count).fill('(?, ?, ?, ?, ?)').join(', ')}
      on conflict (map_id, key) do update set seq = excluded.seq, state = excluded.state, value = excluded.value
      where excluded.seq >= records.seq`)
  return {
    putRecords: ROWS_PER_STATEMENT.map(putRecords),
    putParameters: ROWS_PER_STATEMENT.map((count) => Array<number | string | null>(count * COLUMNS).fill(null)),
    forgetRecord: db.prepare('delete from records where map_id = ? and key = ? and seq <= ?'),
    getVersion: get(`select json_extract(state, '$.v') from records where map_id = ? and key = ?`),
    pageAfter: rows('map_id = ? and seq >= ? and (seq > ? or key > ?) order by seq, key'),
    changesAfter: rows('map_id = ? and seq > ? order by seq, key limit ?'),
    restOfCommit: rows('map_id = ? and seq = ? and key > ? order by key'),
    lookAtLog: db.prepare('pragma wal_checkpoint(noop)').raw(),
    copyLog: db.prepare('pragma wal_checkpoint(passive)').raw(),
    getMapId: get('select id from maps where name = ?'),
    addMap: db.prepare('insert into maps (name) values (?)'),
    setDurableSeq: db.prepare('update meta set durable_seq = ?'),
    getValue: get('select value from kv where key = ?'),
    valuesFrom: db.prepare('select key, value from kv where key >= ? order by key').raw(),
    putValue: db.prepare('insert or replace into kv values (?, ?)'),
    deleteValue: db.prepare('delete from kv where key = ?'),
    getFence: get('select token from fences where name = ?'),
    putFence: db.prepare(
      'insert into fences values (?, ?) on conflict do update set token = max(token, excluded.token)',
    ),
    getHolder: get('select key from unique_claims where map_id = ? and field = ? and value = ?'),
    putHolder: db.prepare('insert or replace into unique_claims values (?, ?, ?, ?)'),
    deleteHolder: db.prepare('delete from unique_claims where map_id = ? and field = ? and value = ?'),
    getMark: get('select outcome from once_marks where client_id = ? and mark_id = ?'),
    putMark: db.prepare('insert into once_marks (client_id, mark_id, outcome, at_ms) values (?, ?, ?, ?)'),
    forgetMarks: db.prepare('delete from once_marks where id in (select id from once_marks where at_ms < ? limit ?)'),
  }
}
