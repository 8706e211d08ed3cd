import type { Worker } from 'node:worker_threads'
import { StorageError } from '../adapter.ts'
import type { OperationName, WorkerOperations, WorkerReply } from './messages.ts'

interface Waiting {
  readonly isWrite: boolean
  resolve(value: unknown): void
  reject(error: StorageError): void
}

/** The main thread's end of the worker: requests in order, each answered once. */
export class WorkerLink {
  readonly #worker: Worker
  readonly #path: string
  readonly #waitingById = new Map<number, Waiting>()
  #lastId = 0
  #epoch = 0
  /** Set when the disk or the worker failed: nothing is asked of it any more. */
  #broken: StorageError | undefined
  #isEnding = false
  /** Called when nothing can be asked any more, unless this end has ended the worker. */
  onBroken: ((error: StorageError) => void) | undefined
  readonly #ended: Promise<void>

  constructor(worker: Worker, path: string) {
    this.#worker = worker
    this.#path = path
    worker.unref()
    worker.on('message', (replies: WorkerReply[]) => this.#receive(replies))
    worker.on('error', (error) => this.#break(`failed (${String(error)})`, error))
    this.#ended = new Promise((resolve) => {
      worker.once('exit', (code) => {
        this.#break(`ended (exit code ${code})`)
        resolve()
      })
    })
  }

  /** Asks the worker for something. `transfer` is handed over and is empty afterwards. */
  ask<Name extends OperationName>(
    name: Name,
    request: WorkerOperations[Name]['request'],
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<WorkerOperations[Name]['reply']> {
    if (this.#broken !== undefined) return Promise.reject(this.#broken)
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId
      this.#worker.postMessage({ id, epoch: this.#epoch, name, request }, transfer)
      if (this.#waitingById.size === 0) this.#worker.ref()
      this.#waitingById.set(id, { isWrite: name === 'write', resolve, reject })
    })
  }

  /** Ends the worker. What it was asked before is rejected if it is not answered yet. */
  async end(): Promise<void> {
    // Else a process with nothing else to do would end before its caller hears that the file is free.
    this.#isEnding = true
    this.#worker.ref()
    await this.#worker.terminate()
    await this.#ended
  }

  #receive(replies: readonly WorkerReply[]): void {
    for (const reply of replies) {
      const waiting = this.#waitingById.get(reply.id)
      this.#waitingById.delete(reply.id)
      if ('value' in reply) {
        waiting?.resolve(reply.value)
        continue
      }
      const error = new StorageError(reply.fault, reply.message)
      if (waiting?.isWrite) this.#epoch++
      waiting?.reject(error)
      if (reply.fault === 'io' || waiting === undefined) this.#breakWith(error)
    }
    this.#rest()
  }

  #break(what: string, cause?: unknown): void {
    if (this.#broken !== undefined && this.#waitingById.size === 0) return
    this.#breakWith(
      new StorageError(
        'io',
        `The thread that writes ${this.#path} ${what}, and what was stored is unknown: start again.`,
        {
          cause,
        },
      ),
    )
  }

  #breakWith(error: StorageError): void {
    const isNew = this.#broken === undefined
    this.#broken ??= error
    if (isNew && !this.#isEnding) this.onBroken?.(error)
    for (const waiting of this.#waitingById.values()) waiting.reject(this.#broken)
    this.#waitingById.clear()
    this.#rest()
  }

  /** An idle database does not keep a process alive. */
  #rest(): void {
    if (this.#waitingById.size === 0 && !this.#isEnding) this.#worker.unref()
  }
}
