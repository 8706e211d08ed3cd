import type { ClientEnv } from './env.ts'
import type { SynclineError } from './errors.ts'
import type { ConflictEvent } from './features/maps/handle.ts'
import type { Write } from './offline/write.ts'
import { check, unsubscriber, type Turn, type Unsubscribe } from './readable.ts'

/** What a client tells beside the values of its Readables. */
export interface ClientEvents {
  /** The server refused a write for good. It stays visible until `pending.discard(write.id)`. */
  rejected: { readonly error: SynclineError; readonly write: Write }
  /** A write lost something to another writer. */
  conflict: { readonly mapName: string; readonly conflict: ConflictEvent<unknown>; readonly write: Write }
  /** Something failed that belongs to no call: storage, the auth callback, a message. */
  error: { readonly error: SynclineError }
  /** The server no longer speaks this client's protocol: the application must be updated. */
  'upgrade-required': { readonly error: SynclineError }
}

/** Calls whoever asked to hear of an event. */
export class Emitter {
  readonly #env: ClientEnv
  readonly #turn: Turn
  readonly #listeners = new Map<keyof ClientEvents, Set<(event: never) => void>>()

  constructor(env: ClientEnv, turn: Turn) {
    this.#env = env
    this.#turn = turn
  }

  on<E extends keyof ClientEvents>(name: E, callback: (event: ClientEvents[E]) => void): Unsubscribe {
    check(callback)
    const own = (event: ClientEvents[E]): void => callback(event)
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners.add(own))
    return unsubscriber(() => listeners.delete(own))
  }

  emit<E extends keyof ClientEvents>(name: E, event: ClientEvents[E]): void {
    const listeners = this.#listeners.get(name)
    if (name === 'error' && !listeners?.size) this.#env.log('warn', String((event as ClientEvents['error']).error))
    for (const call of Array.from(listeners ?? [])) this.#turn.guard(() => call(event as never))
  }
}
