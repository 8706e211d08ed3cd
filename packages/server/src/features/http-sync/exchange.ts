import { compareStamps, isStamp, type Stamp } from '@syncline/core'
import {
  ERRORS,
  EncodedList,
  httpSyncFrame,
  type DeltaRecord,
  type EncodedDelta,
  type EncodedQueryResult,
  type EncodedSearchResult,
  type Encoding,
  type ErrorCode,
  type Frame,
  type HttpSyncError,
  type OpAck,
  type ReceivedHttpSync,
  type ServerMessage,
  type WireError,
} from '@syncline/protocol'
import type { RequestSession } from '../../sessions/request-session.ts'
import type { SlicedWork } from '../../sliced-work.ts'

/** How much one reply may hold. */
export interface ReplyLimits {
  /** Pages of records after which a delta says that there is more, for all maps. */
  readonly maxDeltaPages: number
  /** Bytes or characters above which what is asked for is refused. */
  readonly maxReplyBytes: number
}

/** What an exchange needs of the server. */
export interface ExchangeHost {
  readonly work: SlicedWork
  /** The error for what finds the reply full. */
  readonly full: () => WireError
}

/** Takes the reply to a part. True once the part is answered whole. */
type Take = (reply: ServerMessage) => boolean

/** A part that waits for its reply. */
interface Part {
  /** What errors call it. */
  readonly context: string
  readonly take: Take
}

type GrowingDelta = { -readonly [Name in keyof EncodedDelta]: EncodedDelta[Name] }

/** Above this, what is left of a reply is made a few milliseconds a turn. */
const LONG_BYTES = 262_144

/**
 * One `POST /sync`: each part of its body is a message on the request's session, in the order of the parts, and the
 * reply is put together from what they are answered, which is encoded as it comes.
 */
export class Exchange {
  readonly #host: ExchangeHost
  readonly #limits: ReplyLimits
  readonly #request: RequestSession
  readonly #body: ReceivedHttpSync
  readonly #encoding: Encoding
  /** By request id, which is their number. */
  readonly #parts: (Part | undefined)[] = []
  #openParts = 0
  #ack: OpAck['payload'] | undefined
  readonly #deltas: EncodedDelta[] = []
  readonly #queryResults: EncodedQueryResult[] = []
  readonly #searchResults: EncodedSearchResult[] = []
  readonly #errors: HttpSyncError[] = []
  /** Bytes of records and rows, those of unfinished results included. */
  #size = 0
  /** The part of the body that is asked for next. */
  #next = 0
  /** The delta that has another page, which is asked for before all else. */
  #growing: GrowingDelta | undefined
  #deltaPages = 0
  #onWhole: (() => void) | undefined
  #isAbandoned = false

  constructor(
    host: ExchangeHost,
    limits: ReplyLimits,
    request: RequestSession,
    body: ReceivedHttpSync,
    encoding: Encoding,
  ) {
    this.#host = host
    this.#limits = limits
    this.#request = request
    this.#body = body
    this.#encoding = encoding
  }

  /** Carries the exchange out. Settles when every part is answered, or it is abandoned; undefined if that is now. */
  run(): Promise<void> | undefined {
    while (!this.#isAsked) {
      if (this.#size > LONG_BYTES) return this.#runInSteps()
      const waiting = this.#step()
      if (waiting !== undefined) return waiting.then(() => this.run())
    }
    if (this.#openParts === 0 || this.#isAbandoned) return undefined
    return new Promise((resolve) => (this.#onWhole = resolve))
  }

  /** Takes a reply of the session. */
  receive(message: ServerMessage): void {
    const id = Number(message.requestId)
    const part = this.#parts[id]
    if (part === undefined) return
    if (message.type === 'ERROR') {
      this.#refuse(message.payload.errorCode, message.payload.message, part.context)
    } else if (!part.take(message)) return
    this.#parts[id] = undefined
    if (--this.#openParts === 0) this.#onWhole?.()
  }

  /** Waits no longer: the session has ended. */
  abandon(): void {
    this.#isAbandoned = true
    this.#onWhole?.()
  }

  /** The reply, encoded. */
  reply(serverHlc: Stamp): Frame {
    return httpSyncFrame(this.#encoding, {
      serverHlc,
      ack: this.#ack,
      deltas: this.#deltas,
      queryResults: this.#queryResults,
      searchResults: this.#searchResults,
      errors: this.#errors,
    })
  }

  /**
   * The status of the reply: 200, unless nothing of the body succeeded and all of it was forbidden, or may succeed later.
   */
  status(): number {
    const [first] = this.#errors
    if (first === undefined) return 200
    const isAny = this.#ack?.results.some(({ success }) => success) === true || this.#hasResults()
    const isOne = !isAny && this.#errors.every(({ code }) => code === first.code)
    return isOne && (first.errorCode === 'FORBIDDEN' || ERRORS[first.errorCode].retryable) ? first.code : 200
  }

  #hasResults(): boolean {
    return this.#deltas.length + this.#queryResults.length + this.#searchResults.length > 0
  }

  /** Everything was asked for. */
  get #isAsked(): boolean {
    const { syncMaps, queries, searches } = this.#body
    const count = 1 + syncMaps.length + queries.length + searches.length
    return this.#isAbandoned || (this.#growing === undefined && this.#next >= count)
  }

  async #runInSteps(): Promise<void> {
    let waiting: Promise<void> | undefined
    const isWanted = (): boolean => !this.#isAbandoned
    await this.#host.work.run(this.#request.session, this.#steps(), isWanted, (last) => void (waiting = last))
    await waiting
    await this.run()
  }

  /** Steps up to one for which the rest has to wait. */
  *#steps(): Generator<void, Promise<void> | undefined> {
    while (!this.#isAsked) {
      const waiting = this.#step()
      if (waiting !== undefined) return waiting
      yield
    }
    return undefined
  }

