import type { Cancel } from '@syncline/core'
import type { ClientEnv } from '../env.ts'
import type { OpRow } from '../offline/overlay.ts'
import type { StorageWriter } from '../storage/writer.ts'

const SCAN_MS = 5_000
/** How long a tab may be gone before another takes its writes: a reload takes less. */
const GRACE_MS = 10_000

const lockName = (storageId: string, nodeId: string): string => `syncline:${storageId}:${nodeId}`

/** Who this tab is: the node of its stamps, and the owner of its rows in the queue. */
export interface Identity {
  readonly nodeId: string
  readonly release: () => void
}

/** Takes the node id that this tab had before a reload, or a new one where a copy of this tab holds that. */
export async function claimIdentity(env: ClientEnv, storageId: string): Promise<Identity> {
  const name = `syncline:${storageId}`
  for (let nodeId = env.tab.get(name) ?? env.uniqueId(); ; nodeId = env.uniqueId()) {
    const release = await env.locks.tryAcquire(lockName(storageId, nodeId))
    if (release === undefined) continue
    env.tab.set(name, nodeId)
    return { nodeId, release }
  }
}

/** A tab whose storage fails takes a new node id when it is reloaded: its stamps are no longer reserved. */
export function forgetIdentity(env: ClientEnv, storageId: string): void {
  env.tab.set(`syncline:${storageId}`, undefined)
}

/** Takes over the writes of tabs that are gone. Those that are gone when it starts are taken at once. */
export class Adoption {
  readonly #env: ClientEnv
  readonly #storageId: string
  readonly #nodeId: string
  readonly #writer: StorageWriter
  readonly #onAdopted: (nodeId: string, rows: readonly OpRow[]) => void
  readonly #goneSince = new Map<string, number>()
  #cancel: Cancel = () => {}
  #isStopped = false

  constructor(
    env: ClientEnv,
    storageId: string,
    nodeId: string,
    writer: StorageWriter,
    onAdopted: (nodeId: string, rows: readonly OpRow[]) => void,
  ) {
    this.#env = env
    this.#storageId = storageId
    this.#nodeId = nodeId
    this.#writer = writer
    this.#onAdopted = onAdopted
  }

  /** Looks once, and from then on every few seconds. */
  async start(): Promise<void> {
    await this.#scan(0)
    this.#next()
  }

  stop(): void {
    this.#isStopped = true
    this.#cancel()
  }

  #next(): void {
    if (this.#isStopped) return
    this.#cancel = this.#env.after(SCAN_MS, () => void this.#scan(GRACE_MS).then(() => this.#next()))
  }

  async #scan(graceMs: number): Promise<void> {
    try {
      const tabs = await this.#writer.tabsWithOps()
      for (const nodeId of tabs) if (nodeId !== this.#nodeId) await this.#look(nodeId, graceMs)
      for (const nodeId of this.#goneSince.keys()) if (!tabs.has(nodeId)) this.#goneSince.delete(nodeId)
    } catch (error) {
      this.#env.log('warn', 'Looking for the writes of closed tabs failed; it is tried again.', { error })
    }
  }

  async #look(nodeId: string, graceMs: number): Promise<void> {
    const name = lockName(this.#storageId, nodeId)
    if (await this.#env.locks.isHeld(name)) {
      this.#goneSince.delete(nodeId)
      return
    }
    const now = this.#env.monotonic()
    const since = this.#goneSince.get(nodeId) ?? now
    this.#goneSince.set(nodeId, since)
    if (now - since < graceMs || this.#isStopped) return
    const release = await this.#env.locks.tryAcquire(name)
    if (release === undefined) return
    try {
      this.#onAdopted(nodeId, await this.#writer.adopt(nodeId))
      this.#goneSince.delete(nodeId)
    } finally {
      release()
    }
  }
}
