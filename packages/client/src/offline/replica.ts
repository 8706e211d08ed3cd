import {
  compareStamps,
  fieldStamp,
  visibleValue,
  type Cancel,
  type Env,
  type LwwRecord,
  type Stamp,
  type Value,
} from '@syncline/core'
import type { SynclineError } from '../errors.ts'
import type { Turn } from '../readable.ts'
import { Base, type BaseRow } from './base.ts'
import { counterRowOf, type Op, type Overlay } from './overlay.ts'

/** How long what pages bring, or that one more of many has expired, may go untold. */
const LATER_MS = 100

/** Where a row stands: confirmed, not yet, or refused. */
export type SyncState = 'synced' | 'pending' | 'rejected'

/** What a replica needs from its client. */
export interface ReplicaHost {
  readonly env: Env
  readonly turn: Turn
  readonly overlay: Overlay
  readonly clock: { now(): number }
  readonly writer: {
    /** The base record or, with '', the position of a map has changed and is to be stored. */
    markBase(mapName: string, key: string): void
    /** What is known of an op has changed. */
    markOp(id: string): void
  }
  /** An op is confirmed. Says whether it was still there. */
  forget(op: Op): boolean
  /** It was where base has this record, which may be another writer's. */
  replaced(op: Op, record: LwwRecord | undefined): void
  /** Stamps of these nodes are this client's own. */
  isOwn(nodeId: string): boolean
}

/** One map as the application sees it: the overlay over base. */
export class Replica {
  readonly name: string
  readonly base: Base
  /** It is an OR-map. */
  kind: 'or' | undefined
  readonly listeners = new Set<(keys: ReadonlySet<string>) => void>()
  /** Counts changes of what the application sees. */
  version = 0
  /** How far this connection follows the map. */
  link: 'idle' | 'asked' | 'paging' | 'live' | 'refused' = 'idle'
  /** The id of its latest SYNC_INIT, which the pages repeat that answer it. */
  asked: string | undefined
  /** Why the server does not let it be followed. */
  fault: SynclineError | undefined
  /** Keys of records that are to be pushed, or on their way: the server has lost them, or never had them. */
  readonly unpushed = new Set<string>()
  readonly #host: ReplicaHost
  /** What keys with writes of this client are with these on top of base. */
  readonly #overlaid = new Map<string, LwwRecord | undefined>()
  /** Those of these that have fewer writes by now: what is left of them is worked out when somebody looks. */
  readonly #uncovered = new Set<string>()
  #size = 0
  /** The version that the size was counted at. */
  #countedAt = -1
  #changed = new Set<string>()
  readonly #watched = new Map<string, Set<() => void>>()
  readonly #expiries = new Map<string, number>()
  /** Of records that have expired, when they did: a clock that is set back brings them back. */
  readonly #expired = new Map<string, number>()
  /** The latest time at which one was found to have. */
  #expiredAsOf = 0
  #nextExpiry = Infinity
  #cancelExpiry: Cancel = () => {}
  #cancelLater: Cancel | undefined
  /** Acknowledged ops that wait for the cursor. */
  readonly #acked = new Set<Op>()

  constructor(name: string, host: ReplicaHost) {
    this.name = name
    this.#host = host
    this.base = new Base((key) => {
      host.writer.markBase(name, key)
      this.touch(key, this.link === 'paging')
    })
  }

  /** Ops of a key may be sent: the server has told what it lost, and has it back. */
  acceptsOps(key: string): boolean {
    return this.link !== 'idle' && this.link !== 'asked' && !this.unpushed.has(key)
  }

  /** What base holds under some keys is to be pushed: until it is, ops of these keys wait. Says whether anything is. */
  addUnpushed(keys: readonly string[]): boolean {
    // A partial reader's records have gaps, and are pushed by nobody.
    if (keys.length === 0 || !this.base.whole) return false
    for (const key of keys) this.unpushed.add(key)
    return true
  }

