import {
  decodeFrame,
  encodeFrame,
  isBatch,
  splitBatch,
  type ClientMessage,
  type Frame,
  type ItemOpMessage,
  type ServerMessage,
} from '@syncline/protocol'
import type { SynclineServer } from '../syncline-server.ts'
import type { ServerSocket, SocketHandler } from '../transport/connection.ts'

/** A socket without a network, whose buffer a test fills and drains. */
export class FakeSocket implements ServerSocket {
  readonly remoteAddress = 'test'
  /** Frames written, in order. */
  readonly written: ServerMessage[] = []
  /** The frames of each write, as they were handed over. */
  readonly frames: (readonly Frame[])[] = []
  /** Bytes of each write. */
  readonly writes: number[] = []
  /** What is written stays in the buffer until `drain`. */
  isStuck = false
  bufferedBytes = 0
  closed: { readonly code: number; readonly reason: string } | undefined
  isPaused = false
  pings = 0
  readonly #handler: SocketHandler

  constructor(server: SynclineServer) {
    this.#handler = server.accept(this)
  }

  send(frames: readonly Frame[]): void {
    const bytes = frames.reduce((sum, frame) => sum + frame.length, 0)
    this.writes.push(bytes)
    this.frames.push(frames)
    if (this.isStuck) this.bufferedBytes += bytes
    for (const frame of frames) this.#note(frame)
  }

  ping(): void {
    this.pings++
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
  }

  setMaxFrameBytes(): void {}

  close(code: number, reason: string): void {
    this.closed ??= { code, reason }
  }

  terminate(): void {
    this.closed ??= { code: 1006, reason: '' }
  }

  /** A message from the client. */
  receive(message: ClientMessage | ItemOpMessage): void {
    this.receiveFrame(encodeFrame('json', message))
  }

  /** Any frame from the client. */
  receiveFrame(frame: Frame): void {
    this.#handler.onFrame(frame)
  }

  /** The peer answered a ping, below the protocol. */
  pong(): void {
    this.#handler.onAlive()
  }

  /** The peer took everything. */
  drain(): void {
    this.isStuck = false
    this.bufferedBytes = 0
    this.#handler.onDrain()
  }

  /** The peer is gone. */
  end(): void {
    this.#handler.onClose()
  }

  /** Until everything that is ready has been written. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  }

  #note(frame: Frame): void {
    const decoded = decodeFrame(frame)
    if (!decoded.ok) throw new Error(decoded.error.message)
    const { message } = decoded.value
    const parts = isBatch(message) ? splitBatch(message) : undefined
    if (parts?.ok === true) for (const part of parts.value) this.#note(part)
    else this.written.push(message as ServerMessage)
  }
}
