import { isMap, valuesEqual, visibleValue, type QuerySpec, type Value } from '@syncline/core'
import type { QueryResp, QueryUpdate } from '@syncline/protocol'
import type { Connection } from './connection.ts'
import type { Random } from './random.ts'
import { HIDDEN_FIELD, seenBy, type Role } from './users.ts'
import type { Watch } from './watch.ts'

/** A query of the simulation: few operators, so that they can be evaluated by code that is plainly right. */
export interface PlainQuery {
  readonly mapName: string
  /** The field that must be there. */
  readonly has: string
  readonly sortBy: string | undefined
  readonly isDescending: boolean
  readonly limit: number | undefined
}

export interface PlainRow {
  readonly key: string
  readonly value: Value
}

/** How late a record whose time has passed may leave a result. */
const EXPIRY_LAG_MS = 2_500

export function planQuery(random: Random, maps: readonly string[], fields: readonly string[]): PlainQuery {
  const sortBy = random.chance(0.6) ? random.pick(fields) : undefined
  return {
    mapName: random.pick(maps),
    has: random.pick(fields),
    sortBy,
    isDescending: random.chance(0.5),
    limit: random.chance(0.6) ? 1 + random.int(3) : undefined,
  }
}

/** The query that a live search for the word in every value of the hidden field comes to. */
export const SEARCHED: PlainQuery = {
  mapName: 'notes',
  has: HIDDEN_FIELD,
  sortBy: undefined,
  isDescending: false,
  limit: undefined,
}

/** The query as the server takes it. */
export function toSpec({ has, sortBy, isDescending, limit }: PlainQuery): QuerySpec {
  return {
    where: { [has]: { $exists: true } },
    ...(sortBy === undefined ? {} : { sort: { [sortBy]: isDescending ? 'desc' : 'asc' } }),
    ...(limit === undefined ? {} : { limit }),
  }
}

/** Evaluates a query from scratch. */
export function evaluate(
  { has, sortBy, isDescending, limit }: PlainQuery,
  rows: Iterable<readonly [string, Value | undefined]>,
): PlainRow[] {
  const found: PlainRow[] = []
  for (const [key, value] of rows)
    if (value !== undefined && isMap(value) && Object.hasOwn(value, has)) found.push({ key, value })
  const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
  const textOf = ({ value }: PlainRow): string => {
    const field = sortBy === undefined ? undefined : (value as Readonly<Record<string, Value>>)[sortBy]
    // What is absent comes before every text.
    return typeof field === 'string' ? `+${field}` : ''
  }
  found.sort((a, b) => byText(textOf(a), textOf(b)) * (isDescending ? -1 : 1) || byText(a.key, b.key))
  return limit === undefined ? found : found.slice(0, limit)
}

/** The same rows, whatever their order. */
export function sameRows(a: ReadonlyMap<string, Value>, b: readonly PlainRow[]): boolean {
  return a.size === b.length && b.every(({ key, value }) => a.has(key) && valuesEqual(a.get(key), value))
}

/** A query that a bare client has asked, and what it has been told of the result. */
interface Followed {
  readonly query: PlainQuery
  readonly role: Role
  readonly rows: Map<string, Value>
  /** The first pages have left; updates follow. */
  isWhole: boolean
  /** Of the result as it was told last. */
  version: number
  /** The server's position when the rows were last compared; undefined if they have changed since. */
  comparedAtSeq: number | undefined
}

/**
 * INV-15: what was sent of a live query adds up, at every moment at which the server has nothing left to send, to the
 * query evaluated from scratch over what its reader may see.
 */
export class QueryOracle {
  /** Somebody has asked a live query. */
  isUsed = false
  readonly #watch: Watch
  readonly #followed = new WeakMap<Connection, Map<string, Followed>>()

  constructor(watch: Watch) {
    this.#watch = watch
  }

