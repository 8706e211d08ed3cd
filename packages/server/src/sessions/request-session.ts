import { decodeFrame, type Frame, type OpAck, type ServerMessage } from '@syncline/protocol'
import type { Receiver } from '../inbound/receive.ts'
import { Outbox, type OutboxHost, type OutboxLimits, type OutboxOwner, type OutboxSocket } from '../outbound/outbox.ts'
import type { SlicedWork } from '../sliced-work.ts'
import { Session, type SessionLink } from './session.ts'

/** A request that came by another way than a connection, and where its replies go. */
export interface RequestOptions {
  readonly remoteAddress: string
  /** Told of every reply, in order, decoded. */
  onMessage(message: ServerMessage): void
  /** Told that the session has ended before `end` was called. */
  onClosed(code: number, reason: string): void
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
  readonly work: SlicedWork
  /** Runs something at the end of this turn. */
  readonly endOfTurn: (run: () => void) => void
  readonly onEnded: (session: Session) => void
}

/** Whoever asks waits for the whole reply: nothing of it waits for what else there is. */
const LIMITS: OutboxLimits = {
  drainingBytes: Number.MAX_SAFE_INTEGER,
  maxBytes: Infinity,
  isCoalescing: false,
  maxBatch: 1,
  maxBatchBytes: 1,
  maxDelayMs: 0,
}

/** A session whose messages are handed over as they are: only what is shared with others comes encoded. */
class UnencodedSession extends Session {
  readonly #request: CollectingSession

  constructor(id: string, request: CollectingSession, host: OutboxHost) {
    super(id, request, new Outbox(request, LIMITS, host, request))
    this.#request = request
  }

  override send(message: ServerMessage): void {
    if (!this.isClosed) this.#request.take(message)
  }

  override acknowledge(payload: OpAck['payload'], requestId?: string): void {
    this.send({ type: 'OP_ACK', payload, ...(requestId === undefined ? {} : { requestId }) })
  }
}

/**
 * Takes the messages of one request down the same road as those of a connection, and collects the replies. Of a reply in
 * pages it takes as many as its share of a turn allows: whoever asks for much keeps nobody else waiting.
 */
export class CollectingSession implements RequestSession, SessionLink, OutboxOwner, OutboxSocket {
  readonly session: Session
  /** It lives for a request and is never silent. */
  readonly lastAliveAt = Infinity
  readonly #host: RequestHost
  readonly #options: RequestOptions
  /** It has taken a page after which others come. */
  #isFull = false
  #isDraining = false

  constructor(id: string, host: RequestHost, options: RequestOptions) {
    this.#host = host
    this.#options = options
    this.session = new UnencodedSession(id, this, host)
  }

  get remoteAddress(): string {
    return this.#options.remoteAddress
  }

  get bufferedBytes(): number {
    return this.#isFull ? Infinity : 0
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

  /** Takes a reply as it is. */
  take(message: ServerMessage): void {
    if (hasMore(message)) this.#fill()
    this.#options.onMessage(message)
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

  #fill(): void {
    this.#isFull = true
    if (this.#isDraining) return
    this.#isDraining = true
    const { endOfTurn, work } = this.#host
    const isOpen = (): boolean => !this.session.isClosed
    endOfTurn(() => void work.run(this.session, this.#drain(), isOpen, () => {}))
  }

  /** Takes a page at a step. What a source throws goes to its owner, and does not come here. */
  *#drain(): Generator<void, void> {
    while (this.#isFull) {
      this.#isFull = false
      this.session.outbox.flush()
      yield
    }
    this.#isDraining = false
  }
}

/** The message is a page of a result after which others come by themselves. */
function hasMore({ type, payload }: { readonly type: string; readonly payload?: unknown }): boolean {
  return type !== 'SYNC_DELTA_RESP' && (payload as { readonly more?: boolean } | undefined)?.more === true
}
