import {
  compareStamps,
  mergeRecords,
  patchRecord,
  wholeWrite,
  type LwwRecord,
  type Stamp,
  type Value,
  type ValueMap,
} from '@syncline/core'
import type { ClientOp, Fence, WriteConcern } from '@syncline/protocol/codec'
import { SynclineError, type ErrorCode } from '../errors.ts'
import type { LocalWrite } from './write.ts'

/** A write that is pending or refused, as it is stored. */
export interface OpRow {
  readonly id: string
  readonly mapName: string
  readonly key: string
  readonly type: 'PUT' | 'REMOVE' | 'PATCH'
  /** The whole value, null, or the fields that a PATCH sets. */
  readonly value: Value
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
  /** Who wrote it; absent until somebody has signed in on this device. */
  readonly user?: string | undefined
  /** Why it was refused for good. */
  readonly refusal?: { readonly code: ErrorCode; readonly message: string; readonly details?: unknown }
}

/** A write that is pending or refused. */
export class Op {
  readonly row: Omit<OpRow, 'stamp' | 'refusal' | 'inBase' | 'overtaken' | 'user'>
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
    const { stamp, refusal, inBase, overtaken, user, ...rest } = row
    this.row = rest
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
    const stored = { ...row, stamp, inBase, overtaken, user }
    if (refusal === undefined) return stored
    const { code, message, details } = refusal
    return { ...stored, refusal: { code, message, details } }
  }

  toWire(): ClientOp {
    const { id, mapName, key, type, value, unset, ttlMs, fence } = this.row
    const record = {
      value,
      timestamp: this.stamp,
      ...(ttlMs === undefined ? {} : { ttlMs }),
      ...(unset === undefined ? {} : { unset }),
    }
    return { id, mapName, key, opType: type, record, ...(fence === undefined ? {} : { fence }) }
  }

  /** What the key's record is with this write on top. A PATCH of nothing is nothing. */
  applyTo(record: LwwRecord | undefined): LwwRecord | undefined {
    const { type, value, unset, ttlMs } = this.row
    if (type === 'PATCH') {
      return record && patchRecord(record, { stamp: this.stamp, set: value as ValueMap, ...(unset ? { unset } : {}) })
    }
    const whole = wholeWrite(value, this.stamp, ttlMs)
    return record === undefined ? whole : mergeRecords(record, whole)
  }
}

/** The writes of one tab that lie over base, in the order of their stamps. */
export class Overlay {
  readonly ops = new Map<string, Op>()
  readonly #byKey = new Map<string, Map<string, Op[]>>()
  refusedCount = 0

  /** The writes of a key, in order. */
  of(mapName: string, key: string): readonly Op[] {
    return this.#byKey.get(mapName)?.get(key) ?? []
  }

  add(op: Op): void {
    const { id, mapName, key } = op.row
    this.ops.set(id, op)
    if (op.refusal !== undefined) this.refusedCount++
    let keys = this.#byKey.get(mapName)
    if (keys === undefined) this.#byKey.set(mapName, (keys = new Map()))
    const ops = keys.get(key)
    if (ops === undefined) keys.set(key, [op])
    else ops.push(op)
  }

  remove(op: Op): boolean {
    const { id, mapName, key } = op.row
    if (this.ops.get(id) !== op) return false
    this.ops.delete(id)
    if (op.refusal !== undefined) this.refusedCount--
    const keys = this.#byKey.get(mapName)
    const rest = keys?.get(key)?.filter((other) => other !== op) ?? []
    if (rest.length > 0) keys?.set(key, rest)
    else keys?.delete(key)
    return true
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
