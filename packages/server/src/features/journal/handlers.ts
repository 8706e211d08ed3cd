import {
  encodeJournalEntry,
  journalEventFrame,
  LIMITS,
  type EncodedBody,
  type Encoding,
  type JournalEntry,
} from '@syncline/protocol'
import type { Handlers } from '../../feature.ts'
import type { Source } from '../../outbound/outbox.ts'
import type { JournalService, Subscriber } from './service.ts'

/** JOURNAL_SUBSCRIBE, JOURNAL_UNSUBSCRIBE and JOURNAL_READ. */
export function journalHandlers(service: JournalService): Handlers {
  return {
    JOURNAL_SUBSCRIBE: {
      cost: (_session, { mapName, fromSequence }) => (fromSequence === undefined ? 1 : service.cost(mapName)),
      handle: (session, { requestId, fromSequence, epoch, ...filter }) => {
        const subscribed = service.subscribe(session, requestId, filter, fromSequence, epoch)
        return subscribed.ok ? undefined : { refuse: subscribed.error }
      },
    },
    JOURNAL_UNSUBSCRIBE: {
      handle: (session, { subscriptionId }) => {
        service.unsubscribe(session, subscriptionId)
        return undefined
      },
    },
    JOURNAL_READ: {
      cost: (_session, { mapName }) => service.cost(mapName),
      handle: (session, message) => {
        const page = service.read(session, message)
        if (!page.ok) return { refuse: page.error }
        const { requestId } = message
        return { type: 'JOURNAL_READ_RESPONSE', requestId, epoch: service.epoch, ...page.value }
      },
    },
  }
}

/** Sends events to those who subscribe, each as fast as its socket takes them. An event is encoded once for a redaction class. */
export class JournalSender {
  readonly #bodies = new WeakMap<JournalEntry, Partial<Record<Encoding, EncodedBody>>>()
  readonly #sources = new WeakMap<Subscriber, Source>()

  /** There may be events for a subscriber. */
  wake(service: JournalService, subscriber: Subscriber): void {
    let source = this.#sources.get(subscriber)
    if (source === undefined) {
      source = { pump: () => this.#pump(service, subscriber) }
      this.#sources.set(subscriber, source)
    }
    subscriber.session.outbox.pull(source)
  }

  #pump(service: JournalService, subscriber: Subscriber): boolean {
    const { session } = subscriber
    for (const { id, error } of service.dropLate(session)) {
      session.refuse({ ...error, details: { ...error.details, subscriptionId: id } }, 'JOURNAL_SUBSCRIBE', id)
    }
    let bytes = 0
    while (!subscriber.isEnded && bytes < LIMITS.pageBytes) {
      const told = service.next(subscriber)
      if (told === undefined) return false
      const { encoding } = session
      let cached = this.#bodies.get(told.event)
      if (cached === undefined) this.#bodies.set(told.event, (cached = {}))
      const body = (cached[encoding] ??= encodeJournalEntry(encoding, told.event))
      session.outbox.push(journalEventFrame(encoding, service.epoch, told.subscriptionIds, body))
      bytes += body.length
    }
    return !subscriber.isEnded
  }
}
