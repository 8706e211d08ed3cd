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
import { pages, valueBytes } from '../../outbound/pages.ts'
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
        if (
          !session.usesCursors &&
          followers.find(session, group.map) === undefined &&
          followers.count(session) < LIMITS.mapsPerConnection
        ) {
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

  changes({ session, queryId }: Subscription, rows: readonly RowChange[], from: number): number {
    const { encoding } = session
    let bytes = 0
    let at = from
    for (; at < rows.length && bytes < LIMITS.pageBytes; at++) {
      const row = rows[at] as RowChange
      let cached = this.#bodies.get(row)
      if (cached === undefined) this.#bodies.set(row, (cached = {}))
      const body = (cached[encoding] ??= encodeRowBody(encoding, row))
      session.outbox.push(queryUpdateFrame(encoding, queryId, body))
      bytes += body.length
    }
    return at
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
        subscription.session.outbox.pull(new ResultSource(subscription, this.#service))
        return false
      }
      this.#rows = missed.changes
      this.#sent = 0
    }
    this.#sent = this.#service.outlet.changes(subscription, this.#rows, this.#sent)
    return this.#sent < this.#rows.length || !this.#service.isCaughtUp(subscription)
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
  const rowOf = (row: ResultRow): ResultRow => row
  for (const [results, more] of pages(rows, rowOf, ({ value }) => valueBytes(value))) {
    yield { type: 'QUERY_RESP', payload: { queryId, results, ...(more ? { more } : paging) } }
  }
}

/** The refusal of a query whose rights have ended. */
export function withdrawal(mapName: string, queryId: string): ReturnType<typeof wireError> {
  return wireError('FORBIDDEN', `The live query on map '${mapName}' ended: the rights to read it have changed.`, {
    queryId,
  })
}
