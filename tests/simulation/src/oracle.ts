import { compareStamps, formatStamp, type LwwRecord, type Value } from '@syncline/core'
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
import type { Connection } from './connection.ts'
import { Deletions } from './deletions.ts'
import type { ServerDisk } from './disk.ts'
import { FollowerOracle } from './followers.ts'
import { covers, fieldOf, Ledger, type Entry } from './ledger.ts'
import { QueryOracle } from './live-queries.ts'
import { LockOracle } from './locks.ts'
import { RightsOracle } from './rights.ts'
import { TopicOracle } from './topics.ts'
import type { Scheduler } from './virtual-env.ts'
import type { ServerMap, Watch } from './watch.ts'

/** How far ahead of the server a stamp may be: what it allows, and how far its clock is set back while an answer waits. */
const LATEST_MS = 60_000 + 35_000

/** How long after its pages a machine has sent what they had it push. */
const PUSH_MS = 500

/** A promise that was broken. */
export interface Violation {
  readonly rule: string
  readonly message: string
}

/**
 * Watches a run and says what must not be. It looks at frames on the wire, at what is on disk and, through a feature of
 * its own, at the server's maps; it asks the product nothing.
 */
export class Oracle {
  readonly ledger = new Ledger()
  readonly rights: RightsOracle
  readonly followers: FollowerOracle
  readonly queries: QueryOracle
  readonly locks: LockOracle
  readonly topics: TopicOracle
  readonly deletions: Deletions
  violation: Violation | undefined
  /** The maps of the server that runs; undefined while none does. */
  kernel: Kernel | undefined
  /** What happened how often, to tell whether runs are worth their time. */
  readonly counts = new Map<string, number>()
  readonly #scheduler: Scheduler
  readonly #disk: ServerDisk
  readonly #serverNow: () => number
  /** The connections on which a machine was sent pages of a map, and when that was last. */
  readonly #pagedAtMs = new Map<string, Map<Connection, number>>()
  /** The connections on which a machine has pushed records of a map. */
  readonly #pushers = new Map<string, Set<Connection>>()
  /** When the server's clock was last set. */
  serverClockSetAtMs = -Infinity

