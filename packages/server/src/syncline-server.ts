import type { IncomingMessage, Server as HttpServer, ServerResponse } from 'node:http'
import type { Metric } from './telemetry/metrics.ts'
import type { ServerSocket, SocketHandler } from './transport/connection.ts'
import type { Health, ServerState } from './transport/http.ts'

/** A Syncline server. */
export interface SynclineServer extends AsyncDisposable {
  /** The port it listens on; 0 before it listens, and where it is only attached. */
  readonly port: number
  readonly state: ServerState
  /** Opens storage and starts to listen, unless the server is attached to another. Throws if it cannot. */
  ready(): Promise<void>
  /** Takes upgrades on `path` of an HTTP server that exists. All others are left to whoever else listens. */
  attach(server: HttpServer): void
  /** Takes a connection over any other transport. */
  accept(socket: ServerSocket): SocketHandler
  /** Answers a request to one of the server's HTTP endpoints. False where it has none for it. */
  handle(request: IncomingMessage, response: ServerResponse): boolean
  health(): Health
  /** What the features say of themselves, by name. */
  inspect(): Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** What the server has counted since its start, and how much there is of what it holds, in the order of names. */
  metrics(): readonly Metric[]
  /** Tells clients to reconnect, stores what is left, and stops. Rejects where storage does not answer in time. */
  shutdown(): Promise<void>
}