  get(key: string): Value | undefined {
    const record = this.record(key)
    return visibleValue(record, record?.ttlMs === undefined ? 0 : this.#host.clock.now())
  }

  /** Counts them all where something has changed since. */
  get size(): number {
    this.#expire()
    if (this.#countedAt !== this.version) {
      this.#size = 0
      for (const _ of this.entries()) this.#size++
      this.#countedAt = this.version
    }
    return this.#size
  }

  *entries(): IterableIterator<[string, Value]> {
    const { rows, former } = this.base
    const others = new Set([...(former?.keys() ?? []), ...this.#overlaid.keys()])
    for (const key of rows.keys()) others.delete(key)
    for (const keys of [rows.keys(), others]) {
      for (const key of keys) {
        const value = this.get(key)
        if (value !== undefined) yield [key, value]
      }
    }
  }

  /** The server has confirmed a record that is not deleted, as far as the application can see. */
  isInBase(key: string): boolean {
    return (this.base.shown(key)?.value ?? null) !== null
  }

  /** Takes a row of base from storage. */
  load(key: string, row: BaseRow): void {
    this.base.rows.set(key, row)
    this.base.undigested?.add(key)
    this.touch(key)
  }

  /** The record under a key with this tab's writes on top. */
  record(key: string): LwwRecord | undefined {
    if (this.#uncovered.has(key)) this.#cover(key)
    return (this.#overlaid.size > 0 && this.#overlaid.get(key)) || this.base.shown(key)
  }

  /** Where a key stands. What a later whole write covers does not count. */
  syncOf(key: string): SyncState {
    let state: SyncState = 'synced'
    for (const { row, refusal, phase } of this.#host.overlay.of(this.name, key)) {
      if (row.type !== 'PATCH') state = 'synced'
      if (refusal !== undefined) state = 'rejected'
      else if (state === 'synced' && !(row.concern === 'FIRE_AND_FORGET' && phase === 'sent')) state = 'pending'
    }
    return state
  }

  /**
   * Says that the record under a key, or what lies over it, has changed. What is one of many may be told a little later,
   * so that each page of a large map does not cost a new look at all queries. `added` is an op that has just been put on top of
   * the others: what these make of the record is known.
   */
  touch(key: string, isOneOfMany = false, added?: Op): void {
    this.#cover(key, added)
    this.#tell(key, isOneOfMany)
  }

  /** A write of a key is gone. Many go at once. */
  uncovered(key: string): void {
    this.#uncovered.add(key)
    this.#tell(key, false)
  }

  #cover(key: string, added?: Op): void {
    const ops = this.#host.overlay.of(this.name, key)
    const isOnTop = !this.#uncovered.delete(key) && added !== undefined && ops.size > 1
    let record = isOnTop ? this.#overlaid.get(key) : this.base.shown(key)
    const confirmed = this.base.rows.get(key)?.record.base
    for (const op of isOnTop ? [added] : ops) {
      if (confirmed !== undefined) this.#overtake(op, confirmed)
      // What replaced it is deleted and forgotten: it comes up only to show that it lost to another writer's.
      if (record !== undefined || op.overtaken === undefined || (op.refusal && op.overtaken === 'other'))
        record = op.applyTo(record)
    }
    if (ops.size > 0) this.#overlaid.set(key, record)
    else if (this.#overlaid.size > 0) this.#overlaid.delete(key)
    this.#setExpiry(key, record)
  }

  #tell(key: string, isOneOfMany: boolean): void {
    this.version++
    if (isOneOfMany) this.#cancelLater ??= this.#host.env.after(LATER_MS, this.publish)
    else if (this.#changed.size === 0 || this.#cancelLater !== undefined) this.#host.turn.schedule(this.publish)
    this.#changed.add(key)
  }

  /** Tells those who look on what has changed, now instead of at the end of the turn. */
  readonly publish = (): void => {
    this.#expire()
    this.#cancelLater?.()
    this.#cancelLater = undefined
    if (this.#changed.size === 0) return
    const keys = this.#changed
    this.#changed = new Set()
    if (this.#watched.size > 0) for (const key of keys) for (const changed of this.#watched.get(key) ?? []) changed()
    for (const listen of this.listeners) listen(keys)
  }

  /** Tells all that look on that something beside the records has changed. */
  readonly stateChanged = (): void => {
    this.version++
    this.publish()
    for (const listen of this.listeners) listen(new Set())
  }

  /** Calls `changed` when a key changes. */
  watch(key: string, changed: () => void): () => void {
    const watchers = this.#watched.get(key) ?? new Set()
    this.#watched.set(key, watchers.add(changed))
    return () => {
      watchers.delete(changed)
      if (watchers.size === 0) this.#watched.delete(key)
    }
  }

  /** The server acknowledged an op at a position. It leaves the overlay when base has reached that and shows it. */
  acked(op: Op): void {
    if (this.link === 'refused' || this.#isConfirmed(op, this.base.seq)) this.#settle(op)
    else this.#acked.add(op)
  }

  /** A new connection: what an earlier one acknowledged, the server may have lost. */
  disconnected(): void {
    this.#acked.clear()
    this.unpushed.clear()
    const wasPaging = this.link === 'paging'
    this.link = 'idle'
    // What the pages have brought so far waits no longer to be stored.
    if (wasPaging) this.#host.writer.markBase(this.name, '')
  }

  /** Forgets what the server has confirmed; it may be shown until the map is here again. */
  reset(isShown = false): void {
    this.unpushed.clear()
    this.fault = undefined
    // Nothing to forget, nothing to store.
    if (this.base.cursor === null && this.base.rows.size === 0 && this.base.former === undefined) return
    this.base.reset(isShown)
    this.#host.writer.markBase(this.name, '')
  }

  /**
   * Base has been brought to a position, which may be the server's head: lets go of the ops that it shows, or of those
   * among some.
   */
  settleThrough(seq: number, isHead = false, ops: Iterable<Op> = this.#acked): void {
    for (const op of ops) {
      if (!(isHead ? op.seq <= seq : this.#isConfirmed(op, seq)) || !this.#acked.delete(op)) continue
      this.#settle(op)
    }
  }

  /**
   * Base has reached an op's position and has the op or what replaced it. The position alone does not say so: a record
   * that was written again since comes at its latest position, in a later page. A reader of less does not have
   * the stamps of all fields, but has each record that it may see at its position, and waits for no other.
   */
  #isConfirmed({ seq, row, stamp, overtaken }: Op, position: number): boolean {
    if (seq > position) return false
    const held = this.base.rows.get(row.key)
    // Counts only grow: whatever has reached them has this one.
    if (row.count !== undefined) {
      const { p, n } = counterRowOf(held?.record)
      return p >= row.count.p && n >= row.count.n
    }
    // What replaced it was here, and is deleted and forgotten since.
    if (held === undefined) return !this.base.whole || overtaken !== undefined
    if (!this.base.whole) return held.seq >= seq
    const { record } = held
    const isShown = (written: Stamp): boolean => compareStamps(written, stamp) >= 0
    if (row.type !== 'PATCH') return isShown(record.base)
    return [...Object.keys(row.value as object), ...(row.unset ?? [])].every((name) =>
      isShown(fieldStamp(record, name)),
    )
  }

  #settle(op: Op): void {
    const { key, type } = op.row
    const record = this.base.rows.get(key)?.record
    // Base may never have shown it, where it is deleted and forgotten since: what it replaced is not to come up.
    if (record === undefined && (type === 'PUT' || type === 'REMOVE'))
      for (const other of this.#host.overlay.of(this.name, key)) this.#overtake(other, op.stamp)
    if (this.#host.forget(op)) this.#host.replaced(op, record)
  }

  /** A whole write is confirmed: an op that is earlier under its key is replaced by it. */
  #overtake(op: Op, by: Stamp): void {
    if (op.overtaken !== undefined || compareStamps(by, op.stamp) <= 0) return
    op.overtaken = this.#host.isOwn(by.nodeId) ? 'own' : 'other'
    this.#host.writer.markOp(op.row.id)
  }

  #setExpiry(key: string, record: LwwRecord | undefined): void {
    if (this.#expiries.size > 0) this.#expiries.delete(key)
    if (this.#expired.size > 0) this.#expired.delete(key)
    if (record?.ttlMs === undefined) return
    const expiry = record.base.millis + record.ttlMs
    const now = this.#host.clock.now()
    if (expiry < now) {
      this.#expired.set(key, expiry)
      this.#expiredAsOf = Math.max(this.#expiredAsOf, now)
      return
    }
    this.#expiries.set(key, expiry)
    if (expiry < this.#nextExpiry) this.#expireAt(expiry)
  }

  #expireAt(expiry: number, atLeastMs = 0): void {
    const { env, turn } = this.#host
    this.#nextExpiry = expiry
    this.#cancelExpiry()
    if (turn.isClosed) return
    this.#cancelExpiry = env.after(Math.max(atLeastMs, expiry - this.#host.clock.now()) + 1, () => this.#expire())
  }

  #expire(): void {
    const now = this.#host.clock.now()
    if (now < this.#expiredAsOf) {
      this.#expiredAsOf = 0
      for (const [key, expiry] of new Map(this.#expired)) if (expiry >= now) this.touch(key)
      if (this.#expired.size > 0) this.#expiredAsOf = now
    }
    if (this.#nextExpiry >= now) return
    let next = Infinity
    for (const [key, expiry] of this.#expiries) {
      if (expiry < now) this.touch(key)
      else if (expiry < next) next = expiry
    }
    this.#nextExpiry = next
    // Many that end one after the other are told together: each look is at all of them.
    if (next < Infinity) this.#expireAt(next, LATER_MS)
  }

  /** The clock was set: what has expired by it may not have, and the other way round. */
  clockChanged(): void {
    this.#expire()
    if (this.#nextExpiry < Infinity) this.#expireAt(this.#nextExpiry)
  }

  /** Stops its timers. */
  close(): void {
    this.#cancelLater?.()
    this.#cancelExpiry()
  }
}
