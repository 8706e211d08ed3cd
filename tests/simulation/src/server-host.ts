import { builtInFeatures, createServer, type FeatureDefinition, type SynclineServer } from '@syncline/server'
import type { StorageAdapter } from '@syncline/storage'
import { z } from 'zod'
import { SEARCHED } from './live-queries.ts'
import { FIELDS } from './steps.ts'
import { POLICIES, SECRET } from './users.ts'
import { Process } from './virtual-env.ts'
import type { World } from './world.ts'

/** How the server's process ends. */
export type ServerEnd = 'killed' | 'killed, sent data lost' | 'power off'

/** Where the server's processes run, one after the other: it starts them, and ends them in every way that there is. */
export class ServerHost {
  /** How often the server's process ended from one moment to the next. */
  ends = 0
  readonly #world: World
  #running: { readonly process: Process; readonly server: SynclineServer } | undefined
  #runs = 0

  constructor(world: World) {
    this.#world = world
  }

  /** Which process of the server runs, or ran last. */
  get run(): number {
    return this.#runs
  }

  /** The server runs, and has nothing left to do in this turn. */
  get isTurnOver(): boolean {
    return this.#running?.process.isTurnOver === true
  }

  start(): void {
    if (this.#running !== undefined) return
    const { scheduler, serverClock, oracle, disk, network, options, wrappers, signIn } = this.#world
    const run = ++this.#runs
    const random = this.#world.random.fork(`server ${run}`)
    const process = new Process(`server.${run}`, scheduler, serverClock, random, 'loop', (level, message, details) => {
      if (level === 'error' && message.startsWith('A connection was closed'))
        oracle.fail('fault', `${message}: ${String(details?.['error'])}`)
    })
    const storage: StorageAdapter = disk.storage(process)
    const server = createServer({
      env: process.env,
      storage: wrappers.serverStorage === undefined ? storage : wrappers.serverStorage(storage),
      listen: false,
      gcIntervalMs: options.gcIntervalMs,
      ...(signIn === undefined
        ? { auth: 'none' as const }
        : { auth: 'jwt' as const, jwtSecret: SECRET, securityPolicies: [...POLICIES] }),
      features: [...builtInFeatures, this.#probe(process)],
      onFatal: () => scheduler.after(0, () => this.end('killed')),
      ...(options.bareClients.some(({ searches }) => searches)
        ? { search: { maps: { [SEARCHED.mapName]: { fields: [...FIELDS] } } } }
        : {}),
      ...(options.gathers ? { topics: { maxQueuedBytes: 4_000 } } : {}),
      ...(options.isBulky ? {} : { writeCoalescing: { maxBytes: 1_500 }, connections: { maxOutboundBytes: 60_000 } }),
    })
    this.#running = { process, server }
    scheduler.note(process.name, 'starts')
    server.ready().then(
      () => {
        if (!process.isAlive) return
        scheduler.note(process.name, 'is ready')
        network.server = { process, accept: (socket) => server.accept(socket) }
      },
      (error: unknown) => {
        // Storage could not be opened: a supervisor tries again.
        scheduler.note(process.name, `cannot start: ${String(error)}`)
        this.end('killed')
        scheduler.after(2_000, () => this.start())
      },
    )
  }

  /** The server's process ends from one moment to the next. */
  end(how: ServerEnd): void {
    const running = this.#running
    if (running === undefined) return
    const { scheduler, network, oracle, disk } = this.#world
    scheduler.note(running.process.name, how)
    this.ends++
    this.#running = undefined
    network.server = undefined
    oracle.kernel = undefined
    running.process.kill()
    disk.crash()
    for (const connection of network.connections) {
      if (!connection.isOpen) continue
      connection.serverDied({ isTold: how !== 'power off', isSentLost: how !== 'killed' })
    }
  }

  /** The server is asked to stop, and does. */
  stop(onStopped: () => void): void {
    const running = this.#running
    if (running === undefined || this.#world.network.server === undefined) return onStopped()
    const { scheduler, network, oracle, disk } = this.#world
    const { process, server } = running
    scheduler.note(process.name, 'is asked to stop')
    network.server = undefined
    const stopsAtMs = scheduler.nowMs
    server.shutdown().then(
      () => {
        if (!process.isAlive) return onStopped()
        if (scheduler.nowMs - stopsAtMs > 32_000) oracle.fail('INV-24', 'The server took more than 30 s to stop')
        if (disk.fault === undefined) this.#checkClean()
        scheduler.note(process.name, 'has stopped')
        process.kill()
        this.#running = undefined
        oracle.kernel = undefined
        for (const connection of network.connections) {
          if (connection.isOpen) connection.serverDied({ isTold: true, isSentLost: false })
        }
        onStopped()
      },
      (error: unknown) => this.#world.threw(error),
    )
    // A supervisor waits only so long.
    scheduler.after(40_000, () => {
      if (!process.isAlive || this.#running !== running) return
      oracle.fail('INV-24', 'The server did not stop within 40 s')
    })
  }

  #probe(process: Process): FeatureDefinition {
    return {
      name: 'simulation-probe',
      options: z.object({}),
      start: (kernel) => {
        if (process.isAlive) this.#world.oracle.kernel = kernel
        return { handlers: {} }
      },
    }
  }

  /** INV-24: after a planned stop everything that was in memory is on disk. */
  #checkClean(): void {
    for (const mapName of this.#world.maps) {
      for (const [key, entry] of this.#world.oracle.serverMap(mapName)?.entriesByKey ?? []) {
        if (this.#world.disk.stored(mapName, key)?.seq !== entry.seq)
          this.#world.oracle.fail(
            'INV-24',
            `After a clean stop '${key}' of ${mapName} is not on disk as it was at ${entry.seq}`,
          )
      }
    }
  }
}
