import type { CounterRow } from '@syncline/core'
import type { Kernel } from '../../feature.ts'
import type { BaseRow } from '../../offline/base.ts'
import { counterRowOf, greaterRow, type OpRow } from '../../offline/overlay.ts'

const NONE: CounterRow = { p: 0, n: 0 }

/** A node that counts for this tab alone, at present, and the user whose it is. */
interface Lease {
  readonly nodeId: string
  readonly user: string | undefined
  /** The maps of which it is known how far former holders have brought the node's row. */
  readonly maps: Set<string>
  readonly release: () => void
}

/**
 * The node whose rows this tab writes. A device keeps the nodes that it has had, for each user, and a tab takes one that
 * no other tab holds: so counters have as many rows as devices have had tabs open at once, and not one for each tab that
 * ever was. Who holds a node knows how far its rows are: from the server, and from what former holders have left on the
 * device, of which the server may have lost some, or not had it yet.
 */
export class NodeLease {
  readonly #kernel: Kernel
  readonly #leased: () => void
  /** A node of this tab alone, that nobody had before. */
  readonly ownNode: string
  #lease: Lease | undefined
  #isTaking = false
  /** What rows have been brought to, by node and map. */
  readonly #counted = new Map<string, CounterRow>()

  /** `leased` is told when there is a node. */
  constructor(kernel: Kernel, leased: () => void) {
    this.#kernel = kernel
    this.#leased = leased
    this.ownNode = kernel.env.uniqueId()
    kernel.turn.onClose(() => this.#lease?.release())
  }

  /** The row of a map to count in, and how far it is known to be beside what the server says. Undefined: not yet. */
  row(mapName: string, isNew: boolean): { readonly nodeId: string; readonly counted: CounterRow } | undefined {
    const { locks } = this.#kernel.env
    const nodeId = isNew || locks === undefined ? this.ownNode : this.#node(mapName)
    return nodeId === undefined ? undefined : { nodeId, counted: this.known(nodeId, mapName) }
  }

  /** How far a row is known to be beside what the server says. */
  known(nodeId: string, mapName: string): CounterRow {
    return this.#counted.get(`${nodeId}:${mapName}`) ?? NONE
  }

  /** A row of a node of this tab is this far now. */
  counted(nodeId: string, mapName: string, count: CounterRow): void {
    this.#counted.set(`${nodeId}:${mapName}`, greaterRow(this.known(nodeId, mapName), count))
  }

  #node(mapName: string): string | undefined {
    const { user } = this.#kernel.data
    const lease = this.#lease
    if (lease?.user === user && lease?.maps.has(mapName) === true) return lease.nodeId
    if (!this.#isTaking) {
      this.#isTaking = true
      void this.#take(user, mapName).finally(() => {
        this.#isTaking = false
        this.#leased()
      })
    }
    return undefined
  }

  async #take(user: string | undefined, mapName: string): Promise<void> {
    try {
      if (this.#lease === undefined || this.#lease.user !== user) {
        this.#lease?.release()
        this.#lease = undefined
        this.#lease = await this.#lock(user)
        if (this.#kernel.turn.isClosed) this.#lease.release()
      }
      await this.#readStored(this.#lease, mapName)
    } catch (error) {
      // The storage fails: a node that nobody had before needs none.
      this.#kernel.env.log('warn', 'The nodes of this device could not be read; another one is taken.', { error })
      this.#lease?.release()
      this.#lease = { nodeId: this.ownNode, user, maps: new Set([mapName]), release() {} }
    }
  }

  /** Takes a node of this device and user that is free, or makes one. */
  async #lock(user: string | undefined): Promise<Lease> {
    const { env, data } = this.#kernel
    const { storage } = data
    if (storage === undefined || env.locks === undefined) throw new Error('There is no storage.')
    const pool = `counter-nodes:${user ?? ''}`
    const rows = await storage.open.transaction('readonly', (tx) => tx.entries('meta', pool))
    const lockOf = (nodeId: string): string => `syncline:${storage.id}:counter:${nodeId}`
    for (const [[, nodeId]] of rows) {
      const release = await env.locks.tryAcquire(lockOf(nodeId))
      if (release !== undefined) return { nodeId, user, maps: new Set(), release }
    }
    const nodeId = env.uniqueId()
    const release = (await env.locks.tryAcquire(lockOf(nodeId))) ?? ((): void => {})
    try {
      await storage.open.transaction('readwrite', async (tx) => tx.put('meta', [pool, nodeId], 1))
    } catch (error) {
      release()
      throw error
    }
    return { nodeId, user, maps: new Set(), release }
  }

  /** What former holders of a node have counted and the server may not have: whoever sends it sends it as it is. */
  async #readStored({ nodeId, maps }: Lease, mapName: string): Promise<void> {
    const { storage } = this.#kernel.data
    const [queue, base] = (await storage?.open.transaction('readonly', (tx) =>
      Promise.all([tx.entries('queue'), tx.get('base', [mapName, nodeId])]),
    )) ?? [[], undefined]
    for (const [, row] of queue) {
      const { key, mapName: map, count } = row as OpRow
      if (key === nodeId && count !== undefined) this.counted(nodeId, map, count)
    }
    if (base !== undefined) this.counted(nodeId, mapName, counterRowOf((base as BaseRow).record))
    maps.add(mapName)
  }
}
