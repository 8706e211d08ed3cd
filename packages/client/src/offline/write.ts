import type { WriteConcern } from '@syncline/protocol/codec'
import { SynclineError, anotherUser, clientClosed } from '../errors.ts'
import type { Kernel } from '../feature.ts'
import { Source, waitFor, type Readable, type WaitOptions } from '../readable.ts'
import type { Op } from './overlay.ts'

/** How far a write can be waited for: stored in this client, or acknowledged by the server at a level. */
export type WriteLevel = 'local' | 'memory' | 'applied' | 'replicated' | 'persisted'

/** What is known of a write: not yet sent, on its way, acknowledged, refused for good. */
export type WriteStatus = 'pending' | 'sent' | 'acked' | 'rejected'

/** One write. It is no promise: a write that nobody looks at is sent all the same, and its refusal is an event. */
export interface Write {
  readonly id: string
  readonly status: Readable<WriteStatus>
  /**
   * Resolves when the write has reached a level, asking the server for it if need be. Rejects if the write is refused,
   * with UNAUTHORIZED
   * when another user signs in, and with TIMEOUT or the signal's reason; the write itself goes on then.
   */
  wait(level: WriteLevel, options?: WaitOptions): Promise<{ level: WriteLevel; latencyMs: number }>
  /**
   * Writes what was there before: the key's whole value, or after `update` the fields that it changed. Throws
   * UNAUTHORIZED while another user is signed in.
   */
  undo(): Write
}

/** The levels in ascending order, as the wire names them. */
export const LEVELS: readonly WriteConcern[] = ['FIRE_AND_FORGET', 'MEMORY', 'APPLIED', 'REPLICATED', 'PERSISTED']

/** What the wire calls a level. Throws VALIDATION_ERROR where there is no such level. */
export function concernOf(level: string): WriteConcern {
  const concern = LEVELS.find((each, rank) => rank > 0 && each.toLowerCase() === level)
  if (concern === undefined) throw new SynclineError('VALIDATION_ERROR', `There is no level '${level}'.`)
  return concern
}

interface Waiter {
  readonly rank: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** The application's handle on a write, which outlives its op. */
export class LocalWrite implements Write {
  readonly id: string
  readonly status: Source<WriteStatus>
  readonly #kernel: Kernel
  readonly #startedAt: number
  readonly #waiters = new Set<Waiter>()
  #reached = -1
  #error: SynclineError | undefined
  /** The op, once there is one; none where there was nothing to change. */
  op: Op | undefined
  undo: () => Write

  constructor(kernel: Kernel, id: string, undo: () => Write) {
    this.#kernel = kernel
    this.id = id
    this.undo = undo
    this.#startedAt = kernel.env.monotonic()
    this.status = new Source(kernel.turn, () => this.#status())
  }

  async wait(level: WriteLevel, options: WaitOptions = {}): Promise<{ level: WriteLevel; latencyMs: number }> {
    const onTimeout = (): Error =>
      new SynclineError('TIMEOUT', `The write did not reach '${level}' in time; it goes on.`)
    const { env } = this.#kernel
    await waitFor<void>(env, options, onTimeout, (resolve, reject) => {
      if (this.#error !== undefined) reject(this.#error)
      else if (level === 'local') {
        const store = (): void => void this.#kernel.data.writer.stored().then(resolve, reject)
        if (this.op !== undefined || this.#reached >= 0) store()
        // Its op is made when the code for it is here, or local data is loaded.
        else return this.#wait({ rank: -1, resolve: store, reject })
      } else if (this.#kernel.turn.isClosed) reject(clientClosed())
      else {
        const concern = concernOf(level)
        const waiter = { rank: LEVELS.indexOf(concern), resolve, reject }
        if (waiter.rank <= this.#reached) resolve()
        else if (this.op !== undefined && this.#kernel.data.isOthers(this.op)) reject(anotherUser())
        else {
          if (this.op !== undefined) this.#kernel.outbox.raise(this.op, concern)
          return this.#wait(waiter)
        }
      }
      return () => {}
    })
    return { level, latencyMs: env.monotonic() - this.#startedAt }
  }

  #wait(waiter: Waiter): () => void {
    this.#waiters.add(waiter)
    const stop = this.#kernel.turn.onClose(() => waiter.reject(clientClosed()))
    return () => {
      stop()
      this.#waiters.delete(waiter)
    }
  }

  /** The highest level that someone waits for. */
  get awaited(): WriteConcern | undefined {
    return LEVELS[Math.max(-1, ...Array.from(this.#waiters, (waiter) => waiter.rank))]
  }

  /** Ties the handle to its op. */
  attach(op: Op): void {
    this.op = op
    op.write = this
    if (this.awaited !== undefined) this.#kernel.outbox.raise(op, this.awaited)
    for (const waiter of this.#waiters) if (waiter.rank < 0) waiter.resolve()
    this.status.changed()
  }

  /** The server acknowledged a level. */
  reach(level: WriteConcern): void {
    this.#reached = Math.max(this.#reached, LEVELS.indexOf(level))
    for (const waiter of this.#waiters) if (waiter.rank <= this.#reached) waiter.resolve()
    this.status.changed()
  }

  /** The write was refused or given up. */
  fail(error: SynclineError): void {
    this.#error = error
    this.failAbove(-2, error)
    this.status.changed()
  }

  /** A level cannot be had; the write stands. */
  failAbove(rank: number, error: SynclineError): void {
    for (const waiter of this.#waiters) if (waiter.rank > rank) waiter.reject(error)
  }

  #status(): WriteStatus {
    if (this.#error !== undefined) return 'rejected'
    if (this.#reached >= 0) return 'acked'
    return this.op?.phase === 'sent' ? 'sent' : 'pending'
  }
}

/** The handle on a write that is made when its code is here, or local data is loaded. */
export function earlyWrite(kernel: Kernel): LocalWrite {
  return new LocalWrite(kernel, kernel.newId(), () => {
    throw new SynclineError('NOT_FOUND', 'Nothing has been written yet: await `ready` first.')
  })
}
