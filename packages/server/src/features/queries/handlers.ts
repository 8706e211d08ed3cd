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
import { pages, valueBytes } from '../../outbound/pages.ts'
import { ResultPages } from '../../outbound/result-follower.ts'
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
          return service.sendResult(subscribed.value, requestId)?.then(() => undefined)
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

  result(subscription: Subscription, result: QueryResult, requestId?: string): void {
    subscription.session.outbox.pull(new ResultPages(subscription, () => resultPages(subscription, result, requestId)))
  }
}

/** The result in pages. The rows are those of one moment; what changes while pages leave follows as updates. */
function* resultPages(
  { queryId, group: { spec } }: Subscription,
  { rows, version, hasMore, nextCursor }: QueryResult,
  requestId: string | undefined,
): Generator<ServerMessage> {
  const closing = {
    version,
    ...(spec.limit === undefined ? {} : { hasMore }),
    ...(nextCursor === undefined ? {} : { nextCursor }),
    ...(spec.cursor === undefined ? {} : { cursorStatus: 'valid' as const }),
  }
  const rowOf = (row: ResultRow): ResultRow => row
  for (const [results, more] of pages(rows, rowOf, ({ value }) => valueBytes(value))) {
    const payload = { queryId, results, ...(more ? { more } : closing) }
    yield { type: 'QUERY_RESP', payload, ...(requestId === undefined ? {} : { requestId }) }
  }
}

/** The refusal of a query whose rights have ended. */
export function withdrawal(mapName: string, queryId: string): ReturnType<typeof wireError> {
  return wireError('FORBIDDEN', `The live query on map '${mapName}' ended: the rights to read it have changed.`, {
    queryId,
  })
}
