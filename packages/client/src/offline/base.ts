import { mergeRecords, type LwwRecord } from '@syncline/core'
import type { ReceivedRecord } from '@syncline/protocol/codec'

/** A confirmed record, and the position of the commit that made it so. */
export interface BaseRow {
  readonly record: LwwRecord
  readonly seq: number
}

/** How far a map has been followed, as it is stored. */
export interface CursorRow {
  readonly cursor: string | null
  /** The seq that the cursor stands for. */
  readonly seq: number
  /** Counts the times that base was thrown away. What belongs to an older epoch is void. */
  readonly epoch: number
  /** The cursor has reached the head since base was empty: what is absent here is absent there. */
  readonly complete: boolean
  /** This client may read the whole map, so that its records can be compared with the server's. */
  readonly whole: boolean
}

/** What the server has confirmed of one map. It changes only through the server's stream. */
export class Base {
  readonly rows = new Map<string, BaseRow>()
  /**
   * What was here before everything was forgotten. Applications see it until the map is here again, so that a reset does
   * not empty their screens.
   */
  former: Map<string, BaseRow> | undefined
  /** The cursor had reached the head before that. */
  wasComplete = false
  cursor: string | null = null
  seq = 0
  epoch = 0
  complete = false
  whole = true
  /** Keys whose records changed since the digest was last computed. None is noted before it ever was. */
  undigested: Set<string> | undefined
  readonly #onChange: (key: string) => void

  constructor(onChange: (key: string) => void) {
    this.#onChange = onChange
  }

  /** Takes over what is stored. */
  restore({ cursor, seq, epoch, complete, whole }: CursorRow): void {
    Object.assign(this, { cursor, seq, epoch, complete, whole })
  }

  /** What applications see of a key. */
  shown(key: string): LwwRecord | undefined {
    return (this.rows.get(key) ?? this.former?.get(key))?.record
  }

  /** The position as it is stored. */
  position(): CursorRow {
    const { cursor, seq, epoch, complete, whole } = this
    return { cursor, seq, epoch, complete, whole }
  }

  /**
   * Takes a record from the stream. Returns the merged record where this base knows more than the server, which then
   * has lost a write: it is to be pushed back.
   */
  take(key: string, incoming: LwwRecord, seq: number): LwwRecord | undefined {
    const row = this.rows.get(key)
    return row !== undefined && seq <= row.seq ? undefined : this.merge(key, incoming, seq)
  }

  /** The same, whatever the position of the record that is here. */
  merge(key: string, incoming: LwwRecord, seq: number): LwwRecord | undefined {
    const row = this.rows.get(key)
    // A partial reader's records have gaps, which are not to be mistaken for what others lack.
    const merged = row === undefined || !this.whole ? incoming : mergeRecords(incoming, row.record)
    if (merged !== row?.record || seq > row.seq) this.set(key, { record: merged, seq: Math.max(seq, row?.seq ?? 0) })
    return merged === incoming ? undefined : merged
  }

  /** Replaces or drops a record. */
  set(key: string, row: BaseRow | undefined): void {
    if (row === undefined) this.rows.delete(key)
    else this.rows.set(key, row)
    if (row === undefined) this.former?.delete(key)
    this.#changed(key)
  }

  /** Moves the position on; never back. */
  advance(cursor: string, seq: number): void {
    if (seq < this.seq) return
    this.cursor = cursor
    this.seq = seq
  }

  /** Drops tombstones that the server has forgotten. Gives their keys. */
  prune(throughSeq: number): string[] {
    const keys = Array.from(this.rows).flatMap(([key, { record, seq }]) =>
      record.value === null && seq <= throughSeq ? [key] : [],
    )
    for (const key of keys) this.set(key, undefined)
    return keys
  }

  /** Forgets everything; applications may go on seeing it until the map is here again. */
  reset(isShown: boolean): void {
    const all = new Map([...(this.former ?? []), ...this.rows])
    this.wasComplete = isShown && (this.complete || this.wasComplete)
    this.former = isShown ? all : undefined
    this.rows.clear()
    Object.assign(this, { cursor: null, seq: 0, epoch: this.epoch + 1, complete: false, whole: true })
    for (const key of all.keys()) this.#changed(key)
  }

  /** The whole map is here. */
  completed(): void {
    const { former } = this
    this.complete = true
    this.former = undefined
    for (const key of former?.keys() ?? []) if (!this.rows.has(key)) this.#changed(key)
  }

  #changed(key: string): void {
    this.undigested?.add(key)
    this.#onChange(key)
  }
}

/** The record of a message, without what is the server's alone. */
export function withoutVersion(received: ReceivedRecord): LwwRecord {
  if (received.version === undefined) return received
  const { version: _, ...record } = received
  return record
}

/** A row with what only an earlier one has. It keeps the earlier position, at which the server may have lost that. */
export function joined(row: BaseRow, earlier: BaseRow): BaseRow {
  const record = mergeRecords(row.record, earlier.record)
  return record === row.record ? row : { record, seq: earlier.seq }
}

/** Positions that the server may have lost, each after the first and up to the second. */
export type LostRanges = readonly (readonly [number, number])[]

/** A position lies in one of them. */
export const isLost = (ranges: LostRanges, seq: number): boolean => ranges.some(([from, to]) => seq > from && seq <= to)
