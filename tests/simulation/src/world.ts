import {
  createClient,
  type Client,
  type ClientEnv,
  type ClientSocket,
  type Write,
  type WriteOptions,
} from '@syncline/client'
import { compareStamps, type LwwRecord } from '@syncline/core'
import { LIMITS, SUBPROTOCOLS, type ClientOp, type Encoding, type Frame, type WriteConcern } from '@syncline/protocol'
import { builtInFeatures, createServer, type FeatureDefinition, type SynclineServer } from '@syncline/server'
import type { StorageAdapter } from '@syncline/storage'
import { z } from 'zod'
import { BareClient } from './bare-client.ts'
import { DeviceLocks, DeviceStorage, tabMemory, type ClientStorageWrapper } from './device.ts'
import { ServerDisk, type StorageWrapper } from './disk.ts'
import { fieldsOf, type Entry } from './ledger.ts'
import { Network, type Connection } from './network.ts'
import { Oracle } from './oracle.ts'
import type { Random } from './random.ts'
import { Process, WallClock, type Scheduler } from './virtual-env.ts'

/** The maps of every run. */
export const MAPS: readonly string[] = ['notes', 'tasks']

/** Changes a frame on its way; `undefined` drops it. */
export type FrameWrapper = (frame: Frame, connection: Connection) => Frame | undefined

/** What a mutant puts between the parts of the world, instead of nothing. */
export interface Wrappers {
  readonly serverStorage?: StorageWrapper
  readonly clientStorage?: ClientStorageWrapper
  /** What the server sends, before the oracle sees it: faults of the server. */
  readonly fromServer?: FrameWrapper
  /** What clients are given, after the oracle has seen it: faults of the client. */
  readonly toClient?: FrameWrapper
}

/** How a run of the world is set up. */
export interface WorldOptions {
  readonly machines: readonly { readonly clockOffsetMs: number; readonly driftPpm: number; readonly tabs: number }[]
  /** Records in a page of a diff. */
  readonly pageRecords: number
  /** How long a flush of the server's disk takes at most, and a transaction of a machine's storage. */
  readonly diskSlownessMs: number
  readonly storageSlownessMs: number
  readonly bareEncodings: readonly Encoding[]
}

/** One machine with its clock, its storage and its tabs. */
export interface Machine {
  readonly name: string
  readonly clock: WallClock
  readonly storage: DeviceStorage
  readonly locks: DeviceLocks
}

/** How the server's process ends. */
export type ServerEnd = 'killed' | 'killed, sent data lost' | 'power off'

/** A server, machines with tabs, bare clients, a network and disks, on one virtual clock. */
export class World {
  readonly scheduler: Scheduler
  readonly network: Network
  readonly disk: ServerDisk
  readonly oracle: Oracle
  readonly serverClock: WallClock
  readonly machines: Machine[] = []
  readonly tabs: Tab[] = []
  readonly bareClients: BareClient[] = []
  readonly random: Random
  readonly wrappers: Wrappers
  readonly options: WorldOptions
  /** Clean stops that are under way. */
  stopping = 0
  #server: { readonly process: Process; readonly server: SynclineServer } | undefined
  #serverRuns = 0
  #lastTag = 0
  /** Frames of ops that clients sent, for those who send them again. */
  readonly #sentBatches: { readonly frame: Frame; readonly ops: readonly ClientOp[] }[] = []

