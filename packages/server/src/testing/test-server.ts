import {
  decodeFrame,
  encodeFrame,
  readItemEvent,
  readServerMessage,
  splitBatch,
  isBatch,
  type ClientMessage,
  type Encoding,
  type ItemEvent,
  type ItemOpMessage,
  type ServerMessage,
} from '@syncline/protocol'
import { WebSocket } from 'ws'
import { nodeEnv } from '../env.ts'
import type { ServerOptions } from '../features.ts'
import { createServer } from '../server.ts'
import type { SynclineServer } from '../syncline-server.ts'

/** How long a client waits for what must come. Tests share the machine with whatever else runs. */
const WAIT_MS = 20_000

/** A server on a free loopback port, and clients that speak the bare protocol to it. */
export interface TestServer extends AsyncDisposable {
  readonly server: SynclineServer
  readonly url: string
  /** Lines that the server narrated. */
  readonly log: readonly string[]
  /** Connects a client. With `token` it also authenticates. */
  connect(options?: {
    readonly encoding?: Encoding
    readonly token?: string
    readonly path?: string
    readonly subprotocol?: string
    readonly compression?: boolean
  }): Promise<TestClient>
}

/** Starts a server for a test: in memory and open to everyone, unless the options say otherwise. */
export async function startTestServer(options: ServerOptions = {}): Promise<TestServer> {
  const log: string[] = []
  const server = createServer({
    host: '127.0.0.1',
    mode: 'development',
    auth: options.jwtSecret === undefined ? 'none' : 'jwt',
    env: nodeEnv('debug', (line) => log.push(line)),
    rateLimiting: { enabled: false },
    ...options,
  })
  await server.ready()
  const url = `ws://127.0.0.1:${server.port}`
  const clients: TestClient[] = []
  return {
    server,
    url,
    log,
    async connect({ encoding = 'json', token, path = '/ws', subprotocol, compression } = {}) {
      const client = await TestClient.open(`${url}${path}`, encoding, { subprotocol, compression })
      clients.push(client)
      if (token !== undefined) {
        client.send({ type: 'AUTH', token })
        await client.take('AUTH_ACK')
      }
      return client
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.end()
      await server.shutdown()
    },
  }
}

type Message<T extends ServerMessage['type']> = Extract<ServerMessage, { type: T }>

/** A client of the bare protocol. It keeps what it received until a test takes it. */
export class TestClient {
  readonly encoding: Encoding
  /** Received and not taken yet, in order. */
  readonly inbox: ServerMessage[] = []
  /** Frames received, BATCH frames counted as one. */
  frames = 0
  closed: { readonly code: number; readonly reason: string } | undefined
  /** Called with each message as it arrives, before any test takes it. */
  onMessage: ((message: ServerMessage, frame: string | Uint8Array) => void) | undefined
  readonly #socket: WebSocket
  readonly #waiting = new Set<() => void>()

