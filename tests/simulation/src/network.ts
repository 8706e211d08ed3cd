import type { Encoding, Frame } from '@syncline/protocol'
import type { ServerSocket, SocketHandler } from '@syncline/server'
import type { Random } from './random.ts'
import type { Process, Scheduler } from './virtual-env.ts'

/** What a browser says of a connection that broke. */
const BROKEN = 1006
const FAST = 10_000
/** Bytes that the network itself holds: what is beyond waits in the sender. */
const WINDOW_BYTES = 2_048

/** How a connection carries bytes. */
export interface LinkQuality {
  readonly latencyMs: number
  readonly jitterMs: number
  /** Towards the client. */
  bytesPerMs: number
}

/** The client's end of a connection. */
export interface ClientEnd {
  onOpen(): void
  onFrame(frame: Frame): void
  onClose(code: number, reason: string): void
}

/** Looks on at what both ends do, and may change what arrives: a port of the world that mutants wrap. */
export interface NetworkWatcher {
  /** Answers what goes on its way. */
  serverSends(connection: Connection, frame: Frame): Frame | undefined
  serverReceives(connection: Connection, frame: Frame): void
  clientSends(connection: Connection, frame: Frame): void
  clientReceived(connection: Connection, frame: Frame): void
}

interface Parcel {
  readonly frame: Frame | undefined
  readonly bytes: number
  /** For the end of a stream. */
  readonly code: number
  readonly reason: string
}

/**
 * One direction of a connection, with the promises of TCP: what arrives is a beginning of what was sent, in order,
 * without a gap. It may stand still, and end at any point.
 */
class Stream {
  bufferedBytes = 0
  /** Since when nothing is buffered. */
  emptySinceMs = 0
  isStalled = false
  isPaused = false
  readonly #scheduler: Scheduler
  readonly #random: Random
  readonly #quality: LinkQuality
  readonly #deliver: (parcel: Parcel) => void
  readonly #onDrain: () => void
  #isDead = false
  #sentAtMs = 0
  #arrivesAtMs = 0
  #unsent: number[] = []
  /** What is under way, in order. */
  #order: Parcel[] = []
  /** What has come, and is held. */
  #held: Parcel[] = []
  #underWay = 0

  constructor(
    scheduler: Scheduler,
    random: Random,
    quality: LinkQuality,
    deliver: (parcel: Parcel) => void,
    onDrain: () => void,
  ) {
    this.#scheduler = scheduler
    this.#random = random
    this.#quality = quality
    this.#deliver = deliver
    this.#onDrain = onDrain
  }

  /** Everything that was sent has arrived. */
  get isEmpty(): boolean {
    return this.#underWay === 0
  }