  constructor(scheduler: Scheduler, disk: ServerDisk, serverNow: () => number, serverRun: () => number) {
    this.#scheduler = scheduler
    this.#disk = disk
    this.#serverNow = serverNow
    const watch: Watch = {
      fail: (rule, message) => this.fail(rule, message),
      count: (what) => this.count(what),
      kernel: () => this.kernel,
      serverMap: this.serverMap,
      records: (mapName) => this.#records(mapName),
      after: (delayMs, run) => void scheduler.after(delayMs, run),
      virtualNow: () => this.#scheduler.nowMs,
      serverNow,
      clockSetAgoMs: () => this.#scheduler.nowMs - this.serverClockSetAtMs,
    }
    this.deletions = new Deletions(watch)
    this.rights = new RightsOracle(watch)
    this.followers = new FollowerOracle(watch, this.rights)
    this.queries = new QueryOracle(watch)
    this.locks = new LockOracle(watch, serverRun)
    this.topics = new TopicOracle(watch)
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
        const place = `${connection.machine}/${message.payload.mapName}`
        this.#pushers.set(place, (this.#pushers.get(place) ?? new Set()).add(connection))
      } else if (message.type === 'SYNC_TRIE' && this.rights.roleOf(connection) === 'writer') {
        // A push that was lost with its connection leaves no trace but the digest.
        const place = `${connection.machine}/${message.payload.mapName}`
        const pushers = [...(this.#pushers.get(place) ?? [])]
        const isPushLost = pushers.some((pusher) => pusher !== connection)
        if (isPushLost || this.#isCutWhilePaged(place, connection)) this.count('walks after a lost push')
        else this.fail('INV-13 walk', `${connection.name} found that its copy differs from the server's`)
      }
    }
  }

  #paged(connection: Connection, mapName: string): void {
    const place = `${connection.machine}/${mapName}`
    let connections = this.#pagedAtMs.get(place)
    if (connections === undefined) this.#pagedAtMs.set(place, (connections = new Map()))
    connections.set(connection, this.#scheduler.nowMs)
  }

  /** An earlier connection ended before what its pages had the machine push could leave. */
  #isCutWhilePaged(place: string, connection: Connection): boolean {
    for (const [other, pagedAtMs] of this.#pagedAtMs.get(place) ?? [])
      if (other !== connection && other.endedAtMs < pagedAtMs + PUSH_MS) return true
    return false
  }

  serverReceives(connection: Connection, frame: Frame): void {
    if (typeof frame === 'string' && !/"type":"(?:SYNC_INIT"|AUTH"|LOCK_RE|TOPIC_)|"fence"/.test(frame)) return
    for (const raw of messagesIn(frame)) {
      const read = readClientMessage(raw)
      if (!read.ok) continue
      const message = read.value
      if (message.type === 'AUTH') this.rights.asked(connection, message.token)
      else if (message.type === 'SYNC_INIT' && message.cursor !== undefined)
        this.followers.asked(connection, message.mapName, message.cursor)
      else if (message.type === 'TOPIC_SUB') this.topics.subscribed(connection, message.payload.topic)
      else if (message.type === 'TOPIC_UNSUB') this.topics.unsubscribed(connection, message.payload.topic)
      else if (message.type === 'TOPIC_PUB') this.topics.published(connection, message.payload.topic)
      else if (message.type === 'LOCK_REQUEST') this.locks.requestArrives(connection, message.payload)
      else if (message.type === 'LOCK_RELEASE') this.locks.releaseArrives(connection, message.payload)
      else if (message.type === 'OP_BATCH') {
        for (const op of message.payload.ops)
          if (!('refused' in op) && op.id !== undefined) this.locks.writeArrives(connection, op.id, op as ClientOp)
      }
    }
  }

  serverSends(connection: Connection, frame: Frame): void {
    this.rights.checkFrame(connection, frame)
    for (const raw of messagesIn(frame)) {
      const read = readServerMessage(raw)
      if (!read.ok) this.fail('protocol', `The server sent what cannot be read: ${read.error.message}`)
      else this.#served(connection, read.value)
    }
  }

  *#records(mapName: string): Iterable<readonly [string, LwwRecord]> {
    for (const [key, { record }] of this.serverMap(mapName)?.entriesByKey ?? []) yield [key, record]
  }

  /** What an application sees at a field is an acknowledged write of its own, or something that replaced it. */
  isShown(entry: Entry, field: string, value: unknown): boolean {
    const stamp = (entry.op as ClientOp).record.timestamp
    const isLater = (other: Entry): boolean =>
      other.op === undefined || compareStamps(other.op.record.timestamp, stamp) >= 0 || this.#isRenewable(other)
    if (field === '*') {
      if (value === undefined) return true
      return this.ledger
        .of(entry.mapName, entry.key)
        .some((other) => other.op?.opType !== 'REMOVE' && (isLater(other) || other.rejected !== undefined))
    }
    const writer = this.ledger.ofTag(fieldOf(value as Value, field))
    // A refused write stays in sight until it is taken back.
    if (writer !== undefined)
      return (
        writer === entry || isLater(writer) || writer.rejected !== undefined || isUnacknowledgedAfter(writer, entry)
      )
    // Something removed the field, perhaps the write itself.
    if (entry.op?.record.unset?.includes(field) === true) return true
    return this.ledger.of(entry.mapName, entry.key).some((other) => {
      if (other.op?.opType === 'REMOVE' && isUnacknowledgedAfter(other, entry)) return true
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
  #isRenewable({ wasAccepted, isTabDead, wasThere, op, mapName }: Entry): boolean {
    const pruned = this.deletions.prunedThrough(mapName)
    // Whose tab died may be taken for new once more when its removal is forgotten (INVARIANTS.md, INV-12).
    const isNew = (!wasAccepted || isTabDead) && !wasThere && op?.opType === 'PUT'
    return isNew && pruned !== undefined && compareStamps(op.record.timestamp, pruned) <= 0
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
    const speaker = this.rights.userOf(connection)
    if (entry?.user !== undefined && entry.machine === connection.machine && speaker !== entry.user)
      this.fail('INV-21', `${connection.name} sent ${entry.id} of ${entry.user} in the name of ${speaker}`)
    // Whoever sends it once more on another machine repeats it, byte by byte.
    if (op.id !== undefined && entry?.machine === connection.machine)
      this.ledger.sent(op.id, op, op.writeConcern ?? level ?? 'MEMORY')
  }

  #served(connection: Connection, message: ReceivedServerMessage): void {
    switch (message.type) {
      case 'AUTH_ACK':
        this.rights.signedIn(connection)
        this.count('sign-ins')
        return
      case 'AUTH_FAIL':
        this.count(`refused sign-ins: ${message.error}`)
        return
      case 'QUERY_RESP':
        this.queries.page(connection, message.payload)
        return
      case 'SEARCH_RESP':
        this.count('pages of search results')
        this.queries.page(connection, { ...message.payload, queryId: message.payload.requestId })
        return
      case 'SEARCH_UPDATE':
        this.count(`search updates: ${message.payload.changeType}`)
        this.queries.update(connection, { ...message.payload, queryId: message.payload.subscriptionId })
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
        this.#paged(connection, mapName)
        this.followers.told(connection, mapName, cursor, seq, records)
        this.followers.toldForgotten(connection, mapName, prunedThroughSeq)
        return
      }
      case 'SERVER_EVENT': {
        const { mapName, cursor, seq } = message.payload
        if (cursor !== undefined) this.followers.told(connection, mapName, cursor, seq, [message.payload])
        return
      }
      case 'SERVER_BATCH_EVENT': {
        const { mapName, cursor, seq = 0, events, prunedThroughSeq } = message.payload
        if (events.length > 1) this.count('frames of several events')
        if (cursor !== undefined) this.followers.told(connection, mapName, cursor, seq, events)
        if (prunedThroughSeq !== undefined) this.count('followers told to forget')
        this.followers.toldForgotten(connection, mapName, prunedThroughSeq)
        return
      }
      case 'TOPIC_MESSAGE':
        this.topics.told(connection, message.payload.topic, 1)
        return
      case 'TOPIC_DROPPED':
        this.topics.dropped(connection, message.payload.topic, message.payload.dropped)
        return
      case 'LOCK_GRANTED':
        this.locks.granted(connection, message.payload)
        return
      case 'LOCK_RELEASED':
        this.locks.refused(message.payload.requestId)
        return
      case 'SYNC_RECORDS':
      case 'SYNC_RESP_LEAF': {
        const { mapName, records } = message.payload
        this.rights.showsRecords(connection, mapName, records)
        return
      }
      case 'SYNC_RESET_REQUIRED':
        this.count('resets')
        this.followers.reset(connection, message.payload.mapName)
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
    this.locks.answered(connection, result.opId, result.success, result.errorCode)
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
      this.#checkOvertaken(entry, op)
      if (!entry.isTabDead) this.#checkOrder(entry, op)
      entry.wasAccepted = true
      entry.acceptedAtMs = this.#scheduler.nowMs
    }
    if (result.errorCode === 'STALE' && (entry.wasThere || entry.wasAccepted)) entry.isTooLate = true
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
      const toldSeq = this.followers.seqOf(connection, mapName)
      const isFirst = isHeard && entry.sendCount === 1 && result.superseded !== true && entry.tab !== undefined
      if (isFirst && result.achievedLevel !== 'PERSISTED' && toldSeq !== undefined && toldSeq >= (result.seq ?? 0))
        this.fail('INV-14', `${connection.name} was sent the event of ${result.opId} before its acknowledgement`)
    }
  }

