import {
  decodeFrame,
  encodeFrame,
  isBatch,
  readServerMessage,
  splitBatch,
  type ClientMessage,
  type Encoding,
  type ReceivedServerMessage,
} from '@syncline/protocol'
import { WebSocket } from 'ws'
import { within } from './server-process.ts'

const LIMIT_MS = 20_000

/** A connection of the bare protocol: it sends what it is told to, and tells everything that arrives, at once. */
export class WireClient {
  readonly encoding: Encoding
  /** Resolves when the connection is gone and everything that came over it has been told. */
  readonly closed: Promise<void>
  databaseId = ''
  readonly #socket: WebSocket
  readonly #listeners = new Set<(message: ReceivedServerMessage) => void>()

  private constructor(url: string, encoding: Encoding) {
    this.encoding = encoding
    this.#socket = new WebSocket(url)
    this.#socket.on('error', () => {})
    this.closed = new Promise((resolve) => this.#socket.once('close', () => resolve()))
    this.#socket.on('message', (data: Buffer, isBinary: boolean) => {
      for (const message of messagesIn(isBinary ? data : data.toString())) {
        const read = readServerMessage(message)
        if (!read.ok) throw new Error(`A message of the server cannot be read: ${read.error.message}`)
        for (const listener of this.#listeners) listener(read.value)
      }
    })
  }

  /** Connects and signs in. */
  static async open(port: number, token: string, encoding: Encoding): Promise<WireClient> {
    const client = new WireClient(`ws://127.0.0.1:${port}/ws`, encoding)
    try {
      await client.next((message) => (message.type === 'AUTH_REQUIRED' ? message : undefined))
      client.send({ type: 'AUTH', token })
      const { databaseId } = await client.next((message) => {
        if (message.type === 'AUTH_FAIL') throw new Error(message.error)
        return message.type === 'AUTH_ACK' ? message : undefined
      })
      client.databaseId = databaseId
      return client
    } catch (error) {
      client.end()
      throw error
    }
  }

  send(message: ClientMessage): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(encodeFrame(this.encoding, message))
  }

  listen(listener: (message: ReceivedServerMessage) => void): void {
    this.#listeners.add(listener)
  }

  /** The first thing that `pick` finds in what arrives from now on. Rejects if the connection ends first. */
  next<T>(pick: (message: ReceivedServerMessage) => T | undefined, limitMs: number = LIMIT_MS): Promise<T> {
    let last = 'nothing'
    const found = new Promise<T>((resolve, reject) => {
      const listener = (message: ReceivedServerMessage): void => {
        last = JSON.stringify(message).slice(0, 500)
        try {
          const picked = pick(message)
          if (picked === undefined) return
          resolve(picked)
        } catch (error) {
          reject(error)
        }
        this.#listeners.delete(listener)
      }
      this.#listeners.add(listener)
      void this.closed.then(() => reject(new Error(`The connection ended; last came ${last}`)))
    })
    return within(found, limitMs, () => `The server did not answer; last came ${last}`)
  }

  end(): void {
    this.#socket.terminate()
  }
}

function messagesIn(frame: string | Uint8Array): readonly unknown[] {
  const decoded = decodeFrame(frame)
  if (!decoded.ok) throw new Error(`A frame of the server cannot be decoded: ${decoded.error.message}`)
  const { message } = decoded.value
  if (!isBatch(message)) return [message]
  const batch = splitBatch(message)
  if (!batch.ok) throw new Error(`A batch of the server cannot be split: ${batch.error.message}`)
  return batch.value.flatMap(messagesIn)
}
