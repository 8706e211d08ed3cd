import {
  decodeServerJson,
  readFollowerMessage,
  type ClientMessage,
  type ItemOpMessage,
  type ReceivedServerMessage,
  type Shapes,
} from '@syncline/protocol/codec'
import { SynclineError } from '../errors.ts'
import type { Feature, Handlers } from '../feature.ts'

/** The road in: gives each message to the feature that handles its type, and each ERROR to who caused it. */
export class Inbound {
  #handlers: Handlers = {}
  #shapes: readonly Shapes[] = []
  readonly #report: (error: SynclineError) => void
  readonly #onErrorById = new Map<string, (error: SynclineError) => void>()
  #lastRequest = 0
  /** The latest requests before the last ping, and before the one before it. */
  #pingedThrough = 0
  #pingedBefore = 0

  constructor(report: (error: SynclineError) => void) {
    this.#report = report
  }

  /** From now on a feature is given its messages. */
  add({ handlers, shapes }: Feature): void {
    this.#handlers = { ...this.#handlers, ...handlers }
    if (shapes !== undefined) this.#shapes = [...this.#shapes, shapes]
  }

  /** Reads a frame. Messages that this client does not know are left out, so that a newer server may send them. */
  decode(text: string): ReceivedServerMessage | undefined {
    const decoded = decodeServerJson(text)
    const message = decoded.ok ? readFollowerMessage(decoded.value, this.#shapes) : decoded
    if (message.ok) return message.value
    const { errorCode, message: reason } = message.error
    if (errorCode !== 'UNKNOWN_OPERATION') this.#report(new SynclineError(errorCode, `From the server: ${reason}`))
    return undefined
  }

  /** Gives a message the id under which its ERROR comes back. */
  expect<M extends ClientMessage | ItemOpMessage>(
    message: M,
    onError: ((error: SynclineError) => void) | undefined,
  ): M {
    if (onError === undefined) return message
    const requestId = String(++this.#lastRequest)
    this.#onErrorById.set(requestId, onError)
    return { ...message, requestId }
  }

  receive(message: ReceivedServerMessage): void {
    const onError = this.#onErrorById.get(message.requestId ?? '')
    this.#onErrorById.delete(message.requestId ?? '')
    if (message.type === 'ERROR') {
      const { errorCode, message: text, details } = message.payload
      const error = new SynclineError(errorCode, text, { details, requestId: message.requestId })
      ;(onError ?? this.#report)(error)
    } else (this.#handlers[message.type] as ((message: ReceivedServerMessage) => void) | undefined)?.(message)
  }

  /** A PING leaves: what the server refuses of all that was sent before it, it refuses before it answers. */
  pinged(): void {
    this.#pingedBefore = this.#pingedThrough
    this.#pingedThrough = this.#lastRequest
  }

  /** A PONG is here, of the latest PING or of a late one: what came before the PING before it is over. */
  ponged(): void {
    for (const requestId of this.#onErrorById.keys()) {
      if (Number(requestId) > this.#pingedBefore) break
      this.#onErrorById.delete(requestId)
    }
  }

  /** The session is over: nothing that was sent on it is answered any more. */
  offline(): void {
    this.#onErrorById.clear()
  }
}
