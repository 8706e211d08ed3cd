import type { Kernel } from '../../feature.ts'
import type { Replica } from '../../offline/replica.ts'

/** Counters that are followed, unless more have subscribers or pending writes. The server allows 1,000 maps of all kinds. */
const MAX_FOLLOWED = 500
/** How often those that wait for a place look for one. */
const LOOK_MS = 100

/**
 * Which counters are followed. Each is a map of its own, and a page may look at many, one after the other: beyond a number
 * of them those are left that were looked at longest ago. They show what they did, and are followed again when they are
 * looked at again. Those that have subscribers or pending writes are never left.
 */
export class Attention {
  readonly #kernel: Kernel
  /** In the order in which they were looked at. */
  readonly #followed = new Map<string, Replica>()
  /** Looked at while there was no place. */
  readonly #waiting = new Map<string, Replica>()
  /** Those of these for which the server had no place. */
  readonly #refused = new Set<Replica>()
  #cancelLook: (() => void) | undefined

  constructor(kernel: Kernel) {
    this.#kernel = kernel
    kernel.turn.onClose(() => this.#cancelLook?.())
  }

  /** The application looks at a counter. */
  seen(replica: Replica): void {
    const { name, link, fault } = replica
    // There was no place for it on the server: it waits until another one is left.
    const isRefused = link === 'refused' && fault?.code === 'LIMIT_EXCEEDED'
    if (isRefused) this.#leave(replica)
    if (this.#followed.delete(name)) this.#followed.set(name, replica)
    else if (!isRefused && !this.#waiting.has(name) && (this.#written().has(name) || replica.listeners.size > 0)) {
      this.#makeRoom()
      this.#follow(replica)
    } else {
      this.#waiting.set(name, replica)
      if (isRefused) this.#refused.add(replica)
      if (this.#cancelLook === undefined) this.#look()
    }
  }

  /** Follows those that wait, in their order, as far as there is room. */
  readonly #look = (): void => {
    this.#cancelLook = undefined
    for (const replica of this.#waiting.values()) {
      if (!this.#makeRoom(this.#refused.has(replica))) break
      this.#refused.delete(replica)
      this.#follow(replica)
    }
    if (this.#waiting.size > 0) this.#cancelLook = this.#kernel.env.after(LOOK_MS, this.#look)
  }

  #follow(replica: Replica): void {
    const { name } = replica
    this.#waiting.delete(name)
    this.#followed.set(name, replica)
    this.#kernel.data.replica(name)
  }

  /** True if there is room for one more, or it could be made. `isFull`: the server has said that there is none. */
  #makeRoom(isFull = false): boolean {
    if (!isFull && this.#followed.size < MAX_FOLLOWED) return true
    const kernel = this.#kernel
    const written = this.#written()
    for (const [name, replica] of this.#followed) {
      const { link, listeners } = replica
      // What has been asked for comes: the answer must not be taken for that to a later question.
      if (link === 'asked' || link === 'paging' || listeners.size > 0 || written.has(name)) continue
      if (kernel.isOnline && link === 'live') kernel.send({ type: 'SYNC_STOP', mapName: name })
      this.#leave(replica)
      // A place that the server never gave is none.
      if (!isFull || link === 'live') return true
    }
    return false
  }

  #leave(replica: Replica): void {
    this.#followed.delete(replica.name)
    this.#kernel.data.used.delete(replica.name)
    replica.disconnected()
  }

  /** Maps with writes that the server has not confirmed. */
  #written(): ReadonlySet<string> {
    return new Set(Array.from(this.#kernel.data.overlay.ops.values(), ({ row }) => row.mapName))
  }
}