  /** Asks for a page of a delta, or for a part: operations come first, then maps, queries and searches. */
  #step(): Promise<void> | undefined {
    const growing = this.#growing
    this.#growing = undefined
    if (growing !== undefined) return this.#pull(growing, growing.serverSyncTimestamp)
    const { operations, syncMaps, queries, searches } = this.#body
    let at = this.#next++
    if (at === 0) return operations === undefined || operations.length === 0 ? undefined : this.#write(operations)
    const map = syncMaps[--at]
    if (map !== undefined) return this.#pullFirst(map)
    const query = queries[(at -= syncMaps.length)]
    if (query !== undefined) return this.#query(query)
    const search = searches[at - queries.length]
    return search === undefined ? undefined : this.#search(search)
  }

  #ask(type: string, payload: object, context: string, take: Take): Promise<void> | undefined {
    const requestId = String(this.#parts.push({ context, take }) - 1)
    this.#openParts++
    return this.#request.route({ type, payload, requestId })
  }

  #write(operations: readonly unknown[]): Promise<void> | undefined {
    const ops = operations.map(named)
    const lastId = String(ops.at(-1)?.id)
    this.#ack = { lastId, results: [] }
    // Nothing answers a batch of which nobody wants to know what became of it.
    if (ops.every(isSilent)) return this.#request.route({ type: 'OP_BATCH', payload: { ops } })
    return this.#ask('OP_BATCH', { ops }, 'operations', (reply) => {
      if (reply.type !== 'OP_ACK') return false
      const { payload } = reply
      this.#ack = payload.lastId === lastId ? payload : { ...payload, lastId }
      for (const { success, opId, errorCode, error } of payload.results) {
        if (success || errorCode === undefined) continue
        this.#refuse(errorCode, error ?? ERRORS[errorCode].help, contextOf(ops, opId))
      }
      return true
    })
  }

  #pullFirst({ mapName, lastSyncTimestamp }: ReceivedHttpSync['syncMaps'][number]): Promise<void> | undefined {
    if (this.#isFull(mapName)) return undefined
    const records = new EncodedList(this.#encoding)
    return this.#pull({ mapName, records, serverSyncTimestamp: NO_STAMP }, lastSyncTimestamp)
  }

  #pull(delta: GrowingDelta, since: Stamp | number | undefined): Promise<void> | undefined {
    const { mapName } = delta
    const payload = since === undefined ? { mapName } : { mapName, lastSyncTimestamp: since }
    return this.#ask('SYNC_DELTA', payload, mapName, (reply) => {
      if (reply.type !== 'SYNC_DELTA_RESP') return false
      const { records, serverSyncTimestamp, more = false, reset = false } = reply.payload
      if (delta.serverSyncTimestamp === NO_STAMP) {
        this.#deltas.push(delta)
        delta.reset = reset
      }
      this.#add(delta.records, this.#foreign(mapName, records))
      delta.serverSyncTimestamp = serverSyncTimestamp
      delta.more = more
      if (more && ++this.#deltaPages < this.#limits.maxDeltaPages && this.#hasRoom) this.#growing = delta
      return true
    })
  }

  #query({ queryId, mapName, limit, offset, query }: ReceivedHttpSync['queries'][number]): Promise<void> | undefined {
    if (this.#isFull(queryId)) return undefined
    const most = limit === undefined || limit === 0 ? undefined : limit + offset
    const asked = Object.fromEntries(
      Object.entries({ ...query, limit: most }).filter(([, value]) => value !== undefined),
    )
    const id = `q${this.#parts.length}`
    const results = new EncodedList(this.#encoding)
    let toSkip = offset
    return this.#ask('QUERY_SUB', { queryId: id, mapName, query: asked }, queryId, (reply) => {
      if (reply.type !== 'QUERY_RESP') return false
      const { results: rows, more, hasMore = false, nextCursor } = reply.payload
      this.#add(results, toSkip === 0 ? rows : rows.slice(toSkip))
      toSkip = Math.max(0, toSkip - rows.length)
      if (this.#isOver(results, queryId)) {
        // Its pages that are left need not come.
        void this.#request.route({ type: 'QUERY_UNSUB', payload: { queryId: id } })
        return true
      }
      if (more === true) return false
      this.#queryResults.push({ queryId, results, hasMore, ...(nextCursor === undefined ? {} : { nextCursor }) })
      return true
    })
  }

  #search({ searchId, mapName, query, options }: ReceivedHttpSync['searches'][number]): Promise<void> | undefined {
    if (this.#isFull(searchId)) return undefined
    const payload = { requestId: searchId, mapName, query, ...(options === undefined ? {} : { options }) }
    const results = new EncodedList(this.#encoding)
    return this.#ask('SEARCH', payload, searchId, (reply) => {
      if (reply.type !== 'SEARCH_RESP') return false
      const { results: rows, more, totalCount, error, errorCode = 'INTERNAL_ERROR' } = reply.payload
      this.#add(results, rows)
      if (this.#isOver(results, searchId)) return true
      if (more === true) return false
      if (error === undefined) this.#searchResults.push({ searchId, results, totalCount })
      else this.#refuse(errorCode as ErrorCode, error, searchId)
      return true
    })
  }

  #add(list: EncodedList, items: readonly object[]): void {
    const before = list.size
    list.add(items)
    this.#size += list.size - before
  }

  get #hasRoom(): boolean {
    return this.#size < this.#limits.maxReplyBytes
  }

  /** Refuses a part for which there is no room left. */
  #isFull(context: string): boolean {
    if (this.#hasRoom) return false
    const { errorCode, message } = this.#host.full()
    this.#refuse(errorCode, message, context)
    return true
  }

  /** Refuses a part whose result has filled the reply, and leaves the result out. */
  #isOver(results: EncodedList, context: string): boolean {
    if (!this.#isFull(context)) return false
    this.#size -= results.size
    return true
  }

  #refuse(errorCode: ErrorCode, message: string, context: string): void {
    this.#errors.push({ code: ERRORS[errorCode].status, errorCode, message, context })
  }

  /** The records that this request has not written itself: its sender has those. */
  #foreign(mapName: string, records: readonly DeltaRecord[]): readonly DeltaRecord[] {
    const { operations } = this.#body
    if (operations === undefined || records.length === 0) return records
    const written = writtenTo(mapName, operations)
    if (written.size === 0) return records
    return records.filter(({ key, record }) => {
      const stamp = written.get(key)
      const isOwn = stamp !== undefined && compareStamps(stamp, record.timestamp) === 0
      return !isOwn || record.base !== undefined || record.fields !== undefined
    })
  }
}

