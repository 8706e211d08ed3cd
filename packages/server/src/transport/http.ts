import type { IncomingMessage, ServerResponse } from 'node:http'
import { pathOf } from './websocket.ts'

/** Where a server is in its life. */
export type ServerState = 'starting' | 'ready' | 'draining' | 'stopped'

/** What `/health` says. */
export interface Health {
  readonly status: 'ok'
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
  const isUp = path === '/health/ready' ? now.state === 'ready' : true
  const body = path === '/health' ? now : { status: isUp ? 'ok' : now.state }
  sendJson(response, isUp ? 200 : 503, body)
  return true
}

/** Sends a JSON body that nobody keeps. */
export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' })
  response.end(JSON.stringify(body))
}
