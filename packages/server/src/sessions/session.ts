import {
  ERRORS,
  encodeFrame,
  encodeJson,
  opAckFrame,
  type Encoding,
  type Frame,
  type OpAck,
  type ServerMessage,
  type WireError,
} from '@syncline/protocol'
import type { Authorizer, MapRights, Principal, PrincipalRights } from '../inbound/authorize.ts'
import type { Outbox } from '../outbound/outbox.ts'

/** Who speaks on every session of a server without authentication. */
export const ANONYMOUS: Principal = Object.freeze({ userId: 'anonymous', roles: Object.freeze(['ANONYMOUS']) })

/** The connection of a session. */
export interface SessionLink {
  readonly remoteAddress: string
  readonly localAddress?: string | undefined
  /** When the peer gave its latest sign of life, in milliseconds from any start. */
  readonly lastAliveAt: number
  /** Asks the peer for a sign of life, below the protocol. */
  ping(): void
  close(code: number, reason: string): void
  setMaxFrameBytes(bytes: number): void
}

/** One connection and who speaks on it. */
export class Session {
  readonly id: string
  readonly outbox: Outbox
  readonly #link: SessionLink
  /** The encoding of the client's latest frame, which replies use. */
  encoding: Encoding = 'json'
  /** The encoding that the subprotocol fixed, if it named one. */
  fixedEncoding: Encoding | undefined
  /** Undefined until the client is authenticated. */
  principal: Principal | undefined
  /** Its client follows maps by cursor, and so wants its own commits back. */
  usesCursors = false
  /** Grows when another user speaks, or the same one with other roles. */
  rightsEpoch = 0
  /** Names the connection to others, where it publishes or is in a room. Made when it is needed first. */
  publicId: string | undefined
  isClosed = false
  /** Who owes what its messages cost: the session itself, unless several stand for one user. */
  payer: object = this
  /** How often it has sent a token of late. */
  attempts: { count: number; readonly sinceMs: number } | undefined
  #rights: PrincipalRights | undefined
  #owed = 0

  constructor(id: string, link: SessionLink, outbox: Outbox) {
    this.id = id
    this.#link = link
    this.outbox = outbox
  }

  /** Where the client is. */
  get remoteAddress(): string {
    return this.#link.remoteAddress
  }

  /** Host and port that the client connected to, where the transport has such. */
  get localAddress(): string | undefined {
    return this.#link.localAddress
  }

  /** When the client gave its latest sign of life, on the server's monotonic clock. */
  get lastAliveAtMs(): number {
    return this.#link.lastAliveAt
  }

  /** Asks the client for a sign of life, which it gives by itself as long as its connection lives. */
  ping(): void {
    this.#link.ping()
  }

  /** Closes the connection with a code and a reason. */
  close(code: number, reason: string): void {
    this.#link.close(code, reason)
  }

  /** Refuses frames above a size from now on. */
  setMaxFrameBytes(bytes: number): void {
    this.#link.setMaxFrameBytes(bytes)
  }

  /** Notes work that was done for the session and whose size was not known before: its next costly message pays for it. */
  owe(cost: number): void {
    this.#owed += cost
  }

  /** What it owes for such work, which is nothing from now on. */
  takeOwed(): number {
    const owed = this.#owed
    this.#owed = 0
    return owed
  }

  /** What the principal may do on a map. */
  rights(authorizer: Authorizer, mapName: string): MapRights {
    return (this.#rights ??= authorizer.rightsOf(this.principal as Principal)).on(mapName)
  }

  /** Changes who speaks, and with it every right. */
  become(principal: Principal): void {
    if (this.principal === undefined || !hasSameRights(this.principal, principal)) this.rightsEpoch++
    if (this.principal?.userId !== principal.userId) this.publicId = undefined
    this.principal = principal
    this.#rights = undefined
  }

  /** Encodes a message as this session's client reads it. */
  encode(message: ServerMessage): Frame {
    return encodeFrame(this.encoding, message)
  }

  /** Sends a message in the session's encoding. */
  send(message: ServerMessage): void {
    this.outbox.push(this.encode(message))
  }

  /** Sends an OP_ACK. */
  acknowledge(ack: OpAck['payload'], requestId?: string): void {
    this.outbox.push(opAckFrame(this.encoding, ack, requestId))
  }

  /** Sends the first message. It is JSON text whatever was agreed on: every client reads that. */
  greet(message: ServerMessage): void {
    this.outbox.push(encodeJson(message))
  }

  /** Tells the client that a message of its was refused. */
  refuse(error: WireError, about?: string, requestId?: string): void {
    const { errorCode, message, details } = error
    this.send({
      type: 'ERROR',
      payload: {
        code: ERRORS[errorCode].status,
        errorCode,
        message,
        ...(details === undefined ? {} : { details }),
        ...(about === undefined ? {} : { about }),
      },
      ...(requestId === undefined ? {} : { requestId }),
    })
  }
}

function hasSameRights(a: Principal, b: Principal): boolean {
  return a.userId === b.userId && a.roles.length === b.roles.length && a.roles.every((role) => b.roles.includes(role))
}
