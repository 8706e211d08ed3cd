import {
  createClient,
  type Client,
  type ClientEnv,
  type ClientSocket,
  type Query,
  type Write,
  type WriteOptions,
} from '@syncline/client'
import { compareStamps, valuesEqual, type LwwRecord, type Stamp, type Value } from '@syncline/core'
import { SUBPROTOCOLS, type Frame, type WriteConcern } from '@syncline/protocol'
import { tabMemory } from './device.ts'
import { GATHERINGS } from './gatherings.ts'
import { fieldsOf, type Entry } from './ledger.ts'
import { evaluate, type PlainQuery, type PlainRow } from './live-queries.ts'
import { TALLIES } from './tallies.ts'
import { Process } from './virtual-env.ts'
import type { Machine, World } from './world.ts'

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
  #leavers = new Set<() => void>()
  /** Whom the server has named since the page was loaded. */
  #user: string | undefined
  /** Writes of this run that the server has acknowledged, by map, key and field. */
  #acknowledged = new Map<string, Entry>()
  /** Maps that begin anew. */
  readonly #reset = new Set<string>()
  #queries: readonly (readonly [PlainQuery, Query<Value>])[] = []

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
    const wasThere = this.#isConfirmed(mapName, key)
    const write = act(this.client.map(mapName), tag)
    const { concern = 'memory' } = options
    const entry = this.#world.oracle.ledger.wrote(
      {
        id: write.id,
        machine: this.machine.name,
        tab: this.process.name,
        user: this.#user,
        isGuest: this.machine.role === 'guest',
        mapName,
        key,
        concern: concern === 'none' ? 'FIRE_AND_FORGET' : (concern.toUpperCase() as WriteConcern),
        wasThere,
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

  /** What the application sees under a key is the server's, and no pending write of this machine lies over it. */
  #isConfirmed(mapName: string, key: string): boolean {
    const row = this.machine.storage.row('base', [mapName, key]) as { readonly record: LwwRecord } | undefined
    if (this.value(mapName, key) === undefined || (row?.record.value ?? null) === null) return false
    const own = this.#world.oracle.ledger.of(mapName, key).filter(({ machine }) => machine === this.machine.name)
    return own.every(({ isHeard }) => isHeard)
  }

  /** The page is loaded anew, by whoever looks at it. */
  leave(): void {
    for (const run of this.#leavers) run()
    this.crash(false)
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
    if (typeof frame === 'string' && frame.startsWith('{"type":"AUTH_ACK"')) {
      const { userId } = JSON.parse(frame) as { userId: string }
      // Of what one user was shown nothing is left for another.
      if (userId !== this.#user) this.#acknowledged.clear()
      this.#user = userId
    }
    if (typeof frame === 'string' && frame.startsWith('{"type":"OP_ACK"')) {
      const { payload } = JSON.parse(frame) as { payload: { results: readonly { opId: string; success: boolean }[] } }
      for (const { opId, success } of payload.results) {
        const entry = oracle.ledger.entries.get(opId)
        if (!success || entry === undefined) continue
        entry.isHeard = true
        this.#acknowledge(entry)
      }
    }
    this.#noteOvertaken(frame)
    this.#checkQueries()
    if (this.#world.options.hasTallies) this.#world.tallies.look(this)
    this.#noteReset(frame)
    for (const [place, entry] of this.#acknowledged) {
      if (this.#reset.has(entry.mapName)) continue
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

  /** Later writes that this tab is shown stand over those of its own that wait. */
  #noteOvertaken(frame: Frame): void {
    if (typeof frame !== 'string' || !/^\{"type":"(?:SYNC_DIFF|SERVER_EVENT|SERVER_BATCH_EVENT)"/.test(frame)) return
    const waiting = [...this.#world.oracle.ledger.entries.values()].filter(
      ({ tab, op, wasAccepted }) => tab === this.process.name && op !== undefined && !wasAccepted,
    )
    if (waiting.length === 0) return
    const { payload } = JSON.parse(frame) as { payload: ShownRecords }
    const { mapName, records = [], events = [], key, record } = payload
    const single = key === undefined || record === undefined ? [] : [{ key, record }]
    for (const shown of [...records, ...events, ...single]) {
      const { base = shown.record.timestamp } = shown.record
      for (const entry of waiting) {
        if (entry.mapName !== mapName || entry.key !== shown.key || entry.op === undefined) continue
        if (compareStamps(base, entry.op.record.timestamp) > 0) entry.overtakenBy = base
      }
    }
  }

  /** Of a map that the server lets begin anew nothing is shown until it is whole again. */
  #noteReset(frame: Frame): void {
    if (typeof frame !== 'string') return
    const mapName = /"mapName":"(\w+)"/.exec(frame)?.[1] ?? ''
    if (frame.startsWith('{"type":"SYNC_RESET_REQUIRED"')) this.#reset.add(mapName)
    else if (frame.startsWith('{"type":"SYNC_DIFF"') && frame.includes('"more":false')) {
      if (this.#reset.delete(mapName)) this.#begunAnew(mapName)
    }
  }

  /** INV-12: of a map that is here anew, what is waiting to change what is gone does not bring it back. */
  #begunAnew(mapName: string): void {
    const { ledger, serverMap } = this.#world.oracle
    const records = serverMap(mapName)?.entriesByKey
    if (records === undefined) return
    // What the server lost from memory, and this copy with it, nobody brings back (INVARIANTS.md).
    for (const [place, entry] of this.#acknowledged)
      if (entry.mapName === mapName && !entry.wasPersisted && this.#world.host.ends > 0)
        this.#acknowledged.delete(place)
    for (const entry of ledger.entries.values()) {
      if (entry.mapName !== mapName || entry.tab !== this.process.name || entry.wasAccepted) continue
      if (entry.wasThere && !records.has(entry.key)) entry.isTooLate = true
    }
  }

  /** INV-15: a result that is kept up from change to change is the one that looks at the whole map. */
  #checkQueries(): void {
    for (const [plain, query] of this.#queries) {
      const { rows } = query.get()
      const due = evaluate(plain, this.client.map<Value>(plain.mapName))
      // A record whose time passes leaves results with a timer, and clocks are set meanwhile.
      if ([...rows, ...due].some(({ key }) => key.includes('ttl'))) continue
      if (rows.length === due.length && due.every((row, i) => isSameRow(row, rows[i]))) continue
      const texts = `shows ${JSON.stringify(rows)} for ${JSON.stringify(plain)} instead of ${JSON.stringify(due)}`
      this.#world.oracle.fail('INV-15', `${this.process.name} ${texts}`)
    }
  }

  #acknowledge(entry: Entry): void {
    const { op, mapName, key } = entry
    if (op === undefined || entry.concern === 'FIRE_AND_FORGET' || key.includes('ttl')) return
    // What the server loses from memory a guest cannot bring back.
    if (entry.isGuest && !entry.wasPersisted) return
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
    machine.locks?.died(process)
    for (const connection of network.connections) {
      if (connection.clientName === process.name) connection.clientDied(!isMachineOff)
    }
    for (const entry of oracle.ledger.entries.values()) if (entry.tab === process.name) entry.isTabDead = true
    if (this.#world.options.gathers && !isMachineOff) this.#world.gatherings.died(process)
    this.#wakers.clear()
    this.#leavers.clear()
    this.#reset.clear()
    this.#user = undefined
    this.#acknowledged.clear()
    this.#queries = []
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
      locks: this.machine.locks?.port(process),
      tab: tabMemory(this.memory),
      onWake: (run) => {
        const guarded = (): void => {
          if (process.isAlive) run()
        }
        this.#wakers.add(guarded)
        return () => this.#wakers.delete(guarded)
      },
      onLeave: (run) => {
        this.#leavers.add(run)
        return () => this.#leavers.delete(run)
      },
      ownUrl: undefined,
    }
    const storage = this.machine.storage.adapter(process, wrappers.clientStorage ?? ((open) => open))
    const { signIn, maps } = this.#world
    const client: Client = createClient({
      env,
      storage,
      url: 'ws://server/ws',
      ...(this.#world.options.hasTallies ? { contract: TALLIES } : {}),
      ...(this.#world.options.gathers ? { contract: GATHERINGS } : {}),
      ...(signIn === undefined ? {} : { auth: () => signIn.ask(process, this.machine) }),
    })
    for (const mapName of maps) client.map(mapName)
    if (this.#world.options.hasTallies) this.#world.tallies.open(client)
    if (this.#world.options.gathers) this.#world.gatherings.enter(process, client)
    this.#queries = this.#world.options.tabQueries.map((plain) => {
      const query = client.map<Value>(plain.mapName).query({
        where: { [plain.has]: { $exists: true } },
        ...(plain.sortBy === undefined ? {} : { orderBy: [[plain.sortBy, plain.isDescending ? 'desc' : 'asc']] }),
        ...(plain.limit === undefined ? {} : { limit: plain.limit }),
      } as never)
      query.subscribe(() => oracle.count('results shown'))
      return [plain, query]
    })
    client.on('rejected', ({ error, write }) => {
      const entry = oracle.ledger.entries.get(write.id)
      oracle.count(`rejected: ${error.code}`)
      if (entry !== undefined) entry.rejected = error.code
      this.#world.tallies.refused(write.id)
      scheduler.note(name, `is told that ${write.id} was rejected: ${error.code}`)
      // Who tried what it may not do takes it back.
      if (error.code === 'FORBIDDEN')
        scheduler.after(1_000, () => {
          if (process.isAlive) client.pending.discard(write.id)
        })
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

/** Records in a frame of the server: pages, batches of events, or one event. */
interface ShownRecords {
  readonly mapName: string
  readonly records?: readonly ShownRecord[]
  readonly events?: readonly ShownRecord[]
  readonly key?: string
  readonly record?: ShownRecord['record']
}

interface ShownRecord {
  readonly key: string
  readonly record: { readonly timestamp: Stamp; readonly base?: Stamp }
}

function isSameRow(due: PlainRow, row: { readonly key: string; readonly value: unknown } | undefined): boolean {
  return row !== undefined && row.key === due.key && valuesEqual(row.value as Value, due.value)
}
