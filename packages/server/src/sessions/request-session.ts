import { decodeFrame, type Frame, type OpAck, type ServerMessage } from '@syncline/protocol'
import type { Receiver } from '../inbound/receive.ts'
import { Outbox, type OutboxHost, type OutboxLimits, type OutboxOwner, type OutboxSocket } from '../outbound/outbox.ts'
import { Session, type SessionLink } from './session.ts'

/** A request that came by another way than a connection, and where its replies go. */
export interface RequestOptions {
  readonly remoteAddress: string
  /** Told of every reply, in order, decoded. */
  readonly onMessage: (message: ServerMessage) => void
  /** Told that the session has ended before `end` was called. */
  readonly onClosed: (code: number, reason: string) => void
}

/** A session that lasts as long as one request. */
export interface RequestSession {
  readonly session: Session
  /** Sends a message down the road in. A promise where the next one has to wait for it. */
  route(message: object): Promise<void> | undefined
  /** Ends the session and frees what it holds. */
  end(): void
}

/** What a request's session needs of the server. */
export interface RequestHost extends OutboxHost {
  readonly receiver: Receiver
  readonly onEnded: (session: Session) => void
}

/** Whoever asks waits for the whole reply: nothing of it has to wait for room, or for what else there is. */
const LIMITS: OutboxLimits = {
  drainingBytes: Infinity,
  maxBytes: Infinity,
  isCoalescing: false,
  maxBatch: 1,
  maxBatchBytes: 1,
  maxDelayMs: 0,
}

/** A session whose messages are handed over as they are: only what is shared with others comes encoded. */
class UnencodedSession extends Session {
  readonly #onMessage: (message: ServerMessage) => void

  constructor(id: string, link: SessionLink, outbox: Outbox, onMessage: (message: ServerMessage) => void) {
    super(id, link, outbox)
    this.#onMessage = onMessage
  }

  override send(message: ServerMessage): void {
    if (!this.isClosed) this.#onMessage(message)
  }

  override acknowledge(payload: OpAck['payload'], requestId?: string): void {
    this.send({ type: 'OP_ACK', payload, ...(requestId === undefined ? {} : { requestId }) })
  }
}

/** Takes the messages of one request down the same road as those of a connection, and collects the replies. */
export class CollectingSession implements RequestSession, SessionLink, OutboxOwner, OutboxSocket {
  readonly session: Session
  readonly bufferedBytes = 0
  /** It lives for a request and is never silent. */
  readonly lastAliveAt = Infinity
  readonly #host: RequestHost
  readonly #options: RequestOptions

  constructor(id: string, host: RequestHost, options: RequestOptions) {
    this.#host = host
    this.#options = options
    this.session = new UnencodedSession(id, this, new Outbox(this, LIMITS, host, this), options.onMessage)
  }

  get remoteAddress(): string {
    return this.#options.remoteAddress
  }

  route(message: object): Promise<void> | undefined {
    const { receiver } = this.#host
    try {
      return receiver.route(this.session, message)?.catch((error: unknown) => receiver.crash(this.session, error))
    } catch (error) {
      receiver.crash(this.session, error)
      return undefined
    }
  }

  send(frames: readonly Frame[]): void {
    for (const frame of frames) {
      const decoded = decodeFrame(frame)
      if (!decoded.ok) throw new Error(`A reply cannot be decoded: ${decoded.error.message}`)
      this.#options.onMessage(decoded.value.message as ServerMessage)
    }
  }

  close(code: number, reason: string): void {
    if (this.session.isClosed) return
    this.session.outbox.flush()
    this.end()
    this.#options.onClosed(code, reason)
  }

  end(): void {
    if (this.session.isClosed) return
    this.session.isClosed = true
    this.session.outbox.close()
    this.#host.onEnded(this.session)
  }

  setMaxFrameBytes(): void {}

  ping(): void {}

  onOverflow(): void {}

  onSourceFailure(error: unknown): void {
    this.#host.receiver.crash(this.session, error)
  }
}
