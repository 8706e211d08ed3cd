import { SynclineError } from '../../errors.ts'
import type { Kernel } from '../../feature.ts'
import { OpWriter, type WriteOptions } from '../../offline/op-writer.ts'
import { UNCOUNTED, type Op } from '../../offline/overlay.ts'
import type { Replica } from '../../offline/replica.ts'
import type { LocalWrite, Write } from '../../offline/write.ts'
import { Source, type Unsubscribe } from '../../readable.ts'
import type { SyncCounter } from './handle.ts'

/** The application's handle on one counter. */
export class CounterHandle implements SyncCounter {
  readonly #replica: Replica
  readonly #ops: OpWriter
  readonly #added: (op: Op) => void
  readonly #source: Source<number>
  readonly #seen: () => void

  /** `seen` is told when the application looks at it, `added` of each COUNT that was made. */
  constructor(kernel: Kernel, replica: Replica, seen: () => void, added: (op: Op) => void) {
    this.#seen = seen
    this.#replica = replica
    this.#ops = new OpWriter(kernel, replica)
    this.#added = added
    this.#source = new Source(
      kernel.turn,
      () => {
        let value = 0
        for (const [, row] of replica.entries()) {
          const { p, n } = row as { readonly p: number; readonly n: number }
          value += p - n
        }
        return value
      },
      () => {
        const changed = (): void => this.#source.changed()
        replica.listeners.add(changed)
        this.#seen()
        return () => replica.listeners.delete(changed)
      },
    )
  }

  get(): number {
    this.#seen()
    // What has changed in this turn is told at its end; whoever asks before is told now.
    this.#replica.publish()
    return this.#source.get()
  }

  subscribe(next: (value: number) => void, options?: { signal?: AbortSignal; immediate?: boolean }): Unsubscribe {
    return this.#source.subscribe(next, options)
  }

  [Symbol.asyncIterator](): AsyncIterator<number> {
    return this.#source[Symbol.asyncIterator]()
  }

  add(delta: number, options: Pick<WriteOptions, 'concern'> = {}, handle?: LocalWrite): Write {
    if (!Number.isSafeInteger(delta)) {
      throw new SynclineError('VALIDATION_ERROR', 'A counter counts in safe whole numbers.')
    }
    this.#ops.checkRoom(UNCOUNTED)
    this.#checkTotal(delta)
    const draft = delta === 0 ? undefined : ({ type: 'COUNT', value: delta } as const)
    const write = this.#ops.write(UNCOUNTED, options, draft, () => this.add(-delta), handle)
    if (write.op !== undefined) this.#added(write.op)
    this.#seen()
    return write
  }

  /** What was added, and what was taken away, are each a safe whole number, or the server refuses it. */
  #checkTotal(delta: number): void {
    const side = delta > 0 ? 'p' : 'n'
    let total = Math.abs(delta)
    for (const [, row] of this.#replica.entries()) total += (row as { readonly p: number; readonly n: number })[side]
    if (Number.isSafeInteger(total)) return
    throw new SynclineError('TOO_LARGE', 'All that is added to a counter, or taken from it, is at most 2^53 − 1.')
  }
}
