import { compareBytes, compareStamps, mergeRecords, type LwwRecord, type Value } from '@syncline/core'
import { canonicalRecord } from '@syncline/core/merkle'
import {
  readClientMessage,
  readServerMessage,
  type ClientOp,
  type Frame,
  type OpResult,
  type ReceivedServerMessage,
} from '@syncline/protocol'
import type { Kernel } from '@syncline/server'
import { FINAL, messagesIn } from './bare-client.ts'
import { Deletions } from './deletions.ts'
import type { ServerDisk } from './disk.ts'
import { covers, fieldOf, Ledger, type Entry } from './ledger.ts'
import { QueryOracle } from './live-queries.ts'
import type { Connection } from './network.ts'
import { CANARY, claimsOf, fieldsSeen, seenBy, type Claims, type Role } from './users.ts'
import type { Scheduler } from './virtual-env.ts'
import type { Machine } from './world.ts'

/** How far ahead of the server a stamp may be: what it allows, and how far its clock is set back while an answer waits. */
const LATEST_MS = 60_000 + 35_000

/** How long rights may outlive their token: the server looks once a second, and is late now and then. */
const EXPIRY_GRACE_MS = 2_000

/** A promise that was broken. */
export interface Violation {
  readonly rule: string
  readonly message: string
}

/** Who speaks on a connection. */
interface Speaker {
  /** Of tokens that have arrived and are not answered. */
  readonly asked: Claims[]
  claims: Claims | undefined
}

interface StreamState {
  seq: number
  /** The record of each key as this connection was last shown it. */
  readonly shown: Map<string, LwwRecord>
}

/** The part of the server that the oracle reads: the maps in memory. */
type ServerMap = ReturnType<Kernel['store']['residency']['maps']> extends Iterable<infer M> ? M : never

/**
 * Watches a run and says what must not be. It looks at frames on the wire, at what is on disk and, through a feature of
 * its own, at the server's maps; it asks the product nothing.
 */
export class Oracle {
  readonly ledger = new Ledger()
  readonly queries: QueryOracle
  readonly deletions: Deletions
  violation: Violation | undefined
  /** The maps of the server that runs; undefined while none does. */
  kernel: Kernel | undefined
  /** What happened how often, to tell whether runs are worth their time. */
  readonly counts = new Map<string, number>()
  readonly #scheduler: Scheduler
  readonly #disk: ServerDisk
  readonly #serverNow: () => number
  readonly #streams = new WeakMap<Connection, Map<string, StreamState>>()
  readonly #speakers = new WeakMap<Connection, Speaker>()
  /** The connection on which a machine has last pushed records of a map. */
  readonly #pushers = new Map<string, Connection>()
  readonly #seqsByCursor = new Map<string, number>()
  /** When the server's clock was last set. */
  serverClockSetAtMs = -Infinity

  constructor(scheduler: Scheduler, disk: ServerDisk, serverNow: () => number) {
    this.#scheduler = scheduler
    this.#disk = disk
    this.#serverNow = serverNow
    this.deletions = new Deletions(
      serverNow,
      (rule, message) => this.fail(rule, message),
      (what) => this.count(what),
    )
    this.queries = new QueryOracle({
      fail: (rule, message) => this.fail(rule, message),
      count: (what) => this.count(what),
      records: (mapName) => this.#records(mapName),
      seq: () => this.kernel?.store.sequencer.seq ?? 0,
      headOf: (mapName) => this.serverMap(mapName)?.log.head,
      serverNow,
      clockSetAgoMs: () => this.#scheduler.nowMs - this.serverClockSetAtMs,
    })
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }

  /** Notes the first promise that was broken. */
  fail(rule: string, message: string): void {
    if (this.violation !== undefined) return
    this.violation = { rule, message }
    this.#scheduler.note('oracle', `${rule}: ${message}`)
  }

  /** A map of the server, as it stands in memory. */
  readonly serverMap = (mapName: string): ServerMap | undefined => {
    for (const map of this.kernel?.store.residency.maps() ?? []) if (map.name === mapName) return map
    return undefined
  }