/** Of a delta that has no page yet. */
const NO_STAMP: Stamp = Object.freeze({ millis: 0, counter: 0, nodeId: '' })

interface NamedOp {
  id?: unknown
  readonly mapName?: unknown
  readonly key?: unknown
  readonly record?: unknown
  readonly writeConcern?: unknown
}

/** Gives an operation the name that its result has. Nobody else has the decoded body. */
function named(op: unknown, index: number): NamedOp {
  const known: NamedOp = isFields(op) ? op : {}
  known.id ??= `http-op-${index}`
  return known
}

function isSilent({ writeConcern }: NamedOp): boolean {
  return writeConcern === 'FIRE_AND_FORGET'
}

/** What errors call an operation. */
function contextOf(ops: readonly NamedOp[], opId: string): string {
  const op = ops.find(({ id }) => id === opId)
  if (op === undefined) return opId
  return typeof op.mapName === 'string' && typeof op.key === 'string' ? `${op.mapName}/${op.key}` : 'operations'
}

/** The latest stamp that a request's operations on a map have for each key. */
function writtenTo(mapName: string, operations: readonly unknown[]): ReadonlyMap<string, Stamp> {
  const written = new Map<string, Stamp>()
  for (const op of operations) {
    if (!isFields(op) || op['mapName'] !== mapName || !isFields(op['record'])) continue
    const { key } = op
    const { timestamp } = op['record']
    if (typeof key !== 'string' || !isStamp(timestamp)) continue
    const before = written.get(key)
    if (before === undefined || compareStamps(before, timestamp) < 0) written.set(key, timestamp)
  }
  return written
}

function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
