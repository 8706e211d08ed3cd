import { encodeFrame, LIMITS, wireError, type Encoding, type Frame, type WireError } from '@syncline/protocol'
import type { Handlers, Kernel, Reply } from '../../feature.ts'
import type { ReadView } from '../../inbound/authorize.ts'
import { FrameRun } from '../../outbound/frame-run.ts'
import type { Session } from '../../sessions/session.ts'
import { resourceOf } from './names.ts'
import type { Publication, TopicOutlet, TopicService } from './service.ts'

/** TOPIC_SUB, TOPIC_UNSUB and TOPIC_PUB. */
export function topicHandlers(kernel: Kernel, service: TopicService): Handlers {
  const refused = (topic: string, action: 'READ' | 'PUT'): Reply => ({ refuse: refusal(topic, action) })
  return {
    TOPIC_SUB: {
      handle: (session, { payload: { topic } }) => {
        const view = readable(kernel, session, topic)
        if (view === undefined) return refused(topic, 'READ')
        if (!service.isSubscribed(session, topic) && service.count(session) >= LIMITS.topicsPerConnection) {
          const error = kernel.limits.refusal('topicsPerConnection', LIMITS.topicsPerConnection)
          return { refuse: { ...error, details: { ...error.details, topic } } }
        }
        service.subscribe(session, topic, view)
        return undefined
      },
    },
    TOPIC_UNSUB: {
      handle: (session, { payload: { topic } }) => {
        service.unsubscribe(session, topic)
        return undefined
      },
    },
    TOPIC_PUB: {
      cost: (_, { payload }) => service.audience(payload.topic),
      handle: (session, { payload: { topic, data } }) => {
        if (!isWritable(kernel, session, topic)) return refused(topic, 'PUT')
        const publisherId = (session.publicId ??= kernel.env.uniqueId())
        service.publish({ topic, data, publisher: session, publisherId, timestampMs: kernel.env.now() })
        return undefined
      },
    },
  }
}

/** The right to read a topic; undefined where there is none. Policies that name fields give none: messages have no fields. */
export function readable({ authorizer }: Kernel, session: Session, topic: string): ReadView | undefined {
  const { view } = session.rights(authorizer, resourceOf(topic))
  return view?.fields === undefined ? view : undefined
}

function isWritable({ authorizer }: Kernel, session: Session, topic: string): boolean {
  const { write } = session.rights(authorizer, resourceOf(topic))
  return write !== undefined && write.canPut && write.fields === undefined
}

/** Why something cannot be done with a topic. */
export function refusal(topic: string, action: 'READ' | 'PUT'): WireError {
  const text = `No policy allows ${action} on all of '${resourceOf(topic)}' for the signed-in user.`
  return wireError('FORBIDDEN', text, { topic, action })
}

/** Encodes what subscribers are sent: each publication once for all of an encoding. */
export class TopicSender implements TopicOutlet {
  readonly #frames = new WeakMap<Publication, Partial<Record<Encoding, Frame>>>()

  size(publication: Publication): number {
    return this.#frame(publication.publisher.encoding, publication).length
  }

  form({ encoding }: Session): string {
    return encoding
  }

  run({ encoding }: Session, publications: readonly Publication[]): FrameRun {
    return new FrameRun(publications.map((publication) => this.#frame(encoding, publication)))
  }

  dropped(session: Session, topic: string, dropped: number): void {
    session.send({ type: 'TOPIC_DROPPED', payload: { topic, dropped } })
  }

  #frame(encoding: Encoding, publication: Publication): Frame {
    let frames = this.#frames.get(publication)
    if (frames === undefined) this.#frames.set(publication, (frames = {}))
    return (frames[encoding] ??= encodePublication(encoding, publication))
  }
}

function encodePublication(encoding: Encoding, { topic, data, publisherId, timestampMs }: Publication): Frame {
  const payload = { topic, data, publisherId, timestamp: timestampMs }
  return encodeFrame(encoding, { type: 'TOPIC_MESSAGE', payload })
}
