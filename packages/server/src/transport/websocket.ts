import type { IncomingMessage, Server as HttpServer } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Env } from '@syncline/core'
import { LIMITS, SUBPROTOCOLS, type Encoding, type Frame } from '@syncline/protocol'
import { WebSocket, WebSocketServer } from 'ws'
import type { ServerSocket, SocketHandler } from './connection.ts'
import { framed } from './framing.ts'

/** How long clients have to answer a close when the server stops. */
const CLOSE_GRACE_MS = 1_000
/** How long they have otherwise. Until then a connection that does not read keeps what was queued for it. */
const CLOSE_TIMEOUT_MS = 5_000

/** What the WebSocket transport needs of the server. */
export interface WebSocketHost {
  readonly compression: boolean
  /** Why a new connection cannot be taken, as an HTTP status line, if it cannot. */
  readonly refusal: (remoteAddress: string) => { readonly status: number; readonly reason: string } | undefined
  /** A connection that was not refused did not come to be: its handshake is none. */
  readonly onAborted: (remoteAddress: string) => void
  readonly onSocket: (socket: ServerSocket) => SocketHandler
}

/** Carries connections over WebSocket (RFC 6455), beside other upgrade listeners of the same HTTP server. */
export class WebSocketTransport {
  readonly #host: WebSocketHost
  readonly #wss: InstanceType<typeof WebSocketServer<typeof EventSocket>>
  readonly #sockets = new Set<EventSocket>()
  #onEmpty: (() => void) | undefined
  readonly #attached = new Map<HttpServer, (request: IncomingMessage, socket: Duplex, head: Buffer) => void>()

  constructor(host: WebSocketHost) {
    this.#host = host
    // The types of ws do not know `closeTimeout`, so these are no literal.
    const options = {
      noServer: true,
      perMessageDeflate: host.compression,
      maxPayload: LIMITS.frameBytesBeforeAuth,
      handleProtocols: (offered: ReadonlySet<string>) =>
        [SUBPROTOCOLS.json, SUBPROTOCOLS.msgpack].find((name) => offered.has(name)) ?? false,
      closeTimeout: CLOSE_TIMEOUT_MS,
      WebSocket: EventSocket,
      clientTracking: false,
    }
    this.#wss = new WebSocketServer(options)
  }

