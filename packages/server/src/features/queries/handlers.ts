import {
  encodeRowBody,
  LIMITS,
  queryUpdateFrame,
  wireError,
  type EncodedBody,
  type Encoding,
  type Frame,
  type ServerMessage,
  type WireError,
} from '@syncline/protocol'
import type { Result } from '@syncline/core'
import type { Handlers, Kernel, Reply } from '../../feature.ts'
import type { Source } from '../../outbound/outbox.ts'
import { pages, valueBytes } from '../../outbound/pages.ts'
import type { Session } from '../../sessions/session.ts'
import type { QueryGroup, ResultRow, RowChange } from './query-group.ts'
import type { QueryService } from './service.ts'
import type { QueryOutlet, QueryResult, Subscription } from './subscription.ts'

/** QUERY_SUB and QUERY_UNSUB. */
export function queryHandlers(kernel: Kernel, service: QueryService): Handlers {
  const { followers } = kernel

  /** Existing clients take part in a map by querying it: they are sent its events as well. */
  const follow = (session: Session, { map, view }: QueryGroup): void => {
    if (session.usesCursors || followers.find(session, map) !== undefined) return
    if (followers.count(session) < LIMITS.mapsPerConnection) {
      followers.follow(session, map, view, undefined).isByQuery = true
    }
  }

  return {
    QUERY_SUB: {
      maps: ({ payload }) => [payload.mapName],
      // What is looked at is known, and owed, when it has been.
      cost: () => 1,
      handle: (session, { payload: { queryId, mapName, query, fields }, requestId }) => {
        const answer = (subscribed: Result<Subscription, WireError>): Reply | Promise<Reply> => {
          if (!subscribed.ok) {
            const { error } = subscribed
            return { refuse: { ...error, details: { ...error.details, queryId } } }
          }
          follow(session, subscribed.value.group)
          unfollowUnasked(kernel, service, session)
          return sendResult(service, subscribed.value, requestId)?.then(() => undefined)
        }
        const question = { spec: query, ...(fields === undefined ? {} : { fields: new Set(fields) }) }
        const subscribed = service.subscribe(session, queryId, mapName, question)
        return subscribed instanceof Promise ? subscribed.then(answer) : answer(subscribed)
      },
    },
    QUERY_UNSUB: {
      handle: (session, { payload }) => {
        if (service.unsubscribe(session, payload.queryId)) unfollowUnasked(kernel, service, session)
        return undefined
      },
    },
  }
}

/** Who followed a map by querying it stops with the last query. */
export function unfollowUnasked({ followers }: Kernel, service: QueryService, session: Session): void {
  for (const { isByQuery, map } of followers.of(session)) {
    if (isByQuery && !service.asks(session, map)) followers.unfollow(session, map)
  }
}

/** What is encoded of a row's change: its body, and the latest frame around it. */
interface EncodedChange {
  readonly body: EncodedBody
  queryId: string | undefined
  version: number | undefined
  frame: Frame
}

/**
 * Sends results and what changes in them: a row is encoded once for all subscribers of a turn, and the frame around it once
 * for all that have the same id for the query, as clients that count do.
 */
export class QuerySender implements QueryOutlet {
  readonly #encoded = new WeakMap<RowChange, Partial<Record<Encoding, EncodedChange>>>()

  changes({ session, queryId }: Subscription, rows: readonly RowChange[], from: number, version: number): number {
    const { encoding } = session
    let bytes = 0
    let at = from
    while (at < rows.length && bytes < LIMITS.pageBytes) {
      const row = rows[at++] as RowChange
      const encoded = this.#encode(encoding, row)
      const of = at === rows.length ? version : undefined
      if (encoded.queryId !== queryId || encoded.version !== of) {
        encoded.frame = queryUpdateFrame(encoding, queryId, encoded.body, of)
        encoded.queryId = queryId
        encoded.version = of
      }
      session.outbox.push(encoded.frame)
      bytes += encoded.body.length
    }
    return at
  }

