import type { Env } from '@syncline/core'
import {
  CLOSE_CODES,
  decodeFrame,
  isBatch,
  LIMITS,
  readClientMessage,
  splitBatch,
  wireError,
  type Frame,
  type ReceivedClientMessage,
  type ServerMessage,
  type WireError,
} from '@syncline/protocol'
import type { Handler, Handlers, Reply } from '../feature.ts'
import type { Source } from '../outbound/outbox.ts'
import type { Session } from '../sessions/session.ts'
import type { Limits } from '../telemetry/limits.ts'
import type { Authorizer } from './authorize.ts'
import { CostLimiter, type CostLimits } from './cost-limit.ts'
import type { Store } from '../store/store.ts'

/** What the road in needs of the kernel. */
export interface ReceiverHost {
  readonly env: Env
  readonly store: Store
  readonly authorizer: Authorizer
  readonly limits: Limits
}

/** The whole road in: decode, read, route, session state, maps, cost, handler, reply. */
export class Receiver {
  readonly #env: Env
  readonly #store: Store
  readonly #authorizer: Authorizer
  readonly #limits: Limits
  readonly #costs: CostLimiter
  readonly #handlers: ReadonlyMap<string, Handler>

  constructor({ env, store, authorizer, limits }: ReceiverHost, costs: CostLimits, features: readonly Handlers[]) {
    this.#env = env
    this.#store = store
    this.#authorizer = authorizer
    this.#limits = limits
    this.#costs = new CostLimiter(env, costs, limits)
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
    if (!decoded.ok) return this.#refuse(session, decoded.error, undefined)
    session.encoding = session.fixedEncoding ?? decoded.value.encoding
    const { message } = decoded.value
    return isBatch(message) ? this.#receiveBatch(session, message) : this.route(session, message)
  }

