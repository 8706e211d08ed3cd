import { mergeRecords, type Env } from '@syncline/core'
import { SynclineError } from '../errors.ts'
import type { BaseRow, CursorRow } from '../offline/base.ts'
import type { OpRow } from '../offline/overlay.ts'
import type { Turn } from '../readable.ts'
import type { OpenStorage, StorageTransaction } from './storage.ts'

/** How long to wait before a failed flush is tried again. */
const RETRY_MS = 10_000

/** Everything that a client finds in its storage. */
export interface StoredData {
  readonly cursors: readonly (readonly [mapName: string, row: CursorRow])[]
  readonly rows: readonly (readonly [mapName: string, key: string, row: BaseRow])[]
  readonly ops: readonly OpRow[]
  readonly reservedMs: number
}

/** The data in memory, of which the writer stores what has changed. */
export interface WriterSource {
  readonly env: Env
  readonly turn: Turn
  row(mapName: string, key: string): BaseRow | undefined
  position(mapName: string): CursorRow
  op(id: string): OpRow | undefined
  /** The stored mark of the clock has moved. */
  reserved(untilMs: number): void
  /** Storing failed, or works again. */
  onFault(error: SynclineError | undefined): void
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
  #nodeId = ''
  #dirtyRows = new Map<string, Set<string>>()
  #dirtyOps = new Set<string>()
  #reserveMs: number | undefined
  #waiters: { resolve: () => void; reject: (error: unknown) => void }[] = []
  #running: Promise<void> | undefined
  #endPause = (): void => {}
  /** The positions that this tab loaded or stored: another one there means that another tab has written since. */
  readonly #seen = new Map<string, CursorRow | undefined>()
  fault: SynclineError | undefined

  constructor(source: WriterSource) {
    this.#source = source
  }