  private constructor(socket: WebSocket, encoding: Encoding) {
    this.#socket = socket
    this.encoding = encoding
    socket.on('message', (data: Buffer, isBinary: boolean) => this.#receive(isBinary ? data : data.toString()))
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() }
      this.#wake()
    })
    socket.on('error', () => {})
  }

  static async open(
    url: string,
    encoding: Encoding,
    { subprotocol, compression = false }: { subprotocol?: string | undefined; compression?: boolean | undefined } = {},
  ): Promise<TestClient> {
    // A client that does not read must not keep a test waiting for the end of its socket.
    const options = { perMessageDeflate: compression, closeTimeout: 500 }
    const socket = new WebSocket(url, subprotocol === undefined ? [] : [subprotocol], options)
    const client = new TestClient(socket, encoding)
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('error', reject)
    })
    return client
  }

  send(message: ClientMessage | ItemOpMessage): void {
    this.sendRaw(encodeFrame(this.encoding, message))
  }

  /** Sends any text or bytes as one frame. */
  sendRaw(frame: string | Uint8Array): void {
    this.#socket.send(frame)
  }

  /** Takes the first message of a type (that fits), waiting for it if need be. */
  async take<T extends ServerMessage['type']>(
    type: T,
    fits: (message: Message<T>) => boolean = () => true,
    timeoutMs: number = WAIT_MS,
    orType: T = type,
  ): Promise<Message<T>> {
    const find = (): number =>
      this.inbox.findIndex(
        (message) => (message.type === type || message.type === orType) && fits(message as Message<T>),
      )
    await this.until(
      () => find() >= 0,
      timeoutMs,
      () => `a ${type}; received: ${JSON.stringify(this.inbox).slice(0, 2_000)}`,
    )
    return this.inbox.splice(find(), 1)[0] as Message<T>
  }

  /** Takes so many events of items of an OR-map, waiting for them if need be. */
  async takeItems(count: number): Promise<ItemEvent[]> {
    const events: ItemEvent[] = []
    while (events.length < count) {
      const message = await this.take<'SERVER_EVENT' | 'SERVER_BATCH_EVENT'>(
        'SERVER_EVENT',
        () => true,
        WAIT_MS,
        'SERVER_BATCH_EVENT',
      )
      const read = readItemEvent(structuredClone(message))
      if (!read.ok) throw new Error(`This is no event of an item: ${JSON.stringify(message)}`)
      const { payload } = read.value
      events.push(...('events' in payload ? payload.events : [payload]))
    }
    return events
  }

  /** Waits for a condition that received messages make true. */
  async until(
    condition: () => boolean,
    timeoutMs: number = WAIT_MS,
    what: () => string = () => 'a condition',
  ): Promise<void> {
    const deadline = performance.now() + timeoutMs
    while (!condition()) {
      if (this.closed !== undefined)
        throw new Error(`Closed by ${this.closed.code} ${this.closed.reason} while waiting for ${what()}`)
      if (performance.now() > deadline) throw new Error(`Nothing within ${timeoutMs} ms while waiting for ${what()}`)
      await this.#next(deadline)
    }
  }

  /** Waits until the server has closed the connection. */
  async untilClosed(timeoutMs: number = WAIT_MS): Promise<{ readonly code: number; readonly reason: string }> {
    const deadline = performance.now() + timeoutMs
    while (this.closed === undefined) {
      if (performance.now() > deadline) throw new Error(`Not closed within ${timeoutMs} ms`)
      await this.#next(deadline)
    }
    return this.closed
  }

  /** Sends a PING below the protocol. */
  pingRaw(data: Uint8Array): void {
    this.#socket.ping(data)
  }

  /** Waits until everything sent so far has been handled, by a PING that follows it. */
  async settle(): Promise<void> {
    const timestamp = Math.random()
    this.send({ type: 'PING', timestamp })
    await this.take('PONG', (pong) => pong.timestamp === timestamp)
  }

  /** Stops and resumes reading. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(): void {
    this.#socket.terminate()
  }

  #receive(frame: string | Uint8Array): void {
    this.frames++
    const decoded = decodeFrame(frame)
    if (!decoded.ok) throw new Error(`The server sent a frame that cannot be decoded: ${decoded.error.message}`)
    const { message } = decoded.value
    if (isBatch(message)) {
      const batch = splitBatch(message)
      if (!batch.ok) throw new Error(`The server sent a batch that cannot be split: ${batch.error.message}`)
      for (const bytes of batch.value) this.#receive(bytes)
      this.frames -= batch.value.length
    } else {
      const read = readServerMessage(message)
      if (!read.ok && !readItemEvent(message).ok)
        throw new Error(`The server sent what no client can read: ${read.error.message}`)
      this.inbox.push(message as ServerMessage)
      this.onMessage?.(message as ServerMessage, frame)
    }
    this.#wake()
  }

  #next(deadline: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(
        () => {
          this.#waiting.delete(wake)
          resolve()
        },
        Math.max(1, deadline - performance.now()),
      )
      const wake = (): void => {
        clearTimeout(timer)
        resolve()
      }
      this.#waiting.add(wake)
    })
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }
}