  asked(connection: Connection, queryId: string, query: PlainQuery, role: Role): void {
    this.isUsed = true
    let followed = this.#followed.get(connection)
    if (followed === undefined) this.#followed.set(connection, (followed = new Map()))
    followed.set(queryId, { query, role, rows: new Map(), isWhole: false, version: 0, comparedAtSeq: undefined })
  }

  page(connection: Connection, { queryId, results, more, version }: QueryResp['payload']): void {
    const followed = this.#followed.get(connection)?.get(queryId)
    if (followed === undefined) return
    this.#watch.count('pages of query results')
    if (followed.isWhole) followed.rows.clear()
    for (const { key, value } of results) followed.rows.set(key, value)
    followed.isWhole = more !== true
    followed.comparedAtSeq = undefined
    this.#announced(connection, queryId, followed, version)
  }

  update(connection: Connection, { queryId, key, value, changeType, version }: QueryUpdate['payload']): void {
    const followed = this.#followed.get(connection)?.get(queryId)
    if (followed === undefined) return
    this.#watch.count(`query updates: ${changeType}`)
    const { rows, isWhole } = followed
    const fail = (what: string): void =>
      this.#watch.fail('INV-15', `${connection.name}, ${queryId}: ${changeType} of '${key}' ${what}`)
    if (!isWhole) fail('came between the pages of the result')
    if (rows.has(key) !== (changeType !== 'ENTER')) fail(rows.has(key) ? 'that was there' : 'that was not there')
    followed.comparedAtSeq = undefined
    if (changeType === 'LEAVE') rows.delete(key)
    else rows.set(key, value)
    this.#announced(connection, queryId, followed, version)
  }

  /** Versions only grow; and the latest one is the query over the map as it is. */
  #announced(connection: Connection, queryId: string, followed: Followed, version: number | undefined): void {
    if (version === undefined) return
    if (version < followed.version)
      this.#watch.fail('INV-15', `${connection.name}, ${queryId}: version ${version} came after ${followed.version}`)
    followed.version = version
    if (version !== this.#watch.serverMap(followed.query.mapName)?.log.head) return
    this.#watch.count('query versions compared')
    this.#compare(connection, queryId, followed)
  }

  /** The server has nothing left to send on this connection. */
  checkQuiet(connection: Connection): void {
    for (const [queryId, followed] of this.#followed.get(connection) ?? []) {
      const seq = this.#watch.kernel()?.store.sequencer.seq ?? 0
      if (!followed.isWhole || followed.comparedAtSeq === seq) continue
      followed.comparedAtSeq = seq
      this.#watch.count('query results compared')
      this.#compare(connection, queryId, followed)
    }
  }

  #compare(connection: Connection, queryId: string, followed: Followed): void {
    const now = this.#watch.serverNow()
    const { query, rows } = followed
    if (sameRows(rows, this.#fromScratch(followed, now)) || this.#mayLag(query, now)) return
    const [told, due] = [[...rows], this.#fromScratch(followed, now)].map((some) => JSON.stringify(some))
    this.#watch.fail('INV-15', `${connection.name}, ${queryId} was told ${told} of ${JSON.stringify(query)}: ${due}`)
  }

  #fromScratch({ query, role }: Followed, nowMs: number): PlainRow[] {
    const { mapName } = query
    const rows: [string, Value | undefined][] = []
    for (const [key, record] of this.#watch.records(mapName))
      rows.push([key, visibleValue(seenBy(role, mapName, record), nowMs)])
    return evaluate(query, rows)
  }

  /** A record's time has passed just now: who follows the query hears of it a little later. */
  #mayLag({ mapName }: PlainQuery, nowMs: number): boolean {
    const isClockNew = this.#watch.clockSetAgoMs() < EXPIRY_LAG_MS
    for (const [, { base, ttlMs }] of this.#watch.records(mapName)) {
      if (ttlMs === undefined) continue
      const sinceMs = nowMs - (base.millis + ttlMs)
      if (isClockNew || (sinceMs > -EXPIRY_LAG_MS && sinceMs < EXPIRY_LAG_MS)) return true
    }
    return false
  }
}
