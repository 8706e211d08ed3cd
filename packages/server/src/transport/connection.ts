import { CLOSE_CODES, type Encoding, type Frame } from '@syncline/protocol'
import type { Receiver } from '../inbound/receive.ts'
import { Outbox, type OutboxHost, type OutboxLimits, type OutboxOwner } from '../outbound/outbox.ts'
import type { Limits } from '../telemetry/limits.ts'
import { Session, type SessionLink } from '../sessions/session.ts'

/** One client's socket, whatever carries it. The transport calls the handler that `open` gets. */
export interface ServerSocket {
  readonly remoteAddress: string
  /** Host and port that the client connected to. */
  readonly localAddress?: string | undefined
  /** The encoding that the handshake agreed on, if it named one. */
  readonly encoding?: Encoding | undefined
  /** Bytes handed over and not yet taken by the network. */
  readonly bufferedBytes: number
  /** Sends frames in one write. */
  send(frames: readonly Frame[]): void
  /** Asks the peer for a sign of life, below the protocol. */
  ping(): void
  /** Stops and resumes reading. */
  pause(): void
  resume(): void
  /** Frames above this size are refused by the transport. */
  setMaxFrameBytes(bytes: number): void
  close(code: number, reason: string): void
  /** Ends the socket without a handshake. */
  terminate(): void
}

/** Bytes of frames that may wait for one connection before reading from it pauses. A single frame may be larger. */
const INBOX_BYTES = 1_048_576

/** What a transport tells of a socket. */
export interface SocketHandler {
  onFrame(frame: Frame): void
  /** The socket took what it held. */
  onDrain(): void
  /** The peer is alive: any frame or pong. */
  onAlive(): void
  onClose(): void
}

/** Bytes of frames that wait in the inboxes of all connections, and how many may before those that wait are not read. */
export interface InboundBudget {
  bytes: number
  readonly maxBytes: number
}

/** What a connection needs of the server. */
export interface ConnectionHost extends OutboxHost {
  readonly receiver: Receiver
  readonly outboxLimits: OutboxLimits
  readonly limits: Limits
  readonly inboxFrames: number
  readonly inbound: InboundBudget
  readonly now: () => number
  readonly onClosed: (connection: Connection) => void
}

/** Takes a socket's frames in order, one at a time, and holds a bounded number of those that have to wait. */
export class Connection implements SocketHandler, SessionLink, OutboxOwner {
  readonly session: Session
  readonly socket: ServerSocket
  readonly openedAt: number
  lastAliveAt: number
  readonly #host: ConnectionHost
  #inbox: Frame[] | undefined
  #inboxBytes = 0
  #isParked = false

  constructor(id: string, socket: ServerSocket, host: ConnectionHost) {
    this.socket = socket
    this.#host = host
    this.openedAt = host.now()
    this.lastAliveAt = this.openedAt
    this.session = new Session(id, this, new Outbox(socket, host.outboxLimits, host, this))
    this.session.fixedEncoding = socket.encoding
    if (socket.encoding !== undefined) this.session.encoding = socket.encoding
  }

  get remoteAddress(): string {
    return this.socket.remoteAddress
  }

  get localAddress(): string | undefined {
    return this.socket.localAddress
  }

  setMaxFrameBytes(bytes: number): void {
    this.socket.setMaxFrameBytes(bytes)
  }

  ping(): void {
    this.socket.ping()
  }

  onOverflow(): void {
    this.#host.limits.count('connections.maxOutboundBytes')
    this.close(CLOSE_CODES.SLOW_CONSUMER, 'Too much unread: read faster and resume')
  }

  onSourceFailure(error: unknown): void {
    this.#host.receiver.crash(this.session, error)
  }

  onFrame(frame: Frame): void {
    this.lastAliveAt = this.#host.now()
    if (this.session.isClosed) return
    if (this.#isParked) {
      const inbox = (this.#inbox ??= [])
      inbox.push(frame)
      const { inboxFrames, inbound } = this.#host
      this.#inboxBytes += frame.length
      inbound.bytes += frame.length
      const isFull = inbox.length >= inboxFrames || this.#inboxBytes >= INBOX_BYTES || inbound.bytes >= inbound.maxBytes
      if (isFull) this.socket.pause()
      return
    }
    this.#take(frame)
  }

  onDrain(): void {
    if (!this.session.isClosed) this.session.outbox.resume()
  }

  onAlive(): void {
    this.lastAliveAt = this.#host.now()
  }

  onClose(): void {
    if (this.session.isClosed) return
    this.session.isClosed = true
    this.session.outbox.close()
    this.#inbox = undefined
    this.#host.inbound.bytes -= this.#inboxBytes
    this.#inboxBytes = 0
    this.#host.onClosed(this)
  }

  /** Sends what is queued, then closes with a code. */
  close(code: number, reason: string): void {
    if (this.session.isClosed) return
    try {
      this.session.outbox.flush()
      // The peer's answer to the close has to be read.
      this.socket.resume()
      this.socket.close(code, reason)
    } finally {
      this.onClose()
    }
  }

  #take(frame: Frame): void {
    const { receiver } = this.#host
    let waiting: Promise<void> | undefined
    try {
      waiting = receiver.receive(this.session, frame)
    } catch (error) {
      receiver.crash(this.session, error)
      return
    }
    if (waiting === undefined) return
    this.#isParked = true
    waiting.then(
      () => this.#resume(),
      (error: unknown) => receiver.crash(this.session, error),
    )
  }

  #resume(): void {
    this.#isParked = false
    while (!this.#isParked && this.#inbox !== undefined && !this.session.isClosed) {
      const frame = this.#inbox.shift() as Frame
      this.#inboxBytes -= frame.length
      this.#host.inbound.bytes -= frame.length
      if (this.#inbox.length === 0) this.#inbox = undefined
      this.#take(frame)
    }
    if (!this.#isParked) this.socket.resume()
  }
}
