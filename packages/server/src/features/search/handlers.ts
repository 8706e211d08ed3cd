import {
  encodeFoundRowBody,
  LIMITS,
  searchUpdateFrame,
  type EncodedBody,
  type Encoding,
  type SearchResp,
  type ServerMessage,
  type WireError,
} from '@syncline/protocol'
import type { Handlers, Reply } from '../../feature.ts'
import type { Source } from '../../outbound/outbox.ts'
import { pages, valueBytes } from '../../outbound/pages.ts'
import { ResultPages } from '../../outbound/result-follower.ts'
import type { FoundChange, FoundRow } from './found-row.ts'
import type { Found } from './one-search.ts'
import type { SearchService } from './service.ts'
import type { Closing, SearchOutlet, Subscription } from './subscription.ts'

/** SEARCH, SEARCH_SUB and SEARCH_UNSUB. What was found comes when it has been: meanwhile the session goes on. */
export function searchHandlers(service: SearchService): Handlers {
  return {
    SEARCH: {
      maps: ({ payload }) => [payload.mapName],
      cost: (session, { payload }) => service.cost(session, payload.mapName, payload.query, payload.options),
      handle: (session, { payload: { requestId, mapName, query, options = {} } }) => ({
        later: (deliver) =>
          service.search(session, mapName, query, options, (found) => {
            deliver(found.ok ? { pages: foundPages(requestId, found.value) } : refusal(requestId, found.error))
          }),
      }),
    },
    SEARCH_SUB: {
      maps: ({ payload }) => [payload.mapName],
      cost: (session, { payload }) => service.cost(session, payload.mapName, payload.query, payload.options),
      handle: (session, { requestId, payload: { subscriptionId, mapName, query, options = {} } }) => ({
        later: (deliver) =>
          service.subscribe(session, subscriptionId, mapName, query, options, (subscribed) => {
            deliver(
              subscribed.ok
                ? { source: resultPages(subscribed.value, requestId) }
                : refusal(subscriptionId, subscribed.error),
            )
          }),
      }),
    },
    SEARCH_UNSUB: {
      handle: (session, { payload }) => {
        service.unsubscribe(session, payload.subscriptionId)
        return undefined
      },
    },
  }
}

/** That nothing was searched, or that a live search has ended. */
export function refusal(requestId: string, { errorCode, message, details }: WireError): SearchResp & Reply {
  const payload = { requestId, results: [], totalCount: 0, error: message, errorCode }
  return { type: 'SEARCH_RESP', payload: details === undefined ? payload : { ...payload, details } }
}

/** Sends what changes in results: a row is encoded once for all who make the same search. */
export class SearchSender implements SearchOutlet {
  readonly #bodies = new WeakMap<FoundChange, Partial<Record<Encoding, EncodedBody>>>()

  changes(
    { session, id }: Subscription,
    changes: readonly FoundChange[],
    from: number,
    { version, totalCount }: Closing,
  ): number {
    const { encoding } = session
    let bytes = 0
    let at = from
    while (at < changes.length && bytes < LIMITS.pageBytes) {
      const change = changes[at++] as FoundChange
      let cached = this.#bodies.get(change)
      if (cached === undefined) this.#bodies.set(change, (cached = {}))
      const body = (cached[encoding] ??= encodeFoundRowBody(encoding, change))
      const closing = at === changes.length && version !== undefined ? { totalCount, version } : {}
      session.outbox.push(searchUpdateFrame(encoding, { subscriptionId: id, ...closing }, body))
      bytes += body.length
    }
    return at
  }

  result(subscription: Subscription): void {
    subscription.session.outbox.pull(resultPages(subscription))
  }
}

/** A subscriber's result, page by page; `messageId` is the `requestId` of the message that asked for it. */
export function resultPages(subscription: Subscription, messageId?: string): Source {
  return new ResultPages(subscription, () => foundPages(subscription.id, subscription.take(), messageId))
}

/** What was found, in pages. */
function* foundPages(
  requestId: string,
  { rows, totalCount, version }: Found,
  messageId?: string,
): Generator<ServerMessage> {
  const envelope = messageId === undefined ? {} : { requestId: messageId }
  const rowOf = (row: FoundRow): FoundRow => row
  for (const [results, more] of pages(rows, rowOf, ({ value }) => valueBytes(value))) {
    const rest = more ? { more } : version === undefined ? {} : { version }
    yield { type: 'SEARCH_RESP', payload: { requestId, results, totalCount, ...rest }, ...envelope }
  }
}
