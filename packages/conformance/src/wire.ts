import { decodeJson, decodeMsgpack, encodeValueJson, encodeValueMsgpack, isBatch, splitBatch } from '@syncline/protocol'
import { WebSocket } from 'ws'
import { Failure, shown } from './failure.ts'

/** How the messages of one connection are written. */
export type Encoding = 'json' | 'msgpack'

/** A message, as it was decoded. */
export interface Message {
  readonly type: string
  /** Empty where the fields of a message stand beside its type. */
  readonly payload: Payload
  readonly requestId?: string
  readonly [member: string]: unknown
}

/** The fields of a message. Checks look at them as what the rules say that they are. */
// oxlint-disable-next-line typescript/no-explicit-any -- what a server sends is what is being examined
export type Payload = Readonly<Record<string, any>>

/** What was received, and in which encoding. */
export interface Received {
  readonly message: { readonly type: string; readonly payload?: Payload }
  readonly encoding: Encoding
}

/** Writes a message as one frame. */
export function encode(encoding: Encoding, message: unknown): string | Uint8Array {
  return encoding === 'json' ? encodeValueJson(message as never) : encodeValueMsgpack(message as never)
}

/** How long to wait before connecting to a server again that was too busy. */
const RETRY_MS = 200

/** A connection that says what it is told to, and keeps what comes until somebody asks for it. */
export class Peer {
  encoding: Encoding
  /** Everything that came, in order. */
  readonly received: Received[] = []
  /** What nobody has asked for yet. */
  readonly inbox: Message[] = []
  closed: { readonly code: number; readonly reason: string } | undefined
  isClosedByServer = false
  readonly #socket: WebSocket
  readonly #timeoutMs: number
  #wake: (() => void) | undefined
  #fault: Failure | undefined
  #isEnded = false

