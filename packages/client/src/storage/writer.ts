import type { Env } from '@syncline/core'
import { SynclineError, clientClosed } from '../errors.ts'
import { joined, type BaseRow, type CursorRow } from '../offline/base.ts'
import type { OpRow } from '../offline/overlay.ts'
import type { Turn } from '../readable.ts'
import type { OpenStorage, RowKey, StorageTransaction } from './storage.ts'

/** How long to wait before a failed flush is tried again. */
const RETRY_MS = 10_000
/** How often what the pages of a map bring is stored while they are still coming. */
const PAGING_MS = 10_000

/** Under this key of `meta` lies whose the stored base is. */
export const OWNER: RowKey = ['owner', '']

/** Whose the stored base is. An `epoch` later than the one that a tab knows means that its base was thrown away since. */
export interface OwnerRow {
  readonly user: string | undefined
  readonly epoch: number
}

/** Everything that a client finds in its storage. */
export interface StoredData {
  readonly owner: OwnerRow | undefined
  readonly cursors: readonly (readonly [RowKey, CursorRow])[]
  readonly rows: readonly (readonly [RowKey, BaseRow])[]
  readonly ops: readonly OpRow[]
  readonly reservedMs: number
}

/** The place in the queue of ops that wait for their user. */
export const heldFor = (user: string): string => `user:${user}`

/** The data in memory, of which the writer stores what has changed. */
export interface WriterSource {
  readonly env: Env
  readonly turn: Turn
  row(mapName: string, key: string): BaseRow | undefined
  position(mapName: string): CursorRow
  op(id: string): OpRow | undefined
  /** An op is stored so. */
  opStored(row: OpRow): void
  /** Pages of a map are still coming. */
  isPaging(mapName: string): boolean
  /** They come once more, and what came before is still shown. */
  isAnew(mapName: string): boolean
  /** Something is stored, with it a mark of the clock where one was to be. */
  stored(reservedMs: number | undefined): void
  /** Another tab has begun a map anew: what this one has of it is not stored any more, until it does the same. */
  begunAnew(mapName: string, epoch: number): void
  /** Storing failed, or works again. */
  onFault(error: SynclineError | undefined): void
}

/** What one transaction stores. `seen` and `owner` are what it finds. */
interface Batch {
  readonly rows: ReadonlyMap<string, ReadonlySet<string>>
  readonly ops: ReadonlySet<string>
  readonly reserveMs: number | undefined
  readonly held: readonly OpRow[]
  readonly claim: { readonly user: string | undefined } | undefined
  owner: OwnerRow | undefined
  readonly seen: Map<string, CursorRow | undefined>
  /** Maps that another tab has begun anew, and in which epoch they are since. */
  readonly begun: Map<string, number>
}

/**
 * Stores what changed in memory: one transaction at a time, each with all that changed before it began. It notes keys,
 * not values, so that what is stored together is always one moment of memory: base with its cursor, ops with what
 * confirmed them.
 */
export class StorageWriter {
  readonly #source: WriterSource
  #storage: OpenStorage | undefined
  #isStarted = false
  #isClosing = false
  #nodeId = ''
  #dirtyRows = new Map<string, Set<string>>()
  #dirtyOps = new Set<string>()
  #reserveMs: number | undefined
  /** Ops to be put aside for their users. */
  #held: readonly OpRow[] = []
  #owner: OwnerRow | undefined
  /** Whose base is to be stored from now on. */
  #claim: { readonly user: string | undefined } | undefined
  #waiters: { resolve: () => void; reject: (error: unknown) => void }[] = []
  #running: Promise<void> | undefined
  /** The ops that are being stored. */
  #storing: ReadonlySet<string> = new Set()
  #endPause = (): void => {}
  /** When rows were last stored of maps whose pages were still coming. */
  #pagedAt = -Infinity
  /** The positions that this tab loaded or stored: another one there means that another tab has written since. */
  readonly #seen = new Map<string, CursorRow | undefined>()
  fault: SynclineError | undefined

  constructor(source: WriterSource) {
    this.#source = source
  }

