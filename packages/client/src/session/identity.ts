import type { Cancel } from '@syncline/core'
import type { ClientEnv } from '../env.ts'
import type { OpRow } from '../offline/overlay.ts'
import { waitFor } from '../readable.ts'
import type { OpenStorage } from '../storage/storage.ts'
import { heldFor, type StorageWriter } from '../storage/writer.ts'

const SCAN_MS = 5_000
/** How long a tab may be gone before another takes its writes: a reload takes less. */
const GRACE_MS = 3_000
/** Without locks: how often a tab gives a sign of life. Browsers let tabs in the background do so once a minute. */
const BEAT_MS = 15_000
/** Without locks: how many looks at a tab that gave no sign since the first one find it gone: three minutes. */
const SILENT_LOOKS = 12

const storedName = (storageId: string): string => `syncline:${storageId}`
const lockName = (storageId: string, nodeId: string): string => `${storedName(storageId)}:${nodeId}`

/** Who this tab is: the node of its stamps, and the owner of its rows in the queue. */
export interface Identity {
  readonly nodeId: string
  /** Pages without locks that were in this tab before it, whose writes are now its own. */
  readonly left: readonly string[]
  readonly release: () => void
}

/**
 * Takes the node id that this tab had before a reload, or a new one where a copy of this tab holds that, or another tab
 * has taken its writes. Without locks, which would tell, each page takes a new one.
 */
export async function claimIdentity(env: ClientEnv, storageId: string, storage: OpenStorage): Promise<Identity> {
  const { locks, tab } = env
  const name = storedName(storageId)
  if (locks === undefined) {
    const left = tab.get(name)?.split(' ') ?? []
    tab.set(name, undefined)
    const nodeId = env.uniqueId()
    // Only a page that is left says who it was, so that a copy of one that lives knows nothing.
    const leave = (): void => tab.set(name, [tab.get(name), nodeId].filter(Boolean).join(' '))
    const stop = env.onLeave?.(leave)
    const release = (): void => {
      stop?.()
      leave()
    }
    return { nodeId, left, release }
  }
  let nodeId = tab.get(name)
  for (;;) {
    const candidate = nodeId ?? env.uniqueId()
    const release = await locks.tryAcquire(lockName(storageId, candidate))
    if (release !== undefined && (nodeId === undefined || (await hasMark(storage, candidate)))) {
      tab.set(name, candidate)
      return { nodeId: candidate, left: [], release }
    }
    release?.()
    nodeId = undefined
  }
}

/** The stamps that a node id can have issued are known. */
function hasMark(storage: OpenStorage, nodeId: string): Promise<boolean> {
  return storage.transaction('readonly', async (tx) => (await tx.get('meta', ['reserved', nodeId])) !== undefined)
}

/** A tab whose storage fails takes a new node id when it is reloaded: its stamps are no longer reserved. */
export function forgetIdentity(env: ClientEnv, storageId: string): void {
  env.tab.set(storedName(storageId), undefined)
}

/** What the adoption tells its client. */
export interface AdoptionHost {
  /** Whose ops this tab takes. */
  user(): string | undefined
  adopted(rows: readonly OpRow[]): void
}

/** Takes over the writes of tabs that are gone, and those that were put aside for the user. */
export class Adoption {
  readonly #env: ClientEnv
  readonly #storageId: string
  readonly #identity: Identity
  readonly #writer: StorageWriter
  readonly #host: AdoptionHost
  readonly #stopped = new AbortController()
  /** Tabs whose lock is waited for. */
  readonly #awaited = new Set<string>()
  /** Without locks: the latest sign of life of other tabs, and how many looks it has been the same. */
  readonly #signs = new Map<string, { readonly beat: number | undefined; looks: number }>()
  #beats = 0
  #cancel: Cancel = () => {}

  constructor(env: ClientEnv, storageId: string, identity: Identity, writer: StorageWriter, host: AdoptionHost) {
    this.#env = env
    this.#storageId = storageId
    this.#identity = identity
    this.#writer = writer
    this.#host = host
  }

  /** Looks once, and takes at once what is known to be left. From then on it looks every few seconds. */
  async start(): Promise<void> {
    for (const nodeId of this.#identity.left) await this.#try(() => this.#adopt(nodeId))
    await this.#scan(true)
    this.#next()
  }

  /** Takes what was put aside for the user, who has just become known. */
  userChanged(): void {
    void this.#try(async () => {
      await this.#writer.stored()
      await this.#scan(false)
    })
  }

  stop(): void {
    this.#stopped.abort()
    this.#cancel()
  }

  #next(): void {
    if (this.#stopped.signal.aborted) return
    const periodMs = this.#env.locks === undefined ? BEAT_MS : SCAN_MS
    this.#cancel = this.#env.after(periodMs, () => void this.#scan(false).then(() => this.#next()))
  }

  async #scan(isFirst: boolean): Promise<void> {
    await this.#try(async () => {
      const user = this.#host.user()
      const hasLocks = this.#env.locks !== undefined
      const tabs = await this.#writer.tabs(user, hasLocks ? undefined : ++this.#beats)
      for (const [nodeId, beat] of tabs) {
        if (user !== undefined && nodeId === heldFor(user)) await this.#adopt(nodeId)
        else if (!hasLocks) await this.#listen(nodeId, beat)
        else if (!this.#awaited.has(nodeId)) void this.#try(() => this.#await(nodeId, isFirst))
      }
      for (const nodeId of this.#signs.keys()) if (!tabs.has(nodeId)) this.#signs.delete(nodeId)
    })
  }

  /** Takes the writes of a tab when its lock is free: at once, or after the time in which a reload takes it again. */
  async #await(nodeId: string, isAtOnce: boolean): Promise<void> {
    const locks = this.#env.locks as NonNullable<ClientEnv['locks']>
    const { signal } = this.#stopped
    const name = lockName(this.#storageId, nodeId)
    this.#awaited.add(nodeId)
    try {
      let release = isAtOnce ? await locks.tryAcquire(name) : undefined
      if (release === undefined) {
        await locks.whenFree(name, signal)
        const never = (): Error => new Error()
        await waitFor<void>(this.#env, { signal }, never, (resolve) => this.#env.after(GRACE_MS, () => resolve()))
        release = await locks.tryAcquire(name)
      }
      if (release === undefined) return
      try {
        await this.#adopt(nodeId)
      } finally {
        release()
      }
    } finally {
      this.#awaited.delete(nodeId)
    }
  }

  /** Takes the writes of a tab without locks that has given no sign of life for long. */
  async #listen(nodeId: string, beat: number | undefined): Promise<void> {
    const sign = this.#signs.get(nodeId)
    // Looks are counted and not time, which goes on while a device sleeps.
    if (sign === undefined || sign.beat !== beat) this.#signs.set(nodeId, { beat, looks: 0 })
    else if (++sign.looks >= SILENT_LOOKS) await this.#adopt(nodeId, beat)
  }

  async #adopt(nodeId: string, beat?: number): Promise<void> {
    if (this.#stopped.signal.aborted) return
    const rows = await this.#writer.adopt(nodeId, this.#host.user(), beat)
    if (rows.length > 0) this.#host.adopted(rows)
  }

  async #try(run: () => Promise<void>): Promise<void> {
    try {
      await run()
    } catch (error) {
      if (this.#stopped.signal.aborted) return
      this.#env.log('warn', 'Looking for the writes of closed tabs failed; it is tried again.', { error })
    }
  }
}
