import type { Cancel, Env } from '@syncline/core'
import type { LockGranted } from '@syncline/protocol/codec'
import { SynclineError } from '../../errors.ts'
import { checkTtl } from '../../offline/op-writer.ts'
import { asyncDispose } from '../../readable.ts'
import type { Lock } from './handle.ts'
import { offline, type Answer, type LockWire } from './wire.ts'

/** The part of a lease that is relied on: clocks of two machines do not run equally fast. */
const RELIED_ON = 0.99

/** Both clocks at one moment: the monotonic one may stand still while the device sleeps, and the wall clock may be set. */
export interface Moment {
  readonly monotonicMs: number
  readonly wallMs: number
}

/** The present moment. */
export function momentOf(env: Env): Moment {
  return { monotonicMs: env.monotonic(), wallMs: env.now() }
}

/** A lease, counted from the moment at which it was asked for: the server cannot have begun it sooner. */
export class HeldLock implements Lock {
  readonly name: string
  readonly fencingToken: number
  readonly signal: AbortSignal
  /** Of the request that took it, or renewed it last. */
  requestId: string
  readonly #env: Env
  readonly #wire: LockWire
  readonly #onEnd: () => void
  readonly #controller = new AbortController()
  #ttlMs: number
  #from: Moment
  #cancelEnd: Cancel | undefined
  #isEnded = false
  #renewing: Promise<void> = Promise.resolve()

  constructor(env: Env, wire: LockWire, granted: LockGranted['payload'], sentAt: Moment, onEnd: () => void) {
    this.name = granted.name
    this.fencingToken = granted.fencingToken
    this.requestId = granted.requestId
    this.signal = this.#controller.signal
    this.#env = env
    this.#wire = wire
    this.#onEnd = onEnd
    this.#ttlMs = granted.ttl
    this.#from = sentAt
  }

  /** More than half of the lease is left, as far as is known. */
  get isYoung(): boolean {
    return this.#leftMs() > this.#ttlMs / 2
  }

  /** From now on the lease ends by the clock. */
  watch(): void {
    this.#cancelEnd?.()
    const leftMs = this.#leftMs()
    if (leftMs <= 0) this.lose(new SynclineError('TIMEOUT', `The lease of lock '${this.name}' may have run out.`))
    else if (!this.#isEnded) this.#cancelEnd = this.#env.after(leftMs, () => this.watch())
  }

  /** One after the other: of two that are under way, nobody knows which lease the server has when an answer is lost. */
  renew(ttlMs?: number): Promise<void> {
    const renewal = this.#renewing.then(() => this.#renew(ttlMs ?? this.#ttlMs))
    this.#renewing = renewal.catch(() => {})
    return renewal
  }

  async #renew(ttlMs: number): Promise<void> {
    this.signal.throwIfAborted()
    checkTtl(ttlMs)
    const from = momentOf(this.#env)
    // A shorter lease may begin as soon as it is asked for.
    if (ttlMs < this.#leftMs()) this.#begin(from, ttlMs)
    const answer = await new Promise<Answer>((resolve) => {
      this.#wire.request({ name: this.name, ttl: ttlMs, fencingToken: this.fencingToken }, resolve)
      this.signal.addEventListener('abort', () => resolve(undefined), { once: true })
    })
    this.signal.throwIfAborted()
    if (answer instanceof SynclineError) {
      if (answer.code === 'STALE_TOKEN' || answer.code === 'FORBIDDEN') this.lose(answer)
      throw answer
    }
    if (answer === undefined) throw offline()
    this.requestId = answer.requestId
    this.#begin(from, answer.ttl)
    this.signal.throwIfAborted()
  }

  async release(): Promise<void> {
    if (this.#isEnded) return
    const isBack = new Promise<void>((resolve) => this.#wire.release(this.name, this.fencingToken, resolve))
    this.#end(new SynclineError('CLOSED', `Lock '${this.name}' was released.`))
    await isBack
  }

  async [asyncDispose](): Promise<void> {
    await this.release()
  }

  /** It is lost, or may be. The server is told, so that the next one in line need not wait for the end of the lease. */
  lose(error: SynclineError): void {
    if (this.#isEnded) return
    this.#wire.release(this.name, this.fencingToken)
    this.#end(error)
  }

  #begin(from: Moment, ttlMs: number): void {
    this.#from = from
    this.#ttlMs = ttlMs
    this.watch()
  }

  #leftMs(): number {
    const { monotonicMs, wallMs } = momentOf(this.#env)
    return this.#ttlMs * RELIED_ON - Math.max(monotonicMs - this.#from.monotonicMs, wallMs - this.#from.wallMs)
  }

  #end(error: SynclineError): void {
    this.#isEnded = true
    this.#cancelEnd?.()
    this.#onEnd()
    this.#controller.abort(error)
  }
}
