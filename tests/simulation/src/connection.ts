import type { Encoding, Frame } from '@syncline/protocol'
import type { ServerSocket, SocketHandler } from '@syncline/server'
import type { Random } from './random.ts'
import { FAST, Stream, type LinkQuality, type Parcel } from './stream.ts'
import type { Process, Scheduler } from './virtual-env.ts'

/** What a browser says of a connection that broke. */
const BROKEN = 1006

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

/** The network as its connections see it. */
export interface ConnectionHost {
  readonly watcher: NetworkWatcher
  ended(connection: Connection): void
}

/** A connection between a client and the server. */
export class Connection {
  readonly id: number
  readonly clientName: string
  readonly machine: string
  readonly encoding: Encoding | undefined
  /** Both ends live, as far as they know. */
  isOpen = false
  /** When the server took it. */
  openedAtMs = Infinity
  /** When the server's end has ended; `Infinity` before. */
  endedAtMs = Infinity
  readonly quality: LinkQuality
  readonly #network: ConnectionHost
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
    network: ConnectionHost,
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
    this.openedAtMs = this.#scheduler.nowMs
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
    this.#serverEnded()
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
    this.#serverEnded()
    this.#scheduler.note(this.name, 'ends for the server')
    this.#settle()
    this.#handler?.onClose()
  }

  #serverEnded(): void {
    this.#isServerDone = true
    this.endedAtMs = this.#scheduler.nowMs
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
        this.#serverEnded()
        this.#scheduler.note(this.name, `is closed by the server: ${code} ${reason}`)
        up.kill()
        down.send({ frame: undefined, bytes: 0, code, reason })
        this.#settle()
      },
      terminate: () => this.reset(true),
    }
  }
}