  clientSends(connection: Connection, frame: Frame): void {
    for (const raw of messagesIn(frame)) {
      const read = readClientMessage(raw)
      if (!read.ok) {
        this.fail('protocol', `${connection.name} sent what cannot be read: ${read.error.message}`)
        continue
      }
      const message = read.value
      if (message.type === 'OP_BATCH') {
        for (const op of message.payload.ops) this.#opSent(connection, op, message.payload.writeConcern)
      } else if (message.type === 'CLIENT_OP') this.#opSent(connection, message.payload, undefined)
      else if (message.type === 'SYNC_PUSH') {
        this.count('pushes')
        this.#pushers.set(`${connection.machine}/${message.payload.mapName}`, connection)
      } else if (message.type === 'SYNC_TRIE' && this.#roleOf(connection) === 'writer') {
        // A push that was lost with its connection leaves no trace but the digest.
        const pusher = this.#pushers.get(`${connection.machine}/${message.payload.mapName}`)
        if (pusher !== undefined && pusher !== connection) this.count('walks after a lost push')
        else this.fail('INV-13 walk', `${connection.name} found that its copy differs from the server's`)
      }
    }
  }

  serverReceives(connection: Connection, frame: Frame): void {
    if (typeof frame === 'string' && !/"type":"(?:SYNC_INIT|AUTH)"/.test(frame)) return
    for (const raw of messagesIn(frame)) {
      const read = readClientMessage(raw)
      if (!read.ok) continue
      if (read.value.type === 'AUTH') this.#speakerOf(connection).asked.push(claimsOf(read.value.token))
      if (read.value.type !== 'SYNC_INIT') continue
      const { mapName, cursor } = read.value
      if (cursor === undefined) continue
      const seq = cursor === null ? 0 : this.#seqsByCursor.get(cursor)
      if (seq === undefined) this.fail('INV-13', `${connection.name} came with a cursor that no server gave: ${cursor}`)
      this.#streamsOf(connection).set(mapName, { seq: this.#startOf(cursor, seq ?? 0), shown: new Map() })
    }
  }

  serverSends(connection: Connection, frame: Frame): void {
    if (this.#roleOf(connection) === 'guest' && textOf(frame).includes(CANARY))
      this.fail('INV-21', `${connection.name} was sent what guests must not see: ${textOf(frame)}`)
    for (const raw of messagesIn(frame)) {
      const read = readServerMessage(raw)
      if (!read.ok) this.fail('protocol', `The server sent what cannot be read: ${read.error.message}`)
      else this.#served(connection, read.value)
    }
  }

  #speakerOf(connection: Connection): Speaker {
    let speaker = this.#speakers.get(connection)
    if (speaker === undefined) this.#speakers.set(connection, (speaker = { asked: [], claims: undefined }))
    return speaker
  }