  /** Takes upgrades on some paths of a server. Upgrades of other paths are left to whoever else listens. */
  attach(server: HttpServer, paths: ReadonlySet<string>): void {
    if (this.#attached.has(server)) return
    const onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
      if (!paths.has(pathOf(request))) {
        // Alone on this server, nobody else will answer.
        if (server.listenerCount('upgrade') === 1) refuse(socket, 404, 'Not Found')
        return
      }
      const { remoteAddress = '' } = request.socket
      const refusal = this.#host.refusal(remoteAddress)
      if (refusal !== undefined) return refuse(socket, refusal.status, refusal.reason)
      let isAccepted = false
      this.#wss.handleUpgrade(request, socket, head, (ws) => {
        isAccepted = true
        this.#accept(ws, request.socket, remoteAddress)
      })
      if (!isAccepted) this.#host.onAborted(remoteAddress)
    }
    this.#attached.set(server, onUpgrade)
    server.on('upgrade', onUpgrade)
  }

  /** Takes no more upgrades, waits until closing handshakes are done, and cuts what is still connected then. */
  async stop(env: Env): Promise<void> {
    for (const [server, onUpgrade] of this.#attached) server.off('upgrade', onUpgrade)
    this.#attached.clear()
    this.#wss.close()
    if (this.#sockets.size === 0) return
    const cancel = env.after(CLOSE_GRACE_MS, () => {
      for (const ws of this.#sockets) ws.terminate()
    })
    await new Promise<void>((resolve) => (this.#onEmpty = resolve))
    cancel()
  }

  #accept(ws: EventSocket, socket: Socket, remoteAddress: string): void {
    this.#sockets.add(ws)
    ws.onEnded = this.#ended
    const Carrier = ws.extensions === '' ? PlainSocket : CompressedSocket
    ws.handler = this.#host.onSocket(new Carrier(ws, socket, remoteAddress))
  }

  readonly #ended = (ws: EventSocket): void => {
    this.#sockets.delete(ws)
    if (this.#sockets.size === 0) this.#onEmpty?.()
  }
}

/** The path of a request's address, without its query. */
export function pathOf(request: IncomingMessage): string {
  const url = request.url ?? '/'
  const end = url.indexOf('?')
  return end < 0 ? url : url.slice(0, end)
}

function refuse(socket: Duplex, status: number, reason: string): void {
  socket.on('error', () => socket.destroy())
  // Nobody reads it any more, so that its end would not be noticed.
  socket.once('finish', () => socket.destroy())
  socket.end(`HTTP/1.1 ${status} ${reason}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}

/** The socket of ws. It answers its events itself: tables of listeners would be much of what a connection costs. */
class EventSocket extends WebSocket {
  handler: SocketHandler | undefined
  onEnded: ((ws: EventSocket) => void) | undefined

  override emit(event: string | symbol, data?: unknown, isBinary?: unknown): boolean {
    const { handler } = this
    if (handler === undefined) return false
    switch (event) {
      case 'message':
        handler.onFrame(isBinary === true ? (data as Buffer) : (data as Buffer).toString())
        return true
      case 'pong':
      // ws answers by itself, and ends a connection that leaves too many answers unread.
      case 'ping':
        handler.onAlive()
        return true
      case 'close':
        this.onEnded?.(this)
        handler.onClose()
        return true
      default:
        // Frames that break the protocol or are too large end the connection with their close code.
        return event === 'error'
    }
  }
}

function encodingOf(protocol: string): Encoding | undefined {
  return protocol === SUBPROTOCOLS.json ? 'json' : protocol === SUBPROTOCOLS.msgpack ? 'msgpack' : undefined
}

const NOTHING = Buffer.alloc(0)

/** A connection whose frames leave as they are. */
export class PlainSocket implements ServerSocket {
  readonly remoteAddress: string
  protected readonly ws: EventSocket
  protected readonly socket: Socket
  #isAwaitingDrain = false

  constructor(ws: EventSocket, socket: Socket, remoteAddress: string) {
    this.ws = ws
    this.socket = socket
    this.remoteAddress = remoteAddress
  }

  get localAddress(): string | undefined {
    const { localAddress, localPort } = this.socket
    if (localAddress === undefined || localPort === undefined) return undefined
    const host = localAddress.replace(/^::ffff:(?=\d+\.)/, '')
    return `${host.includes(':') ? `[${host}]` : host}:${localPort}`
  }

  get encoding(): Encoding | undefined {
    return encodingOf(this.ws.protocol)
  }

  get bufferedBytes(): number {
    return this.ws.bufferedAmount
  }

  send(frames: readonly Frame[]): void {
    // Nothing may follow a close frame. ws itself writes whole frames at once, so that these never come between.
    if (this.ws.readyState !== WebSocket.OPEN) return
    this.socket.write(framed(frames))
    if (this.socket.writableLength > 0) this.#awaitDrain()
  }

  /** The socket's own 'drain' comes only above its high-water mark; an empty write is done when all before it are. */
  #awaitDrain(): void {
    // One that ends takes no more writes: another would cut off what it still has to send.
    if (this.#isAwaitingDrain || this.socket.writableEnded) return
    this.#isAwaitingDrain = true
    this.socket.write(NOTHING, (error) => {
      this.#isAwaitingDrain = false
      if (error instanceof Error) return
      if (this.socket.writableLength > 0) this.#awaitDrain()
      this.ws.handler?.onDrain()
    })
  }

  ping(): void {
    this.ws.ping()
  }

  pause(): void {
    this.ws.pause()
  }

  resume(): void {
    if (this.ws.isPaused) this.ws.resume()
  }

  setMaxFrameBytes(bytes: number): void {
    // ws takes the limit for all connections of a server; one that has authenticated may send more.
    const { _receiver, _extensions } = this.ws as unknown as {
      _receiver: { _maxPayload: number }
      _extensions: { 'permessage-deflate'?: { _maxPayload: number } }
    }
    _receiver._maxPayload = bytes
    if (_extensions['permessage-deflate'] !== undefined) _extensions['permessage-deflate']._maxPayload = bytes
  }

  close(code: number, reason: string): void {
    this.ws.close(code, reason)
  }

  terminate(): void {
    this.ws.terminate()
  }
}

/** A connection whose frames ws compresses, one after the other, and queues meanwhile. */
class CompressedSocket extends PlainSocket {
  override send(frames: readonly Frame[]): void {
    const last = frames.length - 1
    this.socket.cork()
    for (let i = 0; i < last; i++) this.ws.send(frames[i] as Frame)
    this.ws.send(frames[last] as Frame, () => this.ws.handler?.onDrain())
    this.socket.uncork()
  }
}