  private constructor(socket: WebSocket, encoding: Encoding, timeoutMs: number) {
    this.#socket = socket
    this.encoding = encoding
    this.#timeoutMs = timeoutMs
    socket.on('message', (data: Buffer, isBinary) => this.#onFrame(isBinary ? data : data.toString()))
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() }
      this.isClosedByServer = !this.#isEnded
      this.#wake?.()
    })
    socket.on('error', () => undefined)
  }

  /** Connects. The server's first message is in the inbox when it has come. */
  static async open(
    url: string,
    encoding: Encoding,
    timeoutMs: number,
    subprotocols: readonly string[] = [],
  ): Promise<Peer> {
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const socket = new WebSocket(url, [...subprotocols], { handshakeTimeout: timeoutMs })
      const peer = new Peer(socket, encoding, timeoutMs)
      const refused = await new Promise<Error | undefined>((resolve) => {
        socket.once('open', () => resolve(undefined))
        socket.once('error', resolve)
      })
      if (refused === undefined) return peer
      // Too many new connections in this second: a server may say so, and a client comes back.
      if (!refused.message.endsWith(': 503') || performance.now() > deadline) throw refused
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
  }

  /** The subprotocol that the server chose. */
  get subprotocol(): string {
    return this.#socket.protocol
  }

  send(message: object): void {
    this.sendFrame(encode(this.encoding, message))
  }

  /** Sends bytes as a binary frame, or a text as a text frame, whatever they are. */
  sendFrame(frame: string | Uint8Array): void {
    this.#socket.send(frame)
  }

  /** The next message of a type, others left where they are. An ERROR that comes instead fails. */
  async take(type: string, isWanted: (message: Message) => boolean = () => true): Promise<Message> {
    const found = await this.#until(() => {
      const at = this.inbox.findIndex((message) => message.type === type && isWanted(message))
      if (at >= 0) return this.inbox.splice(at, 1)[0]
      const error = type === 'ERROR' ? undefined : this.inbox.find((message) => message.type === 'ERROR')
      if (error !== undefined) throw new Failure(type, describe(error))
      return undefined
    })
    if (found === undefined) throw new Failure(type, this.#whatCame())
    return found
  }

  /** The next message that is wanted, of whatever type. */
  async takeAny(expected: string, isWanted: (message: Message) => boolean): Promise<Message> {
    const found = await this.#until(() => {
      const at = this.inbox.findIndex(isWanted)
      return at < 0 ? undefined : this.inbox.splice(at, 1)[0]
    })
    if (found === undefined) throw new Failure(expected, this.#whatCame())
    return found
  }

  /** The next message that is a refusal of something, of whatever type. */
  async takeRefusal(): Promise<Message> {
    return this.takeAny('a refusal', ({ type, payload }) => type === 'ERROR' || payload['errorCode'] !== undefined)
  }

  /** The refusal of a message of some type, with this code. */
  async takeError(errorCode: string, about?: string): Promise<Message> {
    const error = await this.take('ERROR')
    if (error.payload['errorCode'] !== errorCode) throw new Failure(`ERROR ${errorCode}`, describe(error))
    if (about !== undefined && error.payload['about'] !== about) {
      throw new Failure(`ERROR ${errorCode} about ${about}`, shown(error.payload))
    }
    return error
  }

  /** Sends a message and takes what answers it. */
  async ask(message: object, type: string): Promise<Message> {
    this.send(message)
    return this.take(type)
  }

  /** Waits until the server has answered everything that was sent before, and until what it set off has come. */
  async settle(): Promise<void> {
    const timestamp = Math.random()
    this.send({ type: 'PING', timestamp })
    await this.take('PONG', (message) => message['timestamp'] === timestamp)
    await new Promise((resolve) => setTimeout(resolve, 30))
  }

  /** Waits until the server has closed the connection. */
  async untilClosed(): Promise<{ readonly code: number; readonly reason: string }> {
    const closed = await this.#until(() => this.closed, true)
    if (closed === undefined) throw new Failure('the connection to be closed', this.#whatCame())
    return closed
  }

  /** Ends the connection without ceremony. */
  end(): void {
    this.#isEnded = true
    this.#socket.terminate()
  }

  #onFrame(frame: string | Buffer): void {
    const encoding = typeof frame === 'string' ? 'json' : 'msgpack'
    const decoded = typeof frame === 'string' ? decodeJson(frame) : decodeMsgpack(frame)
    if (!decoded.ok)
      this.#fault ??= new Failure('a frame that can be decoded', `${decoded.error.message} ${shown(frame)}`)
    else if (isBatch(decoded.value)) {
      const parts = splitBatch(decoded.value)
      if (!parts.ok) this.#fault ??= new Failure('a BATCH that comes out even', parts.error.message)
      else if (encoding === 'json') this.#fault ??= new Failure('no BATCH in JSON', shown(frame))
      else for (const part of parts.value) this.#onFrame(Buffer.from(part))
      return
    } else {
      const message = decoded.value as Received['message']
      this.received.push({ message, encoding })
      this.inbox.push({ ...message, payload: message.payload ?? {} })
    }
    this.#wake?.()
  }

  async #until<T>(look: () => T | undefined, isEndWanted = false): Promise<T | undefined> {
    const deadline = performance.now() + this.#timeoutMs
    for (;;) {
      if (this.#fault !== undefined) throw this.#fault
      const found = look()
      if (found !== undefined) return found
      const left = deadline - performance.now()
      if (left <= 0 || (this.closed !== undefined && !isEndWanted)) return undefined
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  #whatCame(): string {
    const came = this.inbox.length === 0 ? `nothing for ${this.#timeoutMs} ms` : this.inbox.map(describe).join(', ')
    return this.closed === undefined ? came : `${came}, and close ${this.closed.code} ${this.closed.reason}`
  }
}

/** A message in a few words. */
export function describe(message: Message): string {
  const { type = 'a message without a type', payload } = message as Partial<Message> & Pick<Message, 'payload'>
  if (type === 'ERROR') return `ERROR ${String(payload['errorCode'])}: ${String(payload['message'])}`
  return `${type} ${shown(Object.keys(payload).length === 0 ? message : payload)}`
}