  #roleOf(connection: Connection): Role {
    return this.#speakers.get(connection)?.claims?.role ?? 'writer'
  }

  /** INV-21: what a connection is sent of a map is for the eyes of its user, whose rights have not ended. */
  #shows(connection: Connection, mapName: string, values: Iterable<unknown>): void {
    const claims = this.#speakers.get(connection)?.claims
    if (claims === undefined) return
    const { role, expiresAtMs = Infinity } = claims
    const lateMs = Math.min(this.#serverNow() - expiresAtMs, this.#scheduler.nowMs - this.serverClockSetAtMs)
    if (lateMs > EXPIRY_GRACE_MS)
      this.fail('INV-21', `${connection.name} is sent ${mapName} ${lateMs} ms after its rights have ended`)
    const seen = fieldsSeen(role, mapName)
    if (seen === 'all') return
    if (seen === undefined) this.fail('INV-21', `${connection.name} is sent ${mapName}, which it may not read`)
    for (const value of values)
      for (const name of Object.keys((value as object | null) ?? {}))
        if (seen?.has(name) !== true) this.fail('INV-21', `${connection.name} is sent field '${name}' of ${mapName}`)
  }

  #showsRecords(
    connection: Connection,
    mapName: string,
    records: readonly { readonly record: Pick<LwwRecord, 'value' | 'fields'> }[],
  ): void {
    const parts = records.flatMap(({ record: { value, fields } }) => [value, fields])
    this.#shows(
      connection,
      mapName,
      parts.filter((part) => typeof part === 'object'),
    )
  }

  *#records(mapName: string): Iterable<readonly [string, LwwRecord]> {
    for (const [key, { record }] of this.serverMap(mapName)?.entriesByKey ?? []) yield [key, record]
  }

  /** What one machine has stored must hold everything up to its cursor. */
  checkStored(
    { name, role }: Machine,
    mapName: string,
    { cursor, seq }: { readonly cursor: string; readonly seq: number },
    row: (key: string) => { readonly record: LwwRecord } | undefined,
  ): void {
    const start = this.#startOf(cursor, seq)
    this.serverMap(mapName)?.entriesByKey.forEach((entry, key) => {
      if (entry.seq > start) return
      const held = row(key)
      if (held !== undefined && holds(held.record, seenBy(role, mapName, entry.record))) return
      this.fail(
        'INV-13 cursor',
        `${name} has stored cursor ${seq} of ${mapName}, but not the record of '${key}' at ${entry.seq}`,
      )
    })
  }

  /** What an application sees at a field is an acknowledged write of its own, or something that replaced it. */
  isShown(entry: Entry, field: string, value: unknown): boolean {
    const stamp = (entry.op as ClientOp).record.timestamp
    const isLater = (other: Entry): boolean =>
      other.op === undefined || compareStamps(other.op.record.timestamp, stamp) >= 0 || this.#isRenewable(other)
    if (field === '*') {
      if (value === undefined) return true
      return this.ledger.of(entry.mapName, entry.key).some((other) => other.op?.opType !== 'REMOVE' && isLater(other))
    }
    const writer = this.ledger.ofTag(fieldOf(value as Value, field))
    // A refused write stays in sight until it is taken back.
    if (writer !== undefined) return writer === entry || isLater(writer) || writer.rejected !== undefined
    // Something removed the field, perhaps the write itself.
    if (entry.op?.record.unset?.includes(field) === true) return true
    return this.ledger.of(entry.mapName, entry.key).some((other) => {
      // A removal hides field writes, later ones too, until a whole write brings the record back.
      if (other.op?.opType === 'REMOVE' && entry.op?.opType === 'PATCH') return true
      // So does the loss of an unacknowledged whole write that they lie over, until the stream shows what came of it.
      if (other.concern === 'FIRE_AND_FORGET' && other.op?.opType === 'PUT' && entry.op?.opType === 'PATCH') return true
      return (
        other !== entry && isLater(other) && (other.op?.opType !== 'PATCH' || other.op.record.unset?.includes(field))
      )
    })
  }

  /** A record that was written as new, and so long ago that it is stamped anew before the server takes it. */
  #isRenewable({ wasAccepted, wasThere, op, mapName }: Entry): boolean {
    const pruned = this.serverMap(mapName)?.pruned.stamp
    const isNew = !wasAccepted && !wasThere && op?.opType === 'PUT'
    return isNew && pruned !== undefined && compareStamps(op.record.timestamp, pruned) <= 0
  }

  /**
   * From where on a cursor's holder may miss something. A cursor from between two heads is good for its position only as
   * long as the later head stands: if a crash took it, records are back at places that were passed.
   */
  #startOf(cursor: string | null, seq: number): number {
    const [safe, head] = (cursor?.split('.').slice(4) ?? []).map((text) => Number.parseInt(text, 36))
    if (safe === undefined || head === undefined) return seq
    const isLost = this.kernel?.store.lostRanges.some(([from, to]) => head > from && head <= to) === true
    return isLost ? safe : seq
  }

  #opSent(
    connection: Connection,
    op: Pick<ClientOp, 'mapName' | 'key' | 'id' | 'record' | 'writeConcern'> | { readonly refused: unknown },
    level: Entry['concern'] | undefined,
  ): void {
    if ('refused' in op) {
      this.fail('protocol', `${connection.name} sent an op that cannot be read: ${JSON.stringify(op)}`)
      return
    }
    const entry = op.id === undefined ? undefined : this.ledger.entries.get(op.id)
    const speaker = this.#speakers.get(connection)?.claims?.userId
    if (entry?.user !== undefined && entry.machine === connection.machine && speaker !== entry.user)
      this.fail('INV-21', `${connection.name} sent ${entry.id} of ${entry.user} in the name of ${speaker}`)
    // Whoever sends it once more on another machine repeats it, byte by byte.
    if (op.id !== undefined && entry?.machine === connection.machine)
      this.ledger.sent(op.id, op, op.writeConcern ?? level ?? 'MEMORY')
  }

  #served(connection: Connection, message: ReceivedServerMessage): void {
    switch (message.type) {
      case 'AUTH_ACK': {
        const speaker = this.#speakerOf(connection)
        speaker.claims = speaker.asked.shift()
        this.count('sign-ins')
        return
      }
      case 'AUTH_FAIL':
        this.count(`refused sign-ins: ${message.error}`)
        return
      case 'QUERY_RESP':
        this.queries.page(connection, message.payload)
        return
      case 'QUERY_UPDATE':
        this.queries.update(connection, message.payload)
        return
      case 'OP_ACK':
        for (const result of message.payload.results) this.#answered(connection, result)
        return
      case 'SYNC_DIFF': {
        const { mapName, cursor, seq, records, more, lost = [], prunedThroughSeq } = message.payload
        if (more) this.count('pages before the last')
        if (lost.length > 0) this.count('pages that name lost ranges')
        this.#streamed(connection, mapName, cursor, seq, records)
        this.#toldForgotten(connection, mapName, prunedThroughSeq)
        return
      }
      case 'SERVER_EVENT': {
        const { mapName, cursor, seq } = message.payload
        if (cursor !== undefined) this.#streamed(connection, mapName, cursor, seq, [message.payload])
        return
      }
      case 'SERVER_BATCH_EVENT': {
        const { mapName, cursor, seq = 0, events, prunedThroughSeq } = message.payload
        if (events.length > 1) this.count('frames of several events')
        if (cursor !== undefined) this.#streamed(connection, mapName, cursor, seq, events)
        if (prunedThroughSeq !== undefined) this.count('followers told to forget')
        this.#toldForgotten(connection, mapName, prunedThroughSeq)
        return
      }
      case 'SYNC_RECORDS':
      case 'SYNC_RESP_LEAF': {
        const { mapName, records } = message.payload
        this.#showsRecords(connection, mapName, records)
        return
      }
      case 'SYNC_RESET_REQUIRED':
        this.count('resets')
        this.#streamsOf(connection).delete(message.payload.mapName)
        return
      case 'ERROR':
        this.count(`errors: ${message.payload.errorCode}`)
        if (message.payload.errorCode === 'INTERNAL_ERROR')
          this.fail('fault', `The server failed: ${message.payload.message}`)
        return
      default:
    }
  }

  /** INV-1, INV-3, INV-4, INV-6, INV-14: an acknowledgement says what is so at this moment. */
  #answered(connection: Connection, result: OpResult): void {
    const entry = this.ledger.entries.get(result.opId)
    if (entry?.op === undefined) return
    // What is answered to someone who sent the op once more is not heard by its writer.
    const isHeard = connection.machine === entry.machine
    if (isHeard) entry.answer = result
    // Bare clients tell nobody of a refusal: the oracle hears of it here.
    if (entry.tab === undefined && FINAL.has(result.errorCode)) entry.rejected = result.errorCode
    const { mapName, key, op } = entry
    // After a timeout the write stands.
    if (result.success || (result.errorCode === 'TIMEOUT' && result.seq !== undefined)) {
      if (entry.isTooLate && op.opType !== 'REMOVE')
        this.fail(
          'INV-12',
          `${result.opId} changes ${mapName}/${key}, which was deleted and forgotten, and is accepted`,
        )
      entry.wasAccepted = true
    }
    if (result.errorCode === 'STALE' && entry.wasThere) entry.isTooLate = true
    this.count(`answers: ${result.errorCode ?? (result.superseded === true ? 'superseded' : result.achievedLevel)}`)
    if (result.success) {
      if (result.achievedLevel === 'PERSISTED') entry.wasPersisted = true
      if (entry.sendCount === 1 && op.record.timestamp.millis > this.#serverNow() + LATEST_MS)
        this.fail('INV-11', `${result.opId} was accepted with a stamp that lies too far in the future`)
      const inMemory = this.serverMap(mapName)?.entriesByKey.get(key)
      if (isHeard) entry.lostTo = result.superseded === true ? this.#winners(inMemory?.record, mapName, key) : []
      const isOver = this.deletions.covered(mapName, key, op)
      if (!isOver && !covers(inMemory?.record, op))
        this.fail('INV-4', `${result.opId} is acknowledged at ${result.achievedLevel}, but the server does not hold it`)
      if (!isOver && result.achievedLevel === 'PERSISTED' && !covers(this.#disk.stored(mapName, key)?.record, op))
        this.fail('INV-6', `${result.opId} is acknowledged as PERSISTED, but is not on disk`)
      const stream = this.#streamsOf(connection).get(mapName)
      const isFirst = isHeard && entry.sendCount === 1 && result.superseded !== true && entry.tab !== undefined
      if (isFirst && result.achievedLevel !== 'PERSISTED' && stream !== undefined && stream.seq >= (result.seq ?? 0))
        this.fail('INV-14', `${connection.name} was sent the event of ${result.opId} before its acknowledgement`)
    }
  }

  /** The writes that a record is made of. */
  #winners(record: LwwRecord | undefined, mapName: string, key: string): readonly Entry[] {
    if (record === undefined) return []
    const stamps = [record.base, ...Object.values(record.fields ?? {}).map(({ stamp }) => stamp)]
    return stamps
      .flatMap((stamp) => this.ledger.at(stamp))
      .filter((entry) => entry.mapName === mapName && entry.key === key)
  }

  /** INV-13, INV-14: a follower gets every change up to its cursor, in order, and no version goes back. */
  #streamed(
    connection: Connection,
    mapName: string,
    cursor: string,
    seq: number,
    records: readonly { readonly key: string; readonly record: LwwRecord; readonly seq?: number }[],
  ): void {
    this.#seqsByCursor.set(cursor, seq)
    const stream = this.#streamsOf(connection).get(mapName)
    if (stream === undefined) {
      this.fail('INV-13', `${connection.name} was sent ${mapName} without having asked for it`)
      return
    }
    const where = `${connection.name}, ${mapName}`
    this.#showsRecords(connection, mapName, records)
    if (seq < stream.seq) this.fail('INV-13', `${where}: the cursor went back from ${stream.seq} to ${seq}`)
    const seqs = new Map<string, number>()
    let last = 0
    for (const { key, record, seq: at = 0 } of records) {
      const before = stream.shown.get(key)
      // Whoever came in the middle of a turn is told once more what its first page has shown.
      const isRepeated = at <= stream.seq && before !== undefined && holds(before, record)
      if (isRepeated) this.count('repeated records')
      if (at <= last || (at <= stream.seq && !isRepeated) || at > seq)
        this.fail(
          'INV-13',
          `${where}: '${key}' at ${at} came after ${Math.max(last, stream.seq)} in a frame up to ${seq}`,
        )
      last = at
      seqs.set(key, at)
      // Of a removed record nothing is shown to those who may see some fields, not even their later writes of those.
      const isFull = record.value !== null || fieldsSeen(this.#roleOf(connection), mapName) === 'all'
      if (before !== undefined && (isFull ? !holds(record, before) : compareStamps(record.base, before.base) < 0))
        this.fail('INV-14', `${where}: '${key}' at ${at} goes back behind what was shown before`)
      stream.shown.set(key, record)
    }
    this.serverMap(mapName)?.log.since(stream.seq, (entry) => {
      if (entry.seq > seq) return false
      if (seqs.get(entry.key) !== entry.seq)
        this.fail(
          'INV-13',
          `${where}: the cursor moved from ${stream.seq} to ${seq} past '${entry.key}' at ${entry.seq}`,
        )
      return true
    })
    stream.seq = seq
  }

  /** Of what is forgotten a connection may be told anew. */
  #toldForgotten(connection: Connection, mapName: string, throughSeq: number = 0): void {
    const { shown } = this.#streamsOf(connection).get(mapName) ?? {}
    for (const [key, record] of shown ?? [])
      if (record.value === null && this.serverMap(mapName)?.entriesByKey.has(key) !== true && throughSeq > 0)
        shown?.delete(key)
  }

  #streamsOf(connection: Connection): Map<string, StreamState> {
    let streams = this.#streams.get(connection)
    if (streams === undefined) this.#streams.set(connection, (streams = new Map()))
    return streams
  }
}

/** A frame as text in which names and texts of its values can be found. */
function textOf(frame: Frame): string {
  return typeof frame === 'string' ? frame : Buffer.from(frame).toString('latin1')
}

/** The first record has everything of the second. */
export function holds(record: LwwRecord, other: LwwRecord): boolean {
  return mergeRecords(record, other) === record || sameState('', mergeRecords(record, other), record)
}

/** Both records have the same canonical bytes. */
export function sameState(key: string, a: LwwRecord, b: LwwRecord): boolean {
  const bytes = canonicalRecord(key, a).slice()
  return compareBytes(bytes, canonicalRecord(key, b)) === 0
}