  constructor(scheduler: Scheduler, random: Random, options: WorldOptions, wrappers: Wrappers) {
    this.scheduler = scheduler
    this.random = random
    this.wrappers = wrappers
    this.options = options
    ;(LIMITS as { pageRecords: number }).pageRecords = options.pageRecords
    this.network = new Network(scheduler, random.fork('network'))
    this.disk = new ServerDisk(scheduler, random.fork('disk'))
    this.disk.slownessMs = options.diskSlownessMs
    this.serverClock = new WallClock(scheduler, 0, 0)
    this.oracle = new Oracle(scheduler, this.disk, () => this.serverClock.now())
    scheduler.onError = (error) => this.threw(error)
    this.network.watcher = {
      serverSends: (connection, sent) => {
        const frame = wrappers.fromServer === undefined ? sent : wrappers.fromServer(sent, connection)
        if (frame === undefined) return undefined
        this.oracle.serverSends(connection, frame)
        return wrappers.toClient === undefined ? frame : wrappers.toClient(frame, connection)
      },
      serverReceives: (connection, frame) => this.oracle.serverReceives(connection, frame),
      clientSends: (connection, frame) => {
        this.oracle.clientSends(connection, frame)
        this.#keepBatch(frame)
      },
      clientReceived: (connection, frame) =>
        this.tabs.find(({ process }) => process.name === connection.clientName)?.received(frame),
    }
    for (const [index, { clockOffsetMs, driftPpm, tabs }] of options.machines.entries()) {
      const name = `m${index + 1}`
      const own = random.fork(name)
      const storage = new DeviceStorage(name, scheduler, own.fork('storage'))
      storage.slownessMs = options.storageSlownessMs
      const locks = new DeviceLocks(scheduler, own.fork('locks'))
      const machine = { name, clock: new WallClock(scheduler, clockOffsetMs, driftPpm), storage, locks }
      storage.onCommit = () => this.#checkStored(machine)
      this.machines.push(machine)
      for (let i = 0; i < tabs; i++) this.openTab(machine)
    }
    for (const [index, encoding] of options.bareEncodings.entries()) {
      this.bareClients.push(this.bareClient(`bare${index + 1}`, encoding))
    }
  }

