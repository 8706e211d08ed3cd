import type { LockGranted, LockReleased, LockRequest } from '@syncline/protocol/codec'
import { SynclineError } from '../../errors.ts'
import type { Kernel } from '../../feature.ts'

/** What became of a request: a grant, nothing more to say, or why not. */
export type Answer = LockGranted['payload'] | undefined | SynclineError

/** Sends requests for locks, and tells what they are answered, once each: on this connection or not at all. */
export class LockWire {
  readonly #kernel: Kernel
  readonly #tell = new Map<string, (answer: Answer) => void>()

  constructor(kernel: Kernel) {
    this.#kernel = kernel
  }

  /** Asks for a lock or for more time. Answers the id by which the request can be given up. */
  request(ask: Omit<LockRequest['payload'], 'requestId'>, tell: (answer: Answer) => void): string {
    const requestId = this.#expect(tell)
    this.#send({ type: 'LOCK_REQUEST', payload: { requestId, ...ask } }, requestId)
    return requestId
  }

  /** Gives a lock back. */
  release(name: string, fencingToken: number, tell: () => void = () => {}): void {
    const requestId = this.#expect(tell)
    this.#send({ type: 'LOCK_RELEASE', payload: { requestId, name, fencingToken } }, requestId)
  }

  /** Ends a request whose answer nobody waits for any more, also where it is granted by now. */
  cancel(name: string, requestId: string): void {
    if (!this.#tell.delete(requestId)) return
    if (this.#kernel.isOnline) this.#kernel.send({ type: 'LOCK_RELEASE', payload: { requestId, name } }, () => {})
  }

  /** Takes an answer. False where nobody waits for it. */
  answered(requestId: string | undefined, answer: Answer): boolean {
    const tell = this.#tell.get(requestId ?? '')
    this.#tell.delete(requestId ?? '')
    tell?.(answer)
    return tell !== undefined
  }

  /** The connection is lost: nothing that was asked on it is answered any more. */
  offline(): void {
    for (const requestId of this.#tell.keys()) this.answered(requestId, offline())
  }

  #expect(tell: (answer: Answer) => void): string {
    const requestId = this.#kernel.newId()
    this.#tell.set(requestId, tell)
    return requestId
  }

  #send(message: Parameters<Kernel['send']>[0], requestId: string): void {
    if (this.#kernel.isOnline) this.#kernel.send(message, (error) => void this.answered(requestId, error))
    else this.answered(requestId, offline())
  }
}

/** What a LOCK_RELEASED says; nothing where all is well. */
export function errorOf({ success, errorCode, error, details }: LockReleased['payload']): SynclineError | undefined {
  return success ? undefined : new SynclineError(errorCode ?? 'INTERNAL_ERROR', error, { details })
}

/** The error of what needs a connection. */
export function offline(): SynclineError {
  return new SynclineError('OFFLINE', 'There is no connection to the server, and without one nobody holds a lock.')
}
