import type { Cancel } from '@syncline/core'
import {
  PROTOCOL_VERSION,
  SUBPROTOCOLS,
  encodeJson,
  type ClientMessage,
  type ItemOpMessage,
  type ReceivedServerMessage,
} from '@syncline/protocol/codec'
import type { ClientEnv } from '../env.ts'
import { SynclineError, anotherUser } from '../errors.ts'
import { Backoff } from '../session/backoff.ts'
import type { SessionClock } from '../session/clock.ts'
import type { ClientSocket } from './socket.ts'

const PING_MS = 5_000
const DEAD_MS = 15_000
/** How long before a token expires the next one is asked for. */
const EXPIRING_MS = 30_000
const UNAUTHORIZED = 4001
/** Who everyone is on a server that asks for no token; it says so itself to those who have one. */
const ANONYMOUS = 'anonymous'

/** Why a token is asked for: a new connection, one that ends soon, one that the server did not take. */
export interface AuthContext {
  readonly reason: 'connect' | 'expiring' | 'rejected'
  /** Aborted when the answer is no longer needed. */
  readonly signal: AbortSignal
}

/** Gives the token to sign in with, or null where there is none. */
export type AuthCallback = (context: AuthContext) => Promise<string | null> | string | null

/** Where the connection stands. */
export type ConnectionState = 'offline' | 'connecting' | 'online' | 'needs-auth' | 'error' | 'closed'

/** What the connection tells its client. */
export interface ConnectionHost {
  readonly env: ClientEnv
  readonly clock: SessionClock
  /** The text of a frame, as a message; undefined where it is none that this client knows. */
  decode(text: string): ReceivedServerMessage | undefined
  /** A message of the session. */
  received(message: ReceivedServerMessage): void
  /** Whose session it is that begins. */
  identified(user: string): void
  stateChanged(state: ConnectionState): void
  pinged(): void
  ponged(): void
  report(error: SynclineError): void
}

/** Keeps one session with the server: connects, signs in, listens whether it lives, and comes back after failures. */
export class Connection {
  readonly #host: ConnectionHost
  readonly #url: string
  readonly #auth: AuthCallback | undefined
  readonly #backoff: Backoff
  state: ConnectionState = 'offline'
  reason: SynclineError | undefined
  #socket: ClientSocket | undefined
  /** Aborted when the present socket is given up. */
  #attempt = new AbortController()
  #openedAt = 0
  /** The server has spoken, and answers a PING. */
  #isGreeted = false
  #heardAt = 0
  #authSentAt = 0
  /** The latest PING, by the wall clock and by the monotonic one. */
  #ping: { readonly timestamp: number; readonly sentAt: number } | undefined
  #retryAfterMs = 0
  #token: string | undefined
  #nextToken: string | undefined
  /** Whose session it is. */
  #user: string | undefined
  #timers: Cancel[] = []
  readonly #stopWake: Cancel

  constructor(host: ConnectionHost, url: string, auth: AuthCallback | undefined) {
    this.#host = host
    this.#url = url.replace(/^http/, 'ws')
    this.#auth = auth
    this.#backoff = new Backoff(host.env)
    this.#stopWake = host.env.onWake(() => this.#wake())
  }

