import {
  encodeRowBody,
  LIMITS,
  queryUpdateFrame,
  wireError,
  type EncodedBody,
  type Encoding,
  type ServerMessage,
} from '@syncline/protocol'
import type { Handlers, Kernel } from '../../feature.ts'
import type { Source } from '../../outbound/outbox.ts'
import type { QueryGroup, ResultRow, RowChange } from './query-group.ts'
import type { QueryOutlet, QueryService, Subscription } from './service.ts'

/** QUERY_SUB and QUERY_UNSUB. */
export function queryHandlers(kernel: Kernel, service: QueryService): Handlers {
  const { followers } = kernel
  return {
    QUERY_SUB: {
      maps: ({ payload }) => [payload.mapName],
      handle: (session, message) => {
        const { queryId, mapName, query } = message.payload
        const subscribed = service.subscribe(session, queryId, mapName, query)
        if (!subscribed.ok) {
          session.refuse(
            { ...subscribed.error, details: { ...subscribed.error.details, queryId } },
            message.type,
            message.requestId,
          )
          return undefined
        }
        const { group } = subscribed.value
        // Existing clients take part in a map by querying it: they are sent its events as well.
        if (!session.usesCursors && followers.find(session, group.map) === undefined) {
          followers.follow(session, group.map, group.view, undefined)
        }
        session.outbox.pull(new ResultSource(subscribed.value, service, message.requestId))
        return undefined
      },
    },
    QUERY_UNSUB: {
      handle: (session, message) => {
        service.unsubscribe(session, message.payload.queryId)
        return undefined
      },
    },
  }
}

/** Sends results and what changes in them: a row is encoded once for all subscribers of a turn. */
export class QuerySender implements QueryOutlet {
  readonly #bodies = new WeakMap<RowChange, Partial<Record<Encoding, EncodedBody>>>()

  changes({ session, queryId }: Subscription, rows: readonly RowChange[]): void {
    const { encoding } = session
    for (const row of rows) {
      let cached = this.#bodies.get(row)
      if (cached === undefined) this.#bodies.set(row, (cached = {}))
      const body = (cached[encoding] ??= encodeRowBody(encoding, row))
      session.outbox.push(queryUpdateFrame(encoding, queryId, body))
    }
  }

  wait(subscription: Subscription, service: QueryService): void {
    subscription.session.outbox.pull(new MissedSource(subscription, service))
  }
}

/** A subscriber's result, page by page; then what changed while the pages left. */
class ResultSource implements Source {
  readonly #subscription: Subscription
  readonly #service: QueryService
  readonly #requestId: string | undefined
  readonly #pages: Iterator<ServerMessage>

  constructor(subscription: Subscription, service: QueryService, requestId?: string) {
    this.#subscription = subscription
    this.#service = service
    this.#requestId = requestId
    this.#pages = resultPages(subscription.group, subscription.queryId)
    // From here on changes are held back: a page must not overwrite a newer row.
    subscription.pending ??= new Map()
  }

  pump(): boolean {
    const { session, isEnded } = this.#subscription
    if (isEnded) return false
    const next = this.#pages.next()
    if (next.done === true) return new MissedSource(this.#subscription, this.#service).pump()
    session.send(this.#requestId === undefined ? next.value : { ...next.value, requestId: this.#requestId })
    return true
  }
}

/** What a subscriber missed while its socket was full. */
class MissedSource implements Source {
  readonly #subscription: Subscription
  readonly #service: QueryService

  constructor(subscription: Subscription, service: QueryService) {
    this.#subscription = subscription
    this.#service = service
  }

  pump(): boolean {
    if (this.#subscription.isEnded) return false
    const missed = this.#service.collect(this.#subscription)
    if (missed === 'snapshot')
      this.#subscription.session.outbox.pull(new ResultSource(this.#subscription, this.#service))
    else this.#service.outlet.changes(this.#subscription, missed.changes)
    return false
  }
}

/** The result in pages. The rows are those of one moment; what changes while pages leave follows as updates. */
function resultPages(group: QueryGroup, queryId: string): Iterator<ServerMessage> {
  const rows = group.rows()
  const { hasMore } = group
  const nextCursor = group.nextCursor()
  return pagesOf(rows, queryId, {
    ...(group.spec.limit === undefined ? {} : { hasMore }),
    ...(nextCursor === undefined ? {} : { nextCursor }),
    ...(group.spec.cursor === undefined ? {} : { cursorStatus: 'valid' as const }),
  })
}

function* pagesOf(
  rows: readonly ResultRow[],
  queryId: string,
  paging: { readonly hasMore?: boolean; readonly nextCursor?: string; readonly cursorStatus?: 'valid' },
): Generator<ServerMessage> {
  let from = 0
  do {
    const results = rows.slice(from, from + LIMITS.pageRecords)
    from += LIMITS.pageRecords
    const more = from < rows.length
    yield { type: 'QUERY_RESP', payload: { queryId, results, ...(more ? { more } : paging) } }
  } while (from < rows.length)
}

/** The refusal of a query whose rights have ended. */
export function withdrawal(mapName: string, queryId: string): ReturnType<typeof wireError> {
  return wireError('FORBIDDEN', `The live query on map '${mapName}' ended: the rights to read it have changed.`, {
    queryId,
  })
}