  #encode(encoding: Encoding, row: RowChange): EncodedChange {
    let ofRow = this.#encoded.get(row)
    if (ofRow === undefined) this.#encoded.set(row, (ofRow = {}))
    return (ofRow[encoding] ??= {
      body: encodeRowBody(encoding, row),
      queryId: undefined,
      version: undefined,
      frame: '',
    })
  }

  wait(subscription: Subscription, service: QueryService): void {
    subscription.session.outbox.pull(new MissedSource(subscription, service))
  }
}

/** Sends a subscriber its result, then what changed while its pages left. A promise where that takes long to begin. */
function sendResult(service: QueryService, subscription: Subscription, requestId?: string): Promise<void> | undefined {
  return service.result(subscription, (result) => {
    subscription.session.outbox.pull(new ResultSource(subscription, service, result, requestId))
  })
}

/** A subscriber's result, page by page; then what changed while the pages left. */
class ResultSource implements Source {
  readonly #subscription: Subscription
  readonly #service: QueryService
  readonly #requestId: string | undefined
  readonly #pages: Iterator<ServerMessage>

  constructor(subscription: Subscription, service: QueryService, result: QueryResult, requestId: string | undefined) {
    this.#subscription = subscription
    this.#service = service
    this.#requestId = requestId
    this.#pages = resultPages(subscription, result)
  }

  pump(): boolean {
    const { session, isEnded } = this.#subscription
    if (isEnded) return false
    const next = this.#pages.next()
    if (next.done === true) {
      session.outbox.pull(new MissedSource(this.#subscription, this.#service))
      return false
    }
    session.send(this.#requestId === undefined ? next.value : { ...next.value, requestId: this.#requestId })
    return true
  }
}

/** What a subscriber missed while its socket was full, a page at a time. What changes meanwhile comes after it. */
class MissedSource implements Source {
  readonly #subscription: Subscription
  readonly #service: QueryService
  #rows: readonly RowChange[] = []
  #sent = 0
  #version = 0

  constructor(subscription: Subscription, service: QueryService) {
    this.#subscription = subscription
    this.#service = service
  }

  pump(): boolean {
    const subscription = this.#subscription
    if (subscription.isEnded) return false
    if (this.#sent === this.#rows.length) {
      const missed = this.#service.collect(subscription)
      if (missed === 'snapshot') {
        sendResult(this.#service, subscription)?.catch((error: unknown) => this.#service.fail(subscription, error))
        return false
      }
      this.#rows = missed.changes
      this.#version = missed.version
      this.#sent = 0
    }
    this.#sent = this.#service.outlet.changes(subscription, this.#rows, this.#sent, this.#version)
    return this.#sent < this.#rows.length || !this.#service.isCaughtUp(subscription)
  }
}

/** The result in pages. The rows are those of one moment; what changes while pages leave follows as updates. */
function* resultPages(
  { queryId, group: { spec } }: Subscription,
  { rows, version, hasMore, nextCursor }: QueryResult,
): Generator<ServerMessage> {
  const closing = {
    version,
    ...(spec.limit === undefined ? {} : { hasMore }),
    ...(nextCursor === undefined ? {} : { nextCursor }),
    ...(spec.cursor === undefined ? {} : { cursorStatus: 'valid' as const }),
  }
  const rowOf = (row: ResultRow): ResultRow => row
  for (const [results, more] of pages(rows, rowOf, ({ value }) => valueBytes(value))) {
    yield { type: 'QUERY_RESP', payload: { queryId, results, ...(more ? { more } : closing) } }
  }
}

/** The refusal of a query whose rights have ended. */
export function withdrawal(mapName: string, queryId: string): ReturnType<typeof wireError> {
  return wireError('FORBIDDEN', `The live query on map '${mapName}' ended: the rights to read it have changed.`, {
    queryId,
  })
}
