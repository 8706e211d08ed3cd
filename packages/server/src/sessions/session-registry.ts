import type { Env } from '@syncline/core'
import { CLOSE_CODES, ERRORS } from '@syncline/protocol'
import { errorText } from '../env.ts'
import type { Outbox } from '../outbound/outbox.ts'
import type { Connection } from '../transport/connection.ts'
import type { Session } from './session.ts'

/** How long a connection may be silent, and how long it may stay unauthenticated. */
export interface LivenessLimits {
  readonly idleTimeoutMs: number
  readonly authTimeoutMs: number
}

/** All connections of a server. Sweeps out those that are dead, too long without AUTH, or whose rights have ended. */
export class SessionRegistry {
  readonly #env: Env
  readonly #limits: LivenessLimits
  readonly #connections = new Set<Connection>()
  #cancelSweep: (() => void) | undefined

  constructor(env: Env, limits: LivenessLimits) {
    this.#env = env
    this.#limits = limits
  }

  get size(): number {
    return this.#connections.size
  }

  add(connection: Connection): void {
    this.#connections.add(connection)
    this.#cancelSweep ??= this.#env.after(1_000, () => this.#sweep())
  }

  delete(connection: Connection): void {
    this.#connections.delete(connection)
  }

  *sessions(): IterableIterator<Session> {
    for (const connection of this.#connections) yield connection.session
  }

  /** The session that sends from an outbox. */
  sessionOf(outbox: Outbox): Session | undefined {
    for (const session of this.sessions()) if (session.outbox === outbox) return session
    return undefined
  }

  /** Closes every connection, after it was sent what is queued for it. */
  closeAll(code: number, reason: string): void {
    for (const connection of this.#connections) this.#isolated(connection, () => connection.close(code, reason))
    this.#cancelSweep?.()
    this.#cancelSweep = undefined
  }

  #sweep(): void {
    this.#cancelSweep = undefined
    const now = this.#env.monotonic()
    const wall = this.#env.now()
    for (const connection of this.#connections) this.#isolated(connection, () => this.#sweepOne(connection, now, wall))
    if (this.#connections.size > 0) this.#cancelSweep = this.#env.after(1_000, () => this.#sweep())
  }

  #sweepOne(connection: Connection, now: number, wall: number): void {
    const { session } = connection
    const silentMs = now - connection.lastAliveAt
    if (silentMs > this.#limits.idleTimeoutMs) connection.close(CLOSE_CODES.HEARTBEAT_TIMEOUT, 'Heartbeat timeout')
    else if (session.principal === undefined) {
      if (now - connection.openedAt > this.#limits.authTimeoutMs)
        connection.close(CLOSE_CODES.UNAUTHORIZED, 'Auth timeout')
    } else if ((session.principal.expiresAtMs ?? Infinity) <= wall) endRights(session)
    else if (silentMs > this.#limits.idleTimeoutMs / 2) connection.socket.ping()
  }

  /** One connection whose socket fails does not keep the others from their turn. */
  #isolated(connection: Connection, work: () => void): void {
    try {
      work()
    } catch (error) {
      const { id } = connection.session
      this.#env.log('error', 'A connection was ended because its socket failed', {
        session: id,
        error: errorText(error),
      })
      connection.socket.terminate()
      connection.onClose()
    }
  }
}

/** Ends a session whose token has expired. */
function endRights(session: Session): void {
  session.send({
    type: 'AUTH_FAIL',
    error: 'jwt expired',
    code: ERRORS.UNAUTHORIZED.status,
    errorCode: 'UNAUTHORIZED',
  })
  session.close(CLOSE_CODES.UNAUTHORIZED, 'Unauthorized')
}
