import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Env } from '@syncline/core'
import type { OpAck, ReceivedClientMessage, ServerMessage, WireError } from '@syncline/protocol'
import type { z } from 'zod'
import type { Authorizer, Principal } from './inbound/authorize.ts'
import type { ChangeFeed } from './outbound/change-feed.ts'
import type { Followers } from './outbound/followers.ts'
import type { Source } from './outbound/outbox.ts'
import type { RequestOptions, RequestSession } from './sessions/request-session.ts'
import type { Session } from './sessions/session.ts'
import type { SlicedWork } from './sliced-work.ts'
import type { Store } from './store/store.ts'
import type { Limits } from './telemetry/limits.ts'
import type { Metrics } from './telemetry/metrics.ts'

/** A reply that comes later, when `deliver` is called. What is asked meanwhile does not wait for it. */
export interface Later {
  readonly later: (deliver: (reply: Reply) => void) => void
}

/** The OP_ACK, which is encoded by hand: every write is answered by one. */
export interface Acknowledged {
  readonly ack: OpAck['payload']
}

/** A long reply: each page is made when the socket has room for it. */
export interface Pages {
  readonly pages: Iterator<ServerMessage>
}

/** What is sent for as long as it has something to send, whenever the socket has room. */
export interface Sent {
  readonly source: Source
}

/** The message is refused: an ERROR that names it. */
export interface Refused {
  readonly refuse: WireError
}

/**
 * What a handler answers: nothing, a message, several, an acknowledgement, pages, a source, a refusal, or something that
 * comes later. A promise makes the session wait: its next message is handled when the promise has settled.
 */
export type Reply = ServerMessage | readonly ServerMessage[] | Later | Acknowledged | Pages | Sent | Refused | undefined

/** Handles one type of message. */
export interface Handler<M extends ReceivedClientMessage = ReceivedClientMessage> {
  readonly handle: (session: Session, message: M) => Reply | Promise<Reply>
  /**
   * What the message costs, in records that are looked at for it. Without it, it costs nothing. Asked when `maps` are in
   * memory, before `handle`: a session that has spent more than `rateLimiting` allows is refused RATE_LIMITED instead.
   * What is known only when the work is done goes to `session.owe`.
   */
  readonly cost?: (session: Session, message: M) => number
  /** Maps that must be in memory before `handle` is called. */
  readonly maps?: (message: M) => readonly string[]
  /** The message may be sent before authentication. */
  readonly isPublic?: true
}

/** Handlers by message type. */
export type Handlers = {
  readonly [T in ReceivedClientMessage['type']]?: Handler<Extract<ReceivedClientMessage, { type: T }>>
}

/** Answers the HTTP requests of one path, whatever their method. */
export type Endpoint = (request: IncomingMessage, response: ServerResponse) => void

/** What a running feature is: data. */
export interface Feature {
  readonly handlers: Handlers
  /** HTTP requests that it answers, by path. */
  readonly endpoints?: Readonly<Record<string, Endpoint>>
  readonly inspect?: () => Readonly<Record<string, unknown>>
  readonly stop?: () => void | Promise<void>
}

/** All that a feature may use of the server. */
export interface Kernel {
  /** Clock, timers and chance. When all features have stopped, the timers end that still wait. */
  readonly env: Env
  readonly nodeId: string
  readonly store: Store
  readonly feed: ChangeFeed
  readonly followers: Followers
  /** Does what takes longer than a turn may, for all features together. */
  readonly work: SlicedWork
  readonly authorizer: Authorizer
  /** Counters and gauges, which `server.metrics()` reads. */
  readonly metrics: Metrics
  /** Makes the error for what goes beyond a bound, and counts it. Each bound of a session or user refuses by it. */
  readonly limits: Limits
  /** The secret that tokens are signed with; undefined if the server runs without authentication. */
  readonly jwtSecret: string | undefined
  /** Opens a session for one request that came by another way than a connection. Whoever opens it ends it. */
  openRequest(options: RequestOptions): RequestSession
  /** From now on this principal speaks on the session. */
  identify(session: Session, principal: Principal): void
  /** Calls back when a session has ended, to free what it held. */
  onSessionClosed(listener: (session: Session) => void): void
  /** Calls back when another principal speaks on a session, or the same one with other rights. */
  onSessionChanged(listener: (session: Session) => void): void
}

/** A feature before it runs: one folder that adds messages to the server. */
export interface FeatureDefinition<Name extends string = string, Schema extends z.ZodObject = z.ZodObject> {
  /** Lower-case words, joined by hyphens. */
  readonly name: Name
  /** What `createServer` takes under the name in camelCase. A member without a default must be given. */
  readonly options: Schema
  start(kernel: Kernel, options: z.output<Schema>): Feature
}

/** Declares a feature. */
export function defineFeature<const Name extends string, Schema extends z.ZodObject>(
  definition: FeatureDefinition<Name, Schema>,
): FeatureDefinition<Name, Schema> {
  return definition
}