  /** INV-12: what a later write has replaced does not come up when that one is deleted and forgotten. */
  #checkOvertaken({ id, mapName, key, overtakenBy: by }: Entry, { opType, record }: ClientOp): void {
    if (by === undefined || opType === 'REMOVE' || compareStamps(record.timestamp, by) <= 0) return
    if (this.deletions.isForgottenSince(mapName, key, by))
      this.fail('INV-12', `${id} came up in ${mapName}/${key}, though ${formatStamp(by)} replaced it and was forgotten`)
  }

  /** What a tab wrote first does not come to lie over what it wrote later, once that is with the server, while it lives. */
  #checkOrder({ id, number, tab, user, mapName, key }: Entry, { opType, record }: ClientOp): void {
    if (tab === undefined || opType === 'PATCH') return
    for (const later of this.ledger.of(mapName, key)) {
      if (later.tab !== tab || later.user !== user || later.number <= number || !later.wasAccepted) continue
      if (later.op === undefined || later.op.opType === 'PATCH' || later.concern === 'FIRE_AND_FORGET') continue
      if (compareStamps(record.timestamp, later.op.record.timestamp) > 0)
        this.fail('INV-14 order', `${id} lies over ${later.id}, which its tab wrote to ${mapName}/${key} after it`)
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
}

/** Of a write that nobody acknowledges its own tab does not know for a while whether it was taken; it lies on top. */
function isUnacknowledgedAfter(writer: Entry, entry: Entry): boolean {
  return writer.concern === 'FIRE_AND_FORGET' && writer.machine === entry.machine && writer.number > entry.number
}