  threw(error: unknown): void {
    this.oracle.fail(
      'fault',
      `Something was thrown: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    )
  }

  get isServerUp(): boolean {
    return this.network.server !== undefined
  }

  /** A client of the bare protocol on a machine of its own. */
  bareClient(name: string, encoding: Encoding, nodeId: string = name): BareClient {
    const process = new Process(name, this.scheduler, this.serverClock, this.random.fork(name), 'event', () => {})
    return new BareClient(this.network, process, name, encoding, nodeId, MAPS)
  }

  openTab(machine: Machine, memory: Map<string, string> = new Map()): Tab {
    const tab = new Tab(this, machine, `${machine.name}.t${this.tabs.length + 1}`, memory)
    this.tabs.push(tab)
    return tab
  }

  startServer(): void {
    if (this.#server !== undefined) return
    const run = ++this.#serverRuns
    const random = this.random.fork(`server ${run}`)
    const process = new Process(
      `server.${run}`,
      this.scheduler,
      this.serverClock,
      random,
      'loop',
      (level, message, details) => {
        if (level === 'error' && message.startsWith('A connection was closed'))
          this.oracle.fail('fault', `${message}: ${String(details?.['error'])}`)
      },
    )
    const { serverStorage } = this.wrappers
    const storage: StorageAdapter = this.disk.storage(process)
    const server = createServer({
      env: process.env,
      storage: serverStorage === undefined ? storage : serverStorage(storage),
      listen: false,
      auth: 'none',
      features: [...builtInFeatures, this.#probe(process)],
      onFatal: () => this.scheduler.after(0, () => this.endServer('killed')),
      writeCoalescing: { maxBytes: 1_500 },
      connections: { maxOutboundBytes: 60_000 },
    })
    this.#server = { process, server }
    this.scheduler.note(process.name, 'starts')
    server.ready().then(
      () => {
        if (!process.isAlive) return
        this.scheduler.note(process.name, 'is ready')
        this.network.server = { process, accept: (socket) => server.accept(socket) }
      },
      (error: unknown) => {
        // Storage could not be opened: a supervisor tries again.
        this.scheduler.note(process.name, `cannot start: ${String(error)}`)
        this.endServer('killed')
        this.scheduler.after(2_000, () => this.startServer())
      },
    )
  }

  /** The server's process ends from one moment to the next. */
  endServer(how: ServerEnd): void {
    const running = this.#server
    if (running === undefined) return
    this.scheduler.note(running.process.name, how)
    this.#server = undefined
    this.network.server = undefined
    this.oracle.kernel = undefined
    running.process.kill()
    this.disk.crash()
    for (const connection of this.network.connections) {
      if (!connection.isOpen) continue
      connection.serverDied({ isTold: how !== 'power off', isSentLost: how !== 'killed' })
    }
  }

  /** The server is asked to stop, and does. */
  stopServer(onStopped: () => void): void {
    const running = this.#server
    if (running === undefined || this.network.server === undefined) return onStopped()
    const { process, server } = running
    this.scheduler.note(process.name, 'is asked to stop')
    this.network.server = undefined
    this.stopping++
    const stopsAtMs = this.scheduler.nowMs
    server.shutdown().then(
      () => {
        this.stopping--
        if (!process.isAlive) return onStopped()
        if (this.scheduler.nowMs - stopsAtMs > 32_000)
          this.oracle.fail('INV-24', 'The server took more than 30 s to stop')
        if (this.disk.fault === undefined) this.#checkClean()
        this.scheduler.note(process.name, 'has stopped')
        process.kill()
        this.#server = undefined
        this.oracle.kernel = undefined
        for (const connection of this.network.connections) {
          if (connection.isOpen) connection.serverDied({ isTold: true, isSentLost: false })
        }
        onStopped()
      },
      (error: unknown) => this.threw(error),
    )
    // A supervisor waits only so long.
    this.scheduler.after(40_000, () => {
      if (!process.isAlive || this.#server !== running) return
      this.stopping--
      this.oracle.fail('INV-24', 'The server did not stop within 40 s')
    })
  }

  /** Text that no other write holds. */
  nextTag(): string {
    return `w${++this.#lastTag}`
  }

  /** A write of a bare client. */
  bareWrite(client: BareClient, op: Omit<ClientOp, 'id'>, tag: string, concern: WriteConcern): void {
    const id = `bare-${tag}`
    const entry = this.oracle.ledger.wrote(
      { id, machine: client.machine, tab: undefined, mapName: op.mapName, key: op.key, concern },
      tag,
    )
    // It has no storage, and it does not die.
    entry.isStored = true
    client.write({ ...op, id, writeConcern: concern })
  }

  /** Sends a batch of ops that were all accepted once more, on another connection. */
  replay(client: BareClient, index: number): void {
    const { entries } = this.oracle.ledger
    const accepted = this.#sentBatches.filter(({ ops }) =>
      ops.every(({ id = '', record }) => {
        const entry = entries.get(id)
        // What was refused and stamped anew is not to come back under its first stamp.
        return (
          entry?.wasAccepted === true &&
          entry.op !== undefined &&
          compareStamps(entry.op.record.timestamp, record.timestamp) === 0
        )
      }),
    )
    const batch = accepted[index % accepted.length]
    if (batch !== undefined) client.sendRaw(batch.frame)
  }

  #keepBatch(frame: Frame): void {
    if (typeof frame !== 'string' || !frame.startsWith('{"type":"OP_BATCH"') || this.#sentBatches.length > 60) return
    const { payload } = JSON.parse(frame) as { payload: { ops: ClientOp[] } }
    this.#sentBatches.push({ frame, ops: payload.ops })
  }

  #probe(process: Process): FeatureDefinition {
    return {
      name: 'simulation-probe',
      options: z.object({}),
      start: (kernel) => {
        if (process.isAlive) this.oracle.kernel = kernel
        return { handlers: {} }
      },
    }
  }

  /** INV-24: after a planned stop everything that was in memory is on disk. */
  #checkClean(): void {
    for (const mapName of MAPS) {
      for (const [key, entry] of this.oracle.serverMap(mapName)?.entriesByKey ?? []) {
        if (this.disk.stored(mapName, key)?.seq !== entry.seq)
          this.oracle.fail(
            'INV-24',
            `After a clean stop '${key}' of ${mapName} is not on disk as it was at ${entry.seq}`,
          )
      }
    }
  }

  #checkStored(machine: Machine): void {
    for (const [[mapName], position] of machine.storage.rows('cursors')) {
      const { seq, cursor } = position as { seq: number; cursor: string | null }
      if (cursor === null) continue
      this.oracle.checkStored(
        machine.name,
        mapName,
        { cursor, seq },
        (key) => machine.storage.row('base', [mapName, key]) as { record: LwwRecord } | undefined,
      )
    }
  }
}