  /** Connects now, whatever was waited for. */
  connect(): void {
    if (this.#socket !== undefined || this.state === 'closed') return
    this.#backoff.stop()
    this.#open()
  }

  /** Disconnects and stays so. */
  disconnect(state: ConnectionState = 'offline', reason?: SynclineError): void {
    this.#backoff.stop()
    this.#drop()
    this.#nextToken = undefined
    this.#setState(state, reason)
  }

  /** Disconnects for ever. */
  close(): void {
    this.#stopWake()
    this.disconnect('closed')
  }

  /** Gives up the present connection and makes a new one. */
  restart(reason: SynclineError): void {
    if (this.#socket !== undefined) this.#retry(reason)
  }

  send(message: ClientMessage | ItemOpMessage): void {
    this.#socket?.send(encodeJson(message))
  }

  #setState(state: ConnectionState, reason?: SynclineError): void {
    this.reason = reason
    this.state = state
    this.#host.stateChanged(state)
  }

  #open(): void {
    const { env } = this.#host
    let socket: ClientSocket
    try {
      socket = env.openSocket(this.#url, [SUBPROTOCOLS.json])
    } catch (cause) {
      const fix = cause instanceof ReferenceError ? ' Node has WebSocket from version 22 on.' : ''
      this.#fail(new SynclineError('INVALID_REQUEST', `There is no connecting to ${this.#url}.${fix}`, { cause }))
      return
    }
    this.#socket = socket
    this.#isGreeted = false
    this.#attempt.abort()
    this.#attempt = new AbortController()
    this.#openedAt = env.monotonic()
    this.#heardAt = env.monotonic()
    socket.onText = (text) => {
      if (this.#socket === socket) this.#receive(text)
    }
    socket.onClose = (code, reason) => {
      if (this.#socket === socket) this.#closed(code, reason)
    }
    this.#every(PING_MS, () => this.#beat())
    this.#setState('connecting', this.reason)
  }

  /** Gives up the present socket. */
  #drop(): void {
    const socket = this.#socket
    this.#socket = undefined
    this.#attempt.abort()
    for (const cancel of this.#timers) cancel()
    this.#timers = []
    socket?.close(1000)
  }

  /** Gives up the present socket and comes back later. */
  #retry(reason: SynclineError): void {
    this.#drop()
    this.#setState('offline', reason)
    // What the server asks for is spread too: everyone hears it at once.
    this.#backoff.pause(this.#retryAfterMs * (1 + this.#host.env.random() / 2), () => this.#open())
    this.#retryAfterMs = 0
  }

  #fail(reason: SynclineError): void {
    this.disconnect('error', reason)
    this.#host.report(reason)
  }

  #closed(code: number, reason: string): void {
    this.#socket = undefined
    const error = new SynclineError('OFFLINE', reason || `The connection was closed (${code}).`)
    if (code === UNAUTHORIZED) void this.#rejected(new SynclineError('UNAUTHORIZED', reason || undefined))
    else this.#retry(error)
  }

