import { compareStamps, type LwwRecord } from '@syncline/core'
import type { Connection } from './connection.ts'
import { holds } from './records.ts'
import type { RightsOracle } from './rights.ts'
import { fieldsSeen, seenBy, type Role } from './users.ts'
import type { Watch } from './watch.ts'
import type { Machine } from './world.ts'

interface StreamState {
  seq: number
  /** The record of each key as this connection was last shown it. */
  readonly shown: Map<string, LwwRecord>
}

/** INV-13, INV-14: what followers of maps are shown, and what they have stored. */
export class FollowerOracle {
  readonly #watch: Watch
  readonly #rights: RightsOracle
  readonly #streams = new WeakMap<Connection, Map<string, StreamState>>()
  readonly #seqsByCursor = new Map<string, number>()
  /** When a machine was last told to begin anew with a map. */
  readonly #resetAtMs = new Map<string, number>()

  constructor(watch: Watch, rights: RightsOracle) {
    this.#watch = watch
    this.#rights = rights
  }

  /** A connection asks for a map from a cursor. */
  asked(connection: Connection, mapName: string, cursor: string | null): void {
    const seq = cursor === null ? 0 : this.#seqsByCursor.get(cursor)
    if (seq === undefined)
      this.#watch.fail('INV-13', `${connection.name} came with a cursor that no server gave: ${cursor}`)
    this.#streamsOf(connection).set(mapName, { seq: this.#startOf(cursor, seq ?? 0), shown: new Map() })
  }

  /** How far a connection has been told of a map; undefined where it does not follow it. */
  seqOf(connection: Connection, mapName: string): number | undefined {
    return this.#streams.get(connection)?.get(mapName)?.seq
  }

  /** A connection is to begin anew with a map. */
  reset(connection: Connection, mapName: string): void {
    this.#streamsOf(connection).delete(mapName)
    this.#resetAtMs.set(`${connection.machine}/${mapName}`, this.#watch.virtualNow())
  }

  /** Since some moment a machine was told to throw its copy of a map away. */
  wasReset(machine: string, mapName: string, sinceMs: number): boolean {
    return (this.#resetAtMs.get(`${machine}/${mapName}`) ?? -Infinity) >= sinceMs
  }

  /** INV-13, INV-14: a follower gets every change up to its cursor, in order, and no version goes back. */
  told(
    connection: Connection,
    mapName: string,
    cursor: string,
    seq: number,
    records: readonly { readonly key: string; readonly record: LwwRecord; readonly seq?: number }[],
  ): void {
    this.#seqsByCursor.set(cursor, seq)
    const stream = this.#streamsOf(connection).get(mapName)
    if (stream === undefined) {
      this.#watch.fail('INV-13', `${connection.name} was sent ${mapName} without having asked for it`)
      return
    }
    const where = `${connection.name}, ${mapName}`
    this.#rights.showsRecords(connection, mapName, records)
    if (seq < stream.seq) this.#watch.fail('INV-13', `${where}: the cursor went back from ${stream.seq} to ${seq}`)
    const seqs = new Map<string, number>()
    let last = 0
    for (const { key, record, seq: at = 0 } of records) {
      const before = stream.shown.get(key)
      // Whoever came in the middle of a turn is told once more what its first page has shown.
      const isRepeated = at <= stream.seq && before !== undefined && holds(before, record)
      if (isRepeated) this.#watch.count('repeated records')
      if (at <= last || (at <= stream.seq && !isRepeated) || at > seq)
        this.#watch.fail(
          'INV-13',
          `${where}: '${key}' at ${at} came after ${Math.max(last, stream.seq)} in a frame up to ${seq}`,
        )
      last = at
      seqs.set(key, at)
      // Of a removed record nothing is shown to those who may see some fields, not even their later writes of those.
      const isFull = record.value !== null || fieldsSeen(this.#rights.roleOf(connection), mapName) === 'all'
      if (before !== undefined && (isFull ? !holds(record, before) : compareStamps(record.base, before.base) < 0))
        this.#watch.fail('INV-14', `${where}: '${key}' at ${at} goes back behind what was shown before`)
      stream.shown.set(key, record)
    }
    this.#watch.serverMap(mapName)?.log.since(stream.seq, (entry) => {
      if (entry.seq > seq) return false
      if (seqs.get(entry.key) !== entry.seq)
        this.#watch.fail(
          'INV-13',
          `${where}: the cursor moved from ${stream.seq} to ${seq} past '${entry.key}' at ${entry.seq}`,
        )
      return true
    })
    stream.seq = seq
  }

  /** Of what is forgotten a connection may be told anew. */
  toldForgotten(connection: Connection, mapName: string, throughSeq: number = 0): void {
    const { shown } = this.#streamsOf(connection).get(mapName) ?? {}
    for (const [key, record] of shown ?? [])
      if (record.value === null && this.#watch.serverMap(mapName)?.entriesByKey.has(key) !== true && throughSeq > 0)
        shown?.delete(key)
  }

  /** What one machine has stored must hold everything up to its cursor. */
  checkStored(
    { name, role }: Machine,
    mapName: string,
    { cursor, seq }: { readonly cursor: string; readonly seq: number },
    row: (key: string) => { readonly record: LwwRecord } | undefined,
  ): void {
    const start = this.#startOf(cursor, seq)
    this.#watch.serverMap(mapName)?.entriesByKey.forEach((entry, key) => {
      if (entry.seq > start) return
      const held = row(key)
      const seen = seenBy(role, mapName, entry.record)
      if (held !== undefined && (holds(held.record, seen) || isRemovedFor(role, mapName, held.record, seen))) return
      this.#watch.fail(
        'INV-13 cursor',
        `${name} has stored cursor ${seq} of ${mapName}, but not the record of '${key}' at ${entry.seq}`,
      )
    })
  }

  /**
   * From where on a cursor's holder may miss something. A cursor from between two heads is good for its position only as
   * long as the later head stands: if a crash took it, records are back at places that were passed.
   */
  #startOf(cursor: string | null, seq: number): number {
    const [safe, head] = (cursor?.split('.').slice(4) ?? []).map((text) => Number.parseInt(text, 36))
    if (safe === undefined || head === undefined) return seq
    const isLost = this.#watch.kernel()?.store.lostRanges.some(([from, to]) => head > from && head <= to) === true
    return isLost ? safe : seq
  }

  #streamsOf(connection: Connection): Map<string, StreamState> {
    let streams = this.#streams.get(connection)
    if (streams === undefined) this.#streams.set(connection, (streams = new Map()))
    return streams
  }
}

/** Of a removed record nothing is shown to those who may see some fields, not even their later writes of those. */
function isRemovedFor(role: Role, mapName: string, held: LwwRecord, seen: LwwRecord): boolean {
  return held.value === null && fieldsSeen(role, mapName) !== 'all' && compareStamps(held.base, seen.base) >= 0
}
