import { compareStamps, isStamp, type Stamp } from '@syncline/core'
import {
  ERRORS,
  type DeltaRecord,
  type ErrorCode,
  type HttpQueryResult,
  type HttpSearchResult,
  type HttpSyncError,
  type HttpSyncResponse,
  type OpAck,
  type ReceivedHttpSync,
  type SearchRow,
  type ServerMessage,
} from '@syncline/protocol'
import type { RequestSession } from '../../sessions/request-session.ts'

/** Takes the reply to a part. True once the part is answered whole. */
type Take = (reply: ServerMessage) => boolean

/** A part that waits for its reply. */
interface Part {
  /** What errors call it. */
  readonly context: string
  readonly take: Take
}

interface GrowingDelta {
  readonly mapName: string
  readonly records: DeltaRecord[]
  serverSyncTimestamp: Stamp
  more: boolean
  reset: boolean
}

/**
 * One `POST /sync`: each part of its body is a message on the request's session, in the order of the parts, and the
 * reply is put together from what they are answered.
 */
export class Exchange {
  readonly #parts = new Map<string, Part>()
  readonly #body: ReceivedHttpSync
  readonly #maxDeltaPages: number
  #request: RequestSession | undefined
  #ack: OpAck['payload'] | undefined
  readonly #deltas: GrowingDelta[] = []
  readonly #queryResults: HttpQueryResult[] = []
  readonly #searchResults: HttpSearchResult[] = []
  readonly #errors: HttpSyncError[] = []
  /** What the request writes, once a delta has been looked at. */
  #written: ReadonlyMap<string, Stamp> | undefined
  #lastPart = 0
  #deltaPages = 0
  #onWhole: (() => void) | undefined
  #isAbandoned = false

  /** `maxDeltaPages` are the pages of records in one reply, for all its maps. */
  constructor(body: ReceivedHttpSync, maxDeltaPages: number) {
    this.#body = body
    this.#maxDeltaPages = maxDeltaPages
  }

  /** Carries the exchange out. Settles when every part is answered, or it is abandoned; undefined if that is now. */
  run(request: RequestSession): Promise<void> | undefined {
    this.#request = request
    return this.#askFrom(0)
  }

  /** Asks for the parts from one on, as the session takes them. */
  #askFrom(from: number): Promise<void> | undefined {
    const { syncMaps, queries, searches } = this.#body
    const count = 1 + syncMaps.length + queries.length + searches.length
    for (let i = from; i < count && !this.#isAbandoned; i++) {
      const waiting = this.#askPart(i)
      if (waiting !== undefined) return waiting.then(() => this.#askFrom(i + 1))
    }
    if (this.#parts.size === 0 || this.#isAbandoned) return undefined
    return new Promise((resolve) => (this.#onWhole = resolve))
  }

  /** Asks for one part: operations come first, then maps, queries and searches. */
  #askPart(index: number): Promise<void> | undefined {
    const { operations, syncMaps, queries, searches } = this.#body
    if (index === 0) return operations === undefined || operations.length === 0 ? undefined : this.#write(operations)
    let at = index - 1
    const map = syncMaps[at]
    if (map !== undefined) return this.#pull(map.mapName, map.lastSyncTimestamp)
    const query = queries[(at -= syncMaps.length)]
    if (query !== undefined) return this.#query(query)
    const search = searches[at - queries.length]
    return search === undefined ? undefined : this.#search(search)
  }

  /** Takes a reply of the session. */
  receive(message: ServerMessage): void {
    const { requestId } = message
    const part = requestId === undefined ? undefined : this.#parts.get(requestId)
    if (requestId === undefined || part === undefined) return
    if (message.type === 'ERROR') {
      this.#refuse(message.payload.errorCode, message.payload.message, part.context)
    } else if (!part.take(message)) return
    this.#parts.delete(requestId)
    if (this.#parts.size === 0) this.#onWhole?.()
  }

  /** Waits no longer: the session has ended. */
  abandon(): void {
    this.#isAbandoned = true
    this.#onWhole?.()
  }

  /** The reply as far as it has come. */
  response(serverHlc: Stamp): HttpSyncResponse {
    const ack = this.#ack
    return {
      serverHlc,
      ...(ack === undefined ? {} : { ack }),
      deltas: this.#deltas.map(({ mapName, records, serverSyncTimestamp, more, reset }) => ({
        mapName,
        records,
        serverSyncTimestamp,
        ...(more ? { more } : {}),
        ...(reset ? { reset } : {}),
      })),
      queryResults: this.#queryResults,
      searchResults: this.#searchResults,
      errors: this.#errors,
    }
  }

  /**
   * The status of the reply: 200, unless nothing of the body succeeded and all of it was forbidden, or may succeed later.
   */
  status(): number {
    const [first] = this.#errors
    const isAny = this.#ack?.results.some(({ success }) => success) === true || this.#hasResults()
    if (first === undefined || isAny) return 200
    const isOne = this.#errors.every(({ code }) => code === first.code)
    return isOne && (first.errorCode === 'FORBIDDEN' || ERRORS[first.errorCode].retryable) ? first.code : 200
  }