  #every(periodMs: number, run: () => void): void {
    let cancel: Cancel
    const next = (): void => {
      cancel = this.#host.env.after(periodMs, () => {
        next()
        run()
      })
    }
    next()
    this.#timers.push(() => cancel())
  }

  #beat(): void {
    const { env } = this.#host
    if (env.monotonic() - this.#heardAt >= DEAD_MS) {
      this.#retry(new SynclineError('OFFLINE', 'The server is silent.'))
    } else if (this.#isGreeted) {
      this.#host.pinged()
      this.#ping = { timestamp: env.now(), sentAt: env.monotonic() }
      this.send({ type: 'PING', timestamp: this.#ping.timestamp })
    }
  }

  #wake(): void {
    if (this.#socket !== undefined) this.#beat()
    else if (this.#backoff.isPaused) this.connect()
  }

  #receive(text: string): void {
    const { env, clock } = this.#host
    this.#heardAt = env.monotonic()
    const message = this.#host.decode(text)
    if (message === undefined) return
    switch (message.type) {
      case 'AUTH_REQUIRED':
        this.#isGreeted = true
        clock.synchronize(this.#openedAt, message.serverTime)
        void this.#signIn(message.optional === true)
        return
      case 'AUTH_ACK':
        clock.synchronize(this.#authSentAt, message.serverTime)
        this.#online(message.userId)
        return
      case 'AUTH_FAIL':
        this.#refused(new SynclineError(message.errorCode, message.error))
        return
      case 'PONG':
        if (message.timestamp === this.#ping?.timestamp) clock.synchronize(this.#ping.sentAt, message.serverTime)
        if (this.state === 'online') this.#backoff.reset()
        this.#host.ponged()
        return
      case 'SHUTDOWN_PENDING':
        this.#retryAfterMs = message.retryAfter
        return
      default:
        if (this.state === 'online') this.#host.received(message)
        else if (message.type === 'ERROR') {
          this.#refused(new SynclineError(message.payload.errorCode, message.payload.message))
        }
    }
  }

  /** There is no session for now, for this token, or for this version. */
  #refused(error: SynclineError): void {
    if (error.retryable) this.#retry(error)
    else if (error.code === 'UNAUTHORIZED') void this.#rejected(error)
    else this.#fail(error)
  }

  async #signIn(isOptional: boolean): Promise<void> {
    let token: string | null = this.#nextToken ?? null
    this.#nextToken = undefined
    try {
      token ??= await this.#ask('connect')
    } catch {
      return
    }
    if (token !== null) this.#sendToken(token)
    else if (isOptional) this.#online(ANONYMOUS)
    else this.disconnect('needs-auth', new SynclineError('UNAUTHORIZED', 'There is no token to sign in with.'))
  }

  /** The server did not take the token: without another one there is no use in coming back. */
  async #rejected(reason: SynclineError): Promise<void> {
    this.#drop()
    this.#setState('connecting', reason)
    this.#attempt = new AbortController()
    try {
      const token = await this.#ask('rejected')
      if (token === null) {
        this.disconnect('needs-auth', reason)
        return
      }
      this.#nextToken = token
    } catch {
      return
    }
    this.#retry(reason)
  }

  /** Asks the application for a token. Rejects when the answer no longer matters; then someone else goes on. */
  async #ask(reason: AuthContext['reason']): Promise<string | null> {
    const { signal } = this.#attempt
    let token: string | null = null
    try {
      token = (await this.#auth?.({ reason, signal })) ?? null
    } catch (cause) {
      if (!signal.aborted) {
        const error = new SynclineError('UNAUTHORIZED', 'The auth callback failed.', { cause })
        this.#host.report(error)
        if (reason !== 'expiring') this.#retry(error)
      }
      throw cause
    }
    signal.throwIfAborted()
    return token
  }

  #sendToken(token: string): void {
    const { exp, sub } = claimsOf(token)
    this.#token = token
    this.#authSentAt = this.#host.env.monotonic()
    this.send({ type: 'AUTH', token, protocolVersion: PROTOCOL_VERSION })
    if (typeof exp !== 'number' || this.#auth === undefined) return
    const leftMs = exp * 1_000 - this.#host.clock.now()
    const refresh = (): void => {
      this.#ask('expiring').then(
        (another) => {
          if (another === null) return
          // In this session, writes of the one might arrive under the name of the other.
          if (claimsOf(another).sub === sub) this.#sendToken(another)
          else this.#userChanged(another)
        },
        () => {},
      )
    }
    this.#timers.push(this.#host.env.after(Math.max(leftMs - EXPIRING_MS, leftMs / 2, 1_000), refresh))
  }

  #online(user: string): void {
    if (this.state === 'connecting') {
      this.#user = user
      this.#host.identified(user)
      this.#setState('online')
    } else if (user !== this.#user) this.#userChanged(this.#token)
  }

  /** Begins a session of its own for another user's token. */
  #userChanged(token: string | undefined): void {
    this.#nextToken = token
    this.#retry(anotherUser())
  }
}

/** What a JSON Web Token says of its end, in seconds since 1970, and of its user; nothing where it cannot be read. */
function claimsOf(token: string): { readonly exp?: unknown; readonly sub?: unknown } {
  try {
    const payload = atob((token.split('.')[1] as string).replaceAll('-', '+').replaceAll('_', '/'))
    return (JSON.parse(payload) ?? {}) as { exp?: unknown; sub?: unknown }
  } catch {
    return {}
  }
}
