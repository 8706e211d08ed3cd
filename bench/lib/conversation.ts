// A client that asks and reads answers one after the other, and counts bytes both ways.
import { readServerMessage, type ClientMessage, type Encoding, type ReceivedServerMessage } from '@syncline/protocol'
import type { RawClient } from './raw-client.ts'
import { messagesIn, openSession, sendMessage } from './session.ts'

type Message<T extends ReceivedServerMessage['type']> = Extract<ReceivedServerMessage, { type: T }>

const TIMEOUT_MS = 60_000

/** One authenticated connection. */
export class Conversation {
  bytesSent = 0
  /** Payloads as they came, while it is an array. */
  kept: Buffer[] | undefined
  readonly #client: RawClient
  readonly #encoding: Encoding
  #received: ReceivedServerMessage[] = []
  #wake: (() => void) | undefined
  #bytesBefore = 0

  private constructor(client: RawClient, encoding: Encoding) {
    this.#client = client
    this.#encoding = encoding
    this.#bytesBefore = client.bytesReceived
    client.onPayload = (data, start, end, isText) => {
      this.kept?.push(Buffer.from(data.subarray(start, end)))
      for (const message of messagesIn(data.subarray(start, end), isText)) {
        const read = readServerMessage(message)
        if (!read.ok) throw new Error(`A message cannot be read: ${read.error.message}`)
        this.#received.push(read.value)
      }
      this.#wake?.()
    }
  }

  static async open(port: number, encoding: Encoding = 'msgpack'): Promise<Conversation> {
    return new Conversation(await openSession(port, encoding), encoding)
  }

  /** Bytes received since authentication, heads of frames included. */
  get bytesReceived(): number {
    return this.#client.bytesReceived - this.#bytesBefore
  }

  send(message: ClientMessage): void {
    this.bytesSent += sendMessage(this.#client, this.#encoding, message)
  }

  /** The next message, which must be of this type. */
  async take<T extends ReceivedServerMessage['type']>(type: T): Promise<Message<T>> {
    if (this.#received.length === 0) {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`No ${type} within ${TIMEOUT_MS} ms`)), TIMEOUT_MS)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = undefined
    }
    const message = this.#received.shift() as ReceivedServerMessage
    if (message.type !== type) throw new Error(`Not ${type}: ${JSON.stringify(message).slice(0, 500)}`)
    return message as Message<T>
  }

  end(): void {
    this.#client.end()
  }
}
