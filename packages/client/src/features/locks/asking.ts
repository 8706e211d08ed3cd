import { SynclineError } from '../../errors.ts'
import type { Kernel } from '../../feature.ts'
import type { LockOptions } from './handle.ts'
import { HeldLock, momentOf } from './held-lock.ts'
import type { Turns } from './turns.ts'
import { offline, type LockWire } from './wire.ts'

/** What an asking needs of its feature. */
export interface AskingHost {
  readonly kernel: Kernel
  readonly wire: LockWire
  /** One asking of this client at a time for each lock: the server takes another one as a renewal. */
  readonly turns: Turns
  readonly held: Set<HeldLock>
}

/** One asking for a lock: waits for its turn, for a connection, for the server, and asks again where one is lost. */
export class Asking {
  readonly #host: AskingHost
  readonly #name: string
  readonly #options: LockOptions
  readonly #resolve: (lock: HeldLock) => void
  readonly #reject: (error: SynclineError) => void
  readonly #untilMs: number
  #leave: () => void = () => {}
  #isFirst = false
  #requestId: string | undefined
  /** Granted, and not known to last. */
  #unsure: HeldLock | undefined
  #isOver = false

  constructor(
    host: AskingHost,
    name: string,
    options: LockOptions,
    resolve: (lock: HeldLock) => void,
    reject: (error: SynclineError) => void,
  ) {
    this.#host = host
    this.#name = name
    this.#options = options
    this.#resolve = resolve
    this.#reject = reject
    this.#untilMs = host.kernel.env.monotonic() + (options.waitMs ?? Infinity)
  }

  /** Takes its place. */
  start(): void {
    this.#isFirst = false
    this.#leave = this.#host.turns.take(this.#name, () => {
      this.#isFirst = true
      this.request()
    })
    if (!this.#isFirst && this.#options.waitMs === 0) {
      this.fail(new SynclineError('TIMEOUT', `This client itself holds lock '${this.#name}', or asks for it.`))
    }
  }

  /** Asks the server, if it is its turn and there is a connection. */
  request(): void {
    const { kernel, wire } = this.#host
    if (!this.#isFirst || this.#isOver || this.#requestId !== undefined || this.#unsure !== undefined) return
    if (!kernel.isOnline) {
      if (this.#options.waitMs === 0) this.fail(offline())
      return
    }
    const sentAt = momentOf(kernel.env)
    const waitMs = Math.max(0, this.#untilMs - sentAt.monotonicMs)
    const ask = { name: this.#name, ttl: this.#options.ttlMs, ...(waitMs === Infinity ? {} : { waitMs }) }
    this.#requestId = wire.request(ask, (answer) => {
      this.#requestId = undefined
      if (answer instanceof SynclineError) {
        // It asks again on the next connection.
        if (!isEnding(answer) || this.#options.waitMs === 0) this.fail(answer)
      } else if (answer !== undefined) this.#granted(answer, sentAt)
    })
  }

  fail(error: SynclineError): void {
    this.#reject(error)
  }

  /** Ends it, whatever became of it. What it asked for and nobody has is given back. */
  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    if (this.#requestId !== undefined) this.#host.wire.cancel(this.#name, this.#requestId)
    const lock = this.#unsure
    if (lock === undefined) this.#leave()
    else lock.lose(new SynclineError('TIMEOUT', 'Nobody waits for it any more.'))
  }

  #granted(answer: ConstructorParameters<typeof HeldLock>[2], sentAt: ReturnType<typeof momentOf>): void {
    const { kernel, wire, held } = this.#host
    const leave = this.#leave
    const lock = new HeldLock(kernel.env, wire, answer, sentAt, () => {
      held.delete(lock)
      leave()
    })
    held.add(lock)
    if (lock.isYoung) return this.#done(lock)
    // It waited for others, and the lease began some time meanwhile. How long it lasts is known once it is renewed.
    this.#unsure = lock
    lock.renew().then(
      () => {
        this.#unsure = undefined
        if (!this.#isOver) this.#done(lock)
      },
      (error: SynclineError) => {
        this.#unsure = undefined
        lock.lose(error)
        if (this.#isOver) return
        // The lease was over before the renewal came, or the connection is: it waits again.
        if (error.code === 'STALE_TOKEN' || isEnding(error)) this.start()
        else this.fail(error)
      },
    )
  }

  #done(lock: HeldLock): void {
    this.#isOver = true
    lock.watch()
    this.#resolve(lock)
  }
}

/** The connection is lost, or will be in a moment. */
function isEnding({ code }: SynclineError): boolean {
  return code === 'OFFLINE' || code === 'SHUTTING_DOWN'
}