  get durability(): OpenStorage['durability'] {
    return this.fault === undefined ? (this.#storage?.durability ?? 'memory') : 'memory'
  }

  /** Reads what is stored, as the tab `nodeId`. */
  load(storage: OpenStorage, nodeId: string): Promise<StoredData> {
    return storage.transaction('readonly', async (tx) => {
      const [cursors, rows, ops, reserved] = await Promise.all([
        tx.entries('cursors'),
        tx.entries('base'),
        tx.entries('queue', nodeId),
        tx.get('meta', ['reserved', nodeId]),
      ])
      for (const [[mapName], row] of cursors) this.#seen.set(mapName, row as CursorRow)
      return {
        cursors: cursors.map(([[mapName], row]) => [mapName, row as CursorRow] as const),
        rows: rows.map(([[mapName, key], row]) => [mapName, key, row as BaseRow] as const),
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
    this.#schedule()
  }

  /** Resolves when everything marked so far is stored; rejects when that fails. */
  stored(): Promise<void> {
    // Before the data is loaded, what is written waits for its stamp and is marked by nobody.
    if (this.#isStarted && !this.#isDirty && this.#running === undefined) return Promise.resolve()
    return new Promise((resolve, reject) => {
      // What is being stored now may not hold the latest marks, but a flush with none is cheap.
      this.#waiters.push({ resolve, reject })
      this.#schedule()
    })
  }

  /** The tabs that have ops in storage. */
  async tabsWithOps(): Promise<ReadonlySet<string>> {
    const entries = await this.#storage?.transaction('readonly', (tx) => tx.entries('queue'))
    return new Set(entries?.map(([[nodeId]]) => nodeId))
  }

  /** Moves another tab's ops to this one, and gives them. */
  async adopt(nodeId: string): Promise<readonly OpRow[]> {
    return (
      (await this.#storage?.transaction('readwrite', async (tx) => {
        const entries = await tx.entries('queue', nodeId)
        for (const [[, id], row] of entries) tx.put('queue', [this.#nodeId, id], row)
        tx.clear('queue', nodeId)
        return entries.map(([, row]) => row as OpRow)
      })) ?? []
    )
  }

  /** Stores the rest and closes. */
  async close(): Promise<void> {
    // After a fault it is not waited for the next attempt, but there is one.
    this.#endPause()
    await this.stored().catch(() => {})
    this.#storage?.close()
    this.#storage = undefined
  }

  get #isDirty(): boolean {
    return this.#dirtyRows.size > 0 || this.#dirtyOps.size > 0 || this.#reserveMs !== undefined
  }

  #schedule(): void {
    if (this.#storage !== undefined) this.#source.turn.schedule(this.#flush)
  }

  readonly #flush = (): void => {
    if (this.#running !== undefined || this.#storage === undefined) return
    if (!this.#isDirty && this.#waiters.length === 0) return
    const [rows, ops, reserveMs, waiters] = [this.#dirtyRows, this.#dirtyOps, this.#reserveMs, this.#waiters]
    this.#dirtyRows = new Map()
    this.#dirtyOps = new Set()
    this.#reserveMs = undefined
    this.#waiters = []
    const seen = new Map<string, CursorRow | undefined>()
    const work = this.#collect(rows, ops, reserveMs, seen)
    this.#running = this.#storage.transaction('readwrite', work).then(
      () => {
        for (const [mapName, position] of seen) this.#seen.set(mapName, position)
        if (reserveMs !== undefined) this.#source.reserved(reserveMs)
        for (const waiter of waiters) waiter.resolve()
        this.#ended(undefined)
      },
      (cause: unknown) => {
        for (const [mapName, keys] of rows) for (const key of ['', ...keys]) this.markBase(mapName, key)
        for (const id of ops) this.markOp(id)
        this.#reserveMs ??= reserveMs
        const isFull = (cause as Error | null)?.name === 'QuotaExceededError'
        const message = isFull ? 'The storage of this browser is full.' : 'The storage of this browser failed.'
        const error = new SynclineError(isFull ? 'STORAGE_QUOTA' : 'STORAGE_UNAVAILABLE', message, { cause })
        for (const waiter of waiters) waiter.reject(error)
        this.#ended(error)
      },
    )
  }

  #ended(fault: SynclineError | undefined): void {
    const hasChanged = (this.fault === undefined) !== (fault === undefined)
    this.fault = fault
    this.#running = fault === undefined ? undefined : this.#pause()
    if (hasChanged) this.#source.onFault(fault)
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
    dirtyRows: ReadonlyMap<string, ReadonlySet<string>>,
    dirtyOps: ReadonlySet<string>,
    reserveMs: number | undefined,
    seen: Map<string, CursorRow | undefined>,
  ): (tx: StorageTransaction) => Promise<void> {
    const maps = Array.from(dirtyRows, ([mapName, keys]) => ({
      mapName,
      position: this.#source.position(mapName),
      rows: Array.from(keys, (key) => [key, this.#source.row(mapName, key)] as const),
    }))
    const ops = Array.from(dirtyOps, (id) => [id, this.#source.op(id)] as const)
    return async (tx) => {
      for (const { mapName, position, rows } of maps) {
        seen.set(mapName, await this.#storeBase(tx, mapName, position, rows))
      }
      for (const [id, row] of ops) {
        if (row === undefined) tx.delete('queue', [this.#nodeId, id])
        else tx.put('queue', [this.#nodeId, id], row)
      }
      if (reserveMs !== undefined) tx.put('meta', ['reserved', this.#nodeId], reserveMs)
    }
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
  ): Promise<CursorRow | undefined> {
    const stored = (await tx.get('cursors', [mapName, ''])) as CursorRow | undefined
    if (stored !== undefined && stored.epoch > position.epoch) return undefined
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

/** A row with what only an earlier one has. It keeps the earlier position, at which the server may have lost that. */
function joined(row: BaseRow, earlier: BaseRow): BaseRow {
  const record = mergeRecords(row.record, earlier.record)
  return record === row.record ? row : { record, seq: earlier.seq }
}