  get durability(): OpenStorage['durability'] {
    return this.fault === undefined ? (this.#storage?.durability ?? 'memory') : 'memory'
  }

  /** Ops that are not stored as they are now. */
  get unstored(): ReadonlySet<string> {
    return new Set([...this.#dirtyOps, ...this.#storing])
  }

  /** An op is stored as it is now, as far as it can be. */
  isStored(id: string): boolean {
    return !this.#storing.has(id) && (this.fault !== undefined || !this.#dirtyOps.has(id))
  }

  /** Reads what is stored, as the tab `nodeId`. */
  load(storage: OpenStorage, nodeId: string): Promise<StoredData> {
    return storage.transaction('readonly', async (tx) => {
      const [owner, cursors, rows, ops, reserved] = await Promise.all([
        tx.get('meta', OWNER),
        tx.entries('cursors'),
        tx.entries('base'),
        tx.entries('queue', nodeId),
        tx.get('meta', ['reserved', nodeId]),
      ])
      for (const [[mapName], row] of cursors) this.#seen.set(mapName, row as CursorRow)
      this.#owner = owner as OwnerRow | undefined
      return {
        owner: this.#owner,
        cursors: cursors as StoredData['cursors'],
        rows: rows as StoredData['rows'],
        ops: ops.map(([, row]) => row as OpRow),
        reservedMs: typeof reserved === 'number' ? reserved : 0,
      }
    })
  }

  /** Starts to store. */
  start(storage: OpenStorage, nodeId: string): void {
    this.#storage = storage
    this.#nodeId = nodeId
    this.#isStarted = true
    this.#schedule()
  }

  /** Notes that a row of base, or with '' only the position of its map, has changed. */
  markBase(mapName: string, key: string): void {
    let keys = this.#dirtyRows.get(mapName)
    if (keys === undefined) this.#dirtyRows.set(mapName, (keys = new Set()))
    if (key !== '') keys.add(key)
    this.#schedule()
  }

  markOp(id: string): void {
    this.#dirtyOps.add(id)
    this.#schedule()
  }

  /** Reserves stamps up to a mark. */
  reserve(untilMs: number): void {
    this.#reserveMs = untilMs
    this.#mark()
    this.#schedule()
  }

  /** Resolves when everything marked so far is stored; rejects when that fails. */
  stored(): Promise<void> {
    // Before the data is loaded, what is written waits for its stamp and is marked by nobody.
    if (this.#isStarted && !this.#isDirty() && this.#running === undefined) return Promise.resolve()
    return new Promise((resolve, reject) => {
      if (this.#isStarted && this.#storage === undefined) throw clientClosed()
      // What is being stored now may not hold the latest marks, but a flush with none is cheap.
      this.#waiters.push({ resolve, reject })
      this.#schedule()
    })
  }

  /** Puts ops aside, until their users are back. */
  hold(rows: readonly OpRow[]): void {
    if (rows.length === 0) return
    this.#held = [...this.#held, ...rows]
    for (const { id } of rows) this.#dirtyOps.delete(id)
    this.#schedule()
  }

  /** Base in memory is empty, or this user's: what is stored of another one's is deleted. */
  claim(user: string | undefined): void {
    this.#claim = { user }
    this.#dirtyRows.clear()
    this.#seen.clear()
    this.#schedule()
  }

  /** Stores the rest and closes. */
  async close(): Promise<void> {
    // After a fault, of what is being stored too, it is not waited for the next attempt, but there is one.
    this.#isClosing = true
    this.#endPause()
    await this.stored().catch(() => {})
    this.#storage?.close()
    this.#storage = undefined
  }

  /** Something is to be stored, beside some maps. */
  #isDirty(butMaps = 0): boolean {
    return (
      this.#dirtyRows.size > butMaps ||
      this.#dirtyOps.size > 0 ||
      this.#reserveMs !== undefined ||
      this.#held.length > 0 ||
      this.#claim !== undefined
    )
  }

  /**
   * The maps whose rows are stored later, because pages of them are still coming: storing each by itself would keep the
   * application waiting for the others. Where an op is gone, what confirmed it goes along.
   */
  #later(): Map<string, Set<string>> {
    const maps = Array.from(this.#dirtyRows).filter(([mapName]) => this.#source.isPaging(mapName))
    if (maps.length === 0) return new Map()
    const now = this.#source.env.monotonic()
    const hasGone = Array.from(this.#dirtyOps).some((id) => this.#source.op(id) === undefined)
    if (!hasGone && now - this.#pagedAt < PAGING_MS) return new Map(maps)
    this.#pagedAt = now
    // What begins anew is stored when it is whole: until then a reload finds what was there before.
    return new Map(hasGone ? [] : maps.filter(([mapName]) => this.#source.isAnew(mapName)))
  }

  #schedule(): void {
    if (this.#storage !== undefined) this.#source.turn.schedule(this.#flush)
  }

  readonly #flush = (): void => {
    if (this.#running !== undefined || this.#storage === undefined) return
    const later = this.#later()
    if (this.#waiters.length === 0 && !this.#isDirty(later.size)) return
    const batch: Batch = {
      rows: new Map(Array.from(this.#dirtyRows).filter(([mapName]) => !later.has(mapName))),
      ops: this.#dirtyOps,
      reserveMs: this.#reserveMs,
      held: this.#held,
      claim: this.#claim,
      owner: this.#owner,
      seen: new Map(),
      begun: new Map(),
    }
    const waiters = this.#waiters
    this.#dirtyRows = later
    this.#dirtyOps = new Set()
    this.#reserveMs = undefined
    this.#held = []
    this.#claim = undefined
    this.#waiters = []
    this.#storing = batch.ops
    const ops = Array.from(batch.ops, (id) => [id, this.#source.op(id)] as const)
    this.#running = this.#storage.transaction('readwrite', this.#collect(batch, ops)).then(
      () => {
        for (const [, row] of ops) if (row !== undefined) this.#source.opStored(row)
        for (const [mapName, position] of batch.seen) this.#seen.set(mapName, position)
        this.#owner = batch.owner
        for (const waiter of waiters) waiter.resolve()
        this.#ended(undefined)
        this.#source.stored(batch.reserveMs)
        for (const [mapName, epoch] of batch.begun) this.#source.begunAnew(mapName, epoch)
      },
      (cause: unknown) => {
        this.#claim ??= batch.claim
        for (const [mapName, keys] of batch.rows) for (const key of ['', ...keys]) this.markBase(mapName, key)
        for (const id of batch.ops) this.markOp(id)
        this.#held = [...batch.held, ...this.#held]
        this.#reserveMs ??= batch.reserveMs
        const isFull = (cause as Error | null)?.name === 'QuotaExceededError'
        const message = `The storage of this browser ${isFull ? 'is full' : 'failed'}.`
        const error = new SynclineError(isFull ? 'STORAGE_QUOTA' : 'STORAGE_UNAVAILABLE', message, { cause })
        for (const waiter of waiters) waiter.reject(error)
        this.#ended(error)
      },
    )
  }

  /** Where storage fails, as for want of room, a mark by itself may still be stored. Without the rest it is only moved on. */
  #mark(): void {
    const untilMs = this.#reserveMs
    if (untilMs === undefined || this.fault === undefined) return
    const work = async (tx: StorageTransaction): Promise<void> => {
      const place: RowKey = ['reserved', this.#nodeId]
      if (untilMs > Number((await tx.get('meta', place)) ?? 0)) tx.put('meta', place, untilMs)
    }
    const stored = (): void => this.#source.stored(untilMs)
    this.#storage?.transaction('readwrite', work).then(stored, () => {})
  }

  #ended(fault: SynclineError | undefined): void {
    const hasChanged = (this.fault === undefined) !== (fault === undefined)
    this.fault = fault
    this.#storing = new Set()
    this.#running = fault === undefined || this.#isClosing ? undefined : this.#pause()
    if (hasChanged) this.#source.onFault(fault)
    this.#mark()
    this.#schedule()
  }

  /** A flush that takes place by waiting. */
  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#endPause = () => {
        cancel()
        this.#endPause = () => {}
        this.#running = undefined
        this.#schedule()
        resolve()
      }
      const cancel = this.#source.env.after(RETRY_MS, () => this.#endPause())
    })
  }

  /** Takes a copy of what is to be stored, and gives the work that stores it. */
  #collect(
    batch: Batch,
    ops: readonly (readonly [id: string, row: OpRow | undefined])[],
  ): (tx: StorageTransaction) => Promise<void> {
    const { held, reserveMs, seen } = batch
    const maps = Array.from(batch.rows, ([mapName, keys]) => ({
      mapName,
      position: this.#source.position(mapName),
      rows: Array.from(keys, (key) => [key, this.#source.row(mapName, key)] as const),
    }))
    return async (tx) => {
      const isOurs = await this.#ownsBase(tx, batch)
      for (const { mapName, position, rows } of isOurs ? maps : []) {
        seen.set(mapName, await this.#storeBase(tx, mapName, position, rows, batch.begun))
      }
      for (const [id, row] of ops) {
        if (row === undefined) tx.delete('queue', [this.#nodeId, id])
        else tx.put('queue', [this.#nodeId, id], row)
      }
      for (const row of held) {
        tx.delete('queue', [this.#nodeId, row.id])
        if (row.user !== undefined) tx.put('queue', [heldFor(row.user), row.id], row)
      }
      if (reserveMs !== undefined) tx.put('meta', ['reserved', this.#nodeId], reserveMs)
    }
  }

  /**
   * Whether the stored base is this tab's user's, and has been since this tab knows it: otherwise this tab keeps base in
   * memory only. A claim makes it so.
   */
  async #ownsBase(tx: StorageTransaction, batch: Batch): Promise<boolean> {
    const stored = (await tx.get('meta', OWNER)) as OwnerRow | undefined
    if (batch.claim === undefined) return stored?.epoch === batch.owner?.epoch
    const { user } = batch.claim
    // Who signs out forgets only what is theirs.
    if (user === undefined && stored?.epoch !== batch.owner?.epoch) return false
    batch.owner = stored
    if (stored?.user === user) return true
    for (const [[mapName]] of await tx.entries('cursors')) {
      tx.clear('base', mapName)
      tx.clear('cursors', mapName)
    }
    batch.owner = { user, epoch: (stored?.epoch ?? 0) + 1 }
    tx.put('meta', OWNER, batch.owner)
    return true
  }

  /**
   * Base is shared by all tabs: nobody moves the position back, replaces a row by an older one, or drops what only
   * another tab's row has because the server lost it. Gives the position that is this tab's own, if it is stored.
   */
  async #storeBase(
    tx: StorageTransaction,
    mapName: string,
    position: CursorRow,
    rows: readonly (readonly [string, BaseRow | undefined])[],
    begun: Map<string, number>,
  ): Promise<CursorRow | undefined> {
    const stored = (await tx.get('cursors', [mapName, ''])) as CursorRow | undefined
    if (stored !== undefined && stored.epoch > position.epoch) {
      begun.set(mapName, stored.epoch)
      return undefined
    }
    const isReset = stored !== undefined && stored.epoch < position.epoch
    if (isReset) tx.clear('base', mapName)
    const seen = this.#seen.get(mapName)
    const isAlone = isReset || (stored?.seq === seen?.seq && stored?.epoch === seen?.epoch)
    for (const [key, row] of rows) {
      const other = isAlone ? undefined : ((await tx.get('base', [mapName, key])) as BaseRow | undefined)
      if (other !== undefined && other.seq > (row?.seq ?? position.seq)) continue
      if (row === undefined) tx.delete('base', [mapName, key])
      else tx.put('base', [mapName, key], other === undefined || !position.whole ? row : joined(row, other))
    }
    if (!isAlone && stored !== undefined && stored.seq > position.seq) return undefined
    tx.put('cursors', [mapName, ''], position)
    return position
  }
}