  send(parcel: Parcel): void {
    if (this.#isDead) return
    this.#underWay++
    const { latencyMs, jitterMs, bytesPerMs } = this.#quality
    const now = this.#scheduler.nowMs
    this.#sentAtMs = Math.max(now, this.#sentAtMs) + parcel.bytes / bytesPerMs
    this.#arrivesAtMs = Math.max(this.#arrivesAtMs, this.#sentAtMs + latencyMs + this.#random.skewed(0, jitterMs))
    this.bufferedBytes += parcel.bytes
    this.#scheduler.after(this.#sentAtMs - now, () => this.#sent(parcel.bytes))
    // The next one of what is under way, and not this one: rounded times must not change their order.
    this.#order.push(parcel)
    this.#scheduler.after(this.#arrivesAtMs - now, () => this.#arrived())
  }

  /** Goes on after standing still: what was held arrives in order. */
  release(): void {
    if (this.isStalled || this.#isDead) return
    const unsent = this.#unsent
    this.#unsent = []
    for (const bytes of unsent) this.#sent(bytes)
    this.#scheduler.after(0, () => this.#deliverHeld())
  }

  /** Ends here: what is under way never arrives. */
  kill(): void {
    this.#isDead = true
    this.#order = []
    this.#held = []
  }

  #sent(bytes: number): void {
    if (this.#isDead) return
    if (this.isStalled && this.bufferedBytes > WINDOW_BYTES) {
      this.#unsent.push(bytes)
      return
    }
    this.bufferedBytes -= bytes
    if (this.bufferedBytes > 0) return
    this.emptySinceMs = this.#scheduler.nowMs
    this.#onDrain()
  }

  #arrived(): void {
    if (this.#isDead) return
    const parcel = this.#order.shift() as Parcel
    if (this.isStalled || this.isPaused || this.#held.length > 0) this.#held.push(parcel)
    else this.#hand(parcel)
  }

  #hand(parcel: Parcel): void {
    this.#underWay--
    this.#deliver(parcel)
  }

  #deliverHeld(): void {
    if (this.isStalled || this.isPaused || this.#isDead) return
    const parcel = this.#held.shift()
    if (parcel === undefined) return
    this.#hand(parcel)
    if (this.#held.length > 0) this.#scheduler.after(0, () => this.#deliverHeld())
  }
}

/** A connection between a client and the server. */
export class Connection {
  readonly id: number
  readonly clientName: string
  readonly machine: string
  readonly encoding: Encoding | undefined
  /** Both ends live, as far as they know. */
  isOpen = false
  readonly quality: LinkQuality
  readonly #network: Network
  readonly #scheduler: Scheduler
  readonly #client: ClientEnd
  readonly #clientProcess: Process
  readonly #up: Stream
  readonly #down: Stream
  #handler: SocketHandler | undefined
  #serverProcess: Process | undefined
  #isClientDone = false
  #isServerDone = false

  constructor(
    id: number,
    network: Network,
    scheduler: Scheduler,
    random: Random,
    quality: LinkQuality,
    client: ClientEnd,
    process: Process,
    machine: string,
    encoding: Encoding | undefined,
  ) {
    this.id = id
    this.clientName = process.name
    this.machine = machine
    this.encoding = encoding
    this.quality = quality
    this.#network = network
    this.#scheduler = scheduler
    this.#client = client
    this.#clientProcess = process
    this.#up = new Stream(
      scheduler,
      random,
      { ...quality, bytesPerMs: FAST },
      (parcel) => this.#toServer(parcel),
      () => {},
    )
    this.#down = new Stream(
      scheduler,
      random,
      quality,
      (parcel) => this.#toClient(parcel),
      () => this.#drained(),
    )
  }

  get name(): string {
    return `${this.clientName}#${this.id}`
  }

  /** Bytes that the server has sent and the client's machine has not taken. */
  get bufferedBytes(): number {
    return this.#down.bufferedBytes
  }

  /** How long the server's socket has been empty; 0 while it is not. */
  get silentMs(): number {
    return this.#down.bufferedBytes > 0 ? 0 : this.#scheduler.nowMs - this.#down.emptySinceMs
  }

  /** Both ends live, and nothing is under way between them. */
  get isAtRest(): boolean {
    return this.isWhole && this.#up.isEmpty && this.#down.isEmpty
  }

  /** Both ends live. */
  get isWhole(): boolean {
    return this.isServed && this.#clientAlive()
  }

  /** The server's end lives. */
  get isServed(): boolean {
    return this.isOpen && !this.#isServerDone && this.#serverProcess?.isAlive === true
  }

  /** The server takes the connection. */
  establish(server: { process: Process; accept(socket: ServerSocket): SocketHandler }): void {
    if (this.#isClientDone) return
    this.isOpen = true
    this.#serverProcess = server.process
    this.#scheduler.note(this.name, 'opens')
    this.#handler = server.accept(this.#serverSocket())
    this.#scheduler.after(0, () => this.#clientAlive() && this.#client.onOpen())
  }

  /** The server cannot be reached. */
  refuse(): void {
    this.#toClient({ frame: undefined, bytes: 0, code: BROKEN, reason: '' })
  }

  clientSend(frame: Frame): void {
    if (this.#isClientDone || !this.isOpen) return
    this.#network.watcher.clientSends(this, frame)
    this.#scheduler.note(this.name, '→', frame)
    this.#up.send({ frame, bytes: frame.length, code: 0, reason: '' })
  }

  clientClose(code: number, reason: string): void {
    if (this.#isClientDone) return
    this.#isClientDone = true
    this.#scheduler.note(this.name, `is closed by the client: ${code}`)
    this.#down.kill()
    if (this.isOpen) this.#up.send({ frame: undefined, bytes: 0, code, reason })
    this.#settle()
  }

  /** Stands still in one direction or both; nobody is told. */
  stall(direction: 'up' | 'down' | 'both', isStalled: boolean): void {
    for (const [name, stream] of [['up', this.#up] as const, ['down', this.#down] as const]) {
      if (direction !== 'both' && direction !== name) continue
      stream.isStalled = isStalled
      stream.release()
    }
  }

  /** Breaks. What was under way is lost. The server may learn of it only by silence. */
  reset(isServerTold: boolean): void {
    this.#scheduler.note(this.name, isServerTold ? 'is reset' : 'is lost; the server is not told')
    this.#up.kill()
    this.#down.kill()
    this.#toClient({ frame: undefined, bytes: 0, code: BROKEN, reason: '' })
    if (isServerTold) this.#scheduler.after(1, () => this.#endServer())
  }

  /** The client's process is gone. Its system says so, unless the machine is gone with it. */
  clientDied(isServerTold: boolean): void {
    this.#isClientDone = true
    this.#down.kill()
    if (isServerTold && this.isOpen) this.#up.send({ frame: undefined, bytes: 0, code: BROKEN, reason: '' })
    else if (!isServerTold) this.#up.kill()
    this.#settle()
  }

  /** The server's process is gone. What it had sent may still arrive; whether the client is told depends on how it died. */
  serverDied(how: { isTold: boolean; isSentLost: boolean }): void {
    this.#isServerDone = true
    this.#up.kill()
    if (how.isSentLost) this.#down.kill()
    const end: Parcel = { frame: undefined, bytes: 0, code: BROKEN, reason: '' }
    if (how.isTold && how.isSentLost) this.#scheduler.after(1, () => this.#toClient(end))
    else if (how.isTold) this.#down.send(end)
    this.#settle()
  }

  #clientAlive(): boolean {
    return this.#clientProcess.isAlive && !this.#isClientDone
  }

  #toClient({ frame, code, reason }: Parcel): void {
    if (!this.#clientAlive()) return
    if (frame !== undefined) {
      this.#scheduler.note(this.name, '⇐')
      this.#client.onFrame(frame)
      this.#network.watcher.clientReceived(this, frame)
      return
    }
    this.#isClientDone = true
    this.#scheduler.note(this.name, `ends for the client: ${code}`)
    this.#settle()
    this.#client.onClose(code, reason)
  }

  #toServer({ frame }: Parcel): void {
    if (this.#isServerDone || this.#serverProcess?.isAlive !== true) return
    if (frame === undefined) {
      this.#endServer()
      return
    }
    this.#scheduler.note(this.name, '⇒')
    this.#network.watcher.serverReceives(this, frame)
    this.#handler?.onFrame(frame)
  }

  #endServer(): void {
    if (this.#isServerDone || this.#serverProcess?.isAlive !== true) return
    this.#isServerDone = true
    this.#scheduler.note(this.name, 'ends for the server')
    this.#settle()
    this.#handler?.onClose()
  }

  #drained(): void {
    if (!this.#isServerDone && this.#serverProcess?.isAlive === true) this.#handler?.onDrain()
  }

  #settle(): void {
    if (!this.#isClientDone || (this.isOpen && !this.#isServerDone)) return
    this.isOpen = false
    this.#network.ended(this)
  }

  #serverSocket(): ServerSocket {
    const [up, down] = [this.#up, this.#down]
    return {
      remoteAddress: this.machine,
      ...(this.encoding === undefined ? {} : { encoding: this.encoding }),
      get bufferedBytes() {
        return down.bufferedBytes
      },
      send: (frames) => {
        for (const sent of frames) {
          if (this.#isServerDone || this.#serverProcess?.isAlive !== true) return
          const frame = this.#network.watcher.serverSends(this, sent)
          if (frame === undefined) continue
          this.#scheduler.note(this.name, '←', frame)
          down.send({ frame, bytes: frame.length, code: 0, reason: '' })
        }
      },
      ping: () => {
        this.#scheduler.after(50, () => {
          if (this.#clientAlive() && !up.isStalled && !down.isStalled && !this.#isServerDone) this.#handler?.onAlive()
        })
      },
      pause: () => {
        up.isPaused = true
      },
      resume: () => {
        up.isPaused = false
        up.release()
      },
      setMaxFrameBytes() {},
      close: (code, reason) => {
        if (this.#isServerDone) return
        this.#isServerDone = true
        this.#scheduler.note(this.name, `is closed by the server: ${code} ${reason}`)
        up.kill()
        down.send({ frame: undefined, bytes: 0, code, reason })
        this.#settle()
      },
      terminate: () => this.reset(true),
    }
  }
}

/** The server as the network finds it. */
export interface ListeningServer {
  readonly process: Process
  accept(socket: ServerSocket): SocketHandler
}

/** All connections, and what befalls them. */
export class Network {
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
