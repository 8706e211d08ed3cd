import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Env } from '@syncline/core'
import { ERRORS, wireError } from '@syncline/protocol'
import { within } from '../env.ts'
import { pathOf } from './websocket.ts'

// An import of it reads every name that it has, two of which load Node's whole client for HTTP.
const { createServer } = process.getBuiltinModule('node:http')

/** Least and greatest time between two looks at requests that take too long. The latter is Node's own. */
const MIN_CHECK_MS = 50
const MAX_CHECK_MS = 30_000

/** How long requests and their connections may take, in milliseconds. 0 is no limit. */
export interface HttpLimits {
  readonly serverTimeout: number
  readonly keepAliveTimeout: number
  readonly headersTimeout: number
}

/** An HTTP server that does not listen yet. */
export function createHttp(
  { serverTimeout, keepAliveTimeout, headersTimeout }: HttpLimits,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Server {
  const http = createServer(
    {
      requestTimeout: serverTimeout,
      keepAliveTimeout,
      headersTimeout: serverTimeout === 0 ? headersTimeout : Math.min(headersTimeout, serverTimeout),
      connectionsCheckingInterval: checkInterval(serverTimeout, headersTimeout),
    },
    answer,
  )
  http.timeout = serverTimeout
  const sockets = new Set<Socket>()
  http.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  socketsOf.set(http, sockets)
  return http
}

const socketsOf = new WeakMap<Server, ReadonlySet<Socket>>()

/** Starts to listen. Rejects if it cannot. */
export function listenOn(http: Server, where: { port: number; host: string; backlog: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    http.once('error', reject)
    http.listen(where, () => {
      http.off('error', reject)
      resolve()
    })
  })
}

/** Takes no more requests, and cuts those that are not answered in time. */
export async function closeHttp(http: Server, env: Env, timeoutMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => http.close(() => resolve()))
  http.closeIdleConnections()
  // Browsers open connections ahead of need. To Node those are neither idle nor busy, and it would wait for them.
  for (const socket of socketsOf.get(http) ?? []) if (socket.bytesRead === 0) socket.destroy()
  if (await within(env, timeoutMs, closed)) return
  http.closeAllConnections()
  await closed
}

/** How often Node looks for requests that take too long: often enough for the shorter of the limits, 0 being none. */
function checkInterval(...limitsMs: readonly number[]): number {
  const shortest = Math.min(...limitsMs.filter((limit) => limit > 0))
  return Math.max(MIN_CHECK_MS, Math.min(MAX_CHECK_MS, Math.floor(shortest / 4)))
}

/** Where a server is in its life. */
export type ServerState = 'starting' | 'ready' | 'draining' | 'stopped'

/** What `/health` says. */
export interface Health {
  /** `ok` while clients are served, otherwise the `state`. */
  readonly status: 'ok' | Exclude<ServerState, 'ready'>
  readonly state: ServerState
  readonly connections: number
  /** Writes that wait to be stored. */
  readonly in_flight: number
  readonly uptime_secs: number
  readonly uptime: number
  readonly version: string
  readonly nodeId: string
}

/** Answers the endpoints that every server has. False where the path is none of them. */
export function answerHealth(request: IncomingMessage, response: ServerResponse, health: () => Health): boolean {
  const path = pathOf(request)
  if (path !== '/health' && path !== '/health/live' && path !== '/health/ready') return false
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end()
    return true
  }
  const now = health()
  const status = path === '/health/live' ? 'ok' : now.status
  sendJson(response, status === 'ok' ? 200 : 503, path === '/health' ? now : { status })
  return true
}

/** Sends a JSON body that nobody keeps. */
export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' })
  response.end(JSON.stringify(body))
}

/** Answers a request that came too late. */
export function refuseWhileStopping(response: ServerResponse, retryAfterMs: number): void {
  const { errorCode, message } = wireError('SHUTTING_DOWN')
  response.setHeader('retry-after', Math.ceil(retryAfterMs / 1_000))
  sendJson(response, ERRORS[errorCode].status, { error: message, code: ERRORS[errorCode].status, errorCode, message })
}
