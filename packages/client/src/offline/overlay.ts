import {
  ZERO_STAMP,
  compareStamps,
  mergeRecords,
  patchRecord,
  wholeWrite,
  type CounterRow,
  type LwwRecord,
  type Stamp,
  type Value,
  type ValueMap,
} from '@syncline/core'
import type { ClientOp, Fence, ItemOp, WriteConcern } from '@syncline/protocol/codec'
import { SynclineError, type ErrorCode } from '../errors.ts'
import type { LocalWrite } from './write.ts'

/** A write that is pending or refused, as it is stored. */
export interface OpRow {
  readonly id: string
  readonly mapName: string
  readonly key: string
  /** COUNT adds to a counter. */
  readonly type: 'PUT' | 'REMOVE' | 'PATCH' | 'COUNT'
  /** The whole value, null, the fields that a PATCH sets, or the number that a COUNT adds. */
  readonly value: Value
  /** The map is an OR-map: the key is that of the item with this tag. */
  readonly tag?: string
  /** What a COUNT makes of the row of the node that is its key. Before that is decided its key is `UNCOUNTED`. */
  readonly count?: CounterRow
  readonly unset?: readonly string[]
  readonly ttlMs?: number
  /** The lock under which it was written. */
  readonly fence?: Fence
  readonly stamp: Stamp
  readonly concern: WriteConcern
  /** The key was in base when this was written. */
  readonly inBase: boolean
  readonly at: number
  /** The server confirmed a later whole write of the key: this client's, or another writer's. */
  readonly overtaken?: 'own' | 'other' | undefined
  /**
   * It may have been sent, whatever became of it. Of one under a stamp of the tab in whose queue it lies the mark of that
   * tab says so as well (`SessionClock`).
   */
  readonly wasSent?: true | undefined
  /** Who wrote it; absent until somebody has signed in on this device. */
  readonly user?: string | undefined
  /** Why it was refused for good. */
  readonly refusal?: { readonly code: ErrorCode; readonly message: string; readonly details?: unknown }
}

/** The key of what is added to a counter and belongs to no row of it yet. */
export const UNCOUNTED = '+'

/** The row of a counter in a record. */
export function counterRowOf(record: LwwRecord | undefined): CounterRow {
  const { p = 0, n = 0 } = (record?.value ?? {}) as Partial<CounterRow>
  return { p, n }
}

/** What two rows of a counter say together. */
export function greaterRow(a: CounterRow, b: CounterRow): CounterRow {
  return { p: Math.max(a.p, b.p), n: Math.max(a.n, b.n) }
}

/** A row with a number added to it, or taken away. */
export function counted({ p, n }: CounterRow, delta: number): CounterRow {
  return delta < 0 ? { p, n: n - delta } : { p: p + delta, n }
}

/** A write that is pending or refused. */
export class Op {
  row: Omit<OpRow, 'stamp' | 'refusal' | 'inBase' | 'overtaken' | 'wasSent' | 'user'>
  stamp: Stamp
  inBase: boolean
  /** It is sent all the same, but is not to come up once that later write is deleted and forgotten. */
  overtaken: OpRow['overtaken']
  /** Whose it is: it is shown and sent only while this is the user. */
  user: string | undefined
  refusal: SynclineError | undefined
  /** What is known of it on the present connection. */
  phase: 'waiting' | 'sent' | 'acked' = 'waiting'
  /** Position at which it leaves the overlay, once `acked`. */
  seq = 0
  /** The server took it and it lost at once. */
  isSuperseded = false
  /** It was acknowledged on some connection: its stamp is in the world. */
  wasAcked = false
  /** It was sent, and its answer is not known: the server may have taken it, and others may have seen it. */
  wasSent: boolean
  /** What is stored of it: what the next page would find. */
  stored: OpRow | undefined
  /** It is stored as one that was sent, because it is about to be. */
  isLeaving = false
  attempts = 0
  lastError: SynclineError | undefined
  /** The level to ask for: its own, or a higher one that someone waits for. */
  asked: WriteConcern
  /** It goes in a batch of its own, because a batch with it was refused whole. */
  isAlone = false
  /** How often it got a new stamp for being older than forgotten deletions. */
  renewals = 0
  /** The application's handle, if it was written in this session or asked for. */
  write: LocalWrite | undefined