/** A tab of the application, over all its reloads. */
export class Tab {
  readonly machine: Machine
  readonly name: string
  readonly memory: Map<string, string>
  /** It was closed for good. */
  isClosed = false
  process: Process
  client: Client
  readonly #world: World
  #runs = 0
  #wakers = new Set<() => void>()
  /** Writes of this run that the server has acknowledged, by map, key and field. */
  #acknowledged = new Map<string, Entry>()

  constructor(world: World, machine: Machine, name: string, memory: Map<string, string>) {
    this.machine = machine
    this.name = name
    this.memory = memory
    this.#world = world
    ;({ process: this.process, client: this.client } = this.#load())
  }

  get isAlive(): boolean {
    return this.process.isAlive
  }

  get isQuiet(): boolean {
    const { connection, pending, storage } = this.client.status.get()
    return connection === 'online' && pending === 0 && storage !== 'memory'
  }

  /** What the application of this tab sees. */
  value(mapName: string, key: string): unknown {
    return this.client.map(mapName).get(key)
  }

  /** Writes as an application does. The write's text goes into every value. */
  write(
    mapName: string,
    key: string,
    options: WriteOptions,
    act: (map: ReturnType<Client['map']>, tag: string) => Write,
  ): Entry | undefined {
    const tag = this.#world.nextTag()
    const write = act(this.client.map(mapName), tag)
    const { concern = 'memory' } = options
    const entry = this.#world.oracle.ledger.wrote(
      {
        id: write.id,
        machine: this.machine.name,
        tab: this.process.name,
        mapName,
        key,
        concern: concern === 'none' ? 'FIRE_AND_FORGET' : (concern.toUpperCase() as WriteConcern),
      },
      tag,
    )
    const { process } = this
    this.#world.scheduler.note(process.name, `writes ${entry.id} ${tag} to ${mapName}/${key}, ${concern}`)
    write.wait('local').then(
      () => {
        if (process.isAlive) entry.isStored = true
      },
      () => {},
    )
    return entry
  }

  /** The tab's process ends. With `isMachineOff` the server is not told. */
  crash(isMachineOff: boolean): void {
    const { process } = this
    if (!process.isAlive) return
    this.#world.scheduler.note(process.name, isMachineOff ? 'loses power' : 'crashes')
    process.kill()
    this.#buried(isMachineOff)
  }