  /** Several messages in one frame are as many frames, but no more than a batch of ops has. */
  #receiveBatch(session: Session, batch: Parameters<typeof splitBatch>[0]): Promise<void> | undefined {
    const split = splitBatch(batch)
    if (!split.ok) return this.#refuse(session, split.error, { type: 'BATCH' })
    if (split.value.length > LIMITS.batchOps) {
      const error = this.#limits.refusal('batchOps', LIMITS.batchOps, { code: 'TOO_LARGE' })
      return this.#refuse(session, error, { type: 'BATCH' })
    }
    return this.#receiveFrom(session, split.value, 0)
  }

  #receiveFrom(session: Session, frames: readonly Frame[], from: number): Promise<void> | undefined {
    for (let i = from; i < frames.length && !session.isClosed; i++) {
      const decoded = decodeFrame(frames[i] as Frame)
      const waiting = decoded.ok
        ? this.route(session, decoded.value.message)
        : this.#refuse(session, decoded.error, undefined)
      if (waiting !== undefined) return waiting.then(() => this.#receiveFrom(session, frames, i + 1))
    }
    return undefined
  }

  /** Takes one message of a session, decoded. Waits as `receive` does. */
  route(session: Session, decoded: unknown): Promise<void> | undefined {
    const read = readClientMessage(decoded)
    if (!read.ok) {
      const { errorCode, message, details, about, requestId } = read.error
      this.#limits.note(read.error)
      return this.#refuse(session, wireError(errorCode, message, details), { type: about, requestId })
    }
    const message = read.value
    const handler = this.#handlers.get(message.type)
    if (handler === undefined) return this.#refuse(session, wireError('UNKNOWN_OPERATION'), message)
    if (session.principal === undefined && handler.isPublic !== true) {
      return this.#refuse(session, wireError('UNAUTHORIZED', 'Send AUTH with a token first.'), message)
    }
    if (handler.maps !== undefined) {
      const names = handler.maps(message)
      for (const name of names) {
        if (!this.#isToLoad(session, name)) continue
        const missing = names.filter((each) => this.#isToLoad(session, each))
        return this.#afterLoad(session, handler, message, missing)
      }
    }
    return this.#handle(session, handler, message)
  }

  async #afterLoad(
    session: Session,
    handler: Handler,
    message: ReceivedClientMessage,
    maps: readonly string[],
  ): Promise<void> {
    try {
      for (const name of maps) await this.#store.residency.load(name)
    } catch (error) {
      this.#env.log('error', 'A map could not be read from storage', { maps: maps.join(' '), cause: textOf(error) })
      await this.#refuse(session, wireError('STORAGE_UNAVAILABLE'), message)
      return
    }
    if (!session.isClosed) await this.#handle(session, handler, message)
  }

  /** Who may do nothing on a map is refused without it: nobody brings maps into memory that are not for them. */
  #isToLoad(session: Session, mapName: string): boolean {
    if (this.#store.residency.resident(mapName) !== undefined) return false
    const { view, write } = session.rights(this.#authorizer, mapName)
    return view !== undefined || write !== undefined
  }

  #handle(session: Session, handler: Handler, message: ReceivedClientMessage): Promise<void> | undefined {
    if (handler.cost !== undefined) {
      const refusal = this.#costs.charge(session, handler.cost(session, message))
      if (refusal !== undefined) return this.#refuse(session, refusal, message)
    }
    const reply = handler.handle(session, message)
    if (reply instanceof Promise) {
      return reply.then((settled) => {
        this.#deliver(session, settled, message)
        return session.outbox.whenRoom()
      })
    }
    this.#deliver(session, reply, message)
    return session.outbox.whenRoom()
  }

  #refuse(session: Session, error: WireError, about: About | undefined): Promise<void> | undefined {
    session.refuse(error, about?.type, about?.requestId)
    return session.outbox.whenRoom()
  }

  #deliver(session: Session, reply: Reply, message: ReceivedClientMessage): void {
    if (reply === undefined) return
    const { type, requestId } = message
    if ('later' in reply) {
      reply.later((later) => {
        if (!session.isClosed) this.#deliver(session, later, message)
      })
    } else if ('ack' in reply) session.acknowledge(reply.ack, requestId)
    else if ('pages' in reply) session.outbox.pull(new PageSource(session, reply.pages, type, requestId))
    else if ('source' in reply) session.outbox.pull(reply.source)
    else if ('refuse' in reply) session.refuse(reply.refuse, type, requestId)
    else if (isList(reply)) for (const each of reply) session.send(withRequestId(each, requestId))
    else session.send(withRequestId(reply, requestId))
  }

  /** A handler or a decoder failed: its connection ends, and no other notices. */
  crash(session: Session, error: unknown): void {
    this.#env.log('error', 'A connection was closed because handling its message failed', {
      session: session.id,
      error: textOf(error),
    })
    if (session.isClosed) return
    session.refuse(wireError('INTERNAL_ERROR'))
    session.close(CLOSE_CODES.INTERNAL_ERROR, 'Internal error')
  }
}

/** What a refusal names of the message that it refuses. */
interface About {
  readonly type?: string | undefined
  readonly requestId?: string | undefined
}

/** A long reply, sent page by page as the socket drains. */
class PageSource implements Source {
  readonly #session: Session
  readonly #pages: Iterator<ServerMessage>
  readonly #about: string
  readonly #requestId: string | undefined
  readonly #rightsEpoch: number

  constructor(session: Session, pages: Iterator<ServerMessage>, about: string, requestId: string | undefined) {
    this.#session = session
    this.#pages = pages
    this.#about = about
    this.#requestId = requestId
    this.#rightsEpoch = session.rightsEpoch
  }

  pump(): boolean {
    // The pages that are left would be made under rights that may have ended.
    if (this.#session.rightsEpoch !== this.#rightsEpoch) {
      const error = wireError('FORBIDDEN', 'The rest of this reply was left out: another user speaks now. Ask again.')
      this.#session.refuse(error, this.#about, this.#requestId)
      return false
    }
    const next = this.#pages.next()
    if (next.done === true) return false
    this.#session.send(withRequestId(next.value, this.#requestId))
    return true
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

function isList(reply: ServerMessage | readonly ServerMessage[]): reply is readonly ServerMessage[] {
  return Array.isArray(reply)
}

function withRequestId(message: ServerMessage, requestId: string | undefined): ServerMessage {
  return requestId === undefined ? message : { ...message, requestId }
}
