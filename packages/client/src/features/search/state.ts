import { searchShapes, type SearchResp } from '@syncline/protocol/codec'
import { SynclineError, anotherUser } from '../../errors.ts'
import type { Kernel } from '../../feature.ts'
import type { LateFeature } from '../../late.ts'
import type { Query } from '../queries/handle.ts'
import type { SearchDefinition } from './handle.ts'
import { LiveSearch } from './live-search.ts'

/** Asks the server something and gives the answer, whole. */
export interface Wire {
  /** Subscribes a search under its id. */
  subscribe(search: LiveSearch, message: Parameters<Kernel['send']>[0]): void
  unsubscribe(search: LiveSearch): void
  /** Asks once. Answers what takes the question back. */
  ask(question: Question): () => void
}

/** A question that the server is to answer once. */
export interface Question {
  readonly message: (requestId: string) => Parameters<Kernel['send']>[0]
  readonly resolve: (found: SearchResp['payload']) => void
  readonly reject: (error: SynclineError) => void
}

/** Searches of this client. */
export function start(kernel: Kernel): LateFeature<SearchDefinition, Query<unknown>> {
  const liveById = new Map<string, LiveSearch>()
  const questionsById = new Map<string, Question>()
  /** Parts of answers that have come. */
  let parts = new Map<string, SearchResp['payload']['results'][number][]>()
  let lastId = 0

  function put(requestId: string, { message, reject }: Question): void {
    if (kernel.isOnline) kernel.send(message(requestId), reject)
  }

  const wire: Wire = {
    subscribe(search, message) {
      liveById.set(search.id, search)
      parts.delete(search.id)
      if (kernel.isOnline) kernel.send(message, (error) => search.refused(error))
    },
    unsubscribe({ id }) {
      if (!liveById.delete(id)) return
      if (kernel.isOnline) kernel.send({ type: 'SEARCH_UNSUB', payload: { subscriptionId: id } })
    },
    ask(question) {
      const requestId = `q${++lastId}`
      questionsById.set(requestId, question)
      put(requestId, question)
      return () => void questionsById.delete(requestId)
    },
  }

  function answered(payload: SearchResp['payload']): void {
    const { requestId, error, errorCode, details } = payload
    const refusal =
      errorCode === undefined
        ? undefined
        : new SynclineError(errorCode as SynclineError['code'], error ?? errorCode, { details })
    const question = questionsById.get(requestId)
    questionsById.delete(requestId)
    if (refusal === undefined) question?.resolve(payload)
    else question?.reject(refusal)
    const live = liveById.get(requestId)
    if (refusal === undefined) live?.found(payload)
    else live?.refused(refusal)
  }

  return {
    shapes: searchShapes,
    handlers: {
      SEARCH_RESP({ payload }) {
        const { requestId, results, more } = payload
        const before = parts.get(requestId) ?? []
        before.push(...results)
        if (more === true) parts.set(requestId, before)
        else {
          parts.delete(requestId)
          answered({ ...payload, results: before })
        }
      },
      SEARCH_UPDATE: ({ payload }) => liveById.get(payload.subscriptionId)?.changed(payload),
    },
    online() {
      for (const [requestId, question] of questionsById) put(requestId, question)
      for (const search of liveById.values()) search.online()
    },
    /** What one user has asked is not asked in the name of another. */
    userChanged() {
      for (const { reject } of questionsById.values()) reject(anotherUser())
    },
    offline() {
      parts = new Map()
      for (const search of liveById.values()) search.offline()
    },
    open: (mapName, definition) =>
      new LiveSearch(kernel, kernel.data.replica(mapName), wire, `s${++lastId}`, definition),
  }
}
