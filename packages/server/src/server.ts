import type { IncomingMessage, Server as HttpServer, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Env } from '@syncline/core'
import { CLOSE_CODES, PROTOCOL_VERSION } from '@syncline/protocol'
import { errorText, exitProcess, endableEnv, isolatedEnv, nodeEnv } from './env.ts'
import type { Endpoint, Feature, FeatureDefinition, Kernel } from './feature.ts'
import { builtInFeatures, type ServerOptions } from './features.ts'
import { Authorizer, type Principal } from './inbound/authorize.ts'
import { ConnectionRate } from './inbound/connection-rate.ts'
import { Receiver } from './inbound/receive.ts'
import { resolveOptions, warningsOf, type OptionsOf, type ResolvedOptions } from './options.ts'
import { ChangeFeed } from './outbound/change-feed.ts'
import { Followers } from './outbound/followers.ts'
import { outboxLimitsOf, type Outbox } from './outbound/outbox.ts'
import { Turn } from './outbound/turn.ts'
import { ANONYMOUS, type Session } from './sessions/session.ts'
import type { RequestHost, RequestOptions, RequestSession } from './sessions/request-session.ts'
import { CollectingSession } from './sessions/request-session.ts'
import { SessionRegistry } from './sessions/session-registry.ts'
import { SlicedWork } from './sliced-work.ts'
import { closeStore, stopFeature } from './stop.ts'
import { Store } from './store/store.ts'
import type { SynclineServer } from './syncline-server.ts'
import { Limits } from './telemetry/limits.ts'
import { Metrics, type Metric } from './telemetry/metrics.ts'
import { Connection, type ConnectionHost, type ServerSocket, type SocketHandler } from './transport/connection.ts'
import {
  answerHealth,
  closeHttp,
  createHttp,
  listenOn,
  refuseWhileStopping,
  sendJson,
  type Health,
  type ServerState,
} from './transport/http.ts'
import { WebSocketTransport, pathOf } from './transport/websocket.ts'
import { SERVER_VERSION } from './version.ts'

/** Milliseconds after which clients of a server that stops may come back. */
const RETRY_AFTER_MS = 1_000
/** sysexits: an internal failure. */
const EXIT_SOFTWARE = 70

/**
 * Makes a server. It does nothing yet: `ready()` starts it.
 * Throws `OptionsError` where options cannot be used.
 */
export function createServer<const Features extends readonly FeatureDefinition[]>(
  options: ServerOptions & { readonly features?: Features } & OptionsOf<NoInfer<Features>> = {},
): SynclineServer {
  return new Server(options, resolveOptions(options, options.features ?? builtInFeatures))
}

/** What there is once the features have started. */
interface Running {
  readonly store: Store
  readonly endpoints: ReadonlyMap<string, Endpoint>
  readonly features: readonly { readonly name: string; readonly feature: Feature }[]
  readonly host: ConnectionHost & RequestHost
  /** Ends what features wait for. */
  readonly endTimers: () => void
}

class Server implements SynclineServer {
  readonly #given: ServerOptions
  readonly #options: ResolvedOptions
  readonly #env: Env
  readonly #nodeId: string
  readonly #registry: SessionRegistry
  readonly #metrics = new Metrics()
  readonly #limits = new Limits(this.#metrics)
  readonly #rate: ConnectionRate
  readonly #transport: WebSocketTransport
  readonly #closedListeners: ((session: Session) => void)[] = []
  readonly #changedListeners: ((session: Session) => void)[] = []
  readonly #startedAt: number
  #state: ServerState = 'starting'
  #http: HttpServer | undefined
  #isAttached = false
  #running: Running | undefined
  #ready: Promise<void> | undefined
  #stopped: Promise<void> | undefined
  #connectionCount = 0
  readonly #turn: Turn