  #hasResults(): boolean {
    return this.#deltas.length + this.#queryResults.length + this.#searchResults.length > 0
  }

  #ask(type: string, payload: object, context: string, take: Take): Promise<void> | undefined {
    const requestId = `p${++this.#lastPart}`
    this.#parts.set(requestId, { context, take })
    return this.#request?.route({ type, payload, requestId })
  }

  #write(operations: readonly unknown[]): Promise<void> | undefined {
    const ops = operations.map((op, i) => {
      const id = idOf(op, i)
      return isFields(op) ? { ...op, id } : { id }
    })
    this.#ack = { lastId: String(ops.at(-1)?.id), results: [] }
    const silent = operations.every(
      (op) => (op as { writeConcern?: unknown } | null)?.writeConcern === 'FIRE_AND_FORGET',
    )
    // Nothing answers a batch of which nobody wants to know what became of it.
    if (silent) return this.#request?.route({ type: 'OP_BATCH', payload: { ops } })
    let contexts: Map<unknown, string> | undefined
    return this.#ask('OP_BATCH', { ops }, 'operations', (reply) => {
      if (reply.type !== 'OP_ACK') return false
      this.#ack = { ...reply.payload, lastId: this.#ack?.lastId ?? reply.payload.lastId }
      for (const { success, opId, errorCode, error } of reply.payload.results) {
        if (success || errorCode === undefined) continue
        contexts ??= new Map(ops.map((op) => [op.id, contextOf(op)]))
        this.#refuse(errorCode, error ?? ERRORS[errorCode].help, contexts.get(opId) ?? opId)
      }
      return true
    })
  }

  #pull(mapName: string, since: Stamp | number | undefined, delta?: GrowingDelta): Promise<void> | undefined {
    const payload = { mapName, ...(since === undefined ? {} : { lastSyncTimestamp: since }) }
    return this.#ask('SYNC_DELTA', payload, mapName, (reply) => {
      if (reply.type !== 'SYNC_DELTA_RESP') return false
      const { records, serverSyncTimestamp, more = false, reset = false } = reply.payload
      const whole = delta ?? { mapName, records: [], serverSyncTimestamp, more, reset }
      if (delta === undefined) this.#deltas.push(whole)
      for (const record of records) {
        if (!this.#isOwn(mapName, record)) whole.records.push(record)
      }
      Object.assign(whole, { serverSyncTimestamp, more })
      if (more && ++this.#deltaPages < this.#maxDeltaPages) void this.#pull(mapName, serverSyncTimestamp, whole)
      return true
    })
  }

  #query({ queryId, mapName, limit, offset, query }: ReceivedHttpSync['queries'][number]): Promise<void> | undefined {
    const most = limit === undefined || limit === 0 ? undefined : limit + offset
    const asked = Object.fromEntries(
      Object.entries({ ...query, limit: most }).filter(([, value]) => value !== undefined),
    )
    const id = `q${this.#lastPart}`
    const rows: HttpQueryResult['results'][number][] = []
    return this.#ask('QUERY_SUB', { queryId: id, mapName, query: asked }, queryId, (reply) => {
      if (reply.type !== 'QUERY_RESP') return false
      const { results, more, hasMore = false, nextCursor } = reply.payload
      rows.push(...results)
      if (more === true) return false
      this.#queryResults.push({
        queryId,
        results: rows.slice(offset),
        hasMore,
        ...(nextCursor === undefined ? {} : { nextCursor }),
      })
      return true
    })
  }

  #search({ searchId, mapName, query, options }: ReceivedHttpSync['searches'][number]): Promise<void> | undefined {
    const payload = { requestId: searchId, mapName, query, ...(options === undefined ? {} : { options }) }
    const rows: SearchRow[] = []
    return this.#ask('SEARCH', payload, searchId, (reply) => {
      if (reply.type !== 'SEARCH_RESP') return false
      const { results, more, totalCount, error, errorCode = 'INTERNAL_ERROR' } = reply.payload
      rows.push(...results)
      if (more === true) return false
      if (error === undefined) this.#searchResults.push({ searchId, results: rows, totalCount })
      else this.#refuse(errorCode as ErrorCode, error, searchId)
      return true
    })
  }

  #refuse(errorCode: ErrorCode, message: string, context: string): void {
    this.#errors.push({ code: ERRORS[errorCode].status, errorCode, message, context })
  }

  /** The record is what this request wrote: its sender has it. */
  #isOwn(mapName: string, { key, record }: DeltaRecord): boolean {
    if (record.base !== undefined || record.fields !== undefined) return false
    this.#written ??= writtenBy(this.#body.operations ?? [])
    const stamp = this.#written.get(placeOf(mapName, key))
    return stamp !== undefined && compareStamps(stamp, record.timestamp) === 0
  }
}

/** The latest stamp that a request's operations have for each key of a map. */
function writtenBy(operations: readonly unknown[]): ReadonlyMap<string, Stamp> {
  const written = new Map<string, Stamp>()
  for (const op of operations) {
    if (!isFields(op) || !isFields(op['record'])) continue
    const { mapName, key, record } = op as { mapName?: unknown; key?: unknown; record: { timestamp?: unknown } }
    const { timestamp } = record
    if (typeof mapName !== 'string' || typeof key !== 'string' || !isStamp(timestamp)) continue
    const place = placeOf(mapName, key)
    const before = written.get(place)
    if (before === undefined || compareStamps(before, timestamp) < 0) written.set(place, timestamp)
  }
  return written
}

/** A key and its map in one text: no name of a map holds a zero. */
function placeOf(mapName: string, key: string): string {
  return `${mapName}\0${key}`
}

function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What the results call an operation. */
function idOf(op: unknown, index: number): unknown {
  return (isFields(op) ? op['id'] : undefined) ?? `http-op-${index}`
}

function contextOf(op: unknown): string {
  const { mapName, key } = op as { mapName?: unknown; key?: unknown }
  return typeof mapName === 'string' && typeof key === 'string' ? `${mapName}/${key}` : 'operations'
}
