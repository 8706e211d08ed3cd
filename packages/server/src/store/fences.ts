import { wireError, type Fence, type WireError } from '@syncline/protocol'
import type { Persister } from './persister.ts'
import type { Sequencer } from './sequencer.ts'

/** Locks that nobody holds whose latest token is remembered. Those forgotten first were freed first. */
const REMEMBERED = 100_000

/**
 * The latest fencing token of each lock, and where tokens come from: one sequence for the whole database, so that a
 * lock needs none of its own to be remembered. A write under a lock passes with the token that was granted last for it,
 * in this run of the server: a token that is not remembered here is older than every one that will be granted.
 */
export class Fences {
  readonly #sequencer: Sequencer
  readonly #persister: Persister | undefined
  readonly #heldByName = new Map<string, number>()
  /** Of locks that are free, in the order in which they became so. */
  readonly #freeByName = new Map<string, number>()

  constructor(sequencer: Sequencer, persister: Persister | undefined) {
    this.#sequencer = sequencer
    this.#persister = persister
  }

  /** The token of a new holder of a lock, greater than all before; undefined where storage has set none aside. */
  grant(name: string): number | undefined {
    const token = this.#sequencer.nextToken()
    if (token === undefined) return undefined
    this.#persister?.renewTokens()
    this.#freeByName.delete(name)
    this.#heldByName.set(name, token)
    return token
  }

  /** Nobody holds the lock any more. Until it is granted again its latest token passes. */
  free(name: string): void {
    const token = this.#heldByName.get(name)
    if (token === undefined) return
    this.#heldByName.delete(name)
    this.#freeByName.set(name, token)
    if (this.#freeByName.size > REMEMBERED) this.#freeByName.delete(this.#freeByName.keys().next().value as string)
  }

  /** Why a write under a fence is refused, if it is. */
  refusal({ name, token }: Fence): WireError | undefined {
    const latest = this.#heldByName.get(name) ?? this.#freeByName.get(name)
    return token === latest ? undefined : wireError('STALE_TOKEN', undefined, { name, token })
  }
}