  constructor(row: OpRow) {
    const { stamp, refusal, inBase, overtaken, wasSent, user, ...rest } = row
    this.row = rest
    this.wasSent = wasSent === true
    this.user = user
    this.stamp = stamp
    this.inBase = inBase
    this.overtaken = overtaken
    this.asked = row.concern
    if (refusal !== undefined)
      this.refusal = new SynclineError(refusal.code, refusal.message, { details: refusal.details })
  }

  toRow(): OpRow {
    const { row, stamp, inBase, overtaken, user, refusal } = this
    const wasSent = this.wasSent || this.wasAcked || this.isLeaving || undefined
    const stored = { ...row, stamp, inBase, overtaken, wasSent, user }
    if (refusal === undefined) return stored
    const { code, message, details } = refusal
    return { ...stored, refusal: { code, message, details } }
  }

  toWire(): ClientOp | ItemOp {
    const { id, mapName, key, type, value, unset, ttlMs, fence, tag, count } = this.row
    const timestamp = this.stamp
    const record = {
      value: (count as Value | undefined) ?? value,
      timestamp,
      ...(ttlMs === undefined ? {} : { ttlMs }),
      ...(unset === undefined ? {} : { unset }),
    }
    const op = { id, mapName, key, ...(fence === undefined ? {} : { fence }) }
    if (tag === undefined) return { ...op, opType: type === 'COUNT' ? 'PUT' : type, record }
    op.key = key.slice(tag.length + 1)
    if (type === 'REMOVE') return { ...op, opType: 'OR_REMOVE', orTag: tag, timestamp }
    return { ...op, opType: 'OR_ADD', orRecord: { ...record, tag } }
  }

  /** What the key's record is with this write on top. A PATCH of nothing is nothing. */
  applyTo(record: LwwRecord | undefined): LwwRecord | undefined {
    const { type, value, unset, ttlMs, count } = this.row
    if (type === 'COUNT') {
      const before = counterRowOf(record)
      const after = count === undefined ? counted(before, value as number) : greaterRow(before, count)
      return { value: { ...after }, timestamp: this.stamp, base: ZERO_STAMP }
    }
    if (type === 'PATCH') {
      return record && patchRecord(record, { stamp: this.stamp, set: value as ValueMap, ...(unset ? { unset } : {}) })
    }
    const whole = wholeWrite(value, this.stamp, ttlMs)
    return record === undefined ? whole : mergeRecords(record, whole)
  }
}

const NONE: ReadonlySet<Op> = new Set()

/** The writes of one tab that lie over base, in the order of their stamps. */
export class Overlay {
  readonly ops = new Map<string, Op>()
  readonly #byKey = new Map<string, Map<string, Set<Op>>>()
  refusedCount = 0

  /** The writes of a key, in order. */
  of(mapName: string, key: string): ReadonlySet<Op> {
    return this.#byKey.get(mapName)?.get(key) ?? NONE
  }

  add(op: Op): void {
    this.ops.set(op.row.id, op)
    if (op.refusal !== undefined) this.refusedCount++
    this.#addToKey(op)
  }

  remove(op: Op): boolean {
    if (this.ops.get(op.row.id) !== op) return false
    this.ops.delete(op.row.id)
    if (op.refusal !== undefined) this.refusedCount--
    this.#removeFromKey(op)
    return true
  }

  /** Says to which row of its counter a COUNT belongs and what it makes of it, or that it belongs to none again. */
  count(op: Op, key: string, count: CounterRow | undefined): void {
    this.#removeFromKey(op)
    const { count: _, ...row } = op.row
    op.row = count === undefined ? { ...row, key } : { ...row, key, count }
    this.#addToKey(op)
  }

  #addToKey(op: Op): void {
    const { mapName, key } = op.row
    let keys = this.#byKey.get(mapName)
    if (keys === undefined) this.#byKey.set(mapName, (keys = new Map()))
    const ops = keys.get(key)
    if (ops === undefined) keys.set(key, new Set([op]))
    else ops.add(op)
  }

  #removeFromKey(op: Op): void {
    const { mapName, key } = op.row
    const keys = this.#byKey.get(mapName)
    const ops = keys?.get(key)
    ops?.delete(op)
    if (ops?.size === 0) keys?.delete(key)
  }

  /** Puts everything in the order of the stamps again, after some have changed. */
  sort(): void {
    const ops = [...this.ops.values()].sort((a, b) => compareStamps(a.stamp, b.stamp))
    this.ops.clear()
    this.#byKey.clear()
    this.refusedCount = 0
    for (const op of ops) this.add(op)
  }
}
