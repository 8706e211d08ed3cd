import type { Env } from '@syncline/core'
import {
  CLOSE_CODES,
  decodeFrame,
  readClientMessage,
  wireError,
  type Frame,
  type ReceivedClientMessage,
  type ServerMessage,
} from '@syncline/protocol'
import type { Handler, Handlers, Reply } from '../feature.ts'
import type { Source } from '../outbound/outbox.ts'
import type { Session } from '../sessions/session.ts'
import type { Store } from '../store/store.ts'

/** The whole road in: decode, read, route, session state, handler, reply. */
export class Receiver {
  readonly #env: Env
  readonly #store: Store
  readonly #handlers: ReadonlyMap<string, Handler>

  constructor(env: Env, store: Store, features: readonly Handlers[]) {
    this.#env = env
    this.#store = store
    const handlers = new Map<string, Handler>()
    for (const feature of features) {
      for (const [type, handler] of Object.entries(feature)) handlers.set(type, handler as unknown as Handler)
    }
    this.#handlers = handlers
  }

  /**
   * Takes one frame of a session. Answers undefined when it is dealt with, or a promise if the session has to wait
   * before its next frame is taken.
   */
  receive(session: Session, frame: Frame): Promise<void> | undefined {
    const decoded = decodeFrame(frame)
    if (!decoded.ok) {
      session.refuse(decoded.error)
      return undefined
    }
    session.encoding = session.fixedEncoding ?? decoded.value.encoding
    const read = readClientMessage(decoded.value.message)
    if (!read.ok) {
      const { errorCode, message, details, about, requestId } = read.error
      session.refuse(wireError(errorCode, message, details), about, requestId)
      return undefined
    }
    const message = read.value
    const handler = this.#handlers.get(message.type)
    if (handler === undefined) {
      session.refuse(wireError('UNKNOWN_OPERATION'), message.type, message.requestId)
      return undefined
    }
    if (session.principal === undefined && handler.isPublic !== true) {
      session.refuse(wireError('UNAUTHORIZED', 'Send AUTH with a token first.'), message.type, message.requestId)
      return undefined
    }
    const missing = handler.maps?.(message).filter((name) => this.#store.residency.resident(name) === undefined)
    if (missing !== undefined && missing.length > 0) return this.#afterLoad(session, handler, message, missing)
    return this.#handle(session, handler, message)
  }

  async #afterLoad(
    session: Session,
    handler: Handler,
    message: ReceivedClientMessage,
    maps: readonly string[],
  ): Promise<void> {
    for (const name of maps) await this.#store.residency.load(name)
    await this.#handle(session, handler, message)
  }

  #handle(session: Session, handler: Handler, message: ReceivedClientMessage): Promise<void> | undefined {
    const reply = handler.handle(session, message)
    if (reply instanceof Promise) return reply.then((settled) => deliver(session, settled, message.requestId))
    deliver(session, reply, message.requestId)
    return undefined
  }

  /** A handler or a decoder failed: its connection ends, and no other notices. */
  crash(session: Session, error: unknown): void {
    this.#env.log('error', 'A connection was closed because handling its message failed', {
      session: session.id,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    })
    if (session.isClosed) return
    session.refuse(wireError('INTERNAL_ERROR'))
    session.close(CLOSE_CODES.INTERNAL_ERROR, 'Internal error')
  }
}

function deliver(session: Session, reply: Reply, requestId: string | undefined): void {
  if (reply === undefined) return
  if ('later' in reply) {
    reply.later((message) => {
      if (message !== undefined && !session.isClosed) session.send(withRequestId(message, requestId))
    })
  } else if ('frames' in reply) for (const frame of reply.frames) session.outbox.push(frame)
  else if ('pages' in reply) session.outbox.pull(new PageSource(session, reply.pages, requestId))
  else if (isList(reply)) for (const message of reply) session.send(withRequestId(message, requestId))
  else session.send(withRequestId(reply, requestId))
}

/** A long reply, sent page by page as the socket drains. */
class PageSource implements Source {
  readonly #session: Session
  readonly #pages: Iterator<ServerMessage>
  readonly #requestId: string | undefined

  constructor(session: Session, pages: Iterator<ServerMessage>, requestId: string | undefined) {
    this.#session = session
    this.#pages = pages
    this.#requestId = requestId
  }

  pump(): boolean {
    const next = this.#pages.next()
    if (next.done === true) return false
    this.#session.send(withRequestId(next.value, this.#requestId))
    return true
  }
}

function isList(reply: ServerMessage | readonly ServerMessage[]): reply is readonly ServerMessage[] {
  return Array.isArray(reply)
}

function withRequestId(message: ServerMessage, requestId: string | undefined): ServerMessage {
  return requestId === undefined ? message : { ...message, requestId }
}
