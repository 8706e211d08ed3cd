import type { Cancel } from '@syncline/core'
import type { ClientEnv } from '../env.ts'
import type { OpRow } from '../offline/overlay.ts'
import type { OpenStorage, RowKey, StorageTransaction } from '../storage/storage.ts'
import type { Identity } from './identity.ts'

const SCAN_MS = 5_000
/** How long a tab may be gone before another takes its writes: a reload takes less. */
const GRACE_MS = 3_000
/** Without locks: how often a tab gives a sign of life. Browsers let tabs in the background do so once a minute. */
const BEAT_MS = 15_000
/** Without locks: how many looks at a tab that gave no sign since the first one find it gone: three minutes. */
const SILENT_LOOKS = 12

/** What the adoption needs of its client, with which it shares no code but types: it is loaded by itself. */
export interface AdoptionHost {
  /** The lock that a tab holds as long as it lives. */
  lockName(nodeId: string): string
  /** The place in the queue of ops that wait for their user. */
  heldFor(user: string): string
  /** Whose ops this tab takes. */
  user(): string | undefined
  /** An op of a tab, with what the mark of that tab says of it. */
  withMark(row: OpRow, nodeId: string, reservedMs: number): OpRow
  /** Resolves when everything that this tab has put aside is stored. */
  stored(): Promise<void>
  adopted(rows: readonly OpRow[]): void
}

/** Takes over the writes of tabs that are gone, and those that were put aside for the user. */
export class Adoption {
  readonly #env: ClientEnv
  readonly #identity: Identity
  readonly #storage: OpenStorage
  readonly #host: AdoptionHost
  readonly #stopped = new AbortController()
  /** Tabs whose lock is waited for. */
  readonly #awaited = new Set<string>()
  /** Without locks: the latest sign of life of other tabs, and how many looks it has been the same. */
  readonly #signs = new Map<string, { readonly beat: number | undefined; looks: number }>()
  #beats = 0
  #cancel: Cancel = () => {}

  constructor(env: ClientEnv, identity: Identity, storage: OpenStorage, host: AdoptionHost) {
    this.#env = env
    this.#identity = identity
    this.#storage = storage
    this.#host = host
  }

  /** Looks once, and takes at once what is known to be left. From then on it looks every few seconds. */
  async start(): Promise<void> {
    for (const nodeId of this.#identity.left) await this.#try(() => this.#adopt(nodeId))
    await this.#try(() => this.#markEarlier())
    await this.#scan(true)
    this.#next()
  }

  /** Takes what was put aside for the user, who has just become known. */
  userChanged(): void {
    void this.#try(async () => {
      await this.#host.stored()
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
      const tabs = await this.#tabs(user, hasLocks ? undefined : ++this.#beats)
      for (const [nodeId, beat] of tabs) {
        if (user !== undefined && nodeId === this.#host.heldFor(user)) await this.#adopt(nodeId)
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
    const name = this.#host.lockName(nodeId)
    this.#awaited.add(nodeId)
    try {
      let release = isAtOnce ? await locks.tryAcquire(name) : undefined
      if (release === undefined) {
        await locks.whenFree(name, signal)
        await this.#grace()
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

  /** Lets the time pass in which a reload takes a tab's lock again. Rejects when this tab is closed meanwhile. */
  #grace(): Promise<void> {
    const { signal } = this.#stopped
    return new Promise((resolve, reject) => {
      const cancel = this.#env.after(GRACE_MS, () => {
        signal.removeEventListener('abort', stop)
        resolve()
      })
      const stop = (): void => {
        cancel()
        reject(signal.reason)
      }
      if (signal.aborted) stop()
      else signal.addEventListener('abort', stop)
    })
  }

  /** Takes the writes of a tab without locks that has given no sign of life for long. */
  async #listen(nodeId: string, beat: number | undefined): Promise<void> {
    const sign = this.#signs.get(nodeId)
    // Looks are counted and not time, which goes on while a device sleeps.
    if (sign === undefined || sign.beat !== beat) this.#signs.set(nodeId, { beat, looks: 0 })
    else if (++sign.looks >= SILENT_LOOKS) await this.#adopt(nodeId, beat)
  }

  /**
   * Where ops may lie that this tab may take: under the other tabs that have a mark, with the latest sign of life of each,
   * and aside for the user. `beat` is the sign of this tab.
   */
  #tabs(user: string | undefined, beat: number | undefined): Promise<ReadonlyMap<string, number | undefined>> {
    const { nodeId: own } = this.#identity
    return this.#storage.transaction(beat === undefined ? 'readonly' : 'readwrite', async (tx) => {
      const tabs = new Map<string, number | undefined>()
      if (beat !== undefined) tx.put('meta', ['beat', own], beat)
      for (const [[, nodeId]] of await tx.entries('meta', 'reserved')) tabs.set(nodeId, undefined)
      for (const [[, nodeId], value] of await tx.entries('meta', 'beat')) tabs.set(nodeId, value as number)
      tabs.delete(own)
      const held = user === undefined ? undefined : this.#host.heldFor(user)
      if (held !== undefined && (await tx.entries('queue', held)).length > 0) tabs.set(held, undefined)
      return tabs
    })
  }

  /**
   * Moves the ops under another name to this tab, which puts aside those of another user. The other traces of the name go.
   * With `beat` only if that is still the tab's latest sign of life.
   */
  async #adopt(from: string, beat?: number): Promise<void> {
    if (this.#stopped.signal.aborted) return
    const { nodeId } = this.#identity
    const rows = await this.#storage.transaction('readwrite', async (tx) => {
      if (beat !== undefined && (await tx.get('meta', ['beat', from])) !== beat) return []
      const mark = await tx.get('meta', ['reserved', from])
      const found = Array.from(await tx.entries('queue', from), ([, row]) =>
        this.#host.withMark(row as OpRow, from, typeof mark === 'number' ? mark : 0),
      )
      for (const row of found) tx.put('queue', [nodeId, row.id], row)
      tx.clear('queue', from)
      for (const kind of ['reserved', 'beat']) tx.delete('meta', [kind, from])
      if (found.length > 0) await this.#mark(tx, nodeId)
      return found
    })
    if (rows.length > 0) this.#host.adopted(rows)
  }

  /** An earlier version gave no mark to a tab that had taken over writes, but made none itself. */
  async #markEarlier(): Promise<void> {
    const unmarked = await this.#storage.transaction('readonly', async (tx) => {
      const names = new Set((await tx.entries('queue')).map(([[first]]) => first))
      for (const [[, nodeId]] of await tx.entries('meta', 'reserved')) names.delete(nodeId)
      return Array.from(names).filter((name) => !name.startsWith(this.#host.heldFor('')))
    })
    if (unmarked.length === 0) return
    await this.#storage.transaction('readwrite', async (tx) => {
      for (const nodeId of unmarked) await this.#mark(tx, nodeId)
    })
  }

  /** Gives a tab that has ops the mark by which it is found, where it has none. */
  async #mark(tx: StorageTransaction, nodeId: string): Promise<void> {
    const mark: RowKey = ['reserved', nodeId]
    if ((await tx.get('meta', mark)) === undefined) tx.put('meta', mark, 0)
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