  /** Loads the page again, in a tab that is gone. */
  reload(): void {
    if (this.isAlive || this.isClosed) return
    ;({ process: this.process, client: this.client } = this.#load())
  }

  /** Closes the client as an application does, and then the tab. */
  close(onClosed: () => void): void {
    const { process, client } = this
    this.#world.scheduler.note(process.name, 'closes')
    client.close().then(
      () => {
        if (!process.isAlive) return
        if (this.machine.storage.fault === undefined) {
          for (const entry of this.#world.oracle.ledger.entries.values())
            if (entry.tab === process.name) entry.isStored = true
        }
        process.kill()
        this.#buried(false)
        onClosed()
      },
      (error: unknown) => this.#world.threw(error),
    )
  }

  /** The network is back, or the page is shown again. */
  wake(): void {
    for (const run of this.#wakers) run()
  }

  /** INV-14: the client has taken a frame. What it shows must not go back behind what was acknowledged to it. */
  received(frame: Frame): void {
    if (!this.isAlive) return
    const { oracle } = this.#world
    if (typeof frame === 'string' && frame.startsWith('{"type":"OP_ACK"')) {
      const { payload } = JSON.parse(frame) as { payload: { results: readonly { opId: string; success: boolean }[] } }
      for (const { opId, success } of payload.results) {
        const entry = oracle.ledger.entries.get(opId)
        if (success && entry !== undefined) this.#acknowledge(entry)
      }
    }
    for (const [place, entry] of this.#acknowledged) {
      const field = place.slice(place.lastIndexOf('/') + 1)
      const value = this.value(entry.mapName, entry.key)
      if (!oracle.isShown(entry, field, value)) {
        oracle.fail(
          'INV-14',
          `${this.process.name} shows ${JSON.stringify(value)} at ${place}, though ${entry.id} was acknowledged to it`,
        )
      }
    }
  }

  #acknowledge(entry: Entry): void {
    const { op, mapName, key } = entry
    if (op === undefined || entry.concern === 'FIRE_AND_FORGET' || key.startsWith('ttl')) return
    const fields = op.opType === 'REMOVE' ? ['*'] : fieldsOf(op)
    for (const field of fields) {
      const place = `${mapName}/${key}/${field}`
      const before = this.#acknowledged.get(place)?.op
      if (before !== undefined && compareStamps(before.record.timestamp, op.record.timestamp) > 0) continue
      this.#acknowledged.set(place, entry)
    }
  }

  #buried(isMachineOff: boolean): void {
    const { process, machine } = this
    const { network, oracle } = this.#world
    machine.locks.died(process)
    for (const connection of network.connections) {
      if (connection.clientName === process.name) connection.clientDied(!isMachineOff)
    }
    for (const entry of oracle.ledger.entries.values()) if (entry.tab === process.name) entry.isTabDead = true
    this.#wakers.clear()
    this.#acknowledged.clear()
  }

  #load(): { process: Process; client: Client } {
    const { scheduler, random, oracle, wrappers } = this.#world
    const name = `${this.name}.${++this.#runs}`
    const own = random.fork(name)
    const process = new Process(name, scheduler, this.machine.clock, own, 'event', (level, message, details) => {
      if (level === 'error') oracle.fail('fault', `${name}: ${message} ${JSON.stringify(details)}`)
    })
    scheduler.note(name, 'loads')
    const env: ClientEnv = {
      ...process.env,
      openSocket: (_, protocols) => this.#socket(process, protocols),
      locks: this.machine.locks.port(process),
      tab: tabMemory(this.memory),
      onWake: (run) => {
        const guarded = (): void => {
          if (process.isAlive) run()
        }
        this.#wakers.add(guarded)
        return () => this.#wakers.delete(guarded)
      },
      ownUrl: undefined,
    }
    const storage = this.machine.storage.adapter(process, wrappers.clientStorage ?? ((open) => open))
    const client = createClient({ env, storage, url: 'ws://server/ws' })
    for (const mapName of MAPS) client.map(mapName)
    client.on('rejected', ({ error, write }) => {
      const entry = oracle.ledger.entries.get(write.id)
      oracle.count(`rejected: ${error.code}`)
      if (entry !== undefined) entry.rejected = error.code
      scheduler.note(name, `is told that ${write.id} was rejected: ${error.code}`)
    })
    client.on('conflict', ({ write }) => {
      const entry = oracle.ledger.entries.get(write.id)
      oracle.count('conflicts')
      if (entry !== undefined) entry.conflicts++
      scheduler.note(name, `is told of a conflict of ${write.id}`)
    })
    client.on('error', ({ error }) => {
      scheduler.note(name, `is told of an error: ${error.code} ${error.message}`)
      if (error.code === 'INTERNAL_ERROR')
        oracle.fail('fault', `${name}: ${error.message} ${String((error.cause as Error | undefined)?.stack)}`)
    })
    return { process, client }
  }

  #socket(process: Process, protocols: readonly string[]): ClientSocket {
    if (!process.isAlive) return { onText() {}, onClose() {}, send() {}, close() {} }
    const encoding = protocols.includes(SUBPROTOCOLS.json) ? 'json' : undefined
    const connection = this.#world.network.connect(process, this.machine.name, encoding, {
      onOpen() {},
      onFrame: (frame) => socket.onText(frame as string),
      onClose: (code, reason) => socket.onClose(code, reason),
    })
    const socket: ClientSocket = {
      onText() {},
      onClose() {},
      send: (text) => {
        if (process.isAlive) connection.clientSend(text)
      },
      close: (code = 1000, reason = '') => {
        if (process.isAlive) connection.clientClose(code, reason)
      },
    }
    return socket
  }
}
