import type { Encoding } from '@syncline/protocol'
import type { ServerSocket, SocketHandler } from '@syncline/server'
import { Connection, type ClientEnd, type ConnectionHost, type NetworkWatcher } from './connection.ts'
import type { Random } from './random.ts'
import { FAST } from './stream.ts'
import type { Process, Scheduler } from './virtual-env.ts'

/** The server as the network finds it. */
export interface ListeningServer {
  readonly process: Process
  accept(socket: ServerSocket): SocketHandler
}

/** All connections, and what befalls them. */
export class Network implements ConnectionHost {
  readonly connections = new Set<Connection>()
  /** Where connections lead; undefined while no server listens. */
  server: ListeningServer | undefined
  watcher: NetworkWatcher = {
    serverSends: (_, frame) => frame,
    serverReceives() {},
    clientSends() {},
    clientReceived() {},
  }
  readonly #slow = new Map<string, number>()
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly #partitioned = new Map<string, 'up' | 'down' | 'both'>()
  #lastId = 0

  constructor(scheduler: Scheduler, random: Random) {
    this.#scheduler = scheduler
    this.#random = random
  }

  /** Connects a client's process. Its end is told when that has worked or failed. */
  connect(process: Process, machine: string, encoding: Encoding | undefined, client: ClientEnd): Connection {
    const random = this.#random.fork(String(++this.#lastId))
    const quality = {
      latencyMs: random.skewed(0.2, 80),
      jitterMs: random.skewed(0, 60),
      bytesPerMs: this.#slow.get(machine) ?? FAST,
    }
    const connection = new Connection(
      this.#lastId,
      this,
      this.#scheduler,
      random,
      quality,
      client,
      process,
      machine,
      encoding,
    )
    this.connections.add(connection)
    this.#scheduler.after(quality.latencyMs * 2, () => this.#knock(connection, random, 0))
    return connection
  }

  /** Lets a machine read slowly, or as fast as ever. */
  setSpeed(machine: string, bytesPerMs: number | undefined): void {
    if (bytesPerMs === undefined) this.#slow.delete(machine)
    else this.#slow.set(machine, bytesPerMs)
    for (const { machine: other, quality } of this.connections) {
      if (other === machine) quality.bytesPerMs = bytesPerMs ?? FAST
    }
  }

  /** Cuts a machine off, without a word to anyone. */
  partition(machine: string, direction: 'up' | 'down' | 'both'): void {
    this.#partitioned.set(machine, direction)
    for (const connection of this.connections) if (connection.machine === machine) connection.stall(direction, true)
  }

  /** Joins a machine again: what was held goes on its way. */
  heal(machine: string): void {
    this.#partitioned.delete(machine)
    for (const connection of this.connections) if (connection.machine === machine) connection.stall('both', false)
  }

  ended(connection: Connection): void {
    this.connections.delete(connection)
  }

  /** A connection is tried again and again until it is there or the system gives up. */
  #knock(connection: Connection, random: Random, attempts: number): void {
    if (!this.connections.has(connection)) return
    if (this.#partitioned.has(connection.machine)) {
      if (attempts < 8)
        this.#scheduler.after(1_000 * 1.5 ** attempts, () => this.#knock(connection, random, attempts + 1))
      else this.#giveUp(connection)
    } else if (this.server === undefined) this.#giveUp(connection)
    else connection.establish(this.server)
  }

  #giveUp(connection: Connection): void {
    this.connections.delete(connection)
    connection.refuse()
  }
}
