import { compareStamps, type LwwRecord } from '@syncline/core'
import { LIMITS, type ClientOp, type Encoding, type Frame, type WriteConcern } from '@syncline/protocol'
import { BareClient } from './bare-client.ts'
import { DeviceLocks, DeviceStorage } from './device.ts'
import { ServerDisk } from './disk.ts'
import type { PlainQuery } from './live-queries.ts'
import { Gatherings } from './gatherings.ts'
import { LockUsers } from './lock-users.ts'
import { Network } from './network.ts'
import { Oracle } from './oracle.ts'
import type { Random } from './random.ts'
import { ServerHost } from './server-host.ts'
import { SignIn } from './sign-in.ts'
import { Tab } from './tab.ts'
import { Tallies } from './tallies.ts'
import { fieldsSeen, SHARED_MAPS, VAULT, type Role } from './users.ts'
import { Process, WallClock, type Scheduler } from './virtual-env.ts'
import type { WorldOptions, Wrappers } from './world-options.ts'

/** One machine with its clock, its storage and its tabs. */
export interface Machine {
  readonly name: string
  readonly clock: WallClock
  readonly storage: DeviceStorage
  /** Undefined where tabs know nothing of each other but what is stored. */
  readonly locks: DeviceLocks | undefined
  readonly role: Role
  /** The one who uses it at present: the one whom it belongs to, or a guest at it. */
  user: string
}

/** A connection whose socket has been empty for so long waits for nothing: the server holds nothing back. */
const QUIET_MS = 20

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
  readonly host = new ServerHost(this)
  readonly tallies = new Tallies(this)
  readonly lockUsers = new LockUsers(this)
  readonly gatherings = new Gatherings(this)
  readonly options: WorldOptions
  /** The names of all maps. */
  readonly maps: readonly string[]
  readonly signIn: SignIn | undefined
  /** What is to happen once, when the server has sent a page that is not the last one. */
  afterPage: (() => void) | undefined
  /** Machines that somebody else has used: what they held of its user's was thrown away. */
  readonly visited = new Set<string>()
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
    this.oracle = new Oracle(
      scheduler,
      this.disk,
      () => this.serverClock.now(),
      () => this.host.run,
    )
    this.disk.watcher = this.oracle.deletions
    this.maps = options.signIn === undefined ? SHARED_MAPS : [...SHARED_MAPS, VAULT]
    this.signIn =
      options.signIn === undefined
        ? undefined
        : new SignIn(scheduler, random.fork('sign-in'), () => this.serverClock.now(), options.signIn.tokenMs)
    scheduler.afterEvent = () => this.#checkQueries()
    scheduler.onError = (error) => this.threw(error)
    this.network.watcher = {
      serverSends: (connection, sent) => {
        const frame = wrappers.fromServer === undefined ? sent : wrappers.fromServer(sent, connection)
        if (frame === undefined) return undefined
        this.oracle.serverSends(connection, frame)
        if (this.afterPage !== undefined && isPage(frame)) {
          this.afterPage()
          this.afterPage = undefined
        }
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
    for (const [index, { clockOffsetMs, driftPpm, tabs, role, hasLocks }] of options.machines.entries()) {
      const name = `m${index + 1}`
      const own = random.fork(name)
      const storage = new DeviceStorage(name, scheduler, own.fork('storage'))
      storage.slownessMs = options.storageSlownessMs
      const locks = hasLocks ? new DeviceLocks(scheduler, own.fork('locks')) : undefined
      const clock = new WallClock(scheduler, clockOffsetMs, driftPpm)
      const machine: Machine = { name, clock, storage, locks, role, user: name }
      storage.onCommit = () => this.#checkStored(machine)
      this.machines.push(machine)
      for (let i = 0; i < tabs; i++) this.openTab(machine)
    }
    for (const [index, { encoding, role, queries, searches }] of options.bareClients.entries()) {
      this.bareClients.push(this.bareClient(`bare${index + 1}`, encoding, role, queries, searches))
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
  bareClient(
    name: string,
    encoding: Encoding,
    role: Role,
    queries: readonly PlainQuery[] = [],
    searches = false,
  ): BareClient {
    const process = new Process(name, this.scheduler, this.serverClock, this.random.fork(name), 'event', () => {})
    const { signIn } = this
    return new BareClient({
      network: this.network,
      process,
      encoding,
      role,
      queries,
      searches,
      maps: this.maps.filter((mapName) => fieldsSeen(role, mapName) !== undefined),
      token: signIn === undefined ? undefined : () => signIn.token(name, role),
      asked: (connection, queryId, query) => this.oracle.queries.asked(connection, queryId, query, role),
    })
  }

  openTab(machine: Machine, memory: Map<string, string> = new Map()): Tab {
    const tab = new Tab(this, machine, `${machine.name}.t${this.tabs.length + 1}`, memory)
    this.tabs.push(tab)
    return tab
  }

  /** Somebody else signs in on a machine, in all its tabs. */
  changeUser(machine: Machine, user: string): void {
    if (machine.user === user || this.signIn === undefined) return
    this.scheduler.note(machine.name, `is used by ${user}`)
    machine.user = user
    this.visited.add(machine.name)
    for (const tab of this.tabs) {
      if (tab.machine !== machine || !tab.isAlive || tab.isClosed) continue
      tab.client.disconnect()
      tab.client.connect()
    }
  }

  /** All wall clocks go on together, as if everyone had slept. */
  passDays(days: number): void {
    const ms = Math.round(days * 86_400_000)
    this.scheduler.note('world', `${days} days pass`)
    this.serverClock.jump(ms)
    for (const { clock } of this.machines) clock.jump(ms)
    this.oracle.serverClockSetAtMs = this.scheduler.nowMs
  }

  /** Text that no other write holds. */
  nextTag(): string {
    return `w${++this.#lastTag}`
  }

  /** A write of a bare client. */
  bareWrite(client: BareClient, op: Omit<ClientOp, 'id'>, tag: string, concern: WriteConcern, isTwice: boolean): void {
    const id = `bare-${tag}`
    const entry = this.oracle.ledger.wrote(
      {
        id,
        machine: client.machine,
        tab: undefined,
        user: undefined,
        isGuest: client.role === 'guest',
        mapName: op.mapName,
        key: op.key,
        concern,
        wasThere: false,
      },
      tag,
    )
    // It has no storage, and it does not die.
    entry.isStored = true
    client.write({ ...op, id, writeConcern: concern }, isTwice)
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

  /** Compares live queries as soon as the server has nothing left to do for those who follow them. */
  #checkQueries(): void {
    const { queries } = this.oracle
    if (!queries.isUsed || !this.host.isTurnOver) return
    for (const connection of this.network.connections)
      if (connection.isServed && connection.silentMs >= QUIET_MS) queries.checkQuiet(connection)
  }

  #checkStored(machine: Machine): void {
    for (const [[mapName], position] of machine.storage.rows('cursors')) {
      const { seq, cursor } = position as { seq: number; cursor: string | null }
      if (cursor === null) continue
      this.oracle.followers.checkStored(
        machine,
        mapName,
        { cursor, seq },
        (key) => machine.storage.row('base', [mapName, key]) as { record: LwwRecord } | undefined,
      )
    }
  }
}

/** More pages follow this one. */
function isPage(frame: Frame): boolean {
  return typeof frame === 'string' && frame.includes('"type":"SYNC_DIFF"') && frame.includes('"more":true')
}