  constructor(given: ServerOptions, options: ResolvedOptions) {
    this.#given = given
    this.#options = options
    this.#env = given.env ?? nodeEnv(given.logLevel)
    this.#nodeId = given.nodeId ?? `server-${this.#env.uniqueId()}`
    this.#startedAt = this.#env.monotonic()
    this.#turn = new Turn(this.#env, (outbox, error) => this.#endSessionOf(outbox, error))
    const { connections, rateLimiting } = options
    this.#registry = new SessionRegistry(this.#env, {
      idleTimeoutMs: connections.idleTimeout,
      authTimeoutMs: connections.authTimeout,
    })
    this.#rate = new ConnectionRate(this.#env, rateLimiting, connections.maxConnections, this.#limits)
    this.#metrics.gauge('syncline_connections', 'Open connections.', () => this.#registry.size)
    this.#metrics.gauge(
      'syncline_unstored_entries',
      'Entries that changed and are not stored yet.',
      () => this.#running?.store.dirtyCount ?? 0,
    )
    this.#transport = new WebSocketTransport({
      compression: connections.compression,
      refusal: (remoteAddress) => this.#refusal(remoteAddress),
      onAborted: (remoteAddress) => this.#rate.aborted(remoteAddress),
      onSocket: (socket) => this.#accept(socket, true),
    })
  }

  get port(): number {
    return (this.#http?.address() as AddressInfo | null | undefined)?.port ?? 0
  }

  get state(): ServerState {
    return this.#state
  }

  ready(): Promise<void> {
    if (this.#stopped !== undefined) return Promise.reject(new Error('This server was stopped: make a new one.'))
    return (this.#ready ??= this.#start())
  }

  attach(server: HttpServer): void {
    this.#isAttached = true
    // The other paths of a server that exists are its owner's.
    this.#transport.attach(server, new Set([this.#options.path]))
  }

  accept(socket: ServerSocket): SocketHandler {
    return this.#accept(socket, false)
  }

  #accept(socket: ServerSocket, isAdmitted: boolean): SocketHandler {
    if (this.#running === undefined) throw new Error('The server takes connections only after ready().')
    const connection = new Connection(`connection-${++this.#connectionCount}`, socket, this.#running.host)
    this.#registry.add(connection)
    if (isAdmitted) this.#rate.opened(connection.session)
    const isOpen = this.#options.auth === 'none'
    if (isOpen) this.#identify(connection, ANONYMOUS)
    connection.session.greet({
      type: 'AUTH_REQUIRED',
      serverTime: this.#env.now(),
      protocolVersion: PROTOCOL_VERSION,
      ...(isOpen ? { optional: true } : {}),
    })
    return connection
  }

  handle(request: IncomingMessage, response: ServerResponse): boolean {
    if (answerHealth(request, response, () => this.health())) return true
    const endpoint = this.#running?.endpoints.get(pathOf(request))
    if (endpoint === undefined) return false
    if (this.#state === 'ready') endpoint(request, response)
    else refuseWhileStopping(response, RETRY_AFTER_MS)
    return true
  }

  health(): Health {
    const uptimeMs = this.#env.monotonic() - this.#startedAt
    return {
      status: this.#state === 'ready' ? 'ok' : this.#state,
      state: this.#state,
      connections: this.#registry.size,
      in_flight: this.#running?.store.dirtyCount ?? 0,
      uptime_secs: Math.floor(uptimeMs / 1000),
      uptime: Math.round(uptimeMs),
      version: SERVER_VERSION,
      nodeId: this.#nodeId,
    }
  }

  inspect(): Readonly<Record<string, Readonly<Record<string, unknown>>>> {
    return Object.fromEntries(
      this.#running?.features.map(({ name, feature }) => [name, feature.inspect?.() ?? {}]) ?? [],
    )
  }

  metrics(): readonly Metric[] {
    return this.#metrics.read()
  }

  shutdown(): Promise<void> {
    return (this.#stopped ??= this.#stop())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown()
  }

  async #start(): Promise<void> {
    const env = this.#env
    for (const warning of warningsOf(this.#options)) env.log('warn', warning)
    // Whoever was not told of a change does not know it: all have to come back and ask for what they lack.
    const feed = new ChangeFeed(this.#turnEnv((error) => this.#closeAllAfter(error)))
    const store = await Store.open({
      env,
      storage: this.#given.storage,
      nodeId: this.#nodeId,
      maxClockDriftMs: this.#options.maxClockDriftMs,
      maxUnstoredBytes: this.#options.maxUnstoredBytes,
      limits: this.#limits,
      metrics: this.#metrics,
      retention: this.#options,
      onChange: (map) => feed.note(map),
      onFatal: (error) => this.#fail(error),
    })
    try {
      this.#running = this.#startFeatures(store, feed)
    } catch (error) {
      // Nobody else knows the store yet: its file would stay locked until the process ends.
      await store.close(this.#options.shutdownTimeoutMs)
      throw error
    }
    if (this.#options.listen && !this.#isAttached) await this.#listen()
    this.#state = 'ready'
  }

  #startFeatures(store: Store, feed: ChangeFeed): Running {
    const turnEnv = this.#turnEnv((error) => this.#logFailure('Work that a feature had put off failed', error))
    const { env, end: endTimers } = endableEnv(turnEnv)
    const kernel = this.#kernel(env, store, feed)
    const features = this.#options.features.map(({ definition, options }) => ({
      name: definition.name,
      feature: definition.start(kernel, options),
    }))
    const handlers = features.map(({ feature }) => feature.handlers)
    const receiver = new Receiver({ ...kernel, env: this.#env }, this.#options.rateLimiting, handlers)
    const endpoints = new Map(features.flatMap(({ feature }) => Object.entries(feature.endpoints ?? {})))
    return { store, features, endpoints, host: this.#connectionHost(receiver, kernel.work), endTimers }
  }

  #kernel(env: Env, store: Store, feed: ChangeFeed): Kernel {
    const { auth, mode, securityPolicies, jwtSecret } = this.#options
    const isOpen = auth === 'none' || mode === 'development'
    const work = new SlicedWork(env)
    this.#metrics.gauge('syncline_waiting_work', 'Long work that waits for its turns.', () => work.waitingCount)
    return {
      env,
      nodeId: this.#nodeId,
      store,
      feed,
      followers: new Followers(store, feed, (session, error) => this.#endSession(session, error)),
      work,
      authorizer: new Authorizer(securityPolicies, isOpen),
      metrics: this.#metrics,
      limits: this.#limits,
      jwtSecret: auth === 'none' ? undefined : jwtSecret,
      openRequest: (options) => this.#openRequest(options),
      identify: (session, principal) => this.#identify(session, principal),
      onSessionClosed: (listener) => this.#closedListeners.push(listener),
      onSessionChanged: (listener) => this.#changedListeners.push(listener),
    }
  }

  #openRequest(options: RequestOptions): RequestSession {
    const { host } = this.#running as Running
    const request = new CollectingSession(`request-${++this.#connectionCount}`, host, options)
    if (this.#options.auth === 'none') this.#identify(request.session, ANONYMOUS)
    return request
  }

  /** The environment of what sends to clients: what it puts off until the turn ends leaves in that same turn. */
  #turnEnv(onError: (error: unknown) => void): Env {
    return isolatedEnv(this.#env, onError, (run) => this.#turn.atEnd(run))
  }

  #connectionHost(receiver: Receiver, work: SlicedWork): ConnectionHost & RequestHost {
    const { connections, writeCoalescing } = this.#options
    return {
      receiver,
      work,
      outboxLimits: outboxLimitsOf(writeCoalescing, connections.maxOutboundBytes),
      limits: this.#limits,
      inboxFrames: connections.inboxFrames,
      inbound: { bytes: 0, maxBytes: connections.maxInboundBytes },
      now: () => this.#env.monotonic(),
      schedule: (outbox) => this.#turn.schedule(outbox),
      endOfTurn: (run) => this.#turn.atEnd(run),
      after: (delayMs, run) =>
        isolatedEnv(this.#env, (error) => this.#logFailure('What waited could not be sent', error)).after(delayMs, run),
      onClosed: (connection) => this.#closed(connection),
      onEnded: (session) => this.#ended(session),
    }
  }

  /** A socket that fails ends its own session and no other. */
  #endSessionOf(outbox: Outbox, error: unknown): void {
    outbox.close()
    const session = this.#registry.sessionOf(outbox)
    if (session === undefined) this.#logFailure('Sending to a connection that is gone failed', error)
    else this.#endSession(session, error)
  }

  #endSession(session: Session, error: unknown): void {
    this.#logFailure('A connection was closed because sending to it failed', error)
    try {
      session.close(CLOSE_CODES.INTERNAL_ERROR, 'Internal error')
    } catch (failure) {
      this.#logFailure('A connection could not be closed', failure)
    }
  }

  #closeAllAfter(error: unknown): void {
    this.#logFailure('All connections are closed because telling them of changes failed', error)
    this.#registry.closeAll(CLOSE_CODES.INTERNAL_ERROR, 'Internal error')
  }

  #logFailure(what: string, error: unknown): void {
    this.#env.log('error', what, { error: errorText(error) })
  }

  #identify(target: Session | Connection, principal: Principal): void {
    const session = target instanceof Connection ? target.session : target
    const isFirst = session.principal === undefined
    session.become(principal)
    if (!isFirst) {
      for (const listener of this.#changedListeners) listener(session)
      return
    }
    this.#rate.settled(session)
    session.setMaxFrameBytes(this.#options.connections.maxPayload)
  }

  #closed(connection: Connection): void {
    this.#registry.delete(connection)
    this.#rate.settled(connection.session)
    this.#ended(connection.session)
  }

  #ended(session: Session): void {
    for (const listener of this.#closedListeners) {
      try {
        listener(session)
      } catch (error) {
        this.#logFailure('A feature failed to let go of a session that has ended', error)
      }
    }
  }

  #refusal(remoteAddress: string): { status: number; reason: string } | undefined {
    if (this.#state !== 'ready') return { status: 503, reason: 'Service Unavailable' }
    const isAdmitted = this.#rate.admit(this.#registry.size, remoteAddress)
    return isAdmitted ? undefined : { status: 503, reason: 'Server overloaded' }
  }

  async #listen(): Promise<void> {
    const { connections, port, host, path } = this.#options
    const http = createHttp(connections, (request, response) => this.#answer(request, response))
    this.#transport.attach(http, new Set([path, '/ws', '/']))
    await listenOn(http, { port, host, backlog: connections.backlog })
    this.#http = http
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    if (this.handle(request, response)) return
    if (this.#given.onRequest !== undefined) this.#given.onRequest(request, response)
    else sendJson(response, 404, { code: 404, errorCode: 'NOT_FOUND', message: 'There is no such endpoint.' })
  }

  async #stop(): Promise<void> {
    if (this.#ready !== undefined) await this.#ready.catch(() => {})
    const deadlineMs = this.#env.monotonic() + this.#options.shutdownTimeoutMs
    const leftMs = (): number => Math.max(0, deadlineMs - this.#env.monotonic())
    this.#state = 'draining'
    this.#running?.store.committer.stop(RETRY_AFTER_MS)
    for (const session of this.#registry.sessions()) {
      session.send({ type: 'SHUTDOWN_PENDING', retryAfter: RETRY_AFTER_MS })
    }
    await this.#whenDurable(leftMs())
    this.#registry.closeAll(CLOSE_CODES.GOING_AWAY, 'Server Shutdown')
    for (const { name, feature } of this.#running?.features.toReversed() ?? []) {
      await stopFeature(this.#env, name, feature, leftMs())
    }
    this.#running?.endTimers()
    const failure = await closeStore(this.#env, this.#running?.store, leftMs(), this.#options.shutdownTimeoutMs)
    await this.#transport.stop(this.#env)
    if (this.#http !== undefined) await closeHttp(this.#http, this.#env, leftMs())
    this.#state = 'stopped'
    if (failure !== undefined) throw failure
  }

  /** Waits until what clients were promised is stored, so that their acknowledgements leave before they are cut. */
  async #whenDurable(timeoutMs: number): Promise<void> {
    const committer = this.#running?.store.committer
    if (committer === undefined) return
    await new Promise<void>((resolve) => committer.whenDurable(timeoutMs, () => resolve()))
  }

  #fail(error: Error): void {
    this.#state = 'stopped'
    this.#env.log('error', 'The server ends: what is on disk is not known after this failure', { cause: error.message })
    if (this.#given.onFatal === undefined) exitProcess(EXIT_SOFTWARE)
    else this.#given.onFatal(error)
  }
}
